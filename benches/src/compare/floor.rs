//! The floor: a plain tonic server whose answers are made of constants. It shares etcd's messages
//! and nothing else; whatever a real server spends above it is spent on being a database.

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_server::{Kv, KvServer};
use quorate_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest,
    TxnResponse,
};
use quorate_proto::mvccpb::KeyValue;
use tonic::{Request, Response, Status, async_trait};

use crate::Outcome;
use crate::sizes::{RANGE_KEYS, VALUE_BYTES};

struct Echo {
    value: Bytes,
}

impl Echo {
    fn record(&self, key: Bytes) -> KeyValue {
        KeyValue {
            key,
            value: self.value.clone(),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            lease: 0,
        }
    }
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: 1 << 60, member_id: 1 << 61, revision: 2, raft_term: 2 })
}

#[async_trait]
impl Kv for Echo {
    type RangeStreamStream = tokio_stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range(&self, call: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let request = call.into_inner();
        let keys = if request.range_end.is_empty() { 1 } else { RANGE_KEYS };
        let record = self.record(request.key);
        let kvs = vec![record; keys as usize];
        Ok(Response::new(RangeResponse { header: header(), kvs, more: false, count: keys as i64 }))
    }

    async fn range_stream(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("the floor answers unary calls"))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse { header: header(), prev_kv: None }))
    }

    async fn delete_range(
        &self,
        _: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        Ok(Response::new(DeleteRangeResponse { header: header(), ..Default::default() }))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let answer = TxnResponse { header: header(), succeeded: true, responses: Vec::new() };
        Ok(Response::new(answer))
    }

    async fn compact(
        &self,
        _: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        Ok(Response::new(CompactionResponse { header: header() }))
    }
}

/// Serves until killed. Says it is ready in the words of the servers it is compared with.
pub(crate) fn serve(url: &str) -> Outcome<()> {
    let addr = url.strip_prefix("http://").unwrap_or(url).parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let incoming = tonic::transport::server::TcpIncoming::bind(addr)?.with_nodelay(Some(true));
        eprintln!("{}", crate::servers::READY);
        let echo = Echo { value: Bytes::from(vec![b'v'; VALUE_BYTES]) };
        tonic::transport::Server::builder()
            .serve_with_incoming(KvServer::new(echo), incoming)
            .await?;
        Ok(())
    })
}
