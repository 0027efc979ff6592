//! Shrinking with plain questions in place of a world: what must stay, stays, and nothing else.

use quorate_io_sim::world::plan::{Deed, Fault};
use quorate_io_sim::world::{Plan, Shape};

use super::*;

fn drawn(seed: u64) -> Plan {
    Plan::draw(seed, Shape::R3)
}

fn puts_of(key: u64) -> impl Fn(&Plan) -> bool {
    move |plan| {
        let is_it = |deed: &Deed| matches!(deed, Deed::Put { key: it, .. } if *it == key);
        plan.errands.iter().any(|errand| is_it(&errand.deed))
    }
}

fn has_long_crash(plan: &Plan) -> bool {
    let is_it = |fault: &Fault| matches!(fault, Fault::Crash { rest, .. } if *rest >= SECOND);
    plan.strikes.iter().any(|strike| is_it(&strike.fault))
}

/// A seed whose plan has a crash of a second and a put of the key 7.
fn seed() -> u64 {
    let is_it = |seed: &u64| has_long_crash(&drawn(*seed)) && puts_of(7)(&drawn(*seed));
    (0..1_000).find(is_it).expect("some seed has both")
}

#[test]
fn only_what_the_failure_needs_is_left() {
    let mut fails = |plan: &Plan| (has_long_crash(plan) && puts_of(7)(plan)).then_some(60 * SECOND);
    let Shrunk { plan, runs } = shrink(drawn(seed()), 10_000, &mut fails).unwrap();
    assert_eq!((plan.strikes.len(), plan.errands.len()), (1, 1));
    assert!(plan.duties.is_empty() && plan.decrees.is_empty());
    let Shape { watchers, keepers, spares, nodes, .. } = plan.shape;
    assert_eq!((watchers, keepers, spares, nodes), (0, 0, 0, 1));
    assert!(plan.shape.seconds * SECOND < 2 * plan.strikes[0].at.max(plan.errands[0].at) + SECOND);
    let Fault::Crash { rest, .. } = plan.strikes[0].fault else { panic!("no crash") };
    assert!((SECOND..2 * SECOND).contains(&rest), "halved while it still failed: {rest}");
    let bad_luck = plan.weather.fields().filter(|(name, _)| !FAIR.contains(name));
    assert_eq!(bad_luck.map(|(_, chance)| chance).sum::<u64>(), 0);
    assert!(runs < 2_000, "{runs}");
}

#[test]
fn one_kind_of_bad_luck_is_kept_when_it_is_needed() {
    let seed = (0..1_000).find(|seed| drawn(*seed).weather.drop > 0).unwrap();
    let mut fails = |plan: &Plan| (plan.weather.drop > 0).then_some(0);
    let Shrunk { plan, .. } = shrink(drawn(seed), 10_000, &mut fails).unwrap();
    let left = plan.weather.fields().filter(|(name, _)| !FAIR.contains(name));
    assert_eq!(left.filter(|(_, chance)| *chance > 0).count(), 1);
    assert!(plan.strikes.is_empty() && plan.errands.is_empty());
    assert_eq!(plan.shape.workers, 1);
}

#[test]
fn a_plan_that_does_not_fail_is_not_shrunk_and_runs_are_counted() {
    assert_eq!(shrink(drawn(1), 100, &mut |_| None), None);
    let mut runs = 0;
    let mut fails = |_: &Plan| {
        runs += 1;
        (runs == 1).then_some(SECOND)
    };
    let shrunk = shrink(drawn(1), 10, &mut fails).unwrap();
    assert_eq!((shrunk.runs, shrunk.plan), (10, drawn(1)));
    assert_eq!(runs, 10);
}

#[test]
fn every_smaller_plan_can_be_written_and_read() {
    let mut fails = |plan: &Plan| {
        assert_eq!(Plan::read(&plan.write()).as_ref(), Ok(plan));
        puts_of(7)(plan).then_some(20 * SECOND)
    };
    shrink(drawn(seed()), 400, &mut fails).unwrap();
}
