//! What a member is told when it is opened; data, fixed for its life.

use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{ClusterId, MemberId};
use crate::pinch::Pinch;
use crate::time::Duration;

/// One member as bootstrap knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: MemberId,
    /// Its name in `--initial-cluster`.
    pub name: String,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
}

/// Who this member is and the pace of its group. Shared by both machines.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name, published to the others.
    pub name: String,
    /// Its client URLs, published to the others.
    pub client_urls: Vec<String>,
    /// The initial members, used when the log is empty; sorted by id.
    pub bootstrap: Vec<Peer>,
    /// Seed of this member's luck: the system's in production, the simulator's in tests.
    pub seed: u64,
    /// Differs at each start of this member: wall-clock milliseconds at start.
    pub boot: u64,
    /// One tick of raft's clock.
    pub heartbeat_interval: Duration,
    /// Least time without a leader before an election; timeouts are drawn from one to two times
    /// this.
    pub election_timeout: Duration,
    /// Applied entries between two points at which the log may be cut.
    pub snapshot_count: u64,
    /// Entries kept behind such a point for slow followers.
    pub snapshot_catchup_entries: u64,
    /// Bytes of entries kept in memory before the log is cut early.
    pub log_bytes_max: u64,
    /// Largest proposal, in encoded bytes.
    pub request_bytes_max: u64,
    /// Most operations in one transaction.
    pub txn_ops_max: usize,
    /// Bytes the store may hold; 0 for no limit.
    pub quota_backend_bytes: u64,
    /// What the core compacts by itself.
    pub auto_compaction: AutoCompaction,
    /// Time between progress notifications of an idle watch.
    pub watch_progress_interval: Duration,
    /// Most learners in the group.
    pub learners_max: usize,
    /// Whether changes of the group that could cost its quorum are refused.
    pub is_reconfig_strict: bool,
    /// Time a token lives after its last use.
    pub token_ttl: Duration,
    /// Time between two checkpoints of a lease; leases that live no longer have none.
    pub lease_checkpoint_interval: Duration,
    /// Bounds that are tiny: a simulator's, never production's.
    pub pinch: Pinch,
}

/// Compaction without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Never.
    #[default]
    Off,
    /// Keep what is younger than this.
    Periodic(Duration),
    /// Keep this many revisions.
    Revisions(i64),
}

impl Default for Config {
    /// etcd's defaults for one member without a name.
    fn default() -> Self {
        Self {
            member: MemberId(0),
            cluster: ClusterId(0),
            name: String::new(),
            client_urls: Vec::new(),
            bootstrap: Vec::new(),
            seed: 0,
            boot: 0,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            snapshot_count: 10_000,
            snapshot_catchup_entries: 5_000,
            log_bytes_max: 64 << 20,
            request_bytes_max: 1_572_864,
            txn_ops_max: 128,
            quota_backend_bytes: 2 << 30,
            auto_compaction: AutoCompaction::Off,
            watch_progress_interval: Duration::from_secs(600),
            learners_max: 1,
            is_reconfig_strict: true,
            token_ttl: Duration::from_secs(300),
            lease_checkpoint_interval: Duration::from_secs(300),
            pinch: Pinch::default(),
        }
    }
}

impl Config {
    /// Ticks of raft's clock in one election timeout.
    pub fn election_ticks(&self) -> usize {
        let ticks = self.election_timeout.as_nanos() / self.heartbeat_interval.as_nanos().max(1);
        usize::try_from(ticks).unwrap_or(usize::MAX).max(2)
    }

    /// How long a proposal or a read barrier may take: 5 s and two election timeouts.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    /// The shortest lease granted, in seconds: one and a half election timeouts, rounded up.
    pub fn lease_ttl_min(&self) -> i64 {
        let least = (self.election_timeout.as_millis() * 3).div_ceil(2_000);
        i64::try_from(least).unwrap_or(i64::MAX)
    }
}
