//! `etcdserverpb.KV`.

use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use prost::Message;
use quorate_core::View;
use quorate_core::error::Refusal;
use quorate_core::mvcc::{Chunks, Encoded};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::replies::{PIECE_BYTES, Pieces, Room, Sent, framed};
use super::status::{read_status, status};
use super::trace::{self, Told, Trace};
use super::{Answers, Front, Shown, ask, reads, span};
use crate::metrics::Calls;

/// Steps of reads, as etcd names them.
const AGREED: &str = "agreement among raft nodes before linearized reading";
const ASSEMBLED: &str = "assemble the response";
/// And one that etcd has not.
const WAITED: &str = "wait for room for the response, and assemble it";

#[tonic::async_trait]
impl Kv for Front {
    type RangeStreamStream = Answers<pb::RangeStreamResponse>;

    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let _part = self.part("range", &request, span::of_range);
        let (shown, request) = (Shown::of(&request), request.into_inner());
        reads::check_range(&request)?;
        let since = Instant::now();
        let mut trace = Trace::of_read("range", "/etcdserverpb.KV/Range", "read-only range ");
        let answer = self.answer_read(&shown, &request, &mut trace).await;
        self.metrics.work.note_range(answer.is_ok(), since.elapsed());
        trace.end(self.limits.patience, &answer, |answer, bytes| {
            trace::of_range(&request, answer, bytes)
        });
        answer
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let _part = self.part("range_streaming", &request, span::of_range);
        let (shown, request) = (Shown::of(&request), request.into_inner());
        reads::check_range_stream(&request)?;
        let view = request.meet(self, &shown).await?;
        self.metrics.ranges.add(1);
        let chunks = reads::chunks(&view, &request, chunk_bytes_aim(self))?;
        let room = self.replies.room(true)?;
        let messages = answers(self.clone(), chunks, room);
        let mut answer: Response<Self::RangeStreamStream> =
            Response::new(Box::pin(stream::empty()));
        answer.extensions_mut().insert(Sent::stream(self.replies.clone(), messages));
        Ok(answer)
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let _part = self.part("put", &request, span::of_put);
        let trace = Trace::of_write("put", "/etcdserverpb.KV/Put");
        let (key, value_bytes) = (request.get_ref().key.clone(), request.get_ref().value.len());
        let answer = ask!(self, Put, request);
        trace.end(self.limits.patience, &answer, |_, bytes| Told {
            request: format!("key:\"{}\" value_size:{value_bytes}", key.escape_ascii()),
            request_bytes: key.len() + value_bytes,
            response_bytes: bytes,
            ..Told::default()
        });
        answer
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let _part = self.part("delete_range", &request, span::of_delete);
        let trace = Trace::of_write("delete_range", "/etcdserverpb.KV/DeleteRange");
        let (key, end) = (request.get_ref().key.clone(), request.get_ref().range_end.clone());
        let answer = ask!(self, DeleteRange, request);
        trace.end(self.limits.patience, &answer, |answer, bytes| Told {
            request: format!("key:\"{}\" range_end:\"{}\"", key.escape_ascii(), end.escape_ascii()),
            request_bytes: key.len() + end.len(),
            response_count: answer.map_or(0, |answer| answer.deleted),
            response_bytes: bytes,
            ..Told::default()
        });
        answer
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        let _part = self.part("txn", &request, span::of_txn);
        let parts = trace::parts(request.get_ref());
        let method = "/etcdserverpb.KV/Txn";
        let (trace, answer) = if reads::is_read_only(request.get_ref()) {
            let (shown, request) = (Shown::of(&request), request.into_inner());
            let mut trace = Trace::of_read("txn", method, "read-only txn ");
            reads::check_txn(&request, self.limits.txn_ops_max)?;
            let answer = self.answer_read(&shown, &request, &mut trace).await;
            (trace, answer)
        } else {
            (Trace::of_write("txn", method), ask!(self, Txn, request))
        };
        trace.end(self.limits.patience, &answer, |_, bytes| trace::of_txn(parts, bytes));
        answer
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let _part = self.part("compact", &request, span::of_compact);
        ask!(self, Compact, request)
    }
}

/// What only reads: a range, or a transaction of such.
trait Reading: Sync {
    type Answer: Message + Default;

    /// Whether it may be answered by what this member has applied.
    fn is_serializable(&self) -> bool;

    /// A view to answer from, if the caller may be answered.
    async fn meet(&self, front: &Front, shown: &Shown) -> Result<View, Status>;

    /// The answer as far as there is room for it; none if there is not.
    async fn read(
        &self,
        front: &Front,
        view: &View,
        room: Room,
    ) -> Result<Option<Response<Self::Answer>>, Status>;
}

impl Front {
    /// Answers at once if there is room for the answer; else when its turn has come, by what is
    /// true then.
    async fn answer_read<R: Reading>(
        &self,
        shown: &Shown,
        request: &R,
        trace: &mut Trace,
    ) -> Result<Response<R::Answer>, Status> {
        let view = request.meet(self, shown).await?;
        if !request.is_serializable() {
            trace.step(AGREED);
        }
        let answer = request.read(self, &view, self.replies.room(false)?).await?;
        trace.step(ASSEMBLED);
        if let Some(answer) = answer {
            return Ok(answer);
        }
        drop(view);
        let in_turn = async || {
            let view = request.meet(self, shown).await?;
            request.read(self, &view, self.replies.room(true)?).await
        };
        let answer = self.replies.in_turn(in_turn).await?;
        trace.step(WAITED);
        answer.ok_or_else(|| status(Refusal::Stopped))
    }
}

impl Reading for pb::RangeRequest {
    type Answer = pb::RangeResponse;

    fn is_serializable(&self) -> bool {
        self.serializable
    }

    async fn meet(&self, front: &Front, shown: &Shown) -> Result<View, Status> {
        let (view, who) = front.meet(self.serializable, shown).await?;
        reads::may_range(&view, &who, self)?;
        Ok(view)
    }

    async fn read(
        &self,
        front: &Front,
        view: &View,
        mut room: Room,
    ) -> Result<Option<Response<pb::RangeResponse>>, Status> {
        front.metrics.ranges.add(1);
        if self.range_end.is_empty() {
            return reads::range(view, self).map(|answer| Some(Response::new(answer)));
        }
        if !reads::is_in_order(self) {
            let answer = reads::range(view, self)?;
            let told = pb::RangeResponse { count: answer.count, ..<_>::default() };
            return in_one_piece(answer, room, told).await;
        }
        let mut chunks = reads::pieces(view, self, PIECE_BYTES)?;
        let (mut pieces, mut reader) = (Pieces::default(), None);
        loop {
            let (chunk, is_last) = reads::read_piece(&mut chunks, view)?;
            if is_last && pieces.is_empty() {
                let answer = chunk.decode().map_err(|fault| read_status(fault.into()))?;
                return Ok(Some(Response::new(answer)));
            }
            let Encoded { fields, end } = chunk;
            if !front.has_memory(room.is_patient())? || !room.grow(fields.len()).await {
                return Ok(None);
            }
            pieces.push(fields);
            if is_last {
                let told = pb::RangeResponse { count: end.count, ..<_>::default() };
                return pieces.answer(&end, room, told).map(Some);
            }
            // What waits for its turn has room, as what is sent has; who is first in line has the
            // turn already.
            if reader.is_none() && !room.is_patient() {
                reader = front.replies.reader().await;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Reading for pb::TxnRequest {
    type Answer = pb::TxnResponse;

    fn is_serializable(&self) -> bool {
        reads::is_serializable(self)
    }

    async fn meet(&self, front: &Front, shown: &Shown) -> Result<View, Status> {
        let (view, who) = front.meet(reads::is_serializable(self), shown).await?;
        reads::may_read_txn(&view, &who, self)?;
        Ok(view)
    }

    async fn read(
        &self,
        front: &Front,
        view: &View,
        room: Room,
    ) -> Result<Option<Response<pb::TxnResponse>>, Status> {
        let answer = reads::read_txn(view, self)?;
        front.metrics.ranges.add(answer.responses.len() as u64);
        front.metrics.read_txns.add(u64::from(answer.responses.len() > 1));
        in_one_piece(answer, room, pb::TxnResponse::default()).await
    }
}

/// An answer that was read as a whole; none if there is no room for it. `told`: what may be looked
/// up of it later.
async fn in_one_piece<A: Message>(
    answer: A,
    mut room: Room,
    told: A,
) -> Result<Option<Response<A>>, Status> {
    let bytes = answer.encoded_len();
    if bytes <= PIECE_BYTES {
        return Ok(Some(Response::new(answer)));
    }
    if !room.grow(bytes).await {
        return Ok(None);
    }
    Pieces::default().answer(&answer, room, told).map(Some)
}

/// A message for each chunk, read when there is room for it.
fn answers(front: Front, chunks: Chunks, room: Room) -> impl Stream<Item = Result<Bytes, Status>> {
    let method = Calls::find("/etcdserverpb.KV/RangeStream");
    let largest = chunk_bytes_max(&front);
    let begin = (front, room, Some(chunks), true);
    stream::try_unfold(begin, move |(front, mut room, chunks, is_first)| async move {
        let Some(mut chunks) = chunks else { return Ok(None) };
        // What the chunk before took was handed on.
        room.shrink_to(0);
        room.grow(largest).await;
        let reader = if is_first { None } else { front.replies.reader().await };
        let (response, is_last) = reads::next_chunk(&mut chunks, &front.core).await?;
        drop(reader);
        method.inspect(|method| front.metrics.calls.sent(*method));
        let message = framed(&pb::RangeStreamResponse { range_response: Some(response) })?;
        room.shrink_to(message.len());
        Ok(Some((message, (front, room, (!is_last).then_some(chunks), false))))
    })
}

/// Bytes a chunk of a stream aims at, which is what a stream costs here and at its client; hundreds
/// of keys still share a message.
fn chunk_bytes_aim(front: &Front) -> usize {
    front.limits.request_bytes_max.min(PIECE_BYTES)
}

/// A chunk ends behind the key with which it has more than twice what it aims at.
fn chunk_bytes_max(front: &Front) -> usize {
    let largest_key = front.limits.request_bytes_max;
    chunk_bytes_aim(front).saturating_mul(2).saturating_add(largest_key)
}
