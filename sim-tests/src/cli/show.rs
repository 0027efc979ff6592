//! `quorate-sim show`: one run as a page to look at.

use std::io;
use std::path::PathBuf;

use clap::Args;
use quorate_sim_tests::failure::{Found, check};
use quorate_sim_tests::scenario::Subject;
use quorate_sim_tests::timeline::draw;

use super::chosen::Chosen;
use super::say;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// The page to write; `seed_N.html` if not given.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Runs a plan once and draws it.
pub(super) fn show<S: Subject>(args: &ShowArgs) -> Result<Found, io::Error> {
    let plan = args.chosen.load::<S>()?;
    let (report, failure) = check::<S>(&plan, true, usize::MAX);
    let page = draw(&plan, &report.recording.lines, report.ended_at, failure.as_ref());
    let path = args.write.clone();
    let path = path.unwrap_or_else(|| PathBuf::from(format!("seed_{}.html", plan.seed)));
    std::fs::write(&path, page)?;
    if let Some(failure) = &failure {
        say(&format!("seed {}: {}", plan.seed, failure.text));
    }
    say(&format!("open {} in a browser", path.display()));
    Ok(failure.map_or(Found::Nothing, |failure| failure.found))
}
