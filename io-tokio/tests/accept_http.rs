//! HTTP beside the JSON gateway: whose pages may ask, by which names, on which listeners; variables
//! and profiles. What a real etcd answers is what is expected.

mod accept;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "compat/judge.rs"]
mod judge;

use std::net::SocketAddr;
use std::time::Duration;

use accept::wire::{Exchange, ask, get};
use accept::{Cluster, Options, free_addr};

const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The code of an answer, and what it tells browsers.
fn told(server: SocketAddr, lines: &str) -> String {
    let head = format!("{lines}\ncontent-length: 0\n\n").replace('\n', "\r\n");
    let mut exchange = Exchange::raw(server, &head, b"");
    let code = exchange.code(ANSWER_MAX).expect("an answer");
    let mut lines: Vec<&str> =
        exchange.head.lines().filter(|line| line.starts_with("access-control")).collect();
    lines.sort_unstable();
    format!("{code} {}", lines.join("; "))
}

#[test]
fn origins_and_hosts_are_judged_as_by_etcd() {
    let Some(judge) = judge::find() else { return };
    let listed =
        ["--cors=http://a.example:80,https://b.example:1", "--host-whitelist=127.0.0.1,me"];
    let mut compared = 0;
    for flags in [&[][..], &listed] {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let both = judge::start_both(&judge, &flags);
        for line in ["GET /version", "GET /nothing", "POST /v3/kv/range", "OPTIONS /v3/kv/put"] {
            for more in [
                "host: 127.0.0.1:2379",
                "host: me",
                "host: ME",
                "host: evil.example",
                "host: me\norigin: http://a.example:80",
                "host: me\norigin: https://b.example:1",
                "host: me\norigin: http://evil.example",
                "host: evil.example\norigin: http://a.example:80",
            ] {
                let lines = format!("{line} HTTP/1.1\n{more}");
                let [etcd, ours] = both.each_ref().map(|it| told(it.members[0].client, &lines));
                assert_eq!(ours, etcd, "{flags:?} {lines}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 64);
}

#[test]
fn http_has_listeners_of_its_own_where_they_are_given() {
    let mut cluster = Cluster::prepare(1, &Options::default());
    let http = free_addr();
    let member = &mut cluster.members[0];
    member.replace_flag("listen-client-http-urls", &format!("http://{http}"));
    member.start();
    let grpc = member.client;
    let log = member.log();
    assert!(log.contains("\"traffic\":\"grpc\"") && log.contains("\"traffic\":\"http\""), "{log}");
    assert_eq!(get(http, "/version").0, 200);
    assert_eq!(get(http, "/health").0, 200);
    let put = br#"{"key":"Zm9v","value":"YmFy"}"#;
    assert_eq!(ask(http, "POST /v3/kv/put", "", put).0, 200);
    let api = accept::api::Api::new(grpc);
    assert_eq!(api.range_all(false).expect("gRPC is there").kvs.len(), 1);
    // There is nobody who would understand it.
    let heard = std::panic::catch_unwind(|| {
        Exchange::raw(grpc, "GET /version HTTP/1.1\r\nhost: x\r\n\r\n", b"").code(ANSWER_MAX)
    });
    assert!(heard.is_err(), "{heard:?}");
    let elsewhere = accept::api::Api::new(http);
    assert!(elsewhere.range_all(false).is_err());
}

#[test]
fn variables_have_etcds_names() {
    let Some(judge) = judge::find() else { return };
    let both = judge::start_both(&judge, &[]);
    let [etcd, ours] = both.each_ref().map(|it| {
        let (code, text) = get(it.members[0].client, "/debug/vars");
        assert_eq!(code, 200);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    });
    let names = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(names(&ours), names(&etcd));
    assert_eq!(ours["file_descriptor_limit"], etcd["file_descriptor_limit"]);
    let raft = names(&etcd["raft.status"]);
    let missing: Vec<&String> =
        raft.iter().filter(|name| ours["raft.status"].get(name.as_str()).is_none()).collect();
    assert_eq!(missing, ["vote"]);
    for name in names(&ours["memstats"]) {
        let kind = |value: &serde_json::Value| std::mem::discriminant(&value["memstats"][&name]);
        assert_eq!(kind(&ours), kind(&etcd), "{name}");
    }
}

#[test]
fn profiles_are_taken_where_they_are_asked_for() {
    let cluster = Cluster::start(1);
    assert_eq!(get(cluster.members[0].client, "/debug/pprof/").0, 404);
    let flags = vec!["--enable-pprof".to_owned()];
    let cluster = Cluster::start_with(1, &Options { flags });
    let server = cluster.members[0].client;
    assert_eq!(get(server, "/debug/pprof/").0, 200);
    assert!(get(server, "/debug/pprof/cmdline").1.contains("\0--enable-pprof"));
    let (code, why) = get(server, "/debug/pprof/heap");
    assert_eq!((code, why.contains("heaptrack")), (501, true), "{why}");
    // Long enough that the second comes while the first is taken, or the other way round.
    let path = "GET /debug/pprof/profile?seconds=3";
    let first = Exchange::start(server, path, "", b"");
    std::thread::sleep(Duration::from_millis(300));
    let mut both = [first, Exchange::start(server, path, "", b"")];
    let codes = both.each_mut().map(|exchange| exchange.code(ANSWER_MAX));
    if codes[0] == Some(500) {
        both.reverse();
    }
    assert!(codes.contains(&Some(200)) && codes.contains(&Some(500)), "{codes:?}");
    let [taken, refused] = &mut both;
    assert!(taken.head.contains("application/octet-stream"), "{}", taken.head);
    let why = refused.body();
    assert!(why.contains("cpu profiling already in use"), "{why}");
}
