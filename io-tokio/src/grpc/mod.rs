//! The gRPC services: decode, hand in, await, encode. No rule of behaviour lives here.
//!
//! ```text
//! path -> gate -> tonic's generated server -> one file per service -> Core -> answer
//!          |                                                            |
//!          no leader, not capable                                  Refusal -> status.rs
//! ```
//!
//! Invariants
//! - A request is answered, refused, or abandoned by its client; it never panics the server.
//! - Only `status.rs` knows codes and texts; only `reads.rs` knows how a view is read.
//! - A watch stream outlives its client's half-close, and ends with the client or with the server.
//!
//! Deliberately absent: permission checks, retries, a routing framework.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3rpc/`

mod auth;
mod cluster;
mod election;
mod gate;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
pub mod reads;
mod recipes;
mod services;
mod snapshot;
pub mod status;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use quorate_core::error::Refusal;
use quorate_core::{Request, Response, View};
use quorate_proto::etcdserverpb as pb;
use tonic::Status;

use crate::driver::Core;
use crate::metrics::Metrics;

pub use services::Services;

/// What every service needs.
#[derive(Clone)]
pub struct Front {
    /// The machines.
    pub core: Core,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What the settings say about calls.
    pub limits: Limits,
}

/// What the settings say about calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message a client may send, and the size from which watch responses are cut.
    pub message_bytes_max: usize,
    /// Largest request: what a chunk of a range aims at.
    pub request_bytes_max: usize,
    /// The pace at which a leader is missed.
    pub election_timeout: Duration,
    /// The quota, as told by `Status`; 0 for none.
    pub quota_backend_bytes: u64,
    /// Most operations in one transaction.
    pub txn_ops_max: usize,
}

/// A stream of answers.
type Answers<T> =
    std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<T, tonic::Status>> + Send>>;

/// A service of generated shape: calls served by hand, and calls that answer `Unimplemented`.
macro_rules! service {
    (
        impl $service:ident for $front:ident {
            $({ $($served:tt)* })?
            $(absent $name:ident($request:ty) -> $response:ty;)*
        }
    ) => {
        #[tonic::async_trait]
        impl $service for $front {
            $($($served)*)?
            $(async fn $name(
                &self,
                _: tonic::Request<$request>,
            ) -> Result<tonic::Response<$response>, tonic::Status> {
                $crate::grpc::status::unserved(stringify!($name))
            })*
        }
    };
}
use service;

/// Hands a request in and takes the answer of its kind out.
macro_rules! ask {
    ($front:expr, $kind:ident, $request:expr) => {
        match $front.request(quorate_core::Request::$kind($request)).await? {
            quorate_core::Response::$kind(answer) => Ok(tonic::Response::new(answer)),
            _ => Err(tonic::Status::internal("the answer is another request's")),
        }
    };
}
use ask;

impl Front {
    /// Hands a request in; counts those that fail.
    async fn request(&self, request: Request) -> Result<Response, Status> {
        self.core.request(request).await.map_err(|refusal| {
            if is_failure(refusal) {
                self.metrics.proposals_failed.add(1);
            }
            status::status(refusal)
        })
    }

    /// A view that is current, or the newest one if stale data will do. Learners have no other.
    async fn view(&self, is_serializable: bool) -> Result<View, Status> {
        let view = self.core.view();
        if is_serializable {
            return Ok(view);
        }
        if gate::is_learner(&view.facts) {
            return Err(status::status(Refusal::NotSupportedForLearner));
        }
        self.core.read().await.map_err(status::status)
    }

    /// A header for something that happened now.
    fn header(&self) -> pb::ResponseHeader {
        let view = self.core.view();
        view.header(reads::revision(&view))
    }
}

/// Refusals that are the cluster's failure, not the client's.
const fn is_failure(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Timeout
            | Refusal::TimeoutDueToLeaderFail
            | Refusal::TimeoutDueToConnectionLost
            | Refusal::LeaderChanged
            | Refusal::NoLeader
            | Refusal::Stopped
    )
}
