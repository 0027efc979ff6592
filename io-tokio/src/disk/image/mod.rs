//! Images of the state on their way from one member to another.
//!
//! ```text
//! header(announcement)  rows(alarm) ..  rows(key) rows(key) ..  rows(meta)  end(count, checksum)
//! ```
//!
//! The sender reads a pinned image table by table, in key order, at most [`CHUNK_BYTES_MAX`] at a
//! time. The receiver writes the rows into a database of their own, which becomes the store's
//! next generation once the replica has accepted the announcement.
//!
//! Invariants:
//! - A received image counts only when complete: tables and keys in strict order, number of rows
//!   and checksum as announced, everything synced.
//! - One image is received at a time; the newest [`READY_MAX`] complete ones are kept.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/snap/db.go`, `api/rafthttp/snapshot_sender.go`

mod receive;
mod send;
#[cfg(test)]
mod tests;

pub(super) use receive::copy;
pub use receive::{ImageError, Incoming};
pub use send::ImageChunks;

/// Bytes of rows in one chunk, at most, unless one row is longer.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Complete images that wait for being installed.
pub const READY_MAX: usize = 2;
