//! The ledger.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::compact::Compaction;
use super::heads::Heads;
use super::index::{Index, Version, shared};
use super::records::Records;
use super::view::KvView;
use super::writer::Writer;
use crate::error::StorageFault;
use crate::ids::Revision;
use crate::limits::HEADS_RECORDS_MAX;
use crate::schema::heads::Head;
use crate::schema::{RevisionKey, meta, record};
use crate::storage::{StateRead, Write, leading_number};

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
        self.heads.on_stored(image.as_ref(), &self.now.index);
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

/// Keys in a lot, and their bytes: that many, and more of them the more there are already.
const LOT_KEYS_MIN: usize = 1 << 18;
const LOT_KEYS_MAX: usize = 1 << 20;
const LOT_BYTES_MAX: usize = 64 << 20;

/// An index that is filled by lots in order of keys: neighbours lie in the same leaf, while the
/// order of revisions would lead to another one with each key.
#[derive(Default)]
struct Lot {
    index: Index,
    settled: usize,
    /// All keys, one behind the other, in order of revisions.
    keys: Vec<u8>,
    /// Where each key ends, and what happened to it.
    waiting: Vec<(usize, Version)>,
    /// What all keys begin with, in bytes.
    shared: usize,
}

impl Lot {
    fn push(&mut self, key: &[u8], version: Version) {
        self.shared = match self.waiting.first() {
            Some((end, _)) => shared(&self.keys[..self.shared.min(*end)], key),
            None => key.len(),
        };
        self.keys.extend_from_slice(key);
        self.waiting.push((self.keys.len(), version));
        let many = (self.settled / 4).clamp(LOT_KEYS_MIN, LOT_KEYS_MAX);
        if self.waiting.len() >= many || self.keys.len() >= LOT_BYTES_MAX {
            self.settle();
        }
    }

    /// The order of one key's versions stays.
    fn settle(&mut self) {
        let key = |place: usize| {
            let start = place.checked_sub(1).map_or(0, |before| self.waiting[before].0);
            &self.keys[start..self.waiting[place].0]
        };
        // Most are told apart by the first bytes in which any differ.
        let first = |place| (leading_number(&key(place)[self.shared..]), place);
        let mut order: Vec<_> = (0..self.waiting.len()).map(first).collect();
        order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
        let sorted = order.iter().map(|(_, place)| (key(*place), self.waiting[*place].1));
        self.index.push_sorted(sorted);
        self.settled += self.waiting.len();
        self.waiting.clear();
        self.keys.clear();
    }

    fn finish(mut self) -> Index {
        self.settle();
        self.index
    }
}
