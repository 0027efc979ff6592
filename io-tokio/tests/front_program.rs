//! The executable's manners: what it prints, where, and how it ends.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(words: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(words)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_version_is_printed_and_nothing_else() {
    let output = run(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("etcd Version: 3.7.1\nGit SHA: "));
    assert!(output.stderr.is_empty());
}

#[test]
fn help_goes_to_both_outputs() {
    let output = run(&["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "Usage: quorate [flags]\n");
    assert!(text(&output.stdout).contains("\n  --listen-client-urls 'http://localhost:2379'\n"));
}

#[test]
fn wrong_words_end_with_etcds_codes() {
    for (words, variables, code, told) in [
        (&["--nope"][..], &[][..], 2, "flag provided but not defined: -nope\n"),
        (&["x"], &[], 1, "error verifying flags, \"x\" is not a valid flag. See '--help'.\n"),
        (&["--election-timeout=1"], &[], 1, "--election-timeout[1ms] should be at least"),
        (&["--name=a"], &[("ETCD_NAME", "b")], 1, "conflicting environment variable"),
    ] {
        let output = run(words, variables);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(text(&output.stderr).starts_with(told), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_start_that_fails_is_told_in_the_log() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("--listen-peer-urls=http://{}", taken.local_addr().unwrap());
    let output = run(&[&url, "--log-level=debug"], &[("ETCD_ODD", "1")]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<serde_json::Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["msg"], "unrecognized environment variable ETCD_ODD");
    assert_eq!(lines[0]["level"], "warn");
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "fatal");
    assert!(last["error"].as_str().unwrap().starts_with("listen http://127.0.0.1:"));
}
