//! What the server counts, under etcd's names.
//!
//! ```text
//! counters   touched where things happen      etcd_server_proposals_failed_total
//! facts      read from the newest view when somebody looks    etcd_server_has_leader
//! process    read from the system when somebody looks         process_resident_memory_bytes
//! ```
//!
//! Invariants
//! - A name is printed exactly as etcd has it. The library under this room appends `_total` to
//!   every counter; etcd has counters without it and gauges with it. So counters here are a type
//!   of our own ([`Count`]) that prints its bare name.
//! - Touching a counter is one atomic addition: no lock, no lookup.
//!
//! Deliberately absent: the Go runtime's names, which would say nothing true.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/metrics.go`, `server/storage/metrics.go`,
//! `server/etcdserver/api/rafthttp/metrics.go`

mod clients;
mod count;
mod grpc;
mod process;

use std::sync::Mutex;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use quorate_core::View;
use quorate_core::ids::MemberId;
use quorate_core::input::Role;

pub use clients::Clients;
pub use count::Count;
pub use grpc::{Calls, Kind, METHODS, Method};

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels of the few series that have them.
type Labels = Vec<(&'static str, String)>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    facts: FactGauges,
    role: Mutex<Role>,
    peer_sent: Family<Labels, Count>,
    peer_received: Family<Labels, Count>,
    peer_send_failures: Family<Labels, Count>,
    /// Calls by method and outcome.
    pub calls: Calls,
    /// Calls by what their clients say they speak.
    pub clients: Clients,
    /// Leaders that came and went.
    pub leader_changes: Count,
    /// Writes that wait for their entries.
    pub proposals_pending: Gauge,
    /// Writes that were given up.
    pub proposals_failed: Count,
    /// Answered puts, those inside transactions left out.
    pub puts: Count,
    /// Answered deletes.
    pub deletes: Count,
    /// Answered ranges.
    pub ranges: Count,
    /// Answered transactions.
    pub txns: Count,
    /// `/health` that was good.
    pub health_successes: Count,
    /// `/health` that was not.
    pub health_failures: Count,
    /// Seconds of each sync of the log.
    pub wal_fsync: Histogram,
    /// Seconds of each batch the store took.
    pub store_commit: Histogram,
}

/// Gauges that repeat what the newest view knows.
#[derive(Debug, Default)]
struct FactGauges {
    has_leader: Gauge,
    is_leader: Gauge,
    is_learner: Gauge,
    committed: Gauge,
    applied: Gauge,
    db_size: Gauge,
    db_in_use: Gauge,
    revision: Gauge,
    watchers: Gauge,
    auth_revision: Gauge,
    server_id: Family<Labels, Gauge>,
    cluster_version: Family<Labels, Gauge>,
    alarms: Family<Labels, Gauge>,
}

/// A registry with a shorter word for putting something into it.
struct Shelf(Registry);

impl Shelf {
    fn put<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn count(&mut self, name: &str, help: &str) -> Count {
        self.put(name, help, Count::default())
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.put(name, help, Gauge::default())
    }

    fn family<M>(&mut self, name: &str, help: &str) -> Family<Labels, M>
    where
        Family<Labels, M>: Metric + Clone + Default,
    {
        self.put(name, help, Family::default())
    }

    /// Seconds, in the buckets etcd has for disks.
    fn disk_seconds(&mut self, name: &str, help: &str) -> Histogram {
        self.put(name, help, Histogram::new(exponential_buckets(0.001, 2.0, 14)))
    }
}

impl Metrics {
    /// All counters at zero.
    pub fn new(quota_backend_bytes: u64) -> Self {
        let mut shelf = Shelf(Registry::default());
        let calls = Calls::default();
        let clients = Clients::default();
        shelf.0.register_collector(Box::new(calls.clone()));
        shelf.0.register_collector(Box::new(clients.clone()));
        shelf.0.register_collector(Box::new(process::Process::default()));
        put_constants(&mut shelf, quota_backend_bytes);
        let on = &mut shelf;
        Self {
            calls,
            clients,
            leader_changes: on
                .count("etcd_server_leader_changes_seen_total", "Leader changes seen"),
            proposals_pending: on
                .gauge("etcd_server_proposals_pending", "Proposals waiting to be committed"),
            proposals_failed: on
                .count("etcd_server_proposals_failed_total", "Proposals that failed"),
            puts: on.count("etcd_mvcc_put_total", "Puts answered by this member"),
            deletes: on.count("etcd_mvcc_delete_total", "Deletes answered by this member"),
            ranges: on.count("etcd_mvcc_range_total", "Ranges answered by this member"),
            txns: on.count("etcd_mvcc_txn_total", "Transactions answered by this member"),
            health_successes: on.count("etcd_server_health_success", "Good health checks"),
            health_failures: on.count("etcd_server_health_failures", "Failed health checks"),
            wal_fsync: on
                .disk_seconds("etcd_disk_wal_fsync_duration_seconds", "Time to sync the log"),
            store_commit: on.disk_seconds(
                "etcd_disk_backend_commit_duration_seconds",
                "Time to commit a batch to the store",
            ),
            peer_sent: on.family("etcd_network_peer_sent_bytes_total", "Bytes sent to peers"),
            peer_received: on
                .family("etcd_network_peer_received_bytes_total", "Bytes received from peers"),
            peer_send_failures: on
                .family("etcd_network_peer_sent_failures_total", "Messages to peers lost"),
            facts: FactGauges::new(on),
            role: Mutex::default(),
            registry: shelf.0,
        }
    }

    /// Bytes sent to that member.
    pub fn peer_sent(&self, to: MemberId) -> Count {
        self.peer_sent.get_or_create_owned(&vec![("To", to.to_string())])
    }

    /// Bytes received from that member.
    pub fn peer_received(&self, from: MemberId) -> Count {
        self.peer_received.get_or_create_owned(&vec![("From", from.to_string())])
    }

    /// Messages to that member that were lost.
    pub fn peer_send_failures(&self, to: MemberId) -> Count {
        self.peer_send_failures.get_or_create_owned(&vec![("To", to.to_string())])
    }

    /// Notes who leads; each new leader counts once.
    pub fn observe_role(&self, role: Role) {
        let mut seen = self.role.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if role.leader.is_some() && (role.leader, role.term) != (seen.leader, seen.term) {
            self.leader_changes.add(1);
            *seen = role;
        }
    }

    /// The text of everything, with the facts of that view.
    pub fn text(&self, view: &View) -> String {
        self.observe_role(view.facts.role);
        self.facts.set(view);
        let mut text = String::with_capacity(64 << 10);
        encode_registry(&mut text, &self.registry).expect("a string takes all that is written");
        text
    }
}

/// Series whose value never changes.
fn put_constants(shelf: &mut Shelf, quota_backend_bytes: u64) {
    let version: Family<Labels, Gauge> = Family::default();
    version.get_or_create(&vec![("server_version", crate::version::ETCD.to_owned())]).set(1);
    shelf.put("etcd_server_version", "The version of etcd this server answers as", version);
    let own: Family<Labels, Gauge> = Family::default();
    own.get_or_create(&vec![("version", crate::version::QUORATE.to_owned())]).set(1);
    shelf.put("quorate_version", "The version of this server", own);
    shelf.gauge("etcd_server_quota_backend_bytes", "The quota").set(whole(quota_backend_bytes));
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl FactGauges {
    fn new(shelf: &mut Shelf) -> Self {
        Self {
            has_leader: shelf.gauge("etcd_server_has_leader", "Whether a leader is known"),
            is_leader: shelf.gauge("etcd_server_is_leader", "Whether this member leads"),
            is_learner: shelf.gauge("etcd_server_is_learner", "Whether this member is a learner"),
            committed: shelf.gauge("etcd_server_proposals_committed_total", "Entries committed"),
            applied: shelf.gauge("etcd_server_proposals_applied_total", "Entries applied"),
            db_size: shelf.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes the store occupies"),
            db_in_use: shelf
                .gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes the store uses"),
            revision: shelf.gauge("etcd_debugging_mvcc_current_revision", "The current revision"),
            watchers: shelf.gauge("etcd_debugging_mvcc_watcher_total", "Watchers"),
            auth_revision: shelf.gauge("etcd_debugging_auth_revision", "The auth revision"),
            server_id: shelf.family("etcd_server_id", "This member"),
            cluster_version: shelf.family("etcd_cluster_version", "The cluster's version"),
            alarms: shelf.family("etcd_debugging_server_alarms", "Raised alarms"),
        }
    }

    fn set(&self, view: &View) {
        let facts = &view.facts;
        self.has_leader.set(i64::from(facts.role.leader.is_some()));
        self.is_leader.set(i64::from(facts.role.is_leader));
        let learner = facts.members.iter().any(|m| m.id == facts.member.get() && m.is_learner);
        self.is_learner.set(i64::from(learner));
        self.committed.set(whole(facts.committed.get()));
        self.applied.set(whole(facts.applied.get()));
        self.db_size.set(whole(facts.db_size));
        self.db_in_use.set(whole(facts.db_size_in_use));
        self.revision.set(crate::grpc::reads::revision(view).get());
        self.watchers.set(whole(facts.watchers as u64));
        self.auth_revision.set(whole(facts.auth.book.revision()));
        self.server_id.clear();
        self.server_id.get_or_create(&vec![("server_id", facts.member.to_string())]).set(1);
        self.cluster_version.clear();
        if !facts.cluster_version.is_empty() {
            let minor = crate::version::minor(&facts.cluster_version).to_owned();
            self.cluster_version.get_or_create(&vec![("cluster_version", minor)]).set(1);
        }
        self.alarms.clear();
        for alarm in facts.alarms.iter() {
            let labels = vec![
                ("server_id", format!("{:x}", alarm.member_id)),
                ("alarm_type", alarm.alarm().as_str_name().to_owned()),
            ];
            self.alarms.get_or_create(&labels).set(1);
        }
    }
}

#[cfg(test)]
mod tests;
