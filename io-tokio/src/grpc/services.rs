//! From a path to the service it names, and the count of what came of it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use opentelemetry::Context as SpanContext;
use quorate_core::auth::Book;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb::auth_server::AuthServer;
use quorate_proto::etcdserverpb::cluster_server::ClusterServer;
use quorate_proto::etcdserverpb::kv_server::KvServer;
use quorate_proto::etcdserverpb::lease_server::LeaseServer;
use quorate_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use quorate_proto::etcdserverpb::watch_server::WatchServer;
use quorate_proto::health::health_server::HealthServer;
use quorate_proto::v3electionpb::election_server::ElectionServer;
use quorate_proto::v3lockpb::lock_server::LockServer;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::StdError;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower_service::Service;

use super::arrivals::{Arrival, Arriving};
use super::gate::{Gate, leader_lost, requires_leader};
use super::status::{message_status, status};
use super::{Front, replies};
use crate::metrics::{Calls, Kind, METHODS};
use crate::spans;

/// All services of the client port; cloning is cheap.
#[derive(Clone)]
pub struct Services(Arc<Inner>);

struct Inner {
    front: Front,
    gate: Gate,
    kv: KvServer<Front>,
    watch: WatchServer<Front>,
    lease: LeaseServer<Front>,
    cluster: ClusterServer<Front>,
    maintenance: MaintenanceServer<Front>,
    auth: AuthServer<Front>,
    lock: LockServer<Front>,
    election: ElectionServer<Front>,
    health: HealthServer<Front>,
}

/// Largest message that is sent.
const SENT_BYTES_MAX: usize = (1 << 31) - 1;

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Services {
    /// The services over one front.
    pub fn new(front: Front) -> Self {
        let shared = Arc::new(front.clone());
        macro_rules! server {
            ($server:ident) => {
                $server::from_arc(shared.clone())
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(front.limits.message_bytes_max)
                    .max_encoding_message_size(SENT_BYTES_MAX)
            };
        }
        Self(Arc::new(Inner {
            kv: server!(KvServer),
            watch: server!(WatchServer),
            lease: server!(LeaseServer),
            cluster: server!(ClusterServer),
            maintenance: server!(MaintenanceServer),
            auth: server!(AuthServer),
            lock: server!(LockServer),
            election: server!(ElectionServer),
            health: server!(HealthServer),
            gate: Gate::default(),
            front,
        }))
    }
}

impl Inner {
    fn dispatch<B>(&self, request: Request<B>) -> Result<Answering, Status>
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        let path = request.uri().path();
        Ok(match path.split('/').nth(1).unwrap_or_default() {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "etcdserverpb.Auth" => self.auth.clone().call(request),
            "v3lockpb.Lock" => self.lock.clone().call(request),
            "v3electionpb.Election" => self.election.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            _ => return Err(nowhere(path)),
        })
    }
}

impl Services {
    /// A message that has yet to come in.
    pub(crate) fn arrival(&self) -> Arrival {
        self.0.front.arrivals.arrival()
    }

    /// Whether anybody is asked who they are.
    pub(crate) fn is_auth_enabled(&self) -> bool {
        self.0.front.core.look(|view| view.facts.auth.book.is_enabled())
    }

    /// Whether these headers show who asks; where nobody is asked, anybody does.
    pub(crate) async fn check_somebody(&self, headers: &HeaderMap) -> Result<(), Status> {
        let mut shown = tonic::Request::new(());
        if let Some(token) = headers.get(AUTHORIZATION) {
            let metadata = HeaderMap::from_iter([(AUTHORIZATION, token.clone())]);
            *shown.metadata_mut() = MetadataMap::from_headers(metadata);
        }
        self.0.front.check_call(&shown, Book::check_somebody).await.map(drop)
    }

    fn answer<B>(&self, mut request: Request<B>) -> Counted
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        let inner = &self.0;
        let calls = inner.front.metrics.calls.clone();
        let method = Calls::find(request.uri().path());
        if let Some(method) = method {
            calls.start(method);
        }
        let spans = inner.front.spans.as_ref().filter(|_| method.is_some());
        let span = spans.map(|spans| spans.begin(request.uri().path(), request.headers()));
        if let Some(span) = &span {
            request.extensions_mut().insert(span.clone());
        }
        let kind = method.map_or(Kind::Unary, |method| METHODS[method].kind);
        let wants_leader = kind != Kind::Unary && requires_leader(request.headers());
        let lost = wants_leader.then(|| Box::pin(leader_lost(inner.front.clone())) as Losing);
        let refused = |status: Status| Step::Refused(Some(Box::new(status)));
        let step = match inner.gate.check(&inner.front, kind, &request) {
            _ if method.is_none() => refused(nowhere(request.uri().path())),
            Err(refusal) => refused(status(refusal)),
            Ok(()) => {
                let most = inner.front.limits.message_bytes_max;
                let arrivals = &inner.front.arrivals;
                let request = request.map(|body| Arriving::new(body, most, arrivals));
                inner.dispatch(request).map_or_else(refused, Step::Answering)
            }
        };
        let since = Instant::now();
        Counted {
            step,
            tally: method.map(|method| Tally { calls, method, since, span, lost, is_over: false }),
        }
    }
}

/// Calls that come in by HTTP/2.
impl hyper::service::Service<Request<Incoming>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Counted;

    fn call(&self, request: Request<Incoming>) -> Counted {
        self.answer(request)
    }
}

/// Calls that a stub makes in this process.
impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Counted;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Counted {
        self.answer(request)
    }
}

/// What etcd's transport says to a call of what does not exist.
fn nowhere(path: &str) -> Status {
    let name = path.strip_prefix('/').unwrap_or(path);
    let Some((service, name)) = name.rsplit_once('/') else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    if METHODS.iter().any(|method| method.service == service) {
        return Status::unimplemented(format!("unknown method {name} for service {service}"));
    }
    Status::unimplemented(format!("unknown service {service}"))
}

/// A call under way; counts its end.
pub struct Counted {
    step: Step,
    tally: Option<Tally>,
}

enum Step {
    Answering(Answering),
    Refused(Option<Box<Status>>),
}

impl Future for Counted {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.step {
            Step::Answering(answering) => ready!(answering.as_mut().poll(cx))?,
            Step::Refused(status) => match status.take() {
                Some(status) => status.into_http(),
                None => return Poll::Pending,
            },
        };
        let answer = with_gos_words(replies::dress(answer));
        Poll::Ready(Ok(match self.tally.take() {
            Some(tally) => tally.settle(answer),
            None => answer,
        }))
    }
}

/// One call that has begun and whose end is to be counted.
struct Tally {
    calls: Calls,
    method: usize,
    since: Instant,
    span: Option<SpanContext>,
    /// Ends with the leader, if the call is a stream that wants one.
    lost: Option<Losing>,
    is_over: bool,
}

type Losing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Tally {
    fn end(&mut self, code: Code) {
        self.is_over = true;
        self.calls.end(self.method, code, self.since.elapsed());
        if let Some(span) = self.span.take() {
            spans::end(&span, code);
        }
    }

    /// An answer that is only trailers has its code in the head; a unary one without is good; a
    /// stream tells at its end.
    fn settle(mut self, answer: Response<Body>) -> Response<Body> {
        match code_of(answer.headers()) {
            Some(code) => self.end(code),
            None if METHODS[self.method].kind == Kind::Unary => self.end(Code::Ok),
            None => {
                let code = Code::Cancelled;
                return answer.map(|body| Body::new(Streaming { tally: self, code, body }));
            }
        }
        answer
    }
}

/// A call that nobody waits for any more was cancelled.
impl Drop for Tally {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Code::Cancelled);
        }
    }
}

/// The transport's own refusal of a message, as etcd's transport would have it.
fn with_gos_words(mut answer: Response<Body>) -> Response<Body> {
    if code_of(answer.headers()) == Some(Code::OutOfRange)
        && let Some(status) = Status::from_header_map(answer.headers())
    {
        // Where this one was, another is.
        let _ = message_status(status).add_header(answer.headers_mut());
    }
    answer
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// A stream's body; counts the stream's end. One that is dropped before was cancelled.
struct Streaming {
    tally: Tally,
    code: Code,
    body: Body,
}

impl Streaming {
    /// Ends the stream before it ends by itself.
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.tally.lost = None;
        self.code = status.code();
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        // Refusals are plain words, which are a header's value in any case.
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(lost) = &mut self.tally.lost
            && lost.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Ok(self.end(&status(Refusal::NoLeader)))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(code) = frame.trailers_ref().and_then(code_of)
        {
            self.code = code;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.tally.end(self.code);
    }
}
