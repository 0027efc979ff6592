//! Three real processes under load: the leader is killed again and again, a follower sleeps until
//! it needs a snapshot. What was acknowledged is there, and writes go on soon.

mod accept;

use std::time::{Duration, Instant};

use accept::api::{Api, agreed_state, leader_of};
use accept::history::{self, Call, Changes, Operation};
use accept::load::Load;
use accept::round::target;
use accept::{Cluster, ELECTION_TIMEOUT, Options, find_client, is_quick, wait_for};
use quorate_proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader,
};
use quorate_proto::mvccpb::{Event, KeyValue};
use rustix::process::Signal;

const CLIENTS: u64 = 32;
/// Two members that time out at once split their votes and try again: rare, and so long that may
/// take.
const RESUME_MAX: Duration = Duration::from_secs(6);

/// Kills, and how long the follower sleeps.
fn extent() -> (usize, Duration) {
    if is_quick() { (3, Duration::from_secs(6)) } else { (10, Duration::from_secs(30)) }
}

#[test]
fn nothing_acknowledged_is_lost_while_leaders_die() {
    let (kills, asleep) = extent();
    let flags = vec!["--snapshot-count=500".to_string()];
    let mut cluster = Cluster::start_with(3, &Options { flags });
    let addrs: Vec<_> = cluster.members.iter().map(|member| member.client).collect();
    let load = Load::start(&addrs, CLIENTS, Duration::from_millis(8));
    std::thread::sleep(Duration::from_secs(1));

    let gaps: Vec<Duration> = (0..kills).map(|_| kill_the_leader(&mut cluster, &load)).collect();
    let sleeper = put_a_follower_to_sleep(&cluster, asleep);
    std::thread::sleep(Duration::from_secs(1));
    let operations = load.stop();

    let state = agreed_state(&cluster, (sleeper + 1) % 3);
    if !is_quick() {
        assert!(took_snapshot(&cluster, sleeper), "the sleeper caught up without a snapshot");
    }
    let revision = state.1;
    let changes = Api::new(addrs[0]).changes_until(revision).expect("the history can be watched");
    if let Some(path) = std::env::var_os("QUORATE_ACCEPT_HISTORY") {
        history::write(path.as_ref(), &operations, &changes);
    }
    let acknowledged = operations.iter().filter(|one| one.call.revision().is_some()).count();
    println!("{} operations, {acknowledged} answered", operations.len());
    println!("writes resumed after {gaps:?}");
    assert_eq!(history::find_faults(&operations, &changes), Vec::<String>::new());
    history::check_order(&operations, &changes);
    assert!(acknowledged > 1_000, "too few answers to prove anything: {acknowledged}");
    let long = gaps.iter().filter(|gap| **gap > 2 * ELECTION_TIMEOUT).count();
    assert!(long <= 1, "more than one split vote is no accident: {gaps:?}");
}

/// The judge is judged: what a real etcd does while its leaders die is right by definition.
#[test]
fn the_checks_accept_what_a_real_etcd_does() {
    let built = target().join("judge/etcd");
    let found = if built.is_file() { Some(built) } else { find_client("etcd") };
    let Some(etcd) = found else {
        return;
    };
    let mut cluster = Cluster::prepare(3, &Options::default());
    for member in &mut cluster.members {
        member.program.clone_from(&etcd);
        member.spawn();
    }
    cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
    let addrs: Vec<_> = cluster.members.iter().map(|member| member.client).collect();
    let load = Load::start(&addrs, CLIENTS, Duration::from_millis(8));
    std::thread::sleep(Duration::from_secs(1));
    let gaps = [kill_the_leader(&mut cluster, &load), kill_the_leader(&mut cluster, &load)];
    let operations = load.stop();
    let (_, revision) = agreed_state(&cluster, 0);
    let changes = Api::new(addrs[0]).changes_until(revision).expect("the history can be watched");
    let acknowledged = operations.iter().filter(|one| one.call.revision().is_some()).count();
    println!("{etcd:?}: {acknowledged} answers, writes resumed after {gaps:?}");
    assert_eq!(history::find_faults(&operations, &changes), Vec::<String>::new());
    history::check_order(&operations, &changes);
    assert!(acknowledged > 100, "too few answers to prove anything: {acknowledged}");
}

/// Kills the leader, waits for the next acknowledged write, restarts it; the gap.
fn kill_the_leader(cluster: &mut Cluster, load: &Load) -> Duration {
    let leader = leader_of(cluster);
    let killed = load.recorder.now();
    cluster.members[leader].kill();
    let mut resumed = None;
    wait_for(RESUME_MAX, "a write after the leader's death", || {
        resumed = load.recorder.first_ack_since(killed);
        resumed.is_some()
    });
    cluster.members[leader].start();
    std::thread::sleep(Duration::from_millis(500));
    Duration::from_nanos(resumed.expect("waited for") - killed)
}

/// Stops a follower's process until the log behind it is gone; which one.
fn put_a_follower_to_sleep(cluster: &Cluster, how_long: Duration) -> usize {
    let follower = (leader_of(cluster) + 1) % cluster.members.len();
    cluster.members[follower].signal(Signal::STOP);
    std::thread::sleep(how_long);
    cluster.members[follower].signal(Signal::CONT);
    follower
}

#[test]
fn a_sleeper_wakes_up_to_a_snapshot() {
    // The default of --snapshot-catchup-entries, and the older fixed number, is 5,000 entries.
    let flags = vec!["--snapshot-count=500".to_string()];
    let cluster = Cluster::start_with(3, &Options { flags });
    let leader = leader_of(&cluster);
    let sleeper = (leader + 1) % 3;
    let awake: Vec<_> =
        (0..3).filter(|n| *n != sleeper).map(|n| cluster.members[n].client).collect();
    cluster.members[sleeper].signal(Signal::STOP);
    let load = Load::start(&awake, 64, Duration::ZERO);
    let begun = Instant::now();
    let api = Api::new(cluster.members[leader].client);
    // Far more than the log keeps and what is on its way to the sleeper already: a few hundred
    // messages, full of what many clients wrote at once.
    let entries = 40_000;
    wait_for(Duration::from_secs(120), "many writes", || {
        api.status().is_ok_and(|status| status.raft_applied_index > entries)
    });
    println!("{entries} entries in {:?}", begun.elapsed());
    load.stop();
    cluster.members[sleeper].signal(Signal::CONT);
    agreed_state(&cluster, (sleeper + 1) % 3);
    assert!(took_snapshot(&cluster, sleeper), "the sleeper caught up without a snapshot");
}

fn took_snapshot(cluster: &Cluster, member: usize) -> bool {
    let log = cluster.members[member].log().to_lowercase();
    let words = ["applied snapshot", "applying incoming snapshot", "applying snapshot"];
    words.iter().any(|words| log.contains(words))
}

fn acknowledged_put(id: u64, client: u64, value: &'static str, revision: i64) -> Operation {
    let request = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
    let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
    let call = Call::Put(request, Some(PutResponse { header, prev_kv: None }));
    Operation { id, client, member: 1, called: id * 10, returned: id * 10 + 5, call }
}

fn read(id: u64, mod_revision: i64, revision: i64) -> Operation {
    let kvs = vec![KeyValue { key: "k".into(), mod_revision, ..KeyValue::default() }];
    let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
    let answer = RangeResponse { header, kvs, ..RangeResponse::default() };
    let call = Call::Range(RangeRequest { key: "k".into(), ..Default::default() }, Some(answer));
    Operation { id, client: 9, member: 1, called: id * 10, returned: id * 10 + 5, call }
}

fn change(value: &'static str, mod_revision: i64) -> (i64, Vec<Event>) {
    let (key, value) = ("k".into(), value.into());
    let kv = KeyValue { key, value, mod_revision, ..KeyValue::default() };
    (mod_revision, vec![Event { kv: Some(kv), ..Event::default() }])
}

#[test]
fn the_checks_accept_what_is_right_and_reject_what_is_not() {
    let changes: Changes = [change("x", 2), change("y", 3)].into();
    let right = [acknowledged_put(1, 1, "x", 2), acknowledged_put(2, 1, "y", 3), read(3, 3, 3)];
    assert_eq!(history::find_faults(&right, &changes), Vec::<String>::new());

    let fault_of = |operations: &[Operation]| history::find_faults(operations, &changes).join("; ");
    let lost = [acknowledged_put(1, 1, "other", 2)];
    assert_eq!(fault_of(&lost), "operation 1 was acknowledged at 2 and is lost");
    let never = [acknowledged_put(1, 1, "x", 4)];
    assert_eq!(fault_of(&never), "operation 1 was acknowledged at 4 and is lost");
    let twice = [acknowledged_put(1, 1, "x", 2), acknowledged_put(2, 2, "x", 2)];
    assert_eq!(fault_of(&twice), "operations 1 and 2 both wrote revision 2");
    let back = [acknowledged_put(1, 1, "y", 3), acknowledged_put(2, 1, "x", 2)];
    assert_eq!(fault_of(&back), "client 1 went back from 3 to 2");
    assert_eq!(fault_of(&[read(1, 2, 3)]), "operation 1 read Some(2) at 3, not Some(3)");
}
