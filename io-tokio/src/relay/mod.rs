//! `quorate gateway`: a port whose connections are carried on to members, byte for byte.
//!
//! ```text
//! $ quorate gateway start --endpoints=a:2379,b:2379 --listen-addr=127.0.0.1:23790
//!
//!   client ──> accept ──> pool: whose turn is it? ──> a member that can be reached
//!                           └── every --retry-delay: are those back that could not be?
//! ```
//!
//! Clients and members speak TLS through it with each other; it reads nothing.
//!
//! Invariants
//! - A connection goes to one member until either side has ended it.
//! - Where no member can be reached, connections are closed at once.
//! - At most `CONNECTIONS_MAX` are carried at a time; further ones wait in the system's backlog.
//!
//! Deliberately absent: any knowledge of the protocol, which `quorate grpc-proxy` has.
//!
//! Answers to: etcd v3.7.1 `server/etcdmain/gateway.go`, `server/proxy/tcpproxy/userspace.go`

mod pool;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::cli::{LogLevel, Place, Url};
use crate::srv::{Domain, Target};
use crate::tls::Source;
use crate::tool::Failure;
use crate::tool::flags::{self, duration};
use crate::{tool, transport};
use pool::Pool;

/// Connections at once.
const CONNECTIONS_MAX: usize = transport::capacity::CONNECTIONS_MAX / 2;
/// How often those are tried that could not be reached, if nobody says.
const RETRY_DELAY: Duration = Duration::from_secs(300);
/// How long to rest when the system has no descriptor for a connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "quorate gateway",
    about = "Carries connections to a cluster's members.",
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Words {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the gateway.
    Start(Start),
}

/// Where from, and where to.
#[derive(Args, Debug)]
struct Start {
    /// where to listen
    #[arg(long, default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// members, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    #[command(flatten)]
    domain: Domain,
    /// authorities that certificates of the domain are verified with, a file
    #[arg(long, default_value = "")]
    trusted_ca_file: String,
    /// how often members are tried that could not be reached
    #[arg(long, default_value = "1m", value_parser = duration)]
    retry_delay: Duration,
}

/// Whether the program was called for it.
pub fn is_called(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "gateway")
}

/// Runs it, until a signal ends the process.
pub fn main(words: &[String]) -> ExitCode {
    let Command::Start(start) = match flags::parse::<Words>(words) {
        Ok(words) => words.command,
        Err(error) => return flags::tell_usage(&error),
    };
    tool::serve(LogLevel::Info, run(&start))
}

async fn run(start: &Start) -> Result<(), Failure> {
    let trusted_ca = Source::new("trusted-ca-file", &start.trusted_ca_file);
    let targets = match start.domain.members(trusted_ca).await.map_err(Failure::new)? {
        found if found.is_empty() => named(&start.endpoints)?,
        found => found,
    };
    let listen = resolve(&start.listen_addr, "listen address").await?;
    check_no_loop(&targets, &listen, &start.listen_addr).await?;
    let listener = TcpListener::bind(&listen[..]).await;
    let listener = listener
        .map_err(|error| Failure::new(format!("listen tcp {}: {error}", start.listen_addr)))?;
    let endpoints: Vec<_> = targets.iter().map(|target| target.url.place.to_string()).collect();
    let pool = Arc::new(Pool::new(targets));
    info!(endpoints = endpoints.join(","), "ready to proxy client requests");
    let delay = if start.retry_delay.is_zero() { RETRY_DELAY } else { start.retry_delay };
    tokio::spawn(retry(pool.clone(), delay));
    serve(&listener, &pool, delay).await;
    Ok(())
}

/// Members that are named one by one, whatever their scheme.
fn named(endpoints: &[String]) -> Result<Vec<Target>, Failure> {
    let parse = |endpoint: &String| {
        let bare = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
        let bare = bare.split('/').next().unwrap_or_default();
        Url::parse(&format!("http://{}", bare.trim())).map(Target::alone).map_err(|error| {
            Failure::new(format!("error parsing endpoint \"{endpoint}\": {error}"))
        })
    };
    endpoints.iter().map(parse).collect()
}

async fn resolve(address: &str, what: &str) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host(address).await;
    let found: Vec<_> = found.into_iter().flatten().collect();
    if found.is_empty() {
        return Err(Failure::new(format!("failed to resolve {what}: {address}")));
    }
    Ok(found)
}

/// Nobody would be served by a gateway that leads to itself.
async fn check_no_loop(
    targets: &[Target],
    listen: &[SocketAddr],
    named: &str,
) -> Result<(), Failure> {
    for target in targets {
        let place = &target.url.place;
        let found = resolve(&place.to_string(), "endpoint host").await?;
        if let Some(same) = found.iter().find(|address| listen.contains(address)) {
            return Err(Failure::new(format!(
                "SRV or endpoint ({place}->{same}) should not resolve to the gateway listen addr \
                 ({named})"
            )));
        }
    }
    Ok(())
}

/// Accepts connections, for ever.
async fn serve(listener: &TcpListener, pool: &Arc<Pool>, delay: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let incoming = match listener.accept().await {
            Ok((incoming, _)) => incoming,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let pool = pool.clone();
        tokio::spawn(async move {
            carry(incoming, &pool, delay).await;
            drop(place);
        });
    }
}

async fn carry(mut incoming: TcpStream, pool: &Pool, delay: Duration) {
    while let Some(chosen) = pool.pick() {
        match connect(pool.place(chosen)).await {
            Ok(mut outgoing) => {
                // However it ended, it is over.
                let _ = tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await;
                return;
            }
            Err(error) => {
                pool.set_active(chosen, false);
                let address = pool.place(chosen);
                warn!(%address, interval = ?delay, %error, "deactivated endpoint");
            }
        }
    }
}

async fn connect(place: &Place) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(place.to_string()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Looks again and again whether those can be reached that could not be.
async fn retry(pool: Arc<Pool>, delay: Duration) {
    loop {
        tokio::time::sleep(delay).await;
        for number in pool.inactive() {
            let address = pool.place(number);
            match connect(address).await {
                Ok(_) => {
                    pool.set_active(number, true);
                    info!(%address, "activated");
                }
                Err(error) => warn!(
                    %address, interval = ?delay, %error,
                    "failed to activate endpoint (stay inactive for another interval)"
                ),
            }
        }
    }
}
