//! Appending to the log on a real disk, each append synced, in groups as group commit makes them.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, SnapshotMark};
use quorate_io_tokio::disk::{Identity, LogWrite, wal};

/// Appends between two cuts: what was written goes, or the disk would fill.
const APPENDS_PER_CUT: u64 = 1_000;

fn group_after(last: u64, count: u64) -> Persist {
    let entry = |index| Entry {
        term: Term(1),
        index: LogIndex(index),
        data: vec![7; 300].into(),
        ..Entry::default()
    };
    let entries = (last + 1..=last + count).map(entry).collect();
    Persist { number: 1, entries, must_sync: true, ..Persist::default() }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append 300 B entries and sync");
    for count in [1, 10, 100] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let folder = dir.path().join("wal");
        let identity = Identity { member: MemberId(1), cluster: ClusterId(1) };
        wal::create(&folder, identity, &wal::Settings::default()).expect("a new log");
        let opened = wal::open(&folder, &SnapshotMark::default(), wal::Settings::default());
        let (_, _, mut log) = opened.expect("the log just made");
        let (mut last, mut appends) = (0, 0);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} a sync"), |bencher| {
            bencher.iter(|| {
                let appended = log.append(&[group_after(last, count)]).expect("appended");
                assert!(!appended.sync_time.is_zero(), "it was synced");
                (last, appends) = (last + count, appends + 1);
                if appends % APPENDS_PER_CUT == 0 {
                    let index = LogIndex(last);
                    let mark = SnapshotMark { index, term: Term(1), ..SnapshotMark::default() };
                    log.cut(&mark).expect("cut");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
