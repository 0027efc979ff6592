//! The key index and the ledger on top of it: a million keys, one reader's view always alive.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use quorate_core::draw::{draw, draw_below};
use quorate_core::event::KeyRange;
use quorate_core::ids::LeaseId;
use quorate_core::mvcc::index::{Index, Version};
use quorate_core::mvcc::{Mvcc, RevisionKey};
use quorate_core::storage::Rows;
use quorate_proto::etcdserverpb::RangeRequest;

const KEYS: u64 = 1_000_000;
const OLD_KEYS: u64 = 100_000;

fn key(number: u64) -> Vec<u8> {
    format!("/registry/pods/default/{:016x}", draw(0, 1, 2, number)).into_bytes()
}

fn lot(n: u64) -> u64 {
    draw_below(KEYS, draw(7, 7, 7, n))
}

fn put(index: &mut Index, key: &[u8], main: i64) {
    let before = index.as_of(key, i64::MAX);
    index.push(key, Version::put(RevisionKey { main, sub: 0 }, before));
}

fn index(criterion: &mut Criterion) {
    let mut index = Index::new();
    (0..KEYS).for_each(|number| put(&mut index, &key(number), 2 + number as i64));
    let keys: Vec<_> = (0..65_536).map(|n| key(lot(n))).collect();
    let (mut main, mut n) = (2 + KEYS as i64, 0);
    let mut next = || {
        (main, n) = (main + 1, (n + 1) % keys.len());
        (main, &keys[n])
    };
    criterion.bench_function("index/put, nobody looks on", |bencher| {
        bencher.iter(|| {
            let (main, key) = next();
            put(&mut index, key, main);
        });
    });
    let mut view = index.clone();
    criterion.bench_function("index/put, a new view after each", |bencher| {
        bencher.iter(|| {
            let (main, key) = next();
            put(&mut index, key, main);
            view = index.clone();
        });
    });
    criterion.bench_function("index/get", |bencher| {
        bencher.iter(|| black_box(index.as_of(next().1, i64::MAX)));
    });
    let half = KeyRange::From(Bytes::from_static(b"/registry/pods/default/7"));
    criterion.bench_function("index/count half of all", |bencher| {
        bencher.iter(|| black_box(index.count(&half, i64::MAX)));
    });
    let older = main - 1_000;
    criterion.bench_function("index/count half of all, 1,000 changes ago", |bencher| {
        bencher.iter(|| black_box(index.count(&half, older)));
    });
    drop(view);
}

/// Keys that changed several times: copying a leaf copies references to what each was before.
fn index_of_old_keys(criterion: &mut Criterion) {
    let mut index = Index::new();
    let mut mains = 2..;
    let mut next = |index: &mut Index, number: u64| {
        put(index, &key(number), mains.next().unwrap_or_default());
    };
    for _ in 0..4 {
        (0..OLD_KEYS).for_each(|number| next(&mut index, number));
    }
    let (mut n, mut view) = (0, index.clone());
    criterion.bench_function("index/put to a key with history, a new view after each", |bencher| {
        bencher.iter(|| {
            n += 1;
            next(&mut index, draw_below(OLD_KEYS, draw(7, 7, 7, n)));
            view = index.clone();
        });
    });
    drop(view);
}

fn ledger(criterion: &mut Criterion) {
    let mut mvcc = Mvcc::open(Arc::new(Rows::default())).expect("an empty store opens");
    let value = Bytes::from(vec![7; 256]);
    let write = |mvcc: &mut Mvcc, number: u64| {
        let mut writer = mvcc.writer();
        writer.put(&Bytes::from(key(number)), &value, LeaseId(0));
        writer.finish()
    };
    (0..100_000).for_each(|number| drop(write(&mut mvcc, number)));
    let (mut n, mut view) = (0, mvcc.view());
    criterion.bench_function("ledger/put 256 B, a new view after each", |bencher| {
        bencher.iter(|| {
            n += 1;
            black_box(write(&mut mvcc, n % 100_000));
            view = mvcc.view();
        });
    });
    let page = RangeRequest {
        key: Bytes::from_static(b"/"),
        range_end: Bytes::from_static(b"0"),
        limit: 1_000,
        ..RangeRequest::default()
    };
    criterion.bench_function("ledger/range of 1,000 keys", |bencher| {
        bencher.iter(|| black_box(view.range(&page)));
    });
    let one = RangeRequest { key: Bytes::from(key(1)), ..RangeRequest::default() };
    criterion.bench_function("ledger/get", |bencher| {
        bencher.iter(|| black_box(view.range(&one)));
    });
}

criterion_group!(benches, index, index_of_old_keys, ledger);
criterion_main!(benches);
