//! What several endpoints say, each of itself.

use quorate_proto::etcdserverpb::{HashKvResponse, ResponseHeader, StatusResponse};

use super::{Answer, Fields, Ink, Reply as _};
use crate::gateway::go_text;
use crate::tool::format::{Table, show_bytes};

/// Whether an endpoint is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ctl) struct Health {
    pub(in crate::ctl) endpoint: String,
    pub(in crate::ctl) took: String,
    /// Empty if it is.
    pub(in crate::ctl) error: String,
}

/// Whether endpoints are well.
pub(in crate::ctl) struct Healths(pub(in crate::ctl) Vec<Health>);

impl Answer for Healths {
    /// Those that are not are told to standard error.
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        for Health { endpoint, took, error } in &self.0 {
            if error.is_empty() {
                let text = "is healthy: successfully committed proposal: took =";
                page.extend(format!("{endpoint} {text} {took}\n").into_bytes());
            } else {
                eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
            }
        }
    }

    fn fields(&self, _: Ink) -> Option<Fields> {
        let mut fields = Fields::default();
        for health in &self.0 {
            fields.text("Endpoint", health.endpoint.as_bytes());
            fields.value("Health", health.error.is_empty());
            fields.value("Took", &health.took);
            fields.value("Error", &health.error);
            fields.gap();
        }
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let one = |health: &Health| {
            let is_well = health.error.is_empty();
            let error = match is_well {
                true => String::new(),
                false => format!(",\"error\":{}", go_text(&health.error)),
            };
            let (endpoint, took) = (go_text(&health.endpoint), go_text(&health.took));
            format!("{{\"endpoint\":{endpoint},\"health\":{is_well},\"took\":{took}{error}}}")
        };
        listed(self.0.iter().map(one))
    }

    fn table(&self) -> Option<Table> {
        let row = |health: &Health| {
            let is_well = health.error.is_empty().to_string();
            vec![health.endpoint.clone(), is_well, health.took.clone(), health.error.clone()]
        };
        let header = vec!["endpoint", "health", "took", "error"];
        Some(Table { header, rows: self.0.iter().map(row).collect() })
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A list as JSON; Go's lists that were never made are not empty but nothing.
fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "null".to_owned() } else { format!("[{}]", items.join(",")) }
}

/// What an endpoint's member is doing.
pub(in crate::ctl) struct Status {
    pub(in crate::ctl) endpoint: String,
    pub(in crate::ctl) reply: StatusResponse,
}

/// What members are doing.
pub(in crate::ctl) struct Statuses(pub(in crate::ctl) Vec<Status>);

impl Statuses {
    fn list(&self) -> Table {
        let header = vec![
            "endpoint",
            "ID",
            "version",
            "storage version",
            "db size",
            "in use",
            "percentage not in use",
            "quota",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
            "downgrade target version",
            "downgrade enabled",
        ];
        Table { header, rows: self.0.iter().map(row).collect() }
    }
}

fn row(Status { endpoint, reply }: &Status) -> Vec<String> {
    let id = member_id(reply.header.as_ref());
    let size = |bytes: i64| show_bytes(bytes.cast_unsigned());
    let in_use = (reply.db_size_in_use.saturating_mul(100)).checked_div(reply.db_size);
    let downgrade = reply.downgrade_info.clone().unwrap_or_default();
    vec![
        endpoint.clone(),
        format!("{id:x}"),
        reply.version.clone(),
        reply.storage_version.clone(),
        size(reply.db_size),
        size(reply.db_size_in_use),
        format!("{}%", 100 - in_use.unwrap_or(100)),
        size(reply.db_size_quota),
        (reply.leader == id).to_string(),
        reply.is_learner.to_string(),
        reply.raft_term.to_string(),
        reply.raft_index.to_string(),
        reply.raft_applied_index.to_string(),
        reply.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

fn member_id(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.member_id)
}

impl Answer for Statuses {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        page.extend(self.list().lines().into_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::default();
        for Status { endpoint, reply } in &self.0 {
            let downgrade = reply.downgrade_info.clone().unwrap_or_default();
            fields.header(reply.header.as_ref(), ink);
            fields.text("Version", reply.version.as_bytes());
            fields.text("StorageVersion", reply.storage_version.as_bytes());
            fields.value("DBSize", reply.db_size);
            fields.value("DBSizeInUse", reply.db_size_in_use);
            fields.value("DBSizeQuota", reply.db_size_quota);
            fields.value("Leader", reply.leader);
            fields.value("IsLearner", reply.is_learner);
            fields.value("RaftIndex", reply.raft_index);
            fields.value("RaftTerm", reply.raft_term);
            fields.value("RaftAppliedIndex", reply.raft_applied_index);
            fields.value("Errors", format_args!("[{}]", reply.errors.join(" ")));
            fields.text("Endpoint", endpoint.as_bytes());
            fields.text("DowngradeTargetVersion", downgrade.target_version.as_bytes());
            fields.value("DowngradeEnabled", downgrade.enabled);
            fields.gap();
        }
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let one = |Status { endpoint, reply }: &Status| {
            format!("{{\"Endpoint\":{},\"Status\":{}}}", go_text(endpoint), reply.go_json())
        };
        listed(self.0.iter().map(one))
    }

    fn table(&self) -> Option<Table> {
        Some(self.list())
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }
}

/// The hash of what an endpoint's member holds.
pub(in crate::ctl) struct Hash {
    pub(in crate::ctl) endpoint: String,
    pub(in crate::ctl) reply: HashKvResponse,
}

/// Hashes of what members hold.
pub(in crate::ctl) struct Hashes(pub(in crate::ctl) Vec<Hash>);

impl Hashes {
    fn list(&self) -> Table {
        let row = |Hash { endpoint, reply }: &Hash| {
            vec![endpoint.clone(), reply.hash.to_string(), reply.hash_revision.to_string()]
        };
        Table {
            header: vec!["endpoint", "hash", "hash_revision"],
            rows: self.0.iter().map(row).collect(),
        }
    }
}

impl Answer for Hashes {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        page.extend(self.list().lines().into_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::default();
        for Hash { endpoint, reply } in &self.0 {
            fields.header(reply.header.as_ref(), ink);
            fields.text("Endpoint", endpoint.as_bytes());
            fields.value("Hash", reply.hash);
            fields.value("HashRevision", reply.hash_revision);
            fields.gap();
        }
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let one = |Hash { endpoint, reply }: &Hash| {
            format!("{{\"Endpoint\":{},\"HashKV\":{}}}", go_text(endpoint), reply.go_json())
        };
        listed(self.0.iter().map(one))
    }

    fn table(&self) -> Option<Table> {
        Some(self.list())
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }
}
