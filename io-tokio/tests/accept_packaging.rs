//! What is in `io-tokio/packaging/`: it fits the program that it is for.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod accept;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use accept::api::Api;
use accept::wire::get;
use accept::{Cluster, Options, free_addr, skip, wait_for};
use serde_json::Value;
use tempfile::TempDir;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn read(name: &str) -> String {
    fs::read_to_string(packaging().join(name)).unwrap()
}

/// systemd starts what waits for a member when it says so; it says so when it serves.
#[test]
fn a_supervisor_is_told_when_it_serves() {
    let mut cluster = Cluster::prepare(1, &Options::default());
    let path = cluster.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let member = &mut cluster.members[0];
    member.env.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
    member.spawn();
    let mut said = [0; 64];
    let length = socket.recv(&mut said).unwrap();
    assert_eq!(std::str::from_utf8(&said[..length]).unwrap().trim_end(), "READY=1");
    Api::new(member.client).put("a", b"1".to_vec()).unwrap();
}

/// Everything that looks like a metric's name, without what histograms add.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_metric =
        |word: &&str| ["etcd_", "grpc_server_", "process_"].iter().any(|it| word.starts_with(it));
    let base = |word: &str| word.strip_suffix("_bucket").unwrap_or(word).to_owned();
    words.filter(is_metric).map(base).collect()
}

/// The expressions of the dashboard.
fn expressions(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

#[test]
fn what_is_watched_is_told() {
    let cluster = Cluster::start(2);
    let told = || -> BTreeSet<String> {
        let page = get(cluster.members[0].client, "/metrics").1;
        let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        names.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    // It is told of peers once one has answered.
    wait_for(Duration::from_secs(20), "round trips", || {
        told().contains("etcd_network_peer_round_trip_time_seconds")
    });
    let told = told();
    let dashboard: Value = serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let drawn = metrics_in(&expressions(&dashboard).join(" "));
    let rules = read("monitoring/alerts.yaml");
    let is_expression = |line: &&str| line.trim_start().starts_with("expr: ");
    let watched = metrics_in(&rules.lines().filter(is_expression).collect::<Vec<_>>().join(" "));
    for used in [&drawn, &watched] {
        assert!(used.len() > 8, "{used:?}");
        let missing: Vec<_> = used.difference(&told).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    // Panels have numbers and places of their own.
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

/// Each alert says what is wrong, and the page on failures what to do about it.
#[test]
fn every_alert_has_its_section() {
    let rules = read("monitoring/alerts.yaml");
    let page = fs::read_to_string(packaging().join("../../docs/failures.md")).unwrap();
    let names = |text: &str, start: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.trim_start().strip_prefix(start))
            .map(str::to_owned)
            .collect()
    };
    let alerts = names(&rules, "- alert: ");
    assert_eq!(names(&page, "## "), alerts);
    assert_eq!(names(&rules, "summary: ").len(), alerts.len());
}

/// The service's configuration is one with which a member serves.
#[test]
fn the_services_configuration_serves() {
    let dir = TempDir::with_prefix("packaging").unwrap();
    let (client, peer) = (free_addr(), free_addr());
    let config = read("systemd/quorate.yaml")
        .replace("127.0.0.1:2379", &client.to_string())
        .replace("127.0.0.1:2380", &peer.to_string())
        .replace("/var/lib/quorate", &dir.path().display().to_string());
    let path = dir.path().join("quorate.yaml");
    fs::write(&path, config).unwrap();
    let mut member = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .arg("--config-file")
        .arg(&path)
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let api = Api::new(client);
    wait_for(Duration::from_secs(30), "a member", || api.put("a", b"1".to_vec()).is_ok());
    member.kill().unwrap();
    member.wait().unwrap();
}

/// Every flag that a manifest gives is one, and the addresses it names are those it opens.
#[test]
fn the_manifest_fits_the_program() {
    let manifest = read("kubernetes/quorate.yaml");
    let help = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = manifest.lines().filter_map(|line| line.trim_start().strip_prefix("- --"));
    let flags: Vec<&str> = flags.map(|flag| flag.split('=').next().unwrap()).collect();
    assert!(flags.len() > 8, "{flags:?}");
    for flag in flags {
        assert!(help.contains(&format!("\n  --{flag} ")), "--{flag}");
    }
    let members = (0..3).map(|it| format!("quorate-{it}=http://quorate-{it}.quorate-members:2380"));
    let members = members.collect::<Vec<_>>().join(",");
    assert!(manifest.contains(&format!("--initial-cluster={members}\n")));
}

/// A thousandth of the work that the program can be built by the profile of.
#[test]
fn the_work_of_a_profile_is_done() {
    // Below the ports that a system gives away.
    let port = 20_000 + std::process::id() % 1_000 * 10;
    let done = Command::new(packaging().join("pgo/load"))
        .args([env!("CARGO_BIN_EXE_quorate"), "1000"])
        .env("PORT", port.to_string())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let told = String::from_utf8(done.stdout).unwrap();
    let once = told.lines().filter(|line| line.contains(" --streams 100 ")).count();
    assert_eq!(once, 2, "on one member and on three: {told}");
}

/// Builds the package and looks into it.
#[test]
fn the_package_has_everything_in_its_place() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        skip("dpkg-deb not found");
        return;
    }
    let dir = TempDir::with_prefix("packaging").unwrap();
    let built = Command::new(packaging().join("debian/build"))
        .arg(env!("CARGO_BIN_EXE_quorate"))
        .arg(dir.path())
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let package = String::from_utf8(built.stdout).unwrap();
    let list = Command::new("dpkg-deb").args(["--contents", package.trim_end()]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let files: Vec<&str> = list
        .lines()
        .filter(|line| line.starts_with('-'))
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(
        files,
        [
            "./etc/quorate/quorate.yaml",
            "./usr/bin/quorate",
            "./usr/lib/systemd/system/quorate.service",
            "./usr/share/doc/quorate/changelog.gz",
            "./usr/share/doc/quorate/copyright",
            "./usr/share/man/man1/quorate.1.gz",
        ]
    );
    let control = Command::new("dpkg-deb").args(["--field", package.trim_end()]).output().unwrap();
    let control = String::from_utf8(control.stdout).unwrap();
    let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    for field in ["Package: quorate\n", &version, "Depends: libc6"] {
        assert!(control.contains(field), "{control}");
    }
}
