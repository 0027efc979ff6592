//! Wiring: what starts in which order, what being ready means, how it all ends.
//!
//! ```text
//! start   words -> settings -> log -> ports bound -> member opened -> peers served
//!         -> attributes published, a leader known -> clients served: "ready to serve ..."
//! end     signal -> leadership handed over -> connections drained -> member stopped
//!         -> the same signal again, unhandled
//! ```
//!
//! Invariants
//! - A port that cannot be bound ends the start before anything is written to disk.
//! - No client is answered before this member's attributes are known to all and it knows a leader.
//! - From signal to end it takes less than one and a half seconds.
//!
//! Answers to: etcd v3.7.1 `server/etcdmain/etcd.go`, `server/embed/etcd.go`

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::ids::MemberId;
use quorate_core::view::Facts;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::{self, Called, CliError, Outcome, Place, Settings, Url};
use crate::driver::Core;
use crate::gateway::Gateway;
use crate::grpc::{Front, Limits, Passwords, Replies, Services};
use crate::http::{Pages, Surface};
use crate::metrics::{Metrics, Traffic};
use crate::tls::{Keyring, Security};
use crate::tokens::Tokens;
use crate::transport::bind::{Bound, bind};
use crate::transport::listen::{Connections, Http2, NoGrpc, Port};
use crate::transport::peers::{Inbound, PeerPort, Peers};
use crate::transport::{Dialer, Entrance, IoThreads, Kind};
use crate::{bootstrap, ctl, logging, member, utl, version};

/// How long a successor may take.
const TRANSFER_MAX: Duration = Duration::from_millis(500);
/// How long connections may take to finish.
const DRAIN_MAX: Duration = Duration::from_millis(400);
/// Requests beyond it are allowed, and not wise.
const REQUEST_BYTES_RECOMMENDED: u64 = 10 << 20;
/// How often the view is looked at while something in it is awaited.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often the transport is told who is a member.
const MEMBERS_INTERVAL: Duration = Duration::from_millis(200);

/// An opened member, ready to be served.
pub struct Member {
    /// The machines.
    pub core: Core,
    /// The streams to the others.
    pub peers: Arc<Peers>,
    /// What receives the others' streams: what attaching `peers` gave.
    pub inbound: Inbound,
    /// Resolves when the member ends by itself.
    pub ended: Pin<Box<dyn Future<Output = Ended> + Send>>,
    /// Stops the machines and closes the disk.
    pub stop: Box<dyn FnOnce() + Send>,
}

/// Why a member ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was removed from the cluster.
    Removed,
    /// It cannot go on.
    Fatal(String),
}

/// Why a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked it to, with this signal.
    Signal(i32),
    /// Its member did.
    Member(Ended),
}

/// The program.
pub fn main() -> ExitCode {
    // Where they are given to everyone, a small heap takes up many times its size. Where they
    // cannot be refused, that is all there is to it.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default().to_string_lossy().into_owned();
    let called = Called::by(&program);
    let words: Vec<OsString> = words.collect();
    if let Some(words) = ctl::called(&program, &words) {
        return ctl::main(&words);
    }
    // All others read text.
    let text = words.into_iter().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = text.collect();
    if let Some(words) = utl::called(&program, &words) {
        return utl::main(&words);
    }
    let outcome = cli::parse(&words, std::env::vars());
    let run = |flags: &cli::Flags, warnings| {
        let settings = cli::understand(flags, called)?;
        logging::start(settings.log_level, settings.log_format, &settings.log_outputs).map_err(
            |error| CliError {
                code: 1,
                text: format!("cannot open --log-outputs: {error}; name files that can be written"),
            },
        )?;
        Ok(run(&settings, warnings))
    };
    let result = match outcome {
        Ok(Outcome::Run { flags, warnings }) => run(&flags, warnings),
        Ok(Outcome::Help) => {
            eprintln!("Usage: {} [flags]", if called == Called::Etcd { "etcd" } else { "quorate" });
            Ok(print(&cli::help(called)))
        }
        Ok(Outcome::Version) => Ok(print(&version::banner())),
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{}", error.text);
        ExitCode::from(error.code)
    })
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(settings: &Settings, warnings: Vec<String>) -> ExitCode {
    for warning in warnings {
        warn!("{warning}");
    }
    match serve_settings(settings) {
        Ok(End::Signal(number)) => end_by(number),
        Ok(End::Member(Ended::Removed)) => {
            info!("the member has been permanently removed from the cluster");
            ExitCode::SUCCESS
        }
        Ok(End::Member(Ended::Fatal(reason))) | Err(reason) => {
            error!(target: logging::FATAL, error = reason, "the server cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Dies of the signal, so that whoever sent it sees that; the first process of a container, which
/// cannot, ends well.
fn end_by(number: i32) -> ExitCode {
    if std::process::id() != 1 {
        // Returns only if the signal could not be sent.
        let _ = signal_hook::low_level::emulate_default_handler(number);
    }
    ExitCode::SUCCESS
}

fn serve_settings(settings: &Settings) -> Result<End, String> {
    let keyrings = Keyrings::open(settings)?;
    let ports = Ports::bind(settings, &keyrings)?;
    log_start(settings);
    let told = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("cannot start {what}: {error}")
    };
    let tokens = Tokens::open(&settings.token_kind);
    let tokens = tokens.map_err(|error| format!("cannot use --auth-token: {error}"))?;
    let metrics = Arc::new(Metrics::new(settings.quota_backend_bytes));
    for (feature, is_on) in &settings.features {
        metrics.note_feature(feature.name, feature.stage, *is_on);
    }
    if settings.has_extensive_metrics {
        metrics.calls.be_extensive();
    }
    let peer_threads = IoThreads::start("peer", 1).map_err(told("the peer thread"))?;
    let io_threads = IoThreads::for_clients().map_err(told("the I/O threads"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(told("the main runtime"))?;
    let _entered = runtime.enter();
    let signals = Signals::new().map_err(told("the signal handlers"))?;
    let dialer = Dialer::new(keyrings.peer);
    let member = member::open(settings, &metrics, &peer_threads, &dialer)?;
    let server =
        Server { settings, metrics, tokens, peer_threads: &peer_threads, io_threads: &io_threads };
    let end = runtime.block_on(server.run(member, ports, signals));
    io_threads.stop();
    peer_threads.stop();
    info!(name = settings.name, "closed etcd server");
    Ok(end)
}

/// Bound ports with the URLs they were named by.
pub struct Ports {
    client: Vec<Bound>,
    peer: Vec<Bound>,
    metrics: Vec<Bound>,
}

impl Ports {
    /// Binds all ports, or none.
    pub fn bind(settings: &Settings, keyrings: &Keyrings) -> Result<Self, String> {
        let of_clients = |urls| bind_all(urls, Kind::Client, keyrings.client.as_ref());
        Ok(Self {
            client: of_clients(&settings.listen_client)?,
            peer: bind_all(&settings.listen_peer, Kind::Peer, Some(&keyrings.peer))?,
            metrics: of_clients(&settings.listen_metrics)?,
        })
    }

    /// Where clients will be served.
    pub fn client_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.client.iter().filter_map(Bound::socket_address).collect()
    }
}

/// Binds to the places of all URLs. URLs that differ only in their scheme are one place.
fn bind_all(
    urls: &[Url],
    kind: Kind,
    keyring: Option<&Arc<Keyring>>,
) -> Result<Vec<Bound>, String> {
    let places: BTreeSet<&Place> = urls.iter().map(|url| &url.place).collect();
    let one = |place: &Place| {
        let has = |is_secure| urls.contains(&Url { is_secure, place: place.clone() });
        let keyring = keyring.filter(|_| has(true)).cloned();
        let url = urls.iter().find(|url| url.place == *place);
        let named = url.map_or_else(String::new, Url::to_string);
        let bound = bind(place).map_err(|error| format!("listen {named}: {error}"))?;
        Ok(bound.with_entrance(Entrance::new(kind, has(false), keyring)))
    };
    places.into_iter().map(one).collect()
}

/// What TLS needs of files, for clients and for members.
pub struct Keyrings {
    /// Nothing where clients are served without TLS.
    client: Option<Arc<Keyring>>,
    peer: Arc<Keyring>,
}

impl Keyrings {
    /// Reads all files.
    ///
    /// # Errors
    /// Which of them cannot be used, and how to mend it.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        for remark in &settings.security_remarks {
            warn!("{remark}");
        }
        let open = |what, security: &Security| Keyring::open(what, security.clone()).map(Arc::new);
        let client = &settings.client_security;
        Ok(Self {
            client: client.can_serve().then(|| open("client", client)).transpose()?,
            peer: open("peer", &settings.peer_security)?,
        })
    }
}

/// The two signals that ask a server to end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not kill. Wants a runtime around it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}

/// A server that runs a member.
pub struct Server<'a> {
    /// What it was told.
    pub settings: &'a Settings,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// What its users get for their passwords.
    pub tokens: Tokens,
    /// Where peers' connections live.
    pub peer_threads: &'a IoThreads,
    /// Where clients' connections live.
    pub io_threads: &'a IoThreads,
}

impl Server<'_> {
    /// Serves until a signal, or until the member ends; the member is stopped then.
    pub async fn run(&self, member: Member, ports: Ports, mut signals: Signals) -> End {
        let connections = Connections::within(raise_descriptors());
        let Member { core, peers, inbound, mut ended, stop } = member;
        self.io_threads.on_each(|| core.clone().keep_office());
        let end = {
            let serving = async {
                tokio::join!(
                    follow_members(&core, &peers),
                    self.tokens.follow_files(),
                    self.serve(&core, inbound, ports, &connections),
                );
            };
            tokio::select! {
                biased;
                number = signals.next() => End::Signal(number),
                ended = ended.as_mut() => End::Member(ended),
                () = serving => End::Member(Ended::Fatal("no port accepts".to_owned())),
            }
        };
        if let End::Signal(number) = end {
            let name = if number == SignalKind::interrupt().as_raw_value() {
                "interrupt"
            } else {
                "terminated"
            };
            info!(signal = name, "received signal; shutting down");
            hand_over(&core).await;
        }
        connections.drain(DRAIN_MAX).await;
        // It may hold on to what is stopped now.
        drop(ended);
        stop();
        end
    }

    /// Serves all ports; never ends by itself as long as one accepts.
    async fn serve(&self, core: &Core, inbound: Inbound, ports: Ports, connections: &Connections) {
        let http2 = Http2 {
            streams_max: self.settings.streams_max,
            keepalive_interval: self.settings.keepalive_interval,
            keepalive_timeout: self.settings.keepalive_timeout,
            keepalive_min_time: Some(self.settings.keepalive_min_time),
        };
        let pages = |surface| Pages::new(surface, core.clone(), self.metrics.clone());
        let peer = Arc::new(Port {
            grpc: Some(PeerPort::new(inbound)),
            gateway: None,
            pages: pages(Surface::Peer),
            http2: Http2::with_streams(u32::MAX),
            traffic: Traffic::default(),
        });
        let metrics = Arc::new(Port {
            grpc: None::<NoGrpc>,
            gateway: None,
            pages: pages(Surface::Metrics),
            http2,
            traffic: Traffic::default(),
        });
        let services = Services::new(self.front(core));
        let gateway = || Gateway::new(services.clone(), self.settings.message_bytes_max());
        let client = Arc::new(Port {
            gateway: self.settings.has_gateway.then(gateway),
            grpc: Some(services),
            pages: pages(Surface::Client),
            http2,
            traffic: self.metrics.traffic.clone(),
        });
        let peers_served = ports.peer.into_iter().map(|bound| {
            info!(address = %bound.address, "serving peer traffic");
            connections.accept(bound, peer.clone(), self.peer_threads)
        });
        let metrics_served = ports.metrics.into_iter().map(|bound| {
            info!(address = %bound.address, "serving metrics");
            connections.accept(bound, metrics.clone(), self.io_threads)
        });
        let clients_served = async {
            settled(core).await;
            let served = ports.client.into_iter().map(|bound| {
                log_ready(&bound);
                connections.accept(bound, client.clone(), self.io_threads)
            });
            let accepting: Vec<_> = served.collect();
            notify_ready();
            futures_util::future::join_all(accepting).await;
        };
        tokio::join!(
            futures_util::future::join_all(peers_served),
            futures_util::future::join_all(metrics_served),
            clients_served,
        );
    }

    fn front(&self, core: &Core) -> Front {
        let limits = Limits {
            message_bytes_max: self.settings.message_bytes_max(),
            request_bytes_max: usize::try_from(self.settings.request_bytes_max)
                .unwrap_or(usize::MAX),
            election_timeout: self.settings.election_timeout,
            quota_backend_bytes: self.settings.quota_backend_bytes,
            txn_ops_max: self.settings.txn_ops_max,
        };
        Front {
            core: core.clone(),
            metrics: self.metrics.clone(),
            passwords: Passwords::new(self.settings.bcrypt_cost),
            tokens: self.tokens.clone(),
            replies: Replies::default(),
            limits,
        }
    }
}

/// Waits until this member's attributes are known to all, the cluster has a version, and there is
/// a leader. After a restart the first two hold at once; clients served before the third would see
/// their watches refused.
async fn settled(core: &Core) {
    let is_settled = |facts: &Facts| {
        facts.is_published && !facts.cluster_version.is_empty() && facts.role.leader.is_some()
    };
    while !is_settled(&core.view().facts) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Keeps the transport's members those of the newest view.
async fn follow_members(core: &Core, peers: &Peers) {
    let (mut known, mut gone) = (Arc::from([]), Arc::from([]));
    loop {
        let view = core.view();
        let (members, removed) = (&view.facts.members, &view.facts.removed);
        if *removed != gone {
            gone.clone_from(removed);
            peers.set_removed(&gone);
        }
        // Before the first entry is applied nobody is known, and the transport knows better.
        if !members.is_empty() && *members != known {
            known.clone_from(members);
            let members = known.iter().map(|m| (MemberId(m.id), m.peer_ur_ls.clone()));
            peers.set_members(members);
        }
        // What is sent to members that the transport does not know yet is lost, and a restarted
        // member learns of them from its log, just before it serves.
        let is_early = known.is_empty();
        tokio::time::sleep(if is_early { LOOK_INTERVAL } else { MEMBERS_INTERVAL }).await;
    }
}

/// Gives leadership away, if there is somebody to take it.
async fn hand_over(core: &Core) {
    let view = core.view();
    let facts = &view.facts;
    if !facts.role.is_leader {
        return;
    }
    if facts.members.iter().filter(|member| !member.is_learner).count() < 2 {
        info!("skipped leadership transfer for single voting member cluster");
        return;
    }
    core.transfer_leadership(None);
    let given = async {
        while core.view().facts.role.is_leader {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    if tokio::time::timeout(TRANSFER_MAX, given).await.is_err() {
        warn!("leadership transfer took too long");
    }
}

fn log_ready(bound: &Bound) {
    info!("ready to serve client requests");
    if bound.entrance().takes_plain() {
        info!(
            traffic = "grpc+http",
            address = %bound.address,
            "serving client traffic insecurely; this is strongly discouraged!"
        );
    }
    if bound.entrance().takes_secure() {
        info!(traffic = "grpc+http", address = %bound.address, "serving client traffic securely");
    }
}

/// As many descriptors as this process may have, as Go takes them: shells give it few.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // If it is refused, there are as many as there were.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Tells a supervisor that asked to be told.
fn notify_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%error, "failed to notify systemd for readiness");
    }
}

fn log_start(settings: &Settings) {
    let urls = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<Vec<_>>().join(",");
    if settings.request_bytes_max > REQUEST_BYTES_RECOMMENDED {
        warn!(
            "max-request-bytes" = settings.request_bytes_max,
            "recommended-request-bytes" = REQUEST_BYTES_RECOMMENDED,
            "exceeded recommended request limit"
        );
    }
    info!(
        "etcd-version" = version::ETCD,
        "quorate-version" = version::QUORATE,
        "git-sha" = version::GIT_SHA,
        "go-version" = version::LANGUAGE,
        "go-os" = version::system(),
        "go-arch" = version::architecture(),
        "max-cpu-available" = std::thread::available_parallelism().map_or(1, usize::from),
        name = settings.name,
        "data-dir" = %settings.data_dir.display(),
        "heartbeat-interval" = cli::show_duration(settings.heartbeat_interval),
        "election-timeout" = cli::show_duration(settings.election_timeout),
        "snapshot-count" = settings.snapshot_count,
        "snapshot-catchup-entries" = settings.snapshot_catchup_entries,
        "initial-advertise-peer-urls" = urls(&settings.advertise_peer),
        "listen-peer-urls" = urls(&settings.listen_peer),
        "advertise-client-urls" = urls(&settings.advertise_client),
        "listen-client-urls" = urls(&settings.listen_client),
        "listen-metrics-urls" = urls(&settings.listen_metrics),
        "initial-cluster" = bootstrap::show(&settings.initial_cluster),
        "initial-cluster-state" = if settings.is_new_cluster { "new" } else { "existing" },
        "initial-cluster-token" = settings.token,
        "quota-backend-bytes" = settings.quota_backend_bytes,
        "max-request-bytes" = settings.request_bytes_max,
        "max-concurrent-streams" = settings.streams_max,
        "starting an etcd server"
    );
}
