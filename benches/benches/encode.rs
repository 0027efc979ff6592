//! One put on its way into the log and back: the envelope of an entry.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use quorate_proto::etcdserverpb::{InternalRaftRequest, PutRequest, RequestHeader};

fn envelope() -> InternalRaftRequest {
    InternalRaftRequest {
        header: Some(RequestHeader { id: 0x1234_5678_9abc_def0, ..RequestHeader::default() }),
        put: Some(PutRequest {
            key: Bytes::from_static(b"/registry/pods/default/web-0001"),
            value: Bytes::from(vec![0x5a; 256]),
            ..PutRequest::default()
        }),
        ..InternalRaftRequest::default()
    }
}

fn entry(criterion: &mut Criterion) {
    let request = envelope();
    let bytes = Bytes::from(request.encode_to_vec());
    let mut group = criterion.benchmark_group("entry of a 256 B put");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |bencher| {
        let mut buffer = Vec::with_capacity(bytes.len());
        bencher.iter(|| {
            buffer.clear();
            black_box(&request).encode(&mut buffer).expect("the buffer grows");
            black_box(buffer.len())
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| InternalRaftRequest::decode(black_box(bytes.clone())));
    });
    group.finish();
}

criterion_group!(benches, entry);
criterion_main!(benches);
