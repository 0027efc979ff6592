//! How a view is read: every call into the core's reading side stands here.

use quorate_core::View;
use quorate_core::event::ReadError;
use quorate_core::ids::Revision;
use quorate_proto::etcdserverpb as pb;
use tonic::Status;

use super::status::unserved;

/// The view's current revision.
pub fn revision(_view: &View) -> Revision {
    Revision(1)
}

/// Whether the store answers at all.
pub fn probe(_view: &View) -> Result<(), ReadError> {
    Ok(())
}

/// Judges a range before anything is asked of the cluster.
pub(super) fn check_range(_request: &pb::RangeRequest) -> Result<(), Status> {
    unserved("Range")
}

/// A range against a view.
pub(super) fn range(
    _view: &View,
    _request: &pb::RangeRequest,
) -> Result<pb::RangeResponse, Status> {
    unserved("Range")
}

/// Whether a transaction can be answered from a view.
pub(super) fn is_read_only(_request: &pb::TxnRequest) -> bool {
    false
}

/// Whether all its reads may be stale.
pub(super) fn is_serializable(_request: &pb::TxnRequest) -> bool {
    false
}

/// Judges a transaction before anything is asked of the cluster.
pub(super) fn check_txn(_request: &pb::TxnRequest) -> Result<(), Status> {
    unserved("Txn")
}

/// A transaction that only reads, against a view.
pub(super) fn read_txn(_view: &View, _request: &pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
    unserved("Txn")
}

/// The hash of all keys up to a revision.
pub(super) fn hash_kv(_view: &View, _revision: Revision) -> Result<pb::HashKvResponse, Status> {
    unserved("HashKV")
}

/// A view of a member that knows nothing yet.
pub fn empty_view() -> View {
    View { kv: quorate_core::mvcc::KvView {}, facts: std::sync::Arc::default() }
}
