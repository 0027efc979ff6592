//! Appending to the log on a real disk, each append synced, in groups as group commit makes them;
//! and the floor below it: as many bytes written where zeros are, and synced.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, SnapshotMark};
use quorate_io_tokio::disk::{Identity, LogWrite, wal};

/// What an entry of 300 B takes in the log.
const ENTRY_BYTES: usize = 328;
/// Size of the file the floor writes to, over and over.
const FLOOR_FILE_BYTES: u64 = 64_000_000;
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

fn floor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write as many bytes and sync: the floor");
    for count in [1, 10, 100] {
        let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
        file.write_all_at(&vec![0; FLOOR_FILE_BYTES as usize], 0).expect("zeros");
        file.sync_all().expect("synced");
        let bytes = vec![7; ENTRY_BYTES * count as usize];
        let mut offset = 0;
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} a sync"), |bencher| {
            bencher.iter(|| write_and_sync(&file, &bytes, &mut offset));
        });
    }
    group.finish();
}

fn write_and_sync(file: &File, bytes: &[u8], offset: &mut u64) {
    file.write_all_at(bytes, *offset).expect("written");
    file.sync_data().expect("synced");
    *offset += bytes.len() as u64;
    if *offset + bytes.len() as u64 > FLOOR_FILE_BYTES {
        *offset = 0;
    }
}

criterion_group!(benches, append, floor);
criterion_main!(benches);
