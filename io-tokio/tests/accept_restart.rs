//! One real process that dies and comes back; a log that was damaged meanwhile; a leader that
//! leaves on request.

mod accept;

use std::fs;
use std::time::{Duration, Instant};

use accept::api::{Api, leader_of};
use accept::history;
use accept::load::Load;
use accept::{Cluster, ELECTION_TIMEOUT, READY_WITHIN, is_quick, is_quorate, wait_for, wal};
use rustix::process::Signal;

/// Moments of death, in milliseconds of load; odd on purpose.
const MOMENTS: [u64; 8] = [213, 871, 97, 1_409, 37, 640, 1_103, 311];

#[test]
fn nothing_acknowledged_is_lost_by_sudden_deaths() {
    let mut cluster = Cluster::start(1);
    let addrs = [cluster.members[0].client];
    let load = Load::start(&addrs, 16, Duration::from_millis(2));
    let deaths = if is_quick() { 3 } else { MOMENTS.len() };
    for moment in &MOMENTS[..deaths] {
        std::thread::sleep(Duration::from_millis(*moment));
        cluster.members[0].kill();
        cluster.members[0].start();
        let restarted = load.recorder.now();
        wait_for(READY_WITHIN, "a write after the restart", || {
            load.recorder.first_ack_since(restarted).is_some()
        });
    }
    let operations = load.stop();
    let api = Api::new(addrs[0]);
    let state = api.range_all(false).expect("the member serves");
    let revision = state.header.expect("a header").revision;
    let changes = api.changes_until(revision).expect("the history can be watched");
    assert_eq!(history::find_faults(&operations, &changes), Vec::<String>::new());
    history::check_order(&operations, &changes);
    let acknowledged = operations.iter().filter(|one| one.call.revision().is_some()).count();
    assert!(acknowledged > 200, "too few answers to prove anything: {acknowledged}");
}

/// A member with some keys, dead.
fn dead_member_with_keys(keys: usize) -> Cluster {
    let mut cluster = Cluster::start(1);
    let api = Api::new(cluster.members[0].client);
    for number in 0..keys {
        api.put(&format!("key/{number}"), vec![b'v'; 700]).expect("a put");
    }
    cluster.members[0].kill();
    cluster
}

fn key_count(cluster: &Cluster) -> i64 {
    Api::new(cluster.members[0].client).range_all(false).expect("the member serves").count
}

#[test]
fn a_torn_last_record_is_cut() {
    let mut cluster = dead_member_with_keys(40);
    let segment = wal::segments(&cluster.members[0].data_dir).pop().expect("a segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    let end = wal::frames(&bytes).last().expect("frames").end;
    // A record of 3,000 bytes of which the first sectors reached the disk and the rest did not.
    let (size, arrived) = (3_000_usize, 1_000_usize);
    // Kind and checksum, then the length of what is not there.
    let head = [0x08, 0x02, 0x10, 0x81, 0x82, 0x83, 0x84, 0x05, 0x1a];
    let rest = size - head.len() - 2;
    bytes.resize(bytes.len().max(end + 8 + size), 0);
    bytes[end..end + 8].copy_from_slice(&(size as u64).to_le_bytes());
    bytes[end + 8..end + 8 + arrived].fill(0x5a);
    bytes[end + 8..end + 8 + head.len()].copy_from_slice(&head);
    let length = [(rest & 0x7f) as u8 | 0x80, (rest >> 7) as u8];
    bytes[end + 8 + head.len()..][..2].copy_from_slice(&length);
    fs::write(&segment, bytes).expect("a segment");
    cluster.members[0].start();
    assert_eq!(key_count(&cluster), 40);
    let api = Api::new(cluster.members[0].client);
    api.put("after", b"v".to_vec()).expect("the log goes on");
    cluster.members[0].kill();
    cluster.members[0].start();
    assert_eq!(key_count(&cluster), 41);
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused() {
    let mut cluster = dead_member_with_keys(40);
    let segment = wal::segments(&cluster.members[0].data_dir).pop().expect("a segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    let frames = wal::frames(&bytes);
    let middle = frames.len() / 2;
    let victim = frames[middle..].iter().find(|frame| frame.len() > 600).expect("a put").clone();
    bytes[victim.start + 300] ^= 0x10;
    fs::write(&segment, bytes).expect("a segment");

    cluster.members[0].spawn();
    let status = cluster.members[0].wait_for_exit(Duration::from_secs(20));
    assert!(!status.success(), "{status}");
    let log = cluster.members[0].log();
    assert!(!log.contains(accept::READY), "it serves from a damaged log");
    if is_quorate() {
        let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
        let names_the_place = |line: &str| {
            let numbers = line.split(|c: char| !c.is_ascii_digit());
            let mut offsets = numbers.filter_map(|number| number.parse::<usize>().ok());
            line.contains(&name) && offsets.any(|offset| victim.contains(&offset))
        };
        assert!(log.lines().any(names_the_place), "{name} at {victim:?} is not named:\n{log}");
    }
}

#[test]
fn clients_are_not_served_before_a_leader_is_known() {
    let mut cluster = Cluster::start(3);
    for member in &mut cluster.members {
        member.kill();
    }
    cluster.members[0].spawn();
    std::thread::sleep(2 * ELECTION_TIMEOUT);
    assert!(!cluster.members[0].log().contains(accept::READY), "it serves alone");
    cluster.members[1].spawn();
    cluster.members[0].wait_until_ready();
    assert_ne!(Api::new(cluster.members[0].client).status().expect("a status").leader, 0);
}

#[test]
fn a_leader_asked_to_leave_hands_over_first() {
    let mut cluster = Cluster::start(3);
    let leader = leader_of(&cluster);
    let other = Api::new(cluster.members[(leader + 1) % 3].client);
    other.put("k", b"v".to_vec()).expect("a put");
    let before = other.status().expect("a status");

    let asked = Instant::now();
    cluster.members[leader].signal(Signal::TERM);
    let mut after = before.clone();
    wait_for(Duration::from_secs(5), "another leader", || {
        after = other.status().expect("a status");
        after.leader != 0 && after.leader != before.leader
    });
    let handed_over = asked.elapsed();
    cluster.members[leader].wait_for_exit(Duration::from_secs(5));
    let gone = asked.elapsed();
    println!("another leader after {handed_over:?}, gone after {gone:?}");
    assert_eq!(after.raft_term, before.raft_term + 1);
    assert!(handed_over <= Duration::from_millis(500), "handed over after {handed_over:?}");
    assert!(gone <= Duration::from_millis(1_500), "gone after {gone:?}");
}
