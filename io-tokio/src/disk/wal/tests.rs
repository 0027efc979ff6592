//! The log against crashes and rot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, EntryKind, HardState, LogContents, LogRead, SnapshotMark};
use quorate_proto::raftpb::ConfState;

use super::*;
use crate::disk::faults::{LogFaults, NoFaults};
use crate::disk::{Identity, LogWrite};

const ME: Identity = Identity { member: MemberId(0x8e9e_05c5_2164_694d), cluster: ClusterId(77) };

fn new_log() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("wal");
    create(&folder, ME).unwrap();
    (root, folder)
}

fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    let data = data.to_vec().into();
    Entry { term: Term(term), index: LogIndex(index), kind: EntryKind::Normal, data }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote: 7, commit: LogIndex(commit) }
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..Default::default() };
    SnapshotMark { index: LogIndex(index), term: Term(term), conf_state }
}

fn batch(entries: Vec<Entry>, hard_state: Option<HardState>) -> Persist {
    Persist { entries, hard_state, must_sync: true, ..Default::default() }
}

fn open_at(folder: &Path, stored: &SnapshotMark) -> Result<(LogContents, LogWriter), String> {
    let opened = open(folder, stored, Arc::new(NoFaults)).map_err(|fault| fault.what)?;
    assert_eq!(opened.0, ME);
    Ok((opened.1.load(stored).unwrap(), opened.2))
}

fn open_new(folder: &Path) -> Result<(LogContents, LogWriter), String> {
    open_at(folder, &SnapshotMark::default())
}

fn files(folder: &Path) -> Vec<String> {
    let list = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes up to the last one that is not zero, rounded up to a frame's end.
fn used(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8)
}

/// Ends of all frames in a segment.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (0, Vec::new());
    while let Some(header) = bytes.get(at..at + 8).and_then(|it| <[u8; 8]>::try_from(it).ok()) {
        let Some(lengths) = frame::Lengths::parse(header) else { break };
        at += 8 + lengths.body() as usize;
        ends.push(at);
    }
    ends
}

#[test]
fn what_was_appended_is_read_back() {
    let (_root, folder) = new_log();
    assert_eq!(files(&folder), ["0000000000000000-0000000000000000.wal"]);
    let (found, mut log) = open_new(&folder).unwrap();
    assert_eq!(found, LogContents::default());
    let mut first = entry(1, 1, b"");
    first.kind = EntryKind::ConfChange;
    first.data = vec![1; 9].into();
    let entries = vec![first, entry(2, 1, b""), entry(3, 1, &[9; 3000])];
    log.append(&[batch(entries.clone(), Some(state(1, 2)))]).unwrap();
    log.append(&[Persist { hard_state: Some(state(1, 3)), ..Default::default() }]).unwrap();
    drop(log);
    let (found, _) = open_new(&folder).unwrap();
    let expected = LogContents { mark: SnapshotMark::default(), hard_state: state(1, 3), entries };
    assert_eq!(found, expected);
    assert_eq!(read_identity(&folder).unwrap(), ME);
}

#[test]
fn a_later_entry_replaces_its_index_and_all_after_it() {
    let (_root, folder) = new_log();
    let (_, mut log) = open_new(&folder).unwrap();
    let old = (1..=5).map(|i| entry(i, 1, b"old")).collect();
    log.append(&[batch(old, Some(state(1, 2)))]).unwrap();
    log.append(&[batch(vec![entry(3, 2, b"new")], Some(state(2, 2)))]).unwrap();
    drop(log);
    let (found, log) = open_new(&folder).unwrap();
    let expected = [entry(1, 1, b"old"), entry(2, 1, b"old"), entry(3, 2, b"new")];
    assert_eq!(found.entries, expected);
    assert_eq!(log.last(), LogIndex(3));
}

#[test]
fn an_entry_that_leaves_a_gap_is_not_written() {
    let (_root, folder) = new_log();
    let (_, mut log) = open_new(&folder).unwrap();
    let fault = log.append(&[batch(vec![entry(2, 1, b"")], None)]).unwrap_err();
    assert_eq!(fault.what, "entry 2 was to be appended to a log that ends at entry 0");
    assert_eq!(log.sync().unwrap_err(), fault, "a log that failed stays so");
}

/// A log of three synced batches; its bytes.
fn small_log() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let (root, folder) = new_log();
    let (_, mut log) = open_new(&folder).unwrap();
    log.append(&[batch(vec![entry(1, 1, b"one")], Some(state(1, 0)))]).unwrap();
    log.append(&[batch(vec![entry(2, 1, b""), entry(3, 1, &[3; 700])], None)]).unwrap();
    log.append(&[batch(vec![entry(4, 1, &[4; 1200])], None)]).unwrap();
    drop(log);
    let path = folder.join(&files(&folder)[0]);
    let bytes = std::fs::read(&path).unwrap()[..used(&path)].to_vec();
    (root, path, bytes)
}

fn write_segment(path: &Path, bytes: &[u8], length: u64) {
    std::fs::write(path, bytes).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_record_loses_only_that() {
    let (_root, path, bytes) = small_log();
    let ends = frame_ends(&bytes);
    assert_eq!(ends.len(), 8, "crc, metadata, marker, entry, hard state, three entries");
    let start = ends[ends.len() - 2];
    for cut in start..bytes.len() {
        write_segment(&path, &bytes[..cut], cut as u64);
        let (found, mut log) = open_new(path.parent().unwrap()).unwrap();
        assert_eq!(found.entries.len(), 3, "cut at {cut}");
        log.append(&[batch(vec![entry(4, 1, b"again")], None)]).unwrap();
        drop(log);
        let (found, _) = open_new(path.parent().unwrap()).unwrap();
        assert_eq!(found.entries[3], entry(4, 1, b"again"));
    }
}

/// The disk writes whole sectors: every subset of the last record's sectors may be missing.
#[test]
fn any_sectors_missing_from_the_last_write_lose_only_that() {
    let (_root, path, bytes) = small_log();
    let ends = frame_ends(&bytes);
    let start = ends[ends.len() - 2];
    let sectors: Vec<_> = (start / 512..bytes.len().div_ceil(512)).collect();
    assert_eq!(sectors.len(), 4);
    for missing in 1..1_u32 << sectors.len() {
        let mut torn = bytes.clone();
        for (bit, sector) in sectors.iter().enumerate() {
            if missing & 1 << bit != 0 {
                let (from, to) = ((sector * 512).max(start), (sector * 512 + 512).min(torn.len()));
                torn[from..to].fill(0);
            }
        }
        write_segment(&path, &torn, 64_000);
        let (found, _) = open_new(path.parent().unwrap()).unwrap();
        assert_eq!(found.entries.len(), 3, "missing sectors {missing:b}");
        let clean = std::fs::read(&path).unwrap();
        assert!(clean[start..].iter().all(|byte| *byte == 0));
    }
}

/// Cut off inside a sector, which no disk does: taken for torn only if whole sectors are missing.
#[test]
fn zeros_from_any_byte_on_never_yield_a_wrong_entry() {
    let (_root, path, bytes) = small_log();
    let ends = frame_ends(&bytes);
    let (start, end) = (ends[ends.len() - 2], bytes.len());
    let last_sector = (end - 1) / 512 * 512;
    for cut in start..end {
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        let is_whole = torn == bytes;
        write_segment(&path, &torn, 64_000);
        match open_new(path.parent().unwrap()) {
            Ok((found, _)) => {
                assert_eq!(found.entries.len(), if is_whole { 4 } else { 3 }, "cut at {cut}");
            }
            Err(why) => {
                assert!(cut > last_sector, "cut at {cut}: {why}");
                assert!(why.contains(&format!("at offset {start}")), "{why}");
            }
        }
    }
}

#[test]
fn any_changed_byte_is_refused_with_its_place() {
    let (_root, path, bytes) = small_log();
    let ends = frame_ends(&bytes);
    for (at, flip) in
        (0..bytes.len()).flat_map(|at| [1_u8, 2, 4, 8, 16, 32, 64, 128, 255].map(|f| (at, f)))
    {
        if at > 400 && at % 37 != 0 && !ends.iter().any(|end| (*end..end + 24).contains(&at)) {
            continue;
        }
        let mut rotten = bytes.clone();
        rotten[at] ^= flip;
        write_segment(&path, &rotten, 64_000);
        let start = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
        let why = match open_new(path.parent().unwrap()) {
            Ok(_) => panic!("byte {at} xor {flip} was not noticed"),
            Err(why) => why,
        };
        let place = format!("{} is damaged at offset", path.display());
        assert!(why.contains(&place) && why.contains(REMEDY), "{why}");
        let offset: usize =
            why.split("at offset ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(offset >= start.min(ends[0]) || at < ends[0], "byte {at}: {why}");
        assert!(offset >= start, "byte {at} was good at {offset}: {why}");
    }
}

#[test]
fn a_sector_lost_far_behind_the_end_is_refused() {
    let (_root, folder) = new_log();
    let (_, mut log) = open_new(&folder).unwrap();
    for i in 1..=5 {
        log.append(&[batch(vec![entry(i, 1, &vec![i as u8; 600_000])], None)]).unwrap();
    }
    drop(log);
    let path = folder.join(&files(&folder)[0]);
    let (length, used) = (std::fs::metadata(&path).unwrap().len(), used(&path));
    let bytes = std::fs::read(&path).unwrap()[..used].to_vec();
    for (sector, is_refused) in [(1000, true), (used / 512 - 2, false)] {
        let mut rotten = bytes.clone();
        rotten[sector * 512..sector * 512 + 512].fill(0);
        write_segment(&path, &rotten, length);
        assert_eq!(open_new(&folder).is_err(), is_refused, "sector {sector}");
    }
}

#[test]
fn segments_follow_each_other_and_go_when_they_are_not_needed() {
    let (_root, folder) = new_log();
    let (_, log) = open_new(&folder).unwrap();
    let mut log = log.with_segment_bytes(8192);
    for i in 1..=20 {
        log.append(&[batch(vec![entry(i, 1, &[i as u8; 2000])], Some(state(1, i)))]).unwrap();
    }
    assert_eq!(
        files(&folder),
        [
            "0000000000000000-0000000000000000.wal",
            "0000000000000001-0000000000000004.wal",
            "0000000000000002-0000000000000007.wal",
            "0000000000000003-000000000000000a.wal",
            "0000000000000004-000000000000000d.wal",
            "0000000000000005-0000000000000010.wal",
            "0000000000000006-0000000000000013.wal",
        ]
    );
    log.cut(&mark(12, 1)).unwrap();
    assert_eq!(files(&folder)[0], "0000000000000003-000000000000000a.wal");
    drop(log);

    let (found, log) = open_at(&folder, &mark(15, 1)).unwrap();
    assert_eq!(found.mark, mark(12, 1));
    assert_eq!(
        found.entries.iter().map(|e| e.index.get()).collect::<Vec<_>>(),
        (13..=20).collect::<Vec<_>>()
    );
    assert_eq!((found.hard_state, log.last()), (state(1, 20), LogIndex(20)));
    drop(log);
    let (found, _) = open_at(&folder, &mark(11, 1)).unwrap();
    assert_eq!((found.mark, found.entries.len()), (mark(11, 1), 9), "the entries are still here");
    let why = open_at(&folder, &mark(8, 1)).unwrap_err();
    assert!(
        why.contains("holds everything up to entry 8, but the log begins after entry 9"),
        "{why}"
    );
    std::fs::remove_file(folder.join(&files(&folder)[1])).unwrap();
    assert!(open_at(&folder, &mark(15, 1)).unwrap_err().contains("misses a segment between"));
}

#[test]
fn rot_in_an_older_segment_is_never_taken_for_a_torn_write() {
    let (_root, folder) = new_log();
    let (_, log) = open_new(&folder).unwrap();
    let mut log = log.with_segment_bytes(8192);
    for i in 1..=6 {
        log.append(&[batch(vec![entry(i, 1, &[i as u8; 2000])], None)]).unwrap();
    }
    drop(log);
    let first = folder.join(&files(&folder)[0]);
    let bytes = std::fs::read(&first).unwrap();
    let mut rotten = bytes.clone();
    rotten[4096..].fill(0);
    std::fs::write(&first, &rotten).unwrap();
    assert!(open_new(&folder).unwrap_err().contains(&first.display().to_string()));
    let third_entry = frame_ends(&bytes)[4];
    std::fs::write(&first, &bytes[..third_entry]).unwrap();
    assert!(open_new(&folder).unwrap_err().contains("a checksum that does not match"));
}

#[test]
fn a_record_longer_than_a_segment_fits() {
    let (_root, folder) = new_log();
    let (_, log) = open_new(&folder).unwrap();
    let mut log = log.with_segment_bytes(8192);
    let long = entry(1, 1, &[1; 100_000]);
    log.append(&[batch(vec![long.clone(), entry(2, 1, b"after")], None)]).unwrap();
    drop(log);
    let (found, _) = open_new(&folder).unwrap();
    assert_eq!(found.entries, [long, entry(2, 1, b"after")]);
}

#[test]
fn an_installed_image_starts_the_log_over() {
    let (_root, folder) = new_log();
    let (_, mut log) = open_new(&folder).unwrap();
    let old = (1..=9).map(|i| entry(i, 1, b"old")).collect();
    log.append(&[batch(old, Some(state(1, 3)))]).unwrap();
    let install = Persist {
        snapshot: Some(mark(7, 3)),
        entries: vec![entry(8, 3, b"new")],
        hard_state: Some(state(3, 7)),
        must_sync: true,
        ..Default::default()
    };
    log.append(&[install]).unwrap();
    assert_eq!(files(&folder), ["0000000000000001-0000000000000007.wal"]);
    drop(log);
    let (found, log) = open_at(&folder, &mark(7, 3)).unwrap();
    let entries = vec![entry(8, 3, b"new")];
    assert_eq!(found, LogContents { mark: mark(7, 3), hard_state: state(3, 7), entries });
    assert_eq!(log.last(), LogIndex(8));
}

#[test]
fn a_log_that_does_not_know_of_the_image_starts_over_behind_it() {
    for (stored, case) in [(mark(20, 4), "ends before it"), (mark(4, 2), "parted from it")] {
        let (_root, folder) = new_log();
        let (_, mut log) = open_new(&folder).unwrap();
        let old = (1..=9).map(|i| entry(i, 1, b"old")).collect();
        log.append(&[batch(old, Some(state(1, 3)))]).unwrap();
        drop(log);
        let hard_state = HardState { term: stored.term, vote: 0, commit: stored.index };
        let expected = LogContents { mark: stored.clone(), hard_state, entries: Vec::new() };
        let (found, mut log) = open_at(&folder, &stored).unwrap();
        assert_eq!(found, expected, "{case}");
        let next = entry(stored.index.get() + 1, 5, b"next");
        log.append(&[batch(vec![next.clone()], Some(state(5, stored.index.get())))]).unwrap();
        drop(log);
        let (found, _) = open_at(&folder, &stored).unwrap();
        assert_eq!(found.entries, [next], "{case}");
    }
}

#[test]
fn a_commit_index_beyond_the_log_is_refused() {
    let (_root, folder) = new_log();
    let (_, mut log) = open_new(&folder).unwrap();
    log.append(&[batch(vec![entry(1, 1, b"")], Some(state(1, 5)))]).unwrap();
    drop(log);
    let why = open_new(&folder).unwrap_err();
    assert!(why.contains("entry 5 was committed, but ends at entry 1"), "{why}");
}

#[test]
fn a_crash_while_a_segment_is_made_leaves_nothing() {
    let (_root, folder) = new_log();
    let draft = folder.join("0000000000000001-0000000000000001.wal.tmp");
    std::fs::write(&draft, b"half").unwrap();
    open_new(&folder).unwrap();
    assert!(!draft.exists());
}

#[derive(Debug)]
struct Fails;

impl LogFaults for Fails {
    fn before_sync(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_failed_sync_is_final() {
    let (_root, folder) = new_log();
    let stored = SnapshotMark::default();
    let (_, _, mut log) = open(&folder, &stored, Arc::new(Fails)).unwrap();
    let fault = log.append(&[batch(vec![entry(1, 1, b"")], None)]).unwrap_err();
    assert!(fault.what.starts_with("cannot sync ") && fault.what.contains("free space"));
    assert_eq!(log.append(&[batch(vec![entry(1, 1, b"")], None)]).unwrap_err(), fault);
}
