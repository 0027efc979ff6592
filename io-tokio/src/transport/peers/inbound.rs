//! What the others' streams arrive at.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::Request as HttpRequest;
use hyper::body::Incoming;
use prost::Message as _;
use quorate_core::ids::MemberId;
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::peer_server::{Peer, PeerServer};
use quorate_proto::peer::{Envelope, ImageChunk, ImageHeader, InstallReply, Refused, Stand};
use quorate_proto::raftpb::MessageType;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use super::image::Images;
use super::landing::Landing;
use super::{Identity, REMOVED, Wires, is_raft};
use crate::transport::capacity::PEER_MESSAGE_BYTES_MAX;

/// Why a stream ends that its sender ended.
const CLOSED: &str = "the sender closed the stream";

/// Receives streams and images.
#[derive(Clone)]
pub struct Inbound {
    wires: Arc<Wires>,
    landing: Arc<Landing>,
}

impl Inbound {
    pub(super) fn new(wires: Arc<Wires>, images: Arc<dyn Images>) -> Self {
        Self { wires, landing: Landing::new(images) }
    }
}

impl Inbound {
    fn check_image(&self, header: &ImageHeader) -> Result<MemberId, Status> {
        let checked = self.wires.check(header.cluster_id, header.from, header.to);
        checked.map_err(Status::failed_precondition)
    }
}

impl Identity {
    /// Whether something addressed like this is meant for us; if not, the reason.
    fn check(&self, cluster: u64, from: u64, to: u64) -> Result<MemberId, &'static str> {
        if cluster != self.cluster.get() {
            return Err("cluster ID mismatch");
        }
        if to != self.member.get() {
            return Err("addressed to another member");
        }
        if from == 0 || from == to {
            return Err("sent by nobody");
        }
        Ok(MemberId(from))
    }
}

impl Wires {
    /// The same, and whether the sender is a member still.
    fn check(&self, cluster: u64, from: u64, to: u64) -> Result<MemberId, &'static str> {
        let from = self.identity.check(cluster, from, to)?;
        if self.removed.borrow().contains(&from) { Err(REMOVED) } else { Ok(from) }
    }

    /// Waits until that member is removed.
    async fn removal(&self, of: MemberId) {
        // It cannot end: the sender is here.
        let _ = self.removed.subscribe().wait_for(|removed| removed.contains(&of)).await;
    }

    /// Receives until the stream ends, and says why it did. A member that is removed hears of it
    /// also if it has nothing to say.
    async fn listen(&self, mut envelopes: Streaming<Envelope>) -> Result<&'static str, Status> {
        let Some(mut envelope) = envelopes.message().await? else { return Ok(CLOSED) };
        let from = match self.check_envelope(&envelope) {
            Ok(from) => from,
            Err(reason) => return Ok(reason),
        };
        let received = self.metrics.network.received(from);
        let mut removal = pin!(self.removal(from));
        loop {
            received.add(envelope.encoded_len() as u64);
            self.take(from, envelope);
            let next = tokio::select! {
                biased;
                () = removal.as_mut() => return Ok(REMOVED),
                next = envelopes.message() => next?,
            };
            let Some(next) = next else { return Ok(CLOSED) };
            envelope = match self.check_envelope(&next) {
                Ok(sender) if sender == from => next,
                Ok(_) => return Ok("two senders on one stream"),
                Err(reason) => return Ok(reason),
            };
        }
    }

    fn check_envelope(&self, envelope: &Envelope) -> Result<MemberId, &'static str> {
        self.check(envelope.cluster_id, envelope.from, envelope.to)
    }

    fn take(&self, from: MemberId, envelope: Envelope) {
        for message in envelope.messages {
            if is_raft(&message, MessageType::MsgHeartbeatResp) {
                self.metrics.network.answered(from);
            }
            let Some(message) = message.message else { continue };
            self.tell(|inbox| inbox.deliver(from, message));
        }
    }
}

#[tonic::async_trait]
impl Peer for Inbound {
    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Refused>, Status> {
        let reason = self.wires.listen(request.into_inner()).await?.to_owned();
        Ok(Response::new(Refused { reason }))
    }

    async fn install(
        &self,
        request: Request<Streaming<ImageChunk>>,
    ) -> Result<Response<InstallReply>, Status> {
        let mut chunks = request.into_inner();
        let Some(Chunk::Header(header)) = chunks.message().await?.and_then(|chunk| chunk.chunk)
        else {
            return Err(Status::invalid_argument("an image begins with its header"));
        };
        let from = self.check_image(&header)?;
        let metrics = &self.wires.metrics;
        let arriving = metrics.network.image_from(from);
        self.landing.receive(from, header, chunks).await?;
        arriving.done();
        Ok(Response::new(InstallReply {}))
    }

    async fn resume(&self, request: Request<ImageHeader>) -> Result<Response<Stand>, Status> {
        let header = request.into_inner();
        let from = self.check_image(&header)?;
        let chunks = self.landing.stand(from, &header)?;
        Ok(Response::new(Stand { chunks }))
    }
}

/// The peer port's gRPC side.
#[derive(Clone)]
pub struct PeerPort(PeerServer<Inbound>);

impl PeerPort {
    /// A port over what receives.
    pub fn new(inbound: Inbound) -> Self {
        Self(PeerServer::new(inbound).max_decoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }
}

impl hyper::service::Service<HttpRequest<Incoming>> for PeerPort {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = <PeerServer<Inbound> as Service<HttpRequest<Incoming>>>::Future;

    fn call(&self, request: HttpRequest<Incoming>) -> Self::Future {
        self.0.clone().call(request)
    }
}
