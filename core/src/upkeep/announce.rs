//! Telling the cluster who this member is, and which version the cluster has.

use quorate_proto::etcdserverpb::InternalRaftRequest;
use quorate_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};

use crate::config::Config;
use crate::input::Role;
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
}

impl Announcer {
    /// Looks at once.
    pub(crate) fn new() -> Self {
        Self { next_at: Some(Time::ZERO) }
    }

    /// What has to be announced now.
    pub(crate) fn poll(
        &mut self,
        now: Time,
        config: &Config,
        role: &Role,
        members: &Members,
    ) -> Option<InternalRaftRequest> {
        if role.leader.is_none() || self.next_at.is_none_or(|at| now < at) {
            return None;
        }
        let request = self.due(config, role, members);
        self.next_at = request.is_some().then(|| now + RETRY);
        request
    }

    fn due(&self, config: &Config, role: &Role, members: &Members) -> Option<InternalRaftRequest> {
        let mut request = InternalRaftRequest::default();
        if role.is_leader && members.version().is_empty() {
            let set = ClusterVersionSetRequest { ver: CLUSTER_VERSION.into() };
            request.cluster_version_set = Some(set.into());
        } else if !members.has_published(config.member, &config.name, &config.client_urls) {
            let set = ClusterMemberAttrSetRequest {
                member_id: config.member.get(),
                member_attributes: Some(Attributes {
                    name: config.name.clone(),
                    client_urls: config.client_urls.clone(),
                }),
            };
            request.cluster_member_attr_set = Some(set.into());
        } else {
            return None;
        }
        Some(request)
    }

    /// Facts changed: whatever was announced may have arrived, and the next may be due.
    pub(crate) fn on_facts(&mut self) {
        self.next_at = Some(Time::ZERO);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        self.next_at.map(|at| Wake { at, timer: "announcement" })
    }
}
