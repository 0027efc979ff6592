//! `etcdserverpb.KV`.

use futures_core::Stream;
use futures_util::stream;
use quorate_core::mvcc::Chunks;
use std::time::Instant;

use prost::Message;
use quorate_core::View;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::replies::{PIECE_BYTES, Pieces, Room, Sent};
use super::status::status;
use super::{Answers, Front, Shown, ask, reads};
use crate::metrics::Calls;

#[tonic::async_trait]
impl Kv for Front {
    type RangeStreamStream = Answers<pb::RangeStreamResponse>;

    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let (shown, request) = (Shown::of(&request), request.into_inner());
        reads::check_range(&request)?;
        let since = Instant::now();
        let answer = self.answer_read(&shown, &request).await;
        self.metrics.work.note_range(answer.is_ok(), since.elapsed());
        answer
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (shown, request) = (Shown::of(&request), request.into_inner());
        reads::check_range_stream(&request)?;
        let view = request.meet(self, &shown).await?;
        self.metrics.ranges.add(1);
        let chunks = reads::chunks(&view, &request, self.limits.request_bytes_max)?;
        let room = self.replies.room(true)?;
        let mut answer: Response<Self::RangeStreamStream> =
            Response::new(Box::pin(answers(self.clone(), chunks, room)));
        answer.extensions_mut().insert(Sent::Stream(self.replies.clone()));
        Ok(answer)
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        ask!(self, Put, request)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        ask!(self, DeleteRange, request)
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        if !reads::is_read_only(request.get_ref()) {
            return ask!(self, Txn, request);
        }
        let (shown, request) = (Shown::of(&request), request.into_inner());
        reads::check_txn(&request, self.limits.txn_ops_max)?;
        self.answer_read(&shown, &request).await
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        ask!(self, Compact, request)
    }
}

/// What only reads: a range, or a transaction of such.
trait Reading: Sync {
    type Answer: Message + Default;

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
    ) -> Result<Response<R::Answer>, Status> {
        let view = request.meet(self, shown).await?;
        if let Some(answer) = request.read(self, &view, self.replies.room(false)?).await? {
            return Ok(answer);
        }
        drop(view);
        let in_turn = async || {
            let view = request.meet(self, shown).await?;
            request.read(self, &view, self.replies.room(true)?).await
        };
        let answer = self.replies.in_turn(in_turn).await?;
        answer.ok_or_else(|| status(Refusal::Stopped))
    }
}

impl Reading for pb::RangeRequest {
    type Answer = pb::RangeResponse;

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
            return in_one_piece(reads::range(view, self)?, room).await;
        }
        let mut chunks = reads::chunks(view, self, PIECE_BYTES)?.of_any_number();
        let (mut pieces, mut reader) = (Pieces::default(), None);
        loop {
            let (chunk, is_last) = reads::read_chunk(&mut chunks, view)?;
            if is_last && pieces.is_empty() {
                return Ok(Some(Response::new(chunk)));
            }
            if reader.is_none() && !room.is_patient() {
                reader = front.replies.try_reader();
                if reader.is_none() {
                    return Ok(None);
                }
            }
            if !room.grow(chunk.encoded_len()).await {
                return Ok(None);
            }
            if is_last {
                let header = pb::RangeResponse { header: chunk.header, ..<_>::default() };
                pieces.push(&pb::RangeResponse { header: None, ..chunk });
                return pieces.answer(&header, room).map(Some);
            }
            pieces.push(&chunk);
            tokio::task::yield_now().await;
        }
    }
}

impl Reading for pb::TxnRequest {
    type Answer = pb::TxnResponse;

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
        in_one_piece(answer, room).await
    }
}

/// An answer that was read as a whole; none if there is no room for it.
async fn in_one_piece<A: Message + Default>(
    answer: A,
    mut room: Room,
) -> Result<Option<Response<A>>, Status> {
    let bytes = answer.encoded_len();
    if bytes <= PIECE_BYTES {
        return Ok(Some(Response::new(answer)));
    }
    if !room.grow(bytes).await {
        return Ok(None);
    }
    Pieces::default().answer(&answer, room).map(Some)
}

/// A message for each chunk, read when there is room for it.
fn answers(
    front: Front,
    chunks: Chunks,
    room: Room,
) -> impl Stream<Item = Result<pb::RangeStreamResponse, Status>> {
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
        room.shrink_to(response.encoded_len());
        method.inspect(|method| front.metrics.calls.sent(*method));
        let message = pb::RangeStreamResponse { range_response: Some(response) };
        Ok(Some((message, (front, room, (!is_last).then_some(chunks), false))))
    })
}

/// A chunk ends behind the key with which it has more than twice what it aims at.
const fn chunk_bytes_max(front: &Front) -> usize {
    front.limits.request_bytes_max.saturating_mul(3)
}
