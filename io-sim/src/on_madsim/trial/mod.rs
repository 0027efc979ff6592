//! A plan of the world's on madsim: the same errands, the same faults, the same judges; another
//! scheduler and another network.
//!
//! ```text
//!   Plan --+-- errands --> workers, watchers, keepers: a task each, on one node
//!          +-- strikes --> madsim's kill, pause, clog; the site's disk and clock
//!          `-- weather --> loss and latency of madsim's network, configuration of members
//!   Seen --> the observer, as in the world;   finale --> what is due
//! ```
//!
//! What has no meaning here, and is left out: connections that break and messages that go astray or
//! come twice (datagrams have no connections, and madsim neither copies nor misdelivers), images
//! that are cut off or late, slow readers of watches, turns that take their time, refusals out of
//! overload; chores of the operator and orders of the steward. A clogged link loses what is sent
//! over it. Nothing takes less than a millisecond: madsim rounds up.

mod clients;
mod finale;
mod strikes;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::task::NodeId;

use super::cluster::{Cluster, Options};
use super::site::{Tap, now};
use super::wire::CLIENT_PORT;
use crate::world::client::watcher::Watcher;
use crate::world::driver::new_config;
use crate::world::observe::{CallId, ClientId, Observer, Outcome, Seen, Verdict, Violation};
use crate::world::plan::{Plan, Shape};
use crate::world::run::message_of;

/// What became of a trial.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The broken promise, if one was.
    pub violation: Option<Violation>,
    /// When it ended, in nanoseconds.
    pub ended_at: u64,
    /// Calls that got an answer.
    pub answered: u64,
    /// Faults that struck, by word.
    pub fired: BTreeMap<&'static str, u64>,
}

/// The plan with what has no meaning here left out, so that the world can be asked the same.
#[must_use]
pub fn fit(plan: Plan) -> Plan {
    let quorum = plan.quorum & ((1 << plan.shape.nodes) - 1);
    let shape = Shape { spares: 0, users: 0, ..plan.shape };
    Plan { shape, quorum, duties: Vec::new(), decrees: Vec::new(), ..plan }
}

/// Runs a plan once, that [`fit`] has gone over. A panic of a member ends the run and is its
/// violation.
pub fn run(plan: &Plan, observer: Box<dyn Observer + Send>) -> Report {
    let mut config = madsim::Config::default();
    config.net.packet_loss_rate = plan.weather.drop as f64 / (1_u64 << 32) as f64;
    let latency = Duration::from_micros(plan.weather.peer_us);
    config.net.send_latency = latency..2 * latency + Duration::from_micros(1);
    let course = Arc::new(Mutex::new(Course::default()));
    let tap = Tap::to(observer);
    let runtime = Runtime::with_seed_and_config(plan.seed, config);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(conduct(plan.clone(), tap.clone(), course.clone()));
    }));
    let panicked = ended.err().map(|panic| Violation {
        verdict: Verdict::Crash,
        oracle: "panic",
        what: message_of(panic.as_ref()),
    });
    let violation = panicked.or_else(|| tap.violation());
    let course = course.lock().unwrap_or_else(PoisonError::into_inner);
    Report {
        violation,
        ended_at: course.ended_at,
        answered: course.answered,
        fired: course.fired.clone(),
    }
}

/// How far a trial is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Anything may go wrong.
    #[default]
    Faults,
    /// Faults are over inside the quorum.
    Healed,
    /// Nobody does anything any more.
    Resting,
}

/// What changes while a trial runs.
#[derive(Default)]
struct Course {
    phase: Phase,
    last_call: u64,
    last_stream: u64,
    /// Calls without an outcome, and whose they are.
    open: BTreeMap<CallId, ClientId>,
    answered: u64,
    fired: BTreeMap<&'static str, u64>,
    /// The keepers' leases.
    leases: Vec<i64>,
    watchers: Vec<Arc<Mutex<Watcher>>>,
    /// Keys each worker must put before the run may end, and the revisions of those that are put.
    owed: Vec<Vec<u64>>,
    bells: BTreeMap<u64, i64>,
    /// Until when links are cut.
    cuts: BTreeMap<(NodeId, NodeId), u64>,
    ended_at: u64,
}

/// A trial under way.
struct Trial {
    plan: Plan,
    cluster: Cluster,
    /// Where the clients are.
    crowd: NodeHandle,
    tap: Tap,
    course: Arc<Mutex<Course>>,
}

async fn conduct(plan: Plan, tap: Tap, course: Arc<Mutex<Course>>) {
    let config = new_config(&plan, 0);
    let members = plan.shape.nodes as usize;
    let drift_ppm = plan.weather.drift_ppm as u32;
    let options = Options { members, drift_ppm, config, ..Options::default() };
    let cluster = Cluster::start_watched(&options, plan.seed, &tap);
    let handle = Handle::current();
    let crowd = handle.create_node().name("clients");
    let crowd = crowd.ip(Ipv4Addr::new(10, 80, 0, 1).into()).build();
    let trial = Arc::new(Trial { plan, cluster, crowd, tap, course });
    clients::start(&trial);
    strikes::start(&trial);
    finale::conduct(&trial).await;
    trial.course().ended_at = now();
    trial.end().await;
}

impl Trial {
    /// Nobody holds it across a pause of the executor.
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody objected.
    fn is_over(&self) -> bool {
        self.tap.violation().is_some()
    }

    fn is_lost(&self, member: usize) -> bool {
        self.course().phase != Phase::Faults && self.plan.quorum >> member & 1 == 0
    }

    /// Members whose faults end.
    fn inside(&self) -> impl Iterator<Item = usize> + use<> {
        let quorum = self.plan.quorum;
        (0..self.cluster.members()).filter(move |member| quorum >> member & 1 == 1)
    }

    fn address(&self, member: usize) -> SocketAddr {
        SocketAddr::new(self.cluster.seats[member].ip.into(), CLIENT_PORT)
    }

    /// The number of the call that is made next.
    fn next_call(&self) -> CallId {
        let mut course = self.course();
        course.last_call += 1;
        CallId(course.last_call)
    }

    /// A call has its outcome, unless it had one before.
    fn conclude(&self, call: CallId, outcome: &Outcome) {
        let mut course = self.course();
        let Some(client) = course.open.remove(&call) else { return };
        course.answered += u64::from(*outcome != Outcome::Unknown);
        drop(course);
        self.tap.tell(|| Seen::Returned { client, call, outcome: outcome.clone() });
    }

    /// Takes everything down, so that nothing of it is left in memory.
    async fn end(&self) {
        self.tap.close();
        for member in 0..self.cluster.members() {
            self.cluster.kill(member);
        }
        Handle::current().kill(self.crowd.id());
        madsim::time::sleep(Duration::from_millis(2)).await;
    }
}
