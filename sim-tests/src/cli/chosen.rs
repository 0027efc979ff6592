//! Which plan a command is about: a seed's, or a written one.

use std::io;
use std::path::PathBuf;

use clap::Args;
use quorate_io_sim::world::Plan;
use quorate_sim_tests::scenario::Subject;

use super::explore::plan;

#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// The seed.
    #[arg(required_unless_present = "schedule")]
    seed: Option<u64>,
    /// A schedule written before, instead of a seed.
    #[arg(long, conflicts_with = "seed")]
    schedule: Option<PathBuf>,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Members.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// No faults.
    #[arg(long)]
    calm: bool,
}

impl Chosen {
    /// The plan.
    pub(super) fn load<S: Subject>(&self) -> Result<Plan, io::Error> {
        match (&self.schedule, self.seed) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)?;
                let named = |error| format!("{}: {error}", path.display());
                Plan::read(&text).map_err(|error| io::Error::other(named(error)))
            }
            (None, seed) => {
                Ok(plan::<S>(seed.unwrap_or_default(), self.nodes, self.seconds, self.calm))
            }
        }
    }
}
