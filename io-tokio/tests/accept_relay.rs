//! `quorate gateway`: one address for a whole cluster.

mod accept;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use accept::dns::NameServer;
use accept::pki::Wish;
use accept::secured::{Pki, flag};
use accept::{Cluster, free_addr, wait_for};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

/// A gateway that runs until it is dropped.
struct Relay {
    addr: SocketAddr,
    child: Child,
    log: PathBuf,
    _dir: TempDir,
}

impl Relay {
    /// One with these flags, ready.
    fn start(flags: &[String], server: Option<&NameServer>) -> Self {
        let (addr, dir) = (free_addr(), TempDir::new().expect("a temporary directory"));
        let log = dir.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["gateway", "start"]).arg(format!("--listen-addr={addr}")).args(flags);
        command.envs(server.map(NameServer::variable)).stdin(Stdio::null());
        command.stderr(File::create(&log).expect("a log"));
        let relay = Self { addr, child: command.spawn().expect("it runs"), log, _dir: dir };
        wait_for(SOON, "a gateway", || relay.said("ready to proxy client requests"));
        relay
    }

    fn said(&self, what: &str) -> bool {
        fs::read_to_string(&self.log).expect("a log").contains(what)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Already dead is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn connections_are_carried_to_members_that_can_be_reached() {
    let pki = Pki::new();
    let mut cluster = Cluster::start_with(3, &pki.options());
    let Some(ctl) = pki.ctl(&cluster) else { return };
    let delay = "--retry-delay=300ms".to_owned();
    let relay = Relay::start(&[format!("--endpoints={}", cluster.endpoints()), delay], None);
    let by_relay = ctl.at(format!("https://{}", relay.addr));
    for number in 0..6 {
        assert_eq!(by_relay.run(&["put", "a", &number.to_string()]), "OK\n");
    }
    let watch = by_relay.follow(&["watch", "w"]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ctl.run(&["put", "w", "1"]), "OK\n");
    assert_eq!(watch.next_lines(3), ["PUT", "w", "1"]);

    cluster.members[0].kill();
    wait_for(SOON, "a member to be left out", || {
        by_relay.output(&["get", "a"]);
        relay.said("deactivated endpoint")
    });
    for _ in 0..4 {
        assert_eq!(by_relay.run(&["get", "a", "--print-value-only"]), "5\n");
    }
    cluster.members[0].start();
    wait_for(SOON, "a member to be back", || relay.said("\"msg\":\"activated\""));
    cluster.members[1].kill();
    cluster.members[2].kill();
    wait_for(SOON, "an answer of the one that is back", || {
        let got = by_relay.output(&["get", "a", "--consistency=s", "--print-value-only"]);
        got.stdout == b"5\n"
    });
    cluster.members[0].kill();
    by_relay.fail(&["get", "a", "--command-timeout=1s"]);
}

#[test]
fn members_are_found_by_records_and_must_prove_that_they_are_the_domains() {
    let server = NameServer::start();
    let pki = Pki::new();
    let cluster = Cluster::start_with(1, &pki.options());
    let Some(ctl) = pki.ctl(&cluster) else { return };
    let client = cluster.members[0].client.port();
    server.put("_etcd-client-ssl._tcp.example.test", &[client]);
    server.put("_etcd-client._tcp.example.test", &[1]);
    let flags = [
        "--discovery-srv=example.test".to_owned(),
        "--endpoints=127.0.0.1:1".to_owned(),
        flag("trusted-ca-file", &pki.authority.cert()),
    ];
    let get = ["get", "a", "--command-timeout=2s"];
    let relay = Relay::start(&flags, Some(&server));
    assert!(relay.said("not example.test") && relay.said("is insecure"));
    ctl.at(format!("https://{}", relay.addr)).fail(&get);

    let hosts = &["localhost", "127.0.0.1", "example.test"];
    pki.authority.issue("member", &Wish { serial: 20, hosts, ..Wish::default() });
    wait_for(SOON, "the new certificate", || {
        let relay = Relay::start(&flags, Some(&server));
        let by_relay = ctl.at(format!("https://{}", relay.addr));
        by_relay.output(&get).status.success()
    });
}

/// What is said and done about words that make no sense.
fn refusal(words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("gateway").args(words).output();
    let output = output.expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&told).into_owned())
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (code, told) = refusal(&[]);
    assert_eq!(code, Some(0));
    assert!(told.contains("start"), "{told}");
    let itself = ["start", "--listen-addr=127.0.0.1:12", "--endpoints=http://localhost:12"];
    for (words, why) in [
        (&["start", "--endpoints=nowhere"][..], "error parsing endpoint \"nowhere\""),
        (&["start", "--listen-addr=no.such.host.invalid:1"], "failed to resolve listen address"),
        (&["start", "--endpoints=no.such.host.invalid:1"], "failed to resolve endpoint host"),
        (&itself, "should not resolve to the gateway listen addr"),
        (&["start", "--nope"], "--nope"),
        (&["start", "--discovery-srv=example.test", "--trusted-ca-file=/no"], "example.test"),
    ] {
        let (code, told) = refusal(words);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(why), "{told}");
    }
}
