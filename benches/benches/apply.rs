//! `State` fed committed puts: decode, apply, answer, rows for the store and a published view.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use quorate_core::draw::{draw, draw_below};
use quorate_core::ids::{LogIndex, Term};
use quorate_core::storage::{Entry, Rows};
use quorate_core::time::Time;
use quorate_core::{Config, Machine, State, StateInput};
use quorate_proto::etcdserverpb::{InternalRaftRequest, PutRequest, RequestHeader};

const KEYS: u64 = 100_000;

/// The entry at `index`: 256 B for one of so many keys.
fn entry(index: u64) -> Entry {
    let key = format!("/registry/pods/default/{:08}", draw_below(KEYS, draw(1, 2, 3, index)));
    let put = PutRequest { key: key.into(), value: vec![7; 256].into(), ..PutRequest::default() };
    let request = InternalRaftRequest {
        header: Some(RequestHeader { id: index, ..RequestHeader::default() }),
        put: Some(put),
        ..InternalRaftRequest::default()
    };
    let data = request.encode_to_vec().into();
    Entry { term: Term(1), index: LogIndex(index), data, ..Entry::default() }
}

/// One turn: entries in, everything out, the store's word for it in.
fn turn(state: &mut State, entries: Vec<Entry>) {
    let index = entries.last().map_or(LogIndex(0), |entry| entry.index);
    state.handle(Time(1), StateInput::Committed { entries });
    while let Some(output) = state.poll_output() {
        drop(black_box(output));
    }
    state.handle(Time(1), StateInput::Stored { index, image: Arc::new(Rows::default()) });
}

fn apply(criterion: &mut Criterion) {
    for count in [1, 10, 100] {
        let config = Config::default();
        let mut state =
            State::open(&config, Arc::new(Rows::default()), Time(0)).expect("nothing to read");
        let mut next = 1;
        let mut entries = move |count: u64| -> Vec<Entry> {
            let first = next;
            next += count;
            (first..next).map(entry).collect()
        };
        (0..KEYS / 1_000).for_each(|_| turn(&mut state, entries(1_000)));
        let mut group = criterion.benchmark_group("apply puts of 256 B");
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} a turn"), |bencher| {
            bencher.iter_batched(
                || entries(count),
                |entries| turn(&mut state, entries),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, apply);
criterion_main!(benches);
