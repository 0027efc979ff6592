//! What the newest view knows, as series: set when somebody looks.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use quorate_core::View;
use quorate_core::tally::Tally;

use super::{Count, Labels, Shelf, whole};

/// Gauges that repeat what the newest view knows.
#[derive(Debug)]
pub(super) struct FactGauges {
    has_leader: Gauge,
    is_leader: Gauge,
    is_learner: Gauge,
    committed: Gauge,
    applied: Gauge,
    pending: Gauge,
    db_size: Gauge,
    db_in_use: Gauge,
    revision: Gauge,
    compacted: Gauge,
    keys: Gauge,
    put_bytes: Gauge,
    watchers: Gauge,
    streams: Gauge,
    behind: Gauge,
    auth_revision: Gauge,
    server_id: Family<Labels, Gauge>,
    cluster_version: Family<Labels, Gauge>,
    alarms: Family<Labels, Gauge>,
    tally: Tallies,
}

/// Counters that repeat what the core counts.
#[derive(Debug)]
struct Tallies {
    puts: Count,
    deletes: Count,
    ranges: Count,
    txns: Count,
    events: Count,
    granted: Count,
    renewed: Count,
    revoked: Count,
    expired: Count,
    compacted: Count,
    barriers_slow: Count,
    barriers_failed: Count,
}

impl FactGauges {
    pub(super) fn new(on: &mut Shelf) -> Self {
        Self {
            has_leader: on.gauge("etcd_server_has_leader", "Whether a leader is known"),
            is_leader: on.gauge("etcd_server_is_leader", "Whether this member leads"),
            is_learner: on.gauge("etcd_server_is_learner", "Whether this member is a learner"),
            committed: on.gauge("etcd_server_proposals_committed_total", "Entries committed"),
            applied: on.gauge("etcd_server_proposals_applied_total", "Entries applied"),
            pending: on.gauge("etcd_server_proposals_pending", "Proposals waiting to be committed"),
            db_size: on.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes the store occupies"),
            db_in_use: on.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes the store uses"),
            revision: on.gauge("etcd_debugging_mvcc_current_revision", "The current revision"),
            compacted: on.gauge("etcd_debugging_mvcc_compact_revision", "The compacted revision"),
            keys: on.gauge("etcd_debugging_mvcc_keys_total", "Keys that exist"),
            put_bytes: on.gauge(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "Bytes of keys and values put since the start",
            ),
            watchers: on.gauge("etcd_debugging_mvcc_watcher_total", "Watchers"),
            streams: on.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams"),
            behind: on.gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Watchers that are told from history",
            ),
            auth_revision: on.gauge("etcd_debugging_auth_revision", "Changes of users and roles"),
            server_id: on.family("etcd_server_id", "This member"),
            cluster_version: on.family("etcd_cluster_version", "The cluster's version"),
            alarms: on.family("etcd_debugging_server_alarms", "Raised alarms"),
            tally: Tallies::new(on),
        }
    }

    /// `reads` and `read_txns`: what was read here beside applied transactions.
    pub(super) fn set(&self, view: &View, reads: u64, read_txns: u64) {
        let facts = &view.facts;
        self.has_leader.set(i64::from(facts.role.leader.is_some()));
        self.is_leader.set(i64::from(facts.role.is_leader));
        let learner = facts.members.iter().any(|m| m.id == facts.member.get() && m.is_learner);
        self.is_learner.set(i64::from(learner));
        self.committed.set(whole(facts.committed.get()));
        self.applied.set(whole(facts.applied.get()));
        self.pending.set(whole(facts.pending as u64));
        self.db_size.set(whole(facts.db_size));
        self.db_in_use.set(whole(facts.db_size_in_use));
        self.revision.set(crate::grpc::reads::revision(view).get());
        self.compacted.set(view.kv.compacted().get());
        self.keys.set(whole(view.kv.keys_live()));
        self.put_bytes.set(whole(facts.tally.put_bytes));
        self.watchers.set(whole(facts.watchers as u64));
        self.streams.set(whole(facts.streams as u64));
        self.behind.set(whole(facts.watchers_behind as u64));
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
        self.tally.set(&facts.tally, reads, read_txns);
    }
}

impl Tallies {
    fn new(on: &mut Shelf) -> Self {
        Self {
            puts: on.count("etcd_mvcc_put_total", "Puts applied, those of transactions too"),
            deletes: on.count("etcd_mvcc_delete_total", "Deletes applied, likewise"),
            ranges: on.count("etcd_mvcc_range_total", "Ranges read, likewise"),
            txns: on.count("etcd_mvcc_txn_total", "Transactions of more than one operation"),
            events: on.count("etcd_debugging_mvcc_events_total", "Changes watchers may hear of"),
            granted: on.count("etcd_debugging_lease_granted_total", "Leases granted"),
            renewed: on.count("etcd_debugging_lease_renewed_total", "Leases renewed by the leader"),
            revoked: on.count("etcd_debugging_lease_revoked_total", "Leases revoked"),
            expired: on.count("etcd_debugging_server_lease_expired_total", "Leases that ran out"),
            compacted: on
                .count("etcd_debugging_mvcc_db_compaction_keys_total", "Records compacted"),
            barriers_slow: on
                .count("etcd_server_slow_read_indexes_total", "Read barriers asked for again"),
            barriers_failed: on
                .count("etcd_server_read_indexes_failed_total", "Reads without a barrier"),
        }
    }

    fn set(&self, tally: &Tally, reads: u64, read_txns: u64) {
        for (count, value) in [
            (&self.puts, tally.puts),
            (&self.deletes, tally.deletes),
            (&self.ranges, tally.ranges + reads),
            (&self.txns, tally.txns + read_txns),
            (&self.events, tally.events),
            (&self.granted, tally.leases_granted),
            (&self.renewed, tally.leases_renewed),
            (&self.revoked, tally.leases_revoked),
            (&self.expired, tally.leases_expired),
            (&self.compacted, tally.rows_compacted),
            (&self.barriers_slow, tally.barriers_slow),
            (&self.barriers_failed, tally.barriers_failed),
        ] {
            count.raise(value);
        }
    }
}
