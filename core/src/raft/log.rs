//! The window of the log that stays in memory: everything behind the newest point it may start
//! from.
//!
//! Entries enter when raft hands them out to be persisted, before they are on disk: raft reads
//! them from here from then on, and counts for itself how far they are durable.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::Cell;

use ::raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use ::raft::util::entry_approximate_size;
use ::raft::{GetEntriesContext, RaftState, Result, Storage, StorageError};

/// Entries after `start`, and what raft wants to know about storage.
pub(crate) struct Log {
    start: Point,
    entries: VecDeque<Entry>,
    bytes: u64,
    applied: u64,
    unapplied_bytes: u64,
    initial: RaftState,
    image: Option<Snapshot>,
    image_wanted: Cell<bool>,
    commits_max: usize,
}

/// An entry's place without the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

impl Log {
    /// The window as it was found: `entries` follow `start` without gaps, and none of them is
    /// applied yet.
    pub(crate) fn open(
        start: Point,
        entries: Vec<Entry>,
        hard: HardState,
        conf: ConfState,
    ) -> Self {
        let bytes = entries.iter().map(size).sum();
        Self {
            start,
            entries: entries.into(),
            bytes,
            applied: start.index,
            unapplied_bytes: bytes,
            initial: RaftState::new(hard, conf),
            image: None,
            image_wanted: Cell::new(false),
            commits_max: usize::MAX,
        }
    }

    /// The last entry that is not here any more.
    pub(crate) fn start(&self) -> Point {
        self.start
    }

    /// The last entry.
    pub(crate) fn last_index(&self) -> u64 {
        self.start.index + self.entries.len() as u64
    }

    /// The term of the entry at `index`, if it is here or just before.
    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        self.entries.get(self.position(index)?).map(|entry| entry.term)
    }

    /// Appends; an entry whose index is taken replaces it and all after it.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        let keep = self.position(first.index).unwrap_or(0);
        // What is replaced was never committed, so never applied.
        for entry in self.entries.drain(keep.min(self.entries.len())..) {
            self.bytes -= size(&entry);
            self.unapplied_bytes -= size(&entry);
        }
        let bytes = entries.iter().map(size).sum::<u64>();
        self.bytes += bytes;
        self.unapplied_bytes += bytes;
        self.entries.extend(entries);
    }

    /// Starts over behind an image.
    pub(crate) fn restart(&mut self, start: Point) {
        self.entries.clear();
        self.bytes = 0;
        self.unapplied_bytes = 0;
        self.applied = start.index;
        self.start = start;
        self.image = None;
    }

    /// Entries up to `index` are applied.
    pub(crate) fn note_applied(&mut self, index: u64) {
        let from = self.offset(self.applied);
        let newly = self.entries.range(from..self.offset(index).max(from));
        self.unapplied_bytes -= newly.map(size).sum::<u64>();
        self.applied = self.applied.max(index);
    }

    /// Bytes of the entries that are not applied.
    pub(crate) fn unapplied_bytes(&self) -> u64 {
        self.unapplied_bytes
    }

    /// Forgets entries up to and including `index`.
    pub(crate) fn cut(&mut self, index: u64) {
        let Some(term) = self.term_at(index) else { return };
        let gone = (index - self.start.index) as usize;
        for entry in self.entries.drain(..gone) {
            self.bytes -= size(&entry);
        }
        self.start = Point { index, term };
        if self.image.as_ref().is_some_and(|image| image.get_metadata().index < index) {
            self.image = None;
        }
    }

    /// Where to cut when everything up to `stored` is in the store: `entries_kept` behind it, or
    /// fewer if what is kept exceeds `bytes_max`.
    pub(crate) fn cut_point(&self, stored: u64, entries_kept: u64, bytes_max: u64) -> u64 {
        let mut cut = stored.saturating_sub(entries_kept).max(self.start.index);
        let behind = |from: u64| self.entries.range(self.offset(from)..self.offset(stored));
        let mut kept: u64 = behind(cut).map(size).sum();
        for entry in behind(cut) {
            if kept <= bytes_max {
                break;
            }
            kept -= size(entry);
            cut = entry.index;
        }
        cut
    }

    /// The image that may be announced from now on.
    pub(crate) fn offer_image(&mut self, image: Option<Snapshot>) {
        self.image = image.filter(|image| image.get_metadata().index >= self.start.index);
    }

    /// Whether raft asked for an image since the last call and there was none that would do.
    pub(crate) fn take_image_wish(&self) -> bool {
        self.image_wanted.take()
    }

    /// Limits how many committed entries raft is given at once.
    pub(crate) fn limit_commits(&mut self, most: usize) {
        self.commits_max = most;
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.start.index + 1)?).ok()
    }

    fn offset(&self, index: u64) -> usize {
        (index.saturating_sub(self.start.index) as usize).min(self.entries.len())
    }
}

/// Whether a member is in the group as of an image. It ignores one that is older than that.
fn has_member(image: &Snapshot, member: u64) -> bool {
    let group = image.get_metadata().get_conf_state();
    [group.get_voters(), group.get_learners(), group.get_voters_outgoing()]
        .iter()
        .any(|members| members.contains(&member))
}

/// Bytes an entry is counted for.
fn size(entry: &Entry) -> u64 {
    entry_approximate_size(entry) as u64
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.start.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_index() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        // Only reads for followers may be answered later; all others are for commits while limited.
        let most = if context.can_async() { usize::MAX } else { self.commits_max };
        let room = max_size.into().unwrap_or(u64::MAX);
        let mut taken = 0;
        let range = self.entries.range(self.offset(low - 1)..self.offset(high - 1));
        let fitting = range.take_while(|entry| {
            let is_first = taken == 0;
            taken += size(entry);
            is_first || taken <= room
        });
        Ok(fitting.take(most).cloned().collect())
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.start.index {
            return Err(StorageError::Compacted.into());
        }
        self.term_at(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last_index())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let is_new = |image: &&Snapshot| image.get_metadata().index >= request_index;
        let knows = |image: &&Snapshot| {
            let knows = has_member(image, to);
            if !knows {
                crate::probe!("image from before its receiver was added");
            }
            knows
        };
        self.image.as_ref().filter(is_new).filter(knows).cloned().ok_or_else(|| {
            self.image_wanted.set(true);
            StorageError::SnapshotTemporarilyUnavailable.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn entry(index: u64, term: u64, bytes: usize) -> Entry {
        Entry { index, term, data: vec![0; bytes].into(), ..Entry::default() }
    }

    fn log(entries: Vec<Entry>) -> Log {
        let start = Point { index: 10, term: 2 };
        Log::open(start, entries, HardState::default(), ConfState::default())
    }

    #[test]
    fn appending_replaces_the_tail() {
        let mut log = log(vec![entry(11, 2, 5), entry(12, 2, 5), entry(13, 2, 5)]);
        log.append(vec![entry(12, 3, 1)]);
        assert_eq!(log.last_index(), 12);
        assert_eq!((log.bytes, log.unapplied_bytes()), (5 + 1 + 24, 5 + 1 + 24));
        log.note_applied(11);
        log.note_applied(11);
        assert_eq!((log.bytes, log.unapplied_bytes()), (5 + 1 + 24, 1 + 12));
        assert_eq!([10, 11, 12, 13].map(|i| log.term_at(i)), [Some(2), Some(2), Some(3), None]);
    }

    #[test]
    fn a_page_has_at_least_one_entry_and_ends_before_the_limit() {
        let log = log(vec![entry(11, 2, 88), entry(12, 2, 88), entry(13, 2, 88)]);
        let page = |low, max| {
            let context = GetEntriesContext::empty(false);
            log.entries(low, 14, Some(max), context).unwrap().len()
        };
        assert_eq!([page(11, 0), page(11, 199), page(11, 200), page(12, 900)], [1, 1, 2, 2]);
        let below = log.entries(10, 12, None, GetEntriesContext::empty(false));
        assert_eq!(below, Err(StorageError::Compacted.into()));
    }

    #[test]
    fn a_cut_keeps_the_wanted_entries_unless_they_are_too_large() {
        let mut log = log((11..=20).map(|index| entry(index, 2, 88)).collect());
        assert_eq!(log.cut_point(18, 4, 1_000), 14);
        assert_eq!(log.cut_point(18, 4, 250), 16);
        assert_eq!(log.cut_point(18, 4, 0), 18);
        assert_eq!(log.cut_point(18, 100, 10_000), 10);
        log.cut(14);
        assert_eq!((log.start(), log.bytes), (Point { index: 14, term: 2 }, 600));
        log.cut(14);
        log.cut(12);
        assert_eq!(log.start().index, 14);
    }
}
