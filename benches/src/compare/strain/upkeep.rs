//! Compaction of a long history, then defragmentation of a large store, while others put.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, PutRequest, RangeRequest, StatusRequest,
};

use super::median;
use super::puts::{Waits, fill, paced};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::dial::Connection;
use crate::servers::Group;

/// Values that make a store large.
const LARGE_BYTES: usize = 256 << 10;
/// How long a server that defragments in the background may take.
const DEFRAGMENTED_WITHIN: Duration = Duration::from_secs(120);

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let addrs = &group.client_addrs;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill_large(addrs[0], args.store_mib))?;
    fill(addrs, args.revisions)?;
    let window = || paced(addrs, args.window());
    let before: Vec<Waits> = (0..args.rounds).map(|_| window()).collect::<Outcome<_>>()?;
    let compacting = during(window, || on_runtime(compact(addrs[0])))?;
    let compacted = tell(&format!("{} revisions compacted", args.revisions), &before, &compacting);
    let defragmenting = during(window, || on_runtime(defragment(addrs)))?;
    let defragmented =
        tell(&format!("{} MiB defragmented", args.store_mib), &before, &defragmenting);
    Ok(vec![compacted, defragmented])
}

fn on_runtime(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Measures windows until the work is done: at least one.
fn during(
    window: impl Fn() -> Outcome<Waits>,
    work: impl FnOnce() -> Outcome<()> + Send,
) -> Outcome<(Vec<Waits>, Duration)> {
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let working = scope.spawn(move || work().map(|()| begun.elapsed()));
        let mut waits = vec![window()?];
        while !working.is_finished() {
            waits.push(window()?);
        }
        Ok((waits, working.join().map_err(|_| "the work panicked")??))
    })
}

fn tell(what: &str, before: &[Waits], (with, took): &(Vec<Waits>, Duration)) -> String {
    let of = |waits: &[Waits], pick: fn(&Waits) -> f64| median(waits.iter().map(pick).collect());
    let worst = |waits: &[Waits]| waits.iter().map(|it| it.longest).fold(0.0, f64::max);
    let (p99_before, p99_with) = (of(before, |it| it.p99), of(with, |it| it.p99));
    format!(
        "{what:28} put p99 {p99_before:7.0} -> {p99_with:7.0} us   longest {:7.0} -> {:7.0} us, \
         {:.1} ms over the p99 before   took {:.1} s",
        worst(before),
        worst(with),
        (worst(with) - p99_before) / 1e3,
        took.as_secs_f64()
    )
}

/// Puts so much into few keys, each many times: what is large is mostly history.
async fn fill_large(addr: SocketAddr, mib: u64) -> Outcome<()> {
    let connection = Connection::open(addr).await?;
    let mut client = KvClient::with_origin(connection.clone(), connection.origin.clone());
    for number in 0..(mib << 20) / LARGE_BYTES as u64 {
        // Does not compress: each word is another.
        let word = |n: u64| (number << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let value = Bytes::from_iter((0..LARGE_BYTES as u64 / 8).flat_map(word));
        let key = Bytes::from(format!("large/{:04}", number % 64));
        client.put(PutRequest { key, value, ..PutRequest::default() }).await?;
    }
    Ok(())
}

async fn compact(addr: SocketAddr) -> Outcome<()> {
    let connection = Connection::open(addr).await?;
    let mut client = KvClient::with_origin(connection.clone(), connection.origin.clone());
    let range = RangeRequest { key: Bytes::from_static(b"none"), ..RangeRequest::default() };
    let header = client.range(range).await?.into_inner().header.unwrap_or_default();
    let request = CompactionRequest { revision: header.revision, physical: true };
    client.compact(request).await?;
    Ok(())
}

/// Defragments each member and waits until its size shows it.
async fn defragment(addrs: &[SocketAddr]) -> Outcome<()> {
    for addr in addrs {
        let connection = Connection::open(*addr).await?;
        let origin = connection.origin.clone();
        let mut client = MaintenanceClient::with_origin(connection, origin);
        client.defragment(DefragmentRequest {}).await?;
        let begun = Instant::now();
        loop {
            let status = client.status(StatusRequest {}).await?.into_inner();
            if status.db_size <= status.db_size_in_use / 2 * 3 {
                break;
            }
            if begun.elapsed() > DEFRAGMENTED_WITHIN {
                return Err(format!("{addr} has not defragmented: {status:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}
