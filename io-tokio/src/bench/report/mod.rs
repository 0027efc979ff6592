//! What a run was like: as text in the layout of etcd's tool, for programs, and as a picture.

pub(super) mod json;
pub(super) mod picture;
pub(super) mod text;

use super::drive::Load;
use super::tally::Tally;
use super::target::Target;

/// Shares of operations whose latency is told, in percent.
const PERCENTILES: [f64; 8] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9];

/// All about one run.
pub(super) struct Report<'a> {
    /// The command's name.
    pub(super) benchmark: &'a str,
    pub(super) target: &'a Target,
    pub(super) load: Load,
    /// From the first operation to the last.
    pub(super) seconds: f64,
    pub(super) is_interrupted: bool,
    /// Kinds of operations by name.
    pub(super) tracks: Vec<(&'static str, Tally)>,
}

impl Report<'_> {
    /// Whether anything has.
    pub(super) fn has_succeeded(&self) -> bool {
        self.tracks.iter().any(|(_, tally)| tally.ops() > 0)
    }

    /// Operations per second.
    fn rate(&self, tally: &Tally) -> f64 {
        if self.seconds > 0.0 { tally.ops() as f64 / self.seconds } else { 0.0 }
    }
}

/// Latencies between the fastest and the slowest in equal steps, each with how many operations
/// took so long at most, and longer than the one before.
fn steps(tally: &Tally, count: u32) -> Vec<(f64, u64)> {
    let (fastest, slowest) = (tally.latency_nanos.min() as f64, tally.latency_nanos.max() as f64);
    let limit = |step: u32| fastest + (slowest - fastest) * f64::from(step) / f64::from(count);
    let limits: Vec<f64> = (0..=count).map(limit).collect();
    let mut steps: Vec<(f64, u64)> = limits.iter().map(|nanos| (nanos / 1e9, 0)).collect();
    for recorded in tally.latency_nanos.iter_recorded() {
        let nanos = tally.latency_nanos.lowest_equivalent(recorded.value_iterated_to()) as f64;
        let at = limits.iter().position(|limit| nanos <= *limit).unwrap_or(limits.len() - 1);
        steps[at].1 += recorded.count_at_value();
    }
    steps
}

#[cfg(test)]
mod tests;
