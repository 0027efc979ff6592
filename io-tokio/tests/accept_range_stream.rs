//! Ranges in chunks, as a client sees them: the same of a real etcd.

mod accept;

use accept::api::{Api, channel};
use accept::{Cluster, Options};
use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::{
    CompactionRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// `--max-request-bytes`: what chunks aim at.
const REQUEST_BYTES_MAX: usize = 10_000;

fn key(number: usize) -> Bytes {
    Bytes::from(format!("k{number:04}"))
}

/// Puts keys in one transaction.
async fn put_all(kv: &mut KvClient<Channel>, keys: std::ops::Range<usize>, value_bytes: usize) {
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let put = |number| {
        let put = PutRequest { key: key(number), value: value.clone(), ..Default::default() };
        RequestOp { request: Some(Op::RequestPut(put)) }
    };
    let request = TxnRequest { success: keys.map(put).collect(), ..TxnRequest::default() };
    kv.txn(request).await.expect("a transaction");
}

fn all() -> RangeRequest {
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    RangeRequest { key, range_end, ..RangeRequest::default() }
}

async fn stream(
    kv: &mut KvClient<Channel>,
    request: &RangeRequest,
) -> Result<Vec<RangeResponse>, Status> {
    let mut messages = kv.range_stream(request.clone()).await?.into_inner();
    let mut chunks = Vec::new();
    while let Some(message) = messages.message().await? {
        chunks.push(message.range_response.expect("a response in every message"));
    }
    Ok(chunks)
}

/// A member with 200 keys of 100 bytes each and one large one, and a client of it.
async fn member() -> (Cluster, KvClient<Channel>) {
    let flag = format!("--max-request-bytes={REQUEST_BYTES_MAX}");
    let cluster = Cluster::start_with(1, &Options { flags: vec![flag] });
    let mut kv = KvClient::new(channel(cluster.members[0].client));
    for first in (0..200).step_by(50) {
        put_all(&mut kv, first..first + 50, 100).await;
    }
    put_all(&mut kv, 200..201, 8_000).await;
    (cluster, kv)
}

#[tokio::test]
async fn chunks_grow_and_together_they_are_the_whole_answer() {
    let (_cluster, mut kv) = member().await;
    for (limit, expected) in [
        (0, vec![10, 20, 40, 80, 51]),
        (1, vec![1]),
        (10, vec![10]),
        (11, vec![10, 1]),
        (95, vec![10, 20, 40, 25]),
        (170, vec![10, 20, 40, 80, 20]),
        (201, vec![10, 20, 40, 80, 51]),
    ] {
        let request = RangeRequest { limit, ..all() };
        let whole = kv.range(request.clone()).await.expect("an answer").into_inner();
        let chunks = stream(&mut kv, &request).await.expect("chunks");
        let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.kvs.len()).collect();
        assert_eq!(sizes, expected, "limit {limit}");
        for chunk in &chunks[..chunks.len() - 1] {
            assert_eq!((&chunk.header, chunk.more, chunk.count), (&None, false, 0));
        }
        let last = chunks.last().expect("one at least").clone();
        let kvs = chunks.into_iter().flat_map(|chunk| chunk.kvs).collect();
        assert_eq!(RangeResponse { kvs, ..last }, whole, "limit {limit}");
    }
}

#[tokio::test]
async fn counts_and_empty_ranges_are_one_message() {
    let (_cluster, mut kv) = member().await;
    let one = RangeRequest { key: key(7), range_end: Bytes::new(), ..all() };
    let none = RangeRequest { key: key(7), range_end: key(3), ..all() };
    let count = RangeRequest { count_only: true, limit: 3, ..all() };
    for request in [one, none, count] {
        let whole = kv.range(request.clone()).await.expect("an answer").into_inner();
        assert_eq!(stream(&mut kv, &request).await.expect("chunks"), [whole]);
    }
    let keys = RangeRequest { keys_only: true, key: key(100), ..all() };
    let whole = kv.range(keys.clone()).await.expect("an answer").into_inner();
    let kvs = stream(&mut kv, &keys).await.expect("chunks").into_iter().flat_map(|c| c.kvs);
    assert_eq!(kvs.collect::<Vec<_>>(), whole.kvs);
}

#[tokio::test]
async fn what_cannot_be_answered_in_chunks_is_refused() {
    let (_cluster, mut kv) = member().await;
    kv.compact(CompactionRequest { revision: 4, physical: false }).await.expect("a compaction");
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let future = "etcdserver: mvcc: required revision is a future revision";
    for (request, code, text) in [
        (
            RangeRequest { sort_order: 2, min_mod_revision: 1, ..all() },
            Code::Unimplemented,
            "RangeStream does not support custom sort orders",
        ),
        (
            RangeRequest { max_create_revision: 1, ..all() },
            Code::Unimplemented,
            "RangeStream does not support revision filters",
        ),
        (RangeRequest::default(), Code::InvalidArgument, "etcdserver: key is not provided"),
        (
            RangeRequest { sort_target: 9, ..all() },
            Code::InvalidArgument,
            "etcdserver: invalid sort option",
        ),
        (RangeRequest { revision: 3, ..all() }, Code::OutOfRange, compacted),
        (RangeRequest { revision: 99, ..all() }, Code::OutOfRange, future),
    ] {
        let refused = stream(&mut kv, &request).await.expect_err(text);
        assert_eq!((refused.code(), refused.message()), (code, text), "{request:?}");
    }
}

/// Writes do not show, a compaction ends it: the reader is slow, so that both find it half-way.
#[tokio::test]
async fn a_stream_stays_at_its_revision_and_ends_with_it() {
    let (cluster, mut kv) = member().await;
    let write = |number: usize| {
        let client = cluster.members[0].client;
        let put = move || Api::new(client).put(&format!("big{number:03}"), vec![b'v'; 9_000]);
        tokio::task::spawn_blocking(move || put().expect("a put"))
    };
    // More than the windows and buffers on the way to a reader that does not read can hold.
    let mut revision = 0;
    for number in 0..900 {
        revision = write(number).await.expect("a task");
    }
    let request = RangeRequest { key: Bytes::from_static(b"big"), ..all() };
    for is_compacted in [false, true] {
        let mut messages = kv.range_stream(request.clone()).await.expect("a stream").into_inner();
        let mut kvs = Vec::new();
        let first = messages.message().await.expect("a message").expect("a message");
        kvs.extend(first.range_response.expect("a response").kvs);
        let newest = write(999).await.expect("a task");
        if is_compacted {
            let request = CompactionRequest { revision: newest, physical: true };
            kv.compact(request).await.expect("a compaction");
        }
        let end = loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    let chunk = message.range_response.expect("a response");
                    kvs.extend(chunk.kvs);
                    if let Some(header) = chunk.header {
                        break Ok((header.revision, chunk.count));
                    }
                }
                Ok(None) => panic!("a stream without an end"),
                Err(status) => break Err(status.code()),
            }
        };
        if is_compacted {
            assert_eq!(end, Err(Code::OutOfRange));
        } else {
            assert_eq!(end, Ok((revision, 1_101)));
            assert!(kvs.iter().all(|kv| kv.mod_revision <= revision));
        }
    }
}
