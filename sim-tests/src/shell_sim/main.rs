//! `quorate-shell-sim`: whole servers, one process for each run.
//!
//! ```text
//!   run ── for each seed ──> once SEED ─┐
//!                       '──> once SEED ─┴── equal traces? ── a verdict each
//! ```
//!
//! Time and entropy of this program are the simulation's, so a run has a process of its own; in one
//! that runs nothing the clock stands still.

mod explore;
mod once;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quorate_sim_tests::failure::Found;

/// Tests whole servers on a simulated network, under simulated time.
#[derive(Debug, Parser)]
#[command(name = "quorate-shell-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Explore seeds, each twice with equal traces, until one fails.
    Run(explore::RunArgs),
    /// Run one seed in this process.
    Once(once::OnceArgs),
}

fn main() -> ExitCode {
    let found = match Cli::parse().command {
        Command::Run(args) => explore::run(&args),
        Command::Once(args) => once::once(&args),
    };
    let found = found.unwrap_or_else(|why| {
        let _ = writeln!(io::stderr().lock(), "quorate-shell-sim: {why}");
        Found::BadUsage
    });
    ExitCode::from(found as u8)
}

/// A line for the reader; a closed pipe is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}
