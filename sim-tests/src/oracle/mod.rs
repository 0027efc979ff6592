//! What must stay true: each oracle watches the world, or reads a history, and objects.
//!
//! ```text
//!   world --Seen--> Oracles --+-- raft, durability, agreement, membership, lease, auth,
//!                             |   bounds, liveness: at once
//!                             +-- Recorder --at the end--> linear, watch
//! ```
//!
//! An oracle is an [`Observer`]: it is told everything that happens and returns a [`Violation`]
//! with one precise sentence as soon as it knows. The world's last event, `Finished`, asks for the
//! final judgement. A verdict of "unknown" does not exist.
//!
//! Invariants:
//! - an oracle never reads the core's memory: it judges what left the members;
//! - each has a test that shows it accepting a right run and rejecting a wrong one.

use quorate_core::time::Time;
use quorate_io_sim::world::observe::{Observer, Seen, Stop, Verdict, Violation};

use crate::history::{History, Recorder};
use crate::model::Settings;

pub mod agreement;
pub mod auth;
pub mod bounds;
pub mod durability;
pub mod lease;
pub mod linear;
pub mod liveness;
mod logs;
pub mod membership;
pub mod raft;
mod roll;
pub mod watch;
pub mod wgl;

/// An oracle's objection to what a member or client got.
pub(crate) fn wrong(oracle: &'static str, what: String) -> Violation {
    Violation { verdict: Verdict::Correctness, oracle, what }
}

/// Judges a recorded history: the oracles that need nothing else.
pub fn check_history(history: &History, settings: Settings) -> Result<(), Violation> {
    linear::check(history, settings)?;
    watch::check(history)
}

/// All oracles as one observer.
#[derive(Default)]
pub struct Oracles {
    raft: raft::Raft,
    durability: durability::Durability,
    agreement: agreement::Agreement,
    bounds: bounds::Bounds,
    liveness: liveness::Liveness,
    lease: lease::Lease,
    membership: membership::Membership,
    rights: auth::Rights,
    recorder: Recorder,
    settings: Settings,
}

impl Oracles {
    /// Every oracle there is, with the pace of the cluster they watch.
    pub fn all(pace: liveness::Pace) -> Self {
        let lease_ttl_min = i64::try_from(pace.lease_ttl_min()).unwrap_or(i64::MAX);
        Self {
            lease: lease::Lease::new(pace),
            liveness: liveness::Liveness::new(pace),
            settings: Settings { lease_ttl_min, ..Settings::default() },
            ..Self::default()
        }
    }
}

impl Observer for Oracles {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        self.recorder.observe(at, seen)?;
        check_crash(seen)?;
        self.raft.observe(at, seen)?;
        self.durability.observe(at, seen)?;
        self.agreement.observe(at, seen)?;
        self.bounds.observe(at, seen)?;
        self.liveness.observe(at, seen)?;
        self.lease.observe(at, seen)?;
        self.membership.observe(at, seen)?;
        self.rights.observe(at, seen)?;
        if matches!(seen, Seen::Finished { .. }) {
            let history = std::mem::take(&mut self.recorder).into_history();
            return check_history(&history, self.settings);
        }
        Ok(())
    }
}

/// A member's code never panics, whatever happens to it.
fn check_crash(seen: &Seen) -> Result<(), Violation> {
    let Seen::Stopped { member, why: Stop::Panic(message) } = seen else { return Ok(()) };
    let what = format!("member {member} panicked: {message}");
    Err(Violation { verdict: Verdict::Crash, oracle: "panic", what })
}
