//! A round: a client program that walks through named steps against a cluster, and asks for the
//! death of members meanwhile.
//!
//! ```text
//! it prints      we
//! keys           note a step that held
//! ? kill 0       kill member 0 as a power cut would, and answer `done` on its stdin
//! ? start 0      start member 0, wait until it serves, and answer `done`
//! ```
//!
//! - Its arguments are the client URLs of all members, separated by commas, and the steps to walk.
//! - It ends with a complaint and a failure at the first step that does not hold.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::following::Following;
use super::{Cluster, find_optional_client};

/// How long one step may take.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// Runs a client program and asserts that exactly these steps held, in order.
pub(crate) fn assert_steps(mut program: Command, cluster: &mut Cluster, steps: &[&str]) {
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
