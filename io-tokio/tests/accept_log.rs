//! etcd's own code reads the log of a member that has lived: load, cuts, a kill and a restart.

mod accept;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use accept::load::Load;
use accept::{Cluster, Options, skip};
use quorate_core::ids::{LogIndex, Term};
use quorate_core::storage::{Entry, EntryKind, LogRead as _, SnapshotMark};
use quorate_io_tokio::disk::wal;
use rustix::process::Signal;

/// What etcd's code makes of a log from its newest marker on; `None` where there is no `go`.
fn read_with_etcd(folder: &Path) -> Option<Vec<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wal_interop");
    let mut programs = ["go", "/usr/local/go/bin/go"].into_iter();
    let Some(go) = programs.find(|go| Command::new(go).arg("version").output().is_ok()) else {
        skip("no `go` here, so etcd's code did not read our log");
        return None;
    };
    let read = Command::new(go).current_dir(source).args(["run", "."]).arg(folder).output();
    let read = read.expect("go was there a moment ago");
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success(), "{text}{}", String::from_utf8_lossy(&read.stderr));
    Some(text.lines().map(str::to_owned).collect())
}

fn line(entry: &Entry) -> String {
    let data: String = entry.data.iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = u8::from(entry.kind == EntryKind::ConfChange);
    format!("entry {} {} {kind} {data}", entry.index, entry.term)
}

/// What our own code makes of it, from the marker that etcd's begins at.
fn read_ourselves(folder: &Path, first: &str) -> Vec<String> {
    let mut words = first.split_whitespace().skip(1).map(|word| word.parse().unwrap_or(0));
    let (index, term) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    assert!(index > 0, "a log that was cut has a marker: {first}");
    let mark = SnapshotMark { index: LogIndex(index), term: Term(term), ..SnapshotMark::default() };
    let (identity, log, _) = wal::read(folder, &mark).expect("a log of ours");
    let contents = log.load(&mark).expect("its content");
    assert!(contents.entries.len() > 10, "the load left entries behind");
    let member = identity.member.get();
    let after = contents.entries.iter().filter(|entry| entry.index > mark.index);
    let metadata = quorate_proto::etcdserverpb::Metadata {
        node_id: member,
        cluster_id: identity.cluster.get(),
    };
    let metadata = prost::Message::encode_to_vec(&metadata);
    let hex: String = metadata.iter().map(|byte| format!("{byte:02x}")).collect();
    let state = contents.hard_state;
    let head = [
        format!("mark {index} {term} [{member}]"),
        format!("metadata {hex}"),
        format!("state {} {} {}", state.term, state.vote, state.commit),
    ];
    head.into_iter().chain(after.map(line)).collect()
}

#[test]
fn etcd_reads_the_log_of_a_member_that_has_lived() {
    let flags = vec!["--snapshot-count=150".into(), "--snapshot-catchup-entries=20".into()];
    let mut cluster = Cluster::start_with(1, &Options { flags });
    let addrs = [cluster.members[0].client];
    let run = |millis| {
        let load = Load::start(&addrs, 4, Duration::ZERO);
        std::thread::sleep(Duration::from_millis(millis));
        load
    };
    let load = run(2_500);
    cluster.members[0].kill();
    cluster.members[0].start();
    load.stop();
    run(1_500).stop();
    let member = &mut cluster.members[0];
    let folder = member.data_dir.join("member/wal");
    let check = |how: &str| {
        let Some(found) = read_with_etcd(&folder) else { return };
        assert!(found == read_ourselves(&folder, &found[0]), "{how}: {:?}", &found[..3]);
    };
    member.signal(Signal::TERM);
    member.wait_for_exit(Duration::from_secs(20));
    check("after a stop");
    member.start();
    run(800).stop();
    cluster.members[0].kill();
    check("after a kill");
}
