//! `quorate-sim on-madsim`: many seeds, in the world and on madsim.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use quorate_sim_tests::failure::Found;
use quorate_sim_tests::second::{Opinions, ask_both, plan};

use super::say;

#[derive(Debug, Args)]
pub(super) struct SecondArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Seeds at the same time.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Go on after a seed on which the two do not agree, or that fails in both.
    #[arg(long)]
    keep_going: bool,
}

/// What all seeds add up to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    failed: u64,
    parted: u64,
    answered: [u64; 2],
    simulated_ns: u64,
    fired: BTreeMap<&'static str, u64>,
}

/// Explores.
pub(super) fn explore(args: &SecondArgs) -> Result<Found, io::Error> {
    let (began, next) = (Instant::now(), AtomicU64::new(args.start));
    let end = args.start.saturating_add(args.seeds);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let opinions = ask_both(&plan(seed, args.nodes, args.seconds));
                    if note(seed, opinions, &sum) && !args.keep_going {
                        next.store(end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fired: Vec<_> = sum.fired.iter().map(|(word, n)| format!("{word} {n}")).collect();
    say(&format!("seeds             {}", sum.seeds));
    say(&format!("failed            {}", sum.failed));
    say(&format!("verdicts differ   {}", sum.parted));
    let [world, trial] = sum.answered;
    say(&format!("calls answered    {world} in the world, {trial} on madsim"));
    say(&format!("simulated seconds {}", sum.simulated_ns / 1_000_000_000));
    say(&format!("wall seconds      {}", began.elapsed().as_secs()));
    say(&format!("faults            {}", fired.join(", ")));
    Ok(match (sum.parted, sum.failed) {
        (0, 0) => Found::Nothing,
        (0, _) => Found::Wrong,
        _ => Found::Difference,
    })
}

/// True if something is wrong with this seed.
fn note(seed: u64, opinions: Opinions, sum: &Mutex<Sum>) -> bool {
    let (agree, Opinions { world, world_answered, trial }) = (opinions.agree(), opinions);
    let is_sound = agree && world.is_none();
    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.seeds += 1;
    sum.failed += u64::from(!is_sound);
    sum.parted += u64::from(!agree);
    sum.answered[0] += world_answered;
    sum.answered[1] += trial.answered;
    sum.simulated_ns += trial.ended_at;
    for (word, times) in &trial.fired {
        *sum.fired.entry(word).or_default() += times;
    }
    for (name, violation) in [("world ", world), ("madsim", trial.violation)] {
        match violation {
            Some(it) if !is_sound => {
                let (verdict, oracle, what) = (it.verdict, it.oracle, it.what);
                say(&format!("seed {seed}: {name} {verdict:?}, {oracle}: {what}"));
            }
            None if !is_sound => say(&format!("seed {seed}: {name} nothing")),
            _ => {}
        }
    }
    !is_sound
}
