//! TLS between real processes: who is let in and who is kept out, and storms. What a whole secure
//! cluster does while its certificates change is in `accept_secure.rs`.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod accept;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use accept::ctl::Ctl;
use accept::pki::{Authority, Issued, Wish, replace};
use accept::secured::{Pki, as_client, flag, health, secured, shown};
use accept::{Cluster, Options, assert_eventually, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

/// How long a change of files may take to be noticed, on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn etcdctl_proves_who_it_is_and_others_are_kept_out() {
    let pki = Pki::new();
    let cluster = Cluster::start_with(1, &pki.options());
    let Some(ctl) = pki.ctl(&cluster) else { return };
    assert_eq!(ctl.run(&["put", "a", "1"]), "OK\n");
    assert_eq!(ctl.run(&["get", "a", "--print-value-only"]), "1\n");
    let watch = ctl.follow(&["watch", "a", "--rev=2"]);
    assert_eq!(watch.next_lines(3), ["PUT", "a", "1"]);
    let status = ctl.json(&["endpoint", "status"]);
    assert!(status[0]["Endpoint"].as_str().unwrap().starts_with("https://"));
    ctl.run(&["endpoint", "health"]);
    assert!(ctl.run(&["member", "list"]).contains("https://"));
    let backup = pki.path("backup").display().to_string();
    assert!(ctl.run(&["snapshot", "save", &backup]).contains("Snapshot saved"));

    let nobody = Ctl::find(&cluster).unwrap();
    let variable = |path: PathBuf| ("ETCDCTL_CACERT".to_owned(), path.display().to_string());
    let nameless = nobody.with(vec![variable(pki.authority.cert())]);
    nameless.fail(&["get", "a", "--command-timeout=2s"]);
    let stranger = Authority::new(pki.dir.path(), "stranger");
    let other = stranger.issue("other", &as_client(12, "root"));
    nobody.with(shown(&pki.authority.cert(), &other)).fail(&["get", "a", "--command-timeout=2s"]);
    nobody.with(shown(&stranger.cert(), &pki.client)).fail(&["get", "a", "--command-timeout=2s"]);
    let plain = nobody.at(cluster.endpoints().replace("https", "http"));
    plain.fail(&["get", "a", "--command-timeout=2s"]);
    let log = cluster.members[0].log();
    for reason in [
        "client didn't provide a certificate; give it one",
        "x509: certificate signed by unknown authority; add",
        "first record does not look like a TLS handshake; use an https URL",
    ] {
        assert!(log.contains(reason), "{reason}");
    }
    assert!(log.contains("rejected connection on client endpoint"));
    assert!(log.contains("serving client traffic securely"));
}

#[test]
fn three_members_survive_the_death_of_each() {
    let pki = Pki::new();
    let mut cluster = Cluster::start_with(3, &pki.options());
    let Some(ctl) = pki.ctl(&cluster) else { return };
    let put_through = |ctl: &Ctl, key: &str, value: &str| {
        assert_eventually(NOTICED_WITHIN, &"OK\n".to_owned(), || {
            String::from_utf8_lossy(&ctl.output(&["put", key, value]).stdout).into_owned()
        });
    };
    for number in 0..3 {
        put_through(&ctl, "n", &number.to_string());
        cluster.members[number].kill();
        let others = [&cluster.members[(number + 1) % 3], &cluster.members[(number + 2) % 3]];
        let ctl = ctl.at(others.map(|member| member.url()).join(","));
        put_through(&ctl, "m", "x");
        assert_eq!(ctl.run(&["get", "n", "--print-value-only"]), format!("{number}\n"));
        cluster.members[number].start();
    }
    for member in &cluster.members {
        assert_eq!(ctl.at(member.url()).run(&["get", "n", "--print-value-only"]), "2\n");
        assert!(!member.log().contains("rejected connection"));
    }
}

/// Large answers, and a member that is so far behind that it is sent the whole state.
#[test]
fn much_passes_through_tls() {
    let pki = Pki::new();
    let few = ["--snapshot-count=10", "--snapshot-catchup-entries=5"].map(str::to_owned);
    let options = Options { flags: [&pki.flags()[..], &few].concat() };
    let mut cluster = Cluster::start_with(3, &options);
    let Some(ctl) = pki.ctl(&cluster) else { return };
    cluster.members[2].kill();
    let ctl = ctl.at([cluster.members[0].url(), cluster.members[1].url()].join(","));
    let value = |number: usize| char::from(b'a' + number as u8).to_string().repeat(200_000);
    for number in 0..24 {
        let put = ctl.run_with_input(&["put", &format!("k{number:02}")], &value(number));
        assert_eq!(put, "OK\n");
    }
    cluster.members[2].start();
    let late = ctl.at(cluster.members[2].url());
    let all: String = (0..24).map(|number| value(number) + "\n").collect();
    let asked = ["get", "k", "--prefix", "--print-value-only"];
    wait_for(NOTICED_WITHIN, "the whole state", || {
        let read = late.output(&[&asked[..], &["--consistency=s"]].concat());
        read.stdout == all.as_bytes()
    });
    assert!(ctl.run(&asked) == all);
    let sent = |member: &accept::Member| member.log().contains("sent database snapshot");
    assert!(cluster.members[..2].iter().any(sent));
}

#[test]
fn a_revoked_client_stays_in_until_it_leaves_and_unusable_files_change_nothing() {
    let pki = Pki::new();
    let cluster = Cluster::start_with(1, &pki.options_with_list());
    let Some(ctl) = pki.ctl(&cluster) else { return };
    let revoked = pki.authority.issue("revoked", &as_client(41, "root"));
    let revoked_ctl = ctl.with(shown(&pki.authority.cert(), &revoked));
    let watch = revoked_ctl.follow(&["watch", "k"]);
    let assert_heard = |value: &str| {
        assert_eq!(ctl.run(&["put", "k", value]), "OK\n");
        assert_eq!(watch.next_lines(3), ["PUT", "k", value]);
    };
    std::thread::sleep(Duration::from_millis(300));
    assert_heard("1");
    replace(&pki.path("list"), &pki.authority.revoke(&[99, 41]));
    wait_for(NOTICED_WITHIN, "the revoked client to be refused", || {
        !revoked_ctl.output(&["get", "k", "--command-timeout=2s"]).status.success()
    });
    assert_heard("2");

    replace(&pki.member.cert, b"nothing");
    let complaint = "TLS files have changed and cannot be used";
    wait_for(NOTICED_WITHIN, "a complaint", || {
        ctl.run(&["get", "k"]);
        cluster.members[0].log().contains(complaint)
    });
    assert_heard("3");
}

const HEALTHY: &str = "\"health\":\"true\"";

#[test]
fn members_are_judged_by_list_name_and_address() {
    let pki = Pki::new();
    let named = pki.authority.issue("named", &Wish { common_name: "m", ..Wish::default() });
    let elsewhere = Wish { serial: 7, hosts: &["192.0.2.1"], ..Wish::default() };
    let elsewhere = pki.authority.issue("elsewhere", &elsewhere);
    let pair = |issued: &Issued| {
        vec![flag("peer-client-cert-file", &issued.cert), flag("peer-client-key-file", &issued.key)]
    };
    let list = pki.path("list");
    replace(&list, &pki.authority.revoke(&[10]));
    for (flags, reason) in [
        (vec![flag("peer-crl-file", &list)], "certificate revoked: its serial number"),
        (vec!["--peer-cert-allowed-cn=n".to_owned()], "client certificate authentication failed"),
        (pair(&elsewhere), "tls: 127.0.0.1 does not match any of DNSNames"),
    ] {
        let options = Options { flags: [pki.flags(), flags].concat() };
        let mut cluster = Cluster::prepare(3, &options);
        cluster.members.iter_mut().for_each(accept::Member::spawn);
        wait_for(NOTICED_WITHIN, reason, || cluster.members[0].log().contains(reason));
        assert!(!cluster.members[0].log().contains(accept::READY));
    }
    let mut flags = pki.flags();
    flags.retain(|flag| !flag.starts_with("--peer-cert") && !flag.starts_with("--peer-key"));
    flags.extend([flag("peer-cert-file", &named.cert), flag("peer-key-file", &named.key)]);
    flags.push("--peer-cert-allowed-cn=m".to_owned());
    drop(Cluster::start_with(3, &Options { flags }));
    let skipping = vec!["--peer-skip-client-san-verification".to_owned()];
    let flags = [pki.flags(), pair(&elsewhere), skipping].concat();
    drop(Cluster::start_with(3, &Options { flags }));
}

#[test]
fn members_make_their_own_certificates() {
    let flags = vec!["--auto-tls".to_owned(), "--peer-auto-tls".to_owned()];
    let cluster = Cluster::start_with(3, &Options { flags });
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let blind = ["--insecure-transport=false", "--insecure-skip-tls-verify"];
    assert_eq!(ctl.run(&[&["put", "a", "1"][..], &blind].concat()), "OK\n");
    // Its own certificate is authority enough.
    let made = cluster.members[0].data_dir.join("fixtures/client/cert.pem");
    let trusting = ("ETCDCTL_CACERT".to_owned(), made.display().to_string());
    let ctl = ctl.at(cluster.members[0].url()).with(vec![trusting]);
    assert_eq!(ctl.run(&["get", "a", "--print-value-only"]), "1\n");
}

#[test]
fn one_port_takes_both_and_metrics_are_asked_for_with_certificates() {
    let pki = Pki::new();
    let mut cluster = Cluster::prepare(1, &pki.options());
    let member = &mut cluster.members[0];
    let (client, metrics) = (member.client, accept::free_addr());
    member.replace_flag("listen-client-urls", &format!("http://{client},https://{client}"));
    member.replace_flag("listen-metrics-urls", &format!("https://{metrics}"));
    member.start();
    let Some(ctl) = pki.ctl(&cluster) else { return };
    assert_eq!(ctl.run(&["put", "a", "1"]), "OK\n");
    let plain = Ctl::find(&cluster).unwrap().at(format!("http://{client}"));
    assert_eq!(plain.run(&["get", "a", "--print-value-only"]), "1\n");
    let connect = |address: SocketAddr| TcpStream::connect(address).unwrap();
    assert!(health(connect(client)).contains(HEALTHY));
    assert!(health(secured(connect(client), &pki.authority.cert(), &pki.client)).contains(HEALTHY));
    assert!(
        health(secured(connect(metrics), &pki.authority.cert(), &pki.client)).contains(HEALTHY)
    );
    assert!(!health(connect(metrics)).contains("HTTP/1.1 200"));
}

#[test]
fn sockets_in_the_file_system_serve_with_and_without_tls() {
    let pki = Pki::new();
    let dir = TempDir::with_prefix("unix").unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for scheme in ["unix", "unixs"] {
        let flags = if scheme == "unixs" { pki.flags() } else { Vec::new() };
        let mut cluster = Cluster::prepare(3, &Options { flags });
        let peers: Vec<_> =
            (0..3).map(|n| format!("{scheme}://{}", path(&format!("p{n}")))).collect();
        let all: Vec<_> = peers.iter().enumerate().map(|(n, url)| format!("m{n}={url}")).collect();
        for (number, member) in cluster.members.iter_mut().enumerate() {
            let client = format!("{scheme}://{}", path(&format!("c{number}")));
            member.replace_flag("listen-client-urls", &client);
            member.replace_flag("advertise-client-urls", &client);
            member.replace_flag("listen-peer-urls", &peers[number]);
            member.replace_flag("initial-advertise-peer-urls", &peers[number]);
            member.replace_flag("initial-cluster", &all.join(","));
            member.spawn();
        }
        cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
        let connect = || UnixStream::connect(path("c1")).unwrap();
        if scheme == "unixs" {
            assert!(
                health(secured(connect(), &pki.authority.cert(), &pki.client)).contains(HEALTHY)
            );
        } else if let Some(ctl) = Ctl::find(&cluster) {
            let ctl = ctl.at(format!("unix://{}", path("c1")));
            assert_eq!(ctl.run(&["put", "a", "1"]), "OK\n");
        }
        // What is left over of a killed member does not keep the next one from starting.
        cluster.members[1].kill();
        assert!(fs::exists(path("c1")).unwrap());
        cluster.members[1].start();
        cluster.members[1].signal(Signal::TERM);
        cluster.members[1].wait_for_exit(Duration::from_secs(10));
        assert!(!fs::exists(path("c1")).unwrap(), "it goes with who listened there");
    }
}

#[test]
fn ipv6_is_as_good() {
    let Ok(probe) = std::net::TcpListener::bind("[::1]:0") else {
        return accept::skip("no IPv6 here");
    };
    drop(probe);
    let pki = Pki::new();
    let mut cluster = Cluster::prepare(3, &pki.options());
    let ports: Vec<_> = cluster.members.iter().map(|m| (m.client.port(), m.peer.port())).collect();
    let url = |port: u16| format!("https://[::1]:{port}");
    let all: Vec<_> = (0..3).map(|n| format!("m{n}={}", url(ports[n].1))).collect();
    for (member, (client, peer)) in cluster.members.iter_mut().zip(&ports) {
        // All addresses of both families are one place.
        member.replace_flag("listen-client-urls", &format!("https://0.0.0.0:{client}"));
        member.replace_flag("advertise-client-urls", &url(*client));
        member.replace_flag("listen-peer-urls", &url(*peer));
        member.replace_flag("initial-advertise-peer-urls", &url(*peer));
        member.replace_flag("initial-cluster", &all.join(","));
        member.spawn();
    }
    cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
    let Some(ctl) = pki.ctl(&cluster) else { return };
    assert_eq!(ctl.at(url(ports[0].0)).run(&["put", "a", "1"]), "OK\n");
    let by_ipv4 = ctl.at(format!("https://127.0.0.1:{}", ports[1].0));
    assert_eq!(by_ipv4.run(&["get", "a", "--print-value-only"]), "1\n");
}

/// Connections that say nothing, and ones that say half of what they should, thousands a second.
#[test]
fn a_storm_of_half_open_handshakes_starves_nobody() {
    let pki = Pki::new();
    let cluster = Cluster::start_with(1, &pki.options());
    let Some(ctl) = pki.ctl(&cluster) else { return };
    ctl.run(&["put", "a", "1"]);
    let watch = ctl.follow(&["watch", "a", "--rev=2"]);
    assert_eq!(watch.next_lines(3), ["PUT", "a", "1"]);

    let address = cluster.members[0].client;
    let is_over = AtomicBool::new(false);
    let hello = client_hello();
    std::thread::scope(|scope| {
        for words in [&[][..], &hello[..40], &hello] {
            let is_over = &is_over;
            scope.spawn(move || storm(address, words, is_over));
        }
        // The storm is there: more connections than are kept, and they are not let in.
        std::thread::sleep(Duration::from_secs(2));
        let mut slowest = Duration::ZERO;
        for number in 0..10 {
            let begun = Instant::now();
            let value = number.to_string();
            assert_eq!(ctl.run(&["put", "a", &value]), "OK\n");
            slowest = slowest.max(begun.elapsed());
            assert_eq!(watch.next_lines(3), ["PUT", "a", value.as_str()]);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        eprintln!("the slowest of ten in the storm took {slowest:?}");
    });
    assert_eq!(ctl.run(&["put", "a", "calm"]), "OK\n");
}

/// Keeps hundreds of connections open that said these words, and replaces the oldest by new ones.
fn storm(address: SocketAddr, words: &[u8], is_over: &AtomicBool) {
    const KEPT: usize = 700;
    let mut kept = std::collections::VecDeque::new();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
            continue;
        };
        // Whoever was sent away is replaced as well.
        let _ = stream.write_all(words);
        kept.push_back(stream);
        if kept.len() > KEPT {
            kept.pop_front();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What a client says first.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    let config = Arc::new(config.with_no_client_auth());
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    hello
}
