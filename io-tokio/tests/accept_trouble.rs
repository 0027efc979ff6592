//! Rounds of trouble for three real processes, each on a disk and in a network that pass through
//! this test: deaths, cuts of the power, sleep, disks that fail, are full or hang, partitions.
//! After every round nothing acknowledged is lost, every answer fits into one order, and all
//! members have the same.
//!
//! ```text
//! QUORATE_TROUBLE_ROUNDS=200   how many, instead of a few
//! QUORATE_TROUBLE_SEED=7       of the first round: each draws from a seed of its own
//! ```

mod accept;
mod platter;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use accept::api::{Api, agreed_state, leader_of};
use accept::history::{self, Recorder};
use accept::load::Load;
use accept::net::{self, Link, Net};
use accept::{Cluster, Options, is_quorate, wait_for};
use platter::{Illness, Loss, Luck, Platter};
use rustix::process::Signal;

const MEMBERS: usize = 3;
/// The place clients are in.
const CLIENTS_PLACE: usize = MEMBERS;
const CLIENTS: u64 = 9;
/// How long until somebody is told that a write was done, with a majority in order: a client gives
/// up after three seconds, and an election may be held twice.
const RESUME_MAX: Duration = Duration::from_secs(12);
/// How long a member may take to notice that its disk has failed, and to end.
const END_MAX: Duration = Duration::from_secs(20);
/// Rounds with the same members, whose history grows.
const ROUNDS_PER_CLUSTER: u64 = 10;

/// What happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// Its process is killed.
    Death,
    /// And what it had not synced is lost.
    PowerCut,
    /// Its process stands still.
    Sleep,
    /// Its disk fails to sync: it must end by itself, and is started again after the disk was
    /// replaced, which has what was synced.
    SyncsFail,
    /// Its disk has no more room: likewise, but nothing is lost.
    Full,
    /// Its disk answers no writes and no syncs.
    Hang,
    /// Nobody hears it, and it hears nobody.
    Partition,
}

const TROUBLES: [Trouble; 7] = [
    Trouble::Death,
    Trouble::PowerCut,
    Trouble::Sleep,
    Trouble::SyncsFail,
    Trouble::Full,
    Trouble::Hang,
    Trouble::Partition,
];

/// Members on disks of their own, in places of their own.
struct Scene<'a> {
    cluster: Cluster,
    platters: Vec<Platter>,
    net: &'a Net,
    recorder: Arc<Recorder>,
    /// Clients so far.
    clients: u64,
}

impl<'a> Scene<'a> {
    fn begin(net: &'a Net) -> Option<Self> {
        let hosts: Vec<_> = (0..MEMBERS).map(net::address).collect();
        let flags = vec!["--snapshot-count=500".to_string()];
        let mut cluster = Cluster::prepare_at(&hosts, &Options { flags });
        let mount = |member: &accept::Member| {
            std::fs::create_dir(&member.data_dir).expect("a folder for a disk");
            Platter::mount(&member.data_dir)
        };
        let platters = cluster.members.iter().map(mount).collect::<Option<Vec<_>>>()?;
        for (place, member) in cluster.members.iter_mut().enumerate() {
            net.within(place, || member.spawn());
        }
        cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
        Some(Self { cluster, platters, net, recorder: Arc::new(Recorder::new()), clients: 0 })
    }

    /// One round, and what is left of it; what happened.
    fn round(&mut self, seed: u64) -> String {
        let mut luck = Luck::new(seed);
        let leader = leader_of(&self.cluster);
        let victim = if luck.one_in(2) { leader } else { luck.below(MEMBERS as u64) as usize };
        let trouble = TROUBLES[luck.below(TROUBLES.len() as u64) as usize];
        let second = luck.one_in(4).then(|| {
            let other = (victim + 1 + luck.below(2) as usize) % MEMBERS;
            (other, TROUBLES[luck.below(TROUBLES.len() as u64) as usize])
        });
        let load = self.load();
        std::thread::sleep(Duration::from_millis(300 + luck.below(500)));
        let begun = load.recorder.now();
        self.strike(victim, trouble);
        if let Some((other, trouble)) = second {
            self.strike(other, trouble);
        }
        let gap = second.is_none().then(|| self.resumed(&load, begun));
        std::thread::sleep(Duration::from_millis(luck.below(2_000)));
        self.mend(victim, trouble, &mut luck);
        if let Some((other, trouble)) = second {
            self.mend(other, trouble, &mut luck);
        }
        self.net.heal();
        let healed = self.resumed(&load, load.recorder.now());
        let operations = load.stop();
        self.check(&operations);
        let role = if victim == leader { "leader" } else { "member" };
        format!("{trouble:?} of the {role}, {second:?}: writes after {gap:?}, healed {healed:?}")
    }

    fn load(&mut self) -> Load {
        let addrs: Vec<_> = self.cluster.members.iter().map(|member| member.client).collect();
        let clients = self.clients..self.clients + CLIENTS;
        self.clients += CLIENTS;
        Load::go_on(Arc::clone(&self.recorder), &addrs, clients, Duration::from_millis(15))
    }

    fn strike(&mut self, victim: usize, trouble: Trouble) {
        let member = &mut self.cluster.members[victim];
        let ill = match trouble {
            Trouble::Death | Trouble::PowerCut => return member.kill(),
            Trouble::Sleep => return member.signal(Signal::STOP),
            Trouble::Partition => return self.cut_off(victim),
            Trouble::SyncsFail => Illness { fails_syncs: true, ..Illness::default() },
            Trouble::Full => Illness { is_full: true, ..Illness::default() },
            Trouble::Hang => Illness { hangs: true, ..Illness::default() },
        };
        self.platters[victim].ail(ill);
    }

    fn cut_off(&self, victim: usize) {
        let others = (0..=CLIENTS_PLACE).filter(|place| *place != victim);
        let pairs: Vec<_> = others.flat_map(|other| [(victim, other), (other, victim)]).collect();
        self.net.link(&pairs, Link { is_cut: true, ..Link::default() });
    }

    fn mend(&mut self, victim: usize, trouble: Trouble, luck: &mut Luck) {
        let member = &mut self.cluster.members[victim];
        let says = match trouble {
            Trouble::Sleep => return member.signal(Signal::CONT),
            Trouble::Partition => return,
            Trouble::Hang => return self.platters[victim].ail(Illness::default()),
            Trouble::Death | Trouble::PowerCut => None,
            Trouble::SyncsFail => Some("cannot sync"),
            Trouble::Full => Some("free space on this disk"),
        };
        if let Some(words) = says {
            // Only what is written can fail.
            self.net.heal();
            let status = member.wait_for_exit(END_MAX);
            let log = member.log();
            assert!(!status.success() && log.contains(words), "{status}: {log}");
            self.platters[victim].ail(Illness::default());
        }
        if matches!(trouble, Trouble::PowerCut | Trouble::SyncsFail) {
            let unit = if luck.one_in(2) { 512 } else { 4096 };
            let lost = Loss::Scattered { unit, has_garbage: false };
            let loss = if luck.one_in(2) { Loss::All } else { lost };
            self.platters[victim].cut(loss, luck);
        }
        let member = &mut self.cluster.members[victim];
        self.net.within(victim, || member.spawn());
        // Whether it serves is asked once everybody is well.
    }

    /// How long it took until a write was acknowledged that was called after this instant.
    fn resumed(&self, load: &Load, since: u64) -> Duration {
        let mut acknowledged = None;
        wait_for(RESUME_MAX, "a write", || {
            acknowledged = load.recorder.first_ack_since(since);
            acknowledged.is_some()
        });
        Duration::from_nanos(acknowledged.expect("waited for") - since)
    }

    fn check(&mut self, operations: &[history::Operation]) {
        self.cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
        let (_, revision) = agreed_state(&self.cluster, 0);
        let api = Api::new(self.cluster.members[0].client);
        let changes = api.changes_until(revision).expect("the history can be watched");
        assert_eq!(history::find_faults(operations, &changes), Vec::<String>::new());
        history::check_order(operations, &changes);
        for member in &self.cluster.members {
            assert!(!member.log().contains("panicked"), "{}", member.log());
        }
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        // Whoever uses a disk goes first, and the folder it is in last.
        self.cluster.members.iter_mut().for_each(accept::Member::kill);
        self.platters.clear();
    }
}

fn number_from(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_in_any_trouble() {
    if !is_quorate() {
        eprintln!("SKIPPED: what a server says of its disk is its own");
        return;
    }
    let Some(net) = Net::build(MEMBERS + 1) else { return };
    let (count, first) =
        (number_from("QUORATE_TROUBLE_ROUNDS", 3), number_from("QUORATE_TROUBLE_SEED", 1));
    let seeds: Vec<u64> = (first..first + count).collect();
    let mut told: BTreeMap<u64, String> = BTreeMap::new();
    for seeds in seeds.chunks(ROUNDS_PER_CLUSTER as usize) {
        let went = net.within(CLIENTS_PLACE, || {
            let Some(mut scene) = Scene::begin(&net) else { return ControlFlow::Break(()) };
            for seed in seeds {
                eprint!("round {seed}: ");
                let what = scene.round(*seed);
                eprintln!("{what}");
                told.insert(*seed, what);
            }
            ControlFlow::Continue(())
        });
        if went.is_break() {
            return;
        }
    }
    println!("{} rounds", told.len());
}
