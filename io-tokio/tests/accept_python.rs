//! Python's clients: `etcd3` and `aetcd` over gRPC, `etcd3gw` over the JSON gateway.

mod accept;

use accept::Cluster;
use accept::round::{assert_steps, python_client};

fn assert_round(client: &str, size: usize, steps: &[&str]) {
    if let Some(program) = python_client(client) {
        assert_steps(program, &mut Cluster::start(size), steps);
    }
}

#[test]
fn a_round_of_etcd3() {
    let steps = [
        "put_and_get",
        "prefixes",
        "deletes",
        "transactions",
        "watches",
        "a_compacted_watch_is_cancelled",
        "leases",
        "state",
        "locks",
        "elections",
    ];
    assert_round("etcd3", 1, &steps);
}

#[test]
fn a_watch_of_etcd3_outlives_its_member() {
    assert_round("etcd3", 3, &["a_watch_outlives_its_member"]);
}

#[test]
fn a_round_of_aetcd() {
    let steps = ["keys", "transactions", "watches", "leases", "locks", "elections"];
    assert_round("aetcd", 1, &steps);
}

#[test]
fn a_watch_of_aetcd_outlives_its_member() {
    assert_round("aetcd", 3, &["a_watch_outlives_its_member"]);
}

#[test]
fn a_round_of_etcd3gw() {
    let steps = ["keys", "transactions", "watches", "leases", "locks", "elections", "state"];
    assert_round("etcd3gw", 1, &steps);
}

#[test]
fn server_side_locks_and_elections_of_etcd3gw() {
    assert_round("etcd3gw", 1, &["server_side_locks", "server_side_elections"]);
}

#[test]
fn a_watch_of_etcd3gw_outlives_its_member() {
    assert_round("etcd3gw", 3, &["a_watch_outlives_its_member"]);
}
