//! Starting from what crashes, operators and bad disks leave behind.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod platter;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platter::{Illness, Loss, Luck, Platter, Synced};
use quorate_core::draw::draw;
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::output::{Batch, Persist};
use quorate_core::storage::{Entry, HardState, LogRead, SnapshotMark, StateRead, Table, Write};
use quorate_io_tokio::disk::image::ImageChunks;
use quorate_io_tokio::disk::recovery::{self, Recovered};
use quorate_io_tokio::disk::wal::{self, Settings};
use quorate_io_tokio::disk::{DataDir, Identity, LogWrite, StateWrite, faults};
use quorate_proto::peer::ImageHeader;
use quorate_proto::raftpb;

const ME: Identity = Identity { member: MemberId(1), cluster: ClusterId(2) };

/// The stored mark, as these tests store it: index and term in one row of `meta`.
fn mark_of(image: &dyn StateRead) -> Result<SnapshotMark, StorageFault> {
    let row = image.get(Table::Meta, b"mark")?;
    Ok(row.map_or_else(SnapshotMark::default, |row| mark(row[0].into(), row[1].into())))
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark { index: LogIndex(index), term: Term(term), ..Default::default() }
}

fn open(root: &Path) -> Result<(DataDir, Recovered), StorageFault> {
    let dir = DataDir::open(root)?;
    if !dir.is_initialised() {
        recovery::create(&dir, ME)?;
    }
    let recovered = recovery::open(&dir, Some(ME), &mark_of, Settings::default())?;
    Ok((dir, recovered))
}

fn entries(from: u64, to: u64, term: u64) -> Persist {
    let entry = |index| Entry {
        index: LogIndex(index),
        term: Term(term),
        data: vec![index as u8; 100].into(),
        ..Entry::default()
    };
    let hard_state = HardState { term: Term(term), vote: 1, commit: LogIndex(to) };
    Persist {
        entries: (from..=to).map(entry).collect(),
        hard_state: Some(hard_state),
        must_sync: true,
        ..Default::default()
    }
}

fn applied(index: u8, term: u8) -> Batch {
    let row = |table, key: &'static [u8], value: Vec<u8>| Write {
        table,
        key: key.into(),
        value: Some(value.into()),
    };
    let writes = vec![
        row(Table::Meta, b"mark", vec![index, term]),
        row(Table::Key, b"key", vec![index; 10]),
    ];
    Batch { index: LogIndex(index.into()), writes, ..Batch::default() }
}

/// What a kill leaves: the files as they are, while the process still has them open.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn indices(recovered: &Recovered) -> Vec<u64> {
    let contents = recovered.log.load(&recovered.stored).unwrap();
    contents.entries.iter().map(|entry| entry.index.get()).collect()
}

#[test]
fn a_killed_member_finds_what_was_synced() {
    let root = tempfile::tempdir().unwrap();
    let (_dir, mut live) = open(&root.path().join("live")).unwrap();
    live.log_writer.append(&[entries(1, 9, 1)]).unwrap();
    live.store.write(applied(5, 1)).unwrap();
    live.store.sync().unwrap();
    live.store.write(applied(6, 1)).unwrap();
    copy(&root.path().join("live"), &root.path().join("killed"));
    let (_dir, found) = open(&root.path().join("killed")).unwrap();
    assert_eq!((found.identity, &found.stored), (ME, &mark(5, 1)));
    assert_eq!(indices(&found), (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_crash_at_any_step_of_installing_an_image_is_recovered_from() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let (_sender_dir, mut sender) = open(&path("sender")).unwrap();
    sender.store.write(applied(50, 3)).unwrap();
    let (dir, mut member) = open(&path("member")).unwrap();
    member.log_writer.append(&[entries(1, 9, 1)]).unwrap();
    member.store.write(applied(5, 1)).unwrap();
    member.store.sync().unwrap();

    let metadata = raftpb::SnapshotMetadata { index: 50, term: 3, conf_state: None };
    let snapshot = raftpb::Snapshot { metadata: Some(metadata), ..Default::default() };
    let announce = raftpb::Message { snapshot: Some(snapshot), ..Default::default() };
    let header = ImageHeader { announce: Some(announce), ..Default::default() };
    let chunks = ImageChunks::new(header, sender.store.image()).map(Result::unwrap);
    member.store.incoming().receive(chunks).unwrap();
    copy(&path("member"), &path("received"));
    member.store.install(&mark(50, 3)).unwrap();
    copy(&path("member"), &path("swapped"));
    let install = Persist { snapshot: Some(mark(50, 3)), ..entries(51, 51, 4) };
    member.log_writer.append(&[install]).unwrap();
    copy(&path("member"), &path("logged"));
    drop((dir, member));

    let folders = |name: &str| {
        let list = std::fs::read_dir(path(name).join("member/store")).unwrap();
        list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let (_dir, received) = open(&path("received")).unwrap();
    assert_eq!((&received.stored, indices(&received)), (&mark(5, 1), (1..=9).collect()));
    assert_eq!(folders("received"), ["0000000000000001"]);
    for (name, expected) in [("swapped", vec![]), ("logged", vec![51])] {
        let (_dir, mut found) = open(&path(name)).unwrap();
        assert_eq!((&found.stored, indices(&found)), (&mark(50, 3), expected), "{name}");
        assert_eq!(found.log.mark(), &mark(50, 3), "{name}");
        assert_eq!(folders(name), ["0000000000000002"]);
        assert_eq!(found.image.get(Table::Key, b"key").unwrap().unwrap(), vec![50; 10]);
        found.log_writer.append(&[entries(51, 52, 5)]).unwrap();
        drop((_dir, found));
        let (_dir, found) = open(&path(name)).unwrap();
        assert_eq!(indices(&found), [51, 52], "{name}: the log goes on behind the image");
    }
}

#[test]
fn a_store_that_lost_what_the_log_was_cut_for_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut member) = open(root.path()).unwrap();
    member.log_writer.append(&[entries(1, 9, 1)]).unwrap();
    let install = Persist { snapshot: Some(mark(20, 1)), ..entries(21, 25, 1) };
    member.log_writer.append(&[install]).unwrap();
    drop((dir, member));
    let fault = open(root.path()).err().unwrap();
    let expected = "the store holds everything up to entry 0, but the log begins after entry 20";
    assert!(fault.what.contains(expected), "{fault}");
    assert!(fault.what.contains("start this member anew"), "{fault}");
    assert!(fault.is_damage, "another store may take its place");
}

/// After a failed sync the system's buffers still show what is not on the disk: a start that read
/// it there and did not write it would promise what the next cut of the power takes away.
#[test]
fn what_is_read_after_a_failed_sync_stays() {
    let root = tempfile::tempdir().unwrap();
    let Some(platter) = Platter::mount(root.path()) else { return };
    let path = root.path().join("member");
    let (dir, mut member) = open(&path).unwrap();
    member.log_writer.append(&[entries(1, 3, 1)]).unwrap();
    platter.ail(Illness { fails_syncs: true, ..Illness::default() });
    let fault = member.log_writer.append(&[entries(4, 5, 1)]).unwrap_err();
    assert!(fault.what.contains("cannot sync"), "{fault}");
    drop((dir, member));
    platter.ail(Illness::default());
    let (dir, found) = open(&path).unwrap();
    assert_eq!(indices(&found), [1, 2, 3, 4, 5]);
    drop((dir, found));
    platter.cut(Loss::All, &mut Luck::new(1));
    let (_dir, found) = open(&path).unwrap();
    assert_eq!(indices(&found), [1, 2, 3, 4, 5]);
}

/// A segment may begin with a note about a point long before its entries, and be the oldest one.
#[test]
fn a_segment_that_begins_with_an_old_mark_opens() {
    let root = tempfile::tempdir().unwrap();
    let (dir, live) = open(root.path()).unwrap();
    drop(live);
    let settings = Settings { segment_bytes: 4096, ..Settings::default() };
    std::fs::remove_dir_all(dir.wal()).unwrap();
    wal::create(dir.wal(), ME, &settings).unwrap();
    let reopen = || recovery::open(&dir, Some(ME), &mark_of, settings.clone()).unwrap();
    let mut member = reopen();
    member.log_writer.append(&[entries(1, 9, 1)]).unwrap();
    member.store.write(applied(5, 1)).unwrap();
    member.store.sync().unwrap();
    let segments = || std::fs::read_dir(dir.wal()).unwrap().count();
    for _ in 0..1_000 {
        member.log_writer.cut(&mark(5, 1)).unwrap();
        if segments() > 1 {
            break;
        }
    }
    member.log_writer.append(&[entries(10, 14, 1)]).unwrap();
    member.store.write(applied(12, 1)).unwrap();
    member.store.sync().unwrap();
    member.log_writer.cut(&mark(12, 1)).unwrap();
    assert_eq!(segments(), 1);
    drop(member);
    assert_eq!(indices(&reopen()), [13, 14]);
}

/// A process that dies between giving a name and syncing it leaves that to the next one.
#[test]
fn names_that_a_start_finds_stay() {
    let root = tempfile::tempdir().unwrap();
    let Some(platter) = Platter::mount(root.path()) else { return };
    let path = root.path().join("member");
    platter.ail(Illness { lies_about: Some(Synced::Folder), ..Illness::default() });
    let dir = DataDir::open(&path).unwrap();
    recovery::create(&dir, ME).unwrap();
    drop(dir);
    platter.ail(Illness::default());
    // Nothing is made from here on but what an end and a start of the log needs.
    let (dir, found) = open(&path).unwrap();
    drop((dir, found));
    platter.ail(Illness { lies_about: Some(Synced::Folder), ..Illness::default() });
    let (dir, mut member) = open(&path).unwrap();
    member.log_writer.append(&[entries(1, 3, 1)]).unwrap();
    let image = Persist { snapshot: Some(mark(0, 0)), ..entries(1, 3, 2) };
    member.log_writer.append(&[image]).unwrap();
    drop((dir, member));
    platter.ail(Illness::default());
    let (dir, mut member) = open(&path).unwrap();
    member.log_writer.append(&[entries(4, 5, 2)]).unwrap();
    drop((dir, member));
    platter.cut(Loss::All, &mut Luck::new(1));
    let (_dir, found) = open(&path).unwrap();
    assert_eq!(indices(&found), [1, 2, 3, 4, 5]);
}

/// A crash can leave the end of a long batch and not its middle: what was not synced is written in
/// any order.
#[test]
fn a_batch_without_its_middle_never_was() {
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let (_dir, mut member) = open(&live).unwrap();
    member.log_writer.append(&[entries(1, 9, 1)]).unwrap();
    member.store.write(applied(5, 1)).unwrap();
    member.store.sync().unwrap();
    let mut long = applied(6, 1);
    // Nothing a compression could make short.
    let value: Vec<u8> = (0..20_000).map(|n| draw(0, 0, 0, n) as u8).collect();
    let row = Some(value.clone().into());
    long.writes.push(Write { table: Table::Key, key: "long".into(), value: row });
    member.store.write(long).unwrap();
    member.store.write(applied(7, 1)).unwrap();
    // Read again through the system's buffers, from which a sync has not yet taken it.
    member.store.sync().unwrap();
    let journal = "member/store/0000000000000001/0.jnl";
    let whole = std::fs::read(live.join(journal)).unwrap();
    let start = whole.windows(64).position(|bytes| *bytes == value[..64]).unwrap();
    let damages: [(&str, usize); 2] = [("middle", start + 4096), ("head", start - 20)];
    for (name, at) in damages {
        let path = root.path().join(name);
        copy(&live, &path);
        let mut torn = whole.clone();
        torn[at..at + 512].fill(0);
        std::fs::write(path.join(journal), torn).unwrap();
        let (_dir, found) = open(&path).unwrap();
        assert_eq!((&found.stored, indices(&found)), (&mark(5, 1), (1..=9).collect()), "{name}");
        assert_eq!(found.image.get(Table::Key, b"key").unwrap().unwrap(), vec![5; 10]);
    }
}

#[test]
fn a_lost_log_and_a_wrong_directory_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut member) = open(root.path()).unwrap();
    member.store.write(applied(5, 1)).unwrap();
    member.store.sync().unwrap();
    drop(member);
    let other = Identity { member: MemberId(0xff), cluster: ClusterId(2) };
    let opened = recovery::open(&dir, Some(other), &mark_of, Settings::default());
    let fault = opened.err().unwrap();
    assert!(
        fault.what.contains("belongs to member 1 of cluster 2, not to member ff of cluster 2"),
        "{fault}"
    );
    std::fs::remove_dir_all(dir.wal()).unwrap();
    let fault = recovery::create(&dir, ME).err().unwrap();
    assert!(fault.what.contains("holds a store, but there is no log"), "{fault}");
}

#[test]
fn a_crash_while_initialising_leaves_a_directory_that_can_be() {
    let root = tempfile::tempdir().unwrap();
    let member = root.path().join("member");
    std::fs::create_dir_all(member.join("wal.tmp")).unwrap();
    std::fs::write(member.join("wal.tmp/half"), b"x").unwrap();
    std::fs::create_dir_all(member.join("store/first.incoming")).unwrap();
    let (dir, found) = open(root.path()).unwrap();
    assert!(dir.is_initialised());
    assert_eq!(recovery::read_identity(&dir).unwrap(), ME);
    assert_eq!((found.stored.clone(), indices(&found)), (mark(0, 0), Vec::new()));
    assert!(!member.join("wal.tmp").exists());
}

#[test]
fn trouble_is_made_as_the_environment_asks() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("trouble");
    let hang = faults::parse(Some(&format!("hang-file:{}", file.display()))).unwrap();
    hang.before_sync().unwrap();
    std::fs::write(&file, b"").unwrap();
    let hanging = {
        let hang = Arc::clone(&hang);
        std::thread::spawn(move || hang.before_sync())
    };
    std::thread::sleep(Duration::from_millis(100));
    assert!(!hanging.is_finished());
    let fail = faults::parse(Some(&format!("fail-file:{}", file.display()))).unwrap();
    assert_eq!(fail.before_sync().unwrap_err().raw_os_error(), Some(5));
    std::fs::remove_file(&file).unwrap();
    hanging.join().unwrap().unwrap();
    fail.before_sync().unwrap();
    let slow = faults::parse(Some("slow:30")).unwrap();
    let start = Instant::now();
    slow.before_sync().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    faults::parse(None).unwrap().before_sync().unwrap();
    for wrong in ["slow:fast", "hang", "burn:x"] {
        assert!(faults::parse(Some(wrong)).unwrap_err().contains(wrong));
    }
}
