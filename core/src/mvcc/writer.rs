//! One mutation of the store.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::mvccpb::{Event, KeyValue};

use super::changes;
use super::index::Version;
use super::store::Mvcc;
use super::view::KvView;
use crate::event::{Changes, KeyRange};
use crate::ids::{LeaseId, Revision};
use crate::schema::{RevisionKey, record};
use crate::storage::{Table, Write};

/// Writes under one main revision, numbered in the order they are made; reads see what was written
/// before them. It must be finished: what it wrote is in the ledger either way, but only
/// [`finish`](Self::finish) hands out the rows.
pub struct Writer<'a> {
    mvcc: &'a mut Mvcc,
    before: i64,
    events: Vec<Event>,
    writes: Vec<Write>,
}

/// What a mutation came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The store's revision after it: the changes' own, or the unchanged one if there are none.
    pub revision: Revision,
    /// What changed; nothing if nothing did. A key's lease after the mutation is what its last
    /// event says: `kv.lease` for puts (0: none), none for deletions.
    pub changes: Option<Changes>,
    /// Rows to store, in one batch.
    pub writes: Vec<Write>,
}

/// A point of a mutation to return to.
pub(crate) struct Mark {
    view: KvView,
    changes: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(mvcc: &'a mut Mvcc) -> Self {
        let before = mvcc.now.revision;
        Self { mvcc, before, events: Vec::new(), writes: Vec::new() }
    }

    /// What reads see at this point: the store, and what this mutation wrote so far. Its revision
    /// is the mutation's own as soon as something was written.
    pub fn now(&self) -> &KvView {
        &self.mvcc.now
    }

    /// Sets a key.
    pub fn put(&mut self, key: &Bytes, value: &Bytes, lease: LeaseId) {
        let before = self.now().version_of(key);
        let version = Version::put(self.next(), before);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: version.created,
            mod_revision: version.at.main,
            version: version.number,
            value: value.clone(),
            lease: lease.get(),
        };
        let (record, kv) = record::encode_put(kv);
        self.events.push(changes::put(kv));
        self.write(key, version, record);
    }

    /// Deletes the keys of `range`, in order; returns how many there were.
    pub fn delete_range(&mut self, range: &KeyRange) -> u64 {
        let mut keys = Vec::new();
        let now = self.now();
        let _ = now.visit(range, &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            ControlFlow::Continue(())
        });
        for key in &keys {
            let version = Version::tombstone(self.next());
            self.events.push(changes::deletion(key.clone(), version.at.main));
            self.write(key, version, record::encode_tombstone(key.clone()));
        }
        keys.len() as u64
    }

    /// Ends the mutation.
    #[must_use = "the rows of a mutation must be stored"]
    pub fn finish(self) -> Outcome {
        let revision = Revision(self.mvcc.now.revision);
        for (sub, event) in (0..).zip(&self.events) {
            let at = RevisionKey { main: revision.get(), sub };
            self.mvcc.heads.push(&changes::head(at, event));
        }
        let has_changes = !self.events.is_empty();
        let changes = has_changes.then(|| Changes { revision, events: self.events.into() });
        Outcome { revision, changes, writes: self.writes }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { view: self.now().clone(), changes: self.events.len() }
    }

    /// Takes back everything since the mark.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        self.mvcc.now = mark.view;
        self.events.truncate(mark.changes);
        self.writes.truncate(mark.changes);
    }

    fn next(&self) -> RevisionKey {
        let sub = i64::try_from(self.events.len()).unwrap_or(i64::MAX);
        RevisionKey { main: self.before.saturating_add(1), sub }
    }

    fn write(&mut self, key: &[u8], version: Version, record: Bytes) {
        let now = &mut self.mvcc.now;
        now.revision = version.at.main;
        now.index.push(key, version);
        now.records.push(version.row(), record.clone());
        let key = version.row().encode();
        self.writes.push(Write { table: Table::Key, key, value: Some(record) });
    }
}
