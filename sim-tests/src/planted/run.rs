//! Builds the simulator with a mistake in it, and looks how long it takes to be found.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BUGS, Bug};

/// Seeds a mistake may hide for.
pub const SEEDS_MAX: u64 = 3_000;

/// Runs a shrinker may take.
const SHRINK_RUNS: &str = "2000";

/// How the page begins.
const HEAD: &str = "\
# Planted bugs

Written by `quorate-sim planted`: each mistake is turned on in a build that has them all, then seeds
of the general swarm run until one fails, and that seed is shrunk. The small schedules are kept in
`sim-tests/regressions/planted`, where every test run replays them. Rows of mistakes not hunted in a
run stay as they were.

| Bug | Real mistake | Seeds to find | CPU seconds | Objection | Shrunk to | In CPU seconds |
|---|---|---|---|---|---|---|
";

/// How a hunt ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Seeds until the first that failed, that one included; none if none did.
    pub seeds: Option<u64>,
    /// Seeds that were allowed.
    pub seeds_max: u64,
    /// The oracle that objected, as the simulator printed it; empty if none did.
    pub signature: String,
    /// Processor time of the runs in hundredths of a second.
    pub cpu_centis: u64,
    /// What the failing seed was shrunk to, as the simulator printed it; empty if none failed.
    pub shrunk: String,
    /// Processor time of that.
    pub shrink_centis: u64,
}

/// Runs up to `seeds_max` seeds of a simulator that has `bug` in it until one fails, and shrinks
/// that one into `folder`.
fn hunt(binary: &Path, bug: &Bug, seeds_max: u64, folder: &Path) -> io::Result<Found> {
    let (said, cpu_centis) =
        run_with(binary, bug, &["run", "--once", "--seeds", &seeds_max.to_string()])?;
    let none = Found { seeds_max, cpu_centis, ..Found::default() };
    let Some((seed, signature)) = parse_failure(&said) else { return Ok(none) };
    let seeds = Some(seed + 1);
    let (seed, folder) = (seed.to_string(), folder.to_string_lossy());
    let words = ["shrink", &seed, "--runs", SHRINK_RUNS, "--folder", &folder, "--name", bug.name];
    let (said, shrink_centis) = run_with(binary, bug, &words)?;
    Ok(Found { seeds, signature, shrunk: parse_sizes(&said), shrink_centis, ..none })
}

/// What a simulator that has `bug` in it says, and the processor time it took.
fn run_with(binary: &Path, bug: &Bug, words: &[&str]) -> io::Result<(String, u64)> {
    let before = cpu_centis_of_children()?;
    let mut command = Command::new(binary);
    command.env("QUORATE_PLANTED", bug.name).args(words);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let cpu_centis = cpu_centis_of_children()?.saturating_sub(before);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Nothing failed, or something did and is told.
    if !output.status.success() && parse_failure(&said).is_none() {
        return Err(io::Error::other(format!("{}: the simulator broke off", bug.name)));
    }
    Ok((said, cpu_centis))
}

/// Hunts the named mistakes, or all if none is named, telling `on_found` of each. After each the
/// page `docs/planted-bugs.md` is written anew: rows of mistakes that were not hunted now stay.
/// Small schedules go to `sim-tests/regressions/planted`.
pub fn hunt_all(
    root: &Path,
    names: &[String],
    seeds_max: u64,
    on_found: &mut dyn FnMut(&Bug, &Found),
) -> io::Result<()> {
    let chosen = choose(names)?;
    let binary = build(root)?;
    let path = root.join("docs").join("planted-bugs.md");
    let folder = root.join("sim-tests").join("regressions").join("planted");
    let mut results = parse_page(&std::fs::read_to_string(&path).unwrap_or_default());
    for bug in chosen {
        let found = hunt(&binary, bug, seeds_max, &folder)?;
        on_found(bug, &found);
        results.insert(bug.name.to_owned(), found.cells());
        std::fs::write(&path, page(&results))?;
    }
    Ok(())
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

/// Builds the simulator of the workspace at `root` with all mistakes in it; one at most is on when
/// it runs. What it depends on is built in a folder of its own, once.
fn build(root: &Path) -> io::Result<PathBuf> {
    let folder = root.join("target").join("planted");
    let status = Command::new("cargo")
        .current_dir(root)
        .env("RUSTFLAGS", "--cfg planted")
        .env("CARGO_TARGET_DIR", &folder)
        .args(["build", "--quiet", "--profile", "ci", "-p", "quorate-sim-tests"])
        .args(["--bin", "quorate-sim"])
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the simulator with mistakes in it does not build"));
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

/// How small a seed became: `after   1 faults, 2 calls, ..`.
fn parse_sizes(said: &str) -> String {
    let after = said.lines().find_map(|line| line.strip_prefix("after"));
    after.unwrap_or_default().trim().to_owned()
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

impl Found {
    /// The last five cells of its row.
    fn cells(&self) -> String {
        let none = || format!("not found in {}", self.seeds_max);
        let seeds = self.seeds.map_or_else(none, |seeds| seeds.to_string());
        let seconds = |centis: u64| format!("{}.{:02}", centis / 100, centis % 100);
        let (hunt, shrink) = (seconds(self.cpu_centis), seconds(self.shrink_centis));
        format!("{seeds} | {hunt} | {} | {} | {shrink}", self.signature, self.shrunk)
    }
}

/// The page: one row for each mistake there is, with what is known of the hunt for it.
fn page(results: &BTreeMap<String, String>) -> String {
    let mut page = String::from(HEAD);
    for Bug { name, from, .. } in BUGS {
        let cells = results.get(*name).map_or("not run | | | | ", String::as_str);
        page += &format!("| {name} | {from} | {cells} |\n");
    }
    page
}

/// What a page tells of each mistake: its last five cells.
fn parse_page(page: &str) -> BTreeMap<String, String> {
    let rows = page.strip_prefix(HEAD).unwrap_or_default().lines();
    let parse = |row: &str| {
        let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
        let (name, rest) = row.split_once(" | ")?;
        let (_, cells) = rest.split_once(" | ")?;
        Some((name.to_owned(), cells.to_owned()))
    };
    rows.filter_map(parse).collect()
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
        assert_eq!(parse_sizes("before  9 faults\nafter   1 faults, 2 s\n"), "1 faults, 2 s");
    }

    #[test]
    fn the_page_keeps_what_was_not_hunted_now() {
        let found = |seeds, signature: &str| {
            let (signature, shrunk) = (signature.to_owned(), "1 faults".to_owned());
            let (cpu_centis, shrink_centis) = (1_205, 300);
            Found { seeds, seeds_max: 30, signature, cpu_centis, shrunk, shrink_centis }.cells()
        };
        let mut results = BTreeMap::new();
        results.insert(BUGS[0].name.to_owned(), found(Some(12), "Correctness, durability"));
        results.insert(BUGS[1].name.to_owned(), found(None, ""));
        let first = page(&results);
        let rows: Vec<&str> = first.lines().skip(HEAD.lines().count()).collect();
        let row = |n: usize, cells| format!("| {} | {} | {cells} |", BUGS[n].name, BUGS[n].from);
        assert_eq!(rows[0], row(0, "12 | 12.05 | Correctness, durability | 1 faults | 3.00"));
        assert_eq!(rows[1], row(1, "not found in 30 | 12.05 |  | 1 faults | 3.00"));
        assert_eq!(rows[2], row(2, "not run | | | | "));
        assert_eq!(page(&parse_page(&first)), first);
        assert_eq!(parse_page("| another | page |\n"), BTreeMap::new());
    }
}
