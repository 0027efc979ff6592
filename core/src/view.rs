//! What a read sees: an unchanging picture of a member, taken after some applied entry.
//!
//! Cloning is O(1). Reads run against it on any thread, outside the machines' loops.

use alloc::sync::Arc;
use core::ops::Deref;

use quorate_proto::etcdserverpb as pb;

use crate::auth::AuthView;
use crate::ids::{ClusterId, LogIndex, MemberId, Revision};
use crate::input::{Memory, Role};
use crate::mvcc::KvView;
use crate::tally::Tally;

/// The picture, shared. See the module.
#[derive(Clone)]
pub struct View(Arc<Picture>);

/// What the picture shows.
pub struct Picture {
    /// Keys and history.
    pub kv: KvView,
    /// The rest.
    pub facts: Facts,
}

/// What a view knows beside keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The answering member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Last applied entry.
    pub applied: LogIndex,
    /// Last entry known to be committed.
    pub committed: LogIndex,
    /// Who leads.
    pub role: Role,
    /// All members, by id.
    pub members: Arc<[pb::Member]>,
    /// Ids of members that were removed, for ever.
    pub removed: Arc<[MemberId]>,
    /// Users, roles, tokens.
    pub auth: AuthView,
    /// Raised alarms.
    pub alarms: Arc<[pb::AlarmMember]>,
    /// The cluster's version, X.Y.Z; empty until decided.
    pub cluster_version: Arc<str>,
    /// The version the cluster is being taken down to.
    pub downgrade: Option<Arc<str>>,
    /// Whether this member's attributes are published.
    pub is_published: bool,
    /// Whether this member's state is not to be trusted: it serves nothing.
    pub is_fenced: bool,
    /// Whether this member is the whole cluster, so that its newest view is current.
    pub is_alone: bool,
    /// How much memory this member has left.
    pub memory: Memory,
    /// Bytes the store occupies.
    pub db_size: u64,
    /// Bytes of them that hold data.
    pub db_size_in_use: u64,
    /// Proposals of this member that wait to be applied.
    pub pending: usize,
    /// Leases alive.
    pub leases: usize,
    /// Watchers on this member.
    pub watchers: usize,
    /// Watch streams on this member.
    pub streams: usize,
    /// Watchers that are behind: told from history.
    pub watchers_behind: usize,
    /// What it has done so far.
    pub tally: Tally,
}

impl View {
    /// A picture of `kv` and `facts`.
    pub fn new(kv: KvView, facts: Facts) -> Self {
        Self(Arc::new(Picture { kv, facts }))
    }

    /// Whether this view, a member's newest, answers a read as it is: stale data will do, or a
    /// barrier would tell nothing new.
    pub fn suffices(&self, is_serializable: bool) -> bool {
        is_serializable || self.facts.is_alone
    }

    /// A response header for something that happened at `revision`.
    pub fn header(&self, revision: Revision) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.facts.cluster.get(),
            member_id: self.facts.member.get(),
            revision: revision.get(),
            raft_term: self.facts.role.term.get(),
        }
    }
}

impl Deref for View {
    type Target = Picture;

    fn deref(&self) -> &Picture {
        &self.0
    }
}
