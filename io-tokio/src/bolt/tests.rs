use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::schema::OWN_META;
use quorate_core::storage::{self, StateRead, Table, Write};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use super::*;

type Rows = Vec<(Table, Bytes, Bytes)>;

fn image(rows: &Rows) -> Arc<dyn StateRead> {
    let write =
        |(table, key, value): (Table, Bytes, Bytes)| Write { table, key, value: Some(value) };
    let mut image = storage::Rows::default();
    image.write(&rows.iter().cloned().map(write).collect::<Vec<_>>());
    Arc::new(image)
}

fn rows_of(image: &dyn StateRead) -> Rows {
    let mut rows = Vec::new();
    for table in Table::OF_ETCD {
        let scanned = image.scan(table, &[], &[], &mut |key, value| {
            rows.push((table, Bytes::copy_from_slice(key), value.clone()));
            ControlFlow::Continue(())
        });
        scanned.unwrap();
    }
    rows
}

/// A database, and the checksum a snapshot has behind it.
fn written(rows: &Rows) -> Vec<u8> {
    let writing = BoltImage::measure(&image(rows)).unwrap();
    let bytes = writing.bytes();
    let mut file = Vec::new();
    for piece in writing {
        let piece = piece.unwrap();
        assert!(piece.len() <= PIECE_BYTES);
        file.extend_from_slice(&piece);
    }
    assert_eq!(file.len() as u64, bytes);
    let hash = Sha256::digest(&file);
    file.extend_from_slice(&hash);
    file
}

fn open(path: &Path) -> Result<BoltFile, StorageFault> {
    BoltFile::open(path, Duration::from_millis(1))
}

/// Rows of all sizes, a few longer than a page.
fn some_rows(seed: u64, records: usize) -> Rows {
    let mut luck = StdRng::seed_from_u64(seed);
    let mut rows = Rows::new();
    for main in 0..records {
        let key = [&(main as u64).to_be_bytes()[..], b"_", &[0; 8]].concat();
        let bytes = if luck.random_ratio(1, 50) { 20_000 } else { 300 };
        let value: Vec<u8> = (0..luck.random_range(0..bytes)).map(|_| luck.random()).collect();
        rows.push((Table::Key, key.into(), value.into()));
    }
    for user in 0..luck.random_range(0..40) {
        let name = format!("{user:03}").repeat(luck.random_range(1..2_000));
        rows.push((Table::AuthUsers, name.into(), Bytes::from_static(b"user")));
    }
    for short in [&b"a"[..], b"b", b"c"] {
        rows.push((Table::Lease, Bytes::from_static(short), Bytes::new()));
    }
    rows.push((Table::Meta, Bytes::from_static(b"storageVersion"), Bytes::from_static(b"3.6.0")));
    rows.sort();
    rows
}

#[test]
fn what_is_written_is_read() {
    let folder = crate::disk::memory_dir();
    for (seed, records) in [0, 1, 2, 30, 400, 3_000, 20_000].into_iter().enumerate() {
        let path = folder.path().join("db");
        let rows = some_rows(seed as u64, records);
        let image = image(&rows);
        std::fs::write(&path, written(&rows)).unwrap();
        let file = open(&path).unwrap();
        assert!(file.has_hash());
        file.verify_hash().unwrap();
        assert_eq!(rows_of(&file), rows);
        let names: Vec<&Bytes> = file.bucket_names().collect();
        assert_eq!(names, Table::OF_ETCD.map(Table::name));
        for (table, key, value) in rows.iter().step_by(7) {
            assert_eq!(file.get(*table, key).unwrap().as_ref(), Some(value));
            let before = &key[..key.len() - 1];
            assert_eq!(file.get(*table, before).unwrap(), image.get(*table, before).unwrap());
        }
        for (from, until) in [(3, 9), (0, 1), (records / 2, records / 2 + 40)] {
            let key = |main: usize| (main as u64).to_be_bytes();
            let count = |image: &dyn StateRead| {
                let mut count = 0;
                let scanned = image.scan(Table::Key, &key(from), &key(until), &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                });
                scanned.unwrap();
                count
            };
            assert_eq!(count(&file), count(&*image));
        }
    }
}

#[test]
fn our_own_rows_stay_here_and_the_layouts_version_is_always_there() {
    let folder = crate::disk::memory_dir();
    let path = folder.path().join("db");
    let own = OWN_META
        .map(|name| (Table::Meta, Bytes::from_static(name.as_bytes()), Bytes::from_static(b"x")));
    std::fs::write(&path, written(&own.to_vec())).unwrap();
    let version = (Table::Meta, "storageVersion".into(), Bytes::from_static(b"3.7.0"));
    assert_eq!(rows_of(&open(&path).unwrap()), [version]);
}

#[test]
fn a_snapshot_that_was_changed_or_cut_anywhere_is_refused() {
    let folder = crate::disk::memory_dir();
    let path = folder.path().join("db");
    let file = written(&some_rows(1, 60));
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let judged = open(&path).and_then(|file| match file.has_hash() {
            true => file.verify_hash(),
            false => Err(StorageFault::new("no checksum")),
        });
        judged.unwrap_err().what
    };
    let mut luck = StdRng::seed_from_u64(2);
    for _ in 0..400 {
        let mut changed = file.clone();
        // Most damage where structure is: at the beginnings of pages.
        let page = luck.random_range(0..file.len() / 4_096) * 4_096;
        let reach = if luck.random() { 64 } else { 4_096 };
        let at = page + luck.random_range(0..reach);
        changed[at.min(file.len() - 1)] ^= 1 << luck.random_range(0..8);
        refused(&changed);
        refused(&file[..luck.random_range(0..file.len())]);
    }
    for at in (0..file.len()).rev().take(HASH_BYTES) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(refused(&changed).starts_with("expected sha256"));
        refused(&file[..at]);
    }
    refused(&[]);
}

/// Without a checksum a change may go unnoticed, but never ends in a panic or without end.
#[test]
fn a_damaged_database_never_panics() {
    let folder = crate::disk::memory_dir();
    let path = folder.path().join("db");
    let file = written(&some_rows(3, 200));
    let database = &file[..file.len() - HASH_BYTES];
    let mut luck = StdRng::seed_from_u64(4);
    let mut opened = 0;
    for _ in 0..2_000 {
        let mut changed = database.to_vec();
        for _ in 0..luck.random_range(1..4) {
            let page = luck.random_range(0..database.len() / 4_096) * 4_096;
            let at = page + luck.random_range(0..96);
            changed[at] = if luck.random() { luck.random() } else { 0xff };
        }
        std::fs::write(&path, &changed).unwrap();
        if let Ok(file) = open(&path) {
            rows_of(&file);
            opened += 1;
        }
    }
    assert!(opened > 0, "changes of values and of unused bytes should go through");
}

#[test]
fn a_tree_that_leads_to_itself_is_refused() {
    let folder = crate::disk::memory_dir();
    let path = folder.path().join("db");
    let mut file = written(&some_rows(5, 3_000));
    let branch = (2..file.len() / 4_096).find(|page| file[page * 4_096 + 8] == 1).unwrap();
    let first_child = branch * 4_096 + 24;
    file[first_child..first_child + 8].copy_from_slice(&(branch as u64).to_le_bytes());
    std::fs::write(&path, &file).unwrap();
    let refusal = open(&path).err().unwrap().what;
    assert!(refusal.contains("a page that is used twice"), "{refusal}");
}

/// Rows that are nowhere.
struct Endless(u64);

impl StateRead for Endless {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        Ok(None)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        _: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        let first = from.first_chunk().map_or(0, |from| u64::from_be_bytes(*from));
        let value = Bytes::from_static(&[7; 1_000]);
        let mut rows = if table == Table::Key { first..self.0 } else { 0..0 };
        let _ = rows.try_for_each(|main| visit(&main.to_be_bytes(), &value));
        Ok(())
    }
}

#[test]
fn memory_does_not_grow_with_what_is_written() {
    let rows: Arc<dyn StateRead> = Arc::new(Endless(100_000));
    let mut writing = BoltImage::measure(&rows).unwrap();
    let (bytes, mut written, mut held) = (writing.bytes(), 0, 0);
    while let Some(piece) = writing.next() {
        written += piece.unwrap().len() as u64;
        held = held.max(writing.bytes_held());
    }
    assert_eq!(written, bytes);
    assert!(bytes > 100_000_000 && held < 1 << 20, "{held} of {bytes}");
}

#[test]
fn a_row_etcd_could_not_hold_is_a_fault() {
    let rows = vec![(Table::AuthUsers, Bytes::from(vec![b'x'; 32_769]), Bytes::new())];
    let fault = BoltImage::measure(&image(&rows)).err().unwrap().what;
    assert!(fault.contains("does not fit into etcd's format"), "{fault}");
}

#[test]
fn a_file_that_is_written_to_is_not_opened() {
    let folder = crate::disk::memory_dir();
    let path = folder.path().join("db");
    std::fs::write(&path, written(&some_rows(6, 1))).unwrap();
    let writer = std::fs::File::open(&path).unwrap();
    writer.lock().unwrap();
    assert!(open(&path).err().unwrap().what.contains("in use by another process"));
    writer.unlock().unwrap();
    open(&path).unwrap();
}
