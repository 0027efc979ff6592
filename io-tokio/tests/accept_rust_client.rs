//! The `etcd-client` crate.
//!
//! The crate needs a `protoc` to build, so the client is a Cargo workspace of its own under
//! `tests/accept/etcd_client/`, built here only where a `protoc` is on PATH.

mod accept;

use std::process::Command;

use accept::Cluster;
use accept::round::{assert_steps, rust_client};

fn assert_round(size: usize, steps: &[&str]) {
    if let Some(client) = rust_client() {
        assert_steps(Command::new(client), &mut Cluster::start(size), steps);
    }
}

#[test]
fn a_round_of_the_etcd_client_crate() {
    let steps = ["puts_and_gets", "transactions", "watches", "leases", "deletes_and_compaction"];
    assert_round(1, &steps);
}

#[test]
fn locks_and_elections_of_the_etcd_client_crate() {
    assert_round(1, &["locks", "elections"]);
}

#[test]
fn a_watch_of_the_etcd_client_crate_outlives_its_member() {
    assert_round(3, &["a_watch_outlives_its_member"]);
}
