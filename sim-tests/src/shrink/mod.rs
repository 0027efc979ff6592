//! Makes a failing plan small: fewer faults, fewer calls, calmer weather, less of everything,
//! as long as it fails in the same way.
//!
//! ```text
//!   tail --> weather --> sizes --> families --> lists (ddmin) --> numbers --.
//!     ^---------------------- until a round changes nothing ----------------'
//! ```
//!
//! A smaller plan is taken only if it fails with the same signature, verdict and oracle both: a
//! plan that fails differently is another failure. Lots are drawn by key, so leaving out one fault
//! does not shift the luck of the others.

mod lists;
mod numbers;

use quorate_io_sim::world::Plan;
use quorate_io_sim::world::plan::{Shape, Weather};

const SECOND: u64 = 1_000_000_000;

/// What of a weather is no fault: latencies, and intervals that may not be 0.
const FAIR: [&str; 4] = ["peer_us", "client_us", "checkpoint_ms", "progress_ms"];

/// Sizes, and how far each may go down.
const SIZES: [(&str, u64); 6] =
    [("watchers", 0), ("keepers", 0), ("users", 0), ("workers", 1), ("spares", 0), ("nodes", 1)];

/// Runs a plan: when it ended, if it fails with the signature that is looked for.
pub type Fails<'a> = dyn FnMut(&Plan) -> Option<u64> + 'a;

/// A plan that gets smaller.
struct Shrinking<'a> {
    plan: Plan,
    ended_at: u64,
    runs: u64,
    runs_max: u64,
    fails: &'a mut Fails<'a>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that still fails.
    pub plan: Plan,
    /// Runs it took.
    pub runs: u64,
}

/// Shrinks `plan` with at most `runs_max` runs. `None` if it does not fail at all.
pub fn shrink<'a>(plan: Plan, runs_max: u64, fails: &'a mut Fails<'a>) -> Option<Shrunk> {
    let ended_at = fails(&plan)?;
    let mut shrinking = Shrinking { plan, ended_at, runs: 1, runs_max, fails };
    loop {
        let before = shrinking.plan.clone();
        shrinking.cut_tail();
        shrinking.calm_weather();
        shrinking.reduce_sizes();
        shrinking.drop_families();
        shrinking.thin_out();
        shrinking.simplify_numbers();
        if shrinking.plan == before || shrinking.runs >= runs_max {
            return Some(Shrunk { plan: shrinking.plan, runs: shrinking.runs });
        }
    }
}

impl Shrinking<'_> {
    /// Takes a smaller plan if it fails as well.
    fn accept(&mut self, smaller: Plan) -> bool {
        if smaller == self.plan || self.runs >= self.runs_max {
            return false;
        }
        self.runs += 1;
        let Some(ended_at) = (self.fails)(&smaller) else { return false };
        (self.plan, self.ended_at) = (smaller, ended_at);
        true
    }

    /// What was planned for after the end never happened; then half of the time may do.
    fn cut_tail(&mut self) {
        let whole = self.ended_at.div_ceil(SECOND).min(self.plan.shape.seconds);
        let mut next = whole;
        while next > 0 && self.accept(self.up_to(next)) {
            next = self.plan.shape.seconds / 2;
        }
        if next == whole {
            self.accept(self.up_to(whole / 2));
        }
    }

    /// The plan's first seconds.
    fn up_to(&self, seconds: u64) -> Plan {
        let mut plan = self.plan.clone();
        plan.shape.seconds = seconds;
        let end = seconds * SECOND;
        plan.strikes.retain(|strike| strike.at <= end);
        plan.errands.retain(|errand| errand.at <= end);
        plan.duties.retain(|duty| duty.at <= end);
        plan.decrees.retain(|decree| decree.at <= end);
        plan
    }

    /// No bad luck at all, or not this one.
    fn calm_weather(&mut self) {
        let weather = self.plan.weather;
        let mut calm = Weather::default();
        for (name, value) in weather.fields().filter(|(name, _)| FAIR.contains(name)) {
            calm.set(name, value);
        }
        if self.accept(Plan { weather: calm, ..self.plan.clone() }) {
            return;
        }
        for (name, _) in weather.fields().filter(|(name, _)| !FAIR.contains(name)) {
            let mut weather = self.plan.weather;
            weather.set(name, 0);
            self.accept(Plan { weather, ..self.plan.clone() });
        }
    }

    /// Fewer clients of each kind and fewer machines: the least, half, one less.
    fn reduce_sizes(&mut self) {
        for (size, least) in SIZES {
            let value = |shape: &Shape| shape.fields().find(|(name, _)| *name == size);
            let now = |plan: &Plan| value(&plan.shape).map_or(0, |(_, value)| value);
            if self.accept(self.sized(size, least)) {
                continue;
            }
            while self.accept(self.sized(size, now(&self.plan).div_ceil(2).max(least))) {}
            while now(&self.plan) > least && self.accept(self.sized(size, now(&self.plan) - 1)) {}
        }
    }

    /// The plan with another size, without the calls of workers that are no longer there, and a
    /// quorum of the machines that are.
    fn sized(&self, size: &str, value: u64) -> Plan {
        let mut plan = self.plan.clone();
        plan.shape.set(size, value);
        let workers = plan.shape.workers;
        plan.errands.retain(|errand| errand.worker < workers);
        let machines = |count: u64| (1_u64 << count) - 1;
        plan.quorum &= machines(plan.shape.nodes + plan.shape.spares);
        if u64::from(plan.quorum.count_ones()) <= plan.shape.nodes / 2 {
            plan.quorum = machines(plan.shape.nodes);
        }
        plan
    }
}

#[cfg(test)]
mod tests;
