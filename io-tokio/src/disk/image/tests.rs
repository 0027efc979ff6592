//! Images sent, received, installed, and cut off at every point.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::ids::{LogIndex, Term};
use quorate_core::output::Batch;
use quorate_core::storage::{SnapshotMark, StateRead, Table, Write};
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::{ImageChunk, ImageHeader};
use quorate_proto::raftpb;

use super::*;
use crate::disk::store::Store;
use crate::disk::{StateWrite, memory_dir};

fn mark(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark { index: LogIndex(index), term: Term(term), ..Default::default() }
}

fn header(mark: &SnapshotMark) -> ImageHeader {
    let metadata = raftpb::SnapshotMetadata {
        index: mark.index.get(),
        term: mark.term.get(),
        conf_state: None,
    };
    let snapshot = raftpb::Snapshot { metadata: Some(metadata), ..Default::default() };
    let announce = raftpb::Message { snapshot: Some(snapshot), ..Default::default() };
    ImageHeader {
        announce: Some(announce),
        cluster_id: 1,
        from: 2,
        to: 3,
        ..ImageHeader::default()
    }
}

fn put(table: Table, key: &[u8], value: Vec<u8>) -> Write {
    Write { table, key: Bytes::copy_from_slice(key), value: Some(value.into()) }
}

/// A store with 30 records of 100 KB each and a row in `meta`.
fn full_store(root: &std::path::Path) -> Store {
    let mut store = Store::open(root).unwrap();
    let mut writes: Vec<_> =
        (0..30_u8).map(|i| put(Table::Key, &[i, i], vec![i; 100_000])).collect();
    writes.push(put(Table::Meta, b"applied", vec![1]));
    store.write(Batch { index: LogIndex(9), writes, ..Batch::default() }).unwrap();
    store
}

fn chunks(store: &Store, mark: &SnapshotMark) -> Vec<ImageChunk> {
    ImageChunks::new(header(mark), store.image()).map(Result::unwrap).collect()
}

fn content(image: &dyn StateRead) -> Vec<(Table, Vec<u8>, Bytes)> {
    let mut rows = Vec::new();
    for table in Table::ALL {
        let visit = &mut |key: &[u8], value: &Bytes| {
            rows.push((table, key.to_vec(), value.clone()));
            std::ops::ControlFlow::Continue(())
        };
        image.scan(table, b"", b"", visit).unwrap();
    }
    rows
}

#[test]
fn chunks_are_bounded_and_a_row_is_never_split() {
    let root = memory_dir();
    let store = full_store(root.path());
    let chunks = chunks(&store, &mark(9, 2));
    let rows = |chunk: &ImageChunk| match &chunk.chunk {
        Some(Chunk::Rows(rows)) => (rows.table, rows.rows.len()),
        Some(Chunk::Header(_)) => (100, 0),
        Some(Chunk::End(end)) => (200, end.rows as usize),
        None => unreachable!(),
    };
    let seen: Vec<_> = chunks.iter().map(rows).collect();
    assert_eq!(seen, [(100, 0), (5, 10), (5, 10), (5, 10), (9, 1), (200, 31)]);
}

#[test]
fn an_installed_image_replaces_everything_and_old_images_stay_readable() {
    let (sender_root, root) = (memory_dir(), memory_dir());
    let sender = full_store(sender_root.path());
    let mut store = Store::open(root.path()).unwrap();
    let old = vec![put(Table::Lease, b"old", vec![7])];
    store.write(Batch { writes: old, ..Batch::default() }).unwrap();
    let old_image = store.image();

    let announce = store.incoming().receive(chunks(&sender, &mark(9, 2)).into_iter()).unwrap();
    assert_eq!(announce.snapshot.unwrap().metadata.unwrap().index, 9);
    assert_eq!(content(&*store.image()).len(), 1, "nothing changes before it is installed");
    let image = store.install(&mark(9, 2)).unwrap();
    assert_eq!(content(&*image), content(&*sender.image()));
    assert_eq!(store.size().in_use, sender.size().in_use);
    assert_eq!(old_image.get(Table::Lease, b"old").unwrap().unwrap(), vec![7]);

    let late = vec![put(Table::Lease, b"late", vec![7])];
    assert!(!store.write(Batch { writes: late.clone(), ..Batch::default() }).unwrap());
    assert!(store.write(Batch { epoch: 1, writes: late, ..Batch::default() }).unwrap());
    assert!(root.path().join("0000000000000001").exists());
    drop(old_image);
    assert!(!root.path().join("0000000000000001").exists(), "nobody reads it any more");
    store.sync().unwrap();
    drop((store, image));
    let store = Store::open(root.path()).unwrap();
    assert_eq!(content(&*store.image()).len(), 32);
    assert_eq!(store.size().in_use, sender.size().in_use + 29);
}

#[test]
fn an_image_cut_off_or_changed_anywhere_is_not_taken() {
    let (sender_root, root) = (memory_dir(), memory_dir());
    let whole = chunks(&full_store(sender_root.path()), &mark(9, 2));
    let mut store = Store::open(root.path()).unwrap();
    let incoming = store.incoming();
    for cut in 1..whole.len() {
        let outcome = incoming.receive(whole[..cut].iter().cloned());
        assert_eq!(outcome.unwrap_err(), ImageError::CutOff);
    }
    let mut changes: Vec<Vec<ImageChunk>> = vec![whole[1..].to_vec()];
    changes.push([&whole[..1], &whole[2..]].concat());
    changes.push([&whole[..2], &whole[1..]].concat());
    let mut swapped = whole.clone();
    swapped.swap(1, 4);
    changes.push(swapped);
    let mut rotten = whole.clone();
    if let Some(Chunk::Rows(rows)) = &mut rotten[2].chunk {
        rows.rows[3].value = vec![0; 100_000].into();
    }
    changes.push(rotten);
    let mut unknown = whole.clone();
    if let Some(Chunk::Rows(rows)) = &mut unknown[4].chunk {
        rows.table = Table::ALL.len() as u32;
    }
    changes.push(unknown);
    for change in changes {
        let outcome = incoming.receive(change.into_iter());
        assert!(matches!(outcome, Err(ImageError::Malformed(_))), "{outcome:?}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left behind");
    let fault = store.install(&mark(9, 2)).err().unwrap();
    assert!(fault.what.contains("is not here any more"), "{fault}");
}

#[test]
fn one_image_is_received_at_a_time_and_the_newest_are_kept() {
    let (sender_root, root) = (memory_dir(), memory_dir());
    let sender = full_store(sender_root.path());
    let mut store = Store::open(root.path()).unwrap();
    let incoming = store.incoming();
    let nested = Arc::clone(&incoming);
    let inner = chunks(&sender, &mark(5, 1));
    let whole = chunks(&sender, &mark(6, 1)).into_iter().inspect(|_| {
        assert_eq!(nested.receive(inner.clone().into_iter()).unwrap_err(), ImageError::Busy);
    });
    incoming.receive(whole).unwrap();
    incoming.receive(chunks(&sender, &mark(7, 1)).into_iter()).unwrap();
    incoming.receive(chunks(&sender, &mark(8, 1)).into_iter()).unwrap();
    incoming.receive(chunks(&sender, &mark(8, 1)).into_iter()).unwrap();
    let incoming_folders = || {
        let list = std::fs::read_dir(root.path()).unwrap();
        list.filter(|e| e.as_ref().unwrap().path().extension().is_some()).count()
    };
    assert_eq!(incoming_folders(), 2, "6 made room");
    store.install(&mark(7, 1)).unwrap();
    store.install(&mark(8, 1)).unwrap();
    assert_eq!(incoming_folders(), 0);
}
