//! etcd's own client for Go, with its concurrency package and the layers above its KV.
//!
//! The client is a module under `tests/accept/go/`, built here only where a `go` is on PATH.

mod accept;

use std::process::Command;

use accept::Cluster;
use accept::round::{assert_steps, go_client};

fn assert_round(size: usize, steps: &[&str]) {
    if let Some(client) = go_client() {
        assert_steps(Command::new(client), &mut Cluster::start(size), steps);
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
