//! Leases that all end in the same second, each with a key.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, PutRequest, RequestOp, TxnRequest,
};
use tokio::task::JoinSet;

use super::median;
use super::puts::{Waits, paced};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::dial::Connection;
use crate::servers::Group;

const GRANTERS: i64 = 128;
/// Keys put in one transaction.
const BATCH: i64 = 100;
/// Windows that are measured while leases end.
const WINDOWS_MAX: u32 = 20;

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let addr = group.client_addrs[0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = Instant::now() + Duration::from_secs(args.lease_seconds);
    runtime.block_on(grant_all(addr, args.leases, end))?;
    let spare = end.saturating_duration_since(Instant::now());
    let wanted = args.window() * args.rounds;
    if spare < wanted {
        return Err(format!(
            "granting took too long: give more than --lease-seconds {}",
            args.lease_seconds
        )
        .into());
    }
    let measure = || paced(&group.client_addrs, args.window());
    let before: Vec<Waits> = (0..args.rounds).map(|_| measure()).collect::<Outcome<_>>()?;
    std::thread::sleep((end + Duration::from_secs(1)).saturating_duration_since(Instant::now()));
    let (started, mut meanwhile, mut left) = (Instant::now(), Vec::new(), Vec::new());
    while meanwhile.len() < WINDOWS_MAX as usize && left.last() != Some(&0) {
        meanwhile.push(measure()?);
        left.push(runtime.block_on(count(addr))?);
    }
    let of = |waits: &[Waits], pick: fn(&Waits) -> f64| median(waits.iter().map(pick).collect());
    let (p99_before, p99_with) = (of(&before, |w| w.p99), of(&meanwhile, |w| w.p99));
    let (p50_before, p50_with) = (of(&before, |w| w.p50), of(&meanwhile, |w| w.p50));
    let seconds = started.elapsed().as_secs_f64();
    Ok(vec![format!(
        "{:28} put p50 {p50_before:7.0} -> {p50_with:7.0} us   p99 {p99_before:7.0} -> \
         {p99_with:7.0} us   {:.2}x   {} left after {seconds:.0} s",
        format!("{} leases end", args.leases),
        p99_with / p99_before,
        left.last().copied().unwrap_or_default(),
    )])
}

async fn grant_all(addr: SocketAddr, leases: i64, end: Instant) -> Outcome<()> {
    let connection = Connection::open(addr).await?;
    let mut granting = JoinSet::new();
    for first in 1..=GRANTERS {
        let origin = connection.origin.clone();
        let mut client = LeaseClient::with_origin(connection.clone(), origin.clone());
        let mut kv = KvClient::with_origin(connection.clone(), origin);
        granting.spawn(async move {
            let own: Vec<i64> = (first..=leases).step_by(GRANTERS as usize).collect();
            for &id in &own {
                let left = end.saturating_duration_since(Instant::now());
                let ttl = left.as_secs() as i64 + 1;
                client.lease_grant(LeaseGrantRequest { id, ttl }).await?;
            }
            for batch in own.chunks(BATCH as usize) {
                kv.txn(attach(batch)).await?;
            }
            Ok::<_, tonic::Status>(())
        });
    }
    while let Some(ended) = granting.join_next().await {
        ended??;
    }
    Ok(())
}

fn attach(leases: &[i64]) -> TxnRequest {
    let put = |&lease: &i64| {
        let key = Bytes::from(format!("leased/{lease:010}"));
        let put = PutRequest { key, lease, ..PutRequest::default() };
        RequestOp { request: Some(Op::RequestPut(put)) }
    };
    TxnRequest { success: leases.iter().map(put).collect(), ..TxnRequest::default() }
}

async fn count(addr: SocketAddr) -> Outcome<usize> {
    let connection = Connection::open(addr).await?;
    let origin = connection.origin.clone();
    let client = LeaseClient::with_origin(connection, origin);
    let mut client = client.max_decoding_message_size(1 << 30);
    Ok(client.lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases.len())
}
