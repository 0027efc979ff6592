//! The client `etcd3` for Node.
//!
//! It is looked for where `tests/accept/node/package-lock.json` is installed by these, from the
//! workspace's folder:
//!
//! ```text
//! mkdir -p target/accept-node
//! cp io-tokio/tests/accept/node/package*.json target/accept-node/
//! npm ci --prefix target/accept-node --ignore-scripts
//! ```

mod accept;

use accept::Cluster;
use accept::round::{assert_steps, node_client};

fn assert_round(size: usize, steps: &[&str]) {
    if let Some(program) = node_client() {
        assert_steps(program, &mut Cluster::start(size), steps);
    }
}

#[test]
fn a_round_of_the_node_client() {
    assert_round(1, &["keys", "transactions", "watches", "leases"]);
}

#[test]
fn what_the_node_client_shares() {
    assert_round(1, &["locks", "elections", "transactional_memory"]);
}

#[test]
fn a_watch_of_the_node_client_outlives_its_member() {
    assert_round(3, &["a_watch_outlives_its_member"]);
}
