//! Builds the simulator with a mistake in it, and looks how long it takes to be found.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BUGS, Bug};

/// Seeds a mistake may hide for.
pub const SEEDS_MAX: u64 = 3_000;

/// How a hunt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Seeds until the first that failed, that one included; none if none did.
    pub seeds: Option<u64>,
    /// Seeds that were allowed.
    pub seeds_max: u64,
    /// The oracle that objected, as the simulator printed it; empty if none did.
    pub signature: String,
    /// Processor time of the runs in hundredths of a second.
    pub cpu_centis: u64,
}

/// Builds the simulator of the workspace at `root` with `bug` in it, and runs up to `seeds_max`
/// seeds until one fails.
pub fn hunt(root: &Path, bug: &Bug, seeds_max: u64) -> io::Result<Found> {
    let binary = build(root, bug)?;
    let before = cpu_centis_of_children()?;
    let output = Command::new(binary)
        .args(["run", "--once", "--seeds", &seeds_max.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let cpu_centis = cpu_centis_of_children()?.saturating_sub(before);
    let said = String::from_utf8_lossy(&output.stdout);
    match parse_failure(&said) {
        Some((seed, signature)) => {
            Ok(Found { seeds: Some(seed + 1), seeds_max, signature, cpu_centis })
        }
        None if output.status.success() => {
            Ok(Found { seeds: None, seeds_max, signature: String::new(), cpu_centis })
        }
        None => Err(io::Error::other(format!("{}: the simulator broke off", bug.name))),
    }
}

/// Hunts the named mistakes, or all if none is named, telling `on_found` of each; writes and
/// returns the page `docs/planted-bugs.md`, in which the others are marked as not run.
pub fn hunt_all(
    root: &Path,
    names: &[String],
    seeds_max: u64,
    on_found: &mut dyn FnMut(&Bug, &Found),
) -> io::Result<String> {
    let chosen = choose(names)?;
    let mut rows: Vec<(Bug, Option<Found>)> = BUGS.iter().map(|bug| (*bug, None)).collect();
    for (bug, row) in &mut rows {
        if chosen.contains(&&*bug) {
            let found = hunt(root, bug, seeds_max)?;
            on_found(bug, &found);
            *row = Some(found);
        }
    }
    let page = table(&rows);
    std::fs::write(root.join("docs").join("planted-bugs.md"), &page)?;
    Ok(page)
}

fn choose(names: &[String]) -> io::Result<Vec<&'static Bug>> {
    if names.is_empty() {
        return Ok(BUGS.iter().collect());
    }
    let find = |name: &String| {
        let found = BUGS.iter().find(|bug| bug.name == name);
        found.ok_or_else(|| io::Error::other(format!("no bug is called {name}")))
    };
    names.iter().map(find).collect()
}

/// Builds with the cfg set for the workspace's own packages only: what they depend on is the same
/// for every mistake, and is built once.
fn build(root: &Path, bug: &Bug) -> io::Result<PathBuf> {
    let folder = root.join("target").join("planted");
    std::fs::create_dir_all(&folder)?;
    let compiler = folder.join(format!("rustc-{}", bug.name));
    let script = format!("#!/bin/sh\nexec \"$@\" --cfg 'planted=\"{}\"'\n", bug.name);
    std::fs::write(&compiler, script)?;
    std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755))?;
    let status = Command::new("cargo")
        .current_dir(root)
        .env("RUSTC_WORKSPACE_WRAPPER", &compiler)
        .env("CARGO_TARGET_DIR", &folder)
        .args(["build", "--quiet", "--profile", "ci", "-p", "quorate-sim-tests"])
        .args(["--bin", "quorate-sim"])
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{} does not build", bug.name)));
    }
    Ok(folder.join("ci").join("quorate-sim"))
}

/// The seed that failed, and the verdict and oracle it failed by, out of what was printed:
/// `seed 7: Correctness, raft, at ...`.
fn parse_failure(said: &str) -> Option<(u64, String)> {
    let line = said.lines().find_map(|line| line.strip_prefix("seed "))?;
    let (seed, what) = line.split_once(": ")?;
    let signature: Vec<&str> = what.splitn(3, ", ").take(2).collect();
    Some((seed.parse().ok()?, signature.join(", ").replace('|', "/")))
}

/// Processor time of all children so far, from the kernel's own account.
fn cpu_centis_of_children() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    parse_children(&stat).ok_or_else(|| io::Error::other("an account in another format"))
}

/// Fields 16 and 17, counted behind the name, which may hold anything but ends with the last
/// parenthesis.
fn parse_children(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The page: one row for each mistake, with nothing for those that were not hunted.
pub fn table(rows: &[(Bug, Option<Found>)]) -> String {
    let mut page = String::from(
        "# Planted bugs\n\nWritten by `quorate-sim planted`: each mistake is built into the \
         simulator, then seeds of\nthe general swarm run until one fails.\n\n\
         | Bug | Real mistake | Seeds to find | CPU seconds | Objection |\n|---|---|---|---|---|\n",
    );
    for (bug, found) in rows {
        let Bug { name, from, .. } = bug;
        let row = match found {
            None => format!("| {name} | {from} | not run | | |\n"),
            Some(found) => {
                let none = || format!("not found in {}", found.seeds_max);
                let seeds = found.seeds.map_or_else(none, |seeds| seeds.to_string());
                let (whole, rest) = (found.cpu_centis / 100, found.cpu_centis % 100);
                let signature = &found.signature;
                format!("| {name} | {from} | {seeds} | {whole}.{rest:02} | {signature} |\n")
            }
        };
        page += &row;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 130 20 15 0\n";
        assert_eq!(parse_children(stat), Some(150));
        assert_eq!(parse_children("nothing"), None);
        assert!(cpu_centis_of_children().is_ok());
    }

    #[test]
    fn bugs_are_chosen_by_name() {
        assert_eq!(choose(&[]).unwrap().len(), BUGS.len());
        let name = "torn-tail-accepted".to_owned();
        assert_eq!(choose(&[name]).unwrap()[0].name, "torn-tail-accepted");
        let unknown = choose(&["nothing".to_owned()]).unwrap_err();
        assert_eq!(unknown.to_string(), "no bug is called nothing");
    }

    #[test]
    fn a_failure_is_read_from_what_was_printed() {
        let said = "seeds   8\nseed 7: Liveness, raft, at 19.9s: x, y\nquorate-sim replay 7\n";
        assert_eq!(parse_failure(said), Some((7, "Liveness, raft".to_owned())));
        assert_eq!(parse_failure("seeds   8\n"), None);
    }

    #[test]
    fn the_page_tells_what_was_found_and_what_was_not() {
        let found = |seeds, signature: &str| {
            let signature = signature.to_owned();
            Some(Found { seeds, seeds_max: 30, signature, cpu_centis: 1_205 })
        };
        let page = table(&[
            (BUGS[0], found(Some(12), "Correctness, durability")),
            (BUGS[0], found(None, "")),
            (BUGS[0], None),
        ]);
        let rows: Vec<&str> = page.lines().skip(7).collect();
        let start = "| vote-before-persist | raft: a vote answered before it is persisted |";
        assert_eq!(
            rows,
            [
                format!("{start} 12 | 12.05 | Correctness, durability |"),
                format!("{start} not found in 30 | 12.05 |  |"),
                format!("{start} not run | | |"),
            ]
        );
    }
}
