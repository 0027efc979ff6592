//! Three members, right and then wrong in every way.

use bytes::Bytes;
use quorate_core::Role;
use quorate_core::ids::LogIndex;
use quorate_core::storage::{HardState, LogContents, SnapshotMark};

use super::*;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
const C: MemberId = MemberId(3);

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        term: Term(term),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data: Bytes::from(format!("{index}/{term}")),
    }
}

fn started(member: MemberId) -> Seen {
    let conf_state = raftpb::ConfState { voters: vec![1, 2, 3], ..Default::default() };
    let mark = SnapshotMark { index: LogIndex(1), term: Term(1), conf_state };
    let log = LogContents { mark: mark.clone(), ..Default::default() };
    Seen::Started { member, boot: 0, log, stored: mark }
}

fn leads(member: MemberId, term: u64) -> Seen {
    let role = Role { term: Term(term), leader: Some(member), is_leader: true };
    Seen::Role { member, role }
}

fn persisting(member: MemberId, number: u64, entries: Vec<Entry>) -> Seen {
    Seen::Persisting { member, number, hard_state: None, entries, snapshot: None }
}

const fn persisted(member: MemberId, number: u64) -> Seen {
    Seen::Persisted { member, number }
}

const fn committed(member: MemberId, entries: Vec<Entry>) -> Seen {
    Seen::Committed { member, entries }
}

/// What the oracle says of all three started and then this.
fn said(then: Vec<Seen>) -> String {
    let mut oracle = Raft::default();
    let all = [A, B, C].map(started).into_iter().chain(then);
    for seen in all {
        if let Err(violation) = oracle.observe(Time::ZERO, &seen) {
            return violation.what;
        }
    }
    "fine".to_owned()
}

/// A leads term 2 and commits entry 2 with B.
fn right() -> Vec<Seen> {
    vec![
        leads(A, 2),
        persisting(A, 1, vec![entry(2, 2)]),
        persisting(B, 1, vec![entry(2, 2)]),
        persisted(A, 1),
        persisted(B, 1),
        committed(A, vec![entry(2, 2)]),
        committed(B, vec![entry(2, 2)]),
    ]
}

fn right_then(more: Vec<Seen>) -> String {
    said(right().into_iter().chain(more).collect())
}

#[test]
fn a_right_run_is_accepted() {
    assert_eq!(right_then(vec![leads(B, 3), persisting(B, 2, vec![entry(3, 3)])]), "fine");
}

#[test]
fn two_leaders_of_one_term_are_found() {
    assert_eq!(right_then(vec![leads(B, 2)]), "term 2 has two leaders: 1 and 2");
}

#[test]
fn a_leader_without_a_committed_entry_is_found() {
    assert_eq!(right_then(vec![leads(C, 3)]), "leader 3 of term 3 lacks committed entry 2");
}

#[test]
fn a_commit_without_a_quorum_is_found() {
    let mut seen = right();
    seen.remove(4);
    assert_eq!(
        said(seen),
        "member 1 has entry 2 of term 2 committed, durable on [1] of voters {1, 2, 3}"
    );
}

#[test]
fn a_replaced_committed_entry_is_found() {
    assert_eq!(
        right_then(vec![persisting(B, 2, vec![entry(2, 3)])]),
        "member 2 replaces committed entry 2 of term 2 by term 3"
    );
}

#[test]
fn an_older_entry_may_come_late_where_the_committed_one_was_never_held() {
    let late = |member| vec![leads(C, 1), persisting(member, 2, vec![entry(2, 1)])];
    assert_eq!(right_then(late(C)), "fine");
    assert_eq!(right_then(late(B)), "member 2 replaces committed entry 2 of term 2 by term 1");
    assert_eq!(
        right_then(vec![persisting(C, 1, vec![entry(2, 3)])]),
        "member 3 replaces committed entry 2 of term 2 by term 3"
    );
}

#[test]
fn what_a_deposed_leader_sent_may_come_late_though_it_is_newer_than_what_was_committed() {
    let until = |committed_in| {
        vec![
            persisting(A, 1, vec![entry(2, 2)]),
            persisting(B, 1, vec![entry(2, 2)]),
            persisted(A, 1),
            persisted(B, 1),
            leads(B, 3),
            leads(A, committed_in),
            committed(A, vec![entry(2, 2)]),
            persisting(C, 1, vec![entry(2, 3)]),
        ]
    };
    assert_eq!(said(until(4)), "fine");
    let too_late = "term 3 has two leaders: 2 and 1";
    assert_eq!(said(until(3)), too_late);
    let mut seen = until(4);
    seen.remove(5);
    assert_eq!(said(seen), "member 3 replaces committed entry 2 of term 2 by term 3");
}

#[test]
fn another_entry_at_a_committed_index_is_found() {
    assert_eq!(
        right_then(vec![committed(C, vec![entry(2, 3)])]),
        "entry 2 is committed twice: of term 2 and of 3"
    );
}

#[test]
fn entries_that_differ_or_stand_on_others_are_found() {
    let other = Entry { data: Bytes::from_static(b"other"), ..entry(3, 2) };
    assert_eq!(
        right_then(vec![persisting(A, 2, vec![entry(3, 2)]), persisting(B, 2, vec![other])]),
        "entry 3 of term 2 on member 2 differs from another's"
    );
    assert_eq!(
        right_then(vec![
            persisting(A, 2, vec![entry(3, 2), entry(4, 4)]),
            persisting(B, 2, vec![entry(3, 3), entry(4, 4)]),
        ]),
        "entry 4 of term 4 on member 2 differs from another's"
    );
}

#[test]
fn entries_handed_out_twice_or_with_a_gap_are_found() {
    assert_eq!(
        right_then(vec![committed(A, vec![entry(2, 2)])]),
        "member 1 hands out entry 2 after 2"
    );
    assert_eq!(
        right_then(vec![committed(A, vec![entry(4, 2)])]),
        "member 1 hands out entry 4 after 2"
    );
}

#[test]
fn the_quorum_is_that_of_the_newest_voters() {
    let change = raftpb::ConfChange {
        r#type: Kind::ConfChangeRemoveNode as i32,
        node_id: 3,
        ..Default::default()
    };
    let remove =
        Entry { kind: EntryKind::ConfChange, data: change.encode_to_vec().into(), ..entry(3, 2) };
    let again = Entry { index: LogIndex(4), ..remove.clone() };
    let on = |member, number, entry: &Entry| {
        [persisting(member, number, vec![entry.clone()]), persisted(member, number)]
    };
    let mut more: Vec<Seen> = Vec::new();
    more.extend(on(A, 2, &remove).into_iter().chain(on(B, 2, &remove)));
    more.push(committed(A, vec![remove]));
    more.extend(on(A, 3, &again).into_iter().chain(on(B, 3, &again)));
    more.push(committed(A, vec![again]));
    more.extend(on(A, 4, &entry(5, 2)).into_iter().chain(on(C, 4, &entry(5, 2))));
    more.push(committed(A, vec![entry(5, 2)]));
    assert_eq!(
        right_then(more),
        "member 1 has entry 5 of term 2 committed, durable on [1] of voters {1, 2}"
    );
}

#[test]
fn a_group_begins_with_what_all_have() {
    let add = |index: u64| {
        let change = raftpb::ConfChange { node_id: index, ..Default::default() };
        let data = change.encode_to_vec().into();
        Entry { kind: EntryKind::ConfChange, data, ..entry(index, 1) }
    };
    let first: Vec<Entry> = (1..=2).map(add).collect();
    let empty = |member| Seen::Started {
        member,
        boot: 0,
        log: LogContents::default(),
        stored: SnapshotMark::default(),
    };
    let mut oracle = Raft::default();
    let mut told = |seen: Vec<Seen>| {
        let judged = seen.iter().try_for_each(|seen| oracle.observe(Time::ZERO, seen));
        judged.map_err(|violation| violation.what)
    };
    let begin =
        |member| [empty(member), persisting(member, 1, first.clone()), persisted(member, 1)];
    assert_eq!(told(begin(A).to_vec()), Ok(()));
    assert_eq!(told(first.iter().map(|it| committed(A, vec![it.clone()])).collect()), Ok(()));
    assert_eq!(told(begin(B).to_vec()), Ok(()));
    assert_eq!(
        told(vec![
            persisting(A, 2, vec![entry(3, 2)]),
            persisted(A, 2),
            committed(A, vec![entry(3, 2)]),
        ]),
        Err("member 1 has entry 3 of term 2 committed, durable on [1] of voters {1, 2}".to_owned())
    );
}

/// Its term was lost with what it wrote in it, and nobody had heard of either.
#[test]
fn a_sole_voter_may_begin_a_term_again_that_it_lost() {
    let alone = |voters: Vec<u64>, kept: u64| {
        let conf_state = raftpb::ConfState { voters, ..Default::default() };
        let mark = SnapshotMark { index: LogIndex(1), term: Term(1), conf_state };
        let hard_state = HardState { term: Term(kept), ..Default::default() };
        let log = LogContents { mark: mark.clone(), hard_state, ..Default::default() };
        Seen::Started { member: A, boot: 0, log, stored: mark }
    };
    let again = |voters: &[u64], kept| {
        let mut oracle = Raft::default();
        let other = Entry { data: Bytes::from_static(b"other"), ..entry(2, 2) };
        let mut all = vec![alone(voters.to_vec(), 1), leads(A, 2)];
        all.push(persisting(A, 1, vec![entry(2, 2)]));
        all.extend([alone(voters.to_vec(), kept), leads(A, 2), persisting(A, 1, vec![other])]);
        all.iter().try_for_each(|seen| oracle.observe(Time::ZERO, seen)).is_ok()
    };
    assert!(again(&[1], 1));
    assert!(!again(&[1], 2), "it kept the term");
    assert!(!again(&[1, 2], 1), "others voted for it");
}

#[test]
fn a_proposal_in_a_term_it_was_not_put_up_for_is_found() {
    let id = RequestId(2 << 48 | 7);
    let proposed = |term| {
        let (member, data) = (B, Bytes::new());
        Seen::Proposed { member, id, term: Term(term), call: None, data }
    };
    let change = raftpb::ConfChange { id: id.0, node_id: 4, ..Default::default() };
    let header = pb::RequestHeader { id: id.0, ..Default::default() };
    let put = pb::InternalRaftRequest { header: Some(header), ..Default::default() };
    let datas =
        [(EntryKind::ConfChange, change.encode_to_vec()), (EntryKind::Normal, put.encode_to_vec())];
    for (kind, data) in datas {
        let written = |member| {
            let data = data.clone().into();
            persisting(member, 2, vec![Entry { kind, data, ..entry(3, 2) }])
        };
        assert_eq!(right_then(vec![proposed(1), proposed(2), written(A), written(B)]), "fine");
        let wrong = "entry 3 of term 2 was put up for terms [1]";
        assert_eq!(right_then(vec![proposed(1), written(A), proposed(2)]), wrong);
    }
}

#[test]
fn a_change_behind_one_that_is_not_committed_is_found() {
    let change = |index, term| {
        let data = raftpb::ConfChange { node_id: index, ..Default::default() };
        let (kind, data) = (EntryKind::ConfChange, data.encode_to_vec().into());
        Entry { kind, data, ..entry(index, term) }
    };
    let wrong = "member 1 writes change 4 while change 3 is not committed";
    let one = persisting(A, 2, vec![change(3, 2)]);
    assert_eq!(right_then(vec![one.clone(), persisting(A, 3, vec![change(4, 2)])]), wrong);
    assert_eq!(right_then(vec![persisting(A, 2, vec![change(3, 2), change(4, 2)])]), wrong);
    let other = persisting(A, 3, vec![entry(3, 3), change(4, 3)]);
    assert_eq!(right_then(vec![one, leads(B, 3), other]), "fine", "it is replaced (seed 11643)");
}
