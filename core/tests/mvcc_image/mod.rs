//! A store in memory, and a ledger on top of it that stores what it is told to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use quorate_core::error::StorageFault;
use quorate_core::event::{Changes, KeyRange};
use quorate_core::ids::{LeaseId, Revision};
use quorate_core::mvcc::{Mvcc, Outcome, Writer, check_heads};
use quorate_core::storage::{RecordsName, Rows, StateRead, Table, Write};

/// What was made of records, by their name, and how often it was given again: nothing is ever
/// forgotten.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<(BTreeMap<RecordsName, Bytes>, usize)>>);

#[allow(dead_code)]
impl Memory {
    /// What was made, and how often it was given again.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let memory = self.0.lock().unwrap();
        (memory.0.len(), memory.1)
    }
}

/// An image that remembers.
struct Remembering {
    rows: Rows,
    memory: Memory,
}

impl StateRead for Remembering {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        self.rows.scan(table, from, until, visit)
    }

    fn remembered(
        &self,
        name: &RecordsName,
        make: &mut dyn FnMut() -> Result<Option<Bytes>, StorageFault>,
    ) -> Result<Option<Bytes>, StorageFault> {
        let mut memory = self.memory.0.lock().unwrap();
        if let Some(found) = memory.0.get(name).cloned() {
            memory.1 += 1;
            return Ok(Some(found));
        }
        let made = make()?;
        made.iter().for_each(|made| drop(memory.0.insert(*name, made.clone())));
        Ok(made)
    }
}

/// Heads in a row: so few that there are many rows.
const HEADS_MAX: usize = 3;

/// A ledger with its store; batches wait until they are stored.
pub(crate) struct Ledger {
    pub(crate) mvcc: Mvcc,
    pub(crate) image: Rows,
    pub(crate) memory: Memory,
    waiting: Vec<(Revision, Vec<Write>)>,
}

#[allow(dead_code)]
impl Ledger {
    pub(crate) fn new() -> Self {
        Self::open(Rows::default())
    }

    pub(crate) fn open(image: Rows) -> Self {
        Self::open_with(image, Memory::default())
    }

    fn open_with(rows: Rows, memory: Memory) -> Self {
        let image = Remembering { rows: rows.clone(), memory: memory.clone() };
        let mvcc = Mvcc::open_showing(Arc::new(image), HEADS_MAX, &mut |_| ()).unwrap();
        Self { mvcc, image: rows, memory, waiting: Vec::new() }
    }

    /// Runs one mutation.
    pub(crate) fn mutate<T>(&mut self, run: impl FnOnce(&mut Writer<'_>) -> T) -> (T, Outcome) {
        let mut writer = self.mvcc.writer();
        let answer = run(&mut writer);
        let outcome = writer.finish();
        let mut writes = outcome.writes.clone();
        // Full rows need not leave at once.
        if outcome.revision.get() % 4 == 0 {
            writes.extend(std::iter::from_fn(|| self.mvcc.poll_heads()));
        }
        self.waiting.push((outcome.revision, writes));
        (answer, outcome)
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) -> Revision {
        let (key, value) = (bytes(key), bytes(value));
        self.mutate(|writer| writer.put(&key, &value, LeaseId(0))).1.revision
    }

    pub(crate) fn delete(&mut self, key: &str) -> Option<Changes> {
        let range = KeyRange::One(bytes(key));
        self.mutate(|writer| writer.delete_range(&range)).1.changes
    }

    /// Asks for a compaction, without carrying it out.
    pub(crate) fn schedule(&mut self, revision: i64) {
        let writes = self.mvcc.compact(Revision(revision)).unwrap();
        self.waiting.push((self.mvcc.revision(), writes));
    }

    /// Runs one slice; tells what it finished.
    pub(crate) fn slice(&mut self, work_max: usize) -> Option<Revision> {
        let slice = self.mvcc.compact_slice(work_max).unwrap()?;
        self.waiting.push((self.mvcc.revision(), slice.writes));
        slice.finished
    }

    pub(crate) fn compact(&mut self, revision: i64) {
        self.schedule(revision);
        while self.mvcc.is_compacting() {
            self.slice(3);
        }
    }

    /// Stores the first `batches` that wait.
    pub(crate) fn store(&mut self, batches: usize) {
        for (revision, writes) in self.waiting.drain(..batches.min(self.waiting.len())) {
            self.image.write(&writes);
            check_heads(&self.image).unwrap();
            let image = Remembering { rows: self.image.clone(), memory: self.memory.clone() };
            self.mvcc.on_stored(revision, Arc::new(image));
        }
    }

    /// Stores everything and starts over from what is stored.
    pub(crate) fn reopen(&mut self) {
        self.store(usize::MAX);
        *self = Self::open_with(self.image.clone(), self.memory.clone());
    }

    /// Rows of the table `key`, as main.sub and `t` for tombstones.
    pub(crate) fn rows(&mut self) -> Vec<String> {
        self.store(usize::MAX);
        let rows = self.image.0.keys().filter(|(table, _)| *table == Table::Key);
        rows.map(|(_, row)| {
            let row = quorate_core::mvcc::RowKey::parse(row).unwrap();
            let mark = if row.is_tombstone { "t" } else { "" };
            format!("{}.{}{mark}", row.at.main, row.at.sub)
        })
        .collect()
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
