//! Calls, handed on to a member as they are.
//!
//! Whatever the service, a call is a request with a path, metadata and messages, and so is its
//! answer: nothing needs to be known of them but which have keys, where there is a namespace.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::service::Service;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::frames::{Change, Frames, Refusal};
use super::namespace::{Namespace, Rename};
use crate::client::Client;

/// How long a call waits for a member that can be reached.
const MEMBER_WITHIN: Duration = Duration::from_secs(5);

/// What hands calls on.
#[derive(Clone)]
pub(super) struct Forward {
    pub(super) client: Arc<Client>,
    pub(super) namespace: Option<Namespace>,
    /// The largest message to a member, and the largest from one.
    pub(super) sent_bytes_max: usize,
    pub(super) received_bytes_max: usize,
    pub(super) counts: Arc<Counts>,
}

/// How many calls there were.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) forwarded: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Forward {
    async fn forward(self, request: Request<Incoming>) -> Response<Body> {
        self.counts.forwarded.fetch_add(1, Ordering::Relaxed);
        match self.answer(request).await {
            Ok(answer) => answer,
            Err(status) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                status.into_http()
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let renames = match &self.namespace {
            Some(namespace) => Namespace::renames(head.uri.path()).map(|them| (namespace, them)),
            None => None,
        };
        let change = |of: Option<(&Namespace, Rename)>| {
            let (namespace, rename) = of.map(|(namespace, rename)| (namespace.clone(), rename))?;
            Some(Box::new(move |message| rename(&namespace, message)) as Change)
        };
        let outgoing = change(renames.map(|(namespace, them)| (namespace, them.request)));
        let incoming = change(renames.map(|(namespace, them)| (namespace, them.response)));
        // It may become another, and what has keys must be legible.
        head.headers.remove(header::CONTENT_LENGTH);
        if renames.is_some() {
            head.headers.remove("grpc-accept-encoding");
        }
        let refusal = Refusal::default();
        let body = Frames::to_member(body, self.sent_bytes_max, outgoing, refusal.clone());
        let channel = tokio::time::timeout(MEMBER_WITHIN, self.client.channel()).await;
        let channel = channel.map_err(|_| Status::unavailable("no member can be reached"))?;
        let called = channel.oneshot(Request::from_parts(head, Body::new(body))).await;
        let answer = match called {
            Ok(answer) => answer,
            Err(error) => match refusal.get() {
                Some(refused) => return Err(refused.clone()),
                None => return Err(self.failed(error.into()).await),
            },
        };
        let limit = self.received_bytes_max;
        Ok(answer.map(|body| Body::new(Frames::to_client(body, limit, incoming))))
    }

    /// What the client is told; the next call goes to another member if this one is gone.
    async fn failed(&self, error: Box<dyn std::error::Error + Send + Sync>) -> Status {
        let status = Status::from_error(error);
        match status.code() {
            Code::Unknown | Code::Unavailable | Code::Cancelled | Code::Internal => {
                self.client.hang_up().await;
                Status::unavailable(status.message())
            }
            _ => status,
        }
    }
}

impl Service<Request<Incoming>> for Forward {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.forward(request).await) })
    }
}
