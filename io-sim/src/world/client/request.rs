//! From a deed of the plan to a request with keys, values and revisions in it.

use bytes::Bytes;
use quorate_core::Request;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb::request_op;

use crate::world::observe::Operation;
use crate::world::plan::Deed;

/// The key of a number: ten share a prefix.
pub(in crate::world) fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{:03}/{}", number / 10, number % 10))
}

/// What a worker knows when it turns a deed into a request.
pub(super) struct Known<'a> {
    /// The number of the call.
    pub(super) call: u64,
    /// The newest revision it has seen.
    pub(super) revision: i64,
    /// The modification revision of each key it has seen; 0 for none.
    pub(super) keys: &'a [i64],
    /// The keepers' leases; 0 for none.
    pub(super) leases: &'a [i64],
    /// Its own lease; 0 for none.
    pub(super) lease: i64,
}

impl Known<'_> {
    /// The request, if there is anything to ask for.
    pub(super) fn resolve(&self, deed: Deed) -> Option<Operation> {
        let request = match deed {
            Deed::Put { key, lease, prev } => Request::Put(self.put(key, lease, prev == 1)),
            Deed::Delete { key, span, prev } => Request::DeleteRange(delete(key, span, prev == 1)),
            Deed::Range { .. } => return Some(Operation::Range(self.range(deed)?)),
            Deed::Txn { key, guard, other, flags } => self.txn(key, guard, other, flags),
            Deed::Compact { back, physical } => Request::Compact(pb::CompactionRequest {
                revision: self.back(back)?,
                physical: physical == 1,
            }),
            Deed::Grant { ttl } => {
                let id = 1_000_000 + self.call as i64;
                Request::LeaseGrant(pb::LeaseGrantRequest { ttl: ttl as i64, id })
            }
            Deed::Revoke {} if self.lease == 0 => return None,
            Deed::Revoke {} => Request::LeaseRevoke(pb::LeaseRevokeRequest { id: self.lease }),
            Deed::TimeToLive { lease } => {
                let (id, keys) = (self.lease_of(lease), true);
                if id == 0 {
                    return None;
                }
                Request::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id, keys })
            }
            Deed::Leases {} => Request::LeaseLeases(pb::LeaseLeasesRequest {}),
        };
        Some(Operation::Request(request))
    }

    fn lease_of(&self, number: u64) -> i64 {
        let place = (number as usize).checked_sub(1);
        place.and_then(|place| self.leases.get(place)).copied().unwrap_or(0)
    }

    fn back(&self, back: u64) -> Option<i64> {
        let revision = self.revision - back as i64;
        (revision > 0).then_some(revision)
    }

    fn put(&self, number: u64, lease: u64, prev_kv: bool) -> pb::PutRequest {
        let value = Bytes::from(format!("v{}", self.call));
        let lease = self.lease_of(lease);
        pb::PutRequest { key: key(number), value, lease, prev_kv, ..pb::PutRequest::default() }
    }

    fn range(&self, deed: Deed) -> Option<pb::RangeRequest> {
        let Deed::Range { key: first, span, limit, back, flags } = deed else { return None };
        let mut request = pb::RangeRequest {
            key: key(first),
            range_end: end(first, span),
            limit: limit as i64,
            revision: if back > 0 { self.back(back).unwrap_or(0) } else { 0 },
            serializable: flags & 1 > 0,
            count_only: flags & 2 > 0,
            keys_only: flags & 4 > 0,
            ..pb::RangeRequest::default()
        };
        if flags & 8 > 0 {
            request.set_sort_order(SortOrder::Descend);
            request.set_sort_target(SortTarget::Mod);
        }
        Some(request)
    }

    fn txn(&self, number: u64, guard: u64, other: u64, flags: u64) -> Request {
        let read = request_op::Request::RequestRange(pb::RangeRequest {
            key: key(number),
            range_end: end(number, 3),
            ..pb::RangeRequest::default()
        });
        let mut success =
            vec![request_op::Request::RequestPut(self.put(number, 0, true)), read.clone()];
        if flags & 1 > 0 && other != number {
            success.push(request_op::Request::RequestPut(self.put(other, 0, false)));
        }
        if flags & 4 > 0 {
            let inner = pb::TxnRequest {
                compare: vec![self.guard(0, other)],
                success: vec![op(read.clone())],
                failure: vec![op(read.clone())],
            };
            success.push(request_op::Request::RequestTxn(inner));
        }
        let failure = if flags & 2 > 0 {
            request_op::Request::RequestDeleteRange(delete(other, 3, true))
        } else {
            read
        };
        Request::Txn(pb::TxnRequest {
            compare: vec![self.guard(guard, number)],
            success: success.into_iter().map(op).collect(),
            failure: vec![op(failure)],
        })
    }

    fn guard(&self, guard: u64, number: u64) -> pb::Compare {
        let seen = self.keys.get(number as usize).copied().unwrap_or(0);
        let (result, target, union) = match guard {
            0 => (CompareResult::Equal, CompareTarget::Create, TargetUnion::CreateRevision(0)),
            1 => (CompareResult::Greater, CompareTarget::Version, TargetUnion::Version(0)),
            2 => (CompareResult::Equal, CompareTarget::Mod, TargetUnion::ModRevision(seen)),
            3 => (CompareResult::NotEqual, CompareTarget::Version, TargetUnion::Version(1)),
            _ => {
                let newest = TargetUnion::ModRevision(self.revision);
                (CompareResult::Less, CompareTarget::Mod, newest)
            }
        };
        let mut compare = pb::Compare {
            key: key(number),
            range_end: if guard == 4 { end(number, 3) } else { Bytes::new() },
            target_union: Some(union),
            ..pb::Compare::default()
        };
        compare.set_result(result);
        compare.set_target(target);
        compare
    }
}

fn op(request: request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn end(first: u64, span: u64) -> Bytes {
    if span < 2 { Bytes::new() } else { key(first + span) }
}

fn delete(first: u64, span: u64, prev_kv: bool) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key(first), range_end: end(first, span), prev_kv }
}

/// The put that tells all watchers of a key that the end is near.
pub(super) fn bell(number: u64, call: u64) -> Operation {
    let value = Bytes::from(format!("v{call}"));
    let put = pb::PutRequest { key: key(number), value, ..pb::PutRequest::default() };
    Operation::Request(Request::Put(put))
}
