//! The etcd that is right by definition: where it is found, and how both servers are started.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::accept::{Cluster, Options, skip};

/// The oldest etcd that behaves as the one Quorate answers to.
const OLDEST: (u32, u32) = (3, 7);

/// The judge, or nothing after saying loudly that there is none.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("QUORATE_COMPAT_ETCD") {
        return Some(named.into());
    }
    let dirs = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&dirs).map(|dir| dir.join("etcd"));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judge/etcd");
    let found = on_path.chain([built]).find(|path| path.is_file() && is_new_enough(path));
    if found.is_none() {
        skip("no etcd 3.7 or later: build io-tokio/tests/judge");
    }
    found
}

fn is_new_enough(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().find_map(|line| line.strip_prefix("etcd Version: "));
    let mut numbers = version.unwrap_or_default().split('.').map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST,
        _ => false,
    }
}

/// Judge and Quorate, in this order, started with the same flags and serving. As for all tests of
/// processes, `QUORATE_ACCEPT_SERVER` names another server in Quorate's place.
pub(crate) fn start_both(judge: &Path, flags: &[String]) -> [Cluster; 2] {
    let options = Options { flags: flags.to_vec() };
    let mut both = [Cluster::prepare(1, &options), Cluster::prepare(1, &options)];
    both[0].members[0].program = judge.to_owned();
    both.iter_mut().for_each(|cluster| cluster.members[0].spawn());
    both.iter_mut().for_each(|cluster| cluster.members[0].wait_until_ready());
    both
}

/// A message in the text form of Go's protobuf, which doubles the spaces between fields in some
/// builds of one program and not in others.
pub(crate) fn level_spaces(text: &str) -> String {
    text.replace("  ", " ")
}

/// Ends both as a power cut would and starts them again.
pub(crate) fn restart_both(both: &mut [Cluster; 2]) {
    both.iter_mut().for_each(|cluster| cluster.members[0].kill());
    both.iter_mut().for_each(|cluster| cluster.members[0].spawn());
    both.iter_mut().for_each(|cluster| cluster.members[0].wait_until_ready());
}
