//! etcd's own client for Go, with its concurrency package and the layers above its KV.
//!
//! The client is a module under `tests/accept/go/`, built here only where a `go` is on PATH.

mod accept;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use accept::Cluster;
use accept::round::{assert_steps, script, target};

/// Built once for all tests of this file.
fn client() -> &'static PathBuf {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let program = target().join("accept-go/round");
        let mut command = Command::new("go");
        command.args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
        let status = command.current_dir(script("go")).stdin(Stdio::null()).status();
        assert!(status.expect("go runs").success(), "the client does not build");
        program
    })
}

fn assert_round(size: usize, steps: &[&str]) {
    if accept::find_optional_client("go").is_some() {
        assert_steps(Command::new(client()), &mut Cluster::start(size), steps);
    }
}

#[test]
fn a_round_of_the_go_client() {
    assert_round(1, &["keys", "transactions", "watches", "leases", "state"]);
}

#[test]
fn the_concurrency_package() {
    assert_round(1, &["mutexes", "elections", "a_lost_session", "transactional_memory"]);
}

#[test]
fn the_layers_above_the_go_client() {
    let steps = [
        "a_leasing_cache",
        "a_mirror",
        "a_namespace",
        "ordered_reads",
        "the_interface_of_kubernetes",
    ];
    assert_round(1, &steps);
}

#[test]
fn a_watch_of_the_go_client_outlives_its_member() {
    assert_round(3, &["a_watch_outlives_its_member"]);
}
