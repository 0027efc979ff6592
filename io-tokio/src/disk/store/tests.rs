//! The store against fjall's habits.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::ids::LogIndex;
use quorate_core::storage::{Table, Write};

use super::*;
use crate::disk::{Haste, memory_dir};

fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
    let (key, value) = (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
    Write { table, key, value }
}

fn remove(table: Table, key: &[u8]) -> Write {
    Write { table, key: Bytes::copy_from_slice(key), value: None }
}

fn batch(index: u64, writes: Vec<Write>) -> Batch {
    Batch { index: LogIndex(index), writes, ..Batch::default() }
}

fn rows(image: &dyn StateRead, table: Table, from: &[u8], until: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &Bytes| {
        rows.push((key.to_vec(), value.clone()));
        ControlFlow::Continue(())
    };
    image.scan(table, from, until, visit).unwrap();
    rows
}

#[test]
fn batches_are_visible_in_later_images_only_and_survive() {
    let root = memory_dir();
    let mut store = Store::open(root.path()).unwrap();
    assert!(store.is_empty().unwrap());
    let before = store.image();
    let writes = vec![
        put(Table::Key, b"a", b"1"),
        put(Table::Key, b"b", b"2"),
        put(Table::Lease, b"a", b"other table"),
        put(Table::Key, b"a", b"the later of two"),
    ];
    assert!(store.write(batch(1, writes)).unwrap());
    let after = store.image();
    assert!(store.write(batch(2, vec![remove(Table::Key, b"b")])).unwrap());
    assert_eq!(before.get(Table::Key, b"a").unwrap(), None);
    assert_eq!(after.get(Table::Key, b"a").unwrap().unwrap(), "the later of two");
    assert_eq!(after.get(Table::Key, b"b").unwrap().unwrap(), "2");
    assert_eq!(store.image().get(Table::Key, b"b").unwrap(), None);
    store.sync().unwrap();
    drop((before, after, store));
    let store = Store::open(root.path()).unwrap();
    assert!(!store.is_empty().unwrap());
    let image = store.image();
    assert_eq!(rows(&*image, Table::Key, b"", b""), [(b"a".to_vec(), "the later of two".into())]);
    assert_eq!(image.get(Table::Lease, b"a").unwrap().unwrap(), "other table");
}

#[test]
fn scans_keep_to_their_range_and_stop_when_told() {
    let root = memory_dir();
    let mut store = Store::open(root.path()).unwrap();
    let writes = [b"a", b"b", b"c", b"d"].map(|key| put(Table::Key, key, key)).to_vec();
    store.write(batch(1, writes)).unwrap();
    let image = store.image();
    let keys = |from: &[u8], until: &[u8]| {
        rows(&*image, Table::Key, from, until).into_iter().flat_map(|row| row.0).collect::<Vec<_>>()
    };
    assert_eq!(keys(b"b", b"d"), b"bc");
    assert_eq!(keys(b"b", b""), b"bcd");
    assert_eq!(keys(b"d", b"b"), b"");
    let long = |first: u8| [&[first][..], &[0; 70_000]].concat();
    assert_eq!(keys(&long(b'b'), &long(b'd')), b"cd");
    assert_eq!(keys(b"d", &long(b'd')), b"d");
    assert_eq!(image.get(Table::Key, &long(b'b')).unwrap(), None);
    assert_eq!(image.get(Table::Key, b"").unwrap(), None);
    let mut seen = 0;
    let mut visit = |_: &[u8], _: &Bytes| {
        seen += 1;
        ControlFlow::Break(())
    };
    image.scan(Table::Key, b"", b"", &mut visit).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn keys_fjall_cannot_hold_are_a_fault_and_not_a_panic() {
    for key in [vec![], vec![1; 65_536]] {
        let root = memory_dir();
        let mut store = Store::open(root.path()).unwrap();
        let fault = store.write(batch(1, vec![put(Table::AuthUsers, &key, b"")])).unwrap_err();
        assert!(fault.what.contains(&format!("whose key has {} bytes", key.len())));
        assert_eq!(store.write(batch(2, vec![])).unwrap_err(), fault, "it stays so");
    }
}

#[test]
fn sizes_follow_what_is_live() {
    let root = memory_dir();
    let mut store = Store::open(root.path()).unwrap();
    let empty = store.size();
    assert_eq!(empty.in_use, 0);
    assert!(empty.allocated < 1_000, "{empty:?}");
    let writes = (0..100_u8).map(|i| put(Table::Key, &[i], &[0; 75])).collect();
    store.write(batch(1, writes)).unwrap();
    assert_eq!(store.size().in_use, 10_000);
    let writes = vec![
        put(Table::Lease, b"12345678", &[0; 8]),
        put(Table::Lease, b"12345678", &[0; 68]),
        put(Table::Meta, b"applied", &[0; 8]),
        put(Table::Heads, b"first", &[0; 300]),
    ];
    store.write(batch(2, writes)).unwrap();
    assert_eq!(store.size().in_use, 10_100);
    assert!(store.size().allocated >= 10_100);
    let writes = (0..99_u8).map(|i| remove(Table::Key, &[i])).collect();
    store.write(batch(3, writes)).unwrap();
    store.write(batch(4, vec![put(Table::Lease, b"12345678", &[0; 18])])).unwrap();
    assert_eq!(store.size().in_use, 150);
    store.sync().unwrap();
    drop(store);
    let mut store = Store::open(root.path()).unwrap();
    assert_eq!(store.size().in_use, 150);
    store.write(batch(5, vec![remove(Table::Lease, b"12345678")])).unwrap();
    assert_eq!(store.size().in_use, 100);
}

fn noise(i: u64) -> Vec<u8> {
    let word = |n: u64| quorate_core::draw::draw(1, 1, i, n).to_le_bytes();
    (0..128).flat_map(word).collect()
}

#[test]
fn defragmenting_gives_the_space_of_removed_rows_back() {
    for haste in [Haste::AtOnce, Haste::GivesWay] {
        let root = memory_dir();
        let mut store = Store::open(root.path()).unwrap();
        let writes = (0..1_000_u64).map(|i| put(Table::Key, &i.to_be_bytes(), &noise(i))).collect();
        store.write(batch(1, writes)).unwrap();
        store.defragment()(haste).unwrap();
        let full = store.size().allocated;
        assert!(full > 1_000_000, "{full}");
        let writes = (0..990_u64).map(|i| remove(Table::Key, &i.to_be_bytes())).collect();
        store.write(batch(2, writes)).unwrap();
        store.defragment()(haste).unwrap();
        let small = store.size().allocated;
        assert!(small < 100_000, "{haste:?}: {small}");
        assert_eq!(rows(&*store.image(), Table::Key, b"", b"").len(), 10);
    }
}

#[test]
fn leftovers_of_older_generations_and_images_go() {
    let root = memory_dir();
    let mut store = Store::open(root.path()).unwrap();
    store.write(batch(1, vec![put(Table::Key, b"a", b"1")])).unwrap();
    store.sync().unwrap();
    drop(store);
    let folder = |name: &str| root.path().join(name);
    std::fs::rename(folder("0000000000000001"), folder("000000000000000a")).unwrap();
    for leftover in ["0000000000000009", "0000000000000007-0000000000000002.incoming"] {
        std::fs::create_dir(folder(leftover)).unwrap();
    }
    std::fs::create_dir(folder("not ours")).unwrap();
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.image().get(Table::Key, b"a").unwrap().unwrap(), "1");
    let mut left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["000000000000000a", "not ours"]);
}

#[test]
fn workers_give_way_to_those_who_serve() {
    let root = memory_dir();
    let _store = Store::open(root.path()).unwrap();
    let read = |task: &std::path::Path, file| std::fs::read_to_string(task.join(file)).ok();
    let niceness = |task: &std::path::Path| {
        let stat = read(task, "stat")?;
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_whitespace().nth(16)?.parse::<i32>().ok()
    };
    let is_worker = |task: &std::path::PathBuf| {
        read(task, "comm").is_some_and(|name| name.starts_with("fjall"))
    };
    let workers = || -> Vec<i32> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let tasks = tasks.map(|task| task.unwrap().path());
        tasks.filter(is_worker).filter_map(|task| niceness(&task)).collect()
    };
    // They take their names only once they run.
    let due = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while workers().len() < 2 && std::time::Instant::now() < due {
        std::thread::yield_now();
    }
    let (workers, own) = (workers(), niceness(std::path::Path::new("/proc/thread-self")).unwrap());
    assert!(workers.len() >= 2, "{workers:?}");
    assert!(workers.iter().all(|&worker| worker == (own + 5).min(19)), "{workers:?}, {own}");
}
