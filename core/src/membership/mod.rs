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
//! Answers to: etcd v3.7.1 `server/etcdserver/api/membership/cluster.go`, `store.go`,
//! `server/storage/schema/membership.go`

mod alone;
mod change;
mod judge;
mod record;
mod version;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::membershippb::{ClusterMemberAttrSetRequest, DowngradeInfoSetRequest};
use serde::{Deserialize, Serialize};

pub use alone::leave_alone;
pub(crate) use change::{Change, apply_to_conf_state};
pub(crate) use judge::Circumstances;
pub use record::MemberRecord;
pub(crate) use version::MinorVersion;

use crate::error::{Refusal, StorageFault};
use crate::ids::MemberId;
use crate::storage::{StateRead, Table, Write};

const CLUSTER_VERSION: &[u8] = b"clusterVersion";
const DOWNGRADE: &[u8] = b"downgrade";
const REMOVED: &[u8] = b"removed";

/// The members and the cluster's version.
#[derive(Debug, Default)]
pub(crate) struct Members {
    members: BTreeMap<MemberId, MemberRecord>,
    removed: BTreeSet<MemberId>,
    version: Option<MinorVersion>,
    /// What the cluster is being taken down to.
    downgrade: Option<MinorVersion>,
}

/// etcd's JSON form of a downgrade.
#[derive(Deserialize, Serialize)]
struct DowngradeJson {
    #[serde(rename = "target-version")]
    target_version: String,
    enabled: bool,
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
            let version = String::from_utf8_lossy(&version);
            this.version = MinorVersion::parse(&version);
            if this.version.is_none() {
                broken = Some(format!("the cluster's version is {version:?}"));
            }
        }
        if let Some(json) = image.get(Table::Cluster, DOWNGRADE)? {
            match serde_json::from_slice::<DowngradeJson>(&json) {
                Ok(it) if !it.enabled => {}
                Ok(it) => this.downgrade = MinorVersion::parse(&it.target_version),
                Err(error) => broken = Some(format!("the cluster's downgrade: {error}")),
            }
        }
        broken.map_or(Ok(this), |what| Err(StorageFault::new(what)))
    }

    /// The cluster's version, once it is decided.
    pub(crate) fn version(&self) -> Option<MinorVersion> {
        self.version
    }

    /// What the cluster is being taken down to.
    pub(crate) fn downgrade(&self) -> Option<MinorVersion> {
        self.downgrade
    }

    /// Sets the cluster's version. What is no version changes nothing.
    pub(crate) fn apply_version(&mut self, version: &str) -> Option<Write> {
        let version = MinorVersion::parse(version)?;
        self.version = Some(version);
        Some(cluster_row(CLUSTER_VERSION, version.to_string()))
    }

    /// Begins a downgrade, or leaves it.
    pub(crate) fn apply_downgrade(&mut self, set: &DowngradeInfoSetRequest) -> Write {
        self.downgrade = MinorVersion::parse(&set.ver).filter(|_| set.enabled);
        let target_version = self.downgrade.map_or(String::new(), |target| target.to_string());
        let json = DowngradeJson { enabled: self.downgrade.is_some(), target_version };
        let json = serde_json::to_string(&json).expect("a word and a flag have a JSON form");
        cluster_row(DOWNGRADE, json)
    }

    /// Whether the cluster may be taken down to `target` now.
    pub(crate) fn check_downgrade(&self, target: MinorVersion) -> Result<(), Refusal> {
        let version = self.version.ok_or(Refusal::ClusterVersionUnavailable)?;
        if target != version.previous() {
            return Err(Refusal::InvalidDowngradeTargetVersion);
        }
        if self.downgrade.is_some() {
            return Err(Refusal::DowngradeInProcess);
        }
        Ok(())
    }

    /// The answer to whoever asked about a downgrade.
    pub(crate) fn tell_downgrade(&self) -> pb::DowngradeResponse {
        let version = self.version.map_or(String::new(), MinorVersion::short);
        pb::DowngradeResponse { header: None, version }
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

    /// All members' ids, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied()
    }

    /// All that have a vote, in order.
    pub(crate) fn voters(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().filter(|(_, member)| !member.is_learner).map(|(id, _)| *id)
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

fn cluster_row(key: &'static [u8], value: String) -> Write {
    let value = Some(Bytes::from(value));
    Write { table: Table::Cluster, key: Bytes::from_static(key), value }
}
