//! Runs transcripts: text files of commands (`> put a=1`) and what each of them answers.
//!
//! Comments (`# ...`) and blank lines stay as they are; every other line is an answer. A file is
//! right if running its commands yields the file. With `UPDATE_SCRIPTS=1` files are rewritten.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Runs every transcript of a room; `start` makes a fresh world for each, which answers commands
/// with any number of lines.
pub(crate) fn run_all<W: FnMut(&str) -> String>(room: &str, start: impl Fn() -> W) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(room);
    let mut paths: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no transcripts in {}", dir.display());
    let rewrites = env::var_os("UPDATE_SCRIPTS").is_some();
    let mut failures = String::new();
    for path in paths {
        let expected = fs::read_to_string(&path).unwrap();
        let actual = replay(&expected, start());
        if actual == expected {
            continue;
        }
        if rewrites {
            fs::write(&path, actual).unwrap();
        } else {
            writeln!(failures, "{}\n{}", path.display(), first_difference(&expected, &actual))
                .unwrap();
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn replay(script: &str, mut world: impl FnMut(&str) -> String) -> String {
    let mut actual = String::new();
    for line in script.lines() {
        let command = line.strip_prefix("> ");
        if command.is_none() && !line.is_empty() && !line.starts_with('#') {
            continue;
        }
        writeln!(actual, "{line}").unwrap();
        for answer in command.map(&mut world).unwrap_or_default().lines() {
            writeln!(actual, "{answer}").unwrap();
        }
    }
    actual
}

fn first_difference(expected: &str, actual: &str) -> String {
    let (mut wanted, mut got) = (expected.lines(), actual.lines());
    let mut command = "";
    for number in 1.. {
        let pair = (wanted.next(), got.next());
        if pair.0 != pair.1 {
            let (wanted, got) = (pair.0.unwrap_or("(end)"), pair.1.unwrap_or("(end)"));
            return format!(
                "line {number}, after `{command}`\n  expected: {wanted}\n  actual:   {got}"
            );
        }
        command = pair.0.filter(|line| line.starts_with("> ")).unwrap_or(command);
    }
    String::new()
}
