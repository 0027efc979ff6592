//! bbolt files: how etcd keeps a store, and what a snapshot is made of.
//!
//! ```text
//! page   0      1      2     3     4            5 ..
//!      | meta | meta | leaf | leaf | branch ... | leaf: the root |  [32 bytes: SHA-256]
//!                      `- rows of `alarm`, `auth`, ... in order     in snapshots only
//! ```
//!
//! Buckets are trees of pages: branches name the first key of each child, leaves hold rows. The
//! root is a bucket of buckets; one whose rows fit in a quarter of a page stands in the root
//! itself (*inline*). A page may have longer pages follow it as its *overflow*.
//!
//! *Writing* ([`BoltImage`]) streams: rows come in order, so pages can leave in order. One pass
//! over the unchanging image measures, since the first page already names the last; a second one
//! writes. Neither holds more than a page for each level of a tree. *Reading* ([`BoltFile`]) is an
//! image like any other ([`StateRead`](quorate_core::storage::StateRead)).
//!
//! Invariants
//! - What is written passes bbolt's own check, and is the same for the same rows.
//! - Nothing read from a file is trusted: each page is checked against the file's size and itself
//!   whenever it is read, and opening a file holds all its pages against each other.
//!
//! Deliberately absent: changing a file, the list of free pages (etcd does not store it either),
//! buckets within buckets. Ready-made libraries map files into memory, which cannot be had without
//! unsafe code, and none writes without a file to write to.
//!
//! Answers to: bbolt v1.5.0 `internal/common/`, `node.go`, `tx_check.go`

mod check;
mod format;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;

pub use read::BoltFile;
pub use write::{BoltImage, PIECE_BYTES};

/// Bytes of a snapshot's checksum, behind the database.
pub const HASH_BYTES: usize = 32;
/// Lengths of databases are multiples of this: so the checksum shows.
const SECTOR_BYTES: u64 = 512;
