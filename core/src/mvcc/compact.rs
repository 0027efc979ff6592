//! Compaction: forgetting what no read from some revision on needs.
//!
//! Asking moves the compacted revision at once; the rows go slice by slice afterwards. Rows of one
//! key always go oldest first, so that what is left at any moment is a history that can be read
//! back. A compaction asked for while another runs waits for it; of several that wait, the newest
//! stands for all.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hash::{HASHES_MAX, HashWalk, KvHash};
use super::store::Mvcc;
use crate::error::{Refusal, StorageFault};
use crate::ids::Revision;
use crate::schema::meta;
use crate::storage::{Table, Write};

/// A compaction under way.
pub(super) struct Compaction {
    target: i64,
    /// The next key to look at.
    cursor: Vec<u8>,
    /// The hash of what was there before, not taken if an earlier compaction was unfinished.
    hash: Option<HashWalk>,
    /// What was asked for meanwhile.
    queued: Option<i64>,
}

/// One step of a compaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// Rows to remove and what is said of their heads, heads made anew, a note of the end if this
    /// is it. May be empty.
    pub writes: Vec<Write>,
    /// The compacted revision whose last row this slice removes: once it is stored, whoever waits
    /// for that revision, or an earlier one, need not wait any more.
    pub finished: Option<Revision>,
}

impl Slice {
    /// How many records it removes.
    pub fn rows_removed(&self) -> u64 {
        self.writes.iter().filter(|write| write.table == Table::Key).count() as u64
    }
}

impl Compaction {
    pub(super) fn resumed(target: i64) -> Self {
        Self { target, cursor: Vec::new(), hash: None, queued: None }
    }
}

impl Mvcc {
    /// Forgets history before `revision`: from now on it cannot be read. Returns the rows that
    /// note it; [`compact_slice`](Self::compact_slice) does the rest.
    pub fn compact(&mut self, revision: Revision) -> Result<Vec<Write>, Refusal> {
        let target = revision.get();
        if target <= self.now.compacted {
            return Err(Refusal::Compacted);
        }
        if target > self.now.revision {
            return Err(Refusal::FutureRev);
        }
        match &mut self.compaction {
            Some(running) => running.queued = Some(target),
            None => {
                let hash = Some(HashWalk::before_compaction(self.now.clone(), target));
                self.compaction = Some(Compaction { hash, ..Compaction::resumed(target) });
            }
        }
        self.now.compacted = target;
        Ok(alloc::vec![meta::encode_revision(meta::SCHEDULED_COMPACT, target)])
    }

    /// Whether [`compact_slice`](Self::compact_slice) has anything to do.
    pub fn is_compacting(&self) -> bool {
        self.compaction.is_some() || self.heads.is_renewing()
    }

    /// Goes on with the compaction under way, if any: hashes, or removes, no more than `work_max`
    /// records, of which large ones count as several when hashed; or makes a row of heads anew. The
    /// writes must be stored after all that was written before.
    pub fn compact_slice(&mut self, work_max: usize) -> Result<Option<Slice>, StorageFault> {
        let Some(running) = &mut self.compaction else { return self.renew_heads(work_max) };
        if let Some(hash) = &mut running.hash
            && !hash.is_finished()
        {
            hash.walk(work_max)?;
            return Ok(Some(Slice::default()));
        }
        let swept = self.now.index.sweep(&running.cursor, running.target, work_max);
        let remove = |key| Write { table: Table::Key, key, value: None };
        let rows = swept.removed.iter().map(|row| remove(row.encode()));
        let writes = rows.chain(self.heads.remove(&swept.removed)).collect();
        let mut slice = Slice { writes, finished: None };
        match swept.next {
            Some(next) => running.cursor = next,
            None => self.finish_compaction(&mut slice),
        }
        Ok(Some(slice))
    }

    fn renew_heads(&mut self, work_max: usize) -> Result<Option<Slice>, StorageFault> {
        if !self.heads.is_renewing() {
            return Ok(None);
        }
        let image = self.now.records.image();
        let writes = self.heads.renew(image.as_ref(), &self.now.index, work_max)?;
        Ok(Some(Slice { writes, finished: None }))
    }

    fn finish_compaction(&mut self, slice: &mut Slice) {
        let Some(running) = self.compaction.take() else { return };
        slice.writes.push(meta::encode_revision(meta::FINISHED_COMPACT, running.target));
        slice.finished = Some(Revision(running.target));
        if let Some(hash) = running.hash {
            self.remember_hash(hash.finish());
        }
        self.compaction = running.queued.map(Compaction::resumed);
    }

    fn remember_hash(&mut self, hash: KvHash) {
        let forgotten = (self.now.hashes.len() + 1).saturating_sub(HASHES_MAX);
        let kept = self.now.hashes.iter().skip(forgotten).copied();
        self.now.hashes = kept.chain([hash]).collect::<Arc<[_]>>();
    }
}
