//! Bytes at rest: how every row of the store is laid out.
//!
//! | table | key | value |
//! |---|---|---|
//! | `key` | main, `_`, sub (8 bytes each, big endian); tombstones end in `t` | `mvccpb.KeyValue` |
//! | `meta` | `consistent_index`, `term` | 8 bytes, big endian |
//! | | `scheduledCompactRev`, `finishedCompactRev` | a revision with sub 0 |
//! | | `storageVersion` | `3.7.0` |
//! | | `confState` | JSON |
//! | | `quorate.digest`, `quorate.fenced`, `quorate.layout` | 8 bytes, big endian; ours alone |
//! | | `quorate.adopted` | empty; ours alone |
//! | `lease` | lease id (8 bytes, big endian) | `leasepb.Lease` |
//! | `alarm` | `etcdserverpb.AlarmMember` | empty |
//! | `auth`, `authUsers`, `authRoles` | names | as their ledger encodes them |
//! | `heads` | see [`heads`]; ours alone | what records say but for their values |
//! | `cluster`, `members`, `members_removed` | names, hex ids | JSON, plain text |
//!
//! Worked example: `put foo=bar` on a fresh store becomes revision (2, 0), and its row in `key` is
//!
//! ```text
//! 0000000000000002 5f 0000000000000000 -> 0a03 666f6f 1002 1802 2001 2a03 626172
//!                                        key foo     c=2  m=2  v=1  value bar
//! ```
//!
//! Invariants
//! - Records are canonical: fields ascending, zero fields left out. The hash of history depends on
//!   it.
//! - Rows are untrusted when read: what does not parse is a
//!   [`StorageFault`](crate::error::StorageFault).
//!
//! Deliberately absent: rows that only one ledger reads; it lays them out itself.
//!
//! Answers to: etcd v3.7.1 server/storage/schema/, server/storage/mvcc/revision.go

pub mod heads;
pub mod layout;
pub mod meta;
mod progress;
pub mod record;
pub mod revision;

pub(crate) use progress::{Progress, fenced_row, is_adopted};
pub use progress::{adopted_row, encode_mark, stored_mark};
pub use revision::{RevisionKey, RowKey};

/// Rows of `meta` that etcd does not have.
pub const OWN_META: [&str; 4] = [progress::ADOPTED, progress::DIGEST, meta::FENCED, layout::NAME];
