//! `quorate grpc-proxy`: a port that hands every call on to the members of a cluster.
//!
//! ```text
//! $ quorate grpc-proxy start --endpoints=a:2379,b:2379 --namespace=blue/
//!
//!   client ──> forward: one connection to one member, for all clients ──> member
//!                 └── frames: message by message, keys renamed where there is a namespace
//! ```
//!
//! Invariants
//! - Messages are handed on one by one, in their order; none is answered by the proxy itself.
//! - Who a client is, it says by its token: certificates end at the proxy, whose own names nobody.
//! - A member that is gone is replaced by the next one; calls under way on it fail as they would
//!   without a proxy.
//!
//! Deliberately absent: watches of several clients made one, reads answered from memory, members
//! of its own name in the list of members (`--resolver-prefix`), leased and ordered reads.
//!
//! Answers to: etcd v3.7.1 `server/etcdmain/grpc_proxy.go`, `server/proxy/grpcproxy/`

mod forward;
mod frames;
mod namespace;
mod pages;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing::{info, warn};

use crate::cli::{Flags, LogLevel, Url, secure_clients};
use crate::client::way::{Secure, Way};
use crate::client::{Client, Limits};
use crate::metrics::Traffic;
use crate::server::raise_descriptors;
use crate::srv::Domain;
use crate::tls::{Keyring, Source, common_name_in};
use crate::tool::flags::{self, duration};
use crate::tool::{self, Failure};
use crate::transport::bind::bind;
use crate::transport::listen::{Connections, Http2, NoGrpc, Port};
use crate::transport::{Entrance, IoThreads, Kind, Patience};
use forward::{Counts, Forward};
use namespace::Namespace;
use pages::Pages;

/// How long a connection to a member may take.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// After how much silence a member is probed if nobody wants it to be.
const NEVER: Duration = Duration::from_secs(24 * 3_600);
/// What a message may be larger than what it holds.
const ANSWER_BYTES_MAX: i64 = i32::MAX as i64;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "quorate grpc-proxy",
    about = "Hands calls on to a cluster's members.",
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Words {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the proxy.
    Start(Box<Start>),
}

/// Where from, where to, and how.
#[derive(Args, Debug)]
struct Start {
    /// where to listen
    #[arg(long, default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// further place to listen at for metrics and health, a URL
    #[arg(long, default_value = "")]
    metrics_addr: String,
    /// members, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    #[command(flatten)]
    domain: Domain,
    /// accepted: the proxy does not list itself
    #[arg(long, default_value = "127.0.0.1:23790")]
    advertise_client_url: String,
    /// what all keys begin with at the members, and not for clients
    #[arg(long, default_value = "")]
    namespace: String,
    /// the largest message to a member, in bytes
    #[arg(long, default_value_t = 1_572_864)]
    max_send_bytes: i64,
    /// the largest message from a member, in bytes
    #[arg(long, default_value_t = ANSWER_BYTES_MAX)]
    max_recv_bytes: i64,
    /// after how much silence a member is probed; 0s for never
    #[arg(long, default_value = "0s", value_parser = duration)]
    dial_keepalive_time: Duration,
    /// how long a member may take to answer that
    #[arg(long, default_value = "20s", value_parser = duration)]
    dial_keepalive_timeout: Duration,
    /// probe even when no call is under way
    #[arg(long)]
    permit_without_stream: bool,
    /// certificate shown to members, which must not have a common name
    #[arg(long, default_value = "")]
    cert: String,
    /// its private key
    #[arg(long, default_value = "")]
    key: String,
    /// authorities that members' certificates are verified with
    #[arg(long, default_value = "")]
    cacert: String,
    /// do not verify members' certificates (only for tests)
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    #[command(flatten)]
    listener: Listener,
    /// log more
    #[arg(long)]
    debug: bool,
}

/// How clients are served.
#[derive(Args, Debug)]
struct Listener {
    /// certificate shown to clients
    #[arg(long, default_value = "")]
    cert_file: String,
    /// its private key
    #[arg(long, default_value = "")]
    key_file: String,
    /// authorities whose clients are let in
    #[arg(long, default_value = "")]
    trusted_ca_file: String,
    /// list of revoked clients' certificates
    #[arg(long, default_value = "")]
    client_crl_file: String,
    /// show clients a certificate that the proxy makes for itself
    #[arg(long)]
    auto_tls: bool,
    /// below which that is kept
    #[arg(long, default_value = "default.proxy")]
    data_dir: String,
    /// years that it lasts
    #[arg(long, default_value_t = 1)]
    self_signed_cert_validity: u32,
    /// cipher suites of TLS 1.2, separated by commas
    #[arg(long, default_value = "")]
    listen_cipher_suites: String,
    /// oldest version of TLS
    #[arg(long, default_value = "TLS1.2")]
    tls_min_version: String,
    /// newest version of TLS
    #[arg(long, default_value = "")]
    tls_max_version: String,
    /// most streams that a client may have open on one connection
    #[arg(long, default_value_t = u32::MAX)]
    max_concurrent_streams: u32,
    /// time a client must leave between two pings
    #[arg(long, default_value = "5s", value_parser = duration)]
    grpc_keepalive_min_time: Duration,
    /// how often an idle client is asked whether it is there
    #[arg(long, default_value = "2h", value_parser = duration)]
    grpc_keepalive_interval: Duration,
    /// how long it may take to answer
    #[arg(long, default_value = "20s", value_parser = duration)]
    grpc_keepalive_timeout: Duration,
}

/// Whether the program was called for it.
pub fn is_called(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "grpc-proxy")
}

/// Runs it, until a signal ends the process.
pub fn main(words: &[String]) -> ExitCode {
    let Command::Start(start) = match flags::parse::<Words>(words) {
        Ok(words) => words.command,
        Err(error) => return flags::tell_usage(&error),
    };
    let level = if start.debug { LogLevel::Debug } else { LogLevel::Info };
    tool::serve(level, run(&start))
}

async fn run(start: &Start) -> Result<(), Failure> {
    let client = Arc::new(client(start).await?);
    let counts = Arc::<Counts>::default();
    let bytes = |given: i64, usual: usize| match usize::try_from(given) {
        Ok(given) if given > 0 => given,
        _ => usual,
    };
    let forward = Forward {
        client: client.clone(),
        namespace: Namespace::new(&start.namespace),
        sent_bytes_max: bytes(start.max_send_bytes, usize::MAX),
        received_bytes_max: bytes(start.max_recv_bytes, usize::MAX),
        counts: counts.clone(),
    };
    let (keyring, calls_url) = start.listener.secured(&start.listen_addr)?;
    let entrance = Entrance::new(Kind::Client, !calls_url.is_secure, keyring.clone());
    let listen = |url: &Url| {
        bind(&url.place).map_err(|error| Failure::new(format!("listen {url}: {error}")))
    };
    let calls = listen(&calls_url)?.with_entrance(entrance);
    let threads = IoThreads::for_clients();
    let threads = threads.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let connections = Connections::within(raise_descriptors());
    let http2 = start.listener.http2();
    let pages = || Pages { client: client.clone(), counts: counts.clone() };
    let traffic = Traffic::default();
    let port = Port {
        grpc: Some(forward),
        gateway: None,
        console: None,
        access: None,
        pages: Some(pages()),
        http2,
        traffic: traffic.clone(),
    };
    info!(address = %calls.address, "started gRPC proxy");
    let metrics = async {
        if start.metrics_addr.is_empty() {
            return Ok(());
        }
        let url =
            Url::parse(&start.metrics_addr).map_err(|error| Failure::new(error.to_string()))?;
        let keyring = keyring.filter(|_| url.is_secure);
        let entrance = Entrance::new(Kind::Client, !url.is_secure, keyring);
        let bound = listen(&url)?.with_entrance(entrance);
        let port = Port {
            grpc: None::<NoGrpc>,
            gateway: None,
            console: None,
            access: None,
            pages: Some(pages()),
            http2,
            traffic,
        };
        connections.accept(bound, Arc::new(port), &threads).await;
        Ok(())
    };
    let served = async {
        connections.accept(calls, Arc::new(port), &threads).await;
        Ok::<_, Failure>(())
    };
    tokio::try_join!(metrics, served).map(drop)
}

/// A client of the members, which is nobody: those who call say who they are.
async fn client(start: &Start) -> Result<Client, Failure> {
    let trusted_ca = Source::new("cacert", &start.cacert);
    let found = start.domain.members(trusted_ca).await.map_err(Failure::new)?;
    let endpoints = match found.as_slice() {
        [] => start.endpoints.clone(),
        found => found.iter().map(|target| target.url.to_string()).collect(),
    };
    check_nameless(&start.cert)?;
    if start.insecure_skip_tls_verify {
        warn!("--insecure-skip-tls-verify was given: members' certificates are not verified");
    }
    let secure = Secure {
        cert: start.cert.clone(),
        key: start.key.clone(),
        cacert: start.cacert.clone(),
        insecure_skip_tls_verify: start.insecure_skip_tls_verify,
        ..Secure::default()
    };
    let keepalive_time = match start.dial_keepalive_time {
        Duration::ZERO => NEVER,
        given => given,
    };
    let patience = Patience::of_client(DIAL_MAX, keepalive_time, start.dial_keepalive_timeout);
    let patience = Patience { asks_when_idle: start.permit_without_stream, ..patience };
    let way = Way::new(&secure, patience).map_err(Failure::new)?;
    Ok(Client::new(way, &endpoints, None, Limits::new(DIAL_MAX))?.quiet())
}

/// Whoever called would be who the proxy's certificate names, without a password.
fn check_nameless(cert: &str) -> Result<(), Failure> {
    if cert.is_empty() {
        return Ok(());
    }
    let name = common_name_in(Path::new(cert)).map_err(Failure::new)?;
    match name {
        None => Ok(()),
        Some(name) => Err(Failure::new(format!(
            "cert has non empty Common Name ({name}): {cert}; issue one without, or every client \
             of the proxy is that user"
        ))),
    }
}

impl Listener {
    /// What clients are served with, and where.
    fn secured(&self, address: &str) -> Result<(Option<Arc<Keyring>>, Url), Failure> {
        let is_secure = self.auto_tls || !self.cert_file.is_empty() || !self.key_file.is_empty();
        let scheme = if is_secure { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{address}"));
        let url = url.map_err(|error| Failure::new(format!("--listen-addr: {error}")))?;
        if !is_secure {
            return Ok((None, url));
        }
        let set = |flags: &mut Flags| {
            flags.cert_file.clone_from(&self.cert_file);
            flags.key_file.clone_from(&self.key_file);
            flags.trusted_ca_file.clone_from(&self.trusted_ca_file);
            flags.client_crl_file.clone_from(&self.client_crl_file);
            flags.auto_tls = self.auto_tls;
            flags.self_signed_cert_validity = self.self_signed_cert_validity;
            flags.cipher_suites.clone_from(&self.listen_cipher_suites);
            flags.tls_min_version.clone_from(&self.tls_min_version);
            flags.tls_max_version.clone_from(&self.tls_max_version);
        };
        let secured = secure_clients(set, Path::new(&self.data_dir), &url);
        let (security, remarks) = secured.map_err(|error| Failure::new(error.text))?;
        for remark in remarks {
            warn!("{remark}");
        }
        let keyring = Keyring::open("client", security).map_err(Failure::new)?;
        Ok((Some(Arc::new(keyring)), url))
    }

    fn http2(&self) -> Http2 {
        Http2 {
            streams_max: self.max_concurrent_streams,
            keepalive_interval: self.grpc_keepalive_interval.max(Duration::from_secs(1)),
            keepalive_timeout: self.grpc_keepalive_timeout,
            keepalive_min_time: Some(self.grpc_keepalive_min_time),
        }
    }
}
