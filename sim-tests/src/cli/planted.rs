//! `quorate-sim planted`: mistakes are built in, and must be found.

use std::io;
use std::path::PathBuf;

use clap::Args;
use quorate_sim_tests::failure::Found;
use quorate_sim_tests::planted::{SEEDS_MAX, hunt_all};

use super::say;

#[derive(Debug, Args)]
pub(super) struct PlantedArgs {
    /// Which; all if none is named.
    names: Vec<String>,
    /// Seeds each may hide for.
    #[arg(long, default_value_t = SEEDS_MAX)]
    seeds: u64,
    /// The workspace's folder.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

/// Hunts, and says what was found; a mistake that stays hidden is a failure.
pub(super) fn hunt(args: &PlantedArgs) -> Result<Found, io::Error> {
    let root = args.root.canonicalize()?;
    let mut is_all_found = true;
    hunt_all(&root, &args.names, args.seeds, &mut |bug, found| {
        is_all_found &= found.seeds.is_some();
        let seeds = found.seeds.map_or_else(|| "none".to_owned(), |seeds| seeds.to_string());
        say(&format!("{}: seeds {seeds}, {}", bug.name, found.signature));
    })?;
    Ok(if is_all_found { Found::Nothing } else { Found::Wrong })
}
