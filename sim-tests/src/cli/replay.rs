//! `quorate-sim replay`: one run, looked at closely.

use std::io;
use std::path::PathBuf;

use clap::Args;
use quorate_io_sim::world::Plan;

use super::chosen::Chosen;
use super::{columns, say};
use quorate_sim_tests::failure::{Found, check};
use quorate_sim_tests::scenario::Subject;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    chosen: Chosen,
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
    let plan = args.chosen.load::<S>()?;
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
