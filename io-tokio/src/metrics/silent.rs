//! Series that stay at zero: tools look for the names, and here nothing stands behind them.

use prometheus_client::metrics::gauge::Gauge;

use super::timing::{Scale, Timing};
use super::{Count, Shelf};

/// Why there is nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// etcd's second API, which it has kept for its counters only.
    SecondApi,
    /// Its proxy is another program.
    Proxy,
    /// Rows go to a store of another kind, which has no such phase.
    OtherStore,
    /// Watchers that are behind are told from history: nothing waits in memory for them.
    NoBacklog,
    /// Removal and hashing take turns with everything else, a slice at a time.
    InSlices,
    /// State goes from store to store, and no file is written for it in between.
    NoSnapshotFile,
    /// An image that has arrived takes the state's place in one step.
    AtOnce,
    /// Frames are made when there is room for them; there is no loop to be measured.
    NoSendLoop,
}

impl Why {
    const fn text(self) -> &'static str {
        match self {
            Self::SecondApi => "Always 0: there is no v2 API",
            Self::Proxy => "Always 0: this is no proxy",
            Self::OtherStore => "Always 0: the store has no such phase",
            Self::NoBacklog => "Always 0: watchers that are behind are told from history",
            Self::InSlices => "Always 0: compaction takes turns with everything else",
            Self::NoSnapshotFile => "Always 0: no snapshot file is written between members",
            Self::AtOnce => "Always 0: an image takes the state's place in one step",
            Self::NoSendLoop => "Always 0: there is no such loop",
        }
    }
}

const COUNTERS: &[(&str, Why)] = &[
    ("etcd_debugging_store_expires_total", Why::SecondApi),
    ("etcd_debugging_store_watch_requests_total", Why::SecondApi),
    ("etcd_grpc_proxy_events_coalescing_total", Why::Proxy),
];

const GAUGES: &[(&str, Why)] = &[
    ("etcd_debugging_store_watchers", Why::SecondApi),
    ("etcd_debugging_mvcc_pending_events_total", Why::NoBacklog),
    ("etcd_server_snapshot_apply_in_progress_total", Why::AtOnce),
    ("etcd_mvcc_db_open_read_transactions", Why::OtherStore),
    ("etcd_grpc_proxy_cache_hits_total", Why::Proxy),
    ("etcd_grpc_proxy_cache_keys_total", Why::Proxy),
    ("etcd_grpc_proxy_cache_misses_total", Why::Proxy),
    ("etcd_grpc_proxy_watchers_coalescing_total", Why::Proxy),
];

const MILLI: Scale = Scale::Doubling(0.001, 14);

const HISTOGRAMS: &[(&str, Scale, Why)] = &[
    ("etcd_debugging_disk_backend_commit_rebalance_duration_seconds", MILLI, Why::OtherStore),
    ("etcd_debugging_disk_backend_commit_spill_duration_seconds", MILLI, Why::OtherStore),
    ("etcd_debugging_disk_backend_commit_write_duration_seconds", MILLI, Why::OtherStore),
    (
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        Scale::Doubling(1.0, 13),
        Why::InSlices,
    ),
    (
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        Scale::Doubling(100.0, 14),
        Why::InSlices,
    ),
    (
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
        Scale::Doubling(0.5, 14),
        Why::InSlices,
    ),
    (
        "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
        MILLI,
        Why::NoSendLoop,
    ),
    ("etcd_debugging_server_watch_send_loop_progress_duration_seconds", MILLI, Why::NoSendLoop),
    (
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
        MILLI,
        Why::NoSendLoop,
    ),
    ("etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds", MILLI, Why::NoSendLoop),
    ("etcd_debugging_snap_save_marshalling_duration_seconds", MILLI, Why::NoSnapshotFile),
    ("etcd_debugging_snap_save_total_duration_seconds", MILLI, Why::NoSnapshotFile),
    ("etcd_snap_db_fsync_duration_seconds", MILLI, Why::NoSnapshotFile),
    ("etcd_snap_db_save_total_duration_seconds", Scale::Doubling(0.1, 10), Why::NoSnapshotFile),
    ("etcd_snap_fsync_duration_seconds", MILLI, Why::NoSnapshotFile),
];

/// Puts all of them on the shelf.
pub(super) fn put(on: &mut Shelf) {
    for (name, why) in COUNTERS {
        on.put(name, why.text(), Count::default());
    }
    for (name, why) in GAUGES {
        on.put(name, why.text(), Gauge::<i64>::default());
    }
    for (name, scale, why) in HISTOGRAMS {
        on.put(name, why.text(), Timing::new(*scale));
    }
}
