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

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use quorate_core::ids::MemberId;
use quorate_core::view::Facts;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::channels::{ARRIVING_BYTES_MAX, REPLY_BYTES_MAX};
use crate::cli::{self, Called, CliError, Outcome, Place, Settings, Url};
use crate::console::{Console, Rounds};
use crate::driver::Core;
use crate::gateway::Gateway;
use crate::grpc::{Arrivals, Front, Limits, Passwords, Replies, Services};
use crate::http::{Hosts, Pages, Surface};
use crate::metrics::{Metrics, Traffic};
use crate::spans::Spans;
use crate::tls::Keyring;
use crate::tokens::Tokens;
use crate::transport::bind::Bound;
use crate::transport::listen::{Connections, Http2, NoGrpc, Port};
use crate::transport::peers::{Inbound, PeerPort, Peers};
use crate::transport::{Dialer, IoThreads};
use crate::{bench, bootstrap, ctl, logging, member, memory, proxy, relay, utl, version};

mod ports;

pub use ports::{Keyrings, Ports};

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
    if let Some(words) = bench::called(&words) {
        return bench::main(&words);
    }
    // All others read text.
    let text = words.into_iter().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = text.collect();
    if let Some(words) = utl::called(&program, &words) {
        return utl::main(&words);
    }
    if relay::is_called(&words) {
        return relay::main(&words);
    }
    if proxy::is_called(&words) {
        return proxy::main(&words);
    }
    let outcome = cli::parse(&words, std::env::vars());
    let run = |flags: &cli::Flags, warnings| {
        let settings = cli::understand(flags, called)?;
        logging::start(&settings).map_err(|error| CliError {
            code: 1,
            text: format!("cannot open --log-outputs: {error}; name files that can be written"),
        })?;
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
/// cannot, ends well. So does a build that counts where it goes, and writes that when it ends.
fn end_by(number: i32) -> ExitCode {
    if std::process::id() != 1 && !cfg!(counting) {
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
    let spans = {
        // Where they are sent from goes on running until the last of them is sent.
        let _entered = io_threads.next().enter();
        settings.collector.as_ref().map(Spans::start).transpose()
    };
    let spans =
        spans.map_err(|error| format!("cannot send to --distributed-tracing-address: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(told("the main runtime"))?;
    let _entered = runtime.enter();
    let mut signals = Signals::new().map_err(told("the signal handlers"))?;
    let dialer = dialer(settings, keyrings.peer);
    let member = member::open(settings, &metrics, &peer_threads, &dialer)?;
    let server = Server {
        settings,
        metrics,
        tokens,
        spans,
        dialer,
        peer_threads: &peer_threads,
        io_threads: &io_threads,
    };
    let end = runtime.block_on(server.run(member, ports, signals.next()));
    server.spans.iter().for_each(Spans::stop);
    io_threads.stop();
    peer_threads.stop();
    info!(name = settings.name, "closed etcd server");
    Ok(end)
}

/// Connects to members. Of those that DNS names, with authorities that everybody believes, the
/// domain's own certificate is wanted.
fn dialer(settings: &Settings, keyring: Arc<Keyring>) -> Dialer {
    let trusts_system = keyring.security().trusted_ca.is_none();
    let dialer = Dialer::new(keyring);
    match &settings.srv_names {
        Some(names) if trusts_system => dialer.expecting(names.domain.clone()),
        _ => dialer,
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

    /// The next one's number.
    pub async fn next(&mut self) -> i32 {
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
    /// Where spans of calls go, if anywhere.
    pub spans: Option<Spans>,
    /// How it connects to the other members.
    pub dialer: Dialer,
    /// Where peers' connections live.
    pub peer_threads: &'a IoThreads,
    /// Where clients' connections live.
    pub io_threads: &'a IoThreads,
}

impl Server<'_> {
    /// Serves until that signal comes, or until the member ends; the member is stopped then.
    pub async fn run(
        &self,
        member: Member,
        ports: Ports,
        signal: impl Future<Output = i32>,
    ) -> End {
        let connections = Connections::within(raise_descriptors());
        let Member { core, peers, inbound, mut ended, stop } = member;
        self.io_threads.on_each(|| core.clone().keep_office());
        let end = {
            let serving = async {
                tokio::join!(
                    follow_members(&core, &peers),
                    self.tokens.follow_files(),
                    memory::watch(self.settings.memory_limit, &core),
                    self.serve(&core, inbound, ports, &connections),
                );
            };
            tokio::select! {
                biased;
                number = signal => End::Signal(number),
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
        let services = Services::new(self.front(core));
        let peer = Arc::new(Port {
            grpc: Some(PeerPort::new(inbound)),
            http2: Http2::with_streams(u32::MAX),
            ..self.bare_port(core, Surface::Peer)
        });
        let metrics = Arc::new(Port {
            console: self.settings.has_console.then(|| self.console(core, &services)),
            ..self.bare_port::<NoGrpc>(core, Surface::Metrics)
        });
        let http = Arc::new(self.http_port::<NoGrpc>(core, &services));
        let is_split = !ports.client_http.is_empty();
        let client = match is_split {
            true => Port { pages: None, ..self.bare_port(core, Surface::Client) },
            false => self.http_port(core, &services),
        };
        let traffic = self.metrics.traffic.clone();
        let client = Arc::new(Port { grpc: Some(services), traffic, ..client });
        let peers_served = ports.peer.into_iter().map(|bound| {
            info!(address = %bound.address, "serving peer traffic");
            connections.accept(bound, peer.clone(), self.peer_threads)
        });
        let metrics_served = ports.metrics.into_iter().map(|bound| {
            let has_console = self.settings.has_console;
            info!(address = %bound.address, console = has_console, "serving metrics");
            connections.accept(bound, metrics.clone(), self.io_threads)
        });
        let clients_served = async {
            settled(core).await;
            let served = ports.client.into_iter().map(|bound| {
                log_ready(&bound, if is_split { "grpc" } else { "grpc+http" });
                connections.accept(bound, client.clone(), self.io_threads)
            });
            let served: Vec<_> = served.collect();
            let served_by_http = ports.client_http.into_iter().map(|bound| {
                log_ready(&bound, "http");
                connections.accept(bound, http.clone(), self.io_threads)
            });
            let served_by_http: Vec<_> = served_by_http.collect();
            notify_ready();
            tokio::join!(join_all(served), join_all(served_by_http));
        };
        tokio::join!(join_all(peers_served), join_all(metrics_served), clients_served);
    }

    /// A port with nothing but pages.
    fn bare_port<G>(&self, core: &Core, surface: Surface) -> Port<G> {
        let pages = Pages::new(surface, core.clone(), self.metrics.clone());
        Port {
            grpc: None,
            gateway: None,
            console: None,
            access: None,
            pages: Some(pages.with_profiles(self.settings.has_profiles)),
            http2: Http2 {
                streams_max: self.settings.streams_max,
                keepalive_interval: self.settings.keepalive_interval,
                keepalive_timeout: self.settings.keepalive_timeout,
                keepalive_min_time: Some(self.settings.keepalive_min_time),
            },
            traffic: Traffic::default(),
        }
    }

    /// What clients have by HTTP.
    fn http_port<G>(&self, core: &Core, services: &Services) -> Port<G> {
        let settings = self.settings;
        Port {
            gateway: settings.has_gateway.then(|| self.gateway(services)),
            access: Some(settings.access.clone()),
            ..self.bare_port(core, Surface::Client)
        }
    }

    fn gateway(&self, services: &Services) -> Gateway {
        Gateway::new(services.clone(), self.settings.message_bytes_max())
    }

    fn console(&self, core: &Core, services: &Services) -> Console {
        let rounds = Rounds::new(core.clone(), self.metrics.clone(), self.dialer.clone());
        let hosts = own_hosts(self.settings);
        Console::new(services.clone(), self.gateway(services), hosts, rounds)
    }

    fn front(&self, core: &Core) -> Front {
        let share =
            |most: usize| memory::share(self.settings.memory_limit, 8, most as u64) as usize;
        let limits = Limits {
            message_bytes_max: self.settings.message_bytes_max(),
            request_bytes_max: usize::try_from(self.settings.request_bytes_max)
                .unwrap_or(usize::MAX),
            election_timeout: self.settings.election_timeout,
            quota_backend_bytes: self.settings.quota_backend_bytes,
            txn_ops_max: self.settings.txn_ops_max,
            patience: self.settings.patience,
        };
        Front {
            core: core.clone(),
            metrics: self.metrics.clone(),
            passwords: Passwords::new(self.settings.bcrypt_cost),
            tokens: self.tokens.clone(),
            spans: self.spans.clone(),
            replies: Replies::holding(share(REPLY_BYTES_MAX)),
            arrivals: Arrivals::holding(share(ARRIVING_BYTES_MAX)),
            limits,
        }
    }
}

/// Names of hosts by which this server says to be reached.
fn own_hosts(settings: &Settings) -> Hosts {
    let urls = settings.listen_metrics.iter().chain(&settings.advertise_client);
    let named = urls.filter_map(|url| match &url.place {
        Place::Port { host, .. } => Some(host),
        Place::File(_) => None,
    });
    Hosts::new(named.chain(settings.access.hosts.names()).cloned())
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

fn log_ready(bound: &Bound, traffic: &str) {
    info!("ready to serve client requests");
    if bound.entrance().takes_plain() {
        info!(
            traffic,
            address = %bound.address,
            "serving client traffic insecurely; this is strongly discouraged!"
        );
    }
    if bound.entrance().takes_secure() {
        info!(traffic, address = %bound.address, "serving client traffic securely");
    }
}

/// As many descriptors as this process may have, as Go takes them: shells give it few.
pub(crate) fn raise_descriptors() -> usize {
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
        "listen-client-http-urls" = urls(&settings.listen_client_http),
        "listen-metrics-urls" = urls(&settings.listen_metrics),
        cors = %settings.access.origins,
        "host-whitelist" = %settings.access.hosts,
        "initial-cluster" = bootstrap::show(&settings.initial_cluster),
        "initial-cluster-state" = if settings.is_new_cluster { "new" } else { "existing" },
        "initial-cluster-token" = settings.token,
        "quota-backend-bytes" = settings.quota_backend_bytes,
        "max-request-bytes" = settings.request_bytes_max,
        "max-concurrent-streams" = settings.streams_max,
        "starting an etcd server"
    );
}
