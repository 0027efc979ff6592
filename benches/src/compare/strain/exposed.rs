//! Strangers who mean no good, or know no better: what their number and their words cost others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_io_tokio::bench::Target;
use quorate_io_tokio::bench::work::Unread;
use quorate_proto::etcdserverpb::{PutRequest, StatusRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{beside, until};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::data::{self, Fill};
use crate::paced::{Turns, paced};
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
/// Bytes of a value of what is listed.
const VALUE_BYTES: usize = 4 << 10;

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
    let keys = (args.list_mib << 20) / VALUE_BYTES as u64;
    Fill::all(data::keys(keys), VALUE_BYTES).run(group)?;
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
    let before = terms(group)?;
    let mut lines = Vec::new();
    for (what, attack) in attacks {
        lines.push(measure(group, args, &what, attack)?);
    }
    let elections = if terms(group)? == before { "no" } else { "AN" };
    lines.push(format!("{elections} election"));
    Ok(lines)
}

/// The raft term at each member.
fn terms(group: &Group) -> Outcome<Vec<u64>> {
    let term = |number| {
        group.ask_at(number, async |line| {
            Ok(line.maintenance().status(StatusRequest {}).await?.into_inner().raft_term)
        })
    };
    (0..group.client_addrs.len()).map(term).collect()
}

fn measure(group: &Group, args: &StrainArgs, what: &str, attack: Attack) -> Outcome<String> {
    let answered = AtomicU64::new(0);
    let attack = async |is_over: &AtomicBool| attack.carry_out(group, is_over, &answered).await;
    let (turns, before, more) = Turns::take_with_memory(
        group,
        args.rounds,
        || paced(group, args.seconds),
        || {
            beside(attack, || {
                std::thread::sleep(SETTLING);
                paced(group, args.seconds)
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
        group: &Group,
        is_over: &AtomicBool,
        answered: &AtomicU64,
    ) -> Outcome<()> {
        let (addr, target) = (group.client_addrs[0], group.target()?);
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
                    attackers.spawn(ask_for_too_much(target.clone()));
                }
            }
            Self::Lists(count) => {
                let list = Unread::new("/etcdserverpb.KV/Range", &data::everything());
                let mut line = target.line(0).await?;
                for number in 0..count {
                    if number % LISTS == LISTS - 1 {
                        line = target.line(0).await?;
                    }
                    let (list, line, said) = (list.clone(), line.clone(), said.clone());
                    attackers.spawn(async move {
                        while list.call(&line).await.is_ok() && said.send(()).is_ok() {}
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

/// Is refused, and asks again.
async fn ask_for_too_much(target: Arc<Target>) {
    let (key, value) = (Bytes::from_static(b"large"), vec![b'x'; OVERSIZED].into());
    let put = PutRequest { key, value, ..PutRequest::default() };
    let put = Unread::new("/etcdserverpb.KV/Put", &put);
    loop {
        let Ok(line) = target.line(0).await else { continue };
        while !line.is_closed() {
            // That it is refused is what it is for.
            let _ = put.call(&line).await;
        }
    }
}
