//! How a view is read: every call into the core's reading side stands here.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::auth::{Identity, gate};
use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_core::ids::Revision;
use quorate_core::mvcc::{Chunks, Encoded, Mvcc, Step};
use quorate_core::storage::Rows;
use quorate_core::view::Facts;
use quorate_core::{View, txn};
use quorate_proto::etcdserverpb as pb;
use tokio::task::JoinError;
use tonic::Status;

use super::status::{read_status, status};
use crate::driver::Core;

pub(super) use txn::{is_read_only, is_serializable};

/// The view's current revision.
pub fn revision(view: &View) -> Revision {
    view.kv.revision()
}

/// Whether the store answers at all.
pub fn probe(view: &View) -> Result<(), ReadError> {
    let any = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        limit: 1,
        ..pb::RangeRequest::default()
    };
    view.kv.range(&any).map(|_| ())
}

/// Judges a range before anything is asked of the cluster.
pub(super) fn check_range(request: &pb::RangeRequest) -> Result<(), Status> {
    txn::check_range(request).map_err(status)
}

/// Judges a range that is to be answered in chunks.
pub(super) fn check_range_stream(request: &pb::RangeRequest) -> Result<(), Status> {
    txn::check_range_stream(request).map_err(status)
}

/// Whether the range may be read.
pub(super) fn may_range(
    view: &View,
    who: &Identity,
    request: &pb::RangeRequest,
) -> Result<(), Status> {
    gate::check_range(&view.facts.auth.book, who, request).map_err(status)
}

/// Whether all that a transaction reads may be read.
pub(super) fn may_read_txn(
    view: &View,
    who: &Identity,
    request: &pb::TxnRequest,
) -> Result<(), Status> {
    gate::check_read_txn(&view.facts.auth.book, who, request).map_err(status)
}

/// Begins to answer a range in chunks.
pub(super) fn chunks(
    view: &View,
    request: &pb::RangeRequest,
    bytes_aim: usize,
) -> Result<Chunks, Status> {
    Chunks::begin(&view.kv, request, bytes_aim).map_err(status)
}

/// Begins to answer a range in pieces as they are sent.
pub(super) fn pieces(
    view: &View,
    request: &pb::RangeRequest,
    bytes_aim: usize,
) -> Result<Chunks<Encoded>, Status> {
    Chunks::begin_encoded(&view.kv, request, bytes_aim).map_err(status)
}

/// The next chunk, and whether it is the last. Gives way to others on this thread while it reads.
pub(super) async fn next_chunk(
    chunks: &mut Chunks,
    core: &Core,
) -> Result<(pb::RangeResponse, bool), Status> {
    loop {
        let view = core.view();
        match chunks.step(&view.kv).map_err(read_status)? {
            Step::Reading => drop(view),
            Step::Chunk(response) => return Ok((response, false)),
            Step::Last(mut response) => {
                let pinned = response.header.take().unwrap_or_default().revision;
                response.header = Some(view.header(Revision(pinned)));
                return Ok((response, true));
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Whether a range is of keys in their own order, and of all of them. Without an order, values and
/// revisions are sorted upwards; a stream does not look at them then.
pub(super) fn is_in_order(request: &pb::RangeRequest) -> bool {
    request.sort_target == 0 && txn::check_range_stream(request).is_ok()
}

/// The next piece of this view, and whether it is the last.
pub(super) fn read_piece(
    chunks: &mut Chunks<Encoded>,
    view: &View,
) -> Result<(Encoded, bool), Status> {
    loop {
        match chunks.step(&view.kv).map_err(read_status)? {
            Step::Reading => {}
            Step::Chunk(chunk) => return Ok((chunk, false)),
            Step::Last(mut chunk) => {
                chunk.end.header = Some(view.header(view.kv.revision()));
                return Ok((chunk, true));
            }
        }
    }
}

/// A range against a view.
pub(super) fn range(view: &View, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
    let response = txn::read_range(&view.kv, request).map_err(read_status)?;
    Ok(pb::RangeResponse { header: Some(view.header(view.kv.revision())), ..response })
}

/// Judges a transaction before anything is asked of the cluster.
pub(super) fn check_txn(request: &pb::TxnRequest, ops_max: usize) -> Result<(), Status> {
    txn::check_txn(request, ops_max).map_err(status)
}

/// A transaction that only reads, against a view.
pub(super) fn read_txn(view: &View, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
    let response = txn::read_txn(&view.kv, request).map_err(read_status)?;
    Ok(pb::TxnResponse { header: Some(view.header(view.kv.revision())), ..response })
}

/// Reads much: not on a thread that serves.
pub(super) async fn off_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    let gone = |error: JoinError| match error.is_panic() {
        true => Status::internal("reading the store panicked"),
        false => status(Refusal::Stopped),
    };
    done.map_err(gone)?
}

/// The hash of all keys up to a revision.
pub(super) fn hash_kv(view: &View, revision: Revision) -> Result<pb::HashKvResponse, Status> {
    let hash = view.kv.hash(revision.get()).map_err(read_status)?;
    Ok(pb::HashKvResponse {
        header: Some(view.header(view.kv.revision())),
        hash: hash.hash,
        compact_revision: hash.compact_revision.get(),
        hash_revision: hash.hash_revision.get(),
    })
}

/// The hash of everything stored.
pub(super) fn hash(view: &View) -> Result<pb::HashResponse, Status> {
    let hash = view.kv.hash_stored().map_err(|fault| read_status(fault.into()))?;
    Ok(pb::HashResponse { header: Some(view.header(view.kv.revision())), hash })
}

/// A view of no keys with these facts.
#[doc(hidden)]
pub fn view_of(facts: Facts) -> View {
    let keys = Mvcc::open(Arc::new(Rows::default())).expect("reading nothing cannot fail");
    View::new(keys.view(), facts)
}
