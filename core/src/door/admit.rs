//! What a request must satisfy before anything is proposed for it.

use alloc::string::String;

use bytes::Bytes;
use prost::Message;
use quorate_proto::etcdserverpb::{self as pb, AlarmType, InternalRaftRequest};

use crate::alarm::{Alarms, LEASE_COST, put_cost, txn_cost};
use crate::auth::Identity;
use crate::config::Config;
use crate::error::Refusal;
use crate::ids::RequestId;
use crate::input::{Memory, Request};
use crate::limits::APPLY_GAP_MAX;
use crate::txn;

/// What admission looks at beside the request.
pub(crate) struct Conditions<'a> {
    pub(crate) config: &'a Config,
    /// Committed entries not yet applied.
    pub(crate) apply_gap: u64,
    /// Bytes the store occupies.
    pub(crate) db_size: u64,
    /// Whether the disk is nearly full.
    pub(crate) is_disk_low: bool,
    /// How much memory this member has left.
    pub(crate) memory: Memory,
    /// Whether a proposal of this member's is under way.
    pub(crate) is_busy: bool,
}

/// Whether the request's own shape is right: judged before anything else.
pub(crate) fn check_shape(request: &Request, config: &Config) -> Result<(), Refusal> {
    match request {
        Request::Put(put) => txn::check_put(put),
        Request::DeleteRange(delete) => txn::check_delete(delete),
        Request::Txn(request) => txn::check_txn(request, config.txn_ops_max),
        _ => Ok(()),
    }
}

/// Whether applying keeps up.
pub(crate) fn check_backlog(on: &Conditions<'_>) -> Result<(), Refusal> {
    if on.apply_gap > APPLY_GAP_MAX {
        return Err(Refusal::RequestTooManyRequests);
    }
    Ok(())
}

/// Whether there is memory for the request. What only takes away, or asks, goes on; where memory is
/// short the rest goes one after the other. It is never refused for good: much memory is given back
/// only by work.
pub(crate) fn check_memory(request: &Request, on: &Conditions<'_>) -> Result<(), Refusal> {
    if on.memory > Memory::Enough && on.is_busy && space_needed(request) > 0 {
        return Err(Refusal::RequestTooManyRequests);
    }
    Ok(())
}

/// Whether there is space for the request, as far as alarms tell.
pub(crate) fn check_space(request: &Request, alarms: &Alarms) -> Result<(), Refusal> {
    if space_needed(request) > 0 && alarms.is_raised(AlarmType::Nospace) {
        return Err(Refusal::NoSpace);
    }
    Ok(())
}

/// Whether the request would go over the quota, or over what the disk has: the alarm is due.
pub(crate) fn exceeds_quota(request: &Request, on: &Conditions<'_>) -> bool {
    let (cost, quota) = (space_needed(request), on.config.quota_backend_bytes);
    cost > 0 && (on.is_disk_low || quota > 0 && on.db_size + cost >= quota)
}

/// Bytes the request will need, as etcd estimates them.
fn space_needed(request: &Request) -> u64 {
    match request {
        Request::Put(put) => put_cost(&put.key, &put.value),
        Request::Txn(request) => txn_cost(request),
        Request::LeaseGrant(_) => LEASE_COST,
        _ => 0,
    }
}

/// The log entry for a request, within the size limit.
pub(crate) fn encode(
    (id, who): (RequestId, &Identity),
    request: InternalRaftRequest,
    config: &Config,
) -> Result<Bytes, Refusal> {
    let header = Some(pb::RequestHeader {
        id: id.get(),
        username: String::from(&*who.user),
        auth_revision: who.revision,
    });
    let data = InternalRaftRequest { header, ..request }.encode_to_vec();
    if data.len() as u64 > config.request_bytes_max {
        return Err(Refusal::RequestTooLarge);
    }
    Ok(Bytes::from(data))
}

/// The envelope of a request that goes through the log; `None` for those that do not.
pub(crate) fn envelope(request: Request) -> Option<InternalRaftRequest> {
    let mut envelope = InternalRaftRequest::default();
    match request {
        Request::Put(put) => envelope.put = Some(put),
        Request::DeleteRange(delete) => envelope.delete_range = Some(delete.into()),
        Request::Txn(txn) => envelope.txn = Some(txn.into()),
        Request::Compact(compaction) => envelope.compaction = Some(compaction.into()),
        Request::LeaseGrant(grant) => envelope.lease_grant = Some(grant.into()),
        Request::LeaseRevoke(revoke) => envelope.lease_revoke = Some(revoke.into()),
        Request::Alarm(alarm) => envelope.alarm = Some(alarm.into()),
        Request::Auth(request) => envelope = *request,
        // Answered without an entry, or with one of another kind.
        _ => return None,
    }
    Some(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is the matter.
    fn idle(config: &Config) -> Conditions<'_> {
        Conditions {
            config,
            apply_gap: 0,
            db_size: 0,
            is_disk_low: false,
            memory: Memory::Enough,
            is_busy: false,
        }
    }

    #[test]
    fn where_memory_is_short_what_stays_is_let_in_one_by_one() {
        let config = Config::default();
        let short = || Conditions { memory: Memory::Short, ..idle(&config) };
        let busy = Conditions { is_busy: true, ..short() };
        let out = Conditions { memory: Memory::Out, is_busy: true, ..short() };
        let put = Request::Put(pb::PutRequest::default());
        let delete = Request::DeleteRange(pb::DeleteRangeRequest::default());
        let renewal = Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest::default());
        assert_eq!(check_memory(&put, &short()), Ok(()), "one after the other");
        for on in [busy, out] {
            assert_eq!(check_memory(&put, &on), Err(Refusal::RequestTooManyRequests));
            assert_eq!([&delete, &renewal].map(|it| check_memory(it, &on)), [Ok(()), Ok(())]);
        }
    }

    #[test]
    fn a_full_store_and_a_full_disk_are_each_enough() {
        let put = Request::Put(pb::PutRequest { key: "k".into(), ..Default::default() });
        let free = Request::DeleteRange(pb::DeleteRangeRequest::default());
        let exceeds = |request: &Request, quota_backend_bytes, is_disk_low| {
            let config = Config { quota_backend_bytes, ..Config::default() };
            let on = Conditions { db_size: 1_000, is_disk_low, ..idle(&config) };
            exceeds_quota(request, &on)
        };
        assert!(exceeds(&put, 1_000, false));
        assert!(exceeds(&put, 0, true), "no quota, and no room either");
        assert!(!exceeds(&put, 0, false));
        assert!(!exceeds(&put, 1 << 30, false));
        assert!(!exceeds(&free, 1_000, true), "what needs no room");
    }
}
