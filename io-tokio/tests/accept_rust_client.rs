//! The `etcd-client` crate.
//!
//! The crate needs a `protoc` to build, so the client is a Cargo workspace of its own under
//! `tests/accept/etcd_client/`, built here only where a `protoc` is on PATH.

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
        let target = target().join("etcd-client");
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--locked", "--manifest-path"]);
        command.arg(script("etcd_client/Cargo.toml"));
        command.arg("--target-dir").arg(&target).stdin(Stdio::null());
        let status = command.status().expect("cargo runs");
        assert!(status.success(), "the client does not build");
        target.join("debug/accept-etcd-client")
    })
}

fn assert_round(size: usize, steps: &[&str]) {
    if accept::find_client("protoc").is_some() {
        assert_steps(Command::new(client()), &mut Cluster::start(size), steps);
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
