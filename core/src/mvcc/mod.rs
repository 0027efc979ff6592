//! Keys and their history: the ledger behind every read, write, watch and compaction.
//!
//! A mutation of the store takes one main revision; its changes are numbered from 0 within it. Each
//! change is a record that never changes again: (main, sub) -> key, value, lease, and three
//! numbers. The [`index`] says which revisions a key has; the records themselves lie in the store's
//! image, or, while their batch is under way, in memory.
//!
//! ```text
//!  put a=1; put b=2; txn { put a=3, del b }; put a=4
//!
//!  records   (2,0) a=1   (3,0) b=2   (4,0) a=3   (4,1) b gone   (5,0) a=4
//!            '---------- image ----------------------------'    '-- recent --'
//!  index     a: 2.0  4.0  5.0        b: 3.0  4.1(tombstone)
//!
//!  read a at 4 -> index: 4.0 -> record (4,0) -> 3
//!  changes 3..=4 -> records (3,0) (4,0) (4,1) in order
//!  compact to 4 -> drops (2,0) and (3,0); the tombstone (4,1) stays until the next one
//! ```
//!
//! Beside the records stand their heads, which are all but the values: a start reads those.
//!
//! [`Mvcc`] is the ledger; [`Writer`] makes one mutation; [`KvView`] is an unchanging picture that
//! any thread may read. The ledger is itself a view that changes, so there is one way to read.
//!
//! Invariants
//! - `compacted <= revision`; a fresh store is at revision 1, compacted at -1.
//! - Every version in the index from the compacted revision on has its record, in the view's image
//!   if its main revision is at most `stored`, in memory otherwise.
//! - A mutation that changes nothing takes no revision.
//! - A view never changes, whatever is written, stored or compacted after it was taken.
//! - Work that grows with the store (compaction, the hash that goes with it) runs in slices.
//!
//! Deliberately absent: leases (a record only names one; the book reads them off the events),
//! watches, permissions, quotas, and who waits for a compaction.
//!
//! Answers to: etcd v3.7.1 server/storage/mvcc/

mod changes;
mod chunks;
mod compact;
mod fields;
mod hash;
mod heads;
pub mod index;
pub(crate) mod range;
mod records;
mod run;
mod store;
mod view;
mod writer;

pub use crate::schema::{RevisionKey, RowKey};
pub use chunks::{Chunk, Chunks, Encoded, Step};
pub use compact::Slice;
pub use hash::KvHash;
pub use heads::check_heads;
pub use range::RangeResult;
pub use store::Mvcc;
pub use view::KvView;
pub use writer::{Outcome, Writer};
