//! Three real processes, each in a network of its own, and between them a network that breaks:
//! whole cuts and cuts of one direction, delay and loss, one after another, under load. What was
//! acknowledged is there, every answer fits into one order, and writes go on.

mod accept;

use std::time::Duration;

use accept::api::{Api, agreed_state, leader_of};
use accept::history::{self, Changes, Operation};
use accept::load::Load;
use accept::net::{self, Link, Net};
use accept::{Cluster, Options, is_quick, wait_for};

const MEMBERS: usize = 3;
/// The place clients are in.
const CLIENTS_PLACE: usize = MEMBERS;
/// Enough that some of them are at every member.
const CLIENTS: u64 = 9;
/// How long until somebody is told that a write was done, though the network is broken: a client
/// gives up after three seconds, and an election may be held twice.
const RESUME_MAX: Duration = Duration::from_secs(12);
/// The same once the network is whole, with connections that have long heard nothing.
const HEAL_MAX: Duration = Duration::from_secs(20);

/// How long each trouble lasts.
fn trouble_lasts() -> Duration {
    if is_quick() { Duration::from_secs(2) } else { Duration::from_secs(20) }
}

const CUT: Link =
    Link { is_cut: true, loss_percent: 0, delay: Duration::ZERO, jitter: Duration::ZERO };

/// A trouble: its name, what becomes of which links, and whether writes can go on in it. Member 0
/// is the leader when it begins.
struct Trouble {
    name: &'static str,
    link: Link,
    pairs: &'static [(usize, usize)],
    /// Whether a majority can still talk in both directions, and to clients.
    has_majority: bool,
}

const ALL: &[(usize, usize)] = &[(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];

fn troubles() -> Vec<Trouble> {
    let cut = |name, pairs| Trouble { name, link: CUT, pairs, has_majority: true };
    let slow = Link {
        delay: Duration::from_millis(60),
        jitter: Duration::from_millis(60),
        ..Link::default()
    };
    let lossy = Link { loss_percent: 10, ..Link::default() };
    vec![
        cut("the leader is cut off from the others", &[(0, 1), (1, 0), (0, 2), (2, 0)]),
        cut("the others do not hear the leader", &[(0, 1), (0, 2)]),
        cut("the leader does not hear the others", &[(1, 0), (2, 0)]),
        cut("the leader and one other do not hear each other", &[(0, 1), (1, 0)]),
        cut("one other hears nobody", &[(0, 1), (2, 1), (CLIENTS_PLACE, 1)]),
        Trouble { name: "everything is slow", link: slow, pairs: ALL, has_majority: true },
        Trouble { name: "a tenth is lost", link: lossy, pairs: ALL, has_majority: true },
        Trouble { name: "nobody hears anybody", link: CUT, pairs: ALL, has_majority: false },
    ]
}

/// Members in places of their own, serving; the clients' place is the last one.
fn start(net: &Net) -> Cluster {
    let hosts: Vec<_> = (0..MEMBERS).map(net::address).collect();
    let flags = vec!["--snapshot-count=500".to_string()];
    let mut cluster = Cluster::prepare_at(&hosts, &Options { flags });
    for (place, member) in cluster.members.iter_mut().enumerate() {
        net.within(place, || member.spawn());
    }
    cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
    cluster
}

/// Breaks the network, waits, heals it; how long writes took to go on, in the trouble and after.
fn suffer(trouble: &Trouble, net: &Net, cluster: &Cluster, load: &Load) -> [Option<Duration>; 2] {
    let leader = leader_of(cluster);
    // Members are numbered from the leader on.
    let place = |number: usize| match number {
        CLIENTS_PLACE => CLIENTS_PLACE,
        number => (leader + number) % MEMBERS,
    };
    let pairs: Vec<_> = trouble.pairs.iter().map(|(a, b)| (place(*a), place(*b))).collect();
    net.link(&pairs, trouble.link);
    let begun = load.recorder.now();
    let within = trouble.has_majority.then(|| resumed(load, begun, RESUME_MAX, trouble.name));
    std::thread::sleep(trouble_lasts());
    if !trouble.has_majority {
        let moment = Duration::from_secs(1);
        let since = load.recorder.now() - u64::try_from(moment.as_nanos()).unwrap_or(0);
        assert_eq!(load.recorder.first_ack_since(since), None, "{}", trouble.name);
    }
    net.heal();
    let healed = load.recorder.now();
    let after = resumed(load, healed, HEAL_MAX, trouble.name);
    [within, Some(after)]
}

/// How long it took until a write was acknowledged that was called after this instant.
fn resumed(load: &Load, since: u64, within: Duration, name: &str) -> Duration {
    let mut acknowledged = None;
    wait_for(within, &format!("{name}: a write"), || {
        acknowledged = load.recorder.first_ack_since(since);
        acknowledged.is_some()
    });
    Duration::from_nanos(acknowledged.expect("waited for") - since)
}

#[test]
fn nothing_acknowledged_is_lost_while_the_network_breaks() {
    let Some(net) = Net::build(MEMBERS + 1) else { return };
    let cluster = start(&net);
    let (told, operations, changes) = net.within(CLIENTS_PLACE, || run(&net, &cluster));
    println!("{}", told.join("\n"));
    if let Some(path) = std::env::var_os("QUORATE_ACCEPT_HISTORY") {
        history::write(path.as_ref(), &operations, &changes);
    }
    let acknowledged = operations.iter().filter(|one| one.call.revision().is_some()).count();
    let (passed, lost) = net.counts();
    println!("{} operations, {acknowledged} answered", operations.len());
    println!("{passed} packets arrived, {lost} were lost");
    assert_eq!(history::find_faults(&operations, &changes), Vec::<String>::new());
    history::check_order(&operations, &changes);
    assert!(acknowledged > 1_000, "too few answers to prove anything: {acknowledged}");
}

/// All troubles, one after another; what they did, what clients asked and what happened.
fn run(net: &Net, cluster: &Cluster) -> (Vec<String>, Vec<Operation>, Changes) {
    let addrs: Vec<_> = cluster.members.iter().map(|member| member.client).collect();
    let load = Load::start(&addrs, CLIENTS, Duration::from_millis(20));
    std::thread::sleep(Duration::from_secs(1));
    let tell = |trouble: Trouble| {
        let [within, after] = suffer(&trouble, net, cluster, &load);
        format!("{}: writes went on after {within:?}, healed {after:?}", trouble.name)
    };
    let told = troubles().into_iter().map(tell).collect();
    let operations = load.stop();
    let (_, revision) = agreed_state(cluster, 0);
    let changes = Api::new(addrs[0]).changes_until(revision).expect("the history can be watched");
    (told, operations, changes)
}
