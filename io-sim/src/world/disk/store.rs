//! The store's part of the disk: batches are whole or gone, in order, and safe once synced.

use std::collections::VecDeque;

use quorate_core::ids::LogIndex;
use quorate_core::output::Batch;

use super::kept;
use crate::world::luck::Luck;
use crate::world::table::Content;

/// See the module.
#[derive(Default)]
pub struct Store {
    /// What readers see.
    content: Content,
    /// What is safe.
    durable: Content,
    /// Executed since the last completed sync.
    unsynced: VecDeque<Batch>,
    /// Not yet executed.
    queue: VecDeque<Batch>,
    /// Images installed in this run.
    epoch: u64,
    /// The sync under way: how many of `unsynced` it covers, what it makes safe.
    syncing: Option<(usize, LogIndex, Content)>,
    /// Batches in the group being executed.
    executing: usize,
}

/// What an executed group of batches reports.
pub struct Executed {
    /// The last batch's index.
    pub index: LogIndex,
    /// What readers see now.
    pub image: Content,
    /// Whether a sync was asked for.
    pub sync: bool,
}

impl Store {
    /// Puts a batch in line. True if the store was idle: then begin.
    pub fn push(&mut self, batch: Batch) -> bool {
        self.queue.push_back(batch);
        self.executing == 0
    }

    /// Begins to execute what is in line; false if nothing is, or something is under way.
    pub fn begin(&mut self) -> bool {
        if self.executing > 0 || self.queue.is_empty() {
            return false;
        }
        self.executing = self.queue.len();
        true
    }

    /// The group under way is executed. `None` if all of it belonged to content that is gone.
    pub fn complete(&mut self) -> Option<Executed> {
        let mut done: Option<Executed> = None;
        let mut sync = false;
        for batch in self.queue.drain(..std::mem::take(&mut self.executing)) {
            if batch.epoch != self.epoch && !quorate_core::planted!("install-overwritten") {
                continue;
            }
            self.content.apply(&batch.writes);
            sync |= batch.sync;
            done = Some(Executed { index: batch.index, image: Content::default(), sync });
            self.unsynced.push_back(batch);
        }
        let done = done?;
        Some(Executed { image: self.content.clone(), ..done })
    }

    /// Begins a sync of all that is executed. False if one is under way.
    pub fn begin_sync(&mut self) -> bool {
        let Some(last) = self.unsynced.back() else { return false };
        if self.syncing.is_some() {
            return false;
        }
        self.syncing = Some((self.unsynced.len(), last.index, self.content.clone()));
        true
    }

    /// The sync under way is complete: up to where all is safe.
    pub fn complete_sync(&mut self) -> Option<LogIndex> {
        let (count, index, content) = self.syncing.take()?;
        self.unsynced.drain(..count);
        self.durable = content;
        Some(index)
    }

    /// Whether something that must be synced is not under sync yet.
    pub fn owes_sync(&self) -> bool {
        self.syncing.is_none() && self.unsynced.iter().any(|batch| batch.sync)
    }

    /// Replaces all content by an image, safely and at once.
    pub fn install(&mut self, content: Content) {
        self.epoch += 1;
        self.durable = content.clone();
        self.content = content;
        self.unsynced.clear();
        self.syncing = None;
    }

    /// Power is gone: what was synced is left, and some prefix of what came after; or an image
    /// that was installed at the last moment.
    pub fn crash(&mut self, luck: &mut Luck, installed: Option<Content>) {
        let epoch = self.epoch;
        let after = self.unsynced.drain(..).chain(self.queue.drain(..));
        let is_ours =
            |batch: &Batch| batch.epoch == epoch || quorate_core::planted!("install-overwritten");
        let after: Vec<_> = after.filter(is_ours).collect();
        for batch in &after[..kept(after.len(), luck)] {
            self.durable.apply(&batch.writes);
        }
        self.durable = installed.unwrap_or_else(|| std::mem::take(&mut self.durable));
        self.content = self.durable.clone();
        (self.epoch, self.executing, self.syncing) = (0, 0, None);
    }

    /// What readers see.
    pub fn image(&self) -> Content {
        self.content.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use quorate_core::storage::{StateRead, Table, Write};

    use super::*;
    use crate::world::luck::Purpose;

    fn batch(index: u64, sync: bool) -> Batch {
        let row = |key: &'static [u8]| Write {
            table: Table::Meta,
            key: Bytes::from_static(key),
            value: Some(Bytes::copy_from_slice(&[index as u8])),
        };
        Batch { epoch: 0, index: LogIndex(index), writes: vec![row(b"a"), row(b"b")], sync }
    }

    fn value(content: &Content) -> u8 {
        let [a, b] = [b"a", b"b"].map(|key| content.get(Table::Meta, key).unwrap());
        assert_eq!(a, b, "a batch is whole");
        a.map_or(0, |value| value[0])
    }

    #[test]
    fn a_crash_leaves_a_prefix_not_shorter_than_what_was_synced() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mut store = Store::default();
            assert!(store.push(batch(1, false)));
            store.push(batch(2, true));
            assert!(store.begin());
            let done = store.complete().unwrap();
            assert_eq!((done.index, done.sync, value(&done.image)), (LogIndex(2), true, 2));
            assert!(store.begin_sync());
            store.push(batch(3, false));
            store.begin();
            store.complete();
            assert_eq!(store.complete_sync(), Some(LogIndex(2)));
            store.push(batch(4, false));
            store.crash(&mut Luck::new(seed, Purpose::Disk, 0), None);
            seen.insert(value(&store.image()));
        }
        assert_eq!(seen, BTreeSet::from([2, 3, 4]));
    }

    #[test]
    fn batches_of_replaced_content_are_dropped() {
        let mut store = Store::default();
        store.push(batch(1, true));
        store.begin();
        let mut image = Content::default();
        image.apply(&batch(9, false).writes);
        store.install(image);
        assert!(store.complete().is_none());
        store.push(Batch { epoch: 1, ..batch(10, false) });
        store.begin();
        assert_eq!(store.complete().map(|done| value(&done.image)), Some(10));
        assert!(!store.owes_sync());
    }
}
