//! `etcdserverpb.KV`.

use futures_core::Stream;
use futures_util::stream;
use quorate_core::mvcc::Chunks;
use std::time::Instant;

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::trace::{self, Told, Trace};
use super::{Answers, Front, Shown, ask, reads, span};
use crate::metrics::Calls;

/// Steps of reads, as etcd names them.
const AGREED: &str = "agreement among raft nodes before linearized reading";
const ASSEMBLED: &str = "assemble the response";

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
        let mut trace = Trace::of_read("range", "/etcdserverpb.KV/Range", "read-only range ");
        let answer = self.read_range(&request, &shown, &mut trace).await;
        trace.end(self.limits.patience, &answer, |answer| trace::of_range(&request, answer));
        answer
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let _part = self.part("range_streaming", &request, span::of_range);
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
        let _part = self.part("put", &request, span::of_put);
        let trace = Trace::of_write("put", "/etcdserverpb.KV/Put");
        let (key, value_bytes) = (request.get_ref().key.clone(), request.get_ref().value.len());
        let answer = ask!(self, Put, request);
        trace.end(self.limits.patience, &answer, |answer| Told {
            request: format!("key:\"{}\" value_size:{value_bytes}", key.escape_ascii()),
            request_bytes: key.len() + value_bytes,
            response_bytes: answer.map_or(0, prost::Message::encoded_len),
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
        trace.end(self.limits.patience, &answer, |answer| Told {
            request: format!("key:\"{}\" range_end:\"{}\"", key.escape_ascii(), end.escape_ascii()),
            request_bytes: key.len() + end.len(),
            response_count: answer.map_or(0, |answer| answer.deleted),
            response_bytes: answer.map_or(0, prost::Message::encoded_len),
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
            let answer = self.read_txn(&request, &shown, &mut trace).await;
            (trace, answer)
        } else {
            (Trace::of_write("txn", method), ask!(self, Txn, request))
        };
        trace.end(self.limits.patience, &answer, |answer| trace::of_txn(parts, answer));
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

impl Front {
    async fn read_range(
        &self,
        request: &pb::RangeRequest,
        shown: &Shown,
        trace: &mut Trace,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let since = Instant::now();
        let (view, who) = self.meet(request.serializable, shown).await?;
        if !request.serializable {
            trace.step(AGREED);
        }
        reads::may_range(&view, &who, request)?;
        self.metrics.ranges.add(1);
        let answer = reads::range(&view, request).map(Response::new);
        trace.step(ASSEMBLED);
        self.metrics.work.note_range(answer.is_ok(), since.elapsed());
        answer
    }

    async fn read_txn(
        &self,
        request: &pb::TxnRequest,
        shown: &Shown,
        trace: &mut Trace,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        reads::check_txn(request, self.limits.txn_ops_max)?;
        let is_serializable = reads::is_serializable(request);
        let (view, who) = self.meet(is_serializable, shown).await?;
        if !is_serializable {
            trace.step(AGREED);
        }
        reads::may_read_txn(&view, &who, request)?;
        let answer = reads::read_txn(&view, request)?;
        trace.step(ASSEMBLED);
        self.metrics.ranges.add(answer.responses.len() as u64);
        self.metrics.read_txns.add(u64::from(answer.responses.len() > 1));
        Ok(Response::new(answer))
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
