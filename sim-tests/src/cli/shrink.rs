//! `quorate-sim shrink`: a failure, made small and kept.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use quorate_io_sim::world::Plan;
use quorate_sim_tests::failure::{Failure, Found, check};
use quorate_sim_tests::scenario::Subject;
use quorate_sim_tests::shrink::shrink as shrink_plan;

use super::chosen::Chosen;
use super::{say, say_error};

#[derive(Debug, Args)]
pub(super) struct ShrinkArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Most runs to try.
    #[arg(long, default_value_t = 4_000)]
    runs: u64,
    /// The folder the small schedule is kept in.
    #[arg(long, default_value = "sim-tests/regressions")]
    folder: PathBuf,
    /// The name it is kept under; `seed_N_ORACLE` if not given.
    #[arg(long)]
    name: Option<String>,
}

/// Shrinks, keeps the schedule, and prints a test of it. Found is what was found before.
pub(super) fn shrink<S: Subject>(args: &ShrinkArgs) -> Result<Found, io::Error> {
    let plan = args.chosen.load::<S>()?;
    let once = |plan: &Plan| check::<S>(plan, true, 0).1;
    let Some(first) = once(&plan).or_else(|| check::<S>(&plan, false, 0).1) else {
        say(&format!("seed {} does not fail: there is nothing to shrink", plan.seed));
        return Ok(Found::Nothing);
    };
    let differs = first.found == Found::Difference;
    let bar = progress(args.runs);
    let began = Instant::now();
    let mut last = first.clone();
    let mut fails = |smaller: &Plan| {
        bar.inc(1);
        let (report, failure) = check::<S>(smaller, !differs, 0);
        let failure = failure.filter(|failure| failure.resembles(&first))?;
        bar.set_message(sizes(smaller));
        last = failure;
        Some(report.ended_at)
    };
    let shrunk = shrink_plan(plan.clone(), args.runs, &mut fails);
    bar.finish_and_clear();
    let Some(shrunk) = shrunk else {
        say_error("the failure did not come again: try `replay`, which runs twice and compares");
        return Ok(first.found);
    };
    let seconds = began.elapsed().as_secs();
    say(&format!("before  {}", sizes(&plan)));
    say(&format!("after   {}", sizes(&shrunk.plan)));
    say(&format!("runs    {}, {seconds} s", shrunk.runs));
    say(&format!("seed {}: {}", last.seed, last.text));
    keep(args, &shrunk.plan, &last)?;
    Ok(last.found)
}

/// Writes the schedule down, and prints the test.
fn keep(args: &ShrinkArgs, plan: &Plan, failure: &Failure) -> Result<(), io::Error> {
    std::fs::create_dir_all(&args.folder)?;
    let name = args.name.clone().unwrap_or_else(|| failure.name());
    let path = args.folder.join(format!("{name}.schedule"));
    let objection = failure.text.lines().next().unwrap_or_default();
    std::fs::write(&path, format!("# {objection}\n{}", plan.write()))?;
    say(&format!("kept in {0}\nquorate-sim show --schedule {0}", path.display()));
    say(&format!("\n{}", test_of(plan, failure)));
    Ok(())
}

/// A test that fails as long as the failure is there.
fn test_of(plan: &Plan, failure: &Failure) -> String {
    let text = plan.write();
    let name = failure.name();
    format!("#[test]\nfn {name}() {{\n    quorate_sim_tests::failure::replay(r\"{text}\");\n}}")
}

/// How much a plan has.
fn sizes(plan: &Plan) -> String {
    let bad_luck = plan.weather.fields().filter(|(_, value)| *value > 0).count();
    format!(
        "{} faults, {} calls, {} chores, {} orders, {} s, weather of {bad_luck}",
        plan.strikes.len(),
        plan.errands.len(),
        plan.duties.len(),
        plan.decrees.len(),
        plan.shape.seconds,
    )
}

fn progress(runs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} runs {elapsed}  {msg}");
    let bar = ProgressBar::new(runs);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
