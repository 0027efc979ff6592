//! Connecting to servers, by what their URLs say: to other members, to a discovery service, and to
//! whomever the client is told to ask.
//!
//! ```text
//! Url ──> socket ──> handshake, if it is secure ──> channel: for calls, once the other side has
//!                                              │             said a word
//!                                              └──> get: a page over HTTP/1.1
//! ```
//!
//! Invariants
//! - A channel is one connection. Whoever loses it asks for another, and hears why there is none.
//! - A channel is there only when its other side speaks: one that refuses a certificate says so
//!   only after the handshake.

use std::fmt;
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint, Uri};

use super::bind::Wire;
use super::heard::Heard;
use crate::cli::{Place, Url};
use crate::tls::{Keyring, explain};

/// Connects, showing and believing what the keyring has.
#[derive(Clone, Debug)]
pub struct Dialer {
    keyring: Arc<Keyring>,
    patience: Patience,
    /// Whom certificates must name, if not whom the URL names.
    server_name: Option<String>,
    ways: Arc<dyn Ways>,
}

/// Where connections come from.
pub trait Ways: fmt::Debug + Send + Sync {
    /// A bare connection to that place.
    fn dial<'a>(&'a self, place: &'a Place) -> Dialing<'a>;
}

/// See [`Ways`].
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send + 'a>>;

/// The system's sockets.
#[derive(Debug)]
struct Sockets;

impl Ways for Sockets {
    fn dial<'a>(&'a self, place: &'a Place) -> Dialing<'a> {
        Box::pin(dial(place))
    }
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For a handshake on top, and then for a first word.
    pub handshake: Duration,
    /// In silence, before the other side is asked whether it is there.
    pub keepalive_time: Duration,
    /// For the answer to that.
    pub keepalive_timeout: Duration,
    /// Whether one asks even if nothing else is waited for.
    pub asks_when_idle: bool,
}

impl Patience {
    /// That of a client, which may wait so long for a connection, before it probes it, and for the
    /// answer.
    pub const fn of_client(
        dial_timeout: Duration,
        keepalive_time: Duration,
        keepalive_timeout: Duration,
    ) -> Self {
        Self {
            connect: dial_timeout,
            handshake: dial_timeout,
            keepalive_time,
            keepalive_timeout,
            asks_when_idle: false,
        }
    }
}

/// Members are near, and others take over from one that is not.
impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            handshake: Duration::from_secs(3),
            keepalive_time: Duration::from_secs(3),
            keepalive_timeout: Duration::from_secs(3),
            asks_when_idle: true,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The URL is none, or names nobody.
    #[error("{0}")]
    Address(String),
    /// Nobody is there.
    #[error("{0}")]
    Unreachable(String),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(String),
    /// It was there, and did not speak.
    #[error("{0}")]
    Silent(String),
}

impl Dialer {
    /// One with these keys, for members.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, patience: Patience::default(), server_name: None, ways: Arc::new(Sockets) }
    }

    /// The same one, waiting for so long.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// For how long it waits.
    pub(crate) const fn patience(&self) -> Patience {
        self.patience
    }

    /// The same one, by other ways than the system's sockets.
    pub fn by(self, ways: Arc<dyn Ways>) -> Self {
        Self { ways, ..self }
    }

    /// The same one, which wants certificates to name this host.
    pub fn expecting(self, server_name: String) -> Self {
        Self { server_name: Some(server_name), ..self }
    }

    /// A connection for calls to a server at this URL.
    pub async fn channel(&self, url: &str) -> Result<Channel, DialError> {
        let Patience { keepalive_time, keepalive_timeout, asks_when_idle, .. } = self.patience;
        self.begin(url, async |url: &Url, wire| {
            let scheme = if url.is_secure { "https" } else { "http" };
            let endpoint = Endpoint::from_shared(format!("{scheme}://{}", url.authority()));
            let endpoint = endpoint.map_err(|error| DialError::Address(error.to_string()))?;
            let mut wire = Some(TokioIo::new(wire));
            let lost = || io::Error::other("the connection was lost");
            let connect = tower::service_fn(move |_: Uri| ready(wire.take().ok_or_else(lost)));
            endpoint
                .http2_keep_alive_interval(keepalive_time)
                .keep_alive_timeout(keepalive_timeout)
                .keep_alive_while_idle(asks_when_idle)
                .connect_with_connector(connect)
                .await
                .map_err(|error| DialError::Silent(innermost(&error)))
        })
        .await
    }

    /// Begins HTTP/2 on a connection to a server at this URL, and waits until it speaks.
    pub(crate) async fn begin<T>(
        &self,
        url: &str,
        begin: impl AsyncFnOnce(&Url, Heard) -> Result<T, DialError>,
    ) -> Result<T, DialError> {
        let url = Url::parse(url).map_err(|error| DialError::Address(error.to_string()))?;
        let (wire, heard) = Heard::new(self.wire(&url, b"h2").await?);
        let begun = begin(&url, wire).await?;
        let handshake = self.patience.handshake;
        let late = |_| DialError::Silent(format!("not a word within {handshake:?}"));
        match timeout(handshake, heard).await.map_err(late)? {
            Ok(outcome) => outcome.map_err(DialError::Silent)?,
            Err(_) => return Err(DialError::Silent("the connection was closed".to_owned())),
        }
        Ok(begun)
    }

    /// Whether there is a server with TLS and the right certificate; the error says why not.
    pub async fn check(&self, url: &Url) -> Result<(), String> {
        if !url.is_secure {
            return Err(format!("\"{url}\" is insecure"));
        }
        let wire = self.wire(url, b"h2").await;
        wire.map(drop).map_err(|error| format!("\"{url}\" failed to dial ({error})"))
    }

    /// A page of a server, of at most so many bytes.
    pub async fn get(
        &self,
        url: &Url,
        path: &str,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, String> {
        let wire = self.wire(url, b"http/1.1").await.map_err(|error| error.to_string())?;
        let told = |error: hyper::Error| innermost(&error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.map_err(told)?;
        let request = Request::get(path)
            .header(header::HOST, url.authority())
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answering = async {
            let (head, body) = sender.send_request(request).await.map_err(told)?.into_parts();
            let body = Limited::new(body, bytes_max).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::select! {
            biased;
            answer = answering => answer,
            // It ends only with the answer, or by an error.
            ended = connection => {
                Err(ended.err().map_or("the connection was closed".to_owned(), told))
            }
        }
    }

    /// A bare connection on which that protocol will be spoken.
    async fn wire(&self, url: &Url, protocol: &[u8]) -> Result<Wire, DialError> {
        let Patience { connect, handshake, .. } = self.patience;
        let late = |_| DialError::Unreachable(format!("no connection within {connect:?}"));
        let io = timeout(connect, self.ways.dial(&url.place)).await.map_err(late)?;
        let io = io.map_err(|error| DialError::Unreachable(error.to_string()))?;
        if !url.is_secure {
            return Ok(io);
        }
        let name = ServerName::try_from(self.name_of(url)).map_err(|error| {
            let why = format!("{url} names no host that a certificate can name: {error}");
            DialError::Address(why)
        })?;
        let connector = TlsConnector::from(self.keyring.fresh().await.client.clone());
        let shaking = connector.with_alpn(vec![protocol.to_vec()]).connect(name, io);
        let late = |_| DialError::Handshake(format!("no handshake within {handshake:?}"));
        let shaken = timeout(handshake, shaking).await.map_err(late)?;
        Ok(Box::new(shaken.map_err(|error| DialError::Handshake(explain(&error)))?))
    }

    /// Whom a certificate there must name.
    fn name_of(&self, url: &Url) -> String {
        match (&self.server_name, &url.place) {
            (Some(name), _) => name.clone(),
            (None, Place::Port { host, .. }) => host.clone(),
            (None, Place::File(_)) => url.authority(),
        }
    }
}

async fn dial(place: &Place) -> io::Result<Wire> {
    Ok(match place {
        Place::Port { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Place::File(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// What an error is about in the end: those around it say only that there is one.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(error) => explain(error),
        None => error.source().map_or_else(|| error.to_string(), innermost),
    }
}
