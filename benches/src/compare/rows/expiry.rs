//! Of W13: leases that all end in the same second, each with a key, while others put.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_io_tokio::bench::Line;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, PutRequest, RequestOp, TxnRequest,
};
use tokio::task::JoinSet;

use super::Stage;
use crate::Outcome;
use crate::figure::Metric;
use crate::paced::{Waits, calm, paced};
use crate::row::Row;

const GRANTERS: i64 = 128;
/// Keys put in one transaction.
const BATCH: i64 = 100;
/// How long they may take to end: etcd takes a thousand a second, and so does Quorate.
const ENDED_WITHIN: Duration = Duration::from_secs(150);

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let (group, sizes) = (stage.start()?, stage.sizes());
    let (leases, windows) = (sizes.ending_leases, sizes.calm_windows);
    stage.say("grants leases");
    let end = Instant::now() + sizes.ending_after;
    group.ask(async |line| grant_all(&line, leases, end).await)?;
    if end.saturating_duration_since(Instant::now()) < sizes.measured * windows {
        return Err(format!("granting {leases} leases took too long to measure before").into());
    }
    stage.say("puts, and leases end");
    let before = calm(&group, windows, sizes.measured)?;
    std::thread::sleep((end + Duration::from_secs(1)).saturating_duration_since(Instant::now()));
    let (started, mut meanwhile, mut left) = (Instant::now(), Vec::new(), usize::MAX);
    while started.elapsed() < ENDED_WITHIN && left > 0 {
        meanwhile.push(paced(&group, sizes.measured)?);
        left = group.ask(async |line| count(&line).await)?;
    }
    let case = format!("{leases} ending at once");
    if left > 0 {
        let (server, seconds) = (stage.flavour().name(), started.elapsed().as_secs());
        return Err(format!("{server}: {left} of {case} are there after {seconds} s").into());
    }
    let with = Waits::middle(&meanwhile);
    stage.note(Row::W13, &case, Metric::P99, with.p99);
    stage.note(Row::W13, &case, Metric::Times, with.p99 / before.p99);
    stage.note(Row::W13, &case, Metric::Longest, with.longest);
    stage.note(Row::W13, &case, Metric::Seconds, started.elapsed().as_secs_f64());
    Ok(())
}

async fn grant_all(line: &Line, leases: i64, end: Instant) -> Outcome<()> {
    let mut granting = JoinSet::new();
    for first in 1..=GRANTERS {
        let (mut lease, mut kv) = (line.lease(), line.kv());
        granting.spawn(async move {
            let own: Vec<i64> = (first..=leases).step_by(GRANTERS as usize).collect();
            for &id in &own {
                let left = end.saturating_duration_since(Instant::now());
                let ttl = left.as_secs() as i64 + 1;
                lease.lease_grant(LeaseGrantRequest { id, ttl }).await?;
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

async fn count(line: &Line) -> Outcome<usize> {
    Ok(line.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases.len())
}
