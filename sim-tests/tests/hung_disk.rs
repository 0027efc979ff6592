//! The disk of the leader's log hangs and never answers again: the others go on without it.

use quorate_core::error::Refusal;
use quorate_core::ids::MemberId;
use quorate_core::time::{Duration, Time};
use quorate_core::{Request, Role};
use quorate_io_sim::world::observe::{CallId, Observer, Operation, Outcome, Seen, Violation};
use quorate_io_sim::world::plan::{Fault, Strike};
use quorate_io_sim::world::{Plan, Shape, Wanted, run};
use quorate_sim_tests::oracle::Oracles;
use quorate_sim_tests::scenario::{Members, Subject};

const HANGS_AT: Time = Time(5_000_000_000);
const SHAPE: Shape = Shape { seconds: 10, compact_every_ms: 0, ..Shape::R3 };
const ELECTION_TIMEOUT: Duration = Duration::from_millis(SHAPE.election_ms);

/// A write and its fate.
struct Written {
    call: CallId,
    member: MemberId,
    called: Time,
    served: Option<Time>,
}

/// Watches who leads and how writes fare.
#[derive(Default)]
struct Watch {
    writes: Vec<Written>,
    /// Every view of who leads, with its time.
    roles: Vec<(Time, MemberId, Role)>,
}

/// Whether a write had its answer: what was done, or why the request itself cannot be.
fn is_answer(outcome: &Outcome) -> bool {
    use Refusal::{KeyNotFound, LeaseNotFound, LeaseProvided, ValueProvided};
    match outcome {
        Outcome::Response(_) => true,
        Outcome::Refused(refusal) => {
            matches!(refusal, KeyNotFound | LeaseNotFound | LeaseProvided | ValueProvided)
        }
        _ => false,
    }
}

impl Observer for Watch {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        match seen {
            Seen::Called {
                call, member, operation: Operation::Request(Request::Put(_)), ..
            } => {
                let (call, member) = (*call, *member);
                self.writes.push(Written { call, member, called: at, served: None });
            }
            Seen::Returned { call, outcome, .. } if is_answer(outcome) => {
                let found = self.writes.iter_mut().find(|written| written.call == *call);
                if let Some(written) = found {
                    written.served = Some(at);
                }
            }
            Seen::Role { member, role } => self.roles.push((at, *member, *role)),
            _ => {}
        }
        Ok(())
    }
}

impl Watch {
    /// Who led at `at`.
    fn leader(&self, at: Time) -> Option<MemberId> {
        let before = self.roles.iter().rev().filter(|(when, ..)| *when <= at);
        before.clone().find(|(_, _, role)| role.is_leader).map(|(_, member, _)| *member)
    }
}

fn watch(plan: &Plan) -> Watch {
    let observer: (Oracles, Watch) = (Members::judges(plan), Watch::default());
    let report = run(plan.clone(), Members::build(), observer, Wanted::default());
    assert_eq!(report.violation, None, "seed {}", plan.seed);
    report.observer.1
}

#[test]
fn the_others_serve_writes_within_two_election_timeouts() {
    for seed in 0..3 {
        let mut plan = Plan::calm(seed, SHAPE);
        let leader = watch(&plan).leader(HANGS_AT).expect("a calm world has a leader");
        let node = leader.get() - 1;
        let fault = Fault::HangDisk { node, rest: 3_600_000_000_000 };
        plan.strikes.push(Strike { at: HANGS_AT.0, fault });
        plan.quorum &= !(1 << node);
        let seen = watch(&plan);

        let due = HANGS_AT + 2 * ELECTION_TIMEOUT;
        let successor = seen.leader(due).expect("somebody led");
        assert_ne!(successor, leader, "seed {seed}: another leads");
        let end = Time(SHAPE.seconds * 1_000_000_000);
        let after = |from: Time, until: Time| {
            let is_in = move |it: &&Written| it.called >= from && it.called < until;
            seen.writes.iter().filter(is_in).filter(|it| it.member != leader)
        };
        let at_once = after(HANGS_AT, due).any(|it| it.served.is_some_and(|at| at < due));
        assert!(at_once, "seed {seed}: no write is served in two election timeouts");
        let mut count = 0;
        for written in after(due, Time(end.0 - ELECTION_TIMEOUT.as_nanos() as u64)) {
            let limit = written.called + ELECTION_TIMEOUT;
            let is_served = written.served.is_some_and(|at| at < limit);
            assert!(is_served, "seed {seed}: a write at {} waits too long", written.called.0);
            count += 1;
        }
        assert!(count > 30, "seed {seed}: only {count} writes were asked for");
    }
}
