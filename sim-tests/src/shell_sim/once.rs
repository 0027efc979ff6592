//! `quorate-shell-sim once`: one run, judged.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use quorate_core::time::Time;
use quorate_io_sim::shell::{Plan, Report, run, show_logs};
use quorate_io_sim::world::observe::{Observer, Seen, Verdict, Violation};
use quorate_sim_tests::failure::Found;
use quorate_sim_tests::history::{self, History, Recorder, Truth};
use quorate_sim_tests::model::Settings;
use quorate_sim_tests::oracle::check_history;

use super::say;

/// A run that takes so long of real time is stuck in one of its instants.
const REAL_TIME_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
pub(super) struct OnceArgs {
    /// The seed.
    seed: u64,
    /// Write here what happened, a line each.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Show what members log, from warnings on.
    #[arg(long)]
    logs: bool,
    /// Write here what clients saw, as a history.
    #[arg(long)]
    history: Option<PathBuf>,
}

/// Runs and judges.
pub(super) fn once(args: &OnceArgs) -> Result<Found, String> {
    end_by_panics();
    end_in_time();
    if args.logs {
        show_logs().map_err(|error| format!("cannot show logs: {error}"))?;
    }
    let recorder = Rc::new(RefCell::new(Recorder::default()));
    let observer = Box::new(Shared(Rc::clone(&recorder)));
    let report = run(Plan::draw(args.seed), observer)?;
    let history =
        History { truth: Truth::Changes(changes(&report)), ..recorder.take().into_history() };
    let verdict = report.violation.clone();
    let verdict = verdict.or_else(|| check_history(&history, Settings::default()).err());
    let written =
        args.trace.iter().try_for_each(|to| fs::write(to, report.lines.join("\n") + "\n"));
    written.map_err(|error| format!("cannot write the trace: {error}"))?;
    let written = args.history.iter().try_for_each(|to| {
        let mut lines = Vec::new();
        history::write(&history, &mut lines)?;
        fs::write(to, lines)
    });
    written.map_err(|error| format!("cannot write the history: {error}"))?;
    let counts = report.counts.iter().map(|(what, count)| format!("{count} {what}"));
    let lasted = report.lasted.as_secs();
    say(&format!("{lasted} s, {}", counts.collect::<Vec<_>>().join(", ")));
    Ok(verdict.map_or(Found::Nothing, |violation| {
        let Violation { verdict, oracle, what } = violation;
        say(&format!("{verdict:?}, {oracle}: {what}"));
        match verdict {
            Verdict::Correctness => Found::Wrong,
            Verdict::Liveness => Found::Stuck,
            Verdict::Crash => Found::Crash,
        }
    }))
}

/// Whose part of the records is taken out in the end.
struct Shared(Rc<RefCell<Recorder>>);

impl Observer for Shared {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        self.0.borrow_mut().observe(at, seen)
    }
}

fn changes(report: &Report) -> Vec<history::Changes> {
    let changes = report.changes.iter();
    let change = |it: &quorate_io_sim::shell::Changes| history::Changes {
        revision: it.revision,
        events: it.events.clone(),
    };
    changes.map(change).collect()
}

/// A task that panics dies quietly; here nobody may.
fn end_by_panics() {
    std::panic::set_hook(Box::new(|info| {
        say(&format!("Crash, panic: {info}"));
        std::process::exit(Found::Crash as i32);
    }));
}

/// A task that never yields stops the clock of the run, but not the system's.
fn end_in_time() {
    std::thread::spawn(|| {
        std::thread::sleep(REAL_TIME_MAX);
        say("Liveness, clock: some instant does not end");
        std::process::exit(Found::Stuck as i32);
    });
}
