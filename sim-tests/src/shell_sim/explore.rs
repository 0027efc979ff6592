//! `quorate-shell-sim run`: many seeds, each in two fresh processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use quorate_sim_tests::failure::Found;

use super::say;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Seeds at the same time, each in two processes.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Go on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
}

/// Explores.
pub(super) fn run(args: &RunArgs) -> Result<Found, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("quorate-shell-sim-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("cannot keep traces: {error}"))?;
    let (next, end) = (AtomicU64::new(args.start), args.start.saturating_add(args.seeds));
    let sum = Mutex::new((0, Found::Nothing));
    let explore = || -> Result<(), String> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(());
            }
            let (found, text) = twice(&program, &folder, seed)?;
            let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            sum.0 += 1;
            say(&format!("{}/{} seed {seed}: {text}", sum.0, args.seeds));
            if found != Found::Nothing {
                sum.1 = found;
                say(&format!("again: quorate-shell-sim once {seed} --trace FILE"));
                if !args.keep_going {
                    next.store(end, Ordering::Relaxed);
                }
            }
        }
    };
    let outcome: Result<(), String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.jobs.max(1)).map(|_| scope.spawn(explore)).collect();
        let mut ends = threads.into_iter().map(|thread| thread.join());
        ends.try_for_each(|end| end.unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    });
    // What is left there is of no use to anybody.
    let _ = fs::remove_dir_all(&folder);
    outcome?;
    let (_, found) = *sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(found)
}

/// Runs a seed twice at the same time.
fn twice(program: &Path, folder: &Path, seed: u64) -> Result<(Found, String), String> {
    let traces = [1, 2].map(|run| folder.join(format!("{seed}-{run}")));
    let outputs = std::thread::scope(|scope| {
        let runs = traces.each_ref().map(|trace| scope.spawn(move || once(program, trace, seed)));
        runs.map(|run| run.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    });
    let [first, second] = outputs;
    let (first, second) = (first?, second?);
    let text = String::from_utf8_lossy(&first.stdout).trim_end().replace('\n', "\n  ");
    let difference = first_difference(&traces);
    for trace in traces {
        // It may never have been written.
        let _ = fs::remove_file(trace);
    }
    Ok(match (found(&first), found(&second), difference) {
        (Found::Nothing, Found::Nothing, None) => (Found::Nothing, text),
        (one, other, None) if one == other => (one, text),
        (.., difference) => {
            let where_from = difference.unwrap_or_else(|| "in how they end".to_owned());
            (Found::Difference, format!("{text}\n  two runs differ: {where_from}"))
        }
    })
}

fn once(program: &Path, trace: &Path, seed: u64) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.arg("once").arg(seed.to_string()).arg("--trace").arg(trace);
    command.output().map_err(|error| format!("cannot run {}: {error}", program.display()))
}

fn found(output: &Output) -> Found {
    match output.status.code() {
        Some(0) => Found::Nothing,
        Some(1) => Found::Wrong,
        Some(3) => Found::Stuck,
        // Of those it has not, a process died.
        _ => Found::Crash,
    }
}

/// The first line in which two traces differ.
fn first_difference(traces: &[PathBuf; 2]) -> Option<String> {
    let [one, other] = traces.each_ref().map(|trace| fs::read_to_string(trace).unwrap_or_default());
    if one == other {
        return None;
    }
    let (mut ones, mut others) = (one.lines(), other.lines());
    for number in 1.. {
        match (ones.next(), others.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                let [a, b] = [a, b].map(|line| line.unwrap_or("nothing more"));
                return Some(format!("line {number}\n    {a}\n    {b}"));
            }
        }
    }
    Some("in how their lines end".to_owned())
}
