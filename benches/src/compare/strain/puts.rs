//! Puts at a steady pace, and how long each takes; many puts as fast as they go.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::PutRequest;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{median, mib, peak_rss};
use crate::Outcome;
use crate::dial::Connection;
use crate::load::Tally;
use crate::servers::Group;
use crate::workload::VALUE_BYTES;

const CLIENTS: u64 = 16;
const CONNECTIONS: usize = 4;
/// Time between two puts of one client.
const PACE: Duration = Duration::from_millis(8);
/// Clients that put as fast as they can.
const FILLERS: u64 = 256;

/// How long puts took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) longest: f64,
}

/// Waits with and without a strain, taken in turns; a line that tells their medians.
pub(super) struct Turns(Vec<(Waits, Waits)>);

impl Turns {
    pub(super) fn take(
        rounds: u32,
        mut without: impl FnMut() -> Outcome<Waits>,
        mut with: impl FnMut() -> Outcome<Waits>,
    ) -> Outcome<Self> {
        (0..rounds).map(|_| Ok((without()?, with()?))).collect::<Outcome<_>>().map(Self)
    }

    /// The same, and the memory of the group: the least without the strain, and how much more the
    /// most with it is, in MiB.
    pub(super) fn take_with_memory(
        group: &Group,
        rounds: u32,
        without: impl Fn() -> Outcome<Waits> + Sync,
        with: impl Fn() -> Outcome<Waits> + Sync,
    ) -> Outcome<(Self, f64, f64)> {
        let (mut least, mut most) = (u64::MAX, 0);
        let turns = Self::take(
            rounds,
            || {
                let (waits, peak) = peak_rss(group, &without)?;
                least = least.min(peak);
                Ok(waits)
            },
            || {
                let (waits, peak) = peak_rss(group, &with)?;
                most = most.max(peak);
                Ok(waits)
            },
        )?;
        Ok((turns, mib(least), mib(most.saturating_sub(least))))
    }

    pub(super) fn tell(&self, what: &str) -> String {
        let of = |pick: fn(&(Waits, Waits)) -> f64| median(self.0.iter().map(pick).collect());
        let (p50_without, p50_with) = (of(|turn| turn.0.p50), of(|turn| turn.1.p50));
        let (p99_without, p99_with) = (of(|turn| turn.0.p99), of(|turn| turn.1.p99));
        format!(
            "{what:28} put p50 {p50_without:7.0} -> {p50_with:7.0} us   p99 {p99_without:7.0} -> \
             {p99_with:7.0} us   {:.2}x",
            p99_with / p99_without
        )
    }
}

async fn connections(addrs: &[SocketAddr]) -> Outcome<Vec<Connection>> {
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        connections.push(Connection::open(addrs[number % addrs.len()]).await?);
    }
    Ok(connections)
}

fn client(connections: &[Connection], number: u64) -> KvClient<Connection> {
    let connection = connections[number as usize % connections.len()].clone();
    let origin = connection.origin.clone();
    KvClient::with_origin(connection, origin)
}

fn put(number: u64) -> PutRequest {
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    PutRequest { key: Bytes::from(format!("strain/{number:010}")), value, ..Default::default() }
}

fn on_runtime<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Puts at a steady pace for so long.
pub(super) fn paced(addrs: &[SocketAddr], during: Duration) -> Outcome<Waits> {
    on_runtime(async {
        let connections = connections(addrs).await?;
        let mut clients = JoinSet::new();
        let end = Instant::now() + during;
        for number in 0..CLIENTS {
            clients.spawn(put_until(end, client(&connections, number), number));
        }
        let mut tallies = Vec::new();
        while let Some(ended) = clients.join_next().await {
            tallies.push(ended??);
        }
        let all = Tally::merge(tallies).latency_nanos;
        let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Waits { p50: micros(0.5), p99: micros(0.99), longest: micros(1.0) })
    })
}

async fn put_until(
    end: Instant,
    mut client: KvClient<Connection>,
    number: u64,
) -> Result<Tally, tonic::Status> {
    let mut tally = Tally::new();
    tokio::time::sleep(PACE * number as u32 / CLIENTS as u32).await;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while Instant::now() < end {
        pace.tick().await;
        let called = Instant::now();
        client.put(put(number)).await?;
        tally.record(called.elapsed());
    }
    Ok(tally)
}

/// Makes that many revisions, over a hundredth as many keys.
pub(super) fn fill(addrs: &[SocketAddr], revisions: u64) -> Outcome<()> {
    on_runtime(async {
        let connections = connections(addrs).await?;
        let mut clients = JoinSet::new();
        for first in 0..FILLERS {
            let mut client = client(&connections, first);
            clients.spawn(async move {
                for number in (first..revisions).step_by(FILLERS as usize) {
                    client.put(put(number % (revisions / 100).max(1))).await?;
                }
                Ok::<_, tonic::Status>(())
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        Ok(())
    })
}
