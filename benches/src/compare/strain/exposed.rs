//! Strangers who mean no good, or know no better: what their number and their words cost others.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use prost::Message as _;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::{PutRequest, StatusRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::codegen::{Body as _, Service as _};

use super::puts::{Turns, paced};
use super::stream::{self, fill};
use super::{beside, until};
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
/// Size of a request that is far too large.
const OVERSIZED: usize = 8 << 20;
/// The beginning of HTTP/2, and settings of none.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0whatever";
/// The head of stream 1, which does not end with its frame.
const UNENDED_HEAD: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01\x83";
/// More of that head, which does not end it either: `:method POST`, over and over.
const MORE_HEAD: &[u8] = b"\0\0\x08\x09\0\0\0\0\x01\x83\x83\x83\x83\x83\x83\x83\x83";
/// A message that asks for every key, and what precedes it.
const EVERYTHING: &[u8] = b"\0\0\0\0\x06\x0a\x01\0\x12\x01\0";

/// What is done to the server.
#[derive(Clone, Copy)]
enum Attack {
    /// So many connections say these words and nothing more.
    Hold(usize, &'static [u8]),
    /// A few connections say hello, these words, then the others as fast as they go.
    Flood(&'static [u8], &'static [u8]),
    /// Requests of which every one is far too large.
    Oversized,
    /// Everything is asked for by so many at once, over and over.
    Lists(usize),
}

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(group.client_addrs[0], (args.list_mib << 20) / stream::VALUE_BYTES))?;
    let connections = args.connections;
    let half_head = b"GET /version HTTP/1.1\r\nhost: x\r\nx-";
    let attacks = [
        (format!("{connections} idle connections"), Attack::Hold(connections, PREFACE)),
        (format!("{connections} half heads"), Attack::Hold(connections, half_head)),
        (format!("pings on {FLOODS} connections"), Attack::Flood(b"", PING)),
        (format!("endless heads on {FLOODS}"), Attack::Flood(UNENDED_HEAD, MORE_HEAD)),
        (format!("{} MiB requests on {FLOODS}", OVERSIZED >> 20), Attack::Oversized),
        (format!("{} lists of {} MiB", args.lists, args.list_mib), Attack::Lists(args.lists)),
    ];
    let terms = runtime.block_on(terms(group))?;
    let mut lines = Vec::new();
    for (what, attack) in attacks {
        lines.push(measure(group, args, &what, attack)?);
    }
    let elections = if runtime.block_on(self::terms(group))? == terms { "no" } else { "AN" };
    lines.push(format!("{elections} election"));
    Ok(lines)
}

/// The raft term at each member.
async fn terms(group: &Group) -> Outcome<Vec<u64>> {
    let mut terms = Vec::new();
    for &addr in &group.client_addrs {
        let connection = Connection::open(addr).await?;
        let origin = connection.origin.clone();
        let mut client = MaintenanceClient::with_origin(connection, origin);
        terms.push(client.status(StatusRequest::default()).await?.into_inner().raft_term);
    }
    Ok(terms)
}

fn measure(group: &Group, args: &StrainArgs, what: &str, attack: Attack) -> Outcome<String> {
    let addrs = &group.client_addrs;
    let answered = AtomicU64::new(0);
    let attack = async |is_over: &AtomicBool| attack.carry_out(addrs[0], is_over, &answered).await;
    let (turns, before, more) = Turns::take_with_memory(
        group,
        args.rounds,
        || paced(addrs, args.window()),
        || {
            beside(attack, || {
                std::thread::sleep(SETTLING);
                paced(addrs, args.window())
            })
        },
    )?;
    let answered = match answered.load(Ordering::Relaxed) {
        0 => String::new(),
        count => format!("   {count} answered"),
    };
    let memory = format!("memory {before:.0} MiB and {more:.0} more");
    Ok(format!("{}   {memory}{answered}", turns.tell(what)))
}

impl Attack {
    /// Goes on until told; counts what was answered as asked.
    async fn carry_out(
        self,
        addr: SocketAddr,
        is_over: &AtomicBool,
        answered: &AtomicU64,
    ) -> Outcome<()> {
        // Whoever still asks when it is over is dropped with the set.
        let mut attackers = JoinSet::new();
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        match self {
            Self::Hold(count, words) => {
                for _ in 0..count {
                    let mut stream = TcpStream::connect(addr).await?;
                    stream.write_all(words).await?;
                    attackers.spawn(async move {
                        std::future::pending::<()>().await;
                        drop(stream);
                    });
                }
            }
            Self::Flood(opening, more) => {
                for _ in 0..FLOODS {
                    attackers.spawn(flood(addr, opening, more));
                }
            }
            Self::Oversized => {
                for _ in 0..FLOODS {
                    attackers.spawn(ask_for_too_much(addr));
                }
            }
            Self::Lists(count) => {
                let mut connection = Connection::open(addr).await?;
                for number in 0..count {
                    if number % LISTS == LISTS - 1 {
                        connection = Connection::open(addr).await?;
                    }
                    let (connection, said) = (connection.clone(), said.clone());
                    attackers.spawn(async move {
                        while list(connection.clone()).await.is_ok() && said.send(()).is_ok() {}
                    });
                }
            }
        }
        until(is_over).await;
        while heard.try_recv().is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

async fn flood(addr: SocketAddr, opening: &'static [u8], more: &'static [u8]) {
    let more = more.repeat(500);
    let opening = [PREFACE, opening].concat();
    loop {
        // Who is hung up on comes again.
        let Ok(stream) = TcpStream::connect(addr).await else { continue };
        let (mut answers, mut words) = stream.into_split();
        let reading = async {
            let mut bytes = vec![0; 64 << 10];
            while matches!(answers.read(&mut bytes).await, Ok(read) if read > 0) {}
        };
        let writing = async {
            let mut is_heard = words.write_all(&opening).await.is_ok();
            while is_heard {
                is_heard = words.write_all(&more).await.is_ok();
            }
        };
        tokio::join!(reading, writing);
    }
}

/// Is refused, and asks again. What it says is made once: the server shall be busy, not the client.
async fn ask_for_too_much(addr: SocketAddr) {
    let (key, value) = (Bytes::from_static(b"large"), Bytes::from(vec![b'x'; OVERSIZED]));
    let put = PutRequest { key, value, ..PutRequest::default() }.encode_to_vec();
    let size = (put.len() as u32).to_be_bytes();
    let message = Bytes::from([&[0], &size[..], &put].concat());
    loop {
        let Ok(mut connection) = Connection::open(addr).await else { continue };
        while call(&mut connection, "Put", message.clone()).await.is_ok() {}
    }
}

/// Asks for everything, and forgets it as it comes.
async fn list(mut connection: Connection) -> Outcome<()> {
    call(&mut connection, "Range", Bytes::from_static(EVERYTHING)).await
}

/// Says a message to a method and lets the answer, whatever it is, pass by.
async fn call(connection: &mut Connection, method: &str, message: Bytes) -> Outcome<()> {
    let request = Request::post(format!("{}etcdserverpb.KV/{method}", connection.origin))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(message)))?;
    let mut body = Box::pin(connection.call(request).await?.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        frame?;
    }
    Ok(())
}
