//! From a deed of the plan to a request with keys, values and revisions in it.

use bytes::Bytes;
use quorate_core::Request;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op;

use crate::world::observe::Operation;
use crate::world::plan::Deed;

/// From here on a number of revisions back means one ahead.
const AHEAD: u64 = 1_000_000;
/// How far ahead at least: no run makes so many revisions while a client knows nothing of them.
const AHEAD_MIN: i64 = 1_000_000;
/// A lease nobody is ever granted.
const NO_SUCH_LEASE: i64 = 999_999;

/// The key of a number: ten share a prefix.
pub(in crate::world) fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{:03}/{}", number / 10, number % 10))
}

/// The number of a key that [`key`] made.
pub(super) fn number_of(key: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(key).ok()?.strip_prefix('k')?;
    let (tens, ones) = text.split_once('/')?;
    Some(10 * tens.parse::<usize>().ok()? + ones.parse::<usize>().ok()?)
}

/// What a worker knows when it turns a deed into a request.
pub(super) struct Known<'a> {
    /// The number of the call.
    pub(super) call: u64,
    /// The newest revision it has seen.
    pub(super) revision: i64,
    /// What it has seen of each key, last: its value's lease and modification revision.
    pub(super) keys: &'a [(i64, i64)],
    /// The keepers' leases; 0 for none.
    pub(super) leases: &'a [i64],
    /// Its own lease; 0 for none.
    pub(super) lease: i64,
}

impl Known<'_> {
    /// The request, if there is anything to ask for.
    pub(super) fn resolve(&self, deed: Deed) -> Option<Operation> {
        let request = match deed {
            Deed::Put { key, lease, flags } => Request::Put(self.put(key, lease, flags)),
            Deed::Delete { key, span, prev } => Request::DeleteRange(delete(key, span, prev == 1)),
            Deed::Range { .. } => return Some(Operation::Range(self.range(deed)?)),
            Deed::Txn { .. } => Request::Txn(self.txn(deed)?),
            Deed::Read { key, guard, other, back, flags } => {
                let mut reads = [self.read(key, 3), self.read(other, 1)];
                reads[1].revision = self.back(back);
                reads.iter_mut().for_each(|read| read.serializable = flags & 1 > 0);
                let [first, second] = reads.map(request_op::Request::RequestRange).map(op);
                Request::Txn(pb::TxnRequest {
                    compare: vec![self.guard(guard, key)],
                    success: vec![first.clone(), second.clone()],
                    failure: vec![second, first],
                })
            }
            Deed::Compact { back, physical } => {
                let revision = if back == 0 { self.revision } else { self.back(back) };
                if revision <= 0 {
                    return None;
                }
                Request::Compact(pb::CompactionRequest { revision, physical: physical == 1 })
            }
            Deed::Grant { ttl, id } => Request::LeaseGrant(pb::LeaseGrantRequest {
                ttl: ttl as i64,
                id: match id {
                    0 => AHEAD as i64 + self.call as i64,
                    1 => 0,
                    id => self.lease_of(id - 1)?,
                },
            }),
            Deed::Revoke { lease } => {
                Request::LeaseRevoke(pb::LeaseRevokeRequest { id: self.lease_of(lease)? })
            }
            Deed::TimeToLive { lease, keys } => {
                let (id, keys) = (self.lease_of(lease)?, keys == 1);
                Request::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id, keys })
            }
            Deed::Leases {} => Request::LeaseLeases(pb::LeaseLeasesRequest {}),
        };
        Some(Operation::Request(request))
    }

    /// The lease of a number, if the client knows of one.
    fn lease_of(&self, number: u64) -> Option<i64> {
        let place = (number as usize).checked_sub(1)?;
        let id = match place.checked_sub(self.leases.len()) {
            None => self.leases[place],
            Some(0) => self.lease,
            Some(_) => NO_SUCH_LEASE,
        };
        (id != 0).then_some(id)
    }

    /// The revision so far back, or ahead; 0 for now, and for what was before the first.
    fn back(&self, back: u64) -> i64 {
        match back {
            0 => 0,
            AHEAD.. => self.revision + AHEAD_MIN,
            back => (self.revision - back as i64).max(0),
        }
    }

    fn put(&self, number: u64, lease: u64, flags: u64) -> pb::PutRequest {
        let [ignore_value, ignore_lease, careless] = [2, 4, 8].map(|bit| flags & bit > 0);
        let (mut value, mut lease) = (format!("v{}", self.call), self.lease_of(lease).unwrap_or(0));
        if ignore_value && !careless {
            value.clear();
        }
        if ignore_lease && !careless {
            lease = 0;
        }
        pb::PutRequest {
            key: key(number),
            value: value.into(),
            lease,
            prev_kv: flags & 1 > 0,
            ignore_value,
            ignore_lease,
        }
    }

    fn read(&self, number: u64, span: u64) -> pb::RangeRequest {
        let (key, range_end) = (key(number), end(number, span));
        pb::RangeRequest { key, range_end, ..pb::RangeRequest::default() }
    }

    fn range(&self, deed: Deed) -> Option<pb::RangeRequest> {
        let Deed::Range { key, span, limit, back, flags, sort, bounds } = deed else { return None };
        let bound = |bit: u64, back: i64| {
            if bounds & bit > 0 { (self.revision - back).max(1) } else { 0 }
        };
        Some(pb::RangeRequest {
            limit: limit as i64,
            revision: self.back(back),
            serializable: flags & 1 > 0,
            count_only: flags & 2 > 0,
            keys_only: flags & 4 > 0,
            sort_order: (sort / 5) as i32,
            sort_target: (sort % 5) as i32,
            min_mod_revision: bound(1, 60),
            max_mod_revision: bound(2, 10),
            min_create_revision: bound(4, 100),
            max_create_revision: bound(8, 20),
            ..self.read(key, span)
        })
    }

    fn txn(&self, deed: Deed) -> Option<pb::TxnRequest> {
        let Deed::Txn { key, guard, other, flags, lease, put_flags } = deed else { return None };
        let has = |bit: u64| flags & bit > 0;
        let put =
            |number| op(request_op::Request::RequestPut(self.put(number, lease, put_flags ^ 1)));
        let mut read = self.read(key, 3);
        if has(32) {
            read.revision = self.back(30);
        }
        let read = op(request_op::Request::RequestRange(read));
        let mut success = vec![put(key), read.clone()];
        if has(1) && other != key {
            success.push(put(other));
        }
        if has(4) {
            success.push(op(request_op::Request::RequestTxn(self.nested(other, key, has(8)))));
        }
        if has(16) {
            success.push(put(key));
        }
        let delete = || op(request_op::Request::RequestDeleteRange(delete(other, 3, true)));
        let failure = if has(2) { delete() } else { read };
        Some(pb::TxnRequest {
            compare: vec![self.guard(guard, key)],
            success,
            failure: vec![failure],
        })
    }

    /// A transaction within one; its condition is about a key the outer one has just put, but
    /// must see it as it was before.
    fn nested(&self, number: u64, seen: u64, is_deep: bool) -> pb::TxnRequest {
        let read = op(request_op::Request::RequestRange(self.read(number, 3)));
        let inner = is_deep.then(|| {
            let (success, failure) = (vec![read.clone()], vec![read.clone(), read.clone()]);
            let txn = pb::TxnRequest { compare: vec![self.guard(1, seen)], success, failure };
            op(request_op::Request::RequestTxn(txn))
        });
        pb::TxnRequest {
            compare: vec![self.guard(0, seen)],
            success: std::iter::once(read.clone()).chain(inner).collect(),
            failure: vec![read],
        }
    }

    /// A condition on a key, by number.
    fn guard(&self, guard: u64, number: u64) -> pb::Compare {
        use {CompareResult as R, CompareTarget as T, TargetUnion as U};
        let (lease, seen) = self.keys.get(number as usize).copied().unwrap_or_default();
        let (result, target, union) = match guard {
            0 => (R::Equal, T::Create, U::CreateRevision(0)),
            1 => (R::Greater, T::Version, U::Version(0)),
            2 => (R::Equal, T::Mod, U::ModRevision(seen)),
            3 => (R::NotEqual, T::Version, U::Version(1)),
            4 => (R::Less, T::Mod, U::ModRevision(self.revision)),
            5 => (R::Greater, T::Value, U::Value(format!("v{}", self.call / 2).into())),
            6 => (R::Equal, T::Lease, U::Lease(lease)),
            7 => (R::NotEqual, T::Lease, U::Lease(0)),
            8 => (R::Less, T::Value, U::Value("w".into())),
            _ => (R::Greater, T::Create, U::CreateRevision(self.revision - 100)),
        };
        let is_range = matches!(guard, 4 | 8 | 9);
        pb::Compare {
            key: key(number),
            range_end: if is_range { end(number, 3) } else { Bytes::new() },
            target_union: Some(union),
            result: result.into(),
            target: target.into(),
        }
    }
}

fn op(request: request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// The end of a range of so many keys.
pub(in crate::world) fn end(first: u64, span: u64) -> Bytes {
    match span {
        0 | 1 => Bytes::new(),
        999 => key(0),
        1_000 => Bytes::from_static(&[0]),
        span => key(first + span),
    }
}

fn delete(first: u64, span: u64, prev_kv: bool) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key(first), range_end: end(first, span), prev_kv }
}

/// The put that tells all watchers of a key that the end is near.
pub(crate) fn bell(number: u64, call: u64) -> Operation {
    let value = Bytes::from(format!("v{call}"));
    let put = pb::PutRequest { key: key(number), value, ..pb::PutRequest::default() };
    Operation::Request(Request::Put(put))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_number() {
        for number in [0, 7, 10, 39, 1_234, 12_345] {
            assert_eq!(number_of(&key(number)), Some(number as usize));
        }
        assert_eq!(number_of(b"k000"), None);
    }
}
