//! `quorate-sim run`: many seeds.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_core::probes::{PROBES, hits};
use quorate_io_sim::world::{Plan, Report};

use super::say;
use quorate_sim_tests::failure::{Failure, Found, check};
use quorate_sim_tests::scenario::{Subject, shape};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// As many seeds as fit into so many minutes.
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Only every n-th seed, from the i-th on: `0/4` to `3/4`.
    #[arg(long, default_value = "0/1", value_parser = parse_shard)]
    shard: (u64, u64),
    /// Seeds at the same time.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Run each seed once instead of twice with equal traces.
    #[arg(long)]
    once: bool,
    /// No faults: for measuring.
    #[arg(long)]
    calm: bool,
}

fn parse_shard(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if i < n => Ok((i, n)),
        _ => Err(String::from("i/n with i below n")),
    }
}

/// What all runs add up to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    simulated_ns: u64,
    answered: u64,
    events: u64,
    /// How often each fault struck, and in how many seeds.
    fired: BTreeMap<&'static str, (u64, u64)>,
    failures: Vec<Failure>,
}

impl Sum {
    fn add<O>(&mut self, report: &Report<O>, runs: u64, failure: Option<Failure>) {
        self.seeds += 1;
        self.simulated_ns += runs * report.ended_at;
        self.answered += runs * report.answered;
        self.events += runs * report.events;
        let counts = report.network;
        let weather = [
            ("net-lost", counts.lost),
            ("net-duplicated", counts.duplicated),
            ("net-reordered", counts.reordered),
            ("net-slowed", counts.slowed),
            ("net-astray", counts.astray),
            ("net-reset", counts.resets),
        ];
        let struck = report.fired.iter().map(|(word, times)| (*word, *times));
        for (word, times) in struck.chain(weather) {
            let (all, seeds) = self.fired.entry(word).or_default();
            *all += times;
            *seeds += u64::from(times > 0);
        }
        self.failures.extend(failure);
    }

    fn say(&self, cpu: Duration) {
        let cpu_us = cpu.as_micros().max(1);
        let parts = |ns: u64, unit: u64| format!("{}.{:02}", ns / unit, ns % unit * 100 / unit);
        let per_cpu_hour = u128::from(self.simulated_ns) / 1_000 / cpu_us;
        let per_cpu_second = |n: u64| u128::from(n) * 1_000_000 / cpu_us;
        say(&format!("seeds             {}", self.seeds));
        say(&format!("simulated hours   {}", parts(self.simulated_ns, HOUR)));
        say(&format!("simulated years   {}", parts(self.simulated_ns, 8_766 * HOUR)));
        say(&format!("hours per CPU-h   {per_cpu_hour}"));
        say(&format!("calls per CPU-s   {}", per_cpu_second(self.answered)));
        say(&format!("events per CPU-s  {}", per_cpu_second(self.events)));
        let share = |seeds: u64| 100 * seeds / self.seeds.max(1);
        let fired = self.fired.iter();
        let fired = fired.map(|(word, (n, seeds))| format!("{word} {n} ({} %)", share(*seeds)));
        say(&format!("faults, in seeds  {}", fired.collect::<Vec<_>>().join(", ")));
        if let Some(hits) = hits() {
            say_probes(&hits);
        }
    }
}

/// Which places were reached, in a build that counts them.
fn say_probes(hits: &[u64]) {
    let reached = hits.iter().filter(|times| **times > 0).count();
    say(&format!("probes            {reached} of {}", PROBES.len()));
    for (name, times) in PROBES.iter().zip(hits) {
        say(&format!("  {times:>12}    {name}"));
    }
}

const HOUR: u64 = 3_600_000_000_000;

/// Explores.
pub(super) fn run<S: Subject>(args: &RunArgs) -> Result<Found, std::io::Error> {
    let count = if args.minutes.is_some() { u64::MAX } else { args.seeds };
    let seeds = (args.start..args.start.saturating_add(count))
        .filter(|seed| seed % args.shard.1 == args.shard.0);
    let bar = progress(args.minutes.is_none().then(|| seeds.clone().count() as u64));
    let seeds = Mutex::new(seeds);
    let sum = Mutex::new(Sum::default());
    let is_over = AtomicBool::new(false);
    let (began, began_cpu) = (Instant::now(), cpu_time());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                let is_late =
                    || args.minutes.is_some_and(|it| began.elapsed().as_secs() >= 60 * it);
                while !is_over.load(Ordering::Relaxed) && !is_late() {
                    let Some(seed) = lock(&seeds).next() else { break };
                    let failed = explore::<S>(args, seed, &sum);
                    is_over.fetch_or(failed, Ordering::Relaxed);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let cpu = match (began_cpu, cpu_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => began.elapsed(),
    };
    let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.say(cpu);
    sum.failures.sort_by_key(|failure| failure.seed);
    for failure in &sum.failures {
        let Failure { seed, text, .. } = failure;
        say(&format!("seed {seed}: {text}"));
        let calm = if args.calm { " --calm" } else { "" };
        let (seconds, nodes) = (args.seconds, args.nodes);
        say(&format!("quorate-sim replay {seed} --seconds {seconds} --nodes {nodes}{calm}"));
    }
    Ok(sum.failures.first().map_or(Found::Nothing, |failure| failure.found))
}

/// The plan of a seed.
pub(super) fn plan<S: Subject>(seed: u64, nodes: u64, seconds: u64, calm: bool) -> Plan {
    let shape = shape(nodes, seconds);
    S::fit(if calm { Plan::calm(seed, shape) } else { Plan::draw(seed, shape) })
}

fn explore<S: Subject>(args: &RunArgs, seed: u64, sum: &Mutex<Sum>) -> bool {
    let plan = plan::<S>(seed, args.nodes, args.seconds, args.calm);
    let (report, failure) = check::<S>(&plan, args.once, 0);
    let failed = failure.is_some();
    let runs = if args.once || report.violation.is_some() { 1 } else { 2 };
    lock(sum).add(&report, runs, failure);
    failed
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A bar on a terminal, nothing elsewhere. How many seeds there will be, if that is known.
fn progress(seeds: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let words = match seeds {
        Some(_) => "{bar:40} {pos}/{len} seeds, {eta} left",
        None => "{spinner} {pos} seeds in {elapsed}",
    };
    let style = ProgressStyle::with_template(words);
    let bar = ProgressBar::with_draw_target(seeds, ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// CPU time of this process so far, where the system tells it: in hundredths of a second.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(10 * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_i_of_n() {
        assert_eq!(parse_shard("2/3"), Ok((2, 3)));
        for wrong in ["3/3", "1", "a/b", "-1/2", "0/0"] {
            assert!(parse_shard(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_system_tells_cpu_time() {
        let before = cpu_time().unwrap();
        let began = Instant::now();
        while cpu_time().unwrap() < before + Duration::from_millis(20) {
            assert!(began.elapsed() < Duration::from_secs(60), "a busy process uses the processor");
            std::hint::spin_loop();
        }
    }
}
