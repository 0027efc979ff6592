//! The group: who is in it, how it changes, and how its members are.
//!
//! ```text
//!   propose_change --> log --committed--> handed out --judged by `State`--> handle_changed
//! ```
//!
//! A change takes effect when `State` has applied its entry and accepted it, so that the voters
//! raft counts and the members the store lists change together or not at all.

use alloc::vec::Vec;

use ::raft::eraftpb::{self, MessageType};
use ::raft::{RawNode, StateRole};
use bytes::Bytes;
use quorate_proto::raftpb;

use super::Driver;
use crate::ids::{LogIndex, MemberId};
use crate::input::Followers;
use crate::raft::confchange::{self, encode_conf_state};
use crate::raft::log::Log;
use crate::raft::message::export_entry;
use crate::storage::{Entry, EntryKind};

/// What a change of the group did to this member.
#[derive(Default)]
pub(crate) struct Effect {
    /// Whether it was removed from the group.
    pub(crate) is_removed: bool,
    /// Why it gave up leadership, if it did; empty if it did not.
    pub(crate) gave_up: &'static str,
}

impl Driver {
    /// Who votes and who learns.
    pub(crate) fn group(&self) -> raftpb::ConfState {
        encode_conf_state(&self.node.raft.prs().conf().to_conf_state())
    }

    /// Whether `member` is in the group.
    pub(crate) fn has_member(&self, member: MemberId) -> bool {
        self.node.raft.prs().get(member.get()).is_some()
    }

    /// Whether `member` has a vote.
    pub(crate) fn is_voter(&self, member: MemberId) -> bool {
        self.node.raft.prs().conf().voters().contains(member.get())
    }

    /// Whether these and this member are a quorum, of both groups while it changes.
    pub(crate) fn is_quorum_with(&self, others: &[MemberId]) -> bool {
        let raft = &self.node.raft;
        let all = others.iter().map(|member| member.get()).chain([raft.id]);
        raft.prs().has_quorum(&all.collect())
    }

    /// Appends a change of the group, as its leader. Whether it was taken: not while another is
    /// under way.
    pub(crate) fn propose_change(&mut self, data: Bytes) -> bool {
        let raft = &self.node.raft;
        let is_busy = raft.has_pending_conf() && !crate::planted!("second-change-pending");
        if raft.state != StateRole::Leader || is_busy || self.is_full() {
            return false;
        }
        let mut entry = eraftpb::Entry { data, ..eraftpb::Entry::default() };
        entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
        let mut message = self.own_message(MessageType::MsgPropose);
        message.set_entries(Vec::from([entry]).into());
        self.propose_changes(message);
        true
    }

    /// Takes proposals with changes of the group, as their leader. The crate would do so by
    /// decoding them, and it knows fewer kinds than etcd; its rules are kept: one change at a
    /// time, and a joint group is left before anything else. A change that breaks them becomes an
    /// empty entry.
    pub(super) fn propose_changes(&mut self, mut message: eraftpb::Message) {
        let raft = &mut self.node.raft;
        if raft.lead_transferee.is_some() {
            return;
        }
        let is_joint = !raft.prs().conf().to_conf_state().voters_outgoing.is_empty();
        let mut entries = message.take_entries().into_vec();
        let next = raft.raft_log.last_index() + 1;
        for (entry, index) in entries.iter_mut().zip(next..) {
            if entry.get_entry_type() == eraftpb::EntryType::EntryNormal {
                continue;
            }
            let change = confchange::parse_change(&export_entry(entry));
            let leaves = change.is_some_and(|change| change.leave_joint());
            let is_busy = raft.has_pending_conf() && !crate::planted!("second-change-pending");
            if is_busy || is_joint != leaves {
                *entry = eraftpb::Entry::default();
            } else {
                raft.pending_conf_index = index;
            }
        }
        self.call(|node| {
            if node.raft.append_entry(&mut entries) {
                node.raft.bcast_append();
            }
        });
    }

    /// Changes of the group take effect once `State` has accepted them.
    pub(super) fn note_changes(&mut self, committed: &[Entry]) {
        let changes = committed.iter().filter(|entry| entry.kind != EntryKind::Normal);
        self.handed_out.extend(changes.map(|entry| (entry.index, entry.clone())));
    }

    /// `State` has judged the change at `index`.
    pub(crate) fn handle_changed(&mut self, index: LogIndex, is_accepted: bool) -> Effect {
        // An image that was installed meanwhile has the group it led to.
        let Some(entry) = self.handed_out.remove(&index) else { return Effect::default() };
        let change = is_accepted.then(|| confchange::parse_change(&entry)).flatten();
        let effect = change.map_or_else(Effect::default, |change| self.apply_change(&change));
        self.history.note(index, self.group());
        effect
    }

    /// A change the group does not allow is refused by every member alike, and changes nothing.
    fn apply_change(&mut self, change: &eraftpb::ConfChangeV2) -> Effect {
        let is_member = |node: &RawNode<Log>| node.raft.prs().get(node.raft.id).is_some();
        let was_member = is_member(&self.node);
        let _ = self.call(|node| node.apply_conf_change(change));
        let mut effect = Effect::default();
        let raft = &self.node.raft;
        // The crate would look for the leader among the members at its next commit, and panic.
        let stays = crate::planted!("removed-leader-stays");
        if raft.state == StateRole::Leader && !raft.promotable() && !stays {
            self.step_down();
            effect.gave_up = "no longer a voter";
            crate::probe!("leader removed itself");
        }
        effect.is_removed = was_member && !is_member(&self.node);
        effect
    }

    /// How a leader's followers are: `is_heard` says from whom it heard lately.
    pub(crate) fn followers(&self, is_heard: impl Fn(MemberId) -> bool) -> Followers {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            return Followers::default();
        }
        let last = raft.raft_log.last_index();
        let mut members: Vec<(MemberId, bool, bool)> = raft
            .prs()
            .iter()
            .map(|(&id, progress)| {
                let is_self = id == raft.id;
                let is_in_sync = is_self || progress.matched * 10 >= last * 9;
                (MemberId(id), is_self || is_heard(MemberId(id)), is_in_sync)
            })
            .collect();
        members.sort_unstable();
        let pick = |is_wanted: fn(&(MemberId, bool, bool)) -> bool| {
            members.iter().filter(|member| is_wanted(member)).map(|member| member.0).collect()
        };
        Followers { active: pick(|member| member.1), in_sync: pick(|member| member.2) }
    }
}

/// Whether a message proposes a change of the group.
pub(super) fn has_change(message: &eraftpb::Message) -> bool {
    let is_change =
        |entry: &eraftpb::Entry| entry.get_entry_type() != eraftpb::EntryType::EntryNormal;
    message.get_msg_type() == MessageType::MsgPropose && message.get_entries().iter().any(is_change)
}
