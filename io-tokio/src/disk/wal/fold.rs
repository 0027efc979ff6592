//! From records to a log: which entries count, and where they begin.
//!
//! ```text
//! records   E1 E2 E3 M2 E4 E3' E4' M9 E10        E entry, M marker
//! entries   1 2 3 | 4 -> 1 2 3' 4' -> (starts over behind 9) -> 10
//! ```
//!
//! An entry replaces the one at its index and all after it. A marker the log agrees with is only
//! a note; one it does not hold says that an image was installed, and the log starts over.

use std::collections::VecDeque;

use quorate_core::error::StorageFault;
use quorate_core::ids::LogIndex;
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark};

/// The log so far. `stored` decides which markers are behind us.
pub(super) struct Fold {
    stored: SnapshotMark,
    /// Newest marker not after `stored`.
    mark: Option<SnapshotMark>,
    /// The entries after this one are in `entries`; nothing is known of it before the first
    /// record that says.
    base: Option<LogIndex>,
    /// Whether an entry was read. Until then a marker may be a note about a point long before: what
    /// was in between went with the segments before this one.
    has_begun: bool,
    entries: VecDeque<Entry>,
    pub(super) hard_state: HardState,
}

/// What the log comes to.
pub(super) struct Folded {
    pub(super) contents: LogContents,
    /// The log does not reach what is stored: it must start over behind it before it goes on.
    pub(super) starts_over: bool,
}

/// What is missing, in words.
#[derive(Debug)]
pub(super) enum Gap {
    /// In the store; another may take its place.
    Store(String),
    /// In the log; nothing can.
    Log(String),
}

impl Fold {
    pub(super) fn new(stored: &SnapshotMark) -> Self {
        Self {
            stored: stored.clone(),
            mark: None,
            base: None,
            has_begun: false,
            entries: VecDeque::new(),
            hard_state: HardState::default(),
        }
    }

    /// Index of the last entry, or what stands for it.
    pub(super) fn last(&self) -> Option<LogIndex> {
        self.entries.back().map(|entry| entry.index).or(self.base)
    }

    /// Takes an entry; an error if it leaves a gap.
    pub(super) fn entry(&mut self, entry: Entry) -> Result<(), &'static str> {
        if entry.index.get() == 0 {
            return Err("an entry without an index");
        }
        if self.last().is_some_and(|last| entry.index > last.next()) {
            if self.has_begun {
                return Err("an entry that leaves a gap in the log");
            }
            self.base = Some(LogIndex(entry.index.get() - 1));
        }
        self.has_begun = true;
        if self.base.is_some_and(|base| entry.index <= base) {
            return Ok(());
        }
        while self.entries.back().is_some_and(|last| last.index >= entry.index) {
            self.entries.pop_back();
        }
        self.base = self.base.or(Some(LogIndex(entry.index.get() - 1)));
        self.entries.push_back(entry);
        Ok(())
    }

    /// Takes a marker.
    pub(super) fn marker(&mut self, mark: SnapshotMark) {
        if self.base.is_some_and(|base| mark.index < base) {
            return;
        }
        let is_behind = mark.index <= self.stored.index;
        let is_held = self.entry_at(mark.index).is_some_and(|entry| entry.term == mark.term);
        if is_held && is_behind {
            self.entries.retain(|entry| entry.index > mark.index);
            self.base = Some(mark.index);
        } else if !is_held && self.base != Some(mark.index) {
            self.entries.clear();
            self.base = Some(mark.index);
        }
        if is_behind {
            self.mark = Some(mark);
        }
    }

    fn entry_at(&self, index: LogIndex) -> Option<&Entry> {
        let first = self.entries.front()?.index;
        let at = index.get().checked_sub(first.get())?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The newest marker not after what is stored.
    pub(super) fn into_mark(self) -> SnapshotMark {
        self.mark.unwrap_or_default()
    }

    /// The outcome; an error says what is wrong between log and store.
    pub(super) fn finish(mut self) -> Result<Folded, Gap> {
        let stored = self.stored.clone();
        let (base, last) = (self.base.unwrap_or_default(), self.last().unwrap_or_default());
        if last < stored.index || self.parts_from(&stored, base) {
            let contents = self.contents(stored, Vec::new());
            return Ok(Folded { contents, starts_over: true });
        }
        let mark = match self.mark.take() {
            Some(mark) if mark.index == base => mark,
            _ if base <= stored.index => stored,
            _ => return Err(Gap::Store(behind(base, stored.index))),
        };
        let entries: Vec<_> = self.entries.drain(..).filter(|e| e.index > mark.index).collect();
        let contents = self.contents(mark, entries);
        if contents.hard_state.commit > last.max(contents.mark.index) {
            return Err(Gap::Log(missing(contents.hard_state.commit, last)));
        }
        Ok(Folded { contents, starts_over: false })
    }

    /// Whether the log holds something else at the stored index than what is stored: an image
    /// replaced the store, and the log has not heard of it.
    fn parts_from(&self, stored: &SnapshotMark, base: LogIndex) -> bool {
        match self.entry_at(stored.index) {
            Some(entry) => entry.term != stored.term,
            None => {
                base == stored.index
                    && self
                        .mark
                        .as_ref()
                        .is_some_and(|m| m.index == stored.index && m.term != stored.term)
            }
        }
    }

    /// Term and commit can lag what else was found, when the record that follows was torn off:
    /// nobody voted in a term whose hard state was never synced.
    fn contents(&self, mark: SnapshotMark, entries: Vec<Entry>) -> LogContents {
        let mut hard_state = self.hard_state;
        let term = entries.last().map_or(mark.term, |entry| entry.term.max(mark.term));
        if hard_state.term < term {
            hard_state = HardState { term, vote: 0, ..hard_state };
        }
        hard_state.commit = hard_state.commit.max(mark.index);
        LogContents { mark, hard_state, entries }
    }
}

fn behind(base: LogIndex, stored: LogIndex) -> String {
    format!(
        "the store holds everything up to entry {stored}, but the log begins after entry {base}: \
         the store has lost data"
    )
}

fn missing(commit: LogIndex, last: LogIndex) -> String {
    format!("the log knows that entry {commit} was committed, but ends at entry {last}")
}

/// A refusal because of a gap.
pub(super) fn refuse_gap(folder: &std::path::Path, gap: Gap) -> StorageFault {
    match gap {
        Gap::Store(why) => StorageFault { is_damage: true, ..refuse(folder, &why) },
        Gap::Log(why) => refuse(folder, &why),
    }
}

/// A refusal about a whole log.
pub(super) fn refuse(folder: &std::path::Path, why: &str) -> StorageFault {
    StorageFault::new(format!(
        "the log in {} cannot be used: {why}; {}",
        folder.display(),
        super::REMEDY
    ))
}
