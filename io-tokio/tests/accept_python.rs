//! The Python client `etcd3` against one member.
//!
//! It needs a Python in which `io-tokio/tests/accept/requirements.txt` is installed: the one named
//! by `QUORATE_ACCEPT_PYTHON`, or `target/accept-venv/bin/python`, or `python3`.

mod accept;

use std::path::{Path, PathBuf};
use std::process::Command;

use accept::Cluster;

const STEPS: &str = "put_and_get\nprefixes\ndeletes\ntransactions\nwatches\n\
                     a_compacted_watch_is_cancelled\nleases\nstate\n";

fn find_python() -> Option<PathBuf> {
    let named = std::env::var_os("QUORATE_ACCEPT_PYTHON").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let venv = workspace.join("target/accept-venv/bin/python");
    let candidates = named.into_iter().chain([venv, "python3".into()]);
    let has_etcd3 = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", "import etcd3"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has_etcd3);
    if found.is_none() {
        accept::skip("a python with etcd3 not found");
    }
    found
}

#[test]
fn a_round_of_the_python_client() {
    let Some(python) = find_python() else { return };
    let cluster = Cluster::start(1);
    let addr = cluster.members[0].client;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accept/round.py");
    let mut command = Command::new(python);
    command.arg(script).args([addr.ip().to_string(), addr.port().to_string()]);
    let output = command.output().expect("python runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), STEPS, "{complaint}");
    assert!(output.status.success(), "{complaint}");
}
