//! `quorate bench` against real servers, ours and etcd's: that what it reports has really happened,
//! that it refuses what it cannot do, and that a dead server is no result.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod accept;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use accept::api::Api;
use accept::secured::{Pki, flag};
use accept::{Cluster, free_addr, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a run of a few operations may take on a busy machine.
const RUN_MAX: Duration = Duration::from_secs(60);

fn bench(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("bench").args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    bench(words).output().expect("the program runs")
}

fn complaint(words: &[&str]) -> (i32, String) {
    let output = run(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it ends by itself"), said)
}

/// A server, and what the tool says of it.
struct Served {
    cluster: Cluster,
    endpoints: String,
    json: PathBuf,
}

impl Served {
    fn start(program: Option<&Path>) -> Self {
        let mut cluster = Cluster::prepare(1, &accept::Options::default());
        if let Some(program) = program {
            program.clone_into(&mut cluster.members[0].program);
        }
        cluster.members[0].start();
        let endpoints = format!("--endpoints={}", cluster.members[0].client);
        let json = cluster.dir().join("report.json");
        Self { cluster, endpoints, json }
    }

    fn revision(&self) -> i64 {
        let status = Api::new(self.cluster.members[0].client).status().unwrap();
        status.header.unwrap().revision
    }

    /// Runs a command, and reads its report.
    fn report(&self, words: &[&str]) -> Value {
        let json = flag("json", &self.json);
        let output = run(&[words, &[&self.endpoints, &json]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Requests/sec:") && text.contains("99.9% in "), "{text}");
        serde_json::from_slice(&fs::read(&self.json).unwrap()).unwrap()
    }

    /// The same, and by how much the revision rose.
    fn measure(&self, words: &[&str]) -> (Value, i64) {
        let before = self.revision();
        let report = self.report(words);
        (report, self.revision() - before)
    }
}

/// Operations of a track, none of which failed.
fn operations(report: &Value, track: &str) -> i64 {
    let tracks = report["tracks"].as_array().unwrap();
    let found = tracks.iter().find(|it| it["name"] == track).unwrap();
    assert_eq!(found["errors"], serde_json::json!({}), "{track}");
    let counted: i64 =
        found["histogram"].as_array().unwrap().iter().map(|it| it["count"].as_i64().unwrap()).sum();
    let operations = found["operations"].as_i64().unwrap();
    assert_eq!(counted, operations, "the histogram of {track}");
    operations
}

#[test]
fn every_command_does_what_it_reports_to_ours() {
    do_everything(&Served::start(None));
}

#[test]
fn every_command_does_what_it_reports_to_etcd() {
    let named = std::env::var_os("QUORATE_COMPAT_ETCD").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judge/etcd");
    let etcd = named.unwrap_or(built);
    if !etcd.is_file() {
        return skip("no etcd 3.7: build io-tokio/tests/judge");
    }
    do_everything(&Served::start(Some(&etcd)));
}

fn do_everything(served: &Served) {
    let size = ["--clients=6", "--conns=2", "--total=300"];
    let with = |words: &[&'static str]| [words, &size].concat();

    let (report, risen) = served.measure(&with(&["put", "--key-space-size=50", "--val-size=64"]));
    assert_eq!((operations(&report, "put"), risen), (300, 300));
    assert_eq!((&report["clients"], &report["connections"]), (&6.into(), &2.into()));

    let (report, risen) = served.measure(&with(&["range", "a", "--consistency=s"]));
    assert_eq!((operations(&report, "range"), risen), (300, 0));

    let (report, risen) = served.measure(&with(&["txn-put", "--txn-ops=4", "--key-space-size=10"]));
    assert_eq!((operations(&report, "txn-put"), risen), (300, 300));

    for command in ["mixed", "txn-mixed"] {
        let (report, risen) = served.measure(&with(&[command, "--rw-ratio=3"]));
        let (reads, writes) = (operations(&report, "read"), operations(&report, "write"));
        assert_eq!((reads + writes, risen), (300, writes), "{command}");
        assert!((190..260).contains(&reads), "{reads} reads of {command}");
    }

    let words = ["watch", "--streams=3", "--watch-per-stream=5", "--watched-key-total=5"];
    let (report, risen) = served.measure(&[&words[..], &["--put-total=40"]].concat());
    assert_eq!((operations(&report, "put"), risen), (40, 40));
    assert_eq!(operations(&report, "watch creation"), 15);
    assert_eq!(operations(&report, "event"), 40 * 3);

    let words = ["watch-latency", "--streams=2", "--watchers-per-stream=3", "--put-total=40"];
    let (report, risen) = served.measure(&[&words[..], &["--put-rate=400", "--prevkv"]].concat());
    assert_eq!((operations(&report, "put"), risen), (40, 40));
    assert_eq!(operations(&report, "event"), 40 * 6);

    let (report, risen) =
        served.measure(&["watch-get", "--watchers=60", "--streams=4", "--events=5"]);
    assert!(operations(&report, "get") > 0);
    assert_eq!(risen, 5);

    let (report, risen) = served.measure(&with(&["lease-keepalive"]));
    assert_eq!((operations(&report, "keep-alive"), risen), (300, 0));
}

#[test]
fn a_run_lasts_as_long_and_is_as_fast_as_was_asked_for() {
    let served = Served::start(None);
    let begun = Instant::now();
    let words = ["put", "--total=0", "--duration=1s", "--rate=100", "--clients=4"];
    let (report, risen) = served.measure(&words);
    assert!((Duration::from_secs(1)..RUN_MAX).contains(&begun.elapsed()));
    let puts = operations(&report, "put");
    assert!((1..=105).contains(&puts), "{puts} at 100 a second");
    // What ended after the end is done all the same.
    assert!((puts..=puts + 4).contains(&risen), "{risen} and {puts}");
    assert_eq!(report["interrupted"], false);
}

#[test]
fn an_interrupt_ends_a_run_and_not_its_report() {
    let served = Served::start(None);
    let svg = served.cluster.dir().join("report.svg");
    let (json, picture) = (flag("json", &served.json), flag("svg", &svg));
    let words = ["put", "--total=0", &served.endpoints, &json, &picture];
    let mut command = bench(&words);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    accept::wait_for(RUN_MAX, "puts", || served.revision() > 20);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("\nInterrupted:") && text.contains("Latency distribution:"), "{text}");
    let report: Value = serde_json::from_slice(&fs::read(&served.json).unwrap()).unwrap();
    assert_eq!(report["interrupted"], true);
    let puts = operations(&report, "put");
    // The one under way was given up, or its answer was.
    assert!((puts..=puts + 1).contains(&(served.revision() - 1)), "{puts} puts");
    assert!(fs::read_to_string(&svg).unwrap().starts_with("<svg"));
}

#[test]
fn a_server_that_dies_and_comes_back_is_counted_and_gone_on_with() {
    let mut served = Served::start(None);
    let json = flag("json", &served.json);
    // Some clients wait for their turn when the connection breaks, and learn of it later.
    let words = ["put", "--total=0", "--duration=12s", "--clients=8", "--rate=60"];
    let child = bench(&[&words[..], &[&served.endpoints, &json]].concat());
    let child = { child }.stdout(Stdio::null()).spawn().unwrap();
    accept::wait_for(RUN_MAX, "puts", || served.revision() > 20);
    served.cluster.members[0].kill();
    served.cluster.members[0].start();
    let at_start = served.revision();
    assert!(child.wait_with_output().unwrap().status.success());
    let report: Value = serde_json::from_slice(&fs::read(&served.json).unwrap()).unwrap();
    let track = &report["tracks"][0];
    assert!(!track["errors"].as_object().unwrap().is_empty());
    assert!(served.revision() > at_start, "{report:#}");
    // A client that stays on the broken connection would take most turns, and fail each.
    let course = track["course"].as_array().unwrap();
    let last_whole = course[course.len() - 2]["operations"].as_u64().unwrap();
    assert!(last_whole >= 30, "{last_whole} puts of 60 in the last second: {report:#}");
}

#[test]
fn wrong_words_are_refused_before_anything_is_asked() {
    let nobody = format!("--endpoints={}", free_addr());
    for (words, told) in [
        (&["put", "--nope"][..], "unknown flag: --nope"),
        (&["put", "--clients=x"], "invalid argument \"x\" for \"--clients\" flag"),
        (&["put", "--clients=0"], "--clients is at least 1"),
        (&["put", "--key-size=1", "--key-space-size=1000"], "1000 keys need at least 2 bytes"),
        (&["put", "a"], "a is no flag"),
        (&["range"], "range takes a key and at most an end"),
        (&["range", "a", "--consistency=x"], "--consistency is l or s, not x"),
        (&["txn-put", "--txn-ops=2"], "--txn-ops is at most --key-space-size"),
        (&["mixed", "--rw-ratio=-1"], "-1 is no ratio"),
        (&["mixed", "--end-key=z"], "unknown flag: --end-key"),
        (&["watch-latency", "--val-size=3"], "at least 16 bytes"),
        (&["put", "--json=/nowhere/report"], "cannot write /nowhere/report"),
        (&["nope"], "unknown command \"nope\" for \"quorate bench\""),
    ] {
        let (code, said) = complaint(&[words, &[&nobody]].concat());
        assert!(code != 0 && said.contains(told), "{words:?}: {code}, {said}");
    }
}

#[test]
fn a_dead_server_is_told_and_is_no_result() {
    let nobody = free_addr().to_string();
    for command in ["put", "watch", "watch-get", "lease-keepalive"] {
        let (code, said) = complaint(&[command, "--endpoints", &nobody]);
        assert_eq!(code, 2, "{said}");
        let told = format!("Error: {nobody}: connection error:");
        assert!(said.starts_with(&told) && said.contains("connection refused"), "{said}");
    }
}

#[test]
fn tls_and_passwords_are_those_of_ctl() {
    let pki = Pki::new();
    let mut options = pki.options();
    options.flags.push("--bcrypt-cost=4".into());
    let cluster = Cluster::start_with(1, &options);
    let shown = [
        format!("--endpoints={}", cluster.endpoints()),
        flag("cacert", &pki.authority.cert()),
        flag("cert", &pki.client.cert),
        flag("key", &pki.client.key),
    ];
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    let ctl = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let output = command.arg("ctl").args(words).args(&shown).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    ctl(&["user", "add", "root:rpw"]);
    ctl(&["user", "add", "low:lpw"]);
    ctl(&["user", "grant-role", "root", "root"]);
    ctl(&["auth", "enable"]);

    let put = |more: &[&str]| run(&[&["put", "--total=30"], &shown[..], more].concat());
    let output = put(&["--user=root:rpw"]);
    assert!(output.status.success(), "{output:?}");
    let output = put(&["--user=low:lpw"]);
    assert_eq!(output.status.code(), Some(1), "nothing succeeded");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("[30]\tetcdserver: permission denied"), "{text}");
    let output = put(&["--user=root:wrong"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("authentication failed, invalid user ID or password"), "{said}");
    let stranger = ["put", "--total=1", shown[0], shown[1]];
    let (code, said) = complaint(&stranger);
    assert_eq!(code, 2, "{said}");
}
