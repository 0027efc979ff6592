//! The log's part of the disk: records, of which only synced ones are safe.

use std::collections::VecDeque;

use quorate_core::ids::LogIndex;
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark};

use super::kept;
use crate::world::luck::Luck;
use crate::world::table::Content;

/// One record, in the order a log writes them.
enum Record {
    /// An image replaces the store's content; then the log starts over.
    Restart(SnapshotMark, Content),
    Entry(Entry),
    HardState(HardState),
    /// The log may begin here.
    Cut(SnapshotMark),
}

/// What would be read back.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    /// Points the log may begin at, oldest first; entries before the first are gone.
    marks: Vec<SnapshotMark>,
    hard_state: HardState,
    entries: VecDeque<Entry>,
}

/// See the module.
#[derive(Default)]
pub struct Log {
    durable: Kept,
    pending: VecDeque<Record>,
    /// Records ever made durable or lost.
    settled: u64,
    last: Batches,
}

/// The pipeline of batches.
#[derive(Default)]
struct Batches {
    /// The newest batch written.
    written: u64,
    /// The newest batch reported.
    reported: u64,
    /// Whether anything written and not yet under sync must be synced.
    must_sync: bool,
    /// The batch and the record count the step under way covers, and whether it is a sync.
    under_way: Option<(u64, u64, bool)>,
}

/// What a completed step reports.
pub struct Completed {
    /// The newest batch it covers.
    pub number: u64,
    /// Whether it is safe, too.
    pub synced: bool,
    /// An image that replaces the store's content.
    pub installed: Option<(SnapshotMark, Content)>,
}

impl Log {
    /// Writes a batch; `image` belongs to its snapshot.
    pub fn write(&mut self, persist: Persist, image: Option<Content>) {
        if let (Some(mark), Some(image)) = (persist.snapshot, image) {
            self.pending.push_back(Record::Restart(mark, image));
        }
        self.pending.extend(persist.entries.into_iter().map(Record::Entry));
        self.pending.extend(persist.hard_state.map(Record::HardState));
        self.last.written = persist.number;
        self.last.must_sync |= persist.must_sync;
    }

    /// Lets the log begin at `mark`.
    pub fn cut(&mut self, mark: SnapshotMark) {
        self.pending.push_back(Record::Cut(mark));
    }

    /// Begins the next step if there is one to begin: true for a sync, false for a mere write.
    pub fn begin(&mut self) -> Option<bool> {
        let last = &mut self.last;
        if last.under_way.is_some() || last.written == last.reported {
            return None;
        }
        let sync = std::mem::take(&mut last.must_sync);
        last.under_way = Some((last.written, self.settled + self.pending.len() as u64, sync));
        Some(sync)
    }

    /// The step under way is complete.
    pub fn complete(&mut self) -> Option<Completed> {
        let (number, upto, synced) = self.last.under_way.take()?;
        self.last.reported = number;
        let mut installed = None;
        while synced && self.settled < upto {
            let Some(record) = self.pending.pop_front() else { break };
            installed = self.durable.take(record).or(installed);
            self.settled += 1;
        }
        Some(Completed { number, synced, installed })
    }

    /// What the sync under way covers is lost, and nobody is told.
    pub fn lose_written(&mut self) {
        let Some((_, upto, true)) = self.last.under_way else { return };
        while self.settled < upto && self.pending.pop_front().is_some() {
            self.settled += 1;
        }
    }

    /// Power is gone. Some prefix of what was written is left; an image among it was installed.
    pub fn crash(&mut self, luck: &mut Luck) -> Option<Content> {
        let mut installed = None;
        for _ in 0..kept(self.pending.len(), luck) {
            let Some(record) = self.pending.pop_front() else { break };
            installed = self.durable.take(record).map(|(_, image)| image).or(installed);
        }
        // The image is in place before the record that says so: that record alone may be missing.
        if let Some(Record::Restart(_, image)) = self.pending.pop_front()
            && luck.below(2) == 0
        {
            let is_whole = !quorate_core::planted!("image-visible-half");
            installed = Some(if is_whole { image } else { image.half() });
        }
        if quorate_core::planted!("torn-tail-accepted")
            && let Some(Record::Entry(mut torn)) = self.pending.pop_front()
        {
            torn.data.truncate(torn.data.len() / 2);
            self.durable.append(torn);
        }
        self.pending.clear();
        self.settled = 0;
        self.last = Batches::default();
        installed
    }

    /// What a member finds that opens the log beside a store that holds `stored`. A log that does
    /// not reach there is begun anew: what is written next would not follow what it holds.
    pub fn load(&mut self, stored: &SnapshotMark) -> Result<LogContents, String> {
        self.durable.load(stored)
    }
}

impl Kept {
    fn take(&mut self, record: Record) -> Option<(SnapshotMark, Content)> {
        match record {
            Record::Entry(entry) => self.append(entry),
            Record::HardState(hard_state) => self.hard_state = hard_state,
            Record::Cut(mark) => self.cut(mark),
            Record::Restart(mark, image) => {
                self.entries.clear();
                self.marks = vec![mark.clone()];
                return Some((mark, image));
            }
        }
        None
    }

    fn append(&mut self, entry: Entry) {
        let keep = self.entries.partition_point(|old| old.index < entry.index);
        self.entries.truncate(keep);
        self.entries.push_back(entry);
    }

    fn cut(&mut self, mark: SnapshotMark) {
        if self.begin() < mark.index {
            let gone = self.entries.partition_point(|old| old.index <= mark.index);
            self.entries.drain(..gone);
            self.marks = vec![mark];
        }
    }

    fn begin(&self) -> LogIndex {
        self.marks.first().map_or(LogIndex(0), |mark| mark.index)
    }

    fn load(&mut self, stored: &SnapshotMark) -> Result<LogContents, String> {
        if self.begin() > stored.index {
            let begin = self.begin();
            return Err(format!("the log begins at {begin}, the store ends at {}", stored.index));
        }
        let reaches = self.entries.back().map_or(self.begin(), |last| last.index) >= stored.index;
        let at = self.entries.partition_point(|entry| entry.index < stored.index);
        let fits =
            self.entries.get(at).is_none_or(|e| e.index != stored.index || e.term == stored.term);
        let hard_state = self.hard_state;
        if !(reaches && fits) {
            self.entries.clear();
            self.marks = vec![stored.clone()];
            return Ok(LogContents { mark: stored.clone(), hard_state, entries: Vec::new() });
        }
        let mark = self.marks.first().cloned().unwrap_or_default();
        Ok(LogContents { mark, hard_state, entries: self.entries.iter().cloned().collect() })
    }
}

#[cfg(test)]
mod tests;
