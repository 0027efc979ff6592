//! Ports: accepting, telling HTTP/2 from HTTP/1 and gRPC from the rest, serving all of it.
//!
//! Everything comes on one port, with TLS or without. HTTP/2 opens with a fixed preface whose first
//! three bytes no HTTP/1 request has, so that many are read before anything is decided, and read
//! again by whoever serves.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;

use super::IoThreads;
use super::bind::{Accepting, Bound};
use super::capacity::{
    CONNECTIONS_MAX, DESCRIPTORS_KEPT, HANDSHAKES_AT_ONCE_MAX, PEER_CONNECTIONS_MAX, STRANGERS_MAX,
    STREAMS_MAX,
};
use super::entrance::{OtherSide, SILENCE_MAX, Visitor};
use super::exit::{Ending, Exit};
use super::flush::deferred;
use super::intake::Intake;
use super::pings::{PREFACE_BYTES, Pings, Presence};
use super::porch::Porch;
use crate::console::Console;
use crate::gateway::Gateway;
use crate::http::{Access, Pages};
use crate::metrics::Traffic;

/// What every HTTP/2 connection starts with, as far as it takes to know.
const PREFACE_START: &[u8] = b"PRI";
/// How long a client may take to hear that its connection is closed.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How long whoever broke the rules is left on a connection that nobody reads any more. Hung up on
/// at once, it would come again at once, and cost others what connections cost.
const PENANCE: Duration = Duration::from_secs(1);
/// How long an accept loop rests when the system has no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Settings of HTTP/2 connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Most streams open at once.
    pub streams_max: u32,
    /// How often an idle client is asked whether it is there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How often it may ask us; nothing to let it ask as often as it likes.
    pub keepalive_min_time: Option<Duration>,
}

impl Http2 {
    /// etcd's pace, as many streams as said, and any number of pings.
    pub const fn with_streams(streams_max: u32) -> Self {
        Self {
            streams_max,
            keepalive_interval: Duration::from_secs(7_200),
            keepalive_timeout: Duration::from_secs(20),
            keepalive_min_time: None,
        }
    }
}

/// What answers gRPC.
pub trait Grpc:
    Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Send
    + Sync
    + 'static
{
}

impl<S> Grpc for S where
    S: Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Send
        + Sync
        + 'static
{
}

/// What answers requests that are no gRPC.
pub trait Asked: Send + Sync + 'static {
    /// Answers one.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

impl Asked for Pages {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        Pages::answer(self, request).await
    }
}

/// What stands behind a port.
pub struct Port<G, P = Pages> {
    /// Answers gRPC.
    pub grpc: Option<G>,
    /// Answers the same calls in JSON.
    pub gateway: Option<Gateway>,
    /// Answers people.
    pub console: Option<Console>,
    /// Who may ask by HTTP; anybody where nothing is said.
    pub access: Option<Access>,
    /// Answers everything else; a port without pages closes connections of HTTP/1.
    pub pages: Option<P>,
    /// How HTTP/2 is spoken.
    pub http2: Http2,
    /// What passes in it, for whoever counts.
    pub traffic: Traffic,
}

impl<G, P: Asked> Port<G, P> {
    /// Answers what is not gRPC, until the server stops.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        stop: watch::Receiver<bool>,
    ) -> Result<Response<Body>, Infallible> {
        let answer = match self.access.as_ref().map(|access| access.judge(&request)) {
            None => self.route(request).await,
            Some(Ok(grant)) => {
                let mut answer = self.route(request).await;
                grant.note(answer.headers_mut());
                answer
            }
            Some(Err(page)) => page.map(Body::new),
        };
        Ok(answer.map(|body| Body::new(Ending::new(body, stop))))
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        match (&self.gateway, &self.console, &self.pages) {
            (Some(gateway), ..) if Gateway::owns(path) => gateway.answer(request).await,
            (_, Some(console), _) if Console::owns(path) => console.answer(request).await,
            (.., Some(pages)) => pages.answer(request).await.map(Body::new),
            (.., None) => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                answer
            }
        }
    }
}

/// Whether a request of HTTP/2 is a call in gRPC. etcd looks only under TLS: on its plain ports
/// HTTP/2 is gRPC or refused.
fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// Connections that are open, and the word to end them.
#[derive(Debug)]
pub struct Connections {
    clients: Arc<Lot>,
    peers: Arc<Lot>,
    stop: watch::Sender<bool>,
}

/// Room for connections of one kind: neither kind takes the other's.
#[derive(Debug)]
struct Lot {
    size: usize,
    open: Arc<Semaphore>,
    porch: Arc<Porch>,
    /// Handshakes that are calculated.
    turns: Semaphore,
}

impl Lot {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            open: Arc::new(Semaphore::new(size)),
            porch: Porch::new(STRANGERS_MAX.min(size)),
            turns: Semaphore::new(HANDSHAKES_AT_ONCE_MAX),
        })
    }

    async fn is_empty(&self) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        // Nobody closes it.
        let _ = self.open.acquire_many(all).await;
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::within(usize::MAX)
    }
}

impl Connections {
    /// As many as a process with so many descriptors can have.
    pub fn within(descriptors: usize) -> Self {
        let kept = DESCRIPTORS_KEPT + PEER_CONNECTIONS_MAX.min(descriptors / 4);
        let clients = CONNECTIONS_MAX.min(descriptors.saturating_sub(kept)).max(1);
        Self {
            clients: Lot::new(clients),
            peers: Lot::new(PEER_CONNECTIONS_MAX.min(descriptors / 4).max(1)),
            stop: watch::channel(false).0,
        }
    }

    /// Asks all to finish what they do, and waits for that; at most so long.
    pub async fn drain(&self, wait_max: Duration) {
        self.stop.send_replace(true);
        let drained = async { tokio::join!(self.clients.is_empty(), self.peers.is_empty()) };
        // Those that are not done by then are cut off with their threads.
        let _ = tokio::time::timeout(wait_max, drained).await;
    }

    /// Accepts until asked to stop, handing each connection to the next thread.
    pub async fn accept<G: Grpc, P: Asked>(
        &self,
        bound: Bound,
        port: Arc<Port<G, P>>,
        threads: &IoThreads,
    ) {
        let Bound { listener, entrance, .. } = bound;
        let Ok(listener) = Accepting::new(listener) else { return };
        let lot = if entrance.is_for_peers() { &self.peers } else { &self.clients };
        let mut stopped = self.stop.subscribe();
        let next = async || {
            let permit = lot.open.clone().acquire_owned().await.ok()?;
            let arrived = listener.accept().await;
            Some((permit, arrived, lot.porch.enter().await?))
        };
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|is_over| *is_over) => return,
                accepted = next() => accepted,
            };
            let Some((permit, arrived, guest)) = accepted else { return };
            let Ok(arrived) = arrived else {
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            };
            let (port, mut stop) = (port.clone(), self.stop.subscribe());
            let (entrance, lot) = (entrance.clone(), lot.clone());
            threads.next().spawn(async move {
                let _permit = permit;
                let from = arrived.from();
                let visitor = tokio::select! {
                    biased;
                    _ = stop.wait_for(|is_over| *is_over) => return,
                    visitor = entrance.let_in(arrived.open(), from, guest, &lot.turns) => visitor,
                };
                if let Some(Visitor { io, head, other_side }) = visitor {
                    // What ends a connection is its client's affair.
                    let _ = serve_known(io, (head, other_side), port, stop).await;
                }
            });
        }
    }
}

/// Serves one connection to its end.
pub async fn serve<T, G, P>(
    io: T,
    port: Arc<Port<G, P>>,
    stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Grpc,
    P: Asked,
{
    serve_known(io, (BytesMut::new(), OtherSide::default()), port, stop).await
}

/// The same, when something was heard and is known already.
async fn serve_known<T, G, P>(
    mut io: T,
    (mut head, other_side): (BytesMut, OtherSide),
    port: Arc<Port<G, P>>,
    stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Grpc,
    P: Asked,
{
    let mut stopped = stop.clone();
    let is_http2 = tokio::select! {
        biased;
        _ = stopped.wait_for(|is_over| *is_over) => return Ok(()),
        found = tokio::time::timeout(SILENCE_MAX, sniff(&mut io, &mut head)) => found??,
    };
    let io = Intake::new(io, head);
    match is_http2 {
        true => serve_http2(io, other_side, port, stop).await,
        false if port.pages.is_none() => Ok(()),
        false => serve_http1(io, other_side, port, stop).await,
    }
}

/// Whether these first words are HTTP/2's, as far as they go, and more of them must come.
pub(super) fn is_half_a_preface(head: &[u8]) -> bool {
    let known = head.len().min(PREFACE_START.len());
    head[..known] == PREFACE_START[..known] && head.len() < PREFACE_BYTES
}

/// Reads until it is clear what is spoken; of HTTP/2 the whole preface, so that nobody leaves its
/// server waiting for the rest.
async fn sniff<T: AsyncRead + Unpin>(io: &mut T, head: &mut BytesMut) -> io::Result<bool> {
    loop {
        if !is_half_a_preface(head) {
            return Ok(head.starts_with(PREFACE_START));
        }
        let mut bytes = [0; PREFACE_BYTES];
        let read = io.read(&mut bytes[head.len()..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&bytes[head.len()..][..read]);
    }
}

async fn serve_http2<T, G, P>(
    io: Intake<T>,
    other_side: OtherSide,
    port: Arc<Port<G, P>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Grpc,
    P: Asked,
{
    let presence = Arc::new(Presence::default());
    let pings = port.http2.keepalive_min_time.map(|min| Pings::new(min, presence.clone()));
    let (io, turns) = deferred(io.for_http2(pings), port.traffic.clone());
    let closing = turns.clone();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(port.http2.streams_max.min(STREAMS_MAX))
        .keep_alive_interval(port.http2.keepalive_interval)
        .keep_alive_timeout(port.http2.keepalive_timeout)
        .auto_date_header(false);
    let until = stop.clone();
    let answer = service_fn(|mut request: Request<Incoming>| {
        other_side.mark(&mut request);
        let call = presence.enter();
        let answering = match &port.grpc {
            Some(grpc) if is_grpc(&request) => Either::Left(grpc.call(request)),
            _ => Either::Right(Box::pin(port.clone().answer(request, until.clone()))),
        };
        async move { answering.await.map(|answer| call.follow(answer)) }
    });
    let connection = builder.serve_connection(TokioIo::new(io), answer);
    let stopped = stop.clone();
    let serving = async {
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            _ = stop.wait_for(|is_over| *is_over) => connection.as_mut().graceful_shutdown(),
            () = presence.enough() => return None,
            ended = connection.as_mut() => return Some(ended),
        }
        Some(connection.await)
    };
    match turns.drive(serving).await {
        Some(Err(error)) => {
            if is_broken_rule(&error) {
                do_penance(stopped).await;
            }
            Err(error.into())
        }
        Some(Ok(())) => Ok(()),
        None => {
            let goodbye = presence.goodbye();
            let said = tokio::time::timeout(GOODBYE_MAX, closing.say_last(&goodbye)).await;
            do_penance(stopped).await;
            Ok(said??)
        }
    }
}

/// Waits for as long as a penance takes, or until the server stops.
async fn do_penance(mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        _ = stopped.wait_for(|is_over| *is_over) => {}
        () = tokio::time::sleep(PENANCE) => {}
    }
}

/// Whether a connection was ended because its client broke a rule of HTTP/2.
fn is_broken_rule(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(h2::Error::is_library)
}

async fn serve_http1<T, G, P>(
    io: Intake<T>,
    other_side: OtherSide,
    port: Arc<Port<G, P>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Grpc,
    P: Asked,
{
    let (exit, mut taken) = Exit::new();
    let until = stop.clone();
    let answer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(exit.clone());
        other_side.mark(&mut request);
        port.clone().answer(request, until.clone())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE_MAX)
        .serve_connection(TokioIo::new(io), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let is_over = tokio::select! {
        biased;
        _ = stop.wait_for(|is_over| *is_over) => false,
        ended = connection.as_mut() => { ended?; true }
    };
    if !is_over {
        connection.as_mut().graceful_shutdown();
        connection.await?;
    }
    if let Ok(afterlife) = taken.try_recv() {
        tokio::select! {
            biased;
            _ = stop.wait_for(|is_over| *is_over) => {}
            () = afterlife => {}
        }
    }
    Ok(())
}

/// A service that answers nothing, for ports without gRPC.
#[derive(Clone, Copy, Debug)]
pub enum NoGrpc {}

impl Service<Request<Incoming>> for NoGrpc {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn call(&self, _: Request<Incoming>) -> Self::Future {
        match *self {}
    }
}

#[cfg(test)]
mod tests;
