//! What an applied entry did to the keys.

use alloc::sync::Arc;

use bytes::Bytes;
use quorate_proto::mvccpb;

use crate::error::{Refusal, StorageFault};
use crate::ids::Revision;

/// All changes of one revision, in order of their sub-revisions: never split, never merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Their main revision.
    pub revision: Revision,
    /// One event per change. `kv` is complete for puts; for deletes it carries `key` and
    /// `mod_revision` only. `prev_kv` is left empty: who wants it reads it from history.
    pub events: Arc<[mvccpb::Event]>,
}

/// History as watchers read it: implemented by the key store's view.
pub trait History {
    /// The newest revision.
    fn revision(&self) -> Revision;

    /// The compacted revision; -1 if nothing ever was.
    fn compacted(&self) -> Revision;

    /// Visits the changes of revisions `from..=until` that touch keys in `keys`, revision by
    /// revision, each with its main revision; at most `records_max` records, or `bytes_max` bytes
    /// and one revision, are looked at, but never a part of a revision. Returns the first revision
    /// not looked at.
    fn changes(
        &self,
        span: Span,
        keys: &KeyRange,
        visit: &mut dyn FnMut(Revision, mvccpb::Event),
    ) -> Result<Revision, ReadError>;

    /// The key's value as of revision `at`, if it existed then.
    fn kv_at(&self, key: &[u8], at: Revision) -> Result<Option<mvccpb::KeyValue>, ReadError>;
}

/// A stretch of history, and how much work may go into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First revision.
    pub from: Revision,
    /// Last revision.
    pub until: Revision,
    /// Records looked at before giving up; the revision begun is finished.
    pub records_max: usize,
    /// Bytes of such records; likewise.
    pub bytes_max: usize,
}

/// Why a read yields nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The client's fault.
    Refused(Refusal),
    /// Ours.
    Fault(StorageFault),
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StorageFault> for ReadError {
    fn from(fault: StorageFault) -> Self {
        Self::Fault(fault)
    }
}

/// The keys a request names, from etcd's pair `key`, `range_end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRange {
    /// Exactly this key.
    One(Bytes),
    /// Keys from the first up to, not including, the second; may be empty.
    Between(Bytes, Bytes),
    /// This key and all after it.
    From(Bytes),
}

impl KeyRange {
    /// Reads etcd's convention: an empty end is one key, a single zero byte is open.
    pub fn parse(key: &Bytes, range_end: &Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::One(key.clone()),
            [0] => Self::From(key.clone()),
            _ => Self::Between(key.clone(), range_end.clone()),
        }
    }

    /// Leaves out the keys before `start`, which is one of them.
    pub fn begin_at(&mut self, start: Bytes) {
        let (Self::One(first) | Self::Between(first, _) | Self::From(first)) = self;
        *first = start;
    }

    /// Whether `key` is among them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Between(start, end) => start.as_ref() <= key && key < end.as_ref(),
            Self::From(start) => start.as_ref() <= key,
        }
    }
}
