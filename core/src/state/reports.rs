//! What members tell their leader of themselves, and what it makes of that.
//!
//! ```text
//!   follower --Report, each second--> leader --all known?--> the cluster's version
//!                                        '-----digests-----> who is wrong, if anybody
//! ```
//!
//! What it does about wrong states is in `repair`.
//!
//! Invariants: a leader believes only what it heard in its present term; it keeps the newest
//! report of each member, and of nobody else.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/cluster_util.go` (getMembersVersions)

use alloc::collections::BTreeMap;
use alloc::string::ToString;

use quorate_proto::etcdserverpb::InternalRaftRequest;
use quorate_proto::membershippb::ClusterVersionSetRequest;
use quorate_proto::peer::{Digest, PeerMessage, Report, peer_message::Message};

use super::State;
use crate::ids::MemberId;
use crate::membership::MinorVersion;
use crate::output::StateOutput;
use crate::time::{Duration, Time, Wake};
use crate::upkeep::announce::CLUSTER_VERSION;
use crate::upkeep::version::Versions;

/// Time between two reports.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reports, sent and received.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// When the next one is due.
    next_at: Time,
    /// The versions of others, as this leader heard.
    versions: BTreeMap<MemberId, MinorVersion>,
    /// When this leader stops waiting for those it has not heard from.
    patience_ends: Option<Time>,
}

impl Reports {
    /// Another leads, or in another term: it has heard nothing yet.
    pub(super) fn on_leader(&mut self, now: Time, patience: Option<Duration>) {
        *self = Self { next_at: now, patience_ends: patience.map(|p| now + p), ..Self::default() };
    }

    pub(super) fn poll_timeout(&self, is_leader: bool) -> Option<Wake> {
        let at = if is_leader { self.patience_ends? } else { self.next_at };
        Some(Wake { at, timer: "report" })
    }
}

impl State {
    /// Tells the leader, when it is time.
    pub(super) fn send_report(&mut self) {
        let Some(leader) = self.role.leader else { return };
        if self.role.is_leader || self.now < self.reports.next_at {
            return;
        }
        self.reports.next_at = self.now + INTERVAL;
        let readings = self.trust.trail.newest().filter(|_| !self.trust.is_fenced());
        let digests = readings.map(|(index, digest)| Digest { index: index.get(), digest });
        let report = Report { version: CLUSTER_VERSION.into(), digests: digests.collect() };
        let message = PeerMessage { message: Some(Message::Report(report)) };
        self.outputs.push_back(StateOutput::Send { to: leader, message });
    }

    pub(super) fn handle_report(&mut self, from: MemberId, report: &Report) {
        if !self.role.is_leader || !self.ledgers.members.contains(from) {
            return;
        }
        let Some(version) = MinorVersion::parse(&report.version) else { return };
        if self.reports.versions.insert(from, version) != Some(version) {
            self.announcer.on_facts();
        }
        self.compare(from, report);
    }

    /// A leader has waited long enough for reports.
    pub(super) fn on_late_reports(&mut self) {
        if self.reports.patience_ends.is_some_and(|at| at <= self.now) {
            self.reports.patience_ends = None;
            self.announcer.on_facts();
        }
    }

    /// The version this leader should give the cluster now.
    pub(super) fn version_due(&self) -> Option<InternalRaftRequest> {
        // Before everything of the past is applied, nobody knows who the members are.
        if !self.ledgers.leases.is_primary() {
            return None;
        }
        let members = &self.ledgers.members;
        let versions = Versions {
            cluster: members.version(),
            lowest: self.lowest_version(),
            downgrade: members.downgrade(),
            is_patience_over: self.reports.patience_ends.is_none(),
        };
        let set = ClusterVersionSetRequest { ver: versions.decide()?.to_string() };
        let cluster_version_set = Some(set.into());
        Some(InternalRaftRequest { cluster_version_set, ..InternalRaftRequest::default() })
    }

    fn lowest_version(&self) -> Option<MinorVersion> {
        let own = MinorVersion::parse(CLUSTER_VERSION)?;
        let others = self.ledgers.members.ids().filter(|id| *id != self.config.member);
        let mut versions = others.map(|id| self.reports.versions.get(&id).copied());
        versions.try_fold(own, |lowest, version| Some(lowest.min(version?)))
    }
}
