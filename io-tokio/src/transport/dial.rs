//! Connecting to other members, by what their URLs say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint, Uri};

use super::bind::Wire;
use crate::cli::{Place, Url};
use crate::tls::{Keyring, explain};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long a handshake may take on top.
const HANDSHAKE_MAX: Duration = Duration::from_secs(3);
/// How often an idle member is asked whether it is there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(3);

/// Connects, showing and believing what the keyring has.
#[derive(Clone, Debug)]
pub struct Dialer {
    keyring: Arc<Keyring>,
}

impl Dialer {
    /// One with these keys.
    pub const fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring }
    }

    /// A connection to a member at one of its URLs, for calls.
    pub(super) async fn channel(&self, url: &str) -> Result<Channel, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let scheme = if url.is_secure { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", url.authority()));
        let endpoint = endpoint.map_err(|error| error.to_string())?;
        let dialer = self.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let (dialer, url) = (dialer.clone(), url.clone());
            async move { dialer.connect(&url).await.map(TokioIo::new).map_err(Failure) }
        });
        endpoint
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector(connect)
            .await
            .map_err(|error| innermost(&error))
    }

    /// A page of another member's, over a connection of its own; larger ones are refused.
    pub async fn page(
        &self,
        url: &Url,
        path: &str,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, String> {
        let told = |error: &dyn std::error::Error| error.to_string();
        let stream = self.connect(url).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| told(&error))?;
        let request = Request::get(path)
            .header(header::HOST, url.authority())
            .body(Empty::<Bytes>::new())
            .map_err(|error| told(&error))?;
        let answering = async {
            let answer = sender.send_request(request).await.map_err(|error| told(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, bytes_max).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::select! {
            biased;
            answer = answering => answer,
            _ = connection => Err("the connection was closed".to_owned()),
        }
    }

    /// A bare connection.
    pub async fn connect(&self, url: &Url) -> Result<Wire, String> {
        let connecting = tokio::time::timeout(CONNECT_MAX, connect(&url.place));
        let io = connecting.await.map_err(|_| format!("no connection within {CONNECT_MAX:?}"))?;
        let io = io.map_err(|error| error.to_string())?;
        if !url.is_secure {
            return Ok(io);
        }
        let host = match &url.place {
            Place::Port { host, .. } => host.clone(),
            Place::File(_) => url.authority(),
        };
        let name = ServerName::try_from(host)
            .map_err(|error| format!("{url} names no host that a certificate can name: {error}"))?;
        let connector = TlsConnector::from(self.keyring.fresh().await.client.clone());
        let shaking = tokio::time::timeout(HANDSHAKE_MAX, connector.connect(name, io));
        let shaken = shaking.await.map_err(|_| format!("no handshake within {HANDSHAKE_MAX:?}"))?;
        Ok(Box::new(shaken.map_err(|error| explain(&error))?))
    }
}

async fn connect(place: &Place) -> std::io::Result<Wire> {
    Ok(match place {
        Place::Port { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Place::File(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

/// What an error is about in the end: those around it say only that there is one.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(error) => explain(error),
        None => error.source().map_or_else(|| error.to_string(), innermost),
    }
}
