//! A cluster inside somebody's simulation.
//!
//! ```text
//!   Cluster::start(Options::default())     three nodes of madsim's: 10.79.0.1, .2, .3
//!     |-- endpoints()  -> Client::connect
//!     |-- node(n)      -> whatever madsim's Handle and NetSim do to nodes
//!     `-- kill, restart, pause, partition, heal ...: the same in the words of a cluster
//! ```
//!
//! A killed node loses what its disk had not synced, as a machine does that loses power. It stays
//! down until it is restarted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};
use madsim::task::NodeId;
use quorate_core::Config;
use quorate_core::config::Peer;
use quorate_core::ids::{ClusterId, MemberId};

use super::member::{self, Post};
use super::site::{Ground, Tap};
use super::wire::{CLIENT_PORT, PEER_PORT};
use crate::world::clock::Clock;
use crate::world::disk::Pace;
use crate::world::luck::{Luck, Purpose};

/// Between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members.
    pub members: usize,
    /// The first member's address; the others follow.
    pub first_ip: Ipv4Addr,
    /// How much each clock may run fast or slow, in parts in a million.
    pub drift_ppm: u32,
    /// What all members are told, beside who they are.
    pub config: Config,
}

impl Default for Options {
    /// Three members with etcd's defaults.
    fn default() -> Self {
        Self {
            members: 3,
            first_ip: Ipv4Addr::new(10, 79, 0, 1),
            drift_ppm: 50,
            config: Config::default(),
        }
    }
}

/// One member.
pub(super) struct Seat {
    pub(super) ground: Ground,
    pub(super) node: NodeHandle,
    pub(super) ip: Ipv4Addr,
}

/// See the module. Dropping it changes nothing: the nodes are madsim's.
pub struct Cluster {
    handle: Handle,
    pub(super) seats: Vec<Seat>,
}

impl Cluster {
    /// Creates the nodes and starts the members. All luck comes from the runtime's seed.
    ///
    /// # Panics
    /// Outside of a madsim runtime.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let seed = Handle::current().seed();
        Self::start_watched(options, seed, &Tap::default())
    }

    pub(super) fn start_watched(options: &Options, seed: u64, tap: &Tap) -> Self {
        let handle = Handle::current();
        let first = u32::from(options.first_ip);
        let ips = (first..).take(options.members).map(Ipv4Addr::from);
        let address = |ip| SocketAddr::new(IpAddr::V4(ip), PEER_PORT);
        let ids = (1..).map(MemberId);
        let peers: BTreeMap<_, _> = ids.zip(ips.clone().map(address)).collect();
        let peers = Arc::new(peers);
        let seats = ips.enumerate().map(|(number, ip)| {
            let ground = new_ground(options, seed, number, &peers, tap);
            let post = Post { ground: ground.clone(), peers: peers.clone(), tap: tap.clone() };
            let node = handle.create_node().name(format!("m{}", number + 1)).ip(IpAddr::V4(ip));
            let node = node.init(move || member::run(post.clone())).build();
            Seat { ground, node, ip }
        });
        Self { seats: seats.collect(), handle }
    }

    /// Where clients find the members: `10.79.0.1:2379` and so on.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.seats.iter().map(|seat| format!("{}:{CLIENT_PORT}", seat.ip)).collect()
    }

    /// How many members there are. They are numbered from 0.
    #[must_use]
    pub fn members(&self) -> usize {
        self.seats.len()
    }

    /// A member's node, for madsim's own means.
    ///
    /// # Panics
    /// If there is no such member, here and in what follows.
    #[must_use]
    pub fn node(&self, member: usize) -> NodeId {
        self.seats[member].node.id()
    }

    /// The member that leads in the highest term, of those that are up.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let role = |member: &usize| {
            let site = self.seats[*member].ground.lock();
            (site.is_up() && site.role.is_leader).then_some(site.role.term)
        };
        (0..self.seats.len()).filter(|it| role(it).is_some()).max_by_key(role)
    }

    /// Waits until one leads.
    pub async fn wait_for_leader(&self) -> usize {
        loop {
            if let Some(leader) = self.leader() {
                return leader;
            }
            madsim::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes a member's power away.
    pub fn kill(&self, member: usize) {
        self.handle.kill(self.node(member));
    }

    /// Starts a member again; one that is up loses its power before.
    pub fn restart(&self, member: usize) {
        self.handle.restart(self.node(member));
    }

    /// A member stands still, keeping its memory.
    pub fn pause(&self, member: usize) {
        self.handle.pause(self.node(member));
    }

    /// It goes on.
    pub fn resume(&self, member: usize) {
        self.handle.resume(self.node(member));
    }

    /// Cuts these members off from all others, both ways. Clients still reach every member.
    pub fn partition(&self, members: &[usize]) {
        let net = NetSim::current();
        for (one, other) in self.pairs() {
            if members.contains(&one) != members.contains(&other) {
                net.clog_link(self.node(one), self.node(other));
            }
        }
    }

    /// Ends all partitions between members.
    pub fn heal(&self) {
        let net = NetSim::current();
        for (one, other) in self.pairs() {
            net.unclog_link(self.node(one), self.node(other));
        }
    }

    /// All ordered pairs of members, each with itself among them.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.seats.len();
        (0..count).flat_map(move |one| (0..count).map(move |other| (one, other)))
    }
}

fn new_ground(
    options: &Options,
    seed: u64,
    number: usize,
    peers: &BTreeMap<MemberId, SocketAddr>,
    tap: &Tap,
) -> Ground {
    let own = MemberId(number as u64 + 1);
    let peer = |(id, address): (&MemberId, &SocketAddr)| Peer {
        id: *id,
        name: format!("m{id}"),
        peer_urls: vec![format!("http://{address}")],
    };
    let client_url = format!("http://{}:{CLIENT_PORT}", peers[&own].ip());
    let config = Config {
        member: own,
        cluster: ClusterId(0xc1),
        name: format!("m{own}"),
        client_urls: vec![client_url],
        bootstrap: peers.iter().map(peer).collect(),
        seed,
        ..options.config.clone()
    };
    let mut luck = Luck::new(seed, Purpose::Clock, number as u64);
    let most = i64::from(options.drift_ppm);
    let drift = luck.below(2 * u64::from(options.drift_ppm) + 1) as i64 - most;
    let clock = Clock::new(luck.below(3_600_000_000_000), drift as i32);
    Ground::new(config, clock, Pace::new(seed, number as u64), tap.clone())
}
