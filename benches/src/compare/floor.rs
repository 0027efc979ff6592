//! The floors: servers whose answers are made of constants. One is plain tonic, and shares etcd's
//! messages and nothing else; the other stands behind Quorate's own front door. Whatever Quorate
//! spends above that is spent on being a database.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper_util::service::TowerToHyperService;
use quorate_io_tokio::cli::Place;
use quorate_io_tokio::http::Pages;
use quorate_io_tokio::metrics::Traffic;
use quorate_io_tokio::transport::IoThreads;
use quorate_io_tokio::transport::bind::bind;
use quorate_io_tokio::transport::listen::{Connections, Http2, Port};
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
pub(crate) fn serve(url: &str, has_door: bool) -> Outcome<()> {
    let addr: SocketAddr = url.strip_prefix("http://").unwrap_or(url).parse()?;
    let kv = KvServer::new(Echo { value: Bytes::from(vec![b'v'; VALUE_BYTES]) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if has_door {
            return serve_behind_door(kv, addr).await;
        }
        let incoming = tonic::transport::server::TcpIncoming::bind(addr)?.with_nodelay(Some(true));
        eprintln!("{}", crate::servers::READY);
        tonic::transport::Server::builder().serve_with_incoming(kv, incoming).await?;
        Ok(())
    })
}

async fn serve_behind_door(kv: KvServer<Echo>, addr: SocketAddr) -> Outcome<()> {
    let port = Port::<_, Pages> {
        grpc: Some(TowerToHyperService::new(kv)),
        gateway: None,
        console: None,
        access: None,
        pages: None,
        http2: Http2::with_streams(u32::MAX),
        traffic: Traffic::default(),
    };
    let place = Place::Port { host: addr.ip().to_string(), port: addr.port() };
    let (bound, threads) = (bind(&place)?, IoThreads::for_clients()?);
    eprintln!("{}", crate::servers::READY);
    Connections::default().accept(bound, Arc::new(port), &threads).await;
    Ok(())
}
