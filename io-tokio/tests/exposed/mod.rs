//! A cluster that strangers can reach, and somebody who needs it meanwhile.

pub(crate) mod frames;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tonic::Status;

use super::accept::api::{self, Api};
use super::accept::{Cluster, Member, Options, wait_for};

/// Time between two calls of the one who needs the cluster.
const PACE: Duration = Duration::from_millis(20);
/// How long an answer may take while everything runs on one machine, without any optimization.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three members, their leader and its term.
pub(crate) struct Exposed {
    pub(crate) cluster: Cluster,
    pub(crate) leader: usize,
    term: u64,
}

impl Exposed {
    pub(crate) fn start() -> Self {
        Self::of(Cluster::start(3))
    }

    /// Members that also listen for TLS, each at the second address given.
    pub(crate) fn start_secure(flags: &[String]) -> (Self, Vec<SocketAddr>) {
        let mut cluster = Cluster::prepare(3, &Options::default());
        let mut secure = Vec::new();
        for member in &mut cluster.members {
            let at = super::accept::free_addr();
            let urls = format!("http://{},https://{at}", member.client);
            member.replace_flag("listen-client-urls", &urls);
            for flag in flags {
                let (name, value) = flag.split_once('=').expect("name=value");
                member.replace_flag(name, value);
            }
            secure.push(at);
            member.spawn();
        }
        cluster.members.iter_mut().for_each(Member::wait_until_ready);
        (Self::of(cluster), secure)
    }

    fn of(cluster: Cluster) -> Self {
        let leader = api::leader_of(&cluster);
        let status = Api::new(cluster.members[leader].client).status().expect("a leader answers");
        Self { cluster, leader, term: status.raft_term }
    }

    /// Where the leader listens for clients.
    pub(crate) fn target(&self) -> SocketAddr {
        self.cluster.members[self.leader].client
    }

    fn rss_bytes(&self) -> u64 {
        self.cluster.members[self.leader].rss_bytes()
    }

    /// Runs `attack` on the leader, while somebody else writes and reads there and at another
    /// member; asserts that this one is always served, that nobody stands for election, and that
    /// the leader does not grow by more than `growth_max` bytes.
    pub(crate) fn bear(&self, what: &str, growth_max: u64, attack: impl FnOnce(SocketAddr)) {
        let before = self.rss_bytes();
        let other = (self.leader + 1) % self.cluster.members.len();
        let needy = [self.leader, other].map(|it| Needy::start(self.cluster.members[it].client));
        let peak = AtomicU64::new(0);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    peak.fetch_max(self.rss_bytes(), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            attack(self.target());
            is_over.store(true, Ordering::Relaxed);
        });
        let served = needy.map(Needy::stop);
        let grown = peak.into_inner().saturating_sub(before);
        eprintln!("{what}: {} KiB more, others served: {served:?}", grown >> 10);
        assert!(grown <= growth_max, "{what}: {} KiB more than {} KiB", grown >> 10, before >> 10);
        self.assert_nobody_stood(what);
    }

    fn assert_nobody_stood(&self, what: &str) {
        let status_of = |member: &Member| insist(|| Api::new(member.client).status());
        let leader = status_of(&self.cluster.members[self.leader]);
        let id = leader.header.map(|header| header.member_id);
        for member in &self.cluster.members {
            let status = status_of(member);
            assert_eq!((status.raft_term, Some(status.leader)), (self.term, id), "{what}");
        }
    }
}

/// What somebody who was there all the time has seen.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
pub(crate) struct Served {
    calls: usize,
    longest: Duration,
}

/// An answer, however slow the machine is that runs all of this.
pub(crate) fn insist<T>(call: impl Fn() -> Result<T, Status>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Ok(answer) => return answer,
            Err(status) => assert!(Instant::now() < deadline, "not served: {status}"),
        }
    }
}

/// Somebody who writes and reads at a steady pace and cannot do without an answer.
struct Needy {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Served>,
}

impl Needy {
    fn start(server: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = is_over.clone();
        let thread = std::thread::spawn(move || {
            let api = Api::new(server);
            let mut served = Served { calls: 0, longest: Duration::ZERO };
            while !until.load(Ordering::Relaxed) || served.calls == 0 {
                let since = Instant::now();
                let revision = insist(|| api.put("needy", b"v".to_vec()));
                insist(|| api.get_at("needy", revision));
                served.longest = served.longest.max(since.elapsed());
                served.calls += 2;
                std::thread::sleep(PACE);
            }
            served
        });
        Self { is_over, thread }
    }

    fn stop(self) -> Served {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("everything was served")
    }
}

/// Waits until the leader has given back what an attack took, so that the next is judged alone.
pub(crate) fn settle() {
    let calm = Instant::now() + Duration::from_secs(1);
    wait_for(Duration::from_secs(5), "a moment", || Instant::now() > calm);
}
