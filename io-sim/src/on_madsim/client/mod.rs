//! A client in the shape of the `etcd-client` crate, for services that are tested on madsim.
//!
//! ```text
//!   let mut client = Client::connect(cluster.endpoints(), None).await?;
//!   client.put("key", "value", None).await?;
//! ```
//!
//! It runs on a node that has an address, as everything on madsim's network does. It asks one
//! member after the other:
//! - what surely did not reach a member, and what only reads, is asked again elsewhere, until the
//!   timeout;
//! - a change whose connection broke may have been made: the caller is told, and decides.
//!
//! Absent: users and passwords, TLS, lock and election services, maintenance beside `status`.

mod error;
mod kv;
mod lease;
mod members;
mod watch;
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use madsim::net::Endpoint;
use madsim::time::{Instant, sleep, timeout};
use quorate_core::error::Refusal;
use quorate_core::{Request, Response};

pub use error::{Error, Result};
pub use kv::{
    CompactionOptions, CompactionResponse, Compare, CompareOp, DeleteOptions, DeleteResponse,
    GetOptions, GetResponse, PutOptions, PutResponse, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};
pub use lease::{
    LeaseGrantOptions, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseKeepAliveStream,
    LeaseKeeper, LeaseLeasesResponse, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveOptions,
    LeaseTimeToLiveResponse,
};
pub use members::{Member, MemberListResponse, StatusResponse};
pub use watch::{Event, EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
pub use words::{KeyValue, ResponseHeader};

use super::wire::{Answer, Ask};
use crate::world::observe::{CallId, Operation, Outcome};

/// As long as a member takes at most to answer.
const TIMEOUT: Duration = Duration::from_secs(7);
/// How long one member may take to answer a read before another is asked.
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// Before the next member is asked.
const REST: Duration = Duration::from_millis(50);

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    timeout: Option<Duration>,
}

impl ConnectOptions {
    /// As usual.
    #[must_use]
    pub const fn new() -> Self {
        Self { timeout: None }
    }

    /// How long a call may take, all its tries together; 7 seconds unless said.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Client {
    endpoints: Vec<SocketAddr>,
    current: usize,
    timeout: Duration,
}

impl Client {
    /// A client of the members at these addresses, `host:port` with or without `http://`. Nothing
    /// is sent yet.
    ///
    /// # Errors
    /// Without an address, or for one that is none.
    pub async fn connect<E: AsRef<str>, S: AsRef<[E]>>(
        endpoints: S,
        options: Option<ConnectOptions>,
    ) -> Result<Self> {
        let mut addresses = Vec::new();
        for endpoint in endpoints.as_ref() {
            let text = endpoint.as_ref().trim_start_matches("http://");
            let found = madsim::net::lookup_host(text).await.map_err(Error::IoError)?;
            addresses.extend(found);
        }
        if addresses.is_empty() {
            return Err(Error::InvalidArgs(String::from("no endpoints")));
        }
        let timeout = options.and_then(|options| options.timeout).unwrap_or(TIMEOUT);
        Ok(Self { endpoints: addresses, current: 0, timeout })
    }

    fn turn_to_next(&mut self) {
        self.current = (self.current + 1) % self.endpoints.len();
    }

    /// A call that changes something.
    async fn request(&mut self, request: Request) -> Result<Response> {
        match self.ask(|| Ask::Call(CallId(0), Operation::Request(request.clone())), false).await? {
            Answer::Outcome(Outcome::Response(response)) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    /// A question, asked until a member answers or time is up.
    async fn ask(&mut self, ask: impl Fn() -> Ask, is_read: bool) -> Result<Answer> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = if is_read { left.min(READ_PATIENCE) } else { left };
            let asked = ask_once(self.endpoints[self.current], ask(), patience).await;
            let is_again = match &asked {
                Err(failure) => is_read || !failure.may_have_arrived,
                Ok(Answer::Outcome(Outcome::Refused(refusal))) => is_passing(*refusal, is_read),
                Ok(_) => false,
            };
            if !is_again || left <= REST {
                return match asked {
                    Ok(Answer::Outcome(Outcome::Refused(no))) => Err(Error::Refused(no)),
                    Ok(answer) => Ok(answer),
                    Err(failure) => Err(Error::IoError(failure.error)),
                };
            }
            self.turn_to_next();
            sleep(REST).await;
        }
    }
}

/// Whether another member may answer better, or this one later, and nothing can happen twice.
fn is_passing(refusal: Refusal, is_read: bool) -> bool {
    match refusal {
        Refusal::NoLeader | Refusal::NotLeader | Refusal::RequestTooManyRequests => true,
        Refusal::Timeout | Refusal::LeaderChanged | Refusal::Stopped => is_read,
        _ => false,
    }
}

/// A question that was not answered.
pub(super) struct Failure {
    error: std::io::Error,
    may_have_arrived: bool,
}

/// Asks one member, over a connection of its own.
pub(super) async fn ask_once(
    to: SocketAddr,
    ask: Ask,
    patience: Duration,
) -> Result<Answer, Failure> {
    let unsent = |error| Failure { error, may_have_arrived: false };
    let lost = |error| Failure { error, may_have_arrived: true };
    let endpoint = Endpoint::bind("0.0.0.0:0").await.map_err(unsent)?;
    let (sender, mut receiver) = endpoint.connect1(to).await.map_err(unsent)?;
    sender.send(Box::new(ask)).await.map_err(unsent)?;
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
    let payload = timeout(patience, receiver.recv()).await.map_err(|_| lost(late()))?;
    let answer = payload.map_err(lost)?.downcast::<Answer>();
    answer.map(|answer| *answer).map_err(|_| lost(late()))
}

/// No member of this cluster answers so.
fn unexpected(answer: &Answer) -> Error {
    Error::InvalidArgs(format!("an answer to another question: {answer:?}"))
}

/// Unpacks the answer that belongs to a request.
macro_rules! unpack {
    ($answer:expr, $kind:ident) => {
        match $answer {
            quorate_core::Response::$kind(response) => Ok(response),
            other => Err(super::unexpected(&crate::on_madsim::wire::Answer::Outcome(
                crate::world::observe::Outcome::Response(other),
            ))),
        }
    };
}
use unpack;
