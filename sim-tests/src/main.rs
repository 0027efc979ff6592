//! `quorate-sim`: explores seeds, replays failures.

mod cli;

use std::process::ExitCode;

use quorate_sim_tests::scenario::Members;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main::<Members>()
}
