use std::collections::{BTreeMap, BTreeSet};

use quorate_core::ids::MemberId;
use quorate_core::time::Time;

use super::observe::{CallId, Observer, Outcome, Seen, Verdict, Violation};
use super::plan::{Fault, Strike};
use super::run::Report;
use super::toy::{Planted, Toy};
use super::{Plan, Shape, Wanted, find_parting, run};

const SHAPE: Shape = Shape { seconds: 20, rate: 60, snapshot_count: 50, ..Shape::R3 };

/// Counts what it sees and holds the world to its own promises.
#[derive(Debug, Default, PartialEq)]
struct Witness {
    open: BTreeSet<CallId>,
    returned: u64,
    acknowledged: BTreeSet<CallId>,
    proposed: BTreeMap<u64, CallId>,
    applied: BTreeMap<u64, BTreeSet<u64>>,
    down: BTreeSet<MemberId>,
    counts: BTreeMap<&'static str, u64>,
    frames: u64,
}

fn broken(what: &str) -> Result<(), Violation> {
    Err(Violation { verdict: Verdict::Correctness, oracle: "witness", what: what.into() })
}

impl Observer for Witness {
    fn observe(&mut self, _: Time, seen: &Seen) -> Result<(), Violation> {
        match seen {
            Seen::Called { call, .. } if !self.open.insert(*call) => broken("called twice"),
            Seen::Returned { call, outcome, .. } => {
                self.returned += u64::from(matches!(outcome, Outcome::Response(_)));
                if self.open.remove(call) { Ok(()) } else { broken("returned twice") }
            }
            Seen::Acknowledged { call, .. } => {
                self.acknowledged.insert(*call);
                Ok(())
            }
            Seen::Proposed { id, call: Some(call), .. } => {
                self.proposed.insert(id.0, *call);
                Ok(())
            }
            Seen::Applied { index, digest, .. } => {
                let digests = self.applied.entry(index.0).or_default();
                digests.insert(*digest);
                if digests.len() == 1 { Ok(()) } else { broken("digests differ") }
            }
            Seen::Stopped { member, .. } => {
                *self.counts.entry("stopped").or_default() += 1;
                self.down.insert(*member);
                Ok(())
            }
            Seen::Started { member, .. } => {
                self.down.remove(member);
                Ok(())
            }
            Seen::Role { member, .. } | Seen::Persisting { member, .. }
                if self.down.contains(member) =>
            {
                broken("something is told about a member that is down")
            }
            Seen::Installed { .. } => {
                *self.counts.entry("installed").or_default() += 1;
                Ok(())
            }
            Seen::Frame { .. } => {
                self.frames += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The toy's leader is the first member for ever: it must be in the quorum.
/// Without users: the toy knows of none.
fn plan(seed: u64, shape: Shape) -> Plan {
    let plan = Plan::draw(seed, shape);
    let shape = Shape { users: 0, ..plan.shape };
    Plan { quorum: plan.quorum | 1, shape, decrees: Vec::new(), ..plan }
}

fn run_toy(plan: &Plan, planted: Planted) -> Report<Witness> {
    run(plan.clone(), Toy(planted), Witness::default(), Wanted::default())
}

#[test]
fn the_toy_survives_every_fault_and_each_run_is_the_same_twice() {
    let mut fired: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut installed, mut frames) = (0, 0);
    for seed in 0..24 {
        let plan = plan(seed, SHAPE);
        let (first, second) = (run_toy(&plan, Planted::Nothing), run_toy(&plan, Planted::Nothing));
        assert_eq!(first.violation, None, "seed {seed}");
        assert_eq!(first.recording.parting(&second.recording), None, "seed {seed}");
        assert_eq!(first.observer, second.observer, "seed {seed}");
        assert!(first.observer.open.is_empty(), "every call returned");
        assert!(first.observer.returned > 40, "seed {seed}: {}", first.observer.returned);
        for (word, times) in first.fired {
            *fired.entry(word).or_default() += times;
        }
        installed += first.observer.counts.get("installed").copied().unwrap_or(0);
        frames += first.observer.frames;
    }
    for word in Fault::WORDS {
        assert!(fired.contains_key(word), "{word} never struck: {fired:?}");
    }
    assert!(installed > 0, "images were installed");
    assert!(frames > 1_000, "{frames}");
}

#[test]
fn a_plan_read_back_from_its_text_is_the_same_run() {
    let plan = plan(5, SHAPE);
    let read = Plan::read(&plan.write()).unwrap();
    let (first, second) = (run_toy(&plan, Planted::Nothing), run_toy(&read, Planted::Nothing));
    assert_eq!(first.recording, second.recording);
}

#[test]
fn members_that_differ_are_noticed() {
    let violation = run_toy(&plan(1, SHAPE), Planted::OwnDigest).violation.unwrap();
    assert_eq!((violation.oracle, violation.what.as_str()), ("witness", "digests differ"));
}

#[test]
fn a_panic_is_a_crash_with_its_message() {
    let violation = run_toy(&plan(1, SHAPE), Planted::Panic).violation.unwrap();
    assert_eq!((violation.verdict, violation.oracle), (Verdict::Crash, "panic"));
    assert!(violation.what.ends_with(": one too many"), "{violation:?}");
}

#[test]
fn two_runs_that_part_are_shown_where() {
    let plan = plan(1, SHAPE);
    let odd = || Planted::another_each_run();
    let (first, second) = (run_toy(&plan, odd()), run_toy(&plan, odd()));
    let steps = first.recording.parting(&second.recording).unwrap();
    let parting = find_parting(&plan, steps, || (Toy(odd()), Witness::default()));
    let [first, second] = parting.versions;
    assert_ne!(first, second);
    assert!(first.iter().any(|line| line.contains(">propose")), "{first:?}");
}

#[test]
fn acknowledging_too_early_loses_something() {
    let found = (0..60).find_map(|seed| {
        let plan = plan(seed, SHAPE);
        run_toy(&plan, Planted::EarlyAck).violation
    });
    assert!(found.is_some());
}

#[test]
fn a_quorum_that_never_comes_back_is_a_liveness_failure() {
    let mut plan = Plan::calm(1, Shape { seconds: 2, ..SHAPE });
    plan.weather.step_us = 1;
    let fault = Fault::LagApply { node: 0, step: 3_600_000_000_000, rest: u64::MAX };
    plan.strikes = vec![Strike { at: 1_900_000_000, fault }];
    plan.quorum = 0b011;
    let report = run_toy(&plan, Planted::Nothing);
    assert_eq!(report.violation, None, "a lag ends with healing");
    let text = plan.write().replace("heartbeat_ms 100", "heartbeat_ms 90000");
    let report = run_toy(&Plan::read(&text).unwrap(), Planted::Nothing);
    let violation = report.violation.unwrap();
    assert_eq!((violation.verdict, violation.oracle), (Verdict::Liveness, "served"));
}

#[test]
fn a_crash_between_two_outputs_stops_the_rest() {
    let mut plan = Plan::calm(1, Shape { seconds: 23, ..SHAPE });
    let crash = |n| Fault::Crash { node: 1, outputs: n, rest: 50_000_000 };
    plan.strikes =
        (0..20).map(|n| Strike { at: 1_000_000_000 * (n + 1), fault: crash(n) }).collect();
    let report = run_toy(&plan, Planted::Nothing);
    assert_eq!(report.violation, None);
    assert_eq!(report.observer.counts["stopped"], 20, "{:?}", report.fired);
    assert_eq!(report.fired["crash"], 20);
    assert!(!report.observer.acknowledged.is_empty());
    let proposed: BTreeSet<_> = report.observer.proposed.values().collect();
    assert!(report.observer.acknowledged.iter().all(|call| proposed.contains(call)));
}
