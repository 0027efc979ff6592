//! `quorate-sim replay`: one run, looked at closely.

use std::io;
use std::path::PathBuf;

use clap::Args;
use quorate_io_sim::world::Plan;

use super::explore::plan;
use super::failure::check;
use super::{Found, columns, say};
use quorate_sim_tests::scenario::Subject;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The seed.
    #[arg(required_unless_present = "schedule")]
    seed: Option<u64>,
    /// A schedule written before, instead of a seed.
    #[arg(long, conflicts_with = "seed")]
    schedule: Option<PathBuf>,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// No faults.
    #[arg(long)]
    calm: bool,
    /// Show what happened last, one column per member.
    #[arg(long)]
    trace: bool,
    /// How many lines of it.
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// Write the schedule of faults and calls to a file.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Run once instead of twice with equal traces.
    #[arg(long)]
    once: bool,
}

/// Replays.
pub(super) fn replay<S: Subject>(args: &ReplayArgs) -> Result<Found, io::Error> {
    let plan = load::<S>(args)?;
    if let Some(path) = &args.write {
        std::fs::write(path, plan.write())?;
    }
    say(&swarm(&plan));
    let lines = if args.trace { args.lines } else { 0 };
    let (report, failure) = check::<S>(&plan, args.once, lines);
    for line in columns::draw(&report.recording.lines, plan.shape.nodes as usize) {
        say(&line);
    }
    let recording = &report.recording;
    say(&format!("steps {}, trace {:032x}", recording.steps, recording.hash));
    match failure {
        Some(failure) => {
            say(&format!("seed {}: {}", plan.seed, failure.text));
            Ok(failure.found)
        }
        None => Ok(Found::Nothing),
    }
}

fn load<S: Subject>(args: &ReplayArgs) -> Result<Plan, io::Error> {
    match (&args.schedule, args.seed) {
        (Some(path), _) => Plan::read(&std::fs::read_to_string(path)?).map_err(io::Error::other),
        (None, seed) => {
            Ok(plan::<S>(seed.unwrap_or_default(), args.nodes, args.seconds, args.calm))
        }
    }
}

/// Which faults a plan has, in one line.
fn swarm(plan: &Plan) -> String {
    let mut strikes = std::collections::BTreeMap::<_, u64>::new();
    for strike in &plan.strikes {
        *strikes.entry(strike.fault.word()).or_default() += 1;
    }
    let strikes: Vec<_> = strikes.iter().map(|(word, n)| format!("{word} {n}")).collect();
    let weather = plan.weather.fields().filter(|(_, value)| *value > 0);
    let weather: Vec<_> = weather.map(|(name, value)| format!("{name} {value}")).collect();
    let (seed, quorum) = (plan.seed, plan.quorum);
    let (strikes, weather) = (strikes.join(", "), weather.join(", "));
    format!("seed {seed}, quorum {quorum:b}\nweather: {weather}\nfaults: {strikes}")
}
