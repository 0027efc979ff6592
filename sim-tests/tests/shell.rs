//! Whole servers on a simulated network. More seeds: `quorate-shell-sim run --seeds 200`.

use std::process::Command;

/// How many seeds there is time for beside other tests.
const SEEDS: &str = "4";

#[test]
fn a_few_seeds_find_nothing_and_are_the_same_twice() {
    let mut runner = Command::new(env!("CARGO_BIN_EXE_quorate-shell-sim"));
    let output = runner.args(["run", "--seeds", SEEDS]).output().expect("the runner runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}
