//! Changes of the group: read from entries, remembered by index, begun at bootstrap.
//!
//! Entries carry etcd's encodings, whose change kinds are numbered otherwise than the `raft`
//! crate's; they are translated by name and the crate never decodes them to act on them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use ::raft::eraftpb;
use prost::Message as _;
use quorate_proto::raftpb;

use crate::config::Peer;
use crate::error::StorageFault;
use crate::ids::{LogIndex, Term};
use crate::storage::{Entry, EntryKind, SnapshotMark};

/// Most members of any kind in a group; etcd clusters have seven at most.
const MEMBERS_MAX: usize = 1_024;

/// What a committed entry changes in raft's group; `None` if nothing (an update of a member's
/// URLs, bytes that are no change).
pub(crate) fn parse_change(entry: &Entry) -> Option<eraftpb::ConfChangeV2> {
    let change = match entry.kind {
        EntryKind::Normal => return None,
        EntryKind::ConfChange => {
            let one = raftpb::ConfChange::decode(entry.data.clone()).ok()?;
            raftpb::ConfChangeV2 {
                changes: Vec::from([raftpb::ConfChangeSingle {
                    r#type: one.r#type,
                    node_id: one.node_id,
                }]),
                ..raftpb::ConfChangeV2::default()
            }
        }
        EntryKind::ConfChangeV2 => raftpb::ConfChangeV2::decode(entry.data.clone()).ok()?,
    };
    let wanted = change.changes.len();
    let singles: Vec<_> = change.changes.iter().filter_map(parse_single).collect();
    // An empty change means "leave the joint configuration": it must not arise from omission.
    if singles.is_empty() && wanted != 0 {
        return None;
    }
    let mut parsed = eraftpb::ConfChangeV2::default();
    parsed.set_transition(match change.transition() {
        raftpb::ConfChangeTransition::Auto => eraftpb::ConfChangeTransition::Auto,
        raftpb::ConfChangeTransition::JointImplicit => eraftpb::ConfChangeTransition::Implicit,
        raftpb::ConfChangeTransition::JointExplicit => eraftpb::ConfChangeTransition::Explicit,
    });
    parsed.set_changes(singles.into());
    Some(parsed)
}

fn parse_single(single: &raftpb::ConfChangeSingle) -> Option<eraftpb::ConfChangeSingle> {
    use raftpb::ConfChangeType as Kind;
    let mut parsed = eraftpb::ConfChangeSingle::default();
    parsed.set_change_type(match Kind::try_from(single.r#type).ok()? {
        Kind::ConfChangeAddLearnerNode if crate::planted!("learner-votes") => {
            eraftpb::ConfChangeType::AddNode
        }
        Kind::ConfChangeAddNode => eraftpb::ConfChangeType::AddNode,
        Kind::ConfChangeRemoveNode => eraftpb::ConfChangeType::RemoveNode,
        Kind::ConfChangeAddLearnerNode => eraftpb::ConfChangeType::AddLearnerNode,
        Kind::ConfChangeUpdateNode => return None,
    });
    parsed.node_id = single.node_id;
    Some(parsed)
}

/// The group as the wire has it, ids sorted: the crate keeps them in hash sets.
pub(crate) fn encode_conf_state(conf: &eraftpb::ConfState) -> raftpb::ConfState {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    raftpb::ConfState {
        voters: sorted(conf.get_voters()),
        learners: sorted(conf.get_learners()),
        voters_outgoing: sorted(conf.get_voters_outgoing()),
        learners_next: sorted(conf.get_learners_next()),
        auto_leave: conf.auto_leave,
    }
}

/// The group as the crate has it, or `None` if no sequence of changes leads there.
pub(crate) fn parse_conf_state(conf: &raftpb::ConfState) -> Option<eraftpb::ConfState> {
    let voters = parse_ids(&conf.voters)?;
    let learners = parse_ids(&conf.learners)?;
    let outgoing = parse_ids(&conf.voters_outgoing)?;
    let next = parse_ids(&conf.learners_next)?;
    let is_joint = !outgoing.is_empty();
    let is_sound = !voters.is_empty()
        && learners.is_disjoint(&voters)
        && learners.is_disjoint(&outgoing)
        && next.is_subset(&outgoing)
        && next.is_disjoint(&voters)
        && (is_joint || !conf.auto_leave);
    is_sound.then(|| eraftpb::ConfState {
        voters: voters.into_iter().collect(),
        learners: learners.into_iter().collect(),
        voters_outgoing: outgoing.into_iter().collect(),
        learners_next: next.into_iter().collect(),
        auto_leave: conf.auto_leave,
        ..eraftpb::ConfState::default()
    })
}

fn parse_ids(ids: &[u64]) -> Option<BTreeSet<u64>> {
    if ids.len() > MEMBERS_MAX || ids.contains(&0) {
        return None;
    }
    let set: BTreeSet<u64> = ids.iter().copied().collect();
    (set.len() == ids.len()).then_some(set)
}

/// The group by index, as far back as the log reaches: needed for the mark of a cut.
pub(crate) struct ConfHistory {
    /// From each of these entries on, this was the group; `None` where it is not known, because
    /// the change was applied in an earlier run.
    since: BTreeMap<u64, Option<raftpb::ConfState>>,
}

impl ConfHistory {
    /// History at start: `start` is where the log begins, `stored` what was applied before, and
    /// `entries` follow `start`.
    pub(crate) fn open(start: &SnapshotMark, stored: &SnapshotMark, entries: &[Entry]) -> Self {
        let mut since = BTreeMap::from([(start.index.get(), Some(start.conf_state.clone()))]);
        let changes = entries.iter().filter(|entry| entry.kind != EntryKind::Normal);
        for entry in changes.take_while(|entry| entry.index <= stored.index) {
            since.insert(entry.index.get(), None);
        }
        if let Some(mut newest) = since.last_entry() {
            newest.insert(Some(stored.conf_state.clone()));
        }
        Self { since }
    }

    /// The group changed with the entry at `index`.
    pub(crate) fn note(&mut self, index: LogIndex, conf: raftpb::ConfState) {
        self.since.insert(index.get(), Some(conf));
    }

    /// All that came before is replaced by an image.
    pub(crate) fn restart(&mut self, mark: &SnapshotMark) {
        self.since = BTreeMap::from([(mark.index.get(), Some(mark.conf_state.clone()))]);
    }

    /// The last index not after `index` at which the group is known, and the group.
    pub(crate) fn known_at(&self, index: u64) -> Option<(u64, &raftpb::ConfState)> {
        let mut at = index;
        if crate::planted!("cut-mark-newest-group")
            && let Some(Some(newest)) = self.since.values().next_back()
        {
            return Some((at, newest));
        }
        for (&since, conf) in self.since.range(..=index).rev() {
            match conf {
                Some(conf) => return Some((at, conf)),
                None => at = since.checked_sub(1)?,
            }
        }
        None
    }

    /// Forgets what is only true before `index`.
    pub(crate) fn cut(&mut self, index: u64) {
        if let Some((&first, _)) = self.since.range(..=index).next_back() {
            self.since = self.since.split_off(&first);
        }
    }
}

/// etcd's record of a member, as bootstrap writes it.
#[derive(serde::Serialize)]
struct MemberRecord<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

/// The entries every member of a new group begins with: one addition per member, by id.
pub(crate) fn encode_bootstrap(peers: &[Peer]) -> Result<Vec<Entry>, StorageFault> {
    let mut peers: Vec<&Peer> = peers.iter().collect();
    peers.sort_by_key(|peer| peer.id);
    let entry = |(at, peer): (usize, &Peer)| {
        let change = raftpb::ConfChange {
            node_id: peer.id.get(),
            context: encode_member(peer)?.into(),
            ..raftpb::ConfChange::default()
        };
        Ok(Entry {
            term: Term(1),
            index: LogIndex(at as u64 + 1),
            kind: EntryKind::ConfChange,
            data: change.encode_to_vec().into(),
        })
    };
    peers.into_iter().enumerate().map(entry).collect()
}

fn encode_member(peer: &Peer) -> Result<String, StorageFault> {
    let record = MemberRecord { id: peer.id.get(), peer_urls: &peer.peer_urls, name: &peer.name };
    let json = serde_json::to_string(&record)
        .map_err(|_| StorageFault::new("a member's record cannot be written"))?;
    // Go's encoder escapes these, and the bytes must be the same on every member.
    let escapes = [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ];
    Ok(escapes.iter().fold(json, |json, (plain, escaped)| json.replace(plain, escaped)))
}

#[cfg(test)]
mod tests;
