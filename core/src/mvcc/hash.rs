//! The hash of history by which members compare themselves: bit by bit etcd's `HashKV`.
//!
//! CRC-32C over the table's name and then every record up to a revision, key and value. Records at
//! or below the compacted revision count only if reads still need them, so that it does not matter
//! how far the removal of the others got; a tombstone exactly there never counts.

use core::ops::ControlFlow;

use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc, Digest, Table as Tables};

use super::index::Version;
use super::view::KvView;
use crate::error::{Refusal, StorageFault};
use crate::event::{KeyRange, ReadError};
use crate::ids::Revision;
use crate::schema::{RevisionKey, RowKey, record};
use crate::storage::Table;

/// Hashes of compactions that are remembered.
pub(super) const HASHES_MAX: usize = 10;

static CASTAGNOLI: Crc<u32, Tables<16>> = Crc::<u32, Tables<16>>::new(&CRC_32_ISCSI);

/// A hash, and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    /// CRC-32C.
    pub hash: u32,
    /// The compacted revision it was taken with; -1 if there was none.
    pub compact_revision: Revision,
    /// The last revision it covers.
    pub hash_revision: Revision,
}

/// Which records etcd counts as needed differs in one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// Those that reads need.
    ByReads,
    /// Those a compaction keeps: tombstones exactly at its revision too.
    ByCompaction,
}

/// A hash being taken, in steps.
pub(super) struct HashWalk {
    view: KvView,
    until: i64,
    needed: Needed,
    /// Whether any record at all is needed, once it is known. If none is, none is left out.
    needs_any: Option<bool>,
    next: Option<RevisionKey>,
    digest: Digest<'static, u32, Tables<16>>,
}

impl KvView {
    /// The hash of history up to `revision` (0: the newest; below: of none). Reads every record up
    /// to there, unless a compaction to exactly that revision left its hash.
    pub fn hash(&self, revision: i64) -> Result<KvHash, ReadError> {
        let mut remembered = self.hashes.iter();
        if let Some(hash) = remembered.find(|hash| hash.hash_revision.get() == revision) {
            return Ok(*hash);
        }
        let until = if revision == 0 { self.revision } else { revision };
        if until > 0 && until < self.compacted {
            return Err(Refusal::Compacted.into());
        }
        if until > self.revision {
            return Err(Refusal::FutureRev.into());
        }
        let mut walk = HashWalk::new(self.clone(), until, Needed::ByReads);
        walk.walk(usize::MAX)?;
        Ok(walk.finish())
    }
}

impl KvView {
    /// The hash of every row stored, of all tables that etcd has, but for those that say how far it
    /// is. It compares members only while nobody writes.
    pub fn hash_stored(&self) -> Result<u32, StorageFault> {
        let mut digest = CASTAGNOLI.digest();
        for table in Table::OF_ETCD {
            digest.update(table.name().as_bytes());
            self.records.scan_table(table, &mut |key, value| {
                if table != Table::Meta {
                    digest.update(key);
                    digest.update(value);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(digest.finalize())
    }
}

impl HashWalk {
    /// The hash a compaction to `target` leaves; `view` is the state before it.
    pub(super) fn before_compaction(view: KvView, target: i64) -> Self {
        Self::new(view, target, Needed::ByCompaction)
    }

    fn new(view: KvView, until: i64, needed: Needed) -> Self {
        let mut digest = CASTAGNOLI.digest();
        digest.update(Table::Key.name().as_bytes());
        let next = Some(RevisionKey::default());
        Self { view, until, needed, needs_any: None, next, digest }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.next.is_none()
    }

    /// Takes in up to `work_max` more records; one counts once more for every KiB of it. At least
    /// one is taken in.
    pub(super) fn walk(&mut self, work_max: usize) -> Result<(), StorageFault> {
        let Some(from) = self.next.take() else { return Ok(()) };
        let records = self.view.records.clone();
        let mut left = work_max.max(1);
        records.scan(from, self.until, &mut |row, stored| {
            if left == 0 {
                self.next = Some(row.at);
                return Ok(ControlFlow::Break(()));
            }
            left = left.saturating_sub(1 + stored.len() / 1024);
            self.take_in(row, stored)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    pub(super) fn finish(self) -> KvHash {
        KvHash {
            hash: self.digest.finalize(),
            compact_revision: self.view.compacted(),
            hash_revision: Revision(self.until),
        }
    }

    fn take_in(&mut self, row: RowKey, stored: &Bytes) -> Result<(), StorageFault> {
        let compacted = self.view.compacted;
        if row.at.main <= compacted && !self.is_needed(row, stored)? && self.needs_any()? {
            return Ok(());
        }
        if row.at.main == compacted && row.is_tombstone {
            return Ok(());
        }
        self.digest.update(&row.at.to_array());
        if row.is_tombstone {
            self.digest.update(b"t");
        }
        self.digest.update(stored);
        Ok(())
    }

    fn is_needed(&mut self, row: RowKey, stored: &Bytes) -> Result<bool, StorageFault> {
        let needed = self.view.index.hashed_as_of(record::load_key(stored)?, self.until);
        let is_needed = needed.is_some_and(|version| version.at == row.at);
        if is_needed {
            self.needs_any = Some(true);
        }
        Ok(is_needed)
    }

    fn needs_any(&mut self) -> Result<bool, StorageFault> {
        if let Some(known) = self.needs_any {
            return Ok(known);
        }
        let index = &self.view.index;
        let all = KeyRange::From(Bytes::new());
        let flow = index.visit(&all, self.until, &mut |key, _: Version| match index
            .hashed_as_of(key, self.until)
        {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        });
        let needs_any = flow.is_break()
            || (self.needed == Needed::ByCompaction && self.has_tombstone_at_end()?);
        self.needs_any = Some(needs_any);
        Ok(needs_any)
    }

    fn has_tombstone_at_end(&self) -> Result<bool, StorageFault> {
        let mut has_tombstone = false;
        let from = RevisionKey::first_of(self.until);
        self.view.records.scan(from, self.until, &mut |row, _| {
            has_tombstone |= row.is_tombstone;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(has_tombstone)
    }
}
