//! One member and its disk, right and then wrong in every way.

use quorate_core::ids::{LogIndex, Term};

use super::*;

const A: MemberId = MemberId(1);

fn entry(index: u64, term: u64) -> Entry {
    Entry { term: Term(term), index: LogIndex(index), ..Entry::default() }
}

fn state(term: u64, vote: u64) -> HardState {
    HardState { term: Term(term), vote, commit: LogIndex(0) }
}

fn started(hard_state: HardState, entries: Vec<Entry>, stored: u64) -> Seen {
    let log = LogContents { mark: SnapshotMark::default(), hard_state, entries };
    let stored = SnapshotMark { index: LogIndex(stored), ..Default::default() };
    Seen::Started { member: A, boot: 0, log, stored }
}

fn persisting(number: u64, hard_state: HardState, entries: Vec<Entry>) -> Seen {
    Seen::Persisting { member: A, number, hard_state: Some(hard_state), entries, snapshot: None }
}

const fn persisted(number: u64) -> Seen {
    Seen::Persisted { member: A, number }
}

fn sent(kind: MessageType, term: u64, to: u64, index: u64) -> Seen {
    Seen::Sent(Sent {
        from: A,
        to: MemberId(to),
        kind,
        term: Term(term),
        index: LogIndex(index),
        commit: LogIndex(0),
        reject: false,
    })
}

fn said(all: Vec<Seen>) -> String {
    let mut oracle = Durability::default();
    for seen in all {
        if let Err(violation) = oracle.observe(Time::ZERO, &seen) {
            return violation.what;
        }
    }
    "fine".to_owned()
}

/// Two entries and a vote, durable; a third on its way.
fn right() -> Vec<Seen> {
    vec![
        started(state(1, 0), vec![], 0),
        persisting(1, state(2, 3), vec![entry(1, 2), entry(2, 2)]),
        persisted(1),
        sent(MessageType::MsgVoteResp, 2, 3, 0),
        sent(MessageType::MsgAppResp, 2, 3, 2),
        persisting(2, state(3, 1), vec![entry(3, 3)]),
    ]
}

fn right_then(more: Vec<Seen>) -> String {
    said(right().into_iter().chain(more).collect())
}

#[test]
fn what_was_on_its_way_may_be_there_or_not() {
    let two = vec![entry(1, 2), entry(2, 2)];
    let three = vec![entry(1, 2), entry(2, 2), entry(3, 3)];
    assert_eq!(right_then(vec![started(state(2, 3), two, 0)]), "fine");
    assert_eq!(right_then(vec![started(state(3, 1), three, 0)]), "fine");
    // An overwrite that was on its way may have cut the log.
    let cut = persisting(3, state(4, 1), vec![entry(1, 4)]);
    assert_eq!(right_then(vec![cut, started(state(4, 1), vec![entry(1, 4)], 0)]), "fine");
}

/// A newer leader's log may hold older entries than those it replaces.
#[test]
fn older_entries_may_replace_newer_ones_if_they_were_on_their_way() {
    let first = || started(state(4, 0), vec![entry(1, 2), entry(2, 3), entry(3, 3)], 0);
    let append = || persisting(1, state(5, 0), vec![entry(2, 2), entry(3, 5)]);
    let found = |entries| started(state(4, 0), entries, 0);
    let whole = vec![entry(1, 2), entry(2, 2), entry(3, 5)];
    assert_eq!(said(vec![first(), append(), found(whole.clone())]), "fine");
    assert_eq!(said(vec![first(), append(), found(whole[..2].to_vec())]), "fine");
    let never = "member 1 found an older entry 2 than it had on disk";
    assert_eq!(said(vec![first(), found(whole)]), never);
    let short = "member 1 had entries up to 3 on disk, found 2";
    assert_eq!(said(vec![first(), append(), found(vec![entry(1, 2), entry(2, 3)])]), short);
}

#[test]
fn lost_entries_are_found() {
    assert_eq!(
        right_then(vec![started(state(2, 3), vec![entry(1, 2)], 0)]),
        "member 1 had entries up to 2 on disk, found 1"
    );
    assert_eq!(
        right_then(vec![started(state(2, 3), vec![entry(1, 1), entry(2, 2)], 0)]),
        "member 1 found an older entry 1 than it had on disk"
    );
}

#[test]
fn a_forgotten_vote_is_found() {
    let entries = vec![entry(1, 2), entry(2, 2)];
    assert_eq!(
        right_then(vec![started(state(2, 0), entries, 0)]),
        "member 1 had term 2 with a vote for 3 on disk, found term 2 with a vote for 0"
    );
}

#[test]
fn a_changed_vote_is_found() {
    assert_eq!(
        right_then(vec![persisting(3, state(3, 2), vec![])]),
        "member 1 goes from term 3 with a vote for 1 to term 3 with a vote for 2"
    );
    assert_eq!(
        right_then(vec![persisting(3, state(2, 3), vec![])]),
        "member 1 goes from term 3 with a vote for 1 to term 2 with a vote for 3"
    );
}

#[test]
fn promises_before_they_are_durable_are_found() {
    assert_eq!(
        right_then(vec![sent(MessageType::MsgVoteResp, 3, 1, 0)]),
        "member 1 votes for 1 in term 3, but its disk has term 2 with a vote for 3"
    );
    assert_eq!(
        right_then(vec![sent(MessageType::MsgVote, 3, 2, 0)]),
        "member 1 stands in term 3, but its disk has term 2 with a vote for 3"
    );
    assert_eq!(
        right_then(vec![sent(MessageType::MsgAppResp, 3, 3, 3)]),
        "member 1 acknowledges entry 3, its disk ends at 2"
    );
}

/// A follower writes what two leaders sent in one go: the second one's entries cut the first one's.
#[test]
fn a_leader_hears_of_entries_that_were_cut_as_soon_as_they_were_durable() {
    let both = || {
        vec![
            persisting(3, state(3, 1), vec![entry(4, 3), entry(5, 3)]),
            persisting(4, state(4, 0), vec![entry(3, 4)]),
            persisted(4),
        ]
    };
    let then = |index| right_then([both(), vec![index]].concat());
    assert_eq!(then(sent(MessageType::MsgAppResp, 3, 1, 5)), "fine");
    assert_eq!(
        then(sent(MessageType::MsgAppResp, 3, 1, 6)),
        "member 1 acknowledges entry 6, its disk ends at 3"
    );
    assert_eq!(
        then(sent(MessageType::MsgAppResp, 4, 2, 5)),
        "member 1 acknowledges entry 5, its disk ends at 3",
    );
}

#[test]
fn a_store_that_goes_back_or_ahead_is_found() {
    let synced = Seen::Synced { member: A, index: LogIndex(2) };
    let committed = Seen::Committed { member: A, entries: vec![entry(1, 2), entry(2, 2)] };
    let entries = || vec![entry(1, 2), entry(2, 2)];
    assert_eq!(
        right_then(vec![committed, synced.clone(), started(state(2, 3), entries(), 1)]),
        "member 1 had its store at 2, found it at 1"
    );
    assert_eq!(right_then(vec![synced]), "member 1 stored up to 2, committed is 0");
}
