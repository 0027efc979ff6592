//! The ledger.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::compact::Compaction;
use super::heads::Heads;
use super::index::{Index, Version};
use super::records::Records;
use super::view::KvView;
use super::writer::Writer;
use crate::error::StorageFault;
use crate::ids::Revision;
use crate::limits::HEADS_RECORDS_MAX;
use crate::schema::heads::Head;
use crate::schema::{RevisionKey, meta, record};
use crate::storage::{StateRead, Write};

/// Keys and history of one member. See the module's parent.
pub struct Mvcc {
    /// What a view taken now shows.
    pub(super) now: KvView,
    /// The compaction under way.
    pub(super) compaction: Option<Compaction>,
    pub(super) heads: Heads,
}

impl Mvcc {
    /// Rebuilds the ledger from what is stored; reads the head of every record once. A compaction
    /// that was not finished goes on.
    pub fn open(image: Arc<dyn StateRead>) -> Result<Self, StorageFault> {
        Self::open_showing(image, HEADS_RECORDS_MAX, &mut |_| ())
    }

    /// The same, showing each head on the way, oldest first. A row of heads has `heads_max`.
    pub fn open_showing(
        image: Arc<dyn StateRead>,
        heads_max: usize,
        show: &mut dyn FnMut(&Head<'_>),
    ) -> Result<Self, StorageFault> {
        let finished = meta::load_revision(&*image, meta::FINISHED_COMPACT)?.unwrap_or(-1);
        let scheduled = meta::load_revision(&*image, meta::SCHEDULED_COMPACT)?.unwrap_or(-1);
        let compacted = finished.max(scheduled);
        let records = Records::new(image, i64::MAX);
        let (index, heads, newest) = load_index(&records, heads_max, show)?;
        // After a compaction of everything the newest record may be older than it.
        let revision = newest.max(compacted).max(1);
        let records = records.with_stored(revision);
        let now = KvView { revision, compacted, index, records, hashes: Arc::default() };
        let compaction = (scheduled > finished).then(|| Compaction::resumed(scheduled));
        Ok(Self { now, compaction, heads })
    }

    /// The ledger as it is now, for any number of readers. O(1).
    pub fn view(&self) -> KvView {
        self.now.clone()
    }

    /// The same, to look at in place.
    pub fn now(&self) -> &KvView {
        &self.now
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.now.revision()
    }

    /// The compacted revision; -1 if nothing ever was.
    pub fn compacted(&self) -> Revision {
        self.now.compacted()
    }

    /// Keys that exist. O(1).
    pub fn keys_live(&self) -> u64 {
        self.now.keys_live()
    }

    /// Begins a mutation.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::new(self)
    }

    /// The store shows all rows of revisions up to `stored` in `image`: records up to there leave
    /// memory. `stored` is what [`revision`](Self::revision) was when the last batch in the image
    /// was made.
    pub fn on_stored(&mut self, stored: Revision, image: Arc<dyn StateRead>) {
        self.heads.on_stored(image.as_ref());
        self.now.records.on_stored(stored.get(), image);
    }

    /// A row of heads that is full, to be stored after the records that it is about.
    pub fn poll_heads(&mut self) -> Option<Write> {
        self.heads.poll_row()
    }
}

/// Reads heads, and records that have none; returns the newest main revision too.
fn load_index(
    records: &Records,
    heads_max: usize,
    show: &mut dyn FnMut(&Head<'_>),
) -> Result<(Index, Heads, i64), StorageFault> {
    let mut lot = Lot::default();
    let mut newest = 0;
    let mut note = |head: &Head<'_>| {
        let at = head.row.at;
        if !(crate::planted!("revision-differs-after-restart") && head.row.is_tombstone) {
            newest = at.main;
        }
        let version = match head.row.is_tombstone {
            true => Version::tombstone(at),
            false => Version { at, created: head.create_revision, number: head.version },
        };
        lot.push(head.key, version);
        show(head);
    };
    let (mut heads, covered) = Heads::load(records.image().as_ref(), heads_max, &mut note)?;
    let from = covered.map_or(RevisionKey::first_of(0), RevisionKey::next);
    records.scan(from, i64::MAX - 1, &mut |row, stored| {
        let head = record::load_head(row, stored)?;
        heads.push(&head);
        note(&head);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((lot.finish(), heads, newest))
}

/// Keys in a lot, at most, and their bytes.
const LOT_KEYS_MAX: usize = 1 << 18;
const LOT_BYTES_MAX: usize = 32 << 20;

/// An index that is filled by lots in order of keys: neighbours lie in the same leaf, while the
/// order of revisions would lead to another one with each key.
#[derive(Default)]
struct Lot {
    index: Index,
    /// In order of revisions. A copy of the key: what it is part of holds the value too.
    waiting: Vec<(Bytes, Version)>,
    bytes: usize,
}

impl Lot {
    fn push(&mut self, key: &[u8], version: Version) {
        self.waiting.push((Bytes::copy_from_slice(key), version));
        self.bytes += key.len();
        if self.waiting.len() >= LOT_KEYS_MAX || self.bytes >= LOT_BYTES_MAX {
            self.settle();
        }
    }

    /// The order of one key's versions stays.
    fn settle(&mut self) {
        self.waiting.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, version) in self.waiting.drain(..) {
            self.index.push(&key, version);
        }
        self.bytes = 0;
    }

    fn finish(mut self) -> Index {
        self.settle();
        self.index
    }
}
