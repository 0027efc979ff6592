//! Clients that do not read: what they cost a real process, and that others do not notice.

mod accept;

use std::time::Duration;

use accept::api::{Api, channel};
use accept::{Cluster, Member};
use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest};
use tokio_stream::StreamExt as _;
use tonic::Streaming;

/// What a stream may cost while its client does not read: what is held for it, one slice more, and
/// the same frame twice on its way out, once as it is and once in bytes.
const STREAM_BYTES_MAX: u64 = 5 << 18;
/// What a range stream may: a chunk, and the one before in bytes; of four megabytes at most.
const RANGE_BYTES_MAX: u64 = 8 << 20;
const STREAMS: usize = 60;
const VALUE_BYTES: usize = 16 << 10;
const PUTS: usize = 1_500;

fn filled() -> Cluster {
    let cluster = Cluster::start(1);
    let api = Api::new(cluster.members[0].client);
    for number in 0..PUTS {
        api.put(&format!("k{number:05}"), vec![number as u8; VALUE_BYTES]).expect("a put");
    }
    cluster
}

/// The most memory beyond `before` that is seen while puts go on for a while.
async fn peak_beyond(before: u64, member: &Member) -> u64 {
    let mut peak = 0;
    for number in 0..150 {
        let client = member.client;
        let put = move || Api::new(client).put("live", vec![number; VALUE_BYTES]);
        tokio::task::spawn_blocking(put).await.expect("a task").expect("a put");
        peak = peak.max(member.rss_bytes().saturating_sub(before));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    peak
}

async fn watch_all(
    addr: std::net::SocketAddr,
) -> Streaming<quorate_proto::etcdserverpb::WatchResponse> {
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let messages = tokio_stream::iter([WatchRequest { request_union }]);
    let messages = messages.chain(tokio_stream::pending());
    WatchClient::new(channel(addr)).watch(messages).await.expect("a watch").into_inner()
}

#[tokio::test]
async fn watchers_that_do_not_read_cost_what_the_bounds_say() {
    let cluster = tokio::task::spawn_blocking(filled).await.expect("a task");
    let member = &cluster.members[0];
    // Somebody who reads first: what history costs when it is read is not the others' fault.
    let mut reader = watch_all(member.client).await;
    let mut seen = 0;
    while seen < PUTS {
        seen += reader.message().await.expect("a frame").expect("a frame").events.len();
    }
    let before = member.rss_bytes();
    let mut stuck = Vec::new();
    for _ in 0..STREAMS {
        stuck.push(watch_all(member.client).await);
    }
    let peak = peak_beyond(before, member).await;
    println!("{STREAMS} stuck watchers: {} KiB each", peak / STREAMS as u64 / 1_024);
    assert!(peak < STREAMS as u64 * STREAM_BYTES_MAX, "{peak} bytes");
    // They missed nothing by it.
    let mut late = stuck.pop().expect("one of them");
    let mut seen = 0;
    while seen < PUTS + 150 {
        seen += late.message().await.expect("a frame").expect("a frame").events.len();
    }
}

#[tokio::test]
async fn ranges_that_are_not_read_cost_what_the_bounds_say() {
    let cluster = tokio::task::spawn_blocking(filled).await.expect("a task");
    let member = &cluster.members[0];
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    let all = RangeRequest { key, range_end, ..RangeRequest::default() };
    let mut stuck = Vec::new();
    let mut before = None;
    for _ in 0..12 {
        let mut kv = KvClient::new(channel(member.client)).max_decoding_message_size(1 << 30);
        let mut chunks = kv.range_stream(all.clone()).await.expect("a stream").into_inner();
        if before.is_none() {
            while chunks.message().await.expect("a chunk").is_some() {}
            before = Some(member.rss_bytes());
        } else {
            stuck.push(chunks);
        }
    }
    let peak = peak_beyond(before.expect("read once"), member).await;
    println!("{} stuck ranges: {} KiB each", stuck.len(), peak / stuck.len() as u64 / 1_024);
    assert!(peak < stuck.len() as u64 * RANGE_BYTES_MAX, "{peak} bytes");
}
