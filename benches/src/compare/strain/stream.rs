//! A large range, read slowly in chunks, not read at all, and read in one piece.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};

use super::{mib, peak_rss};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::dial::Connection;
use crate::servers::Group;

pub(super) const VALUE_BYTES: u64 = 4 << 10;
/// Keys put in one transaction.
const BATCH: u64 = 100;
/// How long the slow reader rests after each chunk.
const REST: Duration = Duration::from_millis(20);
/// How long the one that does not read is borne.
const SILENCE: Duration = Duration::from_secs(3);

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let addr = group.client_addrs[0];
    let keys = (args.range_mib << 20) / VALUE_BYTES;
    runtime.block_on(fill(addr, keys))?;
    // Caches fill with the first reading; what memory is for everybody is not the reader's.
    runtime.block_on(read_chunks(addr, keys, Duration::ZERO))?;
    let before = group.rss_kib()?;
    let mut lines = Vec::new();
    let mut tell = |what: &str, peak: u64, since: Instant| {
        let (more, seconds) = (mib(peak.saturating_sub(before)), since.elapsed().as_secs_f64());
        let range = format!("{} MiB {what}", args.range_mib);
        lines.push(format!("{range:28} memory {more:.1} MiB more, in {seconds:.1} s"));
    };
    let started = Instant::now();
    let slow = || runtime.block_on(read_chunks(addr, keys, REST));
    tell("in chunks, slowly", peak_rss(group, slow)?.1, started);
    let started = Instant::now();
    tell(
        "in chunks, not read",
        peak_rss(group, || runtime.block_on(stand_still(addr)))?.1,
        started,
    );
    let started = Instant::now();
    tell("in one piece", peak_rss(group, || runtime.block_on(read_whole(addr, keys)))?.1, started);
    Ok(lines)
}

async fn client(addr: SocketAddr) -> Outcome<KvClient<Connection>> {
    let connection = Connection::open(addr).await?;
    let origin = connection.origin.clone();
    Ok(KvClient::with_origin(connection, origin).max_decoding_message_size(2 << 30))
}

fn all() -> RangeRequest {
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    RangeRequest { key, range_end, ..RangeRequest::default() }
}

pub(super) async fn fill(addr: SocketAddr, keys: u64) -> Outcome<()> {
    let mut client = client(addr).await?;
    let value = Bytes::from(vec![b'v'; VALUE_BYTES as usize]);
    for first in (0..keys).step_by(BATCH as usize) {
        let put = |number| {
            let key = Bytes::from(format!("range/{number:010}"));
            let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
            RequestOp { request: Some(Op::RequestPut(put)) }
        };
        let success = (first..keys.min(first + BATCH)).map(put).collect();
        client.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
    }
    Ok(())
}

async fn read_chunks(addr: SocketAddr, keys: u64, rest: Duration) -> Outcome<()> {
    let mut chunks = client(addr).await?.range_stream(all()).await?.into_inner();
    let mut seen = 0;
    while let Some(chunk) = chunks.message().await? {
        seen += chunk.range_response.map_or(0, |response| response.kvs.len() as u64);
        tokio::time::sleep(rest).await;
    }
    check(seen, keys)
}

async fn stand_still(addr: SocketAddr) -> Outcome<()> {
    let _unread = client(addr).await?.range_stream(all()).await?;
    tokio::time::sleep(SILENCE).await;
    Ok(())
}

async fn read_whole(addr: SocketAddr, keys: u64) -> Outcome<()> {
    let whole = client(addr).await?.range(all()).await?.into_inner();
    check(whole.kvs.len() as u64, keys)
}

fn check(seen: u64, keys: u64) -> Outcome<()> {
    if seen == keys { Ok(()) } else { Err(format!("{seen} keys of {keys}").into()) }
}
