//! Puts at a steady pace, and how long each takes: well below what a server can take, so that the
//! question is how long one of them waits, not how many there can be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_io_tokio::bench::work::Script;
use quorate_io_tokio::bench::{Keys, Load, Stint, Tally, Terms, drive};

use crate::Outcome;
use crate::data;
use crate::measure::{mib, peak_rss};
use crate::servers::Group;
use crate::sizes::VALUE_BYTES;
use crate::table::median;

const CLIENTS: usize = 16;
const CONNECTIONS: usize = 4;
/// Puts per second.
const RATE: u64 = 2_000;
/// Keys they go to.
const KEYS: u64 = 10_000;

/// How long puts took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) longest: f64,
}

impl Waits {
    fn of(tally: &Tally) -> Self {
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|quantile| tally.micros_at(quantile));
        Self { p50, p99, longest }
    }

    /// The middle of each, and the longest of all.
    pub(crate) fn middle(all: &[Self]) -> Self {
        let of =
            |pick: fn(&Self) -> f64| median(all.iter().map(pick).collect()).unwrap_or(f64::NAN);
        let longest = all.iter().map(|waits| waits.longest).fold(0.0, f64::max);
        Self { p50: of(|waits| waits.p50), p99: of(|waits| waits.p99), longest }
    }
}

/// Puts at a steady pace for so long.
pub(crate) fn paced(group: &Group, lasts: Duration) -> Outcome<Waits> {
    let terms = Terms { lasts: Some(lasts), rate: Some(RATE), ..Terms::default() };
    let keys = Keys::numbered("paced/", KEYS);
    let lines = data::puts(keys, VALUE_BYTES);
    let load = Load::new(CLIENTS, CONNECTIONS, 1);
    let stint = Arc::new(Stint::new(terms));
    let make = move |line: &_, _| Script::new(line, &lines);
    let seen = drive(&group.target()?, &load, &stint, make)?;
    seen[0].check()?;
    Ok(Waits::of(&seen[0]))
}

/// So many windows of puts that nobody disturbs.
pub(crate) fn calm(group: &Group, windows: u32, each: Duration) -> Outcome<Waits> {
    let waits: Vec<Waits> = (0..windows).map(|_| paced(group, each)).collect::<Outcome<_>>()?;
    Ok(Waits::middle(&waits))
}

/// Windows of puts until the work beside them is done, at least one; how long the work took.
pub(crate) fn during(
    group: &Group,
    each: Duration,
    work: impl FnOnce() -> Outcome<()> + Send,
) -> Outcome<(Waits, Duration)> {
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let working = scope.spawn(move || work().map(|()| begun.elapsed()));
        let mut waits = vec![paced(group, each)?];
        while !working.is_finished() {
            waits.push(paced(group, each)?);
        }
        let took = working.join().map_err(|_| "the work panicked")??;
        Ok((Waits::middle(&waits), took))
    })
}

/// Waits with and without a strain, taken in turns; a line that tells their medians.
pub(crate) struct Turns(Vec<(Waits, Waits)>);

impl Turns {
    pub(crate) fn take(
        rounds: u32,
        mut without: impl FnMut() -> Outcome<Waits>,
        mut with: impl FnMut() -> Outcome<Waits>,
    ) -> Outcome<Self> {
        (0..rounds).map(|_| Ok((without()?, with()?))).collect::<Outcome<_>>().map(Self)
    }

    /// The same, and the memory of the group: the least without the strain, and how much more the
    /// most with it is, in MiB.
    pub(crate) fn take_with_memory(
        group: &Group,
        rounds: u32,
        without: impl Fn() -> Outcome<Waits> + Sync,
        with: impl Fn() -> Outcome<Waits> + Sync,
    ) -> Outcome<(Self, f64, f64)> {
        let (mut least, mut most) = (u64::MAX, 0);
        let turns = Self::take(
            rounds,
            || {
                let (waits, peak) = peak_rss(group, &without)?;
                least = least.min(peak);
                Ok(waits)
            },
            || {
                let (waits, peak) = peak_rss(group, &with)?;
                most = most.max(peak);
                Ok(waits)
            },
        )?;
        Ok((turns, mib(least), mib(most.saturating_sub(least))))
    }

    pub(crate) fn tell(&self, what: &str) -> String {
        let (without, with): (Vec<_>, Vec<_>) = self.0.iter().copied().unzip();
        let (without, with) = (Waits::middle(&without), Waits::middle(&with));
        format!(
            "{what:28} put p50 {:7.0} -> {:7.0} us   p99 {:7.0} -> {:7.0} us   {:.2}x",
            without.p50,
            with.p50,
            without.p99,
            with.p99,
            with.p99 / without.p99
        )
    }
}
