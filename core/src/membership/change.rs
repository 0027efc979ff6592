//! Configuration changes, applied to the members and to the raft group's configuration alike.

use alloc::vec::Vec;

use quorate_proto::raftpb::{ConfChange, ConfChangeType, ConfState};

use super::{MemberRecord, Members};
use crate::ids::MemberId;
use crate::storage::Write;

impl Members {
    /// Applies one change. A change whose context does not read as a member, or that brings back
    /// a removed id, changes nothing: the entry is in the log for ever and must mean the same
    /// to everyone.
    pub(crate) fn apply_change(&mut self, change: &ConfChange) -> Vec<Write> {
        let id = MemberId(change.node_id);
        let record = || MemberRecord::load(&change.context).ok().filter(|r| r.id == id.get());
        match change.r#type() {
            ConfChangeType::ConfChangeRemoveNode => self.remove(id),
            _ if self.removed.contains(&id) => Vec::new(),
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                let Some(record) = record() else { return Vec::new() };
                match self.members.get_mut(&id) {
                    Some(known) => {
                        known.is_learner = record.is_learner;
                        alloc::vec![known.row()]
                    }
                    None => self.insert(record),
                }
            }
            ConfChangeType::ConfChangeUpdateNode => match (record(), self.members.get_mut(&id)) {
                (Some(record), Some(known)) => {
                    known.peer_urls = record.peer_urls;
                    alloc::vec![known.row()]
                }
                _ => Vec::new(),
            },
        }
    }
}

/// The group's configuration after `change`.
pub(crate) fn apply_to_conf_state(state: &mut ConfState, change: &ConfChange) {
    let id = change.node_id;
    if id == 0 || change.r#type() == ConfChangeType::ConfChangeUpdateNode {
        return;
    }
    state.voters.retain(|&voter| voter != id);
    state.learners.retain(|&learner| learner != id);
    match change.r#type() {
        ConfChangeType::ConfChangeAddNode => state.voters.push(id),
        ConfChangeType::ConfChangeAddLearnerNode => state.learners.push(id),
        _ => {}
    }
    state.voters.sort_unstable();
    state.learners.sort_unstable();
}
