//! The operator's pages in `docs/`: every command they show is run, and prints what they show; and
//! `docs/compatibility.md` says what the tests beside this one compare.
//!
//! Of a page all blocks marked `console` are one session in a shell. Lines that begin with `$` are
//! entered, the lines below must be among what is printed; `...` stands for anything. Addresses and
//! places are replaced by free ones.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod accept;
#[path = "compat/judge.rs"]
#[allow(dead_code, reason = "only the judge's place is asked for")]
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use accept::round::workspace;
use accept::{free_addr, program};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// What is printed between two commands, before the number of the second.
const MARK: &str = "=== command ";

/// A command and what must be printed.
struct Entered {
    command: String,
    printed: Vec<String>,
}

/// The session of a page.
fn session(page: &str) -> Vec<Entered> {
    let mut session: Vec<Entered> = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            session.push(Entered { command: command.to_owned(), printed: Vec::new() });
        } else if is_console {
            session.last_mut().unwrap().printed.push(line.to_owned());
        }
    }
    session
}

/// The page with addresses that are free here.
fn on_free_ports(page: &str) -> String {
    const HOST: &str = "127.0.0.1:";
    let mut free: BTreeMap<String, String> = BTreeMap::new();
    let (mut rest, mut replaced) = (page, String::new());
    while let Some((before, after)) = rest.split_once(HOST) {
        let digits = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
        let (port, after) = after.split_at(digits);
        let port = free.entry(port.to_owned()).or_insert_with(|| free_addr().port().to_string());
        replaced = replaced + before + HOST + port;
        rest = after;
    }
    replaced + rest
}

/// Whether a printed line is the expected one, of which `...` is anything.
fn is_like(printed: &str, expected: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = printed.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    is_open || rest.is_empty()
}

/// A place with the programs by the names the page has for them.
fn place(programs: &[(&str, &Path)]) -> TempDir {
    let dir = TempDir::with_prefix("guide").unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, program) in programs {
        symlink(program, bin.join(name)).unwrap();
    }
    fs::create_dir(dir.path().join("work")).unwrap();
    dir
}

/// Runs the session of a page; fails at the first command that fails or prints something else.
fn follow(page: &str, programs: &[(&str, &Path)]) {
    let text = fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let session = session(&on_free_ports(&text));
    assert!(!session.is_empty(), "{page} shows no commands");
    let mut script = "set -eu\n".to_owned();
    for (number, entered) in session.iter().enumerate() {
        writeln!(script, "echo '{MARK}{number}'\n{}", entered.command).unwrap();
    }
    let dir = place(programs);
    let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").unwrap());
    let shell = Command::new("timeout")
        .args(["--foreground", "240", "bash", "-c", &script])
        .current_dir(dir.path().join("work"))
        .env("PATH", path)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(fs::File::create(dir.path().join("out")).unwrap())
        .stderr(fs::File::create(dir.path().join("err")).unwrap())
        .spawn();
    let mut shell = shell.unwrap();
    let group = Pid::from_child(&shell);
    let status = shell.wait().unwrap();
    // Members it has left behind.
    let _ = kill_process_group(group, Signal::KILL);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (out, err) = (read("out"), read("err"));
    assert!(status.success(), "{page}: {status}\n{out}\n{err}");
    let parts: Vec<&str> = out.split(MARK).skip(1).collect();
    assert_eq!(parts.len(), session.len(), "{page}\n{out}");
    for (entered, part) in session.iter().zip(parts) {
        for expected in &entered.printed {
            let is_printed = part.lines().any(|line| is_like(line, expected));
            assert!(is_printed, "{page}: {}\n{expected:?} is not in\n{part}", entered.command);
        }
    }
}

#[test]
fn install() {
    follow("install.md", &[("quorate", &program())]);
}

#[test]
fn cluster() {
    follow("cluster.md", &[("quorate", &program())]);
}

#[test]
fn upgrade() {
    follow("upgrade.md", &[("quorate", &program())]);
}

#[test]
fn tuning() {
    follow("tuning.md", &[("quorate", &program())]);
}

#[test]
fn failures() {
    follow("failures.md", &[("quorate", &program())]);
}

#[test]
fn migration() {
    let Some(etcd) = judge::find() else { return };
    let etcdutl = etcd.with_file_name("etcdutl");
    if !etcdutl.is_file() {
        accept::skip("no etcdutl beside the etcd to compare with");
        return;
    }
    let programs = [("quorate", &*program()), ("etcd", &*etcd), ("etcdutl", &*etcdutl)];
    follow("migration.md", &programs);
}

#[test]
fn expected_lines_may_have_gaps() {
    let cases = [
        ("OK", "OK", true),
        ("OKAY", "OK", false),
        ("Member 12 promoted in cluster 7", "Member ... promoted in cluster ...", true),
        ("Member 12 added to cluster 7", "Member ... promoted in cluster ...", false),
        ("x ends", "... ends", true),
        ("x ends not", "... ends", false),
    ];
    for (printed, expected, is_alike) in cases {
        assert_eq!(is_like(printed, expected), is_alike, "{printed} {expected}");
    }
}

/// Where a version stands in a file: behind these words, up to one of these letters.
fn version_in(file: &str, before: &str) -> String {
    let path = workspace().join("io-tokio/tests/accept").join(file);
    let text = fs::read_to_string(path).unwrap();
    let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("{file}: {before}"));
    let is_end = |letter: char| letter.is_whitespace() || letter == '"';
    after.split(is_end).next().unwrap().to_owned()
}

/// Situations of rights that are asked about each call, by service.
fn situations() -> BTreeMap<&'static str, BTreeMap<&'static str, usize>> {
    let mut all: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
    let mut call = None;
    for line in include_str!("auth_matrix/rows.txt").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            call = name.split_once('/');
        } else if !line.is_empty() && !line.starts_with('#') && !line.starts_with("before ") {
            let (service, method) = call.unwrap();
            *all.entry(service).or_default().entry(method).or_default() += 1;
        }
    }
    all
}

/// Lines of a text that begin so, and the different words behind.
fn count(text: &str, start: &str) -> (usize, usize) {
    let asked: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(start)).collect();
    let first = |line: &&str| line.split(' ').next().unwrap_or_default().to_owned();
    (asked.len(), asked.iter().map(first).collect::<BTreeSet<_>>().len())
}

const INTRODUCTION: &str = "\
# Compatibility

What is compared with a real etcd 3.7.1, or with clients that others wrote, each time the tests
run. This page is written by `io-tokio/tests/accept_guides.rs`, which fails when it is stale; what
is known to differ stands in [differences.md](differences.md).

## Calls

Requests of each call that are put to both in the name of fourteen callers with simple tokens,
and of sixteen with signed ones: without a token, with a wrong, an old and an expired one, and with
every shape of rights. Beside them random requests (`compat_random.rs`) compare whole answers.

| Service | Calls, and how many requests of each |
|---|---|
";

fn table() -> String {
    let mut table = INTRODUCTION.to_owned();
    for (service, calls) in situations() {
        let calls: Vec<String> =
            calls.iter().map(|(call, count)| format!("{call} {count}")).collect();
        writeln!(table, "| {service} | {} |", calls.join(", ")).unwrap();
    }
    let (requests, paths) = count(include_str!("accept/gateway.txt"), "> POST ");
    let ctl = include_str!("accept/ctl.txt").lines();
    let is_command = |line: &&str| !line.is_empty() && !line.starts_with(['#', '?']);
    let commands = ctl.filter(is_command).filter(|line| !line.starts_with("env ")).count();
    writeln!(
        table,
        "\n## Tools and clients\n\n| What | Compared or run |\n|---|---|\n\
         | JSON gateway | {requests} requests to {paths} paths, answers to the byte |\n\
         | etcdctl 3.7 | {commands} command lines, to it and to `quorate ctl` |\n\
         | clientv3 of Go | {} |\n| etcd-client of Rust | {} |\n| etcd3 of Node | {} |\n\
         | aetcd of Python | {} |\n| etcd3 of Python | {} |\n| etcd3gw of Python | {} |",
        version_in("go/go.mod", "go.etcd.io/etcd/client/v3 "),
        version_in("etcd_client/Cargo.toml", "etcd-client = { version = \""),
        version_in("node/package.json", "\"etcd3\": \""),
        version_in("python/requirements.txt", "aetcd=="),
        version_in("python/requirements-etcd3.txt", "etcd3=="),
        version_in("python/requirements.txt", "etcd3gw=="),
    )
    .unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.lines().filter(|line| line.trim_start().starts_with("--")).count();
    let silent = fs::read_to_string(workspace().join("docs/flags.md")).unwrap();
    let silent = silent.lines().filter(|line| line.starts_with("| `--")).count();
    writeln!(
        table,
        "\n## Flags\n\n`quorate --help` lists {flags}; {silent} of etcd's flags are accepted and \
         change nothing ([why](flags.md)).",
    )
    .unwrap();
    table
}

/// `QUORATE_WRITE_TABLE=1` writes it anew.
#[test]
fn the_table_of_compatibility_is_what_is_tested() {
    let path = workspace().join("docs/compatibility.md");
    if std::env::var_os("QUORATE_WRITE_TABLE").is_some() {
        fs::write(&path, table()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), table());
}
