use quorate_proto::raftpb::ConfChange;

use super::*;

const ID: RequestId = RequestId(9);

fn record(id: u64, is_learner: bool) -> MemberRecord {
    let peer_urls = alloc::vec![alloc::format!("http://127.0.0.1:{id}")];
    MemberRecord { id, peer_urls, is_learner, ..MemberRecord::default() }
}

/// Voters 1 and 2, learner 3.
fn group() -> Members {
    let mut members = Members::default();
    for (id, is_learner) in [(1, false), (2, false), (3, true)] {
        members.apply_change(&Change::Add(record(id, is_learner))).unwrap();
    }
    members
}

fn context(change: &ConfChange) -> &str {
    core::str::from_utf8(&change.context).unwrap()
}

#[test]
fn contexts_are_etcds_json() {
    let add = Change::Add(record(7, true)).encode(ID);
    assert_eq!(
        context(&add),
        r#"{"id":7,"peerURLs":["http://127.0.0.1:7"],"isLearner":true,"isPromote":false}"#
    );
    assert_eq!(add.r#type(), ConfChangeType::ConfChangeAddLearnerNode);
    let promote = Change::Promote(MemberId(7)).encode(ID);
    assert_eq!(context(&promote), r#"{"id":7,"peerURLs":[],"isPromote":true}"#);
    assert_eq!(promote.r#type(), ConfChangeType::ConfChangeAddNode);
    assert!(Change::Remove(MemberId(7)).encode(ID).context.is_empty());
}

#[test]
fn what_is_written_is_read() {
    let all = [
        Change::Add(record(7, false)),
        Change::Add(record(7, true)),
        Change::Promote(MemberId(7)),
        Change::Update(record(7, false)),
        Change::Remove(MemberId(7)),
    ];
    for change in all {
        let encoded = change.encode(ID);
        assert_eq!((encoded.id, encoded.node_id), (9, 7));
        assert_eq!(Change::load(&encoded), Some(change));
    }
}

#[test]
fn contexts_of_others_are_no_changes() {
    let mut change = Change::Add(record(7, false)).encode(ID);
    change.node_id = 8;
    assert_eq!(Change::load(&change), None);
    change.context = "{".into();
    assert_eq!(Change::load(&change), None);
    // What Go writes for a promotion: a list that was never made.
    let null = r#"{"id":8,"peerURLs":null,"isPromote":true}"#;
    change.context = null.into();
    assert_eq!(Change::load(&change), Some(Change::Promote(MemberId(8))));
}

#[test]
fn impossible_changes_are_refused_and_change_nothing() {
    let mut members = group();
    members.apply_change(&Change::Remove(MemberId(2))).unwrap();
    let before = members.list();
    let url_of_one = MemberRecord { id: 5, ..record(1, false) };
    let cases = [
        (Change::Add(record(1, false)), Refusal::MemberExist),
        (Change::Add(url_of_one.clone()), Refusal::PeerUrlExist),
        (Change::Add(record(2, false)), Refusal::MemberNotFound),
        (Change::Remove(MemberId(2)), Refusal::MemberNotFound),
        (Change::Promote(MemberId(1)), Refusal::MemberNotLearner),
        (Change::Promote(MemberId(9)), Refusal::MemberNotFound),
        (Change::Update(record(9, false)), Refusal::MemberNotFound),
        (Change::Update(MemberRecord { id: 3, ..url_of_one }), Refusal::PeerUrlExist),
    ];
    for (change, refusal) in cases {
        assert_eq!(members.apply_change(&change), Err(refusal), "{change:?}");
    }
    assert_eq!(members.list(), before);
    let same = Change::Update(record(1, false));
    assert!(members.apply_change(&same).is_ok(), "its own URL is no duplicate");
}

#[test]
fn the_group_follows_the_members() {
    let mut state = ConfState::default();
    let steps = [
        (Change::Add(record(2, false)), &[2][..], &[][..]),
        (Change::Add(record(1, false)), &[1, 2], &[]),
        (Change::Add(record(3, true)), &[1, 2], &[3]),
        (Change::Promote(MemberId(3)), &[1, 2, 3], &[]),
        (Change::Update(record(1, false)), &[1, 2, 3], &[]),
        (Change::Remove(MemberId(2)), &[1, 3], &[]),
    ];
    for (change, voters, learners) in steps {
        apply_to_conf_state(&mut state, &change);
        assert_eq!((&state.voters[..], &state.learners[..]), (voters, learners), "{change:?}");
    }
}
