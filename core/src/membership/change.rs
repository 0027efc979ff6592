//! Configuration changes: written by whoever wants them, applied to the members and to the raft
//! group's configuration alike.

use alloc::string::String;
use alloc::vec::Vec;

use quorate_proto::raftpb::{ConfChange, ConfChangeType, ConfState};
use serde::{Deserialize, Serialize};

use super::{MemberRecord, Members};
use crate::error::Refusal;
use crate::ids::{MemberId, RequestId};
use crate::storage::Write;

/// What a change of the group does to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new member comes, as voter or learner.
    Add(MemberRecord),
    /// A learner becomes a voter.
    Promote(MemberId),
    /// A member's peer URLs change.
    Update(MemberRecord),
    /// A member goes for ever.
    Remove(MemberId),
}

/// etcd's context of a change, as JSON: a member, and whether it is promoted.
#[derive(Deserialize, Serialize)]
struct Context {
    #[serde(flatten)]
    record: MemberRecord,
    #[serde(rename = "isPromote", default)]
    is_promote: bool,
}

impl Change {
    /// Reads an entry's change; `None` if its context is no member's, or another one's.
    pub(crate) fn load(change: &ConfChange) -> Option<Self> {
        let context = || {
            let context: Context = serde_json::from_slice(&change.context).ok()?;
            (context.record.id == change.node_id).then_some(context)
        };
        match change.r#type() {
            ConfChangeType::ConfChangeRemoveNode => Some(Self::Remove(MemberId(change.node_id))),
            ConfChangeType::ConfChangeUpdateNode => Some(Self::Update(context()?.record)),
            ConfChangeType::ConfChangeAddLearnerNode => Some(Self::Add(context()?.record)),
            ConfChangeType::ConfChangeAddNode => {
                let Context { record, is_promote } = context()?;
                Some(if is_promote {
                    Self::Promote(MemberId(record.id))
                } else {
                    Self::Add(record)
                })
            }
        }
    }

    /// The entry's form, found again by `id`.
    pub(crate) fn encode(&self, id: RequestId) -> ConfChange {
        let context = |record: MemberRecord, is_promote| {
            let context = Context { record, is_promote };
            let json = serde_json::to_vec(&context);
            json.expect("strings and numbers always have a JSON form").into()
        };
        let (kind, node_id, context) = match self.clone() {
            Self::Add(record) => {
                let kind = match record.is_learner {
                    true => ConfChangeType::ConfChangeAddLearnerNode,
                    false => ConfChangeType::ConfChangeAddNode,
                };
                (kind, record.id, context(record, false))
            }
            Self::Promote(member) => {
                let record = MemberRecord { id: member.get(), ..MemberRecord::default() };
                (ConfChangeType::ConfChangeAddNode, record.id, context(record, true))
            }
            Self::Update(record) => {
                (ConfChangeType::ConfChangeUpdateNode, record.id, context(record, false))
            }
            Self::Remove(member) => {
                (ConfChangeType::ConfChangeRemoveNode, member.get(), Default::default())
            }
        };
        ConfChange { id: id.get(), r#type: kind as i32, node_id, context }
    }
}

impl Members {
    /// Applies one change, or refuses it: the entry is in the log for ever and must mean the same
    /// to everyone. Only what is accepted changes the raft group.
    pub(crate) fn apply_change(&mut self, change: &Change) -> Result<Vec<Write>, Refusal> {
        self.check_change(change)?;
        Ok(match change {
            Change::Add(record) => self.insert(record.clone()),
            Change::Promote(member) => {
                let writes = self.amend(*member, |known| known.is_learner = false);
                if crate::planted!("promote-half-stored") { Vec::new() } else { writes }
            }
            Change::Update(record) => {
                let urls = record.peer_urls.clone();
                self.amend(MemberId(record.id), |known| known.peer_urls = urls)
            }
            Change::Remove(member) => self.remove(*member),
        })
    }

    /// Whether a change is possible at all. Whether it is wise is asked before it is proposed.
    pub(crate) fn check_change(&self, change: &Change) -> Result<(), Refusal> {
        let known = |id: MemberId| self.members.get(&id).ok_or(Refusal::MemberNotFound);
        match change {
            Change::Add(record) => {
                let id = MemberId(record.id);
                if id.get() == 0 || self.removed.contains(&id) {
                    return Err(Refusal::MemberNotFound);
                }
                if self.members.contains_key(&id) {
                    return Err(Refusal::MemberExist);
                }
                self.check_urls(id, &record.peer_urls)
            }
            Change::Promote(member) if known(*member)?.is_learner => Ok(()),
            Change::Promote(_) => Err(Refusal::MemberNotLearner),
            Change::Update(record) => {
                known(MemberId(record.id))?;
                self.check_urls(MemberId(record.id), &record.peer_urls)
            }
            Change::Remove(member) => known(*member).map(|_| ()),
        }
    }

    /// No two members share a peer URL.
    fn check_urls(&self, id: MemberId, urls: &[String]) -> Result<(), Refusal> {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let mut taken = others.flat_map(|(_, record)| &record.peer_urls);
        let is_taken = taken.any(|url| urls.contains(url));
        if is_taken && !crate::planted!("peer-url-shared") {
            Err(Refusal::PeerUrlExist)
        } else {
            Ok(())
        }
    }

    fn amend(&mut self, id: MemberId, amend: impl FnOnce(&mut MemberRecord)) -> Vec<Write> {
        let Some(known) = self.members.get_mut(&id) else { return Vec::new() };
        amend(known);
        alloc::vec![known.row()]
    }
}

/// The group's configuration after `change`.
pub(crate) fn apply_to_conf_state(state: &mut ConfState, change: &Change) {
    let (id, list) = match change {
        Change::Add(record) if record.is_learner => (record.id, Some(&mut state.learners)),
        Change::Add(record) => (record.id, Some(&mut state.voters)),
        Change::Promote(member) => {
            state.learners.retain(|&learner| learner != member.get());
            (member.get(), Some(&mut state.voters))
        }
        Change::Remove(member) => {
            state.voters.retain(|&voter| voter != member.get());
            state.learners.retain(|&learner| learner != member.get());
            (member.get(), None)
        }
        Change::Update(_) => return,
    };
    if let Some(list) = list {
        list.push(id);
        list.sort_unstable();
    }
}

#[cfg(test)]
mod tests;
