//! What answers take: of calls, of applied entries, of ranges.

use std::time::Duration;

use quorate_core::Request;

use super::timing::{Heading, Scale, Timings};
use super::{Count, Shelf};

/// What is applied, under etcd's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `Put`.
    Put,
    /// `DeleteRange`.
    DeleteRange,
    /// `Txn`.
    Txn,
    /// `Compaction`.
    Compaction,
    /// `LeaseGrant`.
    LeaseGrant,
    /// `LeaseRevoke`.
    LeaseRevoke,
    /// `Alarm`.
    Alarm,
}

const OPS: &[&str] =
    &["Put", "DeleteRange", "Txn", "Compaction", "LeaseGrant", "LeaseRevoke", "Alarm"];

impl Op {
    /// What a request asks to be applied; nothing if it does not become an entry of its own.
    pub fn of(request: &Request) -> Option<Self> {
        Some(match request {
            Request::Put(_) => Self::Put,
            Request::DeleteRange(_) => Self::DeleteRange,
            Request::Txn(_) => Self::Txn,
            Request::Compact(_) => Self::Compaction,
            Request::LeaseGrant(_) => Self::LeaseGrant,
            Request::LeaseRevoke(_) => Self::LeaseRevoke,
            Request::Alarm(_) => Self::Alarm,
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Work {
    applied: Timings,
    ranges: Timings,
    /// Turns in which entries took longer to apply than an operator would like.
    pub slow_applies: Count,
    /// Lifetimes of granted leases.
    lease_ttls: super::Timing,
}

impl Work {
    pub(super) fn new(on: &mut Shelf) -> Self {
        let applied = Timings::new(Heading {
            name: "etcd_server_apply_duration_seconds",
            help: "From the turn's first entry to the answer",
            constant: Some(("version", "v3")),
            label: "op",
            kinds: OPS,
            scale: Scale::Doubling(0.0001, 20),
        });
        let ranges = Timings::new(Heading {
            name: "etcd_server_range_duration_seconds",
            help: "Time a range takes",
            constant: None,
            label: "",
            kinds: &[""],
            scale: Scale::Doubling(0.0001, 20),
        });
        for timings in [&applied, &ranges] {
            on.0.register_collector(Box::new(timings.clone()));
        }
        let lease_ttls = super::Timing::new(Scale::Doubling(1.0, 24));
        Self {
            applied,
            ranges,
            slow_applies: on
                .count("etcd_server_slow_apply_total", "Turns that took over 100 ms to apply"),
            lease_ttls: on.put(
                "etcd_debugging_lease_ttl_total",
                "Seconds that leases are granted for",
                lease_ttls,
            ),
        }
    }

    /// An entry's client gets its answer so long after the turn began to apply.
    pub fn note_applied(&self, op: Op, is_success: bool, took: Duration) {
        self.applied.observe(op as usize, is_success, took);
    }

    /// A range took so long.
    pub fn note_range(&self, is_success: bool, took: Duration) {
        self.ranges.observe(0, is_success, took);
    }

    /// A lease was granted for so many seconds.
    pub fn note_lease(&self, ttl: i64) {
        self.lease_ttls.observe(Duration::from_secs(u64::try_from(ttl).unwrap_or(0)));
    }
}
