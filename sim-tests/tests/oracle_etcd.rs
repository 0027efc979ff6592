//! The model and the linearizability checker against a real etcd, where one is installed: clients
//! race on a few keys through `etcdctl`, a watch from revision 1 tells the truth, and the checker
//! must find nothing to object to, until the history is spoilt.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use quorate_core::draw::{draw, draw_below};
use quorate_proto::etcdserverpb::{
    self as pb, compare::TargetUnion, range_request, request_op::Request,
};
use quorate_sim_tests::history::{
    Call, Changes, History, Operation, Outcome, Reply, Truth, read, write,
};
use quorate_sim_tests::model::Settings;
use quorate_sim_tests::oracle::linear;

const CLIENTS: u64 = 3;
const CALLS: u64 = 20;
const KEYS: [&str; 4] = ["a", "ab", "b", "c"];

/// A server of its own, killed when it goes out of scope.
struct Etcd {
    child: Child,
    endpoint: String,
    started: Instant,
    calls: AtomicU64,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Etcd {
    fn start() -> Self {
        let port = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
            listener.local_addr().expect("it is bound").port()
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle-etcd");
        let _ = std::fs::remove_dir_all(&folder);
        let (endpoint, peer) =
            (format!("http://127.0.0.1:{}", port()), format!("http://127.0.0.1:{}", port()));
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(&folder)
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed");
        let etcd = Self { child, endpoint, started: Instant::now(), calls: AtomicU64::new(0) };
        while etcd.ctl(&["get", "a"], "").is_none() {
            assert!(etcd.started.elapsed() < Duration::from_secs(30), "etcd does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        etcd
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).expect("not for centuries")
    }

    /// Runs `etcdctl`; what it printed in protobuf, if it succeeded.
    fn ctl(&self, arguments: &[&str], input: &str) -> Option<Vec<u8>> {
        let mut child = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint, "-w", "protobuf"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcdctl is installed");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("etcdctl reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it is our child");
        output.status.success().then_some(output.stdout)
    }

    /// One call, timed.
    fn call(&self, client: u64, (call, arguments, input): (Call, Vec<&str>, String)) -> Operation {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let called = self.now();
        let printed = self.ctl(&arguments, &input).expect("etcd answers");
        let returned = Some(self.now());
        let reply = Reply::parse(call.name(), &printed).expect("etcdctl prints the reply");
        Operation { id, client, member: 0, called, returned, call, outcome: Outcome::Ok(reply) }
    }

    /// Every change so far, from a watch of all keys.
    fn changes(&self, newest: i64) -> Vec<Changes> {
        let mut watch = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint, "-w", "protobuf"])
            .args(["watch", "--rev", "1", "--prefix", ""])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcdctl is installed");
        std::thread::sleep(Duration::from_secs(2));
        watch.kill().expect("it is our child");
        let printed = watch.wait_with_output().expect("it is our child").stdout;
        // Messages one after another are one message, by protobuf's rules.
        let told = pb::WatchResponse::decode(printed.as_slice()).expect("etcdctl prints frames");
        let revision = |event: &quorate_proto::mvccpb::Event| {
            event.kv.as_ref().expect("every event has a key").mod_revision
        };
        let of_revision = |events: &[quorate_proto::mvccpb::Event]| Changes {
            revision: revision(&events[0]),
            events: events.to_vec(),
        };
        let changes = told.events.chunk_by(|a, b| revision(a) == revision(b)).map(of_revision);
        let changes: Vec<Changes> = changes.collect();
        assert_eq!(changes.last().map(|it| it.revision), Some(newest));
        changes
    }
}

/// The `n`th call of a client: what it means, how to say it to `etcdctl`, and its input.
fn random_call(client: u64, n: u64) -> (Call, Vec<&'static str>, String) {
    let lot = |domain: u64, bound: u64| draw_below(bound, draw(11, domain, client, n));
    let key = KEYS[lot(1, 4) as usize];
    let value = format!("{client}-{n}");
    let range = pb::RangeRequest { key: key.into(), ..Default::default() };
    match lot(2, 8) {
        0 | 1 => put(key, value),
        2 => {
            let delete =
                pb::DeleteRangeRequest { key: key.into(), range_end: after(key), prev_kv: true };
            (Call::DeleteRange(delete), vec!["del", "--prefix", "--prev-kv", key], String::new())
        }
        3 => (Call::Range(range), vec!["get", key], String::new()),
        4 => {
            let range = pb::RangeRequest {
                range_end: after(key),
                limit: 1,
                sort_order: range_request::SortOrder::Descend as i32,
                sort_target: range_request::SortTarget::Mod as i32,
                ..range
            };
            let words = "get --prefix --limit 1 --order DESCEND --sort-by MODIFY";
            (Call::Range(range), words.split(' ').chain([key]).collect(), String::new())
        }
        5 => {
            let range = pb::RangeRequest { range_end: after(key), keys_only: true, ..range };
            (Call::Range(range), vec!["get", "--prefix", "--keys-only", key], String::new())
        }
        _ => swap(key, &value),
    }
}

fn put(key: &'static str, value: String) -> (Call, Vec<&'static str>, String) {
    let put = pb::PutRequest {
        key: key.into(),
        value: value.clone().into(),
        prev_kv: true,
        ..Default::default()
    };
    (Call::Put(put), vec!["put", "--prev-kv", key], value)
}

/// If the key was changed at most twice, put it and read all; else delete it.
fn swap(key: &'static str, value: &str) -> (Call, Vec<&'static str>, String) {
    let op = |request| pb::RequestOp { request: Some(request) };
    let put =
        pb::PutRequest { key: key.into(), value: value.to_owned().into(), ..Default::default() };
    let all = pb::RangeRequest { key: "a".into(), range_end: "z".into(), ..Default::default() };
    let delete = pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Less as i32,
        target: pb::compare::CompareTarget::Version as i32,
        key: key.into(),
        target_union: Some(TargetUnion::Version(3)),
        ..Default::default()
    };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestPut(put)), op(Request::RequestRange(all))],
        failure: vec![op(Request::RequestDeleteRange(delete))],
    };
    let input = format!("ver(\"{key}\") < \"3\"\n\nput {key} {value}\nget a z\n\ndel {key}\n\n");
    (Call::Txn(txn), vec!["txn"], input)
}

/// The end of the prefix range of a key.
fn after(key: &str) -> bytes::Bytes {
    let mut end = key.as_bytes().to_vec();
    *end.last_mut().expect("keys are not empty") += 1;
    end.into()
}

fn record(etcd: &Etcd) -> History {
    let client = |number| {
        move || -> Vec<Operation> {
            (0..CALLS).map(|n| etcd.call(number, random_call(number, n))).collect()
        }
    };
    let operations = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(client(number))).collect();
        clients.into_iter().flat_map(|it| it.join().expect("clients do not panic")).collect()
    });
    let last = etcd.call(CLIENTS, put("c", "end".to_owned()));
    let Outcome::Ok(reply) = &last.outcome else { panic!("etcd answers") };
    let truth = Truth::Changes(etcd.changes(reply.revision()));
    let mut history = History { operations, watched: Vec::new(), truth };
    history.operations.push(last);
    history
}

#[test]
fn a_real_etcd_is_what_the_model_says() {
    if Command::new("etcd").arg("--version").output().is_err() {
        eprintln!("no etcd is installed: nothing to compare with");
        return;
    }
    let history = record(&Etcd::start());
    let mut text = Vec::new();
    write(&history, &mut text).expect("memory takes it");
    assert_eq!(read(text.as_slice()).expect("what was written"), history);
    assert_eq!(linear::check(&history, Settings::default()), Ok(()));

    let mut forgotten = history.clone();
    forgotten.operations.retain(|it| !matches!(it.call, Call::Put(_)));
    let violation = linear::check(&forgotten, Settings::default()).expect_err("puts are missing");
    assert!(violation.what.starts_with("nobody made revision"), "{}", violation.what);

    // Puts nobody was answered for are found again by what they changed.
    let mut unanswered = history;
    for operation in &mut unanswered.operations {
        if matches!(operation.call, Call::Put(_)) {
            operation.outcome = Outcome::Unknown;
        }
    }
    assert_eq!(linear::check(&unanswered, Settings::default()), Ok(()));
}
