//! Who is in the cluster: members as every member knows them, and the cluster's version.
//!
//! ```text
//!   ConfChange entry            ClusterMemberAttrSet entry
//!   (who, peer URLs)            (name, client URLs)
//!          \                        /
//!           members  --rows-->  `members`, `members_removed`
//! ```
//!
//! Invariants: an id that was removed never comes back; the raft group's configuration follows the
//! same entries, so voters here and voters there are equal at every applied index.
//!
//! Whether a change is possible is decided when its entry is applied (`change`), by every member
//! alike; whether it is wise, by the leader before it proposes it (`judge`).
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/membership/cluster.go`, `store.go`

mod alone;
mod change;
mod judge;
mod record;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::membershippb::ClusterMemberAttrSetRequest;

pub use alone::leave_alone;
pub(crate) use change::{Change, apply_to_conf_state};
pub(crate) use judge::Circumstances;
pub use record::MemberRecord;

use crate::error::StorageFault;
use crate::ids::MemberId;
use crate::storage::{StateRead, Table, Write};

const CLUSTER_VERSION: &[u8] = b"clusterVersion";
const REMOVED: &[u8] = b"removed";

/// The members and the cluster's version.
#[derive(Debug, Default)]
pub(crate) struct Members {
    members: BTreeMap<MemberId, MemberRecord>,
    removed: BTreeSet<MemberId>,
    version: String,
}

impl Members {
    /// Reads the tables `members`, `members_removed` and `cluster`.
    pub(crate) fn load(image: &dyn StateRead) -> Result<Self, StorageFault> {
        let mut this = Self::default();
        let mut broken = None;
        let members = &mut this.members;
        image.scan(
            Table::Members,
            &[],
            &[],
            &mut |key, value| match MemberRecord::load(value) {
                Ok(record) => {
                    members.insert(MemberId(record.id), record);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    broken =
                        Some(format!("member row {:?}: {error}", String::from_utf8_lossy(key)));
                    ControlFlow::Break(())
                }
            },
        )?;
        let removed = &mut this.removed;
        image.scan(Table::MembersRemoved, &[], &[], &mut |key, _| {
            let id = core::str::from_utf8(key).ok().and_then(|t| u64::from_str_radix(t, 16).ok());
            match id {
                Some(id) => removed.insert(MemberId(id)),
                None => broken.replace(format!("removed member row {key:?} is not hex")).is_none(),
            };
            ControlFlow::Continue(())
        })?;
        if let Some(version) = image.get(Table::Cluster, CLUSTER_VERSION)? {
            this.version = String::from_utf8_lossy(&version).to_string();
        }
        broken.map_or(Ok(this), |what| Err(StorageFault::new(what)))
    }

    /// The cluster's version, X.Y.Z; empty until decided.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Sets the cluster's version.
    pub(crate) fn apply_version(&mut self, version: &str) -> Write {
        self.version = version.to_string();
        Write {
            table: Table::Cluster,
            key: Bytes::from_static(CLUSTER_VERSION),
            value: Some(Bytes::copy_from_slice(version.as_bytes())),
        }
    }

    /// Sets a member's name and client URLs; unknown members are left alone, as etcd does.
    pub(crate) fn apply_attributes(
        &mut self,
        request: &ClusterMemberAttrSetRequest,
    ) -> Option<Write> {
        let record = self.members.get_mut(&MemberId(request.member_id))?;
        let attributes = request.member_attributes.clone().unwrap_or_default();
        record.name = attributes.name;
        record.client_urls = attributes.client_urls;
        Some(record.row())
    }

    /// Whether a member has published exactly these attributes.
    pub(crate) fn has_published(&self, id: MemberId, name: &str, client_urls: &[String]) -> bool {
        self.members.get(&id).is_some_and(|m| m.name == name && m.client_urls == client_urls)
    }

    /// All members, by id.
    pub(crate) fn list(&self) -> Arc<[pb::Member]> {
        self.members
            .values()
            .map(|m| pb::Member {
                id: m.id,
                name: m.name.clone(),
                peer_ur_ls: m.peer_urls.clone(),
                client_ur_ls: m.client_urls.clone(),
                is_learner: m.is_learner,
            })
            .collect()
    }

    /// Whether that member is in the cluster.
    pub(crate) fn contains(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether that member has a vote.
    pub(crate) fn is_voter(&self, id: MemberId) -> bool {
        self.members.get(&id).is_some_and(|member| !member.is_learner)
    }

    /// The ids that were removed.
    pub(crate) fn removed(&self) -> Arc<[MemberId]> {
        self.removed.iter().copied().collect()
    }

    fn insert(&mut self, record: MemberRecord) -> Vec<Write> {
        let row = record.row();
        self.members.insert(MemberId(record.id), record);
        alloc::vec![row]
    }

    fn remove(&mut self, id: MemberId) -> Vec<Write> {
        if self.members.remove(&id).is_none() {
            return Vec::new();
        }
        self.removed.insert(id);
        let key = Bytes::from(format!("{id}"));
        alloc::vec![
            Write { table: Table::Members, key: key.clone(), value: None },
            Write { table: Table::MembersRemoved, key, value: Some(Bytes::from_static(REMOVED)) },
        ]
    }
}
