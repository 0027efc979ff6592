//! What operations took, and what became of them: a histogram, errors by kind, a course over time.
//! None of it grows with the number of operations.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Status;

use super::course::Course;
use crate::client::told;

/// Longest latency told apart from longer ones.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;
/// Shortest told apart from shorter ones.
const LATENCY_NANOS_MIN: u64 = 1_000;
/// Digits of a latency that count.
const DIGITS: u8 = 3;
/// Kinds of errors told apart; further ones are one kind.
const ERROR_KINDS_MAX: usize = 32;
/// Their name.
const FURTHER_KINDS: &str = "(further kinds)";

/// What one thread saw; the sum of several is what all saw.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How long operations took that succeeded, in nanoseconds.
    pub latency_nanos: Histogram<u64>,
    /// How many failed, by what was said.
    pub errors: BTreeMap<String, u64>,
    /// How many succeeded when.
    pub(super) course: Course,
}

impl Default for Tally {
    fn default() -> Self {
        let latency_nanos =
            Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, DIGITS)
                .expect("constant bounds that hdrhistogram accepts");
        Self { latency_nanos, errors: BTreeMap::new(), course: Course::default() }
    }
}

impl Tally {
    /// Notes a success that took so long and came so long after the begin of the run.
    pub fn succeed(&mut self, latency: Duration, since_begin: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency_nanos.saturating_record(nanos);
        self.course.note(since_begin, latency);
    }

    /// Notes a failure.
    pub fn fail(&mut self, status: &Status) {
        self.fail_as(&told(status), 1);
    }

    /// Notes failures of this kind.
    pub(super) fn fail_as(&mut self, kind: &str, count: u64) {
        let is_known = self.errors.contains_key(kind) || self.errors.len() < ERROR_KINDS_MAX;
        let kind = if is_known { kind } else { FURTHER_KINDS };
        *self.errors.entry(kind.to_owned()).or_default() += count;
    }

    /// The sum of several.
    pub fn merge(tallies: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            sum.latency_nanos.add(&tally.latency_nanos).expect("all tallies have the same bounds");
            tally.errors.iter().for_each(|(kind, count)| sum.fail_as(kind, *count));
            sum.course.add(tally.course);
        }
        sum
    }

    /// How many succeeded.
    pub fn ops(&self) -> u64 {
        self.latency_nanos.len()
    }

    /// How many failed.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The latency that this share of operations did not exceed, in microseconds.
    pub fn micros_at(&self, quantile: f64) -> f64 {
        self.latency_nanos.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Nothing but successes.
    ///
    /// # Errors
    /// What most failures said.
    pub fn check(&self) -> Result<(), String> {
        match self.errors.iter().max_by_key(|(_, count)| **count) {
            None => Ok(()),
            Some((kind, count)) => Err(format!("{kind} ({count} times)")),
        }
    }
}

/// Sums, place by place, what threads saw.
pub(super) fn sum_tracks(tracks: usize, threads: Vec<Vec<Tally>>) -> Vec<Tally> {
    let mut sums = vec![Vec::new(); tracks];
    for thread in threads {
        sums.iter_mut().zip(thread).for_each(|(sum, tally)| sum.push(tally));
    }
    sums.into_iter().map(Tally::merge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_hold_every_operation() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for micros in 1..=98 {
            one.succeed(Duration::from_micros(micros), Duration::ZERO);
        }
        other.succeed(Duration::from_millis(50), Duration::from_secs(1));
        other.succeed(Duration::from_millis(60), Duration::from_secs(1));
        let sum = Tally::merge([one, other]);
        assert_eq!(sum.ops(), 100);
        assert_eq!(sum.micros_at(0.5).round(), 50.0);
        assert!((49_900.0..=50_100.0).contains(&sum.micros_at(0.99)));
        assert!((59_900.0..=60_100.0).contains(&sum.micros_at(1.0)));
        let counts: Vec<u64> = sum.course.spans().map(|span| span.count).collect();
        assert_eq!(counts, [98, 2]);
    }

    #[test]
    fn errors_are_counted_by_kind_and_kinds_are_bounded() {
        let mut tally = Tally::default();
        tally.fail(&Status::unavailable("etcdserver: no leader"));
        tally.fail(&Status::unavailable("etcdserver: no leader"));
        tally.fail(&Status::internal("odd"));
        assert_eq!(tally.errors["etcdserver: no leader"], 2);
        assert_eq!(tally.errors["rpc error: code = Internal desc = odd"], 1);
        assert_eq!(tally.check().unwrap_err(), "etcdserver: no leader (2 times)");
        (0..100).for_each(|number| tally.fail(&Status::internal(format!("{number}"))));
        assert_eq!(tally.errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(tally.error_count(), 103);
        assert_eq!(tally.errors[FURTHER_KINDS], 70);
    }
}
