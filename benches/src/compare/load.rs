//! The load generator: a few threads, a runtime each, clients in closed loops on few connections.
//! Nothing crosses threads while a window is open.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use tokio::task::{JoinSet, LocalSet};

use crate::Outcome;
use crate::dial::Connection;
use crate::servers::Group;
use crate::workload::{Client, VALUE_BYTES, Workload, key};

/// Keys written by one transaction of the preload; etcd's default limit is 128.
const PRELOAD_BATCH: u64 = 100;
/// Most connections, however many the clients.
const CONNECTIONS_MAX: usize = 8;
/// Longest latency told apart from longer ones.
const LATENCY_NANOS_MAX: u64 = 120_000_000_000;

/// How much load, for how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Keys present before the first workload.
    pub(crate) keys: u64,
    /// Load before the window opens.
    pub(crate) warm: Duration,
    /// Length of the window.
    pub(crate) measured: Duration,
    /// Threads of the generator.
    pub(crate) threads: usize,
}

/// When operations count: those that end inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

impl Window {
    pub(crate) fn ahead(plan: &Plan) -> Self {
        let start = Instant::now() + plan.warm;
        Self { start, end: start + plan.measured }
    }

    pub(crate) fn contains(&self, instant: Instant) -> bool {
        self.start <= instant && instant < self.end
    }
}

/// What one thread saw inside the window; the sum of several is what all saw.
pub(crate) struct Tally {
    pub(crate) latency_nanos: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latency_nanos = Histogram::new_with_bounds(1_000, LATENCY_NANOS_MAX, 3)
            .expect("constant bounds that hdrhistogram accepts");
        Self { latency_nanos }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_nanos.saturating_record(nanos);
    }

    pub(crate) fn merge(tallies: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::new();
        for tally in tallies {
            sum.latency_nanos.add(&tally.latency_nanos).expect("all tallies have the same bounds");
        }
        sum
    }

    pub(crate) fn ops(&self) -> u64 {
        self.latency_nanos.len()
    }
}

/// Connections for so many clients over so many members: one alone goes to the leader, which is
/// the first address; a crowd spreads evenly.
pub(crate) fn connection_count(clients: usize, members: usize) -> usize {
    if clients < 8 {
        return 1;
    }
    let wanted = (clients / 16).clamp(2, CONNECTIONS_MAX).max(members);
    wanted.div_ceil(members) * members
}

/// Runs closed loops until the window ends.
pub(crate) fn drive(
    addrs: &[SocketAddr],
    workload: Workload,
    plan: &Plan,
    window: Window,
) -> Outcome<Tally> {
    let connections = connection_count(workload.clients, addrs.len());
    let threads = plan.threads.min(connections);
    std::thread::scope(|scope| {
        let spawn = |thread: usize| {
            let share = Share { thread, threads, connections };
            scope.spawn(move || share.run(addrs, workload, plan.keys, window))
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        let joined = running.into_iter().map(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err("a load thread panicked".into()),
        });
        Ok(Tally::merge(joined.collect::<Outcome<Vec<Tally>>>()?))
    })
}

/// One thread's part of the connections and clients.
struct Share {
    thread: usize,
    threads: usize,
    connections: usize,
}

impl Share {
    fn run(
        &self,
        addrs: &[SocketAddr],
        workload: Workload,
        keys: u64,
        window: Window,
    ) -> Outcome<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let tally = Rc::new(RefCell::new(Tally::new()));
            let mut clients = JoinSet::new();
            for number in (self.thread..self.connections).step_by(self.threads) {
                let connection = Connection::open(addrs[number % addrs.len()]).await?;
                for client in (number..workload.clients).step_by(self.connections) {
                    let (connection, tally) = (connection.clone(), tally.clone());
                    let client = Client::new(connection, workload.kind, client as u64, keys);
                    clients.spawn_local(repeat(client, window, tally));
                }
            }
            while let Some(ended) = clients.join_next().await {
                ended??;
            }
            drop(clients);
            let tally = Rc::try_unwrap(tally).map_err(|_| "a client outlived its thread")?;
            Ok(tally.into_inner())
        })
    }
}

async fn repeat(
    mut client: Client,
    window: Window,
    tally: Rc<RefCell<Tally>>,
) -> Result<(), tonic::Status> {
    let mut called = Instant::now();
    while called < window.end {
        client.step().await?;
        let answered = Instant::now();
        if window.contains(answered) {
            tally.borrow_mut().record(answered - called);
        }
        called = answered;
    }
    Ok(())
}

/// Writes `plan.keys` keys, many to a transaction.
pub(crate) fn preload(group: &Group, plan: &Plan) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = Connection::open(group.client_addrs[0]).await?;
        let mut running = JoinSet::new();
        for first in (0..plan.keys).step_by(PRELOAD_BATCH as usize) {
            let mut kv = KvClient::with_origin(connection.clone(), connection.origin.clone());
            running.spawn(async move { kv.txn(preload_batch(first)).await.map(|_| ()) });
            if running.len() >= 16 {
                running.join_next().await.transpose()?.transpose()?;
            }
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(())
    })
}

fn preload_batch(first: u64) -> TxnRequest {
    let value = Bytes::from(vec![b'p'; VALUE_BYTES]);
    let put = |number| {
        let put = PutRequest { key: key(number), value: value.clone(), ..Default::default() };
        RequestOp { request: Some(Op::RequestPut(put)) }
    };
    TxnRequest { success: (first..first + PRELOAD_BATCH).map(put).collect(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_hold_every_operation() {
        let mut one = Tally::new();
        let mut other = Tally::new();
        for micros in 1..=98 {
            one.record(Duration::from_micros(micros));
        }
        other.record(Duration::from_millis(50));
        other.record(Duration::from_millis(60));
        let sum = Tally::merge([one, other]);
        assert_eq!(sum.ops(), 100);
        let micros_at = |quantile| sum.latency_nanos.value_at_quantile(quantile) / 1_000;
        assert_eq!(micros_at(0.5), 50);
        assert!((49_900..=50_100).contains(&micros_at(0.99)));
        assert!((59_900..=60_100).contains(&micros_at(1.0)));
    }

    #[test]
    fn connections_are_few_and_even() {
        let counts: Vec<_> = [(1, 1), (64, 1), (512, 1), (1, 3), (64, 3), (512, 3)]
            .map(|(clients, members)| connection_count(clients, members))
            .into();
        assert_eq!(counts, [1, 4, 8, 1, 6, 9]);
    }

    #[test]
    fn a_window_excludes_its_end() {
        let start = Instant::now();
        let window = Window { start, end: start + Duration::from_secs(1) };
        assert!(window.contains(start));
        assert!(!window.contains(window.end));
    }
}
