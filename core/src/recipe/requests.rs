//! The ordinary requests recipes are made of.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb::request_op::Request as Op;

use crate::input::Request;

/// TTL of the lease granted to a client that brings none.
const LEASE_TTL_SECS: i64 = 60;

/// What stands before the keys of all contenders for a name.
pub(super) fn prefix_of(name: &Bytes) -> Bytes {
    [name, b"/".as_slice()].concat().into()
}

/// The contender's key: its lease in hex, as Go prints a signed number.
pub(super) fn key_of(prefix: &Bytes, lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let digits = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, digits.as_bytes()].concat().into()
}

/// The end of the range of a prefix: what follows its slash.
fn end_of(prefix: &Bytes) -> Bytes {
    let name = prefix.strip_suffix(b"/").unwrap_or(prefix);
    [name, b"0".as_slice()].concat().into()
}

/// A lease for a client that brings none.
pub(super) fn grant() -> Request {
    Request::LeaseGrant(pb::LeaseGrantRequest { ttl: LEASE_TTL_SECS, id: 0 })
}

/// The oldest key.
pub(super) fn oldest(prefix: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: end_of(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..pb::RangeRequest::default()
    }
}

/// The key created at `rev` and the one before it, without values.
pub(super) fn last_two(prefix: &Bytes, rev: i64) -> pb::RangeRequest {
    pb::RangeRequest {
        limit: 2,
        sort_order: SortOrder::Descend.into(),
        max_create_revision: rev,
        keys_only: true,
        ..oldest(prefix)
    }
}

/// Puts the key unless it is there, else gets it; gets the oldest key in any case.
pub(super) fn enter(prefix: &Bytes, put: pb::PutRequest) -> Request {
    let key = put.key.clone();
    let mine = pb::RangeRequest { key: key.clone(), ..pb::RangeRequest::default() };
    let oldest = pb::RangeRequest { keys_only: true, ..oldest(prefix) };
    Request::Txn(pb::TxnRequest {
        compare: vec![is_created_at(key, 0)],
        success: vec![op(Op::RequestPut(put)), op(Op::RequestRange(oldest.clone()))],
        failure: vec![op(Op::RequestRange(mine)), op(Op::RequestRange(oldest))],
    })
}

/// Puts the key if it is the one created at `rev`.
pub(super) fn renew(put: pb::PutRequest, rev: i64) -> Request {
    guarded(put.key.clone(), rev, vec![op(Op::RequestPut(put))])
}

/// Deletes the key if it is the one created at `rev`.
pub(super) fn withdraw(key: Bytes, rev: i64) -> Request {
    let delete = pb::DeleteRangeRequest { key: key.clone(), ..pb::DeleteRangeRequest::default() };
    guarded(key, rev, vec![op(Op::RequestDeleteRange(delete))])
}

fn guarded(key: Bytes, rev: i64, success: Vec<pb::RequestOp>) -> Request {
    let compare = vec![is_created_at(key, rev)];
    Request::Txn(pb::TxnRequest { compare, success, failure: Vec::new() })
}

fn is_created_at(key: Bytes, rev: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key,
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(rev)),
    }
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// Changes of one key from a revision on.
pub(super) fn watch_key(key: Bytes, from: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key, start_revision: from, ..pb::WatchCreateRequest::default() }
}

/// Puts under a prefix from a revision on.
pub(super) fn watch_puts(prefix: &Bytes, from: i64) -> pb::WatchCreateRequest {
    let filters = vec![pb::watch_create_request::FilterType::Nodelete.into()];
    let range_end = end_of(prefix);
    pb::WatchCreateRequest { range_end, filters, ..watch_key(prefix.clone(), from) }
}

/// The end of one key, from a revision on.
pub(super) fn watch_end(key: Bytes, from: i64) -> pb::WatchCreateRequest {
    let filters = vec![pb::watch_create_request::FilterType::Noput.into()];
    pb::WatchCreateRequest { filters, ..watch_key(key, from) }
}
