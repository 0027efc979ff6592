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
//! Deliberately absent: retries, a routing framework.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3rpc/`

mod arrivals;
mod auth;
mod cluster;
mod election;
mod gate;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod pace;
mod passwords;
pub mod reads;
mod recipes;
pub(crate) mod replies;
mod services;
mod snapshot;
mod span;
pub mod status;
mod trace;
mod watch;
mod who;

use std::sync::Arc;
use std::time::Duration;

use quorate_core::error::Refusal;
use quorate_core::{Memory, Request, Response, View};
use tonic::Status;

use crate::driver::Core;
use crate::metrics::Metrics;
use crate::spans::Spans;
use crate::tokens::Tokens;

pub(crate) use arrivals::Arrival;
pub use arrivals::Arrivals;
pub use passwords::Passwords;
pub use replies::Replies;
pub use services::Services;
pub use trace::Patience;
use who::Shown;

/// What every service needs.
#[derive(Clone)]
pub struct Front {
    /// The machines.
    pub core: Core,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Where passwords are hashed and compared.
    pub passwords: Passwords,
    /// What users get for them.
    pub tokens: Tokens,
    /// Where spans of calls go, if anywhere.
    pub spans: Option<Spans>,
    /// Large answers on their way.
    pub replies: Replies,
    /// Messages on their way in.
    pub arrivals: Arrivals,
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
    /// What calls may take before somebody hears of it.
    pub patience: Patience,
}

/// A stream of answers.
type Answers<T> =
    std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<T, tonic::Status>> + Send>>;

/// Hands a request in and takes the answer of its kind out.
macro_rules! ask {
    ($front:expr, $kind:ident, $call:expr) => {{
        let call = $call;
        let shown = $crate::grpc::Shown::of(&call);
        $crate::grpc::ask!($front, $kind, call.into_inner(), &shown)
    }};
    ($front:expr, $kind:ident, $request:expr, $shown:expr) => {
        match $front.request($shown, quorate_core::Request::$kind($request)).await? {
            quorate_core::Response::$kind(answer) => Ok(tonic::Response::new(answer)),
            _ => Err(tonic::Status::internal("the answer is another request's")),
        }
    };
}
use ask;

impl Front {
    /// Hands a request in, in the name of whoever shows that; counts those that fail.
    async fn request(&self, shown: &Shown, request: Request) -> Result<Response, Status> {
        let who = self.identify(shown).await;
        self.core.request(who, request).await.map_err(|refusal| {
            if is_failure(refusal) {
                self.metrics.proposals_failed.add(1);
            }
            status::status(refusal)
        })
    }

    /// Whether there is memory for something large now, or will be when its turn comes.
    fn has_memory(&self, has_turn: bool) -> Result<bool, Status> {
        match self.core.look(|view| view.facts.memory) {
            Memory::Enough => Ok(true),
            Memory::Short => Ok(has_turn),
            Memory::Out => Err(status::status(Refusal::RequestTooManyRequests)),
        }
    }

    /// A view that is current, or the newest one if stale data will do. Learners have no other.
    async fn view(&self, is_serializable: bool) -> Result<View, Status> {
        let view = self.core.view();
        if view.suffices(is_serializable) {
            return Ok(view);
        }
        if gate::is_learner(&view.facts) {
            return Err(status::status(Refusal::NotSupportedForLearner));
        }
        self.core.read().await.map_err(status::status)
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
