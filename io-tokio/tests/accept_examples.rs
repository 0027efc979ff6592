//! Every example of `docs/examples/`, run as its users run it, and what can be seen of it.
//!
//! All but one share a member and run at once, each with keys of its own.

mod accept;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use accept::ctl::Ctl;
use accept::following::Following;
use accept::round::workspace;
use accept::{Cluster, assert_eventually, python};
use rustix::process::Signal;

/// How long silence must last to count.
const SILENCE: Duration = Duration::from_millis(800);
/// The time to live of a session in the examples.
const SESSION: Duration = Duration::from_secs(5);
/// The time to live that the examples in shell are given, in seconds and as a duration.
const LEASE: &str = "9";
const LEASE_TTL: Duration = Duration::from_secs(9);
/// How much later than its time to live a lease may be noticed to have ended.
const LATE: Duration = Duration::from_secs(3);
/// How long a program may take to start or to end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be seen of an example.
type Example = fn(&Stage);

/// Runs examples against one cluster.
struct Stage {
    cluster: Cluster,
    ctl: Ctl,
    python: PathBuf,
}

impl Stage {
    /// Nothing where a client is absent.
    fn set() -> Option<Self> {
        let python = python::find("aetcd")?;
        accept::find_client("etcdctl")?;
        let cluster = Cluster::start(1);
        let ctl = Ctl::find(&cluster)?;
        Some(Self { cluster, ctl, python })
    }

    /// Starts an example.
    fn start(&self, name: &str, args: &[&str]) -> Following {
        let path = workspace().join("docs/examples").join(name);
        let mut command = if name.ends_with(".py") {
            // Whoever runs this behind a shell's `&` ignores interrupts, and Python would as well.
            let mut command = Command::new("env");
            command.arg("--default-signal=INT").arg(&self.python).arg("-B").arg(path);
            command
        } else {
            Command::new(path)
        };
        command.args(args).env("ETCDCTL_ENDPOINTS", self.cluster.endpoints());
        Following::start(command)
    }

    /// Waits until so many keys are below a prefix.
    fn wait_for_count(&self, prefix: &str, count: i64) {
        assert_eventually(SESSION + LATE, &count, || {
            let answer = self.ctl.json(&["get", "--prefix", "--keys-only", prefix]);
            answer["count"].as_i64().unwrap_or(0)
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cluster.dir().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Reads up to this line, which must come in time; what came before it.
fn read_until(example: &Following, line: &str, within: Duration) -> Vec<String> {
    let deadline = Instant::now() + within;
    let mut before = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match example.next_line(left) {
            Some(next) if next == line => return before,
            Some(next) => before.push(next),
            None => panic!("it ended before {line:?}: {before:?}; {}", example.complaint()),
        }
    }
}

/// Asserts that these are the next lines.
fn assert_lines(example: &Following, lines: &[&str]) {
    assert_eq!(example.next_lines(lines.len()), lines);
}

/// Asserts that it prints no more and succeeds.
fn assert_success(mut example: Following) {
    assert_eq!(example.next_line(PATIENCE), None);
    assert!(example.wait().success(), "{}", example.complaint());
}

#[test]
fn the_examples_do_what_they_say() {
    let Some(stage) = &Stage::set() else { return };
    let examples: [(&str, Example); 10] = [
        ("service discovery", service_discovery),
        ("configuration", configuration),
        ("load balancing", load_balancing),
        ("a lock in Python", lock_in_python),
        ("a lost lock", lost_lock),
        ("a lock in shell", lock_in_shell),
        ("queue", queue),
        ("barrier", barrier),
        ("leader election", leader_election),
        ("health monitoring", health_monitoring),
    ];
    std::thread::scope(|scope| {
        for (name, example) in examples {
            let thread = std::thread::Builder::new().name(name.into());
            thread.spawn_scoped(scope, move || example(stage)).expect("a thread");
        }
    });
}

fn service_discovery(stage: &Stage) {
    let clients = stage.start("service_discover.sh", &["web"]);
    let killed = stage.start("service_register.sh", &["web", "w1", "10.0.0.1:80", LEASE]);
    assert_lines(&clients, &["+ w1 10.0.0.1:80"]);
    let ended = stage.start("service_register.sh", &["web", "w2", "10.0.0.2:80", "60"]);
    assert_lines(&clients, &["+ w2 10.0.0.2:80"]);
    // It stays for longer than a lease that nobody keeps alive.
    clients.assert_silent(LEASE_TTL + SILENCE);
    let late_client = stage.start("service_discover.sh", &["web"]);
    assert_lines(&late_client, &["+ w1 10.0.0.1:80", "+ w2 10.0.0.2:80"]);
    killed.signal(Signal::KILL);
    assert!(read_until(&clients, "- w1", LEASE_TTL + LATE).is_empty());
    ended.signal(Signal::TERM);
    assert!(read_until(&clients, "- w2", PATIENCE).is_empty());
    assert_lines(&late_client, &["- w1", "- w2"]);
    assert_success(ended);
}

fn configuration(stage: &Stage) {
    let files = ["reader0.conf", "reader1.conf", "reader2.conf"].map(|name| stage.path(name));
    let start = |file: &PathBuf| {
        stage.start("config_follow.sh", &["shop", text(file), "wc", "-l", text(file)])
    };
    let readers = files.each_ref().map(start);
    for (reader, file) in readers.iter().zip(&files) {
        assert!(reader.next_lines(1)[0].starts_with("revision "));
        assert_lines(reader, &[&format!("0 {}", file.display())]);
    }
    let publish = |settings: &[&str]| {
        let args = [&["shop"], settings].concat();
        let publisher = stage.start("config_publish.sh", &args);
        assert_lines(&publisher, &["SUCCESS", "", "OK"]);
    };
    // Each reader is told once, and finds all that was written at once.
    for (settings, content) in [
        (&["db=10.0.0.3", "name=a b"][..], "db=10.0.0.3\nname=a b\n"),
        (&["db=10.0.0.4", "pool=20"][..], "db=10.0.0.4\nname=a b\npool=20\n"),
    ] {
        publish(settings);
        let count = content.lines().count();
        for (reader, file) in readers.iter().zip(&files) {
            assert!(reader.next_lines(1)[0].starts_with("revision "));
            assert_lines(reader, &[&format!("{count} {}", file.display())]);
            assert_eq!(fs::read_to_string(file).expect("a file"), content);
        }
    }
    for reader in &readers {
        reader.assert_silent(SILENCE);
    }
}

fn load_balancing(stage: &Stage) {
    let mut balancer = stage.start("load_balancing.py", &["api"]);
    assert_lines(&balancer, &["instances:"]);
    balancer.enter("r0");
    assert_lines(&balancer, &["r0 -> nobody"]);
    let lease = stage.ctl.run(&["lease", "grant", "60"]);
    let lease = lease.split(' ').nth(1).expect("a lease has an id");
    stage.ctl.run(&["put", "services/api/a", "10.0.0.1:80", "--lease", lease]);
    stage.ctl.run(&["put", "services/api/b", "10.0.0.2:80"]);
    assert_lines(&balancer, &["instances: 10.0.0.1:80", "instances: 10.0.0.1:80 10.0.0.2:80"]);
    let mut picks = Vec::new();
    for request in ["r1", "r2", "r3", "r4"] {
        balancer.enter(request);
        picks.extend(balancer.next_lines(1));
    }
    let expected = ["r1 -> 10.0.0.2:80", "r2 -> 10.0.0.1:80", "r3 -> 10.0.0.2:80"];
    assert_eq!(picks[..3], expected);
    assert_eq!(picks[3], "r4 -> 10.0.0.1:80");
    stage.ctl.run(&["lease", "revoke", lease]);
    assert_lines(&balancer, &["instances: 10.0.0.2:80"]);
    for request in ["r5", "r6"] {
        balancer.enter(request);
        assert_lines(&balancer, &[&format!("{request} -> 10.0.0.2:80")]);
    }
}

fn lock_in_python(stage: &Stage) {
    let go = stage.path("go");
    let holder = hold_until(stage, "order", &go);
    let start = |(place, name): (usize, &&str)| {
        let waiter = stage.start("lock.py", &["order", name]);
        assert_lines(&waiter, &[&format!("{name} waits")]);
        stage.wait_for_count("locks/order/", place as i64 + 2);
        waiter
    };
    let names = ["first", "second", "third"];
    let mut waiters: Vec<Following> = names.iter().enumerate().map(start).collect();
    for waiter in &waiters {
        waiter.assert_silent(SILENCE / 4);
    }
    // Who dies in the line holds nobody up for longer than its session.
    drop(waiters.remove(1));
    fs::write(go, "").expect("a file");
    for (waiter, name) in waiters.into_iter().zip(["first", "third"]) {
        read_until(&waiter, &format!("{name} holds the lock"), SESSION + LATE);
        assert_lines(&waiter, &[&format!("{name} is done")]);
        assert_success(waiter);
    }
    assert_eq!(stage.ctl.run(&["get", "work/order", "--print-value-only"]), "third\n");
    assert_success(holder);
}

/// Holds a lock, in shell, until a file is there.
fn hold_until(stage: &Stage, lock: &str, file: &Path) -> Following {
    let script = "echo holds; while ! test -e \"$0\"; do sleep 0.05; done";
    let holder = stage.start("lock.sh", &[lock, "sh", "-c", script, text(file)]);
    assert_lines(&holder, &["holds"]);
    holder
}

fn lost_lock(stage: &Stage) {
    let mut holder = stage.start("lock.py", &["lost", "holder", "60"]);
    read_until(&holder, "holder holds the lock", PATIENCE);
    let entry = stage.ctl.json(&["get", "--prefix", "locks/lost/"]);
    let lease = entry["kvs"][0]["lease"].as_i64().expect("a lock has a lease");
    stage.ctl.run(&["lease", "revoke", &format!("{lease:x}")]);
    // It stops without another word.
    assert_eq!(holder.next_line(SESSION), None);
    assert!(!holder.wait().success());
}

fn lock_in_shell(stage: &Stage) {
    let (go, diary) = (stage.path("go too"), stage.path("diary"));
    let holder = hold_until(stage, "backup", &go);
    let start = |(place, name): (usize, &&str)| {
        let script = "echo in $1 >>$0; sleep 0.2; echo out $1 >>$0";
        let args = ["backup", "sh", "-c", script, text(&diary), name];
        let waiter = stage.start("lock.sh", &args);
        stage.wait_for_count("locks/backup/", place as i64 + 2);
        waiter
    };
    let waiters: Vec<Following> = ["a", "b", "c"].iter().enumerate().map(start).collect();
    fs::write(go, "").expect("a file");
    assert_success(holder);
    waiters.into_iter().for_each(assert_success);
    let diary = fs::read_to_string(diary).expect("a diary");
    assert_eq!(diary, "in a\nout a\nin b\nout b\nin c\nout c\n");
}

fn queue(stage: &Stage) {
    let queue = |args: &[&str]| stage.start("work_queue.py", args);
    assert_success(queue(&["put", "pictures", "1.png", "2.png"]));
    let first = queue(&["work", "pictures", "first"]);
    first.assert_silent(SILENCE * 2);
    assert_success(queue(&["put", "pictures", "3.png"]));
    assert_success(queue(&["open", "pictures"]));
    assert_lines(&first, &["first does 1.png", "first does 2.png", "first does 3.png"]);
    // It says what it does before it is done: killed at once, it would leave the job to another.
    stage.wait_for_count("queues/pictures/", 1);
    drop(first);

    // A job whose worker dies is done by another.
    let killed = queue(&["work", "pictures", "killed", "60"]);
    assert_success(queue(&["put", "pictures", "4.png", "5.png"]));
    assert_lines(&killed, &["killed does 4.png"]);
    let other = queue(&["work", "pictures", "other"]);
    assert_lines(&other, &["other does 5.png"]);
    other.assert_silent(SESSION);
    killed.signal(Signal::KILL);
    assert!(read_until(&other, "other does 4.png", SESSION + LATE).is_empty());
    stage.wait_for_count("queues/pictures/", 1);
}

fn barrier(stage: &Stage) {
    let arrive = |name: &str| {
        let example = stage.start("barrier.py", &["start", "3", name]);
        assert_lines(&example, &[&format!("{name} waits")]);
        example
    };
    let first = arrive("first");
    let killed = arrive("killed");
    killed.signal(Signal::KILL);
    stage.wait_for_count("barriers/start/", 1);
    let second = arrive("second");
    first.assert_silent(SILENCE);
    second.assert_silent(SILENCE);
    let third = arrive("third");
    for (example, name) in [(first, "first"), (second, "second"), (third, "third")] {
        assert_lines(&example, &[&format!("{name} goes on")]);
        assert_success(example);
    }
    let late = arrive("late");
    assert_lines(&late, &["late goes on"]);
    assert_success(late);
}

fn leader_election(stage: &Stage) {
    let stand = |name: &str, leader: &str| {
        let example = stage.start("leader_election.py", &["office", name]);
        read_until(&example, &format!("{name} sees {leader} lead"), PATIENCE);
        example
    };
    let mut candidates = vec![stand("a", "a")];
    for (place, name) in [(2, "b"), (3, "c")] {
        candidates.push(stand(name, "a"));
        stage.wait_for_count("elections/office/", place);
    }
    let [killed, ended, last] = candidates.try_into().unwrap_or_else(|_| unreachable!());
    killed.signal(Signal::KILL);
    assert!(read_until(&last, "c sees b lead", SESSION + LATE).is_empty());
    let term = take_office(&ended, "b", SESSION);
    ended.signal(Signal::INT);
    assert_success(ended);
    let left = stage.ctl.json(&["get", "--prefix", "elections/office/"]);
    assert_eq!(left["count"], 1, "it has not waited for the end of its session");
    assert!(take_office(&last, "c", SESSION) > term);
}

/// The term in which this candidate says that it leads, which it also sees.
fn take_office(candidate: &Following, name: &str, within: Duration) -> u64 {
    let mut lines = [(); 2].map(|()| candidate.next_line(within).expect("it goes on"));
    // It leads and sees itself lead at the same time.
    lines.sort();
    assert_eq!(lines[1], format!("{name} sees {name} lead"));
    let term = lines[0].strip_prefix(&format!("{name} leads in term ")).expect("a term");
    term.parse().expect("a number")
}

fn health_monitoring(stage: &Stage) {
    let well = stage.path("well");
    let monitor = stage.start("health_monitor.py", &["web", "db"]);
    assert_lines(&monitor, &["db is not healthy", "web is not healthy", "0 of 2"]);
    let _web = stage.start("health_agent.sh", &["web", LEASE, "test", "-e", text(&well)]);
    let killed = stage.start("health_agent.sh", &["db", LEASE, "true"]);
    assert_lines(&monitor, &["db is healthy", "1 of 2"]);
    fs::write(&well, "").expect("a file");
    assert_lines(&monitor, &["web is healthy", "2 of 2"]);
    monitor.assert_silent(LEASE_TTL + SILENCE);
    fs::remove_file(&well).expect("a file");
    assert!(read_until(&monitor, "web is not healthy", LEASE_TTL).is_empty());
    assert_lines(&monitor, &["1 of 2"]);
    fs::write(&well, "").expect("a file");
    assert_lines(&monitor, &["web is healthy", "2 of 2"]);
    killed.signal(Signal::KILL);
    assert!(read_until(&monitor, "db is not healthy", LEASE_TTL + LATE).is_empty());
    assert_lines(&monitor, &["1 of 2"]);
}

#[test]
fn who_follows_outlives_the_member() {
    let Some(mut stage) = Stage::set() else { return };
    let (file, position) = (stage.path("reader.conf"), stage.path("position"));
    let clients = stage.start("service_discover.sh", &["web"]);
    let reader = stage.start("config_follow.sh", &["shop", text(&file)]);
    let balancer = stage.start("load_balancing.py", &["web"]);
    let listener = stage.start("notification.py", &["news", text(&position)]);
    let monitor = stage.start("health_monitor.py", &["web"]);
    assert!(reader.next_lines(1)[0].starts_with("revision "));
    assert_lines(&balancer, &["instances:"]);
    assert_lines(&listener, &["listening"]);
    assert_lines(&monitor, &["web is not healthy", "0 of 1"]);
    let web = stage.start("service_register.sh", &["web", "w1", "10.0.0.1:80"]);
    assert_lines(&clients, &["+ w1 10.0.0.1:80"]);
    assert_lines(&balancer, &["instances: 10.0.0.1:80"]);

    stage.cluster.members[0].kill();
    std::thread::sleep(SILENCE);
    stage.cluster.members[0].start();
    for (key, value) in [
        ("services/web/w2", "10.0.0.2:80"),
        ("config/shop/pool", "20"),
        ("topics/news", "back again"),
        ("health/web", "healthy"),
    ] {
        stage.ctl.run(&["put", key, value]);
    }
    // The instance may have registered anew, which changes nothing.
    let is_known = |lines: Vec<String>| lines.iter().all(|line| line == "+ w1 10.0.0.1:80");
    assert!(is_known(read_until(&clients, "+ w2 10.0.0.2:80", PATIENCE)));
    assert!(reader.next_lines(1)[0].starts_with("revision "));
    assert_eq!(fs::read_to_string(file).expect("a file"), "pool=20\n");
    assert_lines(&balancer, &["instances: 10.0.0.1:80 10.0.0.2:80"]);
    assert_lines(&listener, &["back again"]);
    assert_lines(&monitor, &["web is healthy", "1 of 1"]);
    web.signal(Signal::TERM);
    assert!(is_known(read_until(&clients, "- w1", PATIENCE)));
    assert_success(web);
}

#[test]
fn notifications_wait_for_who_is_away() {
    // This one compacts, which the others on its member would notice.
    let Some(stage) = Stage::set() else { return };
    let tell = |text: &str| {
        let put = stage.ctl.json(&["put", "topics/news", text]);
        put["header"]["revision"].to_string()
    };
    let position = stage.path("position");
    let listen = || stage.start("notification.py", &["news", text(&position)]);
    tell("before anybody listened");
    let listener = listen();
    let other = stage.start("notification.py", &["news", text(&stage.path("other"))]);
    assert_lines(&listener, &["listening"]);
    assert_lines(&other, &["listening"]);
    let first = tell("one");
    assert_lines(&listener, &["one"]);
    // Killed before it has noted this, it would tell it again.
    let noted = || fs::read_to_string(&position).unwrap_or_default();
    assert_eventually(PATIENCE, &first, noted);
    drop(listener);
    tell("two");
    let third = tell("three");
    let listener = listen();
    assert_lines(&listener, &["two", "three"]);
    assert_eventually(PATIENCE, &third, noted);
    drop(listener);
    tell("four");
    let fifth = tell("five");
    tell("six");
    stage.ctl.run(&["compact", &fifth]);
    let listener = listen();
    assert_lines(&listener, &["messages were lost to compaction", "five", "six"]);
    tell("seven");
    assert_lines(&listener, &["seven"]);
    assert_lines(&other, &["one", "two", "three", "four", "five", "six", "seven"]);
}
