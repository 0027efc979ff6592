//! A cluster as it is run where others may listen: mutual TLS for clients and members, revocation
//! lists, users. Whom it serves, what may change meanwhile, and whom it refuses.
//!
//! Of the clients that other tests use `aetcd` is not here: it has no options for TLS.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod accept;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use accept::ctl::Ctl;
use accept::pki::{Authority, Issued, Wish, replace};
use accept::round::{
    assert_steps, assert_steps_with, go_client, node_client, python_client, rust_client,
};
use accept::secured::{Pki, as_client, health, secured, served_certificate, shown};
use accept::{Cluster, Options, wait_for};

/// How long a change of files may take to be noticed, on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// How long between changes: whoever has begun to connect with the old files gets in.
const BETWEEN_CHANGES: Duration = Duration::from_secs(2);

/// Three members with users: root by certificate or password, and nobody else.
fn start(pki: &Pki) -> Option<Cluster> {
    let options = pki.options_with_list();
    // On a busy machine no password takes long, and nobody is elected without need.
    let calm = ["--bcrypt-cost=4", "--heartbeat-interval=300", "--election-timeout=3000"];
    let flags = [options.flags, calm.map(str::to_owned).to_vec()].concat();
    let cluster = Cluster::start_with(3, &Options { flags });
    let ctl = pki.ctl(&cluster)?;
    ctl.run(&["user", "add", "root:secret"]);
    ctl.run(&["user", "grant-role", "root", "root"]);
    ctl.run(&["auth", "enable"]);
    Some(cluster)
}

/// A client whose certificate names nobody: the JSON gateway, as etcd's, takes no others.
fn nobody(pki: &Pki) -> Issued {
    pki.authority.issue("nobody", &as_client(12, ""))
}

#[test]
fn both_generations_of_etcdctl_are_served() {
    let pki = Pki::new();
    let Some(cluster) = start(&pki) else { return };
    let files = shown(&pki.authority.cert(), &nobody(&pki));
    let who = [("ETCDCTL_USER".to_owned(), "root:secret".to_owned())];
    for ctl in [Ctl::find(&cluster), Ctl::newest(&cluster)].into_iter().flatten() {
        let nameless = ctl.with(files.clone());
        let ctl = ctl.with([&files[..], &who].concat());
        assert_eq!(ctl.run(&["put", "a", "1"]), "OK\n");
        assert_eq!(ctl.run(&["get", "a", "--print-value-only"]), "1\n");
        let refused = nameless.fail(&["get", "a"]);
        assert!(refused.contains("etcdserver: user name is empty"), "{refused}");
        let granted = ctl.run(&["lease", "grant", "60"]);
        let lease = granted.split(' ').nth(1).unwrap();
        assert!(ctl.run(&["lease", "keep-alive", "--once", lease]).contains("keepalived"));
        assert_eq!(ctl.run_with_input(&["txn"], "\nput a 2\n\n\n"), "SUCCESS\n\nOK\n");
        let watch = ctl.follow(&["watch", "w"]);
        std::thread::sleep(Duration::from_secs(1));
        ctl.run(&["put", "w", "1"]);
        assert_eq!(watch.next_lines(3), ["PUT", "w", "1"]);
        assert_eq!(ctl.run(&["member", "list"]).matches("https://").count(), 6);
        assert_eq!(ctl.json(&["endpoint", "status"]).as_array().unwrap().len(), 3);
        ctl.run(&["endpoint", "health"]);
        let backup = pki.path("backup").display().to_string();
        let one = ctl.at(cluster.members[1].url());
        assert!(one.run(&["snapshot", "save", &backup]).contains("aved"));
        assert_eq!(ctl.run(&["lock", "l", "true"]), "");
        ctl.run(&["del", "w"]);
    }
}

/// Clients prove who they are twice: to the port by certificate, to the cluster by password.
fn assert_round(program: Option<Command>, steps: &[&str]) {
    let Some(program) = program else { return };
    let pki = Pki::new();
    let Some(mut cluster) = start(&pki) else { return };
    let mut program = pki.told_to(program, &nobody(&pki));
    program.env("USER_NAME", "root").env("USER_PASSWORD", "secret");
    assert_steps(program, &mut cluster, steps);
}

#[test]
fn the_go_client_is_served() {
    let steps = ["keys", "transactions", "watches", "leases", "mutexes", "elections"];
    assert_round(go_client().map(Command::new), &steps);
}

/// By certificate: with a password this client asks for a token whenever it resumes a watch, and
/// gives the watch up if the answer is that there is no leader yet.
#[test]
fn a_watch_of_the_go_client_outlives_its_member() {
    let Some(client) = go_client() else { return };
    let pki = Pki::new();
    let Some(mut cluster) = start(&pki) else { return };
    let program = pki.told_to(Command::new(client), &pki.client);
    assert_steps(program, &mut cluster, &["a_watch_outlives_its_member"]);
}

#[test]
fn the_rust_client_is_served() {
    let steps = ["puts_and_gets", "transactions", "watches", "leases", "locks", "elections"];
    assert_round(rust_client().map(Command::new), &steps);
}

#[test]
fn the_node_client_is_served() {
    let steps = ["keys", "transactions", "watches", "leases", "locks", "elections"];
    assert_round(node_client(), &steps);
}

#[test]
fn etcd3_for_python_is_served() {
    let steps = ["put_and_get", "prefixes", "deletes", "transactions", "watches", "leases"];
    assert_round(python_client("etcd3"), &steps);
}

#[test]
fn etcd3gw_for_python_is_served() {
    let steps = ["keys", "transactions", "watches", "leases", "locks", "elections"];
    assert_round(python_client("etcd3gw"), &steps);
}

/// Certificates, then the authority, then what is revoked, while a client writes and reads on one
/// connection and on ever new ones.
#[test]
fn everything_is_replaced_under_load_and_no_request_fails() {
    let Some(client) = go_client() else { return };
    let pki = Pki::new();
    let Some(mut cluster) = start(&pki) else { return };
    let program = pki.told_to(Command::new(client), &pki.client);
    let second = Authority::new(pki.dir.path(), "second");
    assert_steps_with(program, &mut cluster, &["a_steady_load"], |wish, cluster| {
        assert_eq!(wish, "rotate 0");
        rotate(&pki, &second, cluster);
    });
    // Members that meet anew do so with the new files.
    let ctl = pki.ctl(&cluster).unwrap();
    for number in 0..3 {
        cluster.members[number].kill();
        cluster.members[number].start();
        let ctl = ctl.at(cluster.members[number].url());
        assert_eq!(ctl.run(&["put", "a", &number.to_string()]), "OK\n");
    }
    let lines = cluster
        .members
        .iter()
        .flat_map(|one| one.log().lines().map(str::to_owned).collect::<Vec<_>>());
    let refused: Vec<_> = lines.filter(|line| line.contains("on peer endpoint")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

fn rotate(pki: &Pki, second: &Authority, cluster: &Cluster) {
    let trusted = pki.authority.cert();
    let former = pki.authority.issue("former", &as_client(13, "root"));
    let newcomer = second.issue("newcomer", &as_client(31, "root"));
    let revoked = second.issue("revoked", &as_client(41, "root"));
    let addresses: Vec<SocketAddr> = cluster.members.iter().map(|one| one.client).collect();
    let are_in = |shown: &Issued| addresses.iter().all(|addr| is_let_in(*addr, &trusted, shown));
    let are_out = |shown: &Issued| !addresses.iter().any(|addr| is_let_in(*addr, &trusted, shown));
    let served = || -> Vec<Vec<u8>> {
        addresses.iter().map(|addr| served_certificate(*addr, &trusted, &pki.client)).collect()
    };
    // What is replaced, and how it is known that everybody has noticed.
    let renew = |authority: &Authority, serial: u64| {
        std::thread::sleep(BETWEEN_CHANGES);
        let before = served();
        authority.issue("client", &as_client(serial, "root"));
        authority.issue("member", &Wish { serial: serial + 1, ..Wish::default() });
        wait_for(NOTICED_WITHIN, "new certificates", || {
            served().iter().zip(&before).all(|(now, before)| now != before)
        });
    };
    renew(&pki.authority, 20);
    replace(&trusted, [pki.authority.pem(), second.pem()].concat().as_bytes());
    wait_for(NOTICED_WITHIN, "the new authority beside the old", || are_in(&newcomer));
    assert!(are_in(&former));
    renew(second, 22);
    std::thread::sleep(BETWEEN_CHANGES);
    replace(&trusted, second.pem().as_bytes());
    wait_for(NOTICED_WITHIN, "the old authority to be forgotten", || are_out(&former));
    assert!(are_in(&revoked));
    replace(&pki.path("list"), &second.revoke(&[99, 41]));
    wait_for(NOTICED_WITHIN, "a revoked client to be refused", || are_out(&revoked));
    assert!(are_in(&newcomer));
    std::thread::sleep(BETWEEN_CHANGES);
}

fn is_let_in(addr: SocketAddr, authority: &Path, shown: &Issued) -> bool {
    let stream = TcpStream::connect(addr).unwrap();
    health(secured(stream, authority, shown)).starts_with("HTTP/1.1 ")
}

#[test]
fn certificates_that_are_no_good_are_refused_and_the_log_says_why() {
    let pki = Pki::new();
    let Some(cluster) = start(&pki) else { return };
    let stranger = Authority::new(pki.dir.path(), "stranger");
    let of_client = |name: &str, wish: &Wish<'_>| pki.authority.issue(name, wish);
    let revoked = of_client("revoked", &as_client(41, "root"));
    replace(&pki.path("list"), &pki.authority.revoke(&[41]));
    let expired = Wish { lasts: (-9, -2), ..as_client(40, "root") };
    let early = Wish { lasts: (2, 9), ..as_client(42, "root") };
    let elsewhere = Wish { hosts: &["192.0.2.1"], ..as_client(43, "root") };
    let everywhere = &["client", "peer"][..];
    let member = &cluster.members[0];
    // Whoever looked at the files just before they changed does not look again at once.
    wait_for(NOTICED_WITHIN, "a revoked client to be refused", || {
        [member.client, member.peer]
            .iter()
            .all(|addr| !is_let_in(*addr, &pki.authority.cert(), &revoked))
    });
    for (shown, endpoints, reason) in [
        (of_client("expired", &expired), everywhere, "x509: certificate has expired"),
        (of_client("early", &early), everywhere, "x509: certificate is not valid yet"),
        (
            stranger.issue("other", &as_client(11, "root")),
            everywhere,
            "x509: certificate signed by unknown authority",
        ),
        (revoked, everywhere, "certificate revoked"),
        (
            of_client("elsewhere", &elsewhere),
            &["peer"],
            "tls: 127.0.0.1 does not match any of DNSNames [] nor of IP addresses",
        ),
    ] {
        for endpoint in endpoints {
            let addr = if *endpoint == "peer" { member.peer } else { member.client };
            assert!(!is_let_in(addr, &pki.authority.cert(), &shown), "{reason} {endpoint}");
            let refused = format!("rejected connection on {endpoint} endpoint");
            wait_for(NOTICED_WITHIN, reason, || {
                let log = fs::read_to_string(&member.log_path).unwrap();
                log.lines().any(|line| line.contains(&refused) && line.contains(reason))
            });
        }
    }
    assert!(is_let_in(member.client, &pki.authority.cert(), &pki.client));
    assert!(is_let_in(member.peer, &pki.authority.cert(), &pki.client));
}
