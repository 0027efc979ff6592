//! An unchanging picture of keys and history.

use alloc::sync::Arc;
use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::mvccpb::KeyValue;

use super::hash::KvHash;
use super::index::{Index, Version};
use super::records::Records;
use crate::error::{Refusal, StorageFault};
use crate::event::KeyRange;
use crate::ids::Revision;
use crate::schema::record;
use crate::storage::StateRead;

/// The picture: what the store was when it was taken. Cloning is O(1).
#[derive(Clone)]
pub struct KvView {
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) index: Index,
    pub(super) records: Records,
    /// Hashes of recent compactions, oldest first.
    pub(super) hashes: Arc<[KvHash]>,
}

impl KvView {
    /// The newest revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The compacted revision; -1 if nothing ever was.
    pub fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// The store's image behind this view: what was stored when it was taken. Newer changes are
    /// in memory only.
    pub fn image(&self) -> Arc<dyn StateRead> {
        self.records.image()
    }

    /// Keys that exist at the newest revision. O(1).
    pub fn keys_live(&self) -> u64 {
        self.index.live()
    }

    /// The version that decides a key at the newest revision, if the key exists. Reads no record.
    pub fn version_of(&self, key: &[u8]) -> Option<Version> {
        self.index.as_of(key, self.revision).filter(Version::is_live)
    }

    /// The key at the newest revision.
    pub fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, StorageFault> {
        self.version_of(key).map(|version| self.load(&version)).transpose()
    }

    /// Visits the keys of `keys` that exist at the newest revision, in order, until `visit` breaks.
    /// Reads no record.
    pub fn visit<'a>(
        &'a self,
        keys: &KeyRange,
        visit: &mut dyn FnMut(&'a [u8], Version) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.index.visit(keys, self.revision, visit)
    }

    /// Reads the record a live version stands for.
    pub fn load(&self, version: &Version) -> Result<KeyValue, StorageFault> {
        record::load(&self.record(version)?)
    }

    /// The record itself: the encoding of the key and what belongs to it.
    pub(super) fn record(&self, version: &Version) -> Result<Bytes, StorageFault> {
        self.records.get(version.at)
    }

    /// The main revision to read at, for a client who asks for `revision`.
    pub(super) fn resolve(&self, revision: i64) -> Result<i64, Refusal> {
        match revision {
            ..=0 => Ok(self.revision),
            _ if revision > self.revision => Err(Refusal::FutureRev),
            _ if revision < self.compacted => Err(Refusal::Compacted),
            _ => Ok(revision),
        }
    }
}
