//! Requests judged by themselves.

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb::request_op::Request;

use super::overlap::check_overlaps;
use crate::error::Refusal;
use crate::limits::TXN_DEPTH_MAX;
use crate::mvcc::range::{has_default_order, has_filters};

/// Checks a range request.
pub fn check_range(request: &pb::RangeRequest) -> Result<(), Refusal> {
    check_key(&request.key)?;
    let has_order = SortOrder::try_from(request.sort_order).is_ok();
    let has_target = SortTarget::try_from(request.sort_target).is_ok();
    if has_order && has_target { Ok(()) } else { Err(Refusal::InvalidSortOption) }
}

/// Checks a range request that is to be answered in chunks: of keys in their own order, and of all
/// of them.
pub fn check_range_stream(request: &pb::RangeRequest) -> Result<(), Refusal> {
    check_range(request)?;
    if !has_default_order(request) {
        return Err(Refusal::RangeStreamSorted);
    }
    if has_filters(request) { Err(Refusal::RangeStreamFiltered) } else { Ok(()) }
}

/// Checks a put request.
pub fn check_put(request: &pb::PutRequest) -> Result<(), Refusal> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete request.
pub fn check_delete(request: &pb::DeleteRangeRequest) -> Result<(), Refusal> {
    check_key(&request.key)
}

/// Checks a transaction and all in it: sizes and single operations first, then each branch for
/// keys written twice.
pub fn check_txn(request: &pb::TxnRequest, ops_max: usize) -> Result<(), Refusal> {
    check_shape(request, ops_max, TXN_DEPTH_MAX)?;
    check_overlaps(&request.success)?;
    check_overlaps(&request.failure)
}

/// Whether the transaction only reads: it need not go through the log.
pub fn is_read_only(request: &pb::TxnRequest) -> bool {
    ops(request).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Whether a transaction that only reads may be answered from what this member has, current or
/// not: so it is if all its ranges say so.
pub fn is_serializable(request: &pb::TxnRequest) -> bool {
    ops(request).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

fn ops(request: &pb::TxnRequest) -> impl Iterator<Item = &pb::RequestOp> {
    request.success.iter().chain(&request.failure)
}

fn check_key(key: &Bytes) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

/// Every level takes the size of its largest part from the budget; only what is nested deeper
/// feels it, not what stands beside it.
fn check_shape(request: &pb::TxnRequest, ops_max: usize, depth_max: usize) -> Result<(), Refusal> {
    let size = request.compare.len().max(request.success.len()).max(request.failure.len());
    let ops_left = ops_max.checked_sub(size).ok_or(Refusal::TooManyOps)?;
    request.compare.iter().try_for_each(|compare| check_key(&compare.key))?;
    ops(request).try_for_each(|op| match &op.request {
        Some(Request::RequestRange(range)) => check_range(range),
        Some(Request::RequestPut(put)) => check_put(put),
        Some(Request::RequestDeleteRange(delete)) => check_delete(delete),
        Some(Request::RequestTxn(nested)) => {
            let depth_left = depth_max.checked_sub(1).ok_or(Refusal::TooManyOps)?;
            check_shape(nested, ops_left, depth_left)
        }
        None => Err(Refusal::KeyNotFound),
    })
}
