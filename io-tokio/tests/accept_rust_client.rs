//! The `etcd-client` crate against one member.
//!
//! The crate needs a `protoc` to build, so the client is a Cargo workspace of its own under
//! `tests/accept/etcd_client/`, built here only where a `protoc` is on PATH.

mod accept;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use accept::Cluster;

const STEPS: &str = "puts_and_gets\ntransactions\nwatches\nleases\ndeletes_and_compaction\n";

fn build_client() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = package.parent().expect("a workspace").join("target/etcd-client");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--locked", "--manifest-path"]);
    command.arg(package.join("tests/accept/etcd_client/Cargo.toml"));
    command.arg("--target-dir").arg(&target).stdin(Stdio::null());
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "the client does not build");
    target.join("debug/accept-etcd-client")
}

#[test]
fn a_round_of_the_etcd_client_crate() {
    if accept::find_client("protoc").is_none() {
        return;
    }
    let program = build_client();
    let cluster = Cluster::start(1);
    let output = Command::new(program).arg(cluster.members[0].url()).output().expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), STEPS, "{complaint}");
    assert!(output.status.success(), "{complaint}");
}
