//! Requests carried out.

use alloc::vec::Vec;

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::mvccpb::KeyValue;

use super::compare::{branch, choose};
use crate::error::Refusal;
use crate::event::{KeyRange, ReadError};
use crate::ids::LeaseId;
use crate::mvcc::{KvView, Writer};

/// What this room has to know about leases.
pub trait Leases {
    /// Whether the lease is alive, as far as the log tells.
    fn exists(&self, lease: LeaseId) -> bool;
}

/// The branches still to be taken, in the order they are come by.
type Path<'a> = core::slice::Iter<'a, bool>;

/// What is known of a transaction before it is carried out.
struct Foresight<'a> {
    view: &'a KvView,
    leases: &'a dyn Leases,
    keeps_parts: bool,
    deletes: bool,
}

/// Carries out a put.
pub fn apply_put(
    writer: &mut Writer<'_>,
    request: &pb::PutRequest,
    leases: &dyn Leases,
) -> Result<pb::PutResponse, ReadError> {
    check_lease(request, leases)?;
    put(writer, request)
}

/// Carries out a deletion.
pub fn apply_delete_range(
    writer: &mut Writer<'_>,
    request: &pb::DeleteRangeRequest,
) -> Result<pb::DeleteRangeResponse, ReadError> {
    let prev_kvs = match request.prev_kv {
        true => {
            let (key, range_end) = (request.key.clone(), request.range_end.clone());
            writer.now().range(&pb::RangeRequest { key, range_end, ..Default::default() })?.kvs
        }
        false => Vec::new(),
    };
    let deleted = writer.delete_range(&KeyRange::parse(&request.key, &request.range_end));
    let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
    Ok(pb::DeleteRangeResponse { header: header(writer.now()), deleted, prev_kvs })
}

/// Carries out a transaction that may write.
pub fn apply_txn(
    writer: &mut Writer<'_>,
    request: &pb::TxnRequest,
    leases: &dyn Leases,
) -> Result<pb::TxnResponse, ReadError> {
    let path = choose(writer.now(), request)?;
    let mut foresight =
        Foresight { view: writer.now(), leases, keeps_parts: false, deletes: false };
    foresight.check(request, &mut path.iter())?;
    let mark = foresight.may_fail_halfway().then(|| writer.mark());
    let mut response = match execute(writer, request, &mut path.iter()) {
        Ok(response) => response,
        Err(error) => {
            mark.into_iter().for_each(|mark| writer.roll_back(mark));
            return Err(error);
        }
    };
    response.header = header(writer.now());
    Ok(response)
}

/// Answers a range.
pub fn read_range(
    view: &KvView,
    request: &pb::RangeRequest,
) -> Result<pb::RangeResponse, ReadError> {
    let result = view.range(request)?;
    let (kvs, more, count) = (result.kvs, result.more, result.count);
    Ok(pb::RangeResponse { header: header(view), kvs, more, count })
}

/// Answers a transaction that only reads. One that does more is refused as one with an unset
/// operation is.
pub fn read_txn(view: &KvView, request: &pb::TxnRequest) -> Result<pb::TxnResponse, ReadError> {
    let succeeded = choose(view, request)?.first().copied().unwrap_or_default();
    let ranges: Vec<_> =
        branch(request, succeeded).iter().map(range_of).collect::<Result<_, _>>()?;
    if !crate::planted!("read-txn-error-swallowed") {
        ranges.iter().try_for_each(|range| check_revision(view, range))?;
    }
    let respond = |range: &&pb::RangeRequest| {
        let response = match read_range(view, range) {
            Err(_) if crate::planted!("read-txn-error-swallowed") => pb::RangeResponse::default(),
            response => response?,
        };
        let response = Response::ResponseRange(response);
        Ok(pb::ResponseOp { response: Some(response) })
    };
    let responses = ranges.iter().map(respond).collect::<Result<Vec<_>, ReadError>>()?;
    Ok(pb::TxnResponse { header: header(view), succeeded, responses })
}

fn range_of(op: &pb::RequestOp) -> Result<&pb::RangeRequest, Refusal> {
    match &op.request {
        Some(Request::RequestRange(range)) => Ok(range),
        _ => Err(Refusal::KeyNotFound),
    }
}

fn header(view: &KvView) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision: view.revision().get(), ..Default::default() })
}

/// What a put does once its lease is known to exist.
fn put(writer: &mut Writer<'_>, request: &pb::PutRequest) -> Result<pb::PutResponse, ReadError> {
    let previous = match request.prev_kv || keeps_parts(request) {
        true => writer.now().get(&request.key)?,
        false => None,
    };
    let (value, lease) = match &previous {
        None if keeps_parts(request) => return Err(Refusal::KeyNotFound.into()),
        previous => parts(request, previous.as_ref()),
    };
    writer.put(&request.key, &value, lease);
    let prev_kv = previous.filter(|_| request.prev_kv);
    Ok(pb::PutResponse { header: header(writer.now()), prev_kv })
}

fn keeps_parts(request: &pb::PutRequest) -> bool {
    request.ignore_value || request.ignore_lease
}

/// The value and the lease to put.
fn parts(request: &pb::PutRequest, previous: Option<&KeyValue>) -> (bytes::Bytes, LeaseId) {
    let value = previous.filter(|_| request.ignore_value).map(|kv| &kv.value);
    let keeps_lease = request.ignore_lease && !crate::planted!("ignore-lease-ignored");
    let lease = previous.filter(|_| keeps_lease).map(|kv| kv.lease);
    (value.unwrap_or(&request.value).clone(), LeaseId(lease.unwrap_or(request.lease)))
}

fn check_lease(request: &pb::PutRequest, leases: &dyn Leases) -> Result<(), Refusal> {
    if request.lease != 0 && !leases.exists(LeaseId(request.lease)) {
        return Err(Refusal::LeaseNotFound);
    }
    Ok(())
}

/// Stricter than a range that stands alone: below zero is not "the newest" here.
fn check_revision(view: &KvView, request: &pb::RangeRequest) -> Result<(), Refusal> {
    match request.revision {
        0 => Ok(()),
        revision if revision > view.revision().get() => Err(Refusal::FutureRev),
        revision if crate::planted!("compacted-revision-refused") => {
            let is_known = revision > view.compacted().get();
            is_known.then_some(()).ok_or(Refusal::Compacted)
        }
        revision if revision < view.compacted().get() => Err(Refusal::Compacted),
        _ => Ok(()),
    }
}

impl Foresight<'_> {
    /// Checks everything on the way before anything is written.
    fn check(&mut self, txn: &pb::TxnRequest, path: &mut Path<'_>) -> Result<(), Refusal> {
        branch(txn, take(path)).iter().try_for_each(|op| match &op.request {
            Some(Request::RequestRange(range)) => check_revision(self.view, range),
            Some(Request::RequestPut(put)) => self.check_put(put),
            Some(Request::RequestDeleteRange(_)) => {
                self.deletes = true;
                Ok(())
            }
            Some(Request::RequestTxn(nested)) => self.check(nested, path),
            None => Err(Refusal::KeyNotFound),
        })
    }

    /// As a put that stands alone: its lease first, its key second.
    fn check_put(&mut self, request: &pb::PutRequest) -> Result<(), Refusal> {
        if !crate::planted!("txn-lease-unchecked") {
            check_lease(request, self.leases)?;
        }
        if keeps_parts(request) {
            self.keeps_parts = true;
            self.view.version_of(&request.key).ok_or(Refusal::KeyNotFound)?;
        }
        Ok(())
    }

    /// A delete may take away the key whose value or lease a later put wants to keep.
    fn may_fail_halfway(&self) -> bool {
        self.keeps_parts && self.deletes
    }
}

/// Carries out the branch taken. The header stays empty.
fn execute(
    writer: &mut Writer<'_>,
    txn: &pb::TxnRequest,
    path: &mut Path<'_>,
) -> Result<pb::TxnResponse, ReadError> {
    let succeeded = take(path);
    let ops = branch(txn, succeeded);
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        let response = match &op.request {
            Some(Request::RequestRange(range)) => {
                Some(Response::ResponseRange(read_range(writer.now(), range)?))
            }
            Some(Request::RequestPut(request)) => {
                Some(Response::ResponsePut(put(writer, request)?))
            }
            Some(Request::RequestDeleteRange(delete)) => {
                Some(Response::ResponseDeleteRange(apply_delete_range(writer, delete)?))
            }
            Some(Request::RequestTxn(nested)) if crate::planted!("compare-after-writes") => {
                let path = choose(writer.now(), nested)?;
                Some(Response::ResponseTxn(execute(writer, nested, &mut path.iter())?))
            }
            Some(Request::RequestTxn(nested)) => {
                Some(Response::ResponseTxn(execute(writer, nested, path)?))
            }
            None => None,
        };
        responses.push(pb::ResponseOp { response });
    }
    Ok(pb::TxnResponse { header: Some(pb::ResponseHeader::default()), succeeded, responses })
}

/// The path was laid by walking the same transaction.
fn take(path: &mut Path<'_>) -> bool {
    path.next().copied().unwrap_or_default()
}
