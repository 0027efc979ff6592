//! A connection with nothing between a call and hyper's HTTP/2: no queue, no task that dials
//! again. Whoever measures servers wants to measure little else.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::body::Body;
use tower_service::Service;

use crate::cli::Url;
use crate::transport::{DialError, Heard, Patience, innermost};

/// How much of one answer may be under way.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// How much of all answers of a connection may be.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub struct Direct {
    sender: SendRequest<Body>,
    scheme: Scheme,
    authority: Authority,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Direct {
    /// Begins HTTP/2; the current runtime then drives it.
    pub(super) async fn begin(
        url: &Url,
        wire: Heard,
        patience: Patience,
    ) -> Result<Self, DialError> {
        let authority = Authority::try_from(url.authority());
        let authority = authority.map_err(|error| DialError::Address(error.to_string()))?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(patience.keepalive_time)
            .keep_alive_timeout(patience.keepalive_timeout)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| DialError::Silent(innermost(&error)))?;
        tokio::spawn(driver);
        let scheme = if url.is_secure { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Self { sender, scheme, authority })
    }

    /// Whether no further call can be made on it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// What a path is at that server.
    fn locate(&self, path: &Uri) -> Uri {
        let mut parts = path.clone().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl Service<Request<Body>> for Direct {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        *request.uri_mut() = self.locate(request.uri());
        Box::pin(self.sender.send_request(request))
    }
}
