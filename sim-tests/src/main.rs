//! `quorate-sim`: explores seeds, replays failures.

mod cli;
mod scenario;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main::<scenario::Members>()
}
