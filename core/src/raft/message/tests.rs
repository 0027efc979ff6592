use super::*;
use alloc::vec;
use bytes::Bytes;

const MEMBER: Standing = Standing {
    id: 1,
    term: 5,
    role: StateRole::Follower,
    leader: 2,
    last_index: 20,
    committed: 10,
    committed_term: 4,
    asked_votes_in: 0,
    may_campaign: true,
    is_full: false,
    matched: Some(8),
};

fn message(kind: Wire) -> raftpb::Message {
    raftpb::Message { r#type: kind as i32, to: 1, from: 2, term: 5, ..Default::default() }
}

fn entry(index: u64, term: u64) -> raftpb::Entry {
    raftpb::Entry { index, term, data: Bytes::from_static(b"x"), ..Default::default() }
}

fn judge(standing: Standing, message: raftpb::Message) -> Result<bool, Misbehaviour> {
    standing.parse(MemberId(2), message).map(|parsed| parsed.is_some())
}

#[test]
fn kinds_that_never_travel_are_malformed() {
    for number in (-1..30).filter(|number| parse_kind(*number).is_none()) {
        let message = raftpb::Message { r#type: number, ..message(Wire::MsgApp) };
        assert_eq!(judge(MEMBER, message), Err(Misbehaviour::Malformed), "kind {number}");
    }
    assert_eq!((-1..30).filter_map(parse_kind).count(), KINDS.len());
}

#[test]
fn addresses_and_terms_must_fit() {
    let heartbeat = || message(Wire::MsgHeartbeat);
    assert_eq!(judge(MEMBER, heartbeat()), Ok(true));
    let misdelivered = raftpb::Message { to: 3, ..heartbeat() };
    assert_eq!(judge(MEMBER, misdelivered), Err(Misbehaviour::Misdelivered));
    let forged = raftpb::Message { from: 3, ..heartbeat() };
    assert_eq!(judge(MEMBER, forged), Err(Misbehaviour::Inconsistent));
    let own = raftpb::Message { from: 1, ..heartbeat() };
    assert_eq!(MEMBER.parse(MemberId(1), own).err(), Some(Misbehaviour::Inconsistent));
    let local = raftpb::Message { term: 0, ..heartbeat() };
    assert_eq!(judge(MEMBER, local), Err(Misbehaviour::Malformed));
    let huge = raftpb::Message { term: u64::MAX, ..heartbeat() };
    assert_eq!(judge(MEMBER, huge), Err(Misbehaviour::Inconsistent));
    let beyond = raftpb::Message { commit: 21, ..heartbeat() };
    assert_eq!(judge(MEMBER, beyond), Err(Misbehaviour::Inconsistent));
}

#[test]
fn appended_entries_follow_one_another() {
    let append = |index, log_term, entries| raftpb::Message {
        index,
        log_term,
        entries,
        ..message(Wire::MsgApp)
    };
    assert_eq!(judge(MEMBER, append(0, 0, vec![entry(1, 1), entry(2, 5)])), Ok(true));
    let bad = [
        append(0, 1, vec![]),
        append(30, 0, vec![]),
        append(9, 6, vec![]),
        append(9, 4, vec![entry(11, 4)]),
        append(9, 4, vec![entry(10, 3)]),
        append(9, 4, vec![entry(10, 6)]),
        append(0, 0, vec![entry(1, 0)]),
        append(9, 4, vec![entry(10, 5), entry(11, 4)]),
    ];
    for message in bad {
        assert_eq!(judge(MEMBER, message.clone()), Err(Misbehaviour::Inconsistent), "{message:?}");
    }
    let full = Standing { is_full: true, ..MEMBER };
    let more = append(20, 4, vec![entry(21, 5)]);
    assert_eq!([judge(MEMBER, more.clone()), judge(full, more)], [Ok(true), Ok(false)]);
    assert_eq!(judge(full, append(19, 4, vec![entry(20, 5)])), Ok(true), "a tail is replaced");
    let unknown = raftpb::Entry { r#type: 9, ..entry(10, 4) };
    assert_eq!(judge(MEMBER, append(9, 4, vec![unknown])), Err(Misbehaviour::Malformed));
}

#[test]
fn answers_come_from_members_and_claim_no_more_than_was_sent() {
    let leader = Standing { role: StateRole::Leader, ..MEMBER };
    let answer = |index| raftpb::Message { index, ..message(Wire::MsgAppResp) };
    assert_eq!(judge(leader, answer(20)), Ok(true));
    assert_eq!(judge(leader, answer(21)), Err(Misbehaviour::Inconsistent));
    let refusal = |index| raftpb::Message { reject: true, ..answer(index) };
    assert_eq!([judge(leader, refusal(8)), judge(leader, refusal(9))], [Ok(false), Ok(true)]);
    let stranger = Standing { matched: None, ..leader };
    assert_eq!(judge(stranger, answer(20)), Err(Misbehaviour::Stranger));
    let candidate = Standing { role: StateRole::Candidate, ..MEMBER };
    let vote = || message(Wire::MsgVoteResp);
    assert_eq!(judge(candidate, vote()), Err(Misbehaviour::Inconsistent));
    assert_eq!(judge(Standing { asked_votes_in: 5, ..candidate }, vote()), Ok(true));
}

#[test]
fn images_need_a_place_and_a_possible_group() {
    let image = |index, term, voters: &[u64]| raftpb::Message {
        snapshot: Some(raftpb::Snapshot {
            metadata: Some(raftpb::SnapshotMetadata {
                index,
                term,
                conf_state: Some(raftpb::ConfState {
                    voters: voters.to_vec(),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }),
        ..message(Wire::MsgSnap)
    };
    assert_eq!(judge(MEMBER, image(30, 5, &[1, 2])), Ok(true));
    assert_eq!(judge(MEMBER, image(10, 4, &[1, 2])), Ok(true));
    assert_eq!(judge(MEMBER, image(10, 5, &[1, 2])), Err(Misbehaviour::Inconsistent));
    assert_eq!(judge(MEMBER, image(30, 0, &[1, 2])), Err(Misbehaviour::Inconsistent));
    assert_eq!(judge(MEMBER, image(30, 6, &[1, 2])), Err(Misbehaviour::Inconsistent));
    assert_eq!(judge(MEMBER, image(30, 5, &[])), Err(Misbehaviour::Malformed));
    assert_eq!(judge(MEMBER, message(Wire::MsgSnap)), Err(Misbehaviour::Malformed));
}

#[test]
fn forwards_are_for_leaders() {
    let leader = Standing { role: StateRole::Leader, ..MEMBER };
    let forward = |kind, term, entries| raftpb::Message { term, entries, ..message(kind) };
    for (kind, term) in [(Wire::MsgProp, leader.term), (Wire::MsgReadIndex, 0)] {
        assert_eq!(judge(leader, forward(kind, term, vec![entry(0, 0)])), Ok(true));
        assert_eq!(judge(MEMBER, forward(kind, term, vec![entry(0, 0)])), Ok(false));
        assert_eq!(judge(leader, forward(kind, term, vec![])), Err(Misbehaviour::Malformed));
    }
    let read = forward(Wire::MsgReadIndex, leader.term, vec![entry(0, 0)]);
    assert_eq!(judge(leader, read), Err(Misbehaviour::Malformed));
    let boundless = forward(Wire::MsgProp, 0, vec![entry(0, 0)]);
    assert_eq!(judge(leader, boundless), Err(Misbehaviour::Malformed));
    for term in [leader.term - 1, leader.term + 1] {
        let of_another_term = forward(Wire::MsgProp, term, vec![entry(0, 0)]);
        assert_eq!(judge(leader, of_another_term), Ok(false));
    }
    let unreadable = raftpb::Entry {
        r#type: raftpb::EntryType::EntryConfChange as i32,
        data: Bytes::from_static(&[255; 4]),
        ..Default::default()
    };
    let change = forward(Wire::MsgProp, leader.term, vec![unreadable]);
    assert_eq!(judge(leader, change), Err(Misbehaviour::Malformed));
}

#[test]
fn appends_that_follow_one_another_leave_as_one() {
    let append = |index, entries, commit| raftpb::Message {
        index,
        log_term: 4,
        entries,
        commit,
        ..message(Wire::MsgApp)
    };
    let sent = vec![
        append(7, vec![entry(8, 4)], 5),
        append(6, vec![], 6),
        append(6, vec![entry(7, 4)], 4),
        append(8, vec![], 7),
        append(9, vec![entry(10, 4)], 7),
    ];
    let joined = append(6, vec![entry(7, 4), entry(8, 4)], 7);
    let apart = append(9, vec![entry(10, 4)], 7);
    assert_eq!(order_messages(sent, 100), [joined, apart]);
    let sent = vec![append(6, vec![entry(7, 4)], 4), append(7, vec![entry(8, 4)], 5)];
    assert_eq!(order_messages(sent.clone(), 1), sent, "too large for one");
}
