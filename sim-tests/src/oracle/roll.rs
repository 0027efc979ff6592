//! Who is in the group, replayed from the log by a reading of its own.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use quorate_core::storage::{Entry, EntryKind};
use quorate_proto::raftpb::{ConfChange, ConfChangeType as Kind, ConfState};

/// A member as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    is_learner: bool,
    peer_urls: Vec<String>,
}

/// Everyone there is and was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roll {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
}

/// etcd's context of a change, as far as it matters here.
#[derive(Default, serde::Deserialize)]
struct Context {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isPromote", default)]
    is_promote: bool,
}

impl Roll {
    /// Who is in a group of raft's.
    pub(super) fn of(group: &ConfState) -> Self {
        let all = |ids: &[u64], is_learner| {
            let member = Member { is_learner, peer_urls: Vec::new() };
            ids.iter().map(|id| (*id, member.clone())).collect::<Vec<_>>()
        };
        let members = [all(&group.voters, false), all(&group.learners, true)].concat();
        Self { members: members.into_iter().collect(), removed: BTreeSet::new() }
    }

    /// Applies a change of the group. Whether it was possible.
    pub(super) fn apply(&mut self, change: &ConfChange) -> bool {
        let id = change.node_id;
        let context: Context = serde_json::from_slice(&change.context).unwrap_or_default();
        let peer_urls = context.peer_urls.unwrap_or_default();
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let is_taken = others.flat_map(|(_, it)| &it.peer_urls).any(|url| peer_urls.contains(url));
        match (change.r#type(), self.members.get_mut(&id)) {
            (Kind::ConfChangeAddNode, Some(known)) if context.is_promote => {
                std::mem::take(&mut known.is_learner)
            }
            (kind @ (Kind::ConfChangeAddNode | Kind::ConfChangeAddLearnerNode), None)
                if !is_taken && !context.is_promote && !self.removed.contains(&id) =>
            {
                let is_learner = kind == Kind::ConfChangeAddLearnerNode;
                self.members.insert(id, Member { is_learner, peer_urls });
                true
            }
            (Kind::ConfChangeRemoveNode, Some(_)) => {
                self.members.remove(&id);
                self.removed.insert(id)
            }
            (Kind::ConfChangeUpdateNode, Some(known)) if !is_taken => {
                known.peer_urls = peer_urls;
                true
            }
            _ => false,
        }
    }

    /// Each member, and whether it has no vote.
    pub(super) fn list(&self) -> impl Iterator<Item = (u64, bool)> {
        self.members.iter().map(|(id, member)| (*id, member.is_learner))
    }

    /// Whether that member was removed.
    pub(super) fn has_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// What is wrong with a group of raft's, if anything is.
    pub(super) fn difference(&self, group: &ConfState) -> Option<String> {
        let of = |is_learner: bool| {
            let wanted = self.list().filter(|(_, it)| *it == is_learner);
            wanted.map(|(id, _)| id).collect::<Vec<u64>>()
        };
        let (voters, learners) = (of(false), of(true));
        let is_joint = !group.voters_outgoing.is_empty() || !group.learners_next.is_empty();
        (is_joint || group.voters != voters || group.learners != learners).then(|| {
            let (has, also) = (&group.voters, &group.learners);
            format!("voters {has:?} and learners {also:?}, should be {voters:?} and {learners:?}")
        })
    }
}

/// The change an entry carries, if it does.
pub(super) fn parse_change(entry: &Entry) -> Option<ConfChange> {
    let is_change = entry.kind == EntryKind::ConfChange;
    is_change.then(|| ConfChange::decode(entry.data.clone()).ok())?
}
