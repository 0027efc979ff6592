//! Builds the simulator with a mistake in it, and looks how long it takes to be found.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::{BUGS, Bug};

/// Seeds a mistake may hide for.
pub const SEEDS_MAX: u64 = 3_000;

/// Seeds in one run of the child: a failure among them is then looked for one by one.
const SEEDS_PER_RUN: u64 = 50;

/// How a hunt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The mistake's name.
    pub name: &'static str,
    /// Seeds until the first that failed, that one included; none if none did.
    pub seeds: Option<u64>,
    /// The oracle that objected, as the simulator printed it; empty if none did.
    pub signature: String,
    /// Processor time of the runs in hundredths of a second.
    pub cpu_centis: u64,
}

/// Builds the simulator of the workspace at `root` with `bug` in it, and runs seeds until one
/// fails.
pub fn hunt(root: &Path, bug: &Bug) -> io::Result<Found> {
    let binary = build(root, bug)?;
    let before = cpu_centis_of_children()?;
    let mut found = Found { name: bug.name, seeds: None, signature: String::new(), cpu_centis: 0 };
    let mut first = 0;
    while first < SEEDS_MAX && found.seeds.is_none() {
        let count = SEEDS_PER_RUN.min(SEEDS_MAX - first);
        if !run(&binary, first, count)?.0.success() {
            (found.seeds, found.signature) = first_failure(&binary, first, count)?;
        }
        first += count;
    }
    found.cpu_centis = cpu_centis_of_children()?.saturating_sub(before);
    Ok(found)
}

/// Hunts the named mistakes, or all if none is named, telling `on_found` of each; returns the page.
/// Only a page of all of them is written to `docs/`.
pub fn hunt_all(
    root: &Path,
    names: &[String],
    on_found: &mut dyn FnMut(&Found),
) -> io::Result<String> {
    let bugs = choose(names)?;
    let mut rows = Vec::new();
    for bug in bugs {
        let found = hunt(root, bug)?;
        on_found(&found);
        rows.push((*bug, found));
    }
    let page = table(&rows);
    if names.is_empty() {
        std::fs::create_dir_all(root.join("docs"))?;
        std::fs::write(root.join("docs").join("planted-bugs.md"), &page)?;
    }
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

fn build(root: &Path, bug: &Bug) -> io::Result<PathBuf> {
    let folder = root.join("target").join("planted");
    let status = Command::new("cargo")
        .current_dir(root)
        .env("RUSTFLAGS", format!("--cfg planted=\"{}\"", bug.name))
        .env("CARGO_TARGET_DIR", &folder)
        .args(["build", "--quiet", "--profile", "ci", "-p", "quorate-sim-tests"])
        .args(["--bin", "quorate-sim"])
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{} does not build", bug.name)));
    }
    Ok(folder.join("ci").join("quorate-sim"))
}

/// Runs `count` seeds from `first` on; whether all passed, and what was printed.
fn run(binary: &Path, first: u64, count: u64) -> io::Result<(ExitStatus, String)> {
    let output = Command::new(binary)
        .args(["run", "--first", &first.to_string(), "--seeds", &count.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok((output.status, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The first seed that fails alone, counted from 1, and what it says.
fn first_failure(binary: &Path, first: u64, count: u64) -> io::Result<(Option<u64>, String)> {
    for seed in first..first + count {
        let (status, said) = run(binary, seed, 1)?;
        if !status.success() {
            return Ok((Some(seed + 1), signature(&said)));
        }
    }
    Err(io::Error::other("seeds fail together that pass alone"))
}

/// The line of a failure that names the oracle.
fn signature(said: &str) -> String {
    let line = said.lines().find(|line| line.contains("violation")).unwrap_or_default();
    line.trim().replace('|', "/")
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

/// The page `docs/planted-bugs.md`.
pub fn table(found: &[(Bug, Found)]) -> String {
    let mut page = String::from(
        "# Planted bugs\n\nWritten by `quorate-sim planted`: each mistake is built into the \
         simulator, then seeds of\nthe general swarm run until one fails.\n\n\
         | Bug | Real mistake | Seeds to find | CPU seconds | Objection |\n|---|---|---|---|---|\n",
    );
    for (bug, found) in found {
        let seeds = found.seeds.map_or_else(|| "not found".to_owned(), |seeds| seeds.to_string());
        let (whole, rest) = (found.cpu_centis / 100, found.cpu_centis % 100);
        writeln!(
            page,
            "| {} | {} | {seeds} | {whole}.{rest:02} | {} |",
            bug.name, bug.from, found.signature
        )
        .expect("writing to a string does not fail");
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
    fn the_page_tells_what_was_found_and_what_was_not() {
        let found = |seeds, signature: &str| Found {
            name: BUGS[0].name,
            seeds,
            signature: signature.to_owned(),
            cpu_centis: 1_205,
        };
        let page = table(&[
            (BUGS[0], found(Some(12), "violation durability")),
            (BUGS[0], found(None, "")),
        ]);
        let rows: Vec<&str> = page.lines().skip(7).collect();
        assert_eq!(
            rows,
            [
                "| vote-before-persist | raft: a vote answered before it is persisted | 12 | 12.05 \
                 | violation durability |",
                "| vote-before-persist | raft: a vote answered before it is persisted | not found \
                 | 12.05 |  |",
            ]
        );
    }
}
