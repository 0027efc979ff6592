//! Leases: told to live on, and granted with a key.

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::{Status, Streaming};

use crate::bench::Line;
use crate::bench::drive::{Step, Work};
use crate::client::{Direct, Stamp};

/// A client with leases of its own, which it keeps alive one after the other on one stream, as
/// clients do; each answer is waited for.
pub struct KeepAlive {
    lease: LeaseClient<InterceptedService<Direct, Stamp>>,
    leases: usize,
    ttl_seconds: i64,
    ids: Vec<i64>,
    stream: Option<(mpsc::Sender<LeaseKeepAliveRequest>, Streaming<LeaseKeepAliveResponse>)>,
}

impl KeepAlive {
    /// So many leases that would live for so long.
    pub fn new(line: &Line, leases: usize, ttl_seconds: i64) -> Self {
        let (ids, stream) = (Vec::new(), None);
        Self { lease: line.lease(), leases: leases.max(1), ttl_seconds, ids, stream }
    }

    async fn keep(&mut self, turn: u64) -> Result<(), Status> {
        let id = self.ids[turn as usize % self.ids.len()];
        let answer = match self.told(id).await {
            Ok(answer) => answer,
            Err(status) => {
                self.stream = None;
                return Err(status);
            }
        };
        if answer.id == id && answer.ttl > 0 {
            return Ok(());
        }
        Err(Status::not_found("a lease is gone"))
    }

    /// The answer to one request. Servers open a stream with their first one.
    async fn told(&mut self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        let lost = || Status::unavailable("the stream of keep-alives ended");
        let request = LeaseKeepAliveRequest { id };
        let answers = match &mut self.stream {
            Some((requests, answers)) => {
                requests.send(request).await.map_err(|_| lost())?;
                answers
            }
            None => {
                let (requests, outgoing) = mpsc::channel(1);
                requests.send(request).await.map_err(|_| lost())?;
                let answers = self.lease.lease_keep_alive(ReceiverStream::new(outgoing)).await?;
                &mut self.stream.insert((requests, answers.into_inner())).1
            }
        };
        answers.message().await?.ok_or_else(lost)
    }
}

impl Work for KeepAlive {
    async fn prepare(&mut self) -> Result<(), Status> {
        for _ in 0..self.leases {
            let request = LeaseGrantRequest { id: 0, ttl: self.ttl_seconds };
            self.ids.push(self.lease.lease_grant(request).await?.into_inner().id);
        }
        Ok(())
    }

    async fn step(&mut self, turn: u64) -> Step {
        (0, self.keep(turn).await)
    }
}

/// A client that is granted leases, and puts a key below each.
pub struct Grant {
    lease: LeaseClient<InterceptedService<Direct, Stamp>>,
    kv: KvClient<InterceptedService<Direct, Stamp>>,
    value: Bytes,
    ttl_seconds: i64,
}

impl Grant {
    /// Of leases that live for so long.
    pub fn new(line: &Line, value: Bytes, ttl_seconds: i64) -> Self {
        Self { lease: line.lease(), kv: line.kv(), value, ttl_seconds }
    }

    async fn grant(&mut self, turn: u64) -> Result<(), Status> {
        let request = LeaseGrantRequest { id: 0, ttl: self.ttl_seconds };
        let lease = self.lease.lease_grant(request).await?.into_inner().id;
        let (key, value) = (Bytes::from(format!("granted/{turn:010}")), self.value.clone());
        self.kv.put(PutRequest { key, value, lease, ..PutRequest::default() }).await.map(drop)
    }
}

impl Work for Grant {
    async fn step(&mut self, turn: u64) -> Step {
        (0, self.grant(turn).await)
    }
}
