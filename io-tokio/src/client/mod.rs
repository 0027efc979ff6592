//! A client of any server of etcd's API: endpoints, connections, who one is, and what is tried
//! again. The command line tool is built on it, and what a member asks of a discovery service.
//!
//! ```text
//!   call ──> the endpoint that answered last ──> refused ──> told in the server's words
//!     ^            │ cannot be reached   │ broke off, or has no leader
//!     ├────────────┘ the next one        │
//!     └──────────────────────────────────┘ again, if asking twice does no harm
//! ```
//!
//! Invariants
//! - A request that may have been executed is not sent again. One that could not be sent waits for
//!   a server, as long as the command may.
//! - A password is sent once: what comes back, a token, goes with every call from then on, until
//!   the server does not know it any more.
//!
//! Answers to: etcd v3.7.1 `client/v3/client.go`, `retry_interceptor.go`

mod direct;
pub(crate) mod reach;
pub(crate) mod way;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quorate_proto::etcdserverpb::AuthenticateRequest;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::v3electionpb::election_client::ElectionClient;
use quorate_proto::v3lockpb::lock_client::LockClient;
use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::tool::{self, Failure};
use crate::version;
pub use direct::Direct;
use way::{Place, Way};

/// How often a request that does no harm is sent.
const ATTEMPTS_MAX: u32 = 100;
/// How long to rest between two attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(25);
/// How long to rest when no endpoint can be reached: at first, and at most.
const DIAL_INTERVAL: Duration = Duration::from_millis(50);
const DIAL_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The largest request if nobody says.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// The largest answer if nobody says.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// Whether a request may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, or does the same when it is done twice.
    IfLost,
    /// It writes.
    Never,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It took too long.
    Late,
    /// Somebody said no, or nobody said anything.
    Refused(Status),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("context deadline exceeded"),
            Self::Refused(status) => f.write_str(&told(status)),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::new(trouble.to_string())
    }
}

impl Trouble {
    /// Whether the server said just this.
    pub(crate) fn is(&self, message: &str) -> bool {
        matches!(self, Self::Refused(status) if status.message() == message)
    }

    /// Whether the connection, or the member behind it, is what is wrong.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::Unavailable)
    }
}

/// What a status says: etcd's own words as they are, all others with their code.
pub(crate) fn told(status: &Status) -> String {
    let message = status.message();
    if message.starts_with("etcdserver: ") {
        return message.to_owned();
    }
    let code = match status.code() {
        Code::Cancelled => "Canceled".to_owned(),
        Code::Ok => "OK".to_owned(),
        code => format!("{code:?}"),
    };
    format!("rpc error: code = {code} desc = {message}")
}

/// What goes with every call.
#[derive(Clone, Debug)]
pub struct Stamp {
    token: Arc<ArcSwapOption<MetadataValue<Ascii>>>,
    wants_leader: bool,
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("client-api-version", MetadataValue::from_static(version::ETCD));
        if let Some(token) = &*self.token.load() {
            metadata.insert("token", MetadataValue::clone(token));
        }
        if self.wants_leader {
            metadata.insert("hasleader", MetadataValue::from_static("true"));
        }
        Ok(request)
    }
}

/// A connection, ready for calls.
#[derive(Clone)]
pub struct Line<C = Channel> {
    connection: C,
    stamp: Stamp,
    request_bytes_max: usize,
    answer_bytes_max: usize,
}

macro_rules! stubs {
    ($connection:ty: $($name:ident $client:ident)+) => {
        impl Line<$connection> {
            $(
                /// The calls of a service.
                pub fn $name(&self) -> $client<InterceptedService<$connection, Stamp>> {
                    $client::new(self.service())
                        .max_encoding_message_size(self.request_bytes_max)
                        .max_decoding_message_size(self.answer_bytes_max)
                }
            )+
        }
    };
    ($($connection:ty),+) => {
        $(stubs! {
            $connection:
            kv KvClient
            watch WatchClient
            lease LeaseClient
            cluster ClusterClient
            maintenance MaintenanceClient
            auth AuthClient
            lock LockClient
            election ElectionClient
        })+
    };
}

stubs! { Channel, Direct }

impl<C: Clone> Line<C> {
    pub(crate) fn service(&self) -> InterceptedService<C, Stamp> {
        InterceptedService::new(self.connection.clone(), self.stamp.clone())
    }
}

impl Line<Direct> {
    /// Whether no further call can be made on it.
    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }
}

/// Who one is, and what proves it.
#[derive(Clone)]
pub(crate) enum Identity {
    /// A name with a password, for which there are tokens.
    Password { name: String, password: String },
    /// A token.
    Token(String),
}

impl Identity {
    /// Who one is by a name that may have a password behind it; asks for one that nobody gave.
    /// Half of it is nobody.
    pub(crate) fn of_user(
        user: &str,
        password: &str,
        ask: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<Option<Self>, Failure> {
        if user.is_empty() {
            return Ok(None);
        }
        let (name, password) = match user.split_once(':') {
            _ if !password.is_empty() => (user, password.to_owned()),
            Some((name, password)) => (name, password.to_owned()),
            None => (user, ask()?),
        };
        let is_whole = !name.is_empty() && !password.is_empty();
        Ok(is_whole.then(|| Self::Password { name: name.to_owned(), password }))
    }

    /// The same; the terminal is asked for a password that nobody gave.
    pub(crate) fn asked(user: &str, password: &str, prompt: &str) -> Result<Option<Self>, Failure> {
        Self::of_user(user, password, || {
            rpassword::prompt_password(prompt).map_err(|error| Failure::new(error.to_string()))
        })
    }
}

/// How much is sent, taken and waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long it may take to say who one is.
    pub(crate) introduction_max: Duration,
    /// The largest request.
    pub(crate) request_bytes_max: usize,
    /// The largest answer.
    pub(crate) answer_bytes_max: usize,
}

impl Limits {
    /// The sizes that count if nobody says.
    pub(crate) fn new(introduction_max: Duration) -> Self {
        Self {
            introduction_max,
            request_bytes_max: REQUEST_BYTES_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

/// Servers of one cluster, and who one is there.
pub(crate) struct Client {
    limits: Limits,
    way: Way,
    places: Vec<Place>,
    /// Which endpoint is asked, and the connection to it.
    current: Mutex<(usize, Option<Channel>)>,
    /// Why no endpoint can be reached.
    unreachable: ArcSwapOption<String>,
    /// Whether that is told.
    is_quiet: bool,
    identity: Option<Identity>,
    stamp: Stamp,
}

impl Client {
    /// A client that is known by its name where one is given, or by a token.
    pub(crate) async fn open(
        way: Way,
        endpoints: &[String],
        identity: Option<Identity>,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let client = Self::new(way, endpoints, identity, limits)?;
        let introduced = client.introduce().await;
        introduced.map_err(|trouble| Failure::connection(trouble.to_string()))?;
        Ok(client)
    }

    /// The same, which has not said yet who it is.
    pub(crate) fn new(
        way: Way,
        endpoints: &[String],
        identity: Option<Identity>,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let places = way.places(endpoints);
        if places.is_empty() {
            return Err(Failure::connection("etcdclient: no available endpoints"));
        }
        let client = Self {
            limits,
            way,
            places,
            current: Mutex::default(),
            unreachable: ArcSwapOption::empty(),
            is_quiet: false,
            identity,
            stamp: Stamp { token: Arc::default(), wants_leader: false },
        };
        if let Some(Identity::Token(token)) = &client.identity {
            client.keep_token(token)?;
        }
        Ok(client)
    }

    /// The same client for one endpoint.
    pub(crate) fn at(&self, endpoint: &str) -> Self {
        Self {
            limits: self.limits,
            way: self.way.clone(),
            places: self.way.places(&[endpoint.to_owned()]),
            current: Mutex::default(),
            unreachable: ArcSwapOption::empty(),
            is_quiet: self.is_quiet,
            identity: self.identity.clone(),
            stamp: self.stamp.clone(),
        }
    }

    /// The same client, which does not write to standard error.
    pub(crate) fn quiet(self) -> Self {
        Self { is_quiet: true, ..self }
    }

    /// The way to its servers.
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// What a trouble is in the end: of what took too long, why nobody could be reached.
    pub(crate) fn reason(&self, trouble: &Trouble) -> String {
        match (trouble, &*self.unreachable.load()) {
            (Trouble::Late, Some(why)) => String::clone(why),
            _ => trouble.to_string(),
        }
    }

    /// The endpoints it knows.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.name.as_str())
    }

    /// Calls, and waits for the answer.
    pub(crate) async fn call<R>(
        &self,
        within: Option<Duration>,
        repeat: Repeat,
        ask: impl AsyncFn(Line) -> Result<Response<R>, Status>,
    ) -> Result<R, Trouble> {
        let calls = self.attempt(repeat, ask);
        let answer = match within {
            Some(within) => tokio::time::timeout(within, calls).await.unwrap_or(Err(Trouble::Late)),
            None => calls.await,
        };
        if let (Err(Trouble::Late), Some(why), false) =
            (&answer, &*self.unreachable.load(), self.is_quiet)
        {
            tool::log("warn", "no server could be reached", &[("error", why)]);
        }
        answer
    }

    async fn attempt<R>(
        &self,
        repeat: Repeat,
        ask: impl AsyncFn(Line) -> Result<Response<R>, Status>,
    ) -> Result<R, Trouble> {
        let mut attempt = 1;
        loop {
            let status = match self.ask(&ask).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let has_password = matches!(self.identity, Some(Identity::Password { .. }));
            let is_stale = has_password && is_stale(&status);
            let is_lost = repeat == Repeat::IfLost && status.code() == Code::Unavailable;
            if attempt == ATTEMPTS_MAX || !(is_stale || is_lost) {
                return Err(status.into());
            }
            if is_stale {
                self.introduce().await?;
            }
            tokio::time::sleep(ATTEMPT_INTERVAL).await;
            attempt += 1;
        }
    }

    async fn ask<R>(
        &self,
        ask: &impl AsyncFn(Line) -> Result<Response<R>, Status>,
    ) -> Result<Response<R>, Status> {
        let answer = ask(self.line().await).await;
        if answer.as_ref().is_err_and(is_broken) {
            self.hang_up().await;
        }
        answer.map_err(plain)
    }

    /// A connection to some endpoint, as soon as there is one.
    pub(crate) async fn line(&self) -> Line {
        self.dressed(self.channel().await, self.stamp.clone())
    }

    /// The same without what goes with calls.
    pub(crate) async fn channel(&self) -> Channel {
        let mut current = self.current.lock().await;
        let mut rest = DIAL_INTERVAL;
        loop {
            for _ in 0..self.places.len() {
                if let (_, Some(channel)) = &*current {
                    return channel.clone();
                }
                match self.way.dial(&self.places[current.0]).await {
                    Ok(channel) => {
                        self.unreachable.store(None);
                        current.1 = Some(channel);
                    }
                    Err(why) => {
                        self.unreachable.store(Some(Arc::new(why)));
                        current.0 = (current.0 + 1) % self.places.len();
                    }
                }
            }
            if current.1.is_none() {
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(DIAL_INTERVAL_MAX);
            }
        }
    }

    /// A connection whose streams end when the member behind it loses its leader.
    pub(crate) async fn line_with_leader(&self) -> Line {
        let stamp = Stamp { wants_leader: true, ..self.stamp.clone() };
        self.dressed(self.channel().await, stamp)
    }

    /// A connection of its own to one of the endpoints, by turns; why there is none.
    pub(crate) async fn direct(&self, number: usize) -> Result<Line<Direct>, String> {
        let place = &self.places[number % self.places.len()];
        Ok(self.dressed(self.way.dial_directly(place).await?, self.stamp.clone()))
    }

    /// Goes on with the next endpoint.
    pub(crate) async fn hang_up(&self) {
        let mut current = self.current.lock().await;
        *current = ((current.0 + 1) % self.places.len(), None);
    }

    fn dressed<C>(&self, connection: C, stamp: Stamp) -> Line<C> {
        Line {
            connection,
            stamp,
            request_bytes_max: self.limits.request_bytes_max,
            answer_bytes_max: self.limits.answer_bytes_max,
        }
    }

    /// Says who one is, if one is somebody.
    pub(crate) async fn introduce(&self) -> Result<(), Trouble> {
        let Some(Identity::Password { name, password }) = &self.identity else { return Ok(()) };
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let within = self.limits.introduction_max;
        let asked = async |line: Line| line.auth().authenticate(request.clone()).await;
        let asked = self.ask(&asked);
        let answer = tokio::time::timeout(within, asked).await.map_err(|_| Trouble::Late)?;
        match answer {
            Ok(answer) => self
                .keep_token(&answer.into_inner().token)
                .map_err(|failure| Trouble::Refused(Status::internal(failure.text))),
            Err(status) if status.message() == "etcdserver: authentication is not enabled" => {
                self.stamp.token.store(None);
                Ok(())
            }
            Err(status) => Err(status.into()),
        }
    }

    fn keep_token(&self, token: &str) -> Result<(), Failure> {
        let token = MetadataValue::try_from(token)
            .map_err(|_| Failure::words("a token consists of printable ASCII characters"))?;
        self.stamp.token.store(Some(Arc::new(token)));
        Ok(())
    }
}

/// Whether it is the connection that says so, and no server.
fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// A broken connection says so with many codes, and in its own words.
pub(crate) fn plain(status: Status) -> Status {
    if is_broken(&status) { Status::unavailable(status.message()) } else { status }
}

/// Whether a token is not known any more.
fn is_stale(status: &Status) -> bool {
    matches!(
        status.message(),
        "etcdserver: invalid auth token"
            | "etcdserver: revision of auth store is old"
            | "etcdserver: user name is empty"
    )
}
