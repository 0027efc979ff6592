//! One run from a plan to a report, and the same run twice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::driver::World;
use super::network::Counts;
use super::node::Build;
use super::observe::{Observer, Verdict, Violation};
use super::plan::Plan;
use super::trace::{Recording, Wanted};

/// What became of a run.
#[derive(Debug)]
pub struct Report<O> {
    /// The broken promise, if one was.
    pub violation: Option<Violation>,
    /// The world's time when it ended, in nanoseconds.
    pub ended_at: u64,
    /// The trace.
    pub recording: Recording,
    /// Events taken from the queue.
    pub events: u64,
    /// Calls that got an answer.
    pub answered: u64,
    /// Faults that struck, by word.
    pub fired: BTreeMap<&'static str, u64>,
    /// What happened to messages.
    pub network: Counts,
    /// The observer, with what it gathered.
    pub observer: O,
}

/// Runs a plan once. A panic of a member ends the run and is its violation.
pub fn run<B: Build, O: Observer>(plan: Plan, build: B, observer: O, wanted: Wanted) -> Report<O> {
    let mut world = World::new(plan, build, observer, wanted);
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match ended {
        Ok(result) => result.err(),
        Err(panic) => Some(Violation {
            verdict: Verdict::Crash,
            oracle: "panic",
            what: format!("member {}: {}", world.current(), message_of(panic.as_ref())),
        }),
    };
    world.into_report(violation)
}

/// What a panic said.
pub(crate) fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_string()
}

impl<B: Build, O: Observer> World<B, O> {
    fn into_report(self, violation: Option<Violation>) -> Report<O> {
        let ended_at = self.now();
        let (events, network) = self.counts();
        Report {
            violation,
            ended_at,
            events,
            answered: self.clients.answered,
            network: network.counts,
            fired: self.fired,
            recording: self.trace.finish(),
            observer: self.observer,
        }
    }
}

/// Where two runs of one plan parted.
#[derive(Debug)]
pub struct Parting {
    /// Between which steps.
    pub steps: Range<u64>,
    /// The first step that differs, in both versions, as lines.
    pub versions: [Vec<String>; 2],
}

/// Looks closely at two runs of one plan that had different traces.
pub fn find_parting<B: Build, O: Observer>(
    plan: &Plan,
    steps: Range<u64>,
    mut make: impl FnMut() -> (B, O),
) -> Parting {
    let wanted = Wanted { lines: 0, steps: steps.clone() };
    let mut again = || {
        let (build, observer) = make();
        run(plan.clone(), build, observer, wanted.clone()).recording
    };
    let (first, second) = (again(), again());
    let versions = match first.first_difference(&second) {
        Some((a, b)) => [a, b].map(|step| {
            let lines = step.map(|step| step.lines.as_slice()).unwrap_or_default();
            lines.iter().map(|line| format!("{} {:?} {}", line.at, line.node, line.text)).collect()
        }),
        None => [Vec::new(), Vec::new()],
    };
    Parting { steps, versions }
}
