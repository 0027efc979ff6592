//! What difficult clients cost everybody else, and in memory: one server at a time, the same puts
//! with and without them.
//!
//! ```text
//! behind   a watcher begins at revision 1 of many     put p99 with and without
//! stuck    many watchers never read                   the same, and resident memory
//! exposed  strangers hold connections, flood, list    put p99, and resident memory
//! ```
//!
//! Puts come at a steady pace. With and without take turns; medians count. The difficult clients
//! run at the lowest priority: on a machine of their own they would not take the server's
//! processor.

mod behind;
mod exposed;
mod stuck;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum;

use crate::Outcome;
use crate::cli::{Args, StrainArgs};
use crate::servers::{self, Group};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strain {
    Behind,
    Stuck,
    Exposed,
}

/// Runs what was asked for against every server and prints a line for each.
pub(crate) fn run(args: &Args, strain: &StrainArgs) -> Outcome<()> {
    let mut out = std::io::stdout();
    std::fs::create_dir_all(args.out_dir())?;
    for program in servers::find_programs(args)? {
        writeln!(out, "{:8} {}", program.flavour.name(), program.version)?;
        for &members in &args.members {
            for which in &strain.only {
                let group = Group::start(&program, members, &args.out_dir())?;
                for line in which.run(&group, strain)? {
                    writeln!(out, "  {line}")?;
                }
            }
        }
    }
    Ok(())
}

impl Strain {
    fn run(self, group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
        match self {
            Self::Behind => behind::run(group, args),
            Self::Stuck => stuck::run(group, args),
            Self::Exposed => exposed::run(group, args),
        }
    }
}

async fn until(is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs `client` on a thread of the lowest priority while `work` runs; it should end when told.
fn beside<T>(
    client: impl AsyncFnOnce(&AtomicBool) -> Outcome<()> + Send,
    work: impl FnOnce() -> Outcome<T>,
) -> Outcome<T> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let difficult = scope.spawn(|| -> Outcome<()> {
            rustix::process::nice(19)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(client(&is_over))
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        difficult.join().map_err(|_| "the difficult client panicked")??;
        result
    })
}
