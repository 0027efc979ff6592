//! The command line: `quorate-sim run`, `replay`, `shrink`, `show` and `planted`.
//!
//! A failure is one line that reproduces it anywhere, and an exit code that says what kind it is:
//! 0 all is well, 1 a wrong answer, 2 wrong usage, 3 something due did not happen, 4 a crash,
//! 5 two runs of one seed differ.

mod chosen;
mod columns;
mod explore;
mod planted;
mod replay;
#[cfg(madsim)]
mod second;
mod show;
mod shrink;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use quorate_sim_tests::failure::{Found, remember_panics};
use quorate_sim_tests::scenario::Subject;

/// Tests a replicated store in a simulated, faulty world.
#[derive(Debug, Parser)]
#[command(name = "quorate-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Explore seeds until one fails.
    Run(explore::RunArgs),
    /// Run one seed, or one schedule, and show what happened.
    Replay(replay::ReplayArgs),
    /// Make a failing seed or schedule small, and write a test of it.
    Shrink(shrink::ShrinkArgs),
    /// Draw one run as a page to look at in a browser.
    Show(show::ShowArgs),
    /// Build real mistakes into the simulator and look how long they hide.
    Planted(planted::PlantedArgs),
    /// Explore seeds in the world and on madsim, and compare the verdicts.
    #[cfg(madsim)]
    OnMadsim(second::SecondArgs),
}

/// Runs the program on these machines.
pub(crate) fn main<S: Subject>() -> ExitCode {
    remember_panics();
    #[cfg(planted)]
    quorate_core::planted::choose(&std::env::var("QUORATE_PLANTED").unwrap_or_default());
    let found = match Cli::parse().command {
        Command::Run(args) => explore::run::<S>(&args),
        Command::Replay(args) => replay::replay::<S>(&args),
        Command::Shrink(args) => shrink::shrink::<S>(&args),
        Command::Show(args) => show::show::<S>(&args),
        Command::Planted(args) => planted::hunt(&args),
        #[cfg(madsim)]
        Command::OnMadsim(args) => second::explore(&args),
    };
    let found = found.unwrap_or_else(|error| {
        say_error(&error.to_string());
        Found::BadUsage
    });
    ExitCode::from(found as u8)
}

/// A line for the reader; a closed pipe is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line for whoever looks after the program.
fn say_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "quorate-sim: {line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
