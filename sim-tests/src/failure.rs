//! How a plan is judged, and what a failure looks like.

use std::cell::RefCell;

use quorate_io_sim::world::observe::{Verdict, Violation};
use quorate_io_sim::world::run::Parting;
use quorate_io_sim::world::{Plan, Report, Wanted, find_parting, run};

use crate::scenario::{Members, Subject};

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the place of the last panic instead of printing it: the report prints it.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PANIC.with(|panic| *panic.borrow_mut() = place);
    }));
}

/// What a run found out; as a number, the program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All is well.
    Nothing = 0,
    /// A wrong answer or a broken invariant.
    Wrong = 1,
    /// Nothing was run: the program was used in a wrong way.
    BadUsage = 2,
    /// Something due did not happen.
    Stuck = 3,
    /// A member panicked.
    Crash = 4,
    /// Two runs of one plan differ.
    Difference = 5,
}

/// A failed plan.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Of which kind.
    pub found: Found,
    /// The oracle that objected; empty if two runs differ.
    pub oracle: &'static str,
    /// All there is to say in text.
    pub text: String,
}

impl Failure {
    /// Whether another failure is the same in kind: what a shrinker keeps.
    #[must_use]
    pub fn resembles(&self, other: &Self) -> bool {
        (self.found, self.oracle) == (other.found, other.oracle)
    }

    /// A name for files and tests: `seed_17_linear`.
    #[must_use]
    pub fn name(&self) -> String {
        let kind = if self.oracle.is_empty() { "difference" } else { self.oracle };
        format!("seed_{}_{kind}", self.seed)
    }
}

/// Runs a written plan twice under all oracles: what a `#[test]` of a failure that was found says.
///
/// # Panics
/// If the text is no plan, and with the objection if the plan fails.
pub fn replay(text: &str) {
    let plan = Plan::read(text).unwrap_or_else(|error| panic!("not a schedule: {error}"));
    if let (_, Some(failure)) = check::<Members>(&plan, false, 0) {
        panic!("seed {}: {}", failure.seed, failure.text);
    }
}

/// Runs a plan once, or twice with equal traces. `lines`: of the trace, to be kept.
pub fn check<S: Subject>(
    plan: &Plan,
    once: bool,
    lines: usize,
) -> (Report<S::Judges>, Option<Failure>) {
    let go = || {
        let wanted = Wanted { lines, ..Wanted::default() };
        run(plan.clone(), S::build(), S::judges(plan), wanted)
    };
    let first = go();
    if let Some(violation) = &first.violation {
        let failure = describe(plan.seed, violation, first.ended_at);
        return (first, Some(failure));
    }
    if once {
        return (first, None);
    }
    let second = go();
    let failure = first.recording.parting(&second.recording).map(|steps| {
        let parting = find_parting(plan, steps, || (S::build(), S::judges(plan)));
        let text = describe_parting(&parting);
        Failure { seed: plan.seed, found: Found::Difference, oracle: "", text }
    });
    (first, failure)
}

fn describe(seed: u64, violation: &Violation, at: u64) -> Failure {
    let found = match violation.verdict {
        Verdict::Correctness => Found::Wrong,
        Verdict::Liveness => Found::Stuck,
        Verdict::Crash => Found::Crash,
    };
    let mut text = format!(
        "{:?}, {}, at {}.{:09}s: {}",
        violation.verdict,
        violation.oracle,
        at / 1_000_000_000,
        at % 1_000_000_000,
        violation.what
    );
    if violation.oracle == "panic" {
        text += &PANIC.with(|place| format!(" ({})", place.borrow()));
    }
    Failure { seed, found, oracle: violation.oracle, text }
}

fn describe_parting(parting: &Parting) -> String {
    let mut text = format!("two runs differ, in steps {:?}", parting.steps);
    for (name, lines) in ["first", "second"].iter().zip(&parting.versions) {
        text += &format!("\n  the {name} run:");
        for line in lines {
            text += &format!("\n    {line}");
        }
    }
    text
}
