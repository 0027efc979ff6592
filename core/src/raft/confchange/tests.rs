use super::*;
use alloc::string::ToString;
use alloc::vec;

use crate::ids::MemberId;

fn conf(voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64]) -> raftpb::ConfState {
    raftpb::ConfState {
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        voters_outgoing: outgoing.to_vec(),
        learners_next: next.to_vec(),
        auto_leave: false,
    }
}

fn change(kind: raftpb::ConfChangeType, node_id: u64) -> Entry {
    let change =
        raftpb::ConfChange { r#type: kind as i32, node_id, ..raftpb::ConfChange::default() };
    Entry { kind: EntryKind::ConfChange, data: change.encode_to_vec().into(), ..Entry::default() }
}

#[test]
fn kinds_are_translated_by_name() {
    use raftpb::ConfChangeType as Kind;
    let kind = |kind| parse_change(&change(kind, 4)).map(|c| c.changes[0].get_change_type());
    assert_eq!(kind(Kind::ConfChangeAddNode), Some(eraftpb::ConfChangeType::AddNode));
    assert_eq!(kind(Kind::ConfChangeRemoveNode), Some(eraftpb::ConfChangeType::RemoveNode));
    assert_eq!(kind(Kind::ConfChangeUpdateNode), None);
    assert_eq!(kind(Kind::ConfChangeAddLearnerNode), Some(eraftpb::ConfChangeType::AddLearnerNode));
    let garbage =
        Entry { kind: EntryKind::ConfChange, data: vec![255; 3].into(), ..Entry::default() };
    assert_eq!(parse_change(&garbage), None);
}

#[test]
fn an_empty_joint_change_leaves_but_an_update_does_not() {
    let entry = |changes| Entry {
        kind: EntryKind::ConfChangeV2,
        data: raftpb::ConfChangeV2 { changes, ..raftpb::ConfChangeV2::default() }
            .encode_to_vec()
            .into(),
        ..Entry::default()
    };
    assert!(parse_change(&entry(vec![])).unwrap().leave_joint());
    let update = raftpb::ConfChangeType::ConfChangeUpdateNode as i32;
    let single = raftpb::ConfChangeSingle { r#type: update, node_id: 1 };
    assert_eq!(parse_change(&entry(vec![single])), None);
}

#[test]
fn a_group_is_not_larger_than_any_can_be() {
    let of = |size: usize| conf(&(1..=size as u64).collect::<Vec<_>>(), &[], &[], &[]);
    assert!(parse_conf_state(&of(MEMBERS_MAX)).is_some());
    assert!(parse_conf_state(&of(MEMBERS_MAX + 1)).is_none());
}

#[test]
fn impossible_groups_are_refused() {
    let good = [
        conf(&[1], &[], &[], &[]),
        conf(&[1, 2, 3], &[4], &[], &[]),
        conf(&[1, 2, 3], &[5], &[1, 2, 4, 6], &[4]),
    ];
    for conf in good {
        assert_eq!(encode_conf_state(&parse_conf_state(&conf).unwrap()), conf);
    }
    let bad = [
        conf(&[], &[], &[], &[]),
        conf(&[0, 1], &[], &[], &[]),
        conf(&[1, 1], &[], &[], &[]),
        conf(&[1], &[1], &[], &[]),
        conf(&[1], &[2], &[2], &[]),
        conf(&[1], &[], &[], &[2]),
        conf(&[1, 2], &[], &[2], &[2]),
        raftpb::ConfState { auto_leave: true, ..conf(&[1], &[], &[], &[]) },
    ];
    for conf in bad {
        assert_eq!(parse_conf_state(&conf), None, "{conf:?}");
    }
}

#[test]
fn history_knows_groups_by_index() {
    let mark = |index, voters: &[u64]| SnapshotMark {
        index: LogIndex(index),
        term: Term(1),
        conf_state: conf(voters, &[], &[], &[]),
    };
    let entries: Vec<Entry> = (11..=20)
        .map(|index| Entry {
            index: LogIndex(index),
            kind: if [12, 14, 18].contains(&index) {
                EntryKind::ConfChange
            } else {
                EntryKind::Normal
            },
            ..Entry::default()
        })
        .collect();
    let mut history = ConfHistory::open(&mark(10, &[1]), &mark(16, &[1, 2]), &entries);
    history.note(LogIndex(18), conf(&[1, 2, 3], &[], &[], &[]));
    let known = |history: &ConfHistory, index| {
        history.known_at(index).map(|(at, conf)| (at, conf.voters.len()))
    };
    assert_eq!(known(&history, 11), Some((11, 1)));
    assert_eq!(known(&history, 13), Some((11, 1)), "not known between two old changes");
    assert_eq!(known(&history, 14), Some((14, 2)));
    assert_eq!(known(&history, 17), Some((17, 2)));
    assert_eq!(known(&history, 30), Some((30, 3)));
    history.cut(15);
    assert_eq!(known(&history, 13), None);
    assert_eq!(known(&history, 15), Some((15, 2)));
}

#[test]
fn bootstrap_writes_etcds_member_records_by_id() {
    let peer = |id, name: &str| Peer {
        id: MemberId(id),
        name: name.to_string(),
        peer_urls: vec!["http://127.0.0.1:2380".to_string()],
    };
    let entries = encode_bootstrap(&[peer(9, "b&b"), peer(4, "")]).unwrap();
    let context = |entry: &Entry| {
        let change = raftpb::ConfChange::decode(entry.data.clone()).unwrap();
        String::from_utf8(change.context.to_vec()).unwrap()
    };
    assert_eq!(
        entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(),
        [(LogIndex(1), Term(1)), (LogIndex(2), Term(1))]
    );
    assert_eq!(context(&entries[0]), r#"{"id":4,"peerURLs":["http://127.0.0.1:2380"]}"#);
    assert_eq!(
        context(&entries[1]),
        r#"{"id":9,"peerURLs":["http://127.0.0.1:2380"],"name":"b\u0026b"}"#
    );
}
