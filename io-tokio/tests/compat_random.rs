//! Random requests to a Quorate process and to a real etcd: every answer, every event of every
//! watch and every hash of history must be the same.
//!
//! ```text
//! QUORATE_COMPAT_ETCD=path         the etcd to compare with; else one on PATH, else
//!                                  target/judge/etcd, which io-tokio/tests/judge builds
//! QUORATE_COMPAT_SEEDS=200         so many scripts
//! QUORATE_COMPAT_OPERATIONS=500    of so many operations each
//! QUORATE_COMPAT_SEED=17           beginning with this one; one script unless more are asked for
//! ```

mod accept;
mod compat;

use std::env;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use compat::compare::LEVELLED;
use compat::differences::DIFFERENCES;
use compat::run::{Mismatch, Tally, run};
use compat::{judge, luck};

/// Scripts and operations of a run that names no others.
const SEEDS: u64 = 8;
const OPERATIONS: u64 = 500;
/// Scripts that run side by side.
const LANES: usize = 8;

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

#[test]
fn random_scripts_are_answered_as_etcd_answers_them() {
    let Some(judge) = judge::find() else { return };
    let first = number("QUORATE_COMPAT_SEED");
    let usual = if first.is_some() { 1 } else { SEEDS };
    let count = number("QUORATE_COMPAT_SEEDS").unwrap_or(usual);
    let operations = number("QUORATE_COMPAT_OPERATIONS").unwrap_or(OPERATIONS);
    let first = first.unwrap_or(1);
    let begin = Instant::now();
    let (seeds, results) = (Mutex::new(first..first + count), Mutex::new(Vec::new()));
    let run_some = || {
        while let Some(seed) = take(&seeds) {
            let result = run_one(&judge, seed, operations);
            if let Err(mismatch) = &result {
                report(seed, operations, mismatch);
            }
            results.lock().unwrap().push((seed, result));
        }
    };
    std::thread::scope(|scope| {
        (0..LANES).for_each(|_| drop(scope.spawn(run_some)));
    });
    let (mut total, mut failed) = (Tally::default(), Vec::new());
    for (seed, result) in results.into_inner().unwrap() {
        match result {
            Ok(tally) => total.add(tally),
            Err(_) => failed.push(seed),
        }
    }
    eprintln!("{count} scripts against {}: {:?}\n{total:#?}", judge.display(), begin.elapsed());
    assert!(failed.is_empty(), "answers differ in the scripts of seeds {failed:?}");
}

fn take(seeds: &Mutex<Range<u64>>) -> Option<u64> {
    seeds.lock().expect("nobody panics while holding it").next()
}

fn run_one(judge: &Path, seed: u64, operations: u64) -> Result<Tally, Mismatch> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let operations = usize::try_from(operations).expect("a number of operations");
    runtime.expect("a runtime").block_on(run(judge, seed, operations))
}

fn report(seed: u64, operations: u64, mismatch: &Mismatch) {
    eprintln!("--- seed {seed}: the answers differ after {} operations", mismatch.after);
    eprintln!("{}", mismatch.what);
    eprintln!(
        "repeat: QUORATE_COMPAT_SEED={seed} QUORATE_COMPAT_OPERATIONS={operations} \
         cargo test -p quorate-io-tokio --test compat_random -- --nocapture"
    );
}

#[test]
fn the_known_differences_are_those_that_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md");
    let text = std::fs::read_to_string(path).expect("the list of differences");
    let tested = text.split("\n## ").find_map(|part| part.strip_prefix("Seen by the comparison\n"));
    let tested = tested.expect("its part about this test");
    let documented: Vec<&str> =
        tested.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let known: Vec<&str> = DIFFERENCES.iter().map(|known| known.name).collect();
    assert_eq!(documented, known);
}

#[test]
fn what_is_levelled_is_said_with_its_reason() {
    assert!(LEVELLED.iter().all(|(what, why)| !what.is_empty() && !why.is_empty()));
}

#[test]
fn the_same_seed_draws_the_same_luck() {
    let draw = |seed| {
        let mut luck = luck::Luck::new(seed);
        (0..20).map(|_| luck.draw()).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
