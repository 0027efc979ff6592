//! A leader whose log disk hangs must not hold the others up.
//!
//! Ours reads `QUORATE_FAULT_LOG=hang-file:<path>`: while the file exists, every sync of the log
//! blocks. Other servers have no such aid and are skipped.

mod accept;

use std::fs;
use std::time::{Duration, Instant};

use accept::api::{Api, leader_of};
use accept::load::Load;
use accept::{Cluster, ELECTION_TIMEOUT, Options, is_quorate, wait_for};

#[test]
fn a_hung_log_disk_of_the_leader_holds_nobody_up() {
    if !is_quorate() {
        eprintln!("SKIPPED: this server has no aid to hang its log disk");
        return;
    }
    let mut cluster = Cluster::prepare(3, &Options::default());
    let hang_file = |number: usize| cluster.dir().join(format!("hang-{number}"));
    let hang_files: Vec<_> = (0..3).map(hang_file).collect();
    for (member, path) in cluster.members.iter_mut().zip(&hang_files) {
        let fault = format!("hang-file:{}", path.display());
        member.env.push(("QUORATE_FAULT_LOG".into(), fault));
        member.spawn();
    }
    for member in &mut cluster.members {
        member.wait_until_ready();
    }
    let leader = leader_of(&cluster);
    let others: Vec<_> =
        (0..3).filter(|n| *n != leader).map(|n| cluster.members[n].client).collect();
    let load = Load::start(&others, 8, Duration::from_millis(5));
    wait_for(Duration::from_secs(5), "a first write", || {
        load.recorder.first_ack_since(0).is_some()
    });

    let asked = Api::new(others[0]);
    let before = asked.status().expect("the others serve");
    fs::write(&hang_files[leader], b"").expect("the hang file can be made");
    let hung = load.recorder.now();
    let begun = Instant::now();
    // One more write may be in flight when the disk stops; a later call proves service.
    std::thread::sleep(Duration::from_millis(50));
    let after = load.recorder.now();
    wait_for(Duration::from_secs(10), "a write beside the hung disk", || {
        load.recorder.first_ack_since(after).is_some()
    });
    let resumed = load.recorder.first_ack_since(after).expect("waited for");
    let gap = Duration::from_nanos(resumed - hung);
    println!("writes went on {gap:?} after the disk hung (seen after {:?})", begun.elapsed());
    assert!(gap <= 2 * ELECTION_TIMEOUT, "{gap:?}");

    wait_for(2 * ELECTION_TIMEOUT, "another leader", || {
        asked.status().is_ok_and(|now| ![0, before.leader].contains(&now.leader))
    });
    println!("another leader {:?} after the disk hung", begun.elapsed());
    std::thread::sleep(2 * ELECTION_TIMEOUT);
    let last = load.recorder.now();
    wait_for(ELECTION_TIMEOUT, "a write under the new leader", || {
        load.recorder.first_ack_since(last).is_some()
    });
    fs::remove_file(&hang_files[leader]).expect("the hang file was made above");
    load.stop();
    let state = Api::new(others[0]).range_all(false).expect("the others serve");
    let revision = state.header.expect("a header").revision;
    let healed = Api::new(cluster.members[leader].client);
    wait_for(Duration::from_secs(20), "the healed member to have every change", || {
        let answer = healed.range_all(true).ok();
        let header = answer.and_then(|answer| answer.header);
        header.is_some_and(|header| header.revision == revision)
    });
}
