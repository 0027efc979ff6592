//! Real processes for acceptance tests: start, stop, kill and restart members on loopback.
//!
//! ```text
//! QUORATE_ACCEPT_SERVER=path   run this server instead of ours (a real etcd must pass as well)
//! QUORATE_REQUIRE_CLIENTS=1    an absent client is a failure instead of a skip
//! QUORATE_ACCEPT_QUICK=1       shorter runs
//! ```
//!
//! - Every port comes from below the range the system hands to outgoing connections, so that no
//!   client can sit on the port of a member that is down.
//! - Only children started here are ever signalled, and none outlives its test.
#![allow(dead_code, reason = "each test binary compiles this room for itself and uses a part")]

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod ctl;
pub(crate) mod dns;
pub(crate) mod following;
pub(crate) mod history;
pub(crate) mod lines;
pub(crate) mod load;
pub(crate) mod net;
pub(crate) mod offline;
pub(crate) mod pki;
pub(crate) mod python;
pub(crate) mod round;
pub(crate) mod secured;
pub(crate) mod terminal;
pub(crate) mod wal;
pub(crate) mod wire;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What a server writes to its log when it serves.
pub(crate) const READY: &str = "ready to serve client requests";
/// How long a start may take.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);
/// The default of `--election-timeout`.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The server under test.
pub(crate) fn program() -> PathBuf {
    let named = env::var_os("QUORATE_ACCEPT_SERVER").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_quorate")))
}

/// Whether the server under test is ours, which has test aids that others lack.
pub(crate) fn is_quorate() -> bool {
    program().file_name().is_some_and(|name| name == "quorate")
}

/// Whether runs should be short.
pub(crate) fn is_quick() -> bool {
    env::var_os("QUORATE_ACCEPT_QUICK").is_some_and(|value| value == "1")
}

/// The path of a client program, or nothing after saying loudly that the test is skipped.
pub(crate) fn find_client(name: &str) -> Option<PathBuf> {
    let found = find_program(name);
    if found.is_none() {
        skip(&format!("{name} not found"));
    }
    found
}

/// The same for a client that may be absent even where clients are required.
pub(crate) fn find_optional_client(name: &str) -> Option<PathBuf> {
    let found = find_program(name);
    if found.is_none() {
        say_skipped(&format!("{name} not found"));
    }
    found
}

fn find_program(name: &str) -> Option<PathBuf> {
    let dirs = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Says that the running test is skipped; a failure where clients are required.
pub(crate) fn skip(why: &str) {
    let are_required = env::var_os("QUORATE_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
    assert!(!are_required, "{why}, and QUORATE_REQUIRE_CLIENTS=1");
    say_skipped(why);
}

fn say_skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    eprintln!("SKIPPED: {test}: {why}");
}

/// Asks again until the answer is the expected one, for at most so long; the last answer is
/// asserted.
pub(crate) fn assert_eventually<T>(within: Duration, expected: &T, mut ask: impl FnMut() -> T)
where
    T: PartialEq + std::fmt::Debug,
{
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        if answer == *expected || Instant::now() > deadline {
            assert_eq!(answer, *expected);
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a claim holds; panics with `what` when it does not.
pub(crate) fn wait_for(within: Duration, what: &str, mut claim: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !claim() {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// An address nobody listens on, never handed out twice by this process.
pub(crate) fn free_addr() -> SocketAddr {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    let start = u16::try_from(std::process::id() * 64 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port");
}

/// How members are started beside what every member needs.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// More flags, for all.
    pub(crate) flags: Vec<String>,
}

impl Options {
    /// Members have TLS where they are given certificates.
    fn scheme(&self) -> &'static str {
        let is_given = |flag: &String| flag.starts_with("--cert-file") || flag == "--auto-tls";
        if self.flags.iter().any(is_given) { "https" } else { "http" }
    }
}

/// One member: its place, and its process while it runs.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) log_path: PathBuf,
    /// What is run, from its next start.
    pub(crate) program: PathBuf,
    /// Environment of this member alone, from its next start.
    pub(crate) env: Vec<(String, String)>,
    flags: Vec<String>,
    scheme: &'static str,
    child: Option<Child>,
    log_start: u64,
}

/// Members of one cluster below one temporary directory, removed when dropped.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    options: Options,
    dir: TempDir,
}

impl Cluster {
    /// So many members with default flags, serving.
    pub(crate) fn start(size: usize) -> Self {
        Self::start_with(size, &Options::default())
    }

    /// So many members, serving.
    pub(crate) fn start_with(size: usize, options: &Options) -> Self {
        let mut cluster = Self::prepare(size, options);
        for member in &mut cluster.members {
            member.spawn();
        }
        for member in &mut cluster.members {
            member.wait_until_ready();
        }
        cluster
    }

    /// Members that have places but no processes yet.
    pub(crate) fn prepare(size: usize, options: &Options) -> Self {
        let addrs: Vec<_> = (0..size).map(|_| (free_addr(), free_addr())).collect();
        Self::prepare_on(&addrs, options)
    }

    /// The same, one on each of these hosts, at the usual ports.
    pub(crate) fn prepare_at(hosts: &[Ipv4Addr], options: &Options) -> Self {
        let addr = |host: Ipv4Addr, port| SocketAddr::from((host, port));
        let addrs: Vec<_> =
            hosts.iter().map(|host| (addr(*host, 2379), addr(*host, 2380))).collect();
        Self::prepare_on(&addrs, options)
    }

    /// The same, at these addresses for clients and for peers.
    fn prepare_on(addrs: &[(SocketAddr, SocketAddr)], options: &Options) -> Self {
        let dir = TempDir::with_prefix("accept").expect("a temporary directory");
        let place = |(number, addrs)| Member::place(dir.path(), number, addrs, options);
        let mut members: Vec<Member> = addrs.iter().copied().enumerate().map(place).collect();
        let everyone: Vec<String> = members.iter().map(Member::initial).collect();
        let everyone = format!("--initial-cluster={}", everyone.join(","));
        for member in &mut members {
            member.flags.extend([everyone.clone(), "--initial-cluster-state=new".into()]);
        }
        Self { members, options: options.clone(), dir }
    }

    /// Another member, not started, which will join those that are there when it is admitted.
    pub(crate) fn prepare_joiner(&self, number: usize) -> Member {
        Member::place(self.dir.path(), number, (free_addr(), free_addr()), &self.options)
    }

    /// Client URLs of all members, as clients take them.
    pub(crate) fn endpoints(&self) -> String {
        let urls: Vec<String> = self.members.iter().map(Member::url).collect();
        urls.join(",")
    }

    /// Below which everything of this cluster lives.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.members {
                eprintln!("--- end of the log of {}:\n{}", member.name, member.log_tail(25));
            }
        }
    }
}

impl Member {
    /// At an address for clients and one for peers.
    fn place(
        dir: &Path,
        number: usize,
        (client, peer): (SocketAddr, SocketAddr),
        options: &Options,
    ) -> Self {
        let name = format!("m{number}");
        let data_dir = dir.join(&name);
        let scheme = options.scheme();
        let mut flags = vec![
            format!("--name={name}"),
            format!("--data-dir={}", data_dir.display()),
            format!("--listen-client-urls={scheme}://{client}"),
            format!("--advertise-client-urls={scheme}://{client}"),
            format!("--listen-peer-urls={scheme}://{peer}"),
            format!("--initial-advertise-peer-urls={scheme}://{peer}"),
            "--initial-cluster-token=accept".into(),
        ];
        flags.extend(options.flags.iter().cloned());
        let log_path = dir.join(format!("{name}.log"));
        Self {
            name,
            client,
            peer,
            data_dir,
            log_path,
            program: program(),
            env: Vec::new(),
            flags,
            scheme,
            child: None,
            log_start: 0,
        }
    }

    /// Gives a flag another value, from its next start.
    pub(crate) fn replace_flag(&mut self, name: &str, value: &str) {
        self.flags.retain(|flag| !flag.starts_with(&format!("--{name}=")));
        self.flags.push(format!("--{name}={value}"));
    }

    /// Itself, as `--initial-cluster` names it.
    fn initial(&self) -> String {
        format!("{}={}://{}", self.name, self.scheme, self.peer)
    }

    /// Lets it join the cluster of these members, by its first start.
    pub(crate) fn join<'a>(&mut self, others: impl IntoIterator<Item = &'a Self>) {
        let mut all: Vec<String> = others.into_iter().map(Self::initial).collect();
        all.push(self.initial());
        let everyone = format!("--initial-cluster={}", all.join(","));
        self.flags.extend([everyone, "--initial-cluster-state=existing".into()]);
    }

    /// Whether its process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self
            .child
            .as_mut()
            .is_some_and(|child| child.try_wait().expect("our own child").is_some());
        if ended {
            self.child = None;
        }
        ended
    }

    /// Its client URL.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.client)
    }

    /// Starts its process without waiting for anything.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log_path);
        let log: File = log.expect("the log file can be opened");
        self.log_start = log.metadata().expect("an open file has a length").len();
        let mut command = Command::new(&self.program);
        command.args(&self.flags).envs(self.env.iter().cloned()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{:?}: {error}", self.program)));
    }

    /// Starts its process and waits until it serves.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    /// Waits until this start of the process serves.
    pub(crate) fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.log().contains(READY) {
            let exited = self.child.as_mut().map(|child| child.try_wait().expect("our child"));
            let is_running = matches!(exited, Some(None));
            let may_go_on = is_running && Instant::now() < deadline;
            assert!(may_go_on, "{} does not serve:\n{}", self.name, self.log_tail(25));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it logged since its last start.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(&self.log_path).unwrap_or_default();
        let from = usize::try_from(self.log_start).unwrap_or(0).min(log.len());
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Resident memory of its process, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// That which is no file's.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, kind: &str) -> u64 {
        let child = self.child.as_ref().expect("a running member");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.expect("a process of ours");
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("its memory");
        let kib: String = line.chars().filter(char::is_ascii_digit).collect();
        kib.parse::<u64>().expect("a number") << 10
    }

    /// Sends a signal to its process.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a running member");
        kill_process(Pid::from_child(child), signal).expect("a signal to our own child");
    }

    /// Kills its process as a power cut would, and waits for the corpse.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a signal to our own child");
            child.wait().expect("our own child");
        }
    }

    /// Waits until its process has ended by itself.
    pub(crate) fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("a running member");
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = child.try_wait().expect("our own child") {
                return status;
            }
            if Instant::now() > deadline {
                self.child = Some(child);
                panic!("{} has not ended within {within:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already dead is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
