//! `etcdserverpb.KV`.

use futures_core::Stream;
use futures_util::stream;
use quorate_core::mvcc::Chunks;
use std::time::Instant;

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

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
        let (view, who) = self.meet(request.serializable, &shown).await?;
        reads::may_range(&view, &who, &request)?;
        self.metrics.ranges.add(1);
        let answer = reads::range(&view, &request).map(Response::new);
        self.metrics.work.note_range(answer.is_ok(), since.elapsed());
        answer
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (shown, request) = (Shown::of(&request), request.into_inner());
        reads::check_range_stream(&request)?;
        let (view, who) = self.meet(request.serializable, &shown).await?;
        reads::may_range(&view, &who, &request)?;
        self.metrics.ranges.add(1);
        let chunks = reads::chunks(&view, &request, self.limits.request_bytes_max)?;
        Ok(Response::new(Box::pin(answers(self.clone(), chunks))))
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
        let (view, who) = self.meet(reads::is_serializable(&request), &shown).await?;
        reads::may_read_txn(&view, &who, &request)?;
        let answer = reads::read_txn(&view, &request)?;
        self.metrics.ranges.add(answer.responses.len() as u64);
        self.metrics.read_txns.add(u64::from(answer.responses.len() > 1));
        Ok(Response::new(answer))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        ask!(self, Compact, request)
    }
}

/// A message for each chunk, read when there is room for it.
fn answers(
    front: Front,
    chunks: Chunks,
) -> impl Stream<Item = Result<pb::RangeStreamResponse, Status>> {
    let method = Calls::find("/etcdserverpb.KV/RangeStream");
    stream::try_unfold((front, Some(chunks)), move |(front, chunks)| async move {
        let Some(mut chunks) = chunks else { return Ok(None) };
        let (response, is_last) = reads::next_chunk(&mut chunks, &front.core).await?;
        method.inspect(|method| front.metrics.calls.sent(*method));
        let message = pb::RangeStreamResponse { range_response: Some(response) };
        Ok(Some((message, (front, (!is_last).then_some(chunks)))))
    })
}
