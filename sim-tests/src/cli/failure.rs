//! What a failed seed looks like.

use std::cell::RefCell;

use quorate_io_sim::world::observe::{Verdict, Violation};
use quorate_io_sim::world::run::Parting;
use quorate_io_sim::world::{Plan, Report, Wanted, find_parting, run};

use super::Found;
use quorate_sim_tests::scenario::Subject;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the place of the last panic instead of printing it: the report prints it.
pub(super) fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PANIC.with(|panic| *panic.borrow_mut() = place);
    }));
}

/// A failed seed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The seed.
    pub(super) seed: u64,
    /// Of which kind.
    pub(super) found: Found,
    /// All there is to say in text.
    pub(super) text: String,
}

/// Runs a plan once, or twice with equal traces.
pub(super) fn check<S: Subject>(
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
        Failure { seed: plan.seed, found: Found::Difference, text }
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
    Failure { seed, found, text }
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
