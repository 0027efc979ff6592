//! The log on disk, in etcd's format: what this member promised and must never forget.
//!
//! ```text
//! wal/0000000000000000-0000000000000000.wal   crc metadata marker(0) entry entry hardstate ...
//! wal/0000000000000001-00000000000186a1.wal   crc metadata hardstate entry entry ... 0 0 0 0
//! ```
//!
//! A segment is allocated at its full size before it is used, and zeros are written a little
//! ahead of the records, in the same sync: then a sync changes no metadata of the file. Records
//! are chained by a rolling CRC-32C that each segment hands to the next.
//!
//! *Group commit*: [`LogWrite::append`](super::LogWrite::append) takes any number of batches and
//! syncs once. *Steps*: one write between two syncs is at most [`STEP_BYTES_MAX`], or one single
//! longer record.
//!
//! Invariants:
//! - What was reported as persisted is read back, or opening is refused. Only what a crash can
//!   have interrupted is cut: in the last segment, a frame with whole sectors of zeros, at most
//!   one step from the last byte written. A changed byte anywhere else is refused with the file,
//!   the offset and what to do.
//! - No length that was read is trusted before it is held against the file's size.
//! - A failed write or sync is never retried: the log refuses everything from then on.
//! - A file's name becomes durable before anything in it counts.
//!
//! Deliberately absent: a spare segment made ahead of time (allocating one takes as long as one
//! sync), a limit to the number of segments (the core says what can go), reading entries back
//! while running (the core keeps what it needs).
//!
//! Answers to: etcd v3.7.1 `server/storage/wal/`

mod fold;
mod frame;
mod name;
mod read;
mod scan;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::sync::Arc;

use quorate_core::error::StorageFault;

pub use read::{FoundLog, beginning, open, read, read_identity};
pub use write::{LogWriter, create};

use super::faults::{LogFaults, NoFaults};

/// Size of a segment, as etcd's.
pub const SEGMENT_BYTES: u64 = 64_000_000;

/// How a log is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Size of new segments.
    pub segment_bytes: u64,
    /// Trouble made on purpose.
    pub faults: Arc<dyn LogFaults>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, faults: Arc::new(NoFaults) }
    }
}

/// Most bytes written between two syncs, unless one record is longer.
pub const STEP_BYTES_MAX: u64 = 1 << 20;
/// Zeros are written in pieces of this size ahead of the records.
const ZEROS_AHEAD_BYTES: u64 = 256 << 10;

/// What to do about a log that cannot be used.
const REMEDY: &str = "start this member anew: remove it from the cluster, move its data \
                      directory away and add it again; a cluster of one is restored from a \
                      snapshot";

/// A refusal that names file, offset and remedy.
fn damaged(path: &Path, offset: u64, why: &str) -> StorageFault {
    StorageFault::new(format!(
        "log segment {} is damaged at offset {offset}: {why}; {REMEDY}",
        path.display()
    ))
}
