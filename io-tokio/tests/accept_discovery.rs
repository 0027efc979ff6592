//! Members whose flags name nobody meet at a discovery service, which is another server; or they
//! find each other by records of a name server.

mod accept;

use std::process::{Command, Output};
use std::time::Duration;

use accept::api::{Api, agreed_state};
use accept::dns::NameServer;
use accept::pki::Wish;
use accept::secured::{Pki, flag, shown};
use accept::{Cluster, Member, Options, wait_for};
use rustix::process::Signal;

const SIZE: usize = 3;
/// How long a member that is not let in may take to say so.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// Members, not started, that will meet under a token.
fn prepare(service: &Cluster, token: &str, size: usize) -> Cluster {
    let endpoints = format!("--discovery-endpoints={}", service.endpoints());
    prepare_with(vec![format!("--discovery-token={token}"), endpoints], size)
}

/// Members, not started, that have these flags and no `--initial-cluster`.
fn prepare_with(flags: Vec<String>, size: usize) -> Cluster {
    let mut cluster = Cluster::prepare(0, &Options { flags });
    cluster.members = (0..size).map(|number| cluster.prepare_joiner(number)).collect();
    cluster
}

fn set_size(service: &Cluster, token: &str, size: &str) {
    let key = format!("/_etcd/registry/{token}/_config/size");
    Api::new(service.members[0].client).put(&key, size.into()).expect("the service runs");
}

/// Starts a member that must end, and say this.
fn assert_refused(member: &mut Member, why: &str) {
    member.spawn();
    let status = member.wait_for_exit(REFUSED_WITHIN);
    assert!(!status.success());
    assert!(member.log().contains(why), "{}", member.log());
}

#[test]
fn members_meet_and_latecomers_are_refused() {
    let service = Cluster::start(1);
    set_size(&service, "t", &SIZE.to_string());
    let mut cluster = prepare(&service, "t", SIZE + 1);
    let mut late = cluster.members.pop().expect("one more");
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
    Api::new(cluster.members[0].client).put("k", b"v".into()).expect("a cluster that serves");
    let (kvs, _) = agreed_state(&cluster, 0);
    assert_eq!(kvs.len(), 1);
    assert_refused(&mut late, "cluster is full");

    // Who has been a member needs no service.
    drop(service);
    cluster.members[0].kill();
    cluster.members[0].start();
    assert_eq!(agreed_state(&cluster, 0).0, kvs);
}

#[test]
fn whoever_waits_for_others_can_be_stopped() {
    let service = Cluster::start(1);
    set_size(&service, "t", "2");
    let mut cluster = prepare(&service, "t", 1);
    let waiting = &mut cluster.members[0];
    waiting.spawn();
    wait_for(REFUSED_WITHIN, "a member that waits", || waiting.log().contains("waiting for peers"));
    waiting.signal(Signal::TERM);
    waiting.wait_for_exit(Duration::from_secs(5));
}

#[test]
fn a_token_without_a_size_is_refused() {
    let service = Cluster::start(1);
    let mut cluster = prepare(&service, "t", 1);
    assert_refused(&mut cluster.members[0], "size key not found");
    set_size(&service, "t", "many");
    assert_refused(&mut cluster.members[0], "size key is bad");
    set_size(&service, "t", "1");
    cluster.members[0].start();
}

#[test]
fn members_meet_by_tls_with_a_name_and_a_password() {
    let pki = Pki::new();
    let flags = [pki.flags(), vec!["--bcrypt-cost=4".to_owned()]].concat();
    let service = Cluster::start_with(1, &Options { flags });
    let Some(ctl) = pki.ctl(&service) else { return };
    ctl.run(&["put", "/_etcd/registry/t/_config/size", "2"]);
    ctl.run(&["user", "add", "root:secret"]);
    ctl.run(&["user", "grant-role", "root", "root"]);
    ctl.run(&["auth", "enable"]);
    // Who it is is not said by its certificate.
    let host = pki.authority.issue("host", &Wish { serial: 12, ..Wish::default() });
    let prepare = |password: &str, files: &[String], size| {
        let endpoint = service.members[0].client;
        let user = format!("--discovery-user=root:{password}");
        let known = vec![
            "--discovery-token=t".to_owned(),
            // Whoever has files for it speaks TLS to it.
            format!("--discovery-endpoints={endpoint}"),
            user,
        ];
        prepare_with([known, files.to_vec()].concat(), size)
    };
    let files = [
        flag("discovery-cacert", &pki.authority.cert()),
        flag("discovery-cert", &host.cert),
        flag("discovery-key", &host.key),
    ];
    let mut wrong = prepare("wrong", &files, 1);
    assert_refused(&mut wrong.members[0], "authentication failed, invalid user ID or password");
    let mut half = prepare("secret", &files[..2], 1);
    assert_refused(&mut half.members[0], "KeyFile and CertFile must both be present");
    let mut unknown = prepare("secret", &files[..1], 1);
    unknown.members[0].spawn();
    wait_for(REFUSED_WITHIN, "a reason", || {
        unknown.members[0].log().contains("error reading server preface")
    });

    let mut cluster = prepare("secret", &files, 2);
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
    Api::new(cluster.members[1].client).put("k", b"v".into()).expect("a cluster that serves");
    assert_eq!(agreed_state(&cluster, 0).0.len(), 1);
}

/// Members, not started, that look for each other in a domain.
fn prepare_by_records(server: &NameServer, flags: Vec<String>) -> Cluster {
    let named = ["--discovery-srv=example.test".to_owned()];
    let mut cluster = prepare_with([&named[..], &flags].concat(), SIZE);
    for member in &mut cluster.members {
        member.env.push(server.variable());
    }
    cluster
}

fn ports(members: &[Member], port: impl Fn(&Member) -> u16) -> Vec<u16> {
    members.iter().map(port).collect()
}

/// What the client tool says of a domain.
fn ctl(server: &NameServer, env: &[(String, String)], words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["ctl", "-d", "example.test"]).args(words);
    command.envs([server.variable()]).envs(env.iter().cloned()).output().expect("the tool runs")
}

#[test]
fn members_and_clients_are_found_by_records() {
    let server = NameServer::start();
    let mut cluster = prepare_by_records(&server, Vec::new());
    let peers = ports(&cluster.members, |member| member.peer.port());
    assert_refused(&mut cluster.members[0], "lookup _etcd-server._tcp.example.test: no such host");
    server.put("_etcd-server._tcp.example.test", &peers[1..]);
    assert_refused(
        &mut cluster.members[0],
        "cannot find local etcd member \\\"m0\\\" in SRV records",
    );
    // What is at this port is without TLS.
    server.put("_etcd-server-ssl._tcp.example.test", &peers[..1]);
    assert_refused(&mut cluster.members[0], "a record has another scheme than the peer");
    server.put("_etcd-server-ssl._tcp.example.test", &[]);
    server.put("_etcd-server._tcp.example.test", &peers);
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);

    let clients = ports(&cluster.members, |member| member.client.port());
    let nobody = ctl(&server, &[], &["get", "k"]);
    assert_eq!(nobody.status.code(), Some(1));
    let told = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(
        told.contains("dns lookup errors: lookup _etcd-client-ssl._tcp.example.test"),
        "{told}"
    );
    server.put("_etcd-client._tcp.example.test", &clients);
    let put = ctl(&server, &[], &["put", "k", "v"]);
    assert_eq!(String::from_utf8_lossy(&put.stdout), "OK\n");
    let status = ctl(&server, &[], &["endpoint", "status"]);
    assert_eq!(String::from_utf8_lossy(&status.stdout).lines().count(), SIZE);
    let secure = ["--insecure-discovery=false", "--endpoints=127.0.0.1:1", "--command-timeout=1s"];
    let left = ctl(&server, &[], &[&secure[..], &["get", "k"]].concat());
    let told = String::from_utf8_lossy(&left.stderr).into_owned();
    assert_eq!(told.matches("ignoring discovered insecure endpoint").count(), SIZE, "{told}");

    // Who has been a member needs no records.
    server.put("_etcd-server._tcp.example.test", &[]);
    cluster.members[0].kill();
    cluster.members[0].start();
    assert_eq!(agreed_state(&cluster, 0).0.len(), 1);
}

#[test]
fn one_of_several_clusters_of_a_domain_is_found_with_tls() {
    let server = NameServer::start();
    let pki = Pki::new();
    let hosts = &["localhost", "127.0.0.1", "example.test"];
    pki.authority.issue("member", &Wish { serial: 20, hosts, ..Wish::default() });
    let named = vec!["--discovery-srv-name=blue".to_owned()];
    let mut cluster = prepare_by_records(&server, [pki.flags(), named].concat());
    let peers = ports(&cluster.members, |member| member.peer.port());
    server.put("_etcd-server-ssl-blue._tcp.example.test", &peers);
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
    let clients = ports(&cluster.members, |member| member.client.port());
    server.put("_etcd-client-ssl-blue._tcp.example.test", &clients);
    let files = shown(&pki.authority.cert(), &pki.client);
    let wary = ["--discovery-srv-name=blue", "--insecure-discovery=false"];
    let put = ctl(&server, &files, &[&wary[..], &["put", "k", "v"]].concat());
    assert_eq!(String::from_utf8_lossy(&put.stdout), "OK\n");
    // Servers must name the domain, if DNS is not trusted.
    pki.authority.issue("member", &Wish { serial: 21, ..Wish::default() });
    wait_for(REFUSED_WITHIN, "a certificate that names another", || {
        let got =
            ctl(&server, &files, &[&wary[..], &["get", "k", "--command-timeout=2s"]].concat());
        String::from_utf8_lossy(&got.stderr).contains("not example.test")
    });
}
