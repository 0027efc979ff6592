//! Which proposal carries which client's call, as whoever watches a member can tell.
//!
//! A member takes a call in, and some time later puts an entry up for the log; the call's number is
//! not in it. Values are never used twice, so what is equal is the same.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::Request;
use quorate_core::ids::{MemberId, RequestId};
use quorate_core::storage::EntryKind;
use quorate_proto::etcdserverpb::InternalRaftRequest;
use quorate_proto::raftpb::{ConfChange, ConfChangeType as Kind};

use super::observe::CallId;

/// What one run of a member has proposed, and what it may yet propose.
#[derive(Default)]
pub(crate) struct Proposals {
    /// Proposals made.
    made: BTreeSet<RequestId>,
    /// Calls taken in and not yet seen in a proposal.
    open: Vec<(CallId, Request)>,
    /// Changes of the group among them that were answered before: a leader may yet propose one
    /// whose caller has waited for too long.
    late: Vec<Request>,
}

impl Proposals {
    /// A call was taken in.
    pub(crate) fn note(&mut self, call: CallId, request: Request) {
        self.open.push((call, request));
    }

    /// It was answered.
    pub(crate) fn forget(&mut self, call: CallId) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == call) else { return };
        let (_, request) = self.open.remove(at);
        self.late.extend(target(&request).is_some().then_some(request));
    }

    /// A proposal was made by `member`, or wished for: the call it carries, if it is a client's,
    /// this is the first time, and it can be no other's.
    pub(crate) fn take(
        &mut self,
        (member, id): (MemberId, RequestId),
        kind: EntryKind,
        data: &Bytes,
    ) -> Option<CallId> {
        // What is proposed again is no call that has just come; nor is what another wished for.
        let is_new = id.is_of(member) && self.made.insert(id);
        if !is_new || self.open.is_empty() {
            return None;
        }
        let mut open = self.open.iter();
        let found = if kind == EntryKind::Normal {
            let entry = InternalRaftRequest::decode(data.clone()).ok()?;
            open.position(|(_, request)| carries(&entry, request))?
        } else {
            let change = ConfChange::decode(data.clone()).ok()?;
            if let Some(late) = self.late.iter().position(|request| changes(&change, request)) {
                self.late.remove(late);
                return None;
            }
            open.position(|(_, request)| changes(&change, request))?
        };
        Some(self.open.remove(found).0)
    }
}

/// Whether a proposal is that request's. Values are never used twice, so equality is identity
/// for what matters; equal deletions are told apart by order, which they share.
fn carries(entry: &InternalRaftRequest, request: &Request) -> bool {
    match request {
        Request::Put(put) => entry.put.as_ref() == Some(put),
        Request::DeleteRange(delete) => entry.delete_range.as_deref() == Some(delete),
        Request::Txn(txn) => entry.txn.as_deref() == Some(txn),
        Request::Compact(compact) => entry.compaction.as_deref() == Some(compact),
        Request::LeaseGrant(grant) => entry
            .lease_grant
            .as_ref()
            .is_some_and(|g| g.ttl == grant.ttl && (grant.id == 0 || g.id == grant.id)),
        Request::LeaseRevoke(revoke) => entry.lease_revoke.as_deref() == Some(revoke),
        Request::Alarm(alarm) => entry.alarm.as_deref() == Some(alarm),
        Request::Auth(auth) => InternalRaftRequest { header: None, ..entry.clone() } == **auth,
        _ => false,
    }
}

/// Whether a change of the group is the one a request asks for.
fn changes(change: &ConfChange, request: &Request) -> bool {
    target(request)
        .is_some_and(|(kinds, id)| kinds.contains(&change.r#type()) && change.node_id == id)
}

/// How a request changes the group, and whose place in it.
fn target(request: &Request) -> Option<(&'static [Kind], u64)> {
    Some(match request {
        Request::MemberAdd(ask) => {
            (&[Kind::ConfChangeAddNode, Kind::ConfChangeAddLearnerNode], ask.id.get())
        }
        Request::MemberPromote(ask) => (&[Kind::ConfChangeAddNode], ask.id),
        Request::MemberRemove(ask) => (&[Kind::ConfChangeRemoveNode], ask.id),
        Request::MemberUpdate(ask) => (&[Kind::ConfChangeUpdateNode], ask.id),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use quorate_proto::etcdserverpb::MemberRemoveRequest;

    use super::*;

    #[test]
    fn a_change_put_up_after_its_caller_gave_up_is_nobody_elses() {
        let (mut proposals, member) = (Proposals::default(), MemberId(1));
        let remove = || Request::MemberRemove(MemberRemoveRequest { id: 3 });
        let change = ConfChange {
            r#type: Kind::ConfChangeRemoveNode as i32,
            node_id: 3,
            ..ConfChange::default()
        };
        let data = Bytes::from(change.encode_to_vec());
        // Their upper bits are their member's.
        let [first, second] = [1, 2].map(|n| RequestId((1 << 48) + n));
        proposals.note(CallId(7), remove());
        proposals.forget(CallId(7));
        proposals.note(CallId(8), remove());
        let mut take = |id| proposals.take((member, id), EntryKind::ConfChange, &data);
        assert_eq!(take(first), None);
        assert_eq!(take(second), Some(CallId(8)));
    }
}
