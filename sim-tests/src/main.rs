//! `quorate-sim`: explores seeds, replays failures.

mod cli;

use std::process::ExitCode;

use quorate_sim_tests::scenario::Members;

fn main() -> ExitCode {
    cli::main::<Members>()
}
