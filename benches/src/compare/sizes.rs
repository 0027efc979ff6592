//! How much of everything there is: in full, and for a first look.

use std::time::Duration;

/// Bytes of every value, unless a row has its own.
pub(crate) const VALUE_BYTES: usize = 256;
/// Bytes of a value of a Kubernetes object.
pub(crate) const OBJECT_BYTES: usize = 1 << 10;
/// Keys in one answer of W6.
pub(crate) const RANGE_KEYS: u64 = 1_000;
/// Keys on a page of W7.
pub(crate) const PAGE_KEYS: usize = 500;

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Load before a window opens, and how long it is open.
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    /// Windows in which puts are measured before they are disturbed.
    pub(crate) calm_windows: u32,
    /// Keys before the first workload.
    pub(crate) keys: u64,
    /// Keys of the paginated list.
    pub(crate) page_keys: u64,
    /// The list that is asked for at once.
    pub(crate) list_mib: u64,
    /// Keys that are counted, held and started with.
    pub(crate) many_keys: u64,
    /// The same in the largest store, which only Quorate is asked to hold; none to leave it out.
    pub(crate) most_keys: Option<u64>,
    /// Watchers of one prefix, of keys of their own, and such that only cost memory.
    pub(crate) prefix_watchers: usize,
    pub(crate) key_watchers: usize,
    pub(crate) idle_watchers: usize,
    /// Leases that are kept alive, that end at once, and how long from now.
    pub(crate) kept_leases: usize,
    pub(crate) ending_leases: i64,
    pub(crate) ending_after: Duration,
    /// Revisions that are compacted.
    pub(crate) revisions: u64,
    /// The store that is defragmented, and saved as a snapshot.
    pub(crate) store_mib: u64,
    /// Keys that are written several times and compacted.
    pub(crate) version_keys: u64,
}

impl Sizes {
    /// What the table is about.
    pub(crate) const FULL: Self = Self {
        warm: Duration::from_secs(1),
        measured: Duration::from_secs(5),
        calm_windows: 5,
        keys: 100_000,
        page_keys: 100_000,
        list_mib: 1_024,
        many_keys: 1_000_000,
        most_keys: Some(10_000_000),
        prefix_watchers: 1_000,
        key_watchers: 10_000,
        idle_watchers: 100_000,
        kept_leases: 10_000,
        ending_leases: 100_000,
        ending_after: Duration::from_secs(90),
        revisions: 1_000_000,
        store_mib: 2_048,
        version_keys: 1_000_000,
    };

    /// Whether it all works, and a first impression.
    pub(crate) const QUICK: Self = Self {
        warm: Duration::from_millis(300),
        measured: Duration::from_secs(1),
        calm_windows: 2,
        keys: 10_000,
        page_keys: 10_000,
        list_mib: 64,
        many_keys: 50_000,
        most_keys: None,
        prefix_watchers: 200,
        key_watchers: 1_000,
        idle_watchers: 5_000,
        kept_leases: 1_000,
        ending_leases: 5_000,
        ending_after: Duration::from_secs(12),
        revisions: 50_000,
        store_mib: 64,
        version_keys: 20_000,
    };
}
