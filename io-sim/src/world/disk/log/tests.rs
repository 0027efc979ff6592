use std::collections::BTreeSet;

use quorate_core::ids::Term;

use super::*;
use crate::world::luck::Purpose;

fn entry(index: u64, term: u64) -> Entry {
    Entry { index: LogIndex(index), term: Term(term), ..Entry::default() }
}

fn batch(number: u64, entries: &[(u64, u64)]) -> Persist {
    let entries: Vec<_> = entries.iter().map(|&(index, term)| entry(index, term)).collect();
    let term = entries.last().map_or(Term(0), |last| last.term);
    let hard_state = Some(HardState { term, ..HardState::default() });
    Persist { number, hard_state, entries, snapshot: None, must_sync: true }
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark { index: LogIndex(index), term: Term(term), ..SnapshotMark::default() }
}

fn found(log: &mut Log) -> (u64, Vec<(u64, u64)>) {
    let contents = log.load(&mark(0, 0)).unwrap();
    let entries = contents.entries.iter().map(|e| (e.index.0, e.term.0)).collect();
    (contents.hard_state.term.0, entries)
}

#[test]
fn what_was_synced_survives_and_any_prefix_of_the_rest_may() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut log = Log::default();
        log.write(batch(1, &[(1, 1)]), None);
        assert_eq!(log.begin(), Some(true));
        log.write(batch(2, &[(2, 2), (3, 2)]), None);
        assert_eq!(log.begin(), None);
        let completed = log.complete().unwrap();
        assert_eq!((completed.number, completed.synced), (1, true));
        log.crash(&mut Luck::new(seed, Purpose::Disk, 0));
        seen.insert(found(&mut log));
    }
    let all = [
        (1, vec![(1, 1)]),
        (1, vec![(1, 1), (2, 2)]),
        (1, vec![(1, 1), (2, 2), (3, 2)]),
        (2, vec![(1, 1), (2, 2), (3, 2)]),
    ];
    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn a_batch_that_need_not_be_synced_is_reported_and_not_safe() {
    let mut log = Log::default();
    log.write(Persist { must_sync: false, ..batch(1, &[]) }, None);
    assert_eq!(log.begin(), Some(false));
    let completed = log.complete().unwrap();
    assert_eq!((completed.number, completed.synced), (1, false));
    assert_eq!(log.begin(), None);
    log.write(batch(2, &[(1, 1)]), None);
    assert_eq!(log.begin(), Some(true));
    log.complete();
    log.crash(&mut Luck::new(0, Purpose::Disk, 0));
    assert_eq!(found(&mut log), (1, vec![(1, 1)]));
}

#[test]
fn an_entry_replaces_its_index_and_all_after() {
    let mut log = Log::default();
    log.write(batch(1, &[(1, 1), (2, 1), (3, 1)]), None);
    log.write(batch(2, &[(2, 2)]), None);
    log.begin();
    assert_eq!(log.complete().unwrap().number, 2);
    assert_eq!(found(&mut log), (2, vec![(1, 1), (2, 2)]));
}

#[test]
fn a_cut_log_begins_at_its_mark_and_refuses_an_older_store() {
    let mut log = Log::default();
    log.write(batch(1, &[(1, 1), (2, 1), (3, 1)]), None);
    log.cut(mark(2, 1));
    log.begin();
    log.complete();
    let contents = log.load(&mark(3, 1)).unwrap();
    assert_eq!((contents.mark, contents.entries), (mark(2, 1), vec![entry(3, 1)]));
    assert!(log.load(&mark(1, 1)).is_err());
}

#[test]
fn a_log_that_ends_before_the_store_or_contradicts_it_starts_over_there() {
    for stored in [mark(4, 1), mark(2, 2)] {
        let mut log = Log::default();
        log.write(batch(1, &[(1, 1), (2, 1), (3, 1)]), None);
        log.begin();
        log.complete();
        let contents = log.load(&stored).unwrap();
        assert_eq!((contents.mark, contents.entries), (stored.clone(), Vec::new()));
        let next = stored.index.0 + 1;
        log.write(batch(2, &[(next, 3)]), None);
        log.begin();
        log.complete();
        let contents = log.load(&stored).unwrap();
        let entries: Vec<_> = contents.entries.iter().map(|entry| entry.index.0).collect();
        assert_eq!((contents.mark, entries), (stored, vec![next]));
    }
}

#[test]
fn an_image_is_in_place_before_the_log_says_so() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let mut log = Log::default();
        log.write(batch(1, &[(1, 1)]), None);
        log.begin();
        log.complete();
        log.write(
            Persist { snapshot: Some(mark(9, 2)), ..batch(2, &[]) },
            Some(Content::default()),
        );
        let installed = log.crash(&mut Luck::new(seed, Purpose::Disk, 0)).is_some();
        let restarted = log.durable.begin() == LogIndex(9);
        seen.insert((installed, restarted));
    }
    assert_eq!(seen, BTreeSet::from([(false, false), (true, false), (true, true)]));
}
