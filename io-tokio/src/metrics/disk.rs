//! The log, the store, and what reads all of either.

use prometheus_client::metrics::gauge::Gauge;

use super::Shelf;
use super::timing::{Scale, Timing};

/// The buckets etcd has for disks.
const DISK: Scale = Scale::Doubling(0.001, 14);

/// See the module.
#[derive(Debug)]
pub struct Disk {
    /// Each sync of the log.
    pub wal_fsync: Timing,
    /// Each write to it.
    pub wal_write: Timing,
    /// Bytes written to it.
    pub wal_bytes: Gauge,
    /// Each batch the store took.
    pub store_commit: Timing,
    /// Each defragmentation.
    pub defragment: Timing,
    /// Whether one is under way.
    pub defragmenting: Gauge,
    /// Each backup that was asked for.
    pub backup: Timing,
    /// Each hash of everything stored.
    pub hash: Timing,
    /// Each hash of history.
    pub hash_kv: Timing,
    /// When the last compaction ended, in seconds since 1970; 0 if none did.
    pub compacted_at: Gauge,
}

impl Disk {
    pub(super) fn new(on: &mut Shelf) -> Self {
        let mut timing = |name, scale, help| on.put(name, help, Timing::new(scale));
        Self {
            wal_fsync: timing("etcd_disk_wal_fsync_duration_seconds", DISK, "Time to sync the log"),
            wal_write: timing(
                "etcd_disk_wal_write_duration_seconds",
                DISK,
                "Time to write to the log, without the sync",
            ),
            store_commit: timing(
                "etcd_disk_backend_commit_duration_seconds",
                DISK,
                "Time to commit a batch to the store",
            ),
            defragment: timing(
                "etcd_disk_backend_defrag_duration_seconds",
                Scale::Doubling(0.1, 13),
                "Time a defragmentation takes in the background",
            ),
            backup: timing(
                "etcd_disk_backend_snapshot_duration_seconds",
                Scale::Doubling(0.01, 17),
                "Time a backup takes that a client asked for",
            ),
            hash: timing(
                "etcd_mvcc_hash_duration_seconds",
                Scale::Doubling(0.01, 15),
                "Time to hash everything stored",
            ),
            hash_kv: timing(
                "etcd_mvcc_hash_rev_duration_seconds",
                Scale::Doubling(0.01, 15),
                "Time to hash history",
            ),
            wal_bytes: on.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log"),
            defragmenting: on
                .gauge("etcd_disk_defrag_inflight", "Whether a defragmentation is under way"),
            compacted_at: on.gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "When the last compaction ended, in seconds since 1970",
            ),
        }
    }
}
