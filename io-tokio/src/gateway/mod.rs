//! JSON over HTTP, for the calls of the gRPC services and with nothing of its own to say.
//!
//! ```text
//! POST /v3/kv/put {"key":"Zm9v"}                    {"header":{"revision":"2",...}}
//!      |                  |                                      ^
//!   routes: path     json: text to bytes, shapes: by which names and numbers,
//!   -> method        call: a client's stub, in process ──> grpc::Services ─┘
//! ```
//!
//! A call goes through the same gate, counters and services as one that comes in gRPC: a service
//! that begins to be served there is served here. Streams answer with a line of JSON per message,
//! each in an HTTP chunk of its own, or in a frame of its own where a websocket was asked for.
//!
//! Invariants
//! - Fields are written under their proto names, zero values left out, 64-bit numbers as text,
//!   without any white space: clients and tests compare bytes.
//! - What a client sends is held only up to [`Gateway::new`]'s limit, and nested only as deep as
//!   the parser goes; whatever it is, it is answered.
//! - An answer to a stream has no head before its first message: a call that fails at once fails
//!   with an HTTP code.
//! - The end of a request's body is a half-close. So is, on streams, anything that is no message.
//!
//! Deliberately absent: `Grpc-Timeout`, method overrides, redirects to cleaned-up paths, escapes
//! in paths, tokens in cookies, trailers.
//!
//! Answers to: etcd v3.7.1 `server/embed/serve.go`, `api/etcdserverpb/gw/`; grpc-gateway v2.29
//! `runtime/`

mod call;
mod codec;
mod input;
mod json;
mod reply;
mod routes;
mod shapes;
mod websocket;

use std::sync::Arc;

use futures_util::{future, stream};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use crate::grpc::Services;
use crate::transport::CertifiedName;
use routes::Route;

pub use codec::AsBytes;
pub(crate) use json::{go_message, go_text};
pub(crate) use reply::refusal;

/// How much larger than the message it stands for JSON may be: base64 takes a third more, short
/// fields have long names.
const JSON_GROWTH_MAX: usize = 4;

/// The gateway of a client port; cloning is cheap.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    services: Services,
    json_bytes_max: usize,
}

impl Gateway {
    /// A gateway to services that take messages of at most so many bytes.
    pub fn new(services: Services, message_bytes_max: usize) -> Self {
        let json_bytes_max = message_bytes_max.saturating_mul(JSON_GROWTH_MAX);
        Self(Arc::new(Inner { services, json_bytes_max }))
    }

    /// Whether a path is one of a gateway's, known to it or not.
    pub fn owns(path: &str) -> bool {
        routes::below_root(path).is_some()
    }

    /// Answers a request for a path it owns.
    pub async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        if self.is_misnamed(&request) {
            return reply::misnamed();
        }
        if let Some(answer) = websocket::accept(self, &mut request) {
            return answer;
        }
        match self.answer_post(request).await {
            Ok(answer) => answer,
            Err(status) => reply::refusal(&status),
        }
    }

    /// Whether the client may believe that the name in its certificate counts here.
    fn is_misnamed<B>(&self, request: &Request<B>) -> bool {
        let name = request.extensions().get::<CertifiedName>();
        name.is_some_and(|name| !name.0.is_empty()) && self.0.services.is_auth_enabled()
    }

    async fn answer_post(&self, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let route = find(request.uri().path())?;
        if request.method() != Method::POST {
            return Err(Status::unimplemented("Method Not Allowed"));
        }
        let metadata = metadata(request.headers());
        let body = request.into_body();
        let bytes_max = self.0.json_bytes_max;
        if route.is_client_streaming {
            let (pieces, gone) = input::pieces(body);
            let mut gone = Box::pin(gone);
            let messages =
                input::messages(pieces, route.takes, bytes_max, self.0.services.arrival());
            let answers = tokio::select! {
                biased;
                answers = self.call(route, metadata, messages) => answers?,
                () = &mut gone => return Err(Status::cancelled("the client left")),
            };
            return reply::answer(answers, gone);
        }
        let text = input::whole(body, bytes_max, self.0.services.arrival()).await?;
        let messages = stream::iter([json::read(route.takes, &text)?]);
        let answers = self.call(route, metadata, messages).await?;
        reply::answer(answers, future::pending())
    }
}

fn find(path: &str) -> Result<&'static Route, Status> {
    routes::find(path).ok_or_else(|| Status::not_found("Not Found"))
}

/// What of a request's head the services may see: who asks, and what is marked as meant for them.
fn metadata(headers: &HeaderMap) -> MetadataMap {
    let mut seen = HeaderMap::new();
    for (name, value) in headers {
        let name = match name.as_str().strip_prefix("grpc-metadata-") {
            // The rest is between the stub and the services.
            Some(marked) if marked.starts_with("grpc-") => continue,
            Some(marked) => HeaderName::from_bytes(marked.as_bytes()).ok(),
            None => (name == AUTHORIZATION).then_some(AUTHORIZATION),
        };
        if let Some(name) = name {
            seen.append(name, value.clone());
        }
    }
    MetadataMap::from_headers(seen)
}
