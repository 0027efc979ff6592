//! What difficult clients cost everybody else, and in memory: one server at a time, the same puts
//! with and without them.
//!
//! ```text
//! behind   a watcher begins at revision 1 of many     put p99 with and without
//! stuck    many watchers never read                   the same, and resident memory
//! leases   many leases end in the same second         the same, and how many are left
//! stream   a large range is read slowly, in chunks    resident memory; beside it, in one piece
//! exposed  strangers hold connections, flood, list    put p99, and resident memory
//! upkeep   history is compacted, the store defragmented   put p99, and the longest put of all
//! ```
//!
//! Puts come at a steady pace, well below what the server can take: the question is how long one
//! of them waits, not how many there can be. With and without take turns; medians count. The
//! difficult clients run at the lowest priority: on a machine of their own they would not take the
//! server's processor.

mod behind;
mod exposed;
mod leases;
mod puts;
mod stream;
mod stuck;
mod upkeep;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    Leases,
    Stream,
    Upkeep,
    Exposed,
}

/// Runs what was asked for against every server and prints a line for each.
pub(crate) fn run(args: &Args, strain: &StrainArgs) -> Outcome<()> {
    let mut out = std::io::stdout();
    for program in servers::find_programs(args)? {
        writeln!(out, "{:8} {}", program.flavour.name(), program.version)?;
        for which in &strain.only {
            std::fs::create_dir_all(args.out_dir())?;
            let group = Group::start(&program, args.members, &args.out_dir())?;
            let lines = match which {
                Strain::Behind => behind::run(&group, strain)?,
                Strain::Stuck => stuck::run(&group, strain)?,
                Strain::Leases => leases::run(&group, strain)?,
                Strain::Stream => stream::run(&group, strain)?,
                Strain::Upkeep => upkeep::run(&group, strain)?,
                Strain::Exposed => exposed::run(&group, strain)?,
            };
            for line in lines {
                writeln!(out, "  {line}")?;
            }
        }
    }
    Ok(())
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Runs `work` while the server's memory is looked at; also the most of it, in KiB.
fn peak_rss<T: Send>(group: &Group, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<(T, u64)> {
    let (is_over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if let Ok(kib) = group.rss_kib() {
                    peak.fetch_max(kib, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        looking.join().map_err(|_| "looking at memory failed")?;
        Ok((result?, peak.load(Ordering::Relaxed)))
    })
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
