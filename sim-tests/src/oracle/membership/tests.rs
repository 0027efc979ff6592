use bytes::Bytes;
use prost::Message;
use quorate_core::error::Refusal;
use quorate_core::ids::LogIndex;
use quorate_core::input::MemberAddition;
use quorate_core::storage::{EntryKind, HardState};
use quorate_io_sim::world::observe::ClientId;
use quorate_proto::raftpb::ConfChangeType as Kind;

use super::*;

/// The change at an entry is wished for under the entry's number.
fn change(index: u64, kind: Kind, member: u64, context: &str) -> Entry {
    let context = Bytes::copy_from_slice(context.as_bytes());
    let change = ConfChange { id: index, r#type: kind.into(), node_id: member, context };
    let data = change.encode_to_vec().into();
    Entry { term: Term(2), index: LogIndex(index), kind: EntryKind::ConfChange, data }
}

/// Two voters, then a learner, which gets its vote; then the first goes.
fn committed() -> Seen {
    let url = |n: u64| format!("{{\"id\":{n},\"peerURLs\":[\"http://m{n}\"]}}");
    let entries = vec![
        change(1, Kind::ConfChangeAddNode, 1, &url(1)),
        change(2, Kind::ConfChangeAddNode, 2, &url(2)),
        change(3, Kind::ConfChangeAddLearnerNode, 3, &url(3)),
        change(4, Kind::ConfChangeAddNode, 3, "{\"id\":3,\"isPromote\":true}"),
        change(5, Kind::ConfChangeRemoveNode, 1, ""),
    ];
    Seen::Committed { member: MemberId(1), entries }
}

fn group(index: u64, voters: &[u64], learners: &[u64]) -> Seen {
    let (voters, learners) = (voters.to_vec(), learners.to_vec());
    let group = ConfState { voters, learners, ..ConfState::default() };
    Seen::Group { member: MemberId(2), index: LogIndex(index), group }
}

fn members(index: u64, list: &[(u64, bool)]) -> Seen {
    let list = list.iter().map(|(id, is_learner)| (MemberId(*id), *is_learner)).collect();
    Seen::Members { member: MemberId(2), index: LogIndex(index), list }
}

fn answered(request: Request, outcome: Outcome) -> [Seen; 2] {
    let (client, call, member) = (ClientId(0), CallId(7), MemberId(2));
    let operation = Operation::Request(request);
    [Seen::Called { client, call, member, operation }, Seen::Returned { client, call, outcome }]
}

fn addition(id: u64) -> Request {
    let request = pb::MemberAddRequest { is_learner: true, ..Default::default() };
    Request::MemberAdd(MemberAddition { id: MemberId(id), request })
}

fn added(ids: &[(u64, bool)]) -> Outcome {
    let member =
        |&(id, is_learner): &(u64, bool)| pb::Member { id, is_learner, ..Default::default() };
    let members = ids.iter().map(member).collect();
    Outcome::Response(Response::MemberAdd(pb::MemberAddResponse { members, ..Default::default() }))
}

/// What the oracle says to all of this, after the log.
fn said(seen: &[Seen]) -> String {
    let mut oracle = Membership::default();
    let all = [&[committed()], seen].concat();
    let judged = all.iter().try_for_each(|seen| oracle.observe(Time::ZERO, seen));
    judged.err().map_or_else(String::new, |violation| violation.what)
}

#[test]
fn what_follows_the_log_is_right() {
    let stop = Seen::Stopped { member: MemberId(1), why: Stop::Removed };
    let seen = [
        group(0, &[], &[]),
        group(2, &[1, 2], &[]),
        group(3, &[1, 2], &[3]),
        members(3, &[(1, false), (2, false), (3, true)]),
        group(4, &[1, 2, 3], &[]),
        group(9, &[2, 3], &[]),
        stop,
    ];
    assert_eq!(said(&seen), "");
    assert_eq!(said(&answered(addition(3), added(&[(1, false), (2, false), (3, true)]))), "");
}

#[test]
fn a_promotion_on_one_side_only_is_found() {
    assert_eq!(
        said(&[group(4, &[1, 2], &[3])]),
        "at entry 4 member 2 counts voters [1, 2] and learners [3], \
         should be [1, 2, 3] and []"
    );
    assert_eq!(
        said(&[members(4, &[(1, false), (2, false), (3, true)])]),
        "at entry 4 member 2 shows [(MemberId(1), false), (MemberId(2), false), \
         (MemberId(3), true)], should be [(1, false), (2, false), (3, false)]"
    );
}

#[test]
fn a_mark_with_another_group_is_found() {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    let mark = SnapshotMark { index: LogIndex(5), term: Term(2), conf_state };
    assert_eq!(
        said(&[Seen::Installed { member: MemberId(3), mark }]),
        "at entry 5 an image for member 3 has voters [1, 2, 3] and learners [], \
         should be [2, 3] and []"
    );
}

#[test]
fn an_answer_that_shows_another_group_is_found() {
    let wrong = said(&answered(addition(3), added(&[(1, false), (2, false)])));
    assert!(wrong.ends_with("which no such change led to"), "{wrong}");
    let never = said(&answered(addition(4), added(&[(2, false), (3, false), (4, true)])));
    assert!(never.ends_with("which no such change led to"), "{never}");
}

#[test]
fn a_refused_change_that_is_made_is_found() {
    let asked = |wish: u64| {
        let request = Request::MemberRemove(pb::MemberRemoveRequest { id: 2 });
        let outcome = Outcome::Refused(Refusal::MemberNotFound);
        let [called, returned] = answered(request, outcome);
        let (member, id, term) = (MemberId(2), RequestId(wish), Term(2));
        let (call, data) = (Some(CallId(7)), Bytes::new());
        let proposed = Seen::Proposed { member, id, term, call, data };
        [called, proposed, returned]
    };
    let entries = vec![change(6, Kind::ConfChangeRemoveNode, 2, "")];
    let made = [Seen::Committed { member: MemberId(2), entries }];
    assert_eq!(said(&[&asked(7), &made[..]].concat()), "", "another's");
    let early = said(&[&asked(6), &made[..]].concat());
    assert!(early.ends_with("is made, which was refused"), "{early}");
    let late = said(&[&made[..], &asked(6)].concat());
    assert!(late.ends_with("was refused as MemberNotFound, and is made"), "{late}");
}

/// Whoever refused it, and wherever it came from.
#[test]
fn a_refused_addition_that_happens_is_found() {
    let refused = Outcome::Refused(Refusal::Unhealthy);
    let late = said(&answered(addition(3), refused.clone()));
    assert!(late.ends_with("was refused as Unhealthy, and is made"), "{late}");
    let mut seen = answered(addition(4), refused).to_vec();
    let entries = vec![change(6, Kind::ConfChangeAddLearnerNode, 4, "{\"id\":4}")];
    seen.push(Seen::Committed { member: MemberId(2), entries });
    let early = said(&seen);
    assert!(early.ends_with("is made, which was refused"), "{early}");
}

#[test]
fn a_change_that_is_made_twice_is_found() {
    let moved = |index: u64, wish: u64| {
        let context = Bytes::from("{\"id\":2,\"peerURLs\":[\"http://moved\"]}");
        let kind = Kind::ConfChangeUpdateNode.into();
        let data = ConfChange { id: wish, r#type: kind, node_id: 2, context }.encode_to_vec();
        let kind = EntryKind::ConfChange;
        let entry = Entry { term: Term(2), index: LogIndex(index), kind, data: data.into() };
        Seen::Committed { member: MemberId(2), entries: vec![entry] }
    };
    assert_eq!(said(&[moved(6, 6), moved(7, 7)]), "");
    let twice = said(&[moved(6, 6), moved(7, 6)]);
    assert!(twice.ends_with("is made again"), "{twice}");
}

#[test]
fn stopping_without_being_removed_is_found() {
    let stop = Seen::Stopped { member: MemberId(2), why: Stop::Removed };
    assert_eq!(said(&[stop]), "member 2 stops as removed, but nobody removed it");
}

#[test]
fn forgetting_who_was_sent_away_is_found() {
    let started = |commit: u64, stored: u64| {
        let hard_state = HardState { commit: LogIndex(commit), ..HardState::default() };
        let log = LogContents { hard_state, ..LogContents::default() };
        let stored = SnapshotMark { index: LogIndex(stored), ..SnapshotMark::default() };
        Seen::Started { member: MemberId(2), boot: 1, log, stored }
    };
    let entries = vec![change(6, Kind::ConfChangeRemoveNode, 3, "")];
    let handed = Seen::Committed { member: MemberId(2), entries };
    let counted = group(6, &[2], &[]);
    assert_eq!(said(&[group(5, &[2, 3], &[]), started(4, 0)]), "", "it was an image's");
    assert_eq!(said(&[handed.clone(), counted.clone(), started(6, 0)]), "");
    assert_eq!(said(&[handed.clone(), counted.clone(), started(0, 6)]), "");
    assert_eq!(
        said(&[handed, counted, started(5, 2)]),
        "member 2 counted its group as of entry 6, and starts knowing only of entry 5 that it is \
         committed"
    );
}
