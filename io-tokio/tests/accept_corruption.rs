//! What becomes of a member whose data is damaged: it is noticed, never served, and the member is
//! repaired from its peers, or does not start and says what to do.

mod accept;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accept::api::{Api, leader_of};
use accept::{Cluster, Member, Options, is_quorate, wait_for};
use fjall::{Database, KeyspaceCreateOptions};
use quorate_proto::mvccpb::KeyValue;
use tonic::Code;

const SOON: Duration = Duration::from_secs(30);
const KEYS: usize = 300;
/// Members that cut their logs early: what is before can only come from a peer.
const CUT_EARLY: [&str; 2] = ["--snapshot-count=50", "--snapshot-catchup-entries=10"];

/// The first scrub comes when a busy machine has long stored what a test writes, too.
const SCRUB: &str = "--corrupt-check-time=30s";
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

fn start(size: usize, flags: &[&str]) -> Cluster {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Cluster::start_with(size, &Options { flags })
}

/// Bytes that do not compress and are different for each key.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let word = |n: u64| quorate_core::draw::draw(seed, 9, 0, n).to_le_bytes();
    (0..bytes as u64 / 8).flat_map(word).collect()
}

fn fill(api: &Api) {
    for n in 0..KEYS {
        api.put(&format!("key {n:04}"), noise(n as u64, 4_096)).expect("a put");
    }
}

/// The same at once: it is stored and damaged before the first scrub has read it into the store's
/// cache, from where later ones would read it.
fn fill_quickly(api: &Api) {
    for first in (0..KEYS).step_by(100) {
        let pair = |n: usize| (format!("key {n:04}"), noise(n as u64, 4_096));
        api.put_all((first..first + 100).map(pair)).expect("a transaction");
    }
}

/// Everything a member has, by its own word; compared with what was written.
fn assert_right(api: &Api) {
    let all = api.range_all(true).expect("a range");
    let found = all.kvs.iter().filter(|kv| kv.key.starts_with(b"key "));
    let mut count = 0;
    for (n, kv) in found.enumerate() {
        assert_eq!(kv.value, noise(n as u64, 4_096), "key {n}");
        count += 1;
    }
    assert_eq!(count, KEYS);
}

/// Waits until a member serves everything, and what it serves is right.
fn assert_repaired(member: &Member) {
    let api = Api::new(member.client);
    wait_for(SOON, "repaired", || match api.range_all(true) {
        Ok(all) => all.kvs.iter().filter(|kv| kv.key.starts_with(b"key ")).count() == KEYS,
        Err(refused) => {
            // Not there yet, or not to be trusted: never anything that is wrong.
            let is_expected = matches!(refused.code(), Code::DataLoss | Code::Unavailable)
                || refused.message().contains("checksum")
                || refused.message().contains("Checksum");
            assert!(is_expected, "{refused:?}");
            false
        }
    });
    assert_right(&api);
}

/// All of a member's tables that hold much: also those that were replaced and are still read.
fn tables(member: &Member) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&member.data_dir.join("member/store"), &mut files);
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |it| it.len());
    let is_table = |path: &PathBuf| path.parent().is_some_and(|it| it.ends_with("tables"));
    files.retain(|path| is_table(path) && length(path) > 200_000);
    files
}

/// Damages what a member has stored.
fn damage(member: &Member, part: f64) {
    let tables = tables(member);
    assert!(!tables.is_empty(), "no tables below {}", member.data_dir.display());
    tables.iter().for_each(|path| flip(path, part));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Changes bytes that lie so far into a file, in parts of its length.
fn flip(path: &Path, part: f64) {
    let file = File::options().read(true).write(true).open(path).expect("a file");
    let length = file.metadata().expect("a file").len();
    let at = (length as f64 * part) as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x40], at).expect("a byte");
    file.sync_all().expect("a sync");
}

/// Waits until the rows are in tables, and not only in buffers.
fn settle(member: &Member, api: &Api) {
    api.defragment().expect("an answer");
    wait_for(SOON, "defragmented", || member.log().contains("finished defragment"));
    assert!(!tables(member).is_empty());
}

fn logged(member: &Member, what: &str) {
    wait_for(SOON, what, || member.log().contains(what));
}

#[test]
fn a_store_damaged_while_the_member_is_down_is_filled_again_by_the_leader() {
    if !is_quorate() {
        return;
    }
    let mut cluster = start(3, &CUT_EARLY);
    let victim = (leader_of(&cluster) + 1) % 3;
    let api = Api::new(cluster.members[victim].client);
    fill(&api);
    settle(&cluster.members[victim], &api);
    let member = &mut cluster.members[victim];
    member.kill();
    damage(member, 0.5);
    member.start();
    assert!(member.log().contains("the store is damaged"), "it was noticed");
    assert_repaired(member);
    assert!(member.log().contains("has replaced this member's"));
    // Nobody else was concerned. It takes part again, and remembers.
    assert!(!member.log().contains("\"alarm\":\"CORRUPT\""));
    let api = Api::new(member.client);
    api.put("after", vec![1]).expect("a put");
    member.kill();
    member.start();
    assert!(!member.log().contains("damaged"));
    assert_right(&Api::new(member.client));
}

#[test]
fn a_young_store_is_filled_again_from_the_log() {
    if !is_quorate() {
        return;
    }
    let mut cluster = start(1, &[]);
    let api = Api::new(cluster.members[0].client);
    fill(&api);
    settle(&cluster.members[0], &api);
    let member = &mut cluster.members[0];
    member.kill();
    damage(member, 0.3);
    member.start();
    assert!(member.log().contains("the store is damaged"));
    assert_repaired(member);
}

#[test]
fn a_sole_member_without_its_past_does_not_start_and_says_what_to_do() {
    if !is_quorate() {
        return;
    }
    let mut cluster = start(1, &CUT_EARLY);
    let api = Api::new(cluster.members[0].client);
    fill(&api);
    settle(&cluster.members[0], &api);
    let member = &mut cluster.members[0];
    member.kill();
    damage(member, 0.5);
    member.spawn();
    assert!(!member.wait_for_exit(SOON).success());
    let log = member.log();
    assert!(log.contains("ChecksumMismatch") && log.contains("move the"), "{log}");
    // Nothing was taken away: whoever can mend it may.
    assert!(!tables(member).is_empty());
}

#[test]
fn a_store_damaged_under_a_running_member_is_noticed_and_filled_again() {
    if !is_quorate() {
        return;
    }
    let cluster = start(3, &[CUT_EARLY[0], CUT_EARLY[1], SCRUB]);
    let victim = (leader_of(&cluster) + 1) % 3;
    let (member, api) = (&cluster.members[victim], Api::new(cluster.members[victim].client));
    fill_quickly(&api);
    settle(member, &api);
    damage(member, 0.5);
    // Nobody reads: the scrub does.
    wait_for(NOTICED_WITHIN, "noticed", || member.log().contains("not to be trusted"));
    assert_repaired(member);
    assert!(member.log().contains("has replaced this member's"));
    api.put("after", vec![1]).expect("a put");
}

#[test]
fn a_leader_whose_store_is_damaged_gives_leadership_away_and_is_repaired() {
    if !is_quorate() {
        return;
    }
    let cluster = start(3, &[CUT_EARLY[0], CUT_EARLY[1], SCRUB]);
    let victim = leader_of(&cluster);
    let (member, api) = (&cluster.members[victim], Api::new(cluster.members[victim].client));
    fill_quickly(&api);
    settle(member, &api);
    damage(member, 0.7);
    wait_for(NOTICED_WITHIN, "noticed", || member.log().contains("not to be trusted"));
    logged(member, "has replaced this member's");
    assert_repaired(member);
    assert_ne!(leader_of(&cluster), victim);
    api.put("after", vec![1]).expect("a put");
}

/// Changes a record in a stopped member's store so that it reads well and is wrong.
fn forge(member: &Member) {
    let store = member.data_dir.join("member/store");
    let generation = fs::read_dir(&store).expect("a folder").find_map(|entry| {
        let path = entry.expect("an entry").path();
        path.file_name().is_some_and(|name| name.len() == 16).then_some(path)
    });
    let database = Database::builder(generation.expect("a generation")).open().expect("a store");
    let keyspace =
        |name| database.keyspace(name, KeyspaceCreateOptions::default).expect("a keyspace");
    let records = keyspace("key");
    let last = records.iter().rev().find_map(|row| {
        let (key, value) = row.into_inner().expect("a row");
        let kv = <KeyValue as prost::Message>::decode(&value[..]).expect("a record");
        (kv.key == b"counter"[..]).then_some((key, kv))
    });
    let (row, mut kv) = last.expect("a record of the counter");
    kv.version += 1;
    records.insert(row, prost::Message::encode_to_vec(&kv)).expect("a write");
    database.persist(fjall::PersistMode::SyncAll).expect("a sync");
}

#[test]
fn a_member_that_differs_is_fenced_and_repaired_and_its_alarm_taken_back() {
    if !is_quorate() {
        return;
    }
    let mut cluster = start(3, &[]);
    let leader = leader_of(&cluster);
    let victim = (leader + 1) % 3;
    let apis: Vec<Api> = cluster.members.iter().map(|it| Api::new(it.client)).collect();
    fill(&apis[leader]);
    apis[leader].put("counter", vec![0]).expect("a put");
    settle(&cluster.members[victim], &apis[victim]);
    cluster.members[victim].kill();
    forge(&cluster.members[victim]);
    cluster.members[victim].start();
    let apis: Vec<Api> = cluster.members.iter().map(|it| Api::new(it.client)).collect();
    assert_right(&apis[victim]);
    // The next version is counted from the wrong one: from here on its digest is another.
    apis[leader].put("counter", vec![1]).expect("a put");
    let member = &cluster.members[victim];
    logged(member, "it differs from the majority's after entry");
    logged(member, "has replaced this member's");
    let id = apis[victim].status().expect("a status").header.expect("a header").member_id;
    for other in &cluster.members {
        wait_for(SOON, "the alarm was raised", || {
            other.log().contains("\"alarm\":\"CORRUPT\",\"raised\":true")
                || other.log().contains("applied snapshot")
        });
    }
    wait_for(SOON, "the alarm is taken back", || {
        apis.iter().all(|api| api.status().is_ok_and(|it| it.errors.is_empty()))
    });
    assert!(id != 0 && cluster.members[leader].log().contains(&format!("{id:x}")));
    assert_repaired(member);
    let counter = |api: &Api| {
        let found = api.get_at("counter", 0).expect("a range");
        found.kvs.first().map(|kv| (kv.version, kv.value.to_vec()))
    };
    assert_eq!(counter(&apis[victim]), Some((2, vec![1])));
    apis[victim].put("counter", vec![2]).expect("a put");
    for api in &apis {
        wait_for(SOON, "equal", || counter(api) == Some((3, vec![2])));
    }
}

#[test]
fn a_damaged_log_is_never_made_up_for() {
    if !is_quorate() {
        return;
    }
    let mut cluster = start(3, &[]);
    let victim = (leader_of(&cluster) + 1) % 3;
    fill(&Api::new(cluster.members[victim].client));
    let member = &mut cluster.members[victim];
    member.kill();
    let mut files = Vec::new();
    collect(&member.data_dir.join("member/wal"), &mut files);
    files.sort();
    // The first segment is preallocated: what was written is at its beginning.
    flip(&files[0], 0.003);
    member.spawn();
    assert!(!member.wait_for_exit(SOON).success());
    let log = member.log();
    assert!(log.contains("is damaged at offset") && log.contains("add it again"), "{log}");
    // The others go on.
    Api::new(cluster.members[(victim + 1) % 3].client).put("after", vec![1]).expect("a put");
}
