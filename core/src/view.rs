//! What a read sees: an unchanging picture of a member, taken after some applied entry.
//!
//! Cloning is O(1). Reads run against it on any thread, outside the machines' loops.

use alloc::sync::Arc;
use alloc::vec::Vec;

use quorate_proto::etcdserverpb as pb;

use crate::ids::{ClusterId, LogIndex, MemberId, Revision};
use crate::input::Role;
use crate::mvcc::KvView;

/// The picture. See the module.
#[derive(Clone)]
pub struct View {
    /// Keys and history.
    pub kv: KvView,
    /// The rest.
    pub facts: Arc<Facts>,
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
    pub members: Vec<pb::Member>,
    /// Raised alarms.
    pub alarms: Vec<pb::AlarmMember>,
    /// The cluster's version, X.Y.Z; empty until decided.
    pub cluster_version: alloc::string::String,
    /// Whether this member's attributes are published.
    pub published: bool,
    /// Bytes the store occupies, and bytes of them in use.
    pub db_size: (u64, u64),
    /// Leases alive.
    pub leases: usize,
    /// Watchers on this member.
    pub watchers: usize,
}

impl View {
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
