//! `quorate grpc-proxy`: every call handed on, keys of a namespace renamed as etcd's proxy does.

mod accept;

use std::env;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use accept::ctl::Ctl;
use accept::secured::{Pki, as_client, flag, shown};
use accept::{Cluster, Options, free_addr, skip, wait_for};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

/// A proxy that runs until it is dropped.
struct Proxy {
    addr: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Proxy {
    /// One of this program, or of ours, ready.
    fn start(program: Option<&Path>, flags: &[String]) -> Self {
        let (addr, dir) = (free_addr(), TempDir::new().expect("a temporary directory"));
        let log = dir.path().join("log");
        let own = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let mut command = Command::new(program.unwrap_or(own));
        command.args(["grpc-proxy", "start"]).arg(format!("--listen-addr={addr}")).args(flags);
        command.arg(format!("--advertise-client-url={addr}")).stdin(Stdio::null());
        command.current_dir(dir.path()).stderr(File::create(&log).expect("a log"));
        let child = command.spawn().expect("it runs");
        wait_for(SOON, "a proxy", || {
            fs::read_to_string(&log).expect("a log").contains("started gRPC proxy")
        });
        Self { addr, child, _dir: dir }
    }

    /// A page of it.
    fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).expect("it listens");
        let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        page
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Already dead is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_scheme(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

#[test]
fn every_kind_of_call_is_handed_on_to_a_secure_cluster() {
    let pki = Pki::new();
    let flags = [pki.flags(), vec!["--bcrypt-cost=4".to_owned()]].concat();
    let cluster = Cluster::start_with(3, &Options { flags });
    let Some(direct) = pki.ctl(&cluster) else { return };
    let nobody = pki.authority.issue("nobody", &as_client(12, ""));
    let flags = [
        format!("--endpoints={}", cluster.endpoints()),
        flag("cacert", &pki.authority.cert()),
        flag("cert", &nobody.cert),
        flag("key", &nobody.key),
    ];
    let proxy = Proxy::start(None, &flags);
    let Some(newest) = Ctl::newest(&cluster) else { return };
    for ctl in [Ctl::find(&cluster).expect("it was there"), newest] {
        let ctl = ctl.at(with_scheme(proxy.addr));
        assert_eq!(ctl.run(&["put", "a", "1"]), "OK\n");
        assert_eq!(ctl.run(&["get", "a"]), "a\n1\n");
        assert_eq!(
            ctl.run_with_input(&["txn"], "\nput b 2\nget a\n\n\n"),
            "SUCCESS\n\nOK\n\na\n1\n"
        );
        let watch = ctl.follow(&["watch", "w"]);
        std::thread::sleep(Duration::from_secs(1));
        direct.run(&["put", "w", "1"]);
        assert_eq!(watch.next_lines(3), ["PUT", "w", "1"]);
        let granted = ctl.run(&["lease", "grant", "60"]);
        let lease = granted.split(' ').nth(1).expect("an id");
        assert!(ctl.run(&["lease", "keep-alive", "--once", lease]).contains("keepalived"));
        assert_eq!(ctl.run(&["lock", "l", "true"]), "");
        assert_eq!(ctl.run(&["member", "list"]), direct.run(&["member", "list"]));
        assert!(ctl.run(&["endpoint", "status"]).contains(&proxy.addr.to_string()));
        let backup = pki.path("backup").display().to_string();
        assert!(ctl.run(&["snapshot", "save", &backup]).contains("aved"));
        let large = "x".repeat(1_600_000);
        let refused = ctl.fail_with_input(&["put", "large"], &large);
        assert!(refused.contains("larger than max") && refused.contains("1572864"), "{refused}");
        ctl.run(&["del", "w"]);
    }
    assert!(proxy.page("/health").contains("{\"health\":\"true\""));
    assert!(proxy.page("/metrics").contains("\netcd_server_has_leader 1"));
    assert!(!proxy.page("/proxy/metrics").contains("quorate_proxy_calls_forwarded_total 0\n"));
    assert!(proxy.page("/other").starts_with("HTTP/1.1 404"));

    direct.run(&["user", "add", "root:secret"]);
    direct.run(&["user", "grant-role", "root", "root"]);
    direct.run(&["auth", "enable"]);
    let by_proxy = Ctl::find(&cluster).expect("it was there").at(with_scheme(proxy.addr));
    let refused = by_proxy.fail(&["get", "a"]);
    assert!(refused.contains("etcdserver: user name is empty"), "{refused}");
    assert_eq!(by_proxy.run(&["get", "a", "--user=root:secret"]), "a\n1\n");
}

#[test]
fn the_next_member_is_asked_when_one_is_gone() {
    let mut cluster = Cluster::start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let proxy = Proxy::start(None, &[format!("--endpoints={}", cluster.endpoints())]);
    let ctl = ctl.at(with_scheme(proxy.addr));
    assert_eq!(ctl.run(&["put", "a", "1"]), "OK\n");
    let watch = ctl.follow(&["watch", "w", "--rev=2"]);
    std::thread::sleep(Duration::from_secs(1));
    for number in 0..3 {
        cluster.members[number].kill();
        let value = number.to_string();
        wait_for(SOON, "another member", || ctl.output(&["put", "w", &value]).status.success());
        // It may have been written twice.
        while watch.next_lines(3)[2] != value {}
        cluster.members[number].start();
    }
}

#[test]
fn clients_of_the_proxy_prove_who_they_are_to_it() {
    let pki = Pki::new();
    let cluster = Cluster::start(1);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let member = &pki.member;
    let mut flags = vec![
        format!("--endpoints={}", cluster.endpoints()),
        flag("cert-file", &member.cert),
        flag("key-file", &member.key),
        flag("trusted-ca-file", &pki.authority.cert()),
    ];
    let proxy = Proxy::start(None, &flags);
    let ctl = ctl.at(format!("https://{}", proxy.addr));
    let known = ctl.with(shown(&pki.authority.cert(), &pki.client));
    assert_eq!(known.run(&["put", "a", "1"]), "OK\n");
    let trusting = ("ETCDCTL_CACERT".to_owned(), pki.authority.cert().display().to_string());
    ctl.with(vec![trusting]).fail(&["get", "a", "--command-timeout=2s"]);

    // Whoever asks would be root.
    flags.extend([flag("cert", &pki.client.cert), flag("key", &pki.client.key)]);
    let named = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["grpc-proxy", "start", "--listen-addr=127.0.0.1:0"])
        .args(&flags)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&named.stderr).into_owned();
    assert_eq!(named.status.code(), Some(1));
    assert!(told.contains("cert has non empty Common Name (root)"), "{told}");
}

/// A real etcd, which has a proxy as well.
fn real_etcd() -> Option<PathBuf> {
    let named = env::var_os("QUORATE_COMPAT_ETCD").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judge/etcd");
    let found = named.unwrap_or(built);
    if !found.is_file() {
        skip("no etcd 3.7 or later: build io-tokio/tests/judge");
        return None;
    }
    Some(found)
}

/// What is typed after the words.
type Line = (&'static [&'static str], &'static str);

const LINES: &[Line] = &[
    (&["put", "a", "1"], ""),
    (&["put", "b", "2", "--prev-kv"], ""),
    (&["put", "b", "3", "--prev-kv"], ""),
    (&["put", "", "3"], ""),
    (&["get", "a"], ""),
    (&["get", "a", "c"], ""),
    (&["get", "", "--prefix"], ""),
    (&["get", "b", "--from-key"], ""),
    (&["get", "", "--from-key", "--keys-only"], ""),
    (&["get", "", "--prefix", "--count-only", "-w", "fields"], ""),
    (&["get", "a", "--prefix", "--order=DESCEND"], ""),
    (&["get", ""], ""),
    (&["txn"], "val(\"a\") = \"1\"\n\nput c 4 --prev-kv\nget \"\" --prefix\ndel b --prev-kv\n\n\n"),
    (&["txn"], "create(\"nothing\") > \"0\"\n\n\nget a\n\n"),
    (&["watch", "a", "--rev=2"], ""),
    (&["del", "a", "--prev-kv"], ""),
    (&["del", "c", "z", "--prev-kv"], ""),
    (&["del", "", "--prefix"], ""),
    (&["get", "", "--prefix"], ""),
    (&["compaction", "3"], ""),
    (&["get", "a", "--rev=2"], ""),
    (&["role", "add", "r"], ""),
    (&["role", "list"], ""),
    (&["user", "add", "u:p"], ""),
    (&["user", "get", "u"], ""),
    (&["auth", "status"], ""),
    (&["member", "remove", "123"], ""),
    (&["alarm", "list"], ""),
];

/// What is told by a tool that asks through a proxy of this program, and what the member then has.
fn told(program: Option<&Path>) -> Option<Vec<String>> {
    let cluster = Cluster::start(1);
    let direct = Ctl::newest(&cluster)?;
    direct.run(&["put", "n", "before"]);
    direct.run(&["put", "ns0", "behind"]);
    let flags =
        [format!("--endpoints={}", cluster.members[0].client), "--namespace=ns/".to_owned()];
    let proxy = Proxy::start(program, &flags);
    let ctl = direct.at(proxy.addr.to_string());
    let mut told = Vec::new();
    for (words, typed) in LINES {
        if words[0] == "watch" {
            // Up to the first put.
            told.push(ctl.follow(words).next_lines(3).join(" "));
            continue;
        }
        let Output { stdout, stderr, status } = ctl.output_with_input(words, typed);
        let complaint = String::from_utf8_lossy(&stderr).into_owned();
        let complaint = complaint.lines().rfind(|line| line.starts_with("Error: "));
        let out = String::from_utf8_lossy(&stdout).into_owned();
        let out: Vec<_> = out
            .lines()
            .filter(|line| {
                !["\"ClusterID\"", "\"MemberID\"", "\"RaftTerm\""]
                    .iter()
                    .any(|id| line.starts_with(id))
            })
            .collect();
        told.push(format!("{words:?}: {out:?} {complaint:?} {:?}", status.code()));
        told.push(direct.run(&["get", "", "--prefix"]));
    }
    // Of a lease one sees one's own keys.
    let granted = ctl.run(&["lease", "grant", "600"]);
    let lease = granted.split(' ').nth(1).expect("an id").to_owned();
    ctl.run(&["put", "held", "v", &format!("--lease={lease}")]);
    direct.run(&["put", "foreign", "v", &format!("--lease={lease}")]);
    let held = ctl.json(&["lease", "timetolive", &lease, "--keys"]);
    told.push(held["keys"].to_string());
    Some(told)
}

#[test]
fn a_namespace_looks_as_through_etcds_proxy() {
    let Some(etcd) = real_etcd() else { return };
    let (Some(ours), Some(theirs)) = (told(None), told(Some(&etcd))) else { return };
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert!(ours.contains(&"n\nbefore\nns/a\n1\nns0\nbehind\n".to_owned()), "{ours:?}");
}
