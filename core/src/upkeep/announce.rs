//! Telling the cluster what all must know: this member's attributes, the cluster's version.

use quorate_proto::etcdserverpb::InternalRaftRequest;
use quorate_proto::membershippb::{Attributes, ClusterMemberAttrSetRequest};

use crate::config::Config;
use crate::membership::Members;
use crate::time::{Duration, Time, Wake};

/// The cluster version this release brings: the minor version it answers to, as X.Y.0.
pub const CLUSTER_VERSION: &str = "3.7.0";
/// How long an announcement may take before it is made again.
const RETRY: Duration = Duration::from_secs(1);

/// When to look next whether there is something to announce; never, if all is known.
#[derive(Debug)]
pub(crate) struct Announcer {
    next_at: Option<Time>,
    /// The last announcement, and when it was made.
    made: Option<(Time, InternalRaftRequest)>,
}

impl Announcer {
    /// Looks at once.
    pub(crate) fn new() -> Self {
        Self { next_at: Some(Time::ZERO), made: None }
    }

    /// Whether to look now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.next_at.is_some_and(|at| at <= now)
    }

    /// What of `due` is to be announced now: all that is not on its way already.
    pub(crate) fn poll(
        &mut self,
        now: Time,
        due: Option<InternalRaftRequest>,
    ) -> Option<InternalRaftRequest> {
        let is_same = |(at, made): &(Time, InternalRaftRequest)| {
            now < *at + RETRY && Some(made) == due.as_ref()
        };
        if let Some((at, _)) = self.made.as_ref().filter(|made| is_same(made)) {
            self.next_at = Some(*at + RETRY);
            return None;
        }
        self.made = due.clone().map(|due| (now, due));
        self.next_at = due.is_some().then(|| now + RETRY);
        due
    }

    /// Another leads: what was on its way may be lost.
    pub(crate) fn on_leader(&mut self) {
        *self = Self::new();
    }

    /// Facts changed: whatever was announced may have arrived, and the next may be due.
    pub(crate) fn on_facts(&mut self) {
        self.next_at = Some(Time::ZERO);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        self.next_at.map(|at| Wake { at, timer: "announcement" })
    }
}

/// This member's attributes, if the others do not know them yet.
pub(crate) fn attributes_due(config: &Config, members: &Members) -> Option<InternalRaftRequest> {
    if members.has_published(config.member, &config.name, &config.client_urls) {
        return None;
    }
    let set = ClusterMemberAttrSetRequest {
        member_id: config.member.get(),
        member_attributes: Some(Attributes {
            name: config.name.clone(),
            client_urls: config.client_urls.clone(),
        }),
    };
    let cluster_member_attr_set = Some(set.into());
    Some(InternalRaftRequest { cluster_member_attr_set, ..InternalRaftRequest::default() })
}
