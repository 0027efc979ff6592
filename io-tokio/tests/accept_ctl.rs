//! `quorate ctl` beside etcdctl 3.7: the same command lines, the same servers, the same output.
//!
//! ```text
//! QUORATE_COMPAT_ETCDCTL=path   compare with this etcdctl; else target/judge/etcdctl
//! ```
//!
//! Ours is called by the name `etcdctl`: what both say of themselves is then the same as well.

mod accept;

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use accept::ctl::find_newest;
use accept::following::Following;
use accept::lines::{self, Line, Names};
use accept::pki::Authority;
use accept::secured::{Pki, flag, shown};
use accept::{Cluster, Options, skip};
use rustix::process::Signal;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
/// How many lines there are at least.
const LINES_MIN: usize = 150;

/// A tool, and the cluster it works on.
struct Side {
    program: PathBuf,
    cluster: Cluster,
    lease: String,
    member: String,
    names: Names,
    /// Where certificates are, if the cluster wants some.
    pki: Option<Pki>,
    /// Where ours has its other name.
    _dir: TempDir,
}

impl Side {
    /// A tool on a cluster of so many members of this server, or of ours.
    fn new(tool: Option<&Path>, size: usize, server: Option<&Path>) -> Self {
        Self::open(tool, size, server, None)
    }

    /// The same behind TLS, as a client whose certificate names a user that may do everything.
    fn secured(tool: Option<&Path>, size: usize, server: Option<&Path>) -> Self {
        let side = Self::open(tool, size, server, Some(Pki::new()));
        side.run(&["user", "add", "root:root"]);
        side.run(&["user", "grant-role", "root", "root"]);
        side.run(&["auth", "enable"]);
        side
    }

    fn open(tool: Option<&Path>, size: usize, server: Option<&Path>, pki: Option<Pki>) -> Self {
        let mut flags = pki.as_ref().map_or_else(Vec::new, Pki::flags);
        // A slow machine must not take longer over a password than a tool waits.
        flags.push("--bcrypt-cost=4".to_owned());
        let mut cluster = Cluster::prepare(size, &Options { flags });
        for member in &mut cluster.members {
            if let Some(server) = server {
                member.program = server.to_owned();
            }
            member.spawn();
        }
        cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
        let dir = TempDir::new().expect("a temporary directory");
        let program = match tool {
            Some(tool) => tool.to_owned(),
            None => {
                let named = dir.path().join("etcdctl");
                std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_quorate"), &named).expect("a link");
                named
            }
        };
        let (lease, member) = ("0".to_owned(), String::new());
        let names = Names::new();
        let mut side = Self { program, cluster, lease, member, names, pki, _dir: dir };
        side.learn();
        side
    }

    /// Finds out what things are called that differ between runs.
    fn learn(&mut self) {
        let listed = self.output(&["member", "list", "-w", "json", "--hex"]);
        let answer: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("an id").to_owned();
        self.member = text(&answer["members"][0]["ID"]);
        let mut name = |id: String, meaning| {
            let number = u64::from_str_radix(&id, 16).expect("an id in hexadecimal");
            self.names.extend([(id, meaning), (number.to_string(), meaning)]);
        };
        name(text(&answer["header"]["cluster_id"]), "CLUSTER");
        for member in answer["members"].as_array().expect("members") {
            name(text(&member["ID"]), "MEMBER");
        }
        for member in &self.cluster.members {
            self.names.insert(member.client.to_string(), "CLIENT");
            self.names.insert(member.peer.to_string(), "PEER");
        }
        self.names.insert(self.cluster.dir().display().to_string(), "DIR");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let foreign = env::vars_os()
            .filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("ETCDCTL_")));
        foreign.for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.env("ETCDCTL_ENDPOINTS", self.cluster.members[0].client.to_string());
        if let Some(pki) = &self.pki {
            command.envs(shown(&pki.authority.cert(), &pki.client));
        }
        command
    }

    /// The same with words, which may say which endpoints.
    fn command_of(&self, words: &[&str]) -> Command {
        let mut command = self.command();
        if words.iter().any(|word| word.starts_with("--endpoints")) {
            command.env_remove("ETCDCTL_ENDPOINTS");
        }
        command.args(words);
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command_of(words).stdin(Stdio::null()).output().expect("the tool runs")
    }

    /// What it prints when it succeeds.
    fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?} failed: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn follow(&self, words: &[&str]) -> Following {
        Following::start(self.command_of(words))
    }

    /// Runs a line of the table.
    fn take(&mut self, line: &Line) -> lines::Shown {
        let mut command = self.command();
        let endpoint = self.cluster.members[0].client.to_string();
        let dir = self.cluster.dir().display().to_string();
        let given = [
            ("$lease", &self.lease),
            ("$member", &self.member),
            ("$endpoint", &endpoint),
            ("$dir", &dir),
        ];
        for word in &line.words {
            let text = String::from_utf8_lossy(word);
            if text.starts_with("--endpoints") {
                command.env_remove("ETCDCTL_ENDPOINTS");
            }
            let word = match text.contains('$') && !text.contains("$ETCD") {
                true => given
                    .iter()
                    .fold(text.into_owned(), |text, (name, value)| text.replace(name, value))
                    .into(),
                false => OsString::from_vec(word.clone()),
            };
            command.arg(word);
        }
        command.envs(line.env.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tool runs");
        // Whoever fails early does not read it.
        let _ = child.stdin.take().expect("a piped stdin").write_all(&line.typed);
        let output = child.wait_with_output().expect("our own child");
        if line.text.starts_with("lease grant") {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let granted = text.strip_prefix("lease ").and_then(|text| text.split(' ').next());
            self.lease = granted.map_or(std::mem::take(&mut self.lease), str::to_owned);
        }
        line.shown(&output, &self.names)
    }
}

/// A kind of sides.
type Open = fn(Option<&Path>, usize, Option<&Path>) -> Side;

/// Runs the whole table with both tools on servers of this kind.
fn compare(server: Option<&Path>, open: Open) {
    let Some(etcdctl) = find_newest() else { return };
    let table = lines::parse(include_str!("accept/ctl.txt"));
    assert!(table.len() >= LINES_MIN);
    let mut theirs = open(Some(&etcdctl), 1, server);
    let mut ours = open(None, 1, server);
    let mut different = Vec::new();
    for line in &table {
        let (expected, got) = (theirs.take(line), ours.take(line));
        if expected != got {
            different.push(format!("{}\n  etcdctl: {expected:?}\n  ours:    {got:?}", line.text));
        }
    }
    let (count, all) = (different.len(), table.len());
    assert!(different.is_empty(), "{count} of {all} differ:\n{}", different.join("\n"));
    eprintln!("{all} command lines, the same output");
}

#[test]
fn every_command_line_prints_what_etcdctl_prints() {
    compare(None, Side::new);
}

#[test]
fn every_command_line_prints_what_etcdctl_prints_by_tls_with_users() {
    compare(None, Side::secured);
}

#[test]
fn every_command_line_prints_what_etcdctl_prints_of_a_real_etcd() {
    let named = env::var_os("QUORATE_COMPAT_ETCD").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judge/etcd");
    let server = named.unwrap_or(built);
    if server.is_file() {
        compare(Some(&server), Side::new);
        if !accept::is_quick() {
            compare(Some(&server), Side::secured);
        }
    } else {
        skip("no etcd 3.7 or later: build io-tokio/tests/judge");
    }
}

/// Lets both tools tell the same story, each on a cluster of its own.
fn both_tell(size: usize, story: fn(&mut Side) -> Vec<String>) {
    let mut told = story(&mut Side::new(None, size, None));
    told.iter_mut().for_each(|line| *line = line.trim_end().to_owned());
    if let Some(etcdctl) = find_newest() {
        let mut expected = story(&mut Side::new(Some(&etcdctl), size, None));
        expected.iter_mut().for_each(|line| *line = line.trim_end().to_owned());
        assert_eq!(told, expected);
    }
}

#[test]
fn a_watch_tells_events_as_they_come_and_runs_commands() {
    both_tell(1, |side| {
        let watch = side.follow(&["watch", "a", "--prefix", "--prev-kv"]);
        let run = "echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY";
        let run = format!("{run} $ETCD_WATCH_VALUE");
        let ran = side.follow(&["watch", "a", "b", "--rev=2", "--", "sh", "-c", &run]);
        let json = side.follow(&["watch", "a", "--rev=2", "-w", "json"]);
        // They may still be on their way.
        std::thread::sleep(Duration::from_secs(1));
        side.run(&["put", "a", "1"]);
        side.run(&["put", "a", "2"]);
        side.run(&["del", "a"]);
        let mut told = watch.next_lines(3 + 5 + 5);
        told.extend(ran.next_lines(4 + 4 + 4));
        told.extend(json.next_lines(3).iter().map(|line| {
            let (_, events) = line.split_once("\"Events\"").expect("events");
            events.to_owned()
        }));
        assert_eq!(told[0..3], ["PUT", "a", "1"]);
        told
    });
}

#[test]
fn a_watch_goes_on_when_its_member_comes_back() {
    both_tell(1, |side| {
        let watch = side.follow(&["watch", "a"]);
        std::thread::sleep(Duration::from_secs(1));
        side.run(&["put", "a", "1"]);
        let mut told = watch.next_lines(3);
        side.cluster.members[0].kill();
        side.cluster.members[0].start();
        // It is told of both, once, though it may not be back for the first.
        side.run(&["put", "a", "2"]);
        side.run(&["put", "a", "3"]);
        told.extend(watch.next_lines(6));
        assert_eq!(told.iter().filter(|line| line.len() == 1 && *line != "a").count(), 3);
        told
    });
}

#[test]
fn watches_can_be_typed() {
    both_tell(1, |side| {
        let mut typed = side.follow(&["watch", "-i"]);
        typed.enter("watch a --rev=2");
        std::thread::sleep(Duration::from_secs(1));
        side.run(&["put", "a", "1"]);
        let mut told = typed.next_lines(3);
        typed.enter("progress");
        told.extend(typed.next_lines(1));
        typed.enter("watch 'b c' --prefix -- echo ran");
        std::thread::sleep(Duration::from_secs(1));
        side.run(&["put", "b cd", "1"]);
        told.extend(typed.next_lines(4));
        assert_eq!(told.last().map(String::as_str), Some("ran"));
        told
    });
}

#[test]
fn a_lease_is_kept_alive_until_it_is_revoked() {
    both_tell(1, |side| {
        let granted = side.run(&["lease", "grant", "2"]);
        let id = granted.split(' ').nth(1).expect("an id").to_owned();
        let mut kept = side.follow(&["lease", "keep-alive", &id]);
        let mut told = kept.next_lines(2);
        side.run(&["lease", "revoke", &id]);
        while let Some(line) = kept.next_line(SOON) {
            // How often it was renewed until then is luck.
            if told.last() != Some(&line) {
                told.push(line);
            }
        }
        told.push(format!("{:?}", kept.wait().code()));
        told.iter().map(|line| line.replace(&id, "LEASE")).collect()
    });
}

#[test]
fn a_lock_is_held_until_a_signal_and_waited_for() {
    both_tell(1, |side| {
        let mut first = side.follow(&["lock", "l"]);
        let mut told = vec![first.next_lines(2)[0][..2].to_owned()];
        let second = side.follow(&["lock", "l", "sh", "--", "-c", "echo held; exit 3"]);
        second.assert_silent(Duration::from_millis(500));
        first.signal(Signal::TERM);
        told.push(format!("{:?}", first.wait().code()));
        let mut second = second;
        told.extend(second.next_lines(1));
        assert_eq!(second.next_line(SOON), None);
        told.push(format!("{:?}", second.wait().code()));
        told.push(side.run(&["get", "l", "--prefix"]));
        told
    });
}

#[test]
fn an_election_is_won_observed_and_resigned_from() {
    both_tell(1, |side| {
        let observer = side.follow(&["elect", "-l", "e"]);
        let mut winner = side.follow(&["elect", "e", "one"]);
        let mut told = vec![winner.next_lines(2).remove(1), observer.next_lines(2).remove(1)];
        let next = side.follow(&["elect", "e", "two"]);
        next.assert_silent(Duration::from_millis(500));
        winner.signal(Signal::INT);
        told.push(format!("{:?}", winner.wait().code()));
        told.push(next.next_lines(2).remove(1));
        told.push(observer.next_lines(2).remove(1));
        told
    });
}

#[test]
fn a_cluster_of_three_is_asked_and_led_elsewhere() {
    both_tell(3, |side| {
        let endpoints = side.cluster.endpoints();
        let sorted = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let healthy = side.run(&["endpoint", "health", "--cluster"]);
        let mut told = vec![healthy.lines().count().to_string()];
        let table = side.run(&["endpoint", "status", "--endpoints", &endpoints, "-w", "table"]);
        told.push(table.lines().count().to_string());
        let members = sorted(side.run(&["member", "list"]));
        let status = sorted(side.run(&["endpoint", "status", "--cluster"]));
        let leads = |line: &&String| line.split(", ").nth(8) == Some("true");
        let leader = status.iter().find(leads).expect("a leader").clone();
        let follower = status.iter().find(|line| !leads(line)).expect("a follower").clone();
        let id = |line: &str| line.split(", ").nth(1).expect("an id").to_owned();
        assert!(members.iter().any(|line| line.starts_with(&id(&leader))));
        // Half a second may pass until it is so.
        let moved = side.run(&["move-leader", "--endpoints", &endpoints, &id(&follower)]);
        told.push(moved.replace(&id(&leader), "A").replace(&id(&follower), "B"));
        told
    });
}

#[test]
fn a_mirror_follows_puts_and_deletions() {
    both_tell(1, |side| {
        let pki = Pki::new();
        let to = Cluster::start_with(1, &pki.options());
        let there = to.members[0].client.to_string();
        for (key, value) in [("m/a", "1"), ("m/b", "2"), ("n", "3")] {
            side.run(&["put", key, value]);
        }
        let secured = [
            flag("dest-cacert", &pki.authority.cert()),
            flag("dest-cert", &pki.client.cert),
            flag("dest-key", &pki.client.key),
        ];
        let mut flags = vec!["make-mirror", "--prefix=m/", "--dest-prefix=copy/", &there];
        flags.extend(secured.iter().map(String::as_str));
        let mirror = side.follow(&flags);
        let mut get = side.command();
        get.env("ETCDCTL_ENDPOINTS", &there).args(["get", "", "--prefix"]);
        get.envs(shown(&pki.authority.cert(), &pki.client));
        let mut wait = |expected: &str| {
            accept::assert_eventually(SOON, &expected.to_owned(), || {
                let output = get.output().expect("the tool runs");
                String::from_utf8_lossy(&output.stdout).into_owned()
            });
        };
        wait("copy/a\n1\ncopy/b\n2\n");
        side.run(&["put", "m/c", "4"]);
        side.run(&["del", "m/a"]);
        wait("copy/b\n2\ncopy/c\n4\n");
        drop(mirror);
        Vec::new()
    });
}

#[test]
fn the_next_endpoint_is_asked_when_one_is_down() {
    let side = Side::new(None, 1, None);
    let client = side.cluster.members[0].client;
    let endpoints = format!("--endpoints=127.0.0.1:1,http://{client}");
    assert_eq!(side.run(&[&endpoints, "put", "a", "1"]), "OK\n");
    let dead = ["--endpoints=127.0.0.1:1", "--command-timeout=300ms", "get", "a"];
    let output = side.output(&dead);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("connect: connection refused"), "{complaint}");
    assert!(complaint.ends_with("Error: context deadline exceeded\n"), "{complaint}");
}

/// What the log says when a server's certificate is not believed, and the other way round.
#[test]
fn certificates_that_do_not_fit_are_told() {
    let mut side = Side::secured(None, 1, None);
    let pki = side.pki.take().expect("certificates");
    let trusting = flag("cacert", &pki.authority.cert());
    let own = [flag("cert", &pki.client.cert), flag("key", &pki.client.key)];
    let stranger = Authority::new(pki.dir.path(), "stranger");
    let elsewhere = format!("--endpoints={}", side.cluster.members[0].client);
    for (flags, reason) in [
        (&[flag("cacert", &stranger.cert())][..], "signed by unknown authority"),
        (std::slice::from_ref(&trusting), "error reading server preface: "),
        (&["--insecure-transport=false".to_owned()], "signed by unknown authority"),
        (&[], "error reading server preface: "),
    ] {
        let mut words = vec!["get", "a", "--command-timeout=2s", &elsewhere];
        words.extend(flags.iter().map(String::as_str));
        let output = side.output(&words);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint.contains(reason), "{complaint}");
        assert!(complaint.ends_with("Error: context deadline exceeded\n"), "{complaint}");
    }
    for flags in [
        &[&own[..], &[trusting]].concat(),
        &[&own[..], &["--insecure-skip-tls-verify".to_owned()]].concat(),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        assert_eq!(side.run(&[&["put", "a", "1"][..], &flags].concat()), "OK\n");
    }
}

#[test]
fn the_speed_of_a_cluster_is_tried() {
    if accept::is_quick() {
        return;
    }
    let side = Side::new(None, 1, None);
    // Whether a busy machine is fast enough is not this test's.
    let output = side.output(&["check", "perf", "--auto-compact", "--auto-defrag"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["Compacted with revision", "Defragmented", "Throughput", "Slowest", "Stddev"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(side.run(&["get", "", "--prefix", "--keys-only"]), "");
}

#[test]
fn a_live_view_can_be_looked_at_once() {
    let side = Side::secured(None, 3, None);
    let text = side.run(&["top", "--once", "--interval=500ms"]);
    let (summary, table) = text.split_once('\n').expect("a line on the whole");
    assert!(summary.contains("  members 3/3  leader m"), "{text}");
    for part in ["NAME", "LAG", "WRITES/S", "WATCHES", " m0 ", " m1 ", " m2 "] {
        assert!(table.contains(part), "{text}");
    }
    assert_eq!(table.matches(" leader ").count(), 1);
    assert_eq!(side.output(&["top"]).status.code(), Some(128));
}
