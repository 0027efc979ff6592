//! A round: a client program that walks through named steps against a cluster, and asks for the
//! death of members meanwhile.
//!
//! ```text
//! it prints      we
//! keys           note a step that held
//! ? kill 0       kill member 0 as a power cut would, and answer `done` on its stdin
//! ? start 0      start member 0, wait until it serves, and answer `done`
//! ? rotate 0     replace every certificate, and answer `done`: of a load, in one test only
//! ```
//!
//! - Its arguments are the client URLs of all members, separated by commas, and the steps to walk.
//! - It ends with a complaint and a failure at the first step that does not hold.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::following::Following;
use super::{Cluster, find_client, find_optional_client, python, skip};

/// How long one step may take.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// Runs a client program and asserts that exactly these steps held, in order.
pub(crate) fn assert_steps(program: Command, cluster: &mut Cluster, steps: &[&str]) {
    assert_steps_with(program, cluster, steps, fulfil);
}

/// The same, fulfilling other wishes than those for the death and the return of members.
pub(crate) fn assert_steps_with(
    mut program: Command,
    cluster: &mut Cluster,
    steps: &[&str],
    mut fulfil: impl FnMut(&str, &mut Cluster),
) {
    program.arg(cluster.endpoints()).args(steps);
    let mut client = Following::start(program);
    let mut held = Vec::new();
    while let Some(line) = client.next_line(STEP_WITHIN) {
        if let Some(wish) = line.strip_prefix("? ") {
            fulfil(wish, cluster);
            client.enter("done");
        } else {
            held.push(line);
        }
    }
    let status = client.wait();
    let complaint = client.complaint();
    assert_eq!(held, steps, "{complaint}");
    assert!(status.success(), "{status}: {complaint}");
}

fn fulfil(wish: &str, cluster: &mut Cluster) {
    let (verb, number) = wish.split_once(' ').expect("a verb and a member");
    let member = &mut cluster.members[number.parse::<usize>().expect("the number of a member")];
    match verb {
        "kill" => member.kill(),
        "start" => member.start(),
        _ => panic!("nobody knows how to {verb}"),
    }
}

/// The workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

/// A file of the acceptance tests.
pub(crate) fn script(name: &str) -> PathBuf {
    workspace().join("io-tokio/tests/accept").join(name)
}

/// Where builds and installations of clients are kept.
pub(crate) fn target() -> PathBuf {
    workspace().join("target")
}

/// The round of the Go client, built once for all tests of a file, where there is a `go`.
pub(crate) fn go_client() -> Option<&'static PathBuf> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    find_optional_client("go")?;
    Some(CLIENT.get_or_init(|| {
        let program = target().join("accept-go/round");
        let mut command = Command::new("go");
        command.args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
        let status = command.current_dir(script("go")).stdin(Stdio::null()).status();
        assert!(status.expect("go runs").success(), "the client does not build");
        program
    }))
}

/// The round of the Rust client, likewise, where there is a `protoc`.
pub(crate) fn rust_client() -> Option<&'static PathBuf> {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    find_client("protoc")?;
    Some(CLIENT.get_or_init(|| {
        let target = target().join("etcd-client");
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--locked", "--manifest-path"]);
        command.arg(script("etcd_client/Cargo.toml"));
        command.arg("--target-dir").arg(&target).stdin(Stdio::null());
        let status = command.status().expect("cargo runs");
        assert!(status.success(), "the client does not build");
        target.join("debug/accept-etcd-client")
    }))
}

/// The round of the Node client, where there is a `node` and the client is installed.
pub(crate) fn node_client() -> Option<Command> {
    let node = find_optional_client("node")?;
    let modules = target().join("accept-node/node_modules");
    if !modules.join("etcd3").is_dir() {
        skip("etcd3 for node is not installed below target/accept-node");
        return None;
    }
    let mut program = Command::new(node);
    program.arg(script("node/round.js")).env("NODE_PATH", modules);
    Some(program)
}

/// The round of one of Python's clients, where there is a Python that has it.
pub(crate) fn python_client(client: &str) -> Option<Command> {
    let mut program = Command::new(python::find(client)?);
    program.arg(script("python").join(format!("{client}_round.py")));
    Some(program)
}
