//! What criterion measured last, beside what it measured before.
//!
//! ```text
//! cargo bench --> target/criterion/*/new/*.json --.
//!                       benches/baseline.csv ------+--> part, then, now, ratio, drift
//!                                  ^--- --keep ----'
//! ```
//!
//! Machines differ, and one machine differs from hour to hour: by about the same factor for all
//! parts, which criterion's own comparison with a saved run does not know. So what counts is a
//! part's ratio over the median ratio of all of them, its drift. Nothing is asserted; who reads it
//! decides.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

/// A drift beyond this, either way, is pointed at.
const WORTH_A_LOOK: f64 = 1.15;

/// What criterion measured last, beside the baseline: run `cargo bench -p quorate-benches` before.
#[derive(Debug, Parser)]
#[command(name = "drift", version)]
struct Args {
    /// Criterion's folder
    #[arg(long, default_value = "target/criterion")]
    measured: PathBuf,
    /// What was measured before
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.csv"))]
    baseline: PathBuf,
    /// What was measured last becomes the baseline
    #[arg(long)]
    keep: bool,
}

/// Median nanoseconds of one iteration, by part.
type Medians = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let told = run(&Args::parse()).and_then(|text| Ok(io::stdout().write_all(text.as_bytes())?));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, Box<dyn Error>> {
    let mut now = Medians::new();
    collect(&args.measured, &mut now)?;
    if now.is_empty() {
        let folder = args.measured.display();
        let what = format!("nothing is measured in {folder}; run `cargo bench -p quorate-benches`");
        return Err(what.into());
    }
    if args.keep {
        fs::write(&args.baseline, to_csv(&now))?;
        return Ok(format!("kept {} parts in {}\n", now.len(), args.baseline.display()));
    }
    let file = &args.baseline;
    let text = fs::read_to_string(file).map_err(|error| {
        format!("cannot read {}: {error}; begin one with --keep", file.display())
    })?;
    Ok(report(&from_csv(&text)?, &now))
}

/// Finds what was measured in a folder and below it.
fn collect(folder: &Path, found: &mut Medians) -> Result<(), Box<dyn Error>> {
    let Ok(inside) = fs::read_dir(folder) else { return Ok(()) };
    for entry in inside {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") {
            let read = |name: &str| -> Result<Value, Box<dyn Error>> {
                Ok(serde_json::from_slice(&fs::read(path.join(name))?)?)
            };
            let part = read("benchmark.json")?["full_id"].as_str().map(str::to_owned);
            let median = read("estimates.json")?["median"]["point_estimate"].as_f64();
            found.extend(part.zip(median));
        } else {
            collect(&path, found)?;
        }
    }
    Ok(())
}

/// Parts have commas in their names, so the figure comes first.
fn to_csv(medians: &Medians) -> String {
    let mut text = String::from("median_ns,part\n");
    for (part, median) in medians {
        let _ = writeln!(text, "{median:.1},{part}");
    }
    text
}

fn from_csv(text: &str) -> Result<Medians, String> {
    let line = |line: &str| {
        let (median, part) = line.split_once(',')?;
        Some((part.to_owned(), median.parse().ok()?))
    };
    let lines = text.lines().skip(1);
    lines.map(|it| line(it).ok_or_else(|| format!("no line of a baseline: {it:?}"))).collect()
}

fn report(then: &Medians, now: &Medians) -> String {
    let ratio = |part: &str| Some(now.get(part)? / then.get(part)?);
    let mut ratios: Vec<f64> = now.keys().filter_map(|part| ratio(part)).collect();
    ratios.sort_by(f64::total_cmp);
    let pace = ratios.get(ratios.len() / 2).copied().unwrap_or(1.0);
    let mut text =
        format!("{:<44}{:>12}{:>12}{:>8}{:>8}\n", "part", "then", "now", "ratio", "drift");
    for (part, median) in now {
        let (Some(ratio), Some(then)) = (ratio(part), then.get(part)) else {
            let _ = writeln!(text, "{part:<44}{:>12}{:>12}", "-", time(*median));
            continue;
        };
        let drift = ratio / pace;
        let word = match drift {
            _ if drift > WORTH_A_LOOK => "slower",
            _ if drift < 1.0 / WORTH_A_LOOK => "faster",
            _ => "",
        };
        let (before, after) = (time(*then), time(*median));
        let _ =
            writeln!(text, "{part:<44}{before:>12}{after:>12}{ratio:>7.2}x{drift:>7.2}x {word}");
    }
    for part in then.keys().filter(|part| !now.contains_key(*part)) {
        let _ = writeln!(text, "{part:<44}{:>12}{:>12}", time(then[part]), "-");
    }
    let _ = writeln!(text, "all of them: {pace:.2}x in the median");
    text
}

fn time(ns: f64) -> String {
    match ns {
        _ if ns < 1e3 => format!("{ns:.1} ns"),
        _ if ns < 1e6 => format!("{:.2} us", ns / 1e3),
        _ if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medians(all: &[(&str, f64)]) -> Medians {
        all.iter().map(|(part, median)| ((*part).to_owned(), *median)).collect()
    }

    #[test]
    fn a_baseline_is_read_as_it_was_kept() {
        let kept = medians(&[("index/put, nobody looks on", 812.3), ("log/append", 61_000.0)]);
        assert_eq!(from_csv(&to_csv(&kept)), Ok(kept));
        assert!(from_csv("median_ns,part\nfast,log\n").is_err());
    }

    #[test]
    fn a_machine_half_as_fast_hides_no_part_that_got_slower() {
        let then = medians(&[("a", 100.0), ("b", 2_000.0), ("c", 10.0), ("gone", 5.0)]);
        let now = medians(&[("a", 200.0), ("b", 6_000.0), ("c", 20.0), ("new", 7.0)]);
        let text = report(&then, &now);
        let line = |part: &str| text.lines().find(|line| line.starts_with(part)).unwrap();
        assert!(line("a ").ends_with("2.00x   1.00x "), "{text}");
        assert!(line("b ").ends_with("3.00x   1.50x slower"), "{text}");
        assert!(line("gone").ends_with('-') && line("new").ends_with("7.0 ns"), "{text}");
    }

    #[test]
    fn what_criterion_leaves_is_found_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("index_put").join("new");
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(folder.path().join("report")).unwrap();
        fs::write(new.join("benchmark.json"), r#"{"full_id":"index/put"}"#).unwrap();
        fs::write(new.join("estimates.json"), r#"{"median":{"point_estimate":7.5}}"#).unwrap();
        let mut found = Medians::new();
        collect(folder.path(), &mut found).unwrap();
        assert_eq!(found, medians(&[("index/put", 7.5)]));
    }
}
