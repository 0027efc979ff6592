//! etcd's own code reads our log. Needs `go` and its module proxy; says so loudly when it cannot.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, EntryKind, HardState, SnapshotMark};
use quorate_io_tokio::disk::faults::NoFaults;
use quorate_io_tokio::disk::wal::{self, LogWriter, Settings};
use quorate_io_tokio::disk::{Identity, LogWrite};
use quorate_proto::raftpb::ConfState;

const ME: Identity = Identity { member: MemberId(0xabc), cluster: ClusterId(0xdef) };

fn settings() -> Settings {
    Settings { segment_bytes: 16_384, faults: Arc::new(NoFaults) }
}

fn new_log(folder: &Path) -> LogWriter {
    wal::create(folder, ME, &settings()).expect("a new log");
    wal::open(folder, &SnapshotMark::default(), settings()).expect("an empty log").2
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    let conf_state = ConfState { voters: vec![1, 2], ..Default::default() };
    SnapshotMark { index: LogIndex(index), term: Term(term), conf_state }
}

fn entry(index: u64, term: u64, data: Vec<u8>) -> Entry {
    let kind = if index == 1 { EntryKind::ConfChange } else { EntryKind::Normal };
    Entry { term: Term(term), index: LogIndex(index), kind, data: data.into() }
}

fn line(entry: &Entry) -> String {
    let data: String = entry.data.iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = u8::from(entry.kind == EntryKind::ConfChange);
    format!("entry {} {} {kind} {data}", entry.index, entry.term)
}

/// What etcd's code makes of `folder`; `None` where there is no `go`.
fn read_with_etcd(folder: &Path, index: u64, term: u64) -> Option<Vec<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wal_interop");
    let go = ["go", "/usr/local/go/bin/go"]
        .into_iter()
        .find(|go| Command::new(go).arg("version").output().is_ok())?;
    let output = Command::new(go)
        .current_dir(source)
        .args(["run", "."])
        .arg(folder)
        .args([index.to_string(), term.to_string()])
        .output()
        .expect("go was there a moment ago");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn etcd_reads_what_we_wrote() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("wal");
    let mut log = new_log(&folder);
    let mut entries = vec![entry(1, 1, vec![1, 2, 3]), entry(2, 1, Vec::new())];
    entries.extend((3..=40).map(|i| entry(i, 1, vec![i as u8; 1000 + i as usize])));
    let hard_state = |commit| HardState { term: Term(2), vote: 5, commit: LogIndex(commit) };
    for some in entries.chunks(7) {
        let last = some.last().map_or(0, |entry| entry.index.get());
        let batch = Persist {
            entries: some.to_vec(),
            hard_state: Some(hard_state(last - 3)),
            must_sync: true,
            ..Default::default()
        };
        log.append(&[batch]).expect("appended");
    }
    entries[38] = entry(39, 2, b"another leader's".to_vec());
    entries.truncate(39);
    let replacing = Persist { entries: vec![entries[38].clone()], ..Default::default() };
    log.append(&[replacing]).expect("appended");
    log.sync().expect("synced");

    let head = || vec!["metadata 08bc1510ef1b".to_owned(), "state 2 5 37".to_owned()];
    let expect = |from: usize| [head(), entries[from..].iter().map(line).collect()].concat();
    let Some(found) = read_with_etcd(&folder, 0, 0) else {
        eprintln!("SKIPPED: no `go` here, so etcd's code did not read our log");
        return;
    };
    assert_eq!(found, expect(0));

    log.cut(&mark(30, 1)).expect("cut");
    assert_eq!(read_with_etcd(&folder, 30, 1).expect("go is here"), expect(30));
    drop(log);

    let (_, _, mut log) = wal::open(&folder, &mark(30, 1), settings()).expect("etcd left it well");
    let install = Persist {
        snapshot: Some(mark(35, 3)),
        entries: vec![entry(36, 3, b"after the image".to_vec())],
        must_sync: true,
        ..Default::default()
    };
    log.append(&[install]).expect("installed");
    let found = read_with_etcd(&folder, 35, 3).expect("go is here");
    assert_eq!(found[2..], [line(&entry(36, 3, b"after the image".to_vec()))]);
}
