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
mod disk;
mod facts;
mod grpc;
mod network;
mod process;
mod silent;
mod timing;
mod work;

use std::sync::Mutex;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};
use quorate_core::View;
use quorate_core::input::Role;

pub use clients::Clients;
pub use count::{Count, Traffic};
pub use disk::Disk;
use facts::FactGauges;
pub use grpc::{Calls, Kind, METHODS, Method};
pub use network::{Network, Transfer};
pub(crate) use process::{files_max, memory, own_memory};
pub use timing::Timing;
pub use work::{Op, Work};

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
    /// Calls by method and outcome.
    pub calls: Calls,
    /// Calls by what their clients say they speak.
    pub clients: Clients,
    /// The other members.
    pub network: Network,
    /// Bytes on clients' HTTP/2 connections, below TLS.
    pub traffic: Traffic,
    /// The log and the store.
    pub disk: Disk,
    /// What answers take.
    pub work: Work,
    /// Leaders that came and went.
    pub leader_changes: Count,
    /// Writes that were given up.
    pub proposals_failed: Count,
    /// Ranges read here, outside applied transactions.
    pub ranges: Count,
    /// Transactions of more than one operation that only read.
    pub read_txns: Count,
    /// `/health` that was good.
    pub health_successes: Count,
    /// `/health` that was not.
    pub health_failures: Count,
    health_checks: Family<Labels, Count>,
    health_check: Family<Labels, Gauge>,
    stream_failures: Family<Labels, Count>,
    /// Learners that became voters because this member was asked for it.
    pub promotions: Count,
    promotion_failures: Family<Labels, Count>,
    /// Heartbeats that found no room on their way.
    pub heartbeats_lost: Count,
    features: Family<Labels, Gauge>,
    pages: Family<Labels, Count>,
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
}

impl Metrics {
    /// All counters at zero.
    pub fn new(quota_backend_bytes: u64) -> Self {
        let mut shelf = Shelf(Registry::default());
        let calls = Calls::default();
        let clients = Clients::default();
        let work = Work::new(&mut shelf);
        shelf.0.register_collector(Box::new(calls.clone()));
        shelf.0.register_collector(Box::new(clients.clone()));
        shelf.0.register_collector(Box::new(process::Process::default()));
        put_constants(&mut shelf, quota_backend_bytes);
        silent::put(&mut shelf);
        let on = &mut shelf;
        Self {
            calls,
            clients,
            network: Network::new(on),
            traffic: Traffic {
                received: on.count(
                    "etcd_network_client_grpc_received_bytes_total",
                    "Bytes from clients, HTTP/2's frames included",
                ),
                sent: on.count(
                    "etcd_network_client_grpc_sent_bytes_total",
                    "Bytes to clients, HTTP/2's frames included",
                ),
            },
            disk: Disk::new(on),
            work,
            leader_changes: on
                .count("etcd_server_leader_changes_seen_total", "Leader changes seen"),
            proposals_failed: on
                .count("etcd_server_proposals_failed_total", "Proposals that failed"),
            ranges: Count::default(),
            read_txns: Count::default(),
            health_successes: on.count("etcd_server_health_success", "Good health checks"),
            health_failures: on.count("etcd_server_health_failures", "Failed health checks"),
            health_checks: on.family("etcd_server_healthchecks_total", "Checks made"),
            health_check: on.family("etcd_server_healthcheck", "What the last check found"),
            stream_failures: on
                .family("etcd_network_server_stream_failures_total", "Streams that broke"),
            promotions: on
                .count("etcd_server_learner_promote_successes", "Learners that became voters"),
            promotion_failures: on
                .family("etcd_server_learner_promote_failures", "Learners that did not"),
            heartbeats_lost: on
                .count("etcd_server_heartbeat_send_failures_total", "Heartbeats not sent"),
            features: on.family("etcd_server_feature_enabled", "Whether a feature is on"),
            pages: on
                .family("promhttp_metric_handler_requests_total", "Times this page was asked for"),
            facts: FactGauges::new(on),
            role: Mutex::default(),
            registry: shelf.0,
        }
    }

    /// A feature of etcd's, and whether what it stands for is on here.
    pub fn note_feature(&self, name: &str, stage: &str, is_on: bool) {
        let labels = vec![("name", name.to_owned()), ("stage", stage.to_owned())];
        self.features.get_or_create(&labels).set(i64::from(is_on));
    }

    /// A check of `/livez` or `/readyz` found that.
    pub fn note_check(&self, page: &'static str, name: &str, is_good: bool) {
        let of = vec![("type", page.to_owned()), ("name", name.to_owned())];
        self.health_check.get_or_create(&of).set(i64::from(is_good));
        let status = if is_good { "success" } else { "error" };
        let labels = [of, vec![("status", status.to_owned())]].concat();
        self.health_checks.get_or_create(&labels).add(1);
    }

    /// A client's stream broke while this member received or sent.
    pub fn note_stream_failure(&self, while_: &'static str, api: &'static str) {
        let labels = vec![("Type", while_.to_owned()), ("API", api.to_owned())];
        self.stream_failures.get_or_create(&labels).add(1);
    }

    /// A learner did not become a voter.
    pub fn note_promotion_failure(&self, reason: &str) {
        self.promotion_failures.get_or_create(&vec![("Reason", reason.to_owned())]).add(1);
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
        self.facts.set(view, self.ranges.get(), self.read_txns.get());
        self.pages.get_or_create(&vec![("code", "200".to_owned())]).add(1);
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
    shelf.gauge("promhttp_metric_handler_requests_in_flight", "This one").set(1);
    let go: Family<Labels, Gauge> = Family::default();
    go.get_or_create(&vec![("server_go_version", crate::version::LANGUAGE.to_owned())]).set(1);
    shelf.put("etcd_server_go_version", "What is asked for the version of Go", go);
}

/// As gauges hold it.
pub(crate) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
