//! Clients that mean no good, or know no better: what their number and their words cost others.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::codegen::{Body as _, Service as _};

use super::beside;
use super::puts::{Turns, paced};
use super::stream::fill;
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::dial::Connection;
use crate::servers::Group;

/// How long an attack goes on before puts are measured.
const SETTLING: Duration = Duration::from_secs(2);
/// Connections of those who flood.
const FLOODS: usize = 8;
/// Lists on one connection.
const LISTS: usize = 50;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A message that asks for every key, and what precedes it.
const EVERYTHING: &str = "\0\0\0\0\x06\x0a\x01\0\x12\x01\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0whatever";

/// What is done to the server.
#[derive(Clone, Copy)]
enum Attack {
    /// Connections that have said hello and nothing since.
    Idle(usize),
    /// Connections in the middle of a request's head.
    HalfHeads(usize),
    /// Pings as fast as they go.
    Pings,
    /// Everything is asked for by so many at once, over and over.
    Lists(usize),
}

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(group.client_addrs[0], (args.list_mib << 20) / (4 << 10)))?;
    let attacks = [
        (format!("{} idle connections", args.connections), Attack::Idle(args.connections)),
        (format!("{} half heads", args.connections), Attack::HalfHeads(args.connections)),
        (format!("pings on {FLOODS} connections"), Attack::Pings),
        (format!("{} lists of {} MiB", args.lists, args.list_mib), Attack::Lists(args.lists)),
    ];
    attacks.iter().map(|(what, attack)| measure(group, args, what, *attack)).collect()
}

fn measure(group: &Group, args: &StrainArgs, what: &str, attack: Attack) -> Outcome<String> {
    let addrs = &group.client_addrs;
    let lists = AtomicU64::new(0);
    let (turns, before, more) = Turns::take_with_memory(
        group,
        args.rounds,
        || paced(addrs, args.window()),
        || {
            let client =
                async |is_over: &AtomicBool| attack.carry_out(addrs[0], is_over, &lists).await;
            let measure = || {
                std::thread::sleep(SETTLING);
                paced(addrs, args.window())
            };
            beside(client, measure)
        },
    )?;
    let answered = match lists.into_inner() {
        0 => String::new(),
        count => format!("   {count} lists answered"),
    };
    let memory = format!("memory {before:.0} MiB and {more:.0} more");
    Ok(format!("{}   {memory}{answered}", turns.tell(what)))
}

impl Attack {
    async fn carry_out(
        self,
        addr: SocketAddr,
        is_over: &AtomicBool,
        lists: &AtomicU64,
    ) -> Outcome<()> {
        match self {
            Self::Idle(count) => hold(addr, count, PREFACE, is_over).await,
            Self::HalfHeads(count) => {
                hold(addr, count, b"GET /version HTTP/1.1\r\nhost: x\r\nx-", is_over).await
            }
            Self::Pings => ping(addr, is_over).await,
            Self::Lists(count) => list(addr, count, is_over, lists).await,
        }
    }
}

async fn until(is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn hold(addr: SocketAddr, count: usize, words: &[u8], is_over: &AtomicBool) -> Outcome<()> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(words).await?;
        held.push(stream);
    }
    until(is_over).await;
    Ok(())
}

async fn ping(addr: SocketAddr, is_over: &AtomicBool) -> Outcome<()> {
    let pings = PING.repeat(500);
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..FLOODS {
        let pings = pings.clone();
        floods.spawn(async move {
            loop {
                // Who is hung up on comes again.
                let Ok(stream) = TcpStream::connect(addr).await else { continue };
                let (mut answers, mut words) = stream.into_split();
                let reading = async {
                    let mut bytes = vec![0; 64 << 10];
                    while matches!(answers.read(&mut bytes).await, Ok(read) if read > 0) {}
                };
                let writing = async {
                    let mut is_heard = words.write_all(PREFACE).await.is_ok();
                    while is_heard {
                        is_heard = words.write_all(&pings).await.is_ok();
                    }
                };
                tokio::join!(reading, writing);
            }
        });
    }
    until(is_over).await;
    Ok(())
}

async fn list(
    addr: SocketAddr,
    count: usize,
    is_over: &AtomicBool,
    lists: &AtomicU64,
) -> Outcome<()> {
    let mut asking = tokio::task::JoinSet::new();
    let mut connection = Connection::open(addr).await?;
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..count {
        if number % LISTS == LISTS - 1 {
            connection = Connection::open(addr).await?;
        }
        let (connection, said) = (connection.clone(), said.clone());
        asking.spawn(async move {
            while list_once(connection.clone()).await.is_ok() {
                if said.send(()).is_err() {
                    return;
                }
            }
        });
    }
    until(is_over).await;
    while heard.try_recv().is_ok() {
        lists.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Asks for everything, and forgets it as it comes.
async fn list_once(mut connection: Connection) -> Outcome<()> {
    let request = Request::post(format!("{}etcdserverpb.KV/Range", connection.origin))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(EVERYTHING.to_owned()))?;
    let mut body = Box::pin(connection.call(request).await?.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        frame?;
    }
    Ok(())
}
