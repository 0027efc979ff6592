//! Watch fan-out: few writers, many watchers of one prefix.
//!
//! ```text
//! writer w: put watch/w, stamped with the time --> all watchers have seen it --> next put
//! ```
//!
//! A writer waits for its slowest watcher, so the number of events under way is bounded and the
//! lag of each means something. Operations are events delivered; latency is from the call of the
//! put to the event's arrival.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::Outcome;
use crate::dial::Connection;
use crate::load::{Tally, Window};
use crate::workload::VALUE_BYTES;

const WRITERS: usize = 16;
const CONNECTIONS: usize = 4;
/// How long a writer waits for one event to reach everybody.
const DELIVERY_MAX: Duration = Duration::from_secs(10);

/// What all tasks of one run share.
struct Shared {
    epoch: Instant,
    window: Window,
    watchers: usize,
    tally: Mutex<Tally>,
    seen: Vec<(AtomicUsize, Notify)>,
}

/// Runs writers and watchers until the window ends.
pub(crate) fn drive(addrs: &[SocketAddr], watchers: usize, window: Window) -> Outcome<Tally> {
    let seen = (0..WRITERS).map(|_| (AtomicUsize::new(0), Notify::new())).collect();
    let tally = Mutex::new(Tally::new());
    let shared = Arc::new(Shared { epoch: Instant::now(), window, watchers, tally, seen });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(addrs, &shared))?;
    drop(runtime);
    let shared = Arc::into_inner(shared).ok_or("a watcher outlived its runtime")?;
    Ok(shared.tally.into_inner()?)
}

async fn run(addrs: &[SocketAddr], shared: &Arc<Shared>) -> Outcome<()> {
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        connections.push(Connection::open(addrs[number % addrs.len()]).await?);
    }
    let mut watching = JoinSet::new();
    for number in 0..shared.watchers {
        let stream = watch(connections[number % CONNECTIONS].clone()).await?;
        watching.spawn(receive(stream, shared.clone()));
    }
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        writing.spawn(write(connections[writer % CONNECTIONS].clone(), writer, shared.clone()));
    }
    while let Some(ended) = writing.join_next().await {
        ended??;
    }
    Ok(())
}

/// The answers, and the requests' end, which must stay open for as long.
struct Watching {
    answers: Streaming<WatchResponse>,
    _requests: mpsc::Sender<WatchRequest>,
}

async fn watch(connection: Connection) -> Outcome<Watching> {
    let origin = connection.origin.clone();
    let mut client = WatchClient::with_origin(connection, origin);
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"watch/"),
        range_end: Bytes::from_static(b"watch0"),
        ..WatchCreateRequest::default()
    };
    let (requests, outgoing) = mpsc::channel(1);
    let request_union = Some(RequestUnion::CreateRequest(create));
    requests.send(WatchRequest { request_union }).await?;
    let mut answers = client.watch(ReceiverStream::new(outgoing)).await?.into_inner();
    match answers.message().await? {
        Some(answer) if answer.created => Ok(Watching { answers, _requests: requests }),
        answer => Err(format!("a watch began with {answer:?}").into()),
    }
}

async fn receive(mut watching: Watching, shared: Arc<Shared>) -> Result<(), Status> {
    while let Some(answer) = watching.answers.message().await? {
        for event in &answer.events {
            let Some((writer, called)) = event.kv.as_ref().and_then(|kv| parse_stamp(&kv.value))
            else {
                return Err(Status::data_loss("an event without a stamp"));
            };
            shared.note_event(writer, called);
        }
    }
    Ok(())
}

impl Shared {
    fn note_event(&self, writer: usize, called: Duration) {
        let now = Instant::now();
        if self.window.contains(now) {
            let lag = (now - self.epoch).saturating_sub(called);
            self.tally.lock().expect("no task panics holding it").record(lag);
        }
        let Some((count, done)) = self.seen.get(writer) else { return };
        if count.fetch_add(1, Ordering::Relaxed) + 1 == self.watchers {
            done.notify_one();
        }
    }
}

async fn write(connection: Connection, writer: usize, shared: Arc<Shared>) -> Result<(), Status> {
    let origin = connection.origin.clone();
    let mut kv = KvClient::with_origin(connection, origin);
    let key = Bytes::from(format!("watch/{writer}"));
    let (count, done) = &shared.seen[writer];
    while Instant::now() < shared.window.end {
        count.store(0, Ordering::Relaxed);
        let value = stamp(writer, shared.epoch.elapsed());
        kv.put(PutRequest { key: key.clone(), value, ..PutRequest::default() }).await?;
        if tokio::time::timeout(DELIVERY_MAX, done.notified()).await.is_err() {
            let seen = count.load(Ordering::Relaxed);
            let text = format!("{seen} of {} watchers saw an event in 10 s", shared.watchers);
            return Err(Status::deadline_exceeded(text));
        }
    }
    Ok(())
}

fn stamp(writer: usize, called: Duration) -> Bytes {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&(writer as u64).to_be_bytes());
    value[8..16].copy_from_slice(&(called.as_nanos() as u64).to_be_bytes());
    Bytes::from(value)
}

fn parse_stamp(value: &[u8]) -> Option<(usize, Duration)> {
    let (writer, rest) = value.split_first_chunk()?;
    let (nanos, _) = rest.split_first_chunk()?;
    let writer = usize::try_from(u64::from_be_bytes(*writer)).ok()?;
    Some((writer, Duration::from_nanos(u64::from_be_bytes(*nanos))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back() {
        let value = stamp(3, Duration::from_nanos(123_456_789));
        assert_eq!(value.len(), VALUE_BYTES);
        assert_eq!(parse_stamp(&value), Some((3, Duration::from_nanos(123_456_789))));
        assert_eq!(parse_stamp(b"short"), None);
    }
}
