//! One of the two servers, as a client knows it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use quorate_io_tokio::gateway::AsBytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

use super::call::{Answer, Call, Method, Refused, Reply};
use super::streams::Streams;
use crate::accept::{Cluster, api};

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(20);

/// Leases whose ids a server picked bear these numbers in scripts and in comparisons, counting up.
pub(crate) const PICKED: i64 = 1 << 60;

/// See the module.
pub(crate) struct Side {
    channel: Channel,
    pub(crate) streams: Streams,
    /// Ids this server picked, in the order it did.
    picked: Vec<i64>,
}

impl Side {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let channel = api::channel(cluster.members[0].client);
        Self { channel, streams: Streams::default(), picked: Vec::new() }
    }

    /// The server was started again.
    pub(crate) fn reconnect(&mut self, cluster: &Cluster) {
        self.channel = api::channel(cluster.members[0].client);
    }

    /// Sends bytes to a path on a stream that ends when they do; how many answers came, and the
    /// code and the text of the end.
    pub(crate) async fn stray(&self, path: &'static str, bodies: &[Bytes]) -> (usize, Refused) {
        let mut grpc = Grpc::new(self.channel.clone());
        let bodies = tokio_stream::iter(bodies.to_vec());
        let mut count = 0;
        let listen = async {
            grpc.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
            let path = PathAndQuery::from_static(path);
            let mut answers =
                grpc.streaming(Request::new(bodies), path, AsBytes).await?.into_inner();
            while answers.message().await?.is_some() {
                count += 1;
            }
            Ok::<_, tonic::Status>(())
        };
        let late = |_| Err(tonic::Status::deadline_exceeded("no answer at all"));
        let end = tokio::time::timeout(CALL_MAX, listen).await.unwrap_or_else(late);
        let end = end.err().unwrap_or_else(|| tonic::Status::ok("an end"));
        (count, (end.code(), end.message().to_string()))
    }

    pub(crate) fn open(&mut self, stream: u64) {
        self.streams.open(stream, self.channel.clone());
    }

    /// Whether a watch of a stream was told of a change at `revision`.
    pub(crate) fn heard_of(&self, stream: u64, watch: i64, revision: i64) -> bool {
        let heard = self.streams.look(stream, |heard| heard.has_event(watch, revision));
        heard.unwrap_or_default()
    }

    /// Carries out a call; lease ids are the script's on both ways.
    pub(crate) async fn call(&self, call: &Call) -> Answer {
        let asked = self.exchange(call.method, self.aim(call));
        let late = |_| Err(tonic::Status::deadline_exceeded("no answer at all"));
        let body = tokio::time::timeout(CALL_MAX, asked).await.unwrap_or_else(late);
        let body = body.map_err(|status| (status.code(), status.message().to_string()))?;
        let unreadable = |error| (tonic::Code::DataLoss, format!("a reply that is none: {error}"));
        let mut reply = call.method.read(body).map_err(unreadable)?;
        self.translate(&mut reply);
        Ok(reply)
    }

    /// The reply's body; of a stream all bodies in a row, which is one message with everything.
    async fn exchange(&self, method: Method, body: Bytes) -> Result<Bytes, tonic::Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static(method.path());
        if method != Method::RangeStream {
            return Ok(grpc.unary(Request::new(body), path, AsBytes).await?.into_inner());
        }
        let mut parts =
            grpc.server_streaming(Request::new(body), path, AsBytes).await?.into_inner();
        let mut all = BytesMut::new();
        while let Some(part) = parts.message().await? {
            all.extend_from_slice(&part);
        }
        Ok(all.freeze())
    }

    /// Sends these on one stream, each after the answer to the one before.
    pub(crate) async fn keep_alive(
        &self,
        ids: &[i64],
    ) -> Result<Vec<pb::LeaseKeepAliveResponse>, Refused> {
        let requests: Vec<_> =
            ids.iter().map(|id| pb::LeaseKeepAliveRequest { id: self.real(*id) }).collect();
        let mut client = LeaseClient::new(self.channel.clone());
        let asked = async {
            let answers = client.lease_keep_alive(tokio_stream::iter(requests)).await?;
            let (mut answers, mut heard) = (answers.into_inner(), Vec::new());
            while let Some(mut answer) = answers.message().await? {
                answer.id = self.scripted(answer.id);
                heard.push(answer);
            }
            Ok(heard)
        };
        let late = |_| Err(tonic::Status::deadline_exceeded("no answer at all"));
        let heard = tokio::time::timeout(CALL_MAX, asked).await.unwrap_or_else(late);
        heard.map_err(|status: tonic::Status| (status.code(), status.message().to_string()))
    }

    /// Notes an id the server picked; the reply gets the script's number for it.
    pub(crate) fn note_picked(&mut self, reply: &mut pb::LeaseGrantResponse) {
        self.picked.push(reply.id);
        reply.id = self.scripted(reply.id);
    }

    /// The body with this server's lease ids.
    fn aim(&self, call: &Call) -> Bytes {
        match call.method {
            Method::Revoke => self.aim_at(call, |request: &mut pb::LeaseRevokeRequest| {
                request.id = self.real(request.id);
            }),
            Method::TimeToLive => self.aim_at(call, |request: &mut pb::LeaseTimeToLiveRequest| {
                request.id = self.real(request.id);
            }),
            _ => call.body.clone(),
        }
    }

    /// Only a body that names a picked lease is changed: all others are sent byte by byte.
    fn aim_at<T: Message + Default + Clone + PartialEq>(
        &self,
        call: &Call,
        aim: impl FnOnce(&mut T),
    ) -> Bytes {
        let Ok(scripted) = T::decode(call.body.clone()) else { return call.body.clone() };
        let mut aimed = scripted.clone();
        aim(&mut aimed);
        if aimed == scripted { call.body.clone() } else { aimed.encode_to_vec().into() }
    }

    fn real(&self, id: i64) -> i64 {
        let place = usize::try_from(id.wrapping_sub(PICKED)).ok();
        place.and_then(|place| self.picked.get(place)).copied().unwrap_or(id)
    }

    fn scripted(&self, id: i64) -> i64 {
        let place = self.picked.iter().position(|picked| *picked == id);
        place.and_then(|place| i64::try_from(place).ok()).map_or(id, |place| PICKED + place)
    }

    fn translate(&self, reply: &mut Reply) {
        match reply {
            Reply::Grant(reply) => reply.id = self.scripted(reply.id),
            Reply::TimeToLive(reply) => reply.id = self.scripted(reply.id),
            Reply::Leases(reply) => {
                reply.leases.iter_mut().for_each(|lease| lease.id = self.scripted(lease.id));
            }
            _ => {}
        }
    }
}
