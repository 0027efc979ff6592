//! How the core reads what was stored: synchronous, read-only traits. All writes leave as outputs.

mod rows;

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::raftpb::ConfState;

use crate::error::StorageFault;
use crate::ids::{LogIndex, Term};

pub use rows::Rows;

/// One entry of the log: its place and its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Term of the leader that proposed it.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
    /// What `data` holds.
    pub kind: EntryKind,
    /// An `InternalRaftRequest`, a `ConfChange` or a `ConfChangeV2`; empty for a leader's first.
    pub data: Bytes,
}

/// What an entry's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// `InternalRaftRequest`, or empty.
    #[default]
    Normal,
    /// `raftpb.ConfChange`.
    ConfChange,
    /// `raftpb.ConfChangeV2`.
    ConfChangeV2,
}

/// What a member must never forget: its term, its vote, and how far it knew the log committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The current term.
    pub term: Term,
    /// Member voted for in that term; 0 if none.
    pub vote: u64,
    /// Last index known to be committed.
    pub commit: LogIndex,
}

/// A point the log may start from: everything up to it is in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotMark {
    /// Last index the snapshot covers.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
    /// The group's members at that point.
    pub conf_state: ConfState,
}

/// What the log holds when a member starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogContents {
    /// Where the entries begin.
    pub mark: SnapshotMark,
    /// Term, vote, commit.
    pub hard_state: HardState,
    /// Entries after the mark, without gaps.
    pub entries: Vec<Entry>,
}

/// The log as it was found. Read once, when a replica is opened.
pub trait LogRead {
    /// All that survived. `stored` is what the store durably holds: contents start at the newest
    /// mark not after it. A log that ends before `stored` (a crash right after an image was
    /// installed) yields `stored` as the mark and no entries; one that begins after it is a fault.
    fn load(&self, stored: &SnapshotMark) -> Result<LogContents, StorageFault>;
}

/// The store's tables, by etcd's bucket names where etcd has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// `alarm`: raised alarms.
    Alarm = 0,
    /// `auth`: whether auth is on, its revision.
    Auth = 1,
    /// `authRoles`.
    AuthRoles = 2,
    /// `authUsers`.
    AuthUsers = 3,
    /// `cluster`: version, downgrade.
    Cluster = 4,
    /// `key`: records by revision.
    Key = 5,
    /// `lease`.
    Lease = 6,
    /// `members`.
    Members = 7,
    /// `members_removed`.
    MembersRemoved = 8,
    /// `meta`: applied index, term, configuration, compaction.
    Meta = 9,
    /// What records say but for their values. Ours alone, and nothing that the records do not say:
    /// snapshots in etcd's format, and hashes that members of etcd compare, are without it.
    Heads = 10,
}

impl Table {
    /// All tables, by number.
    pub const ALL: [Self; 11] = {
        let [a, b, c, d, e, f, g, h, i, j] = Self::OF_ETCD;
        [a, b, c, d, e, f, g, h, i, j, Self::Heads]
    };

    /// Those that etcd has, in the byte order of their names.
    pub const OF_ETCD: [Self; 10] = [
        Self::Alarm,
        Self::Auth,
        Self::AuthRoles,
        Self::AuthUsers,
        Self::Cluster,
        Self::Key,
        Self::Lease,
        Self::Members,
        Self::MembersRemoved,
        Self::Meta,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Auth => "auth",
            Self::AuthRoles => "authRoles",
            Self::AuthUsers => "authUsers",
            Self::Cluster => "cluster",
            Self::Key => "key",
            Self::Lease => "lease",
            Self::Members => "members",
            Self::MembersRemoved => "members_removed",
            Self::Meta => "meta",
            Self::Heads => "heads",
        }
    }

    /// The table of that number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// The number that a key begins with, which is ordered as keys are; one of fewer than eight bytes
/// goes on with zeros.
pub fn leading_number(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    match key.first_chunk() {
        Some(first) => bytes = *first,
        None => bytes[..key.len()].copy_from_slice(key),
    }
    u64::from_be_bytes(bytes)
}

/// One change of one row; `None` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which table.
    pub table: Table,
    /// The row's key.
    pub key: Bytes,
    /// Its new value.
    pub value: Option<Bytes>,
}

/// An unchanging image of the store: what was stored when it was taken, and nothing later.
pub trait StateRead: Send + Sync {
    /// The value at `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault>;

    /// Visits rows with keys in `from..until` (`until` empty: to the table's end) in key order
    /// until `visit` breaks.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault>;

    /// What `make` makes of records of this store; of the same records, which the name stands for,
    /// it makes the same. An image with memory to spare may give what was made before. Nothing if
    /// it is not worth making.
    fn remembered(
        &self,
        _name: &RecordsName,
        make: &mut dyn FnMut() -> Result<Option<Bytes>, StorageFault>,
    ) -> Result<Option<Bytes>, StorageFault> {
        make()
    }
}

/// What stands for several records.
pub type RecordsName = [i64; 7];
