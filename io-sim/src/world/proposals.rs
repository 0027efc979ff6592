//! Which proposal carries which client's call, as whoever watches a member can tell.
//!
//! A member takes a call in, and some time later puts an entry up for the log; the call's number is
//! not in it. Values are never used twice, so what is equal is the same.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::Request;
use quorate_core::ids::RequestId;
use quorate_proto::etcdserverpb::InternalRaftRequest;

use super::observe::CallId;

/// What one run of a member has proposed, and what it may yet propose.
#[derive(Default)]
pub(crate) struct Proposals {
    /// Proposals made.
    made: BTreeSet<RequestId>,
    /// Calls taken in and not yet seen in a proposal.
    open: Vec<(CallId, Request)>,
}

impl Proposals {
    /// A call was taken in.
    pub(crate) fn note(&mut self, call: CallId, request: Request) {
        self.open.push((call, request));
    }

    /// It was answered.
    pub(crate) fn forget(&mut self, call: CallId) {
        self.open.retain(|(open, _)| *open != call);
    }

    /// A proposal was made: the call it carries, if it is a client's and this is the first time.
    pub(crate) fn take(&mut self, id: RequestId, data: &Bytes) -> Option<CallId> {
        // What is proposed again is no call that has just come.
        let is_new = self.made.insert(id);
        if !is_new || self.open.is_empty() {
            return None;
        }
        let entry = InternalRaftRequest::decode(data.clone()).ok()?;
        let found = self.open.iter().position(|(_, request)| carries(&entry, request))?;
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
