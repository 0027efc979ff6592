//! The JSON gateway of one member: a session written down in `accept/gateway.txt`, websockets,
//! and what comes of the gateway's absence.
//!
#![allow(clippy::unwrap_used)]

mod accept;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use accept::wire::{Exchange, ask, transcribe};
use accept::{Cluster, Options};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// Texts that numbers follow which nobody can know.
const UNKNOWN_AFTER: [&str; 7] = [
    "127.0.0.1:",
    "\"hash\":",
    "\"dbSize\":\"",
    "\"dbSizeInUse\":\"",
    "\"raftIndex\":\"",
    "\"raftAppliedIndex\":\"",
    "\"TTL\":\"",
];
const REVISION_AFTER: [&str; 2] = ["revision\":\"", "\"rev\":\""];

/// What answers say about who answered, as the first one says it.
struct Ids {
    cluster: String,
    member: String,
}

impl Ids {
    fn of(text: &str) -> Self {
        let number = |name: &str| {
            let (_, rest) = text.split_once(name).expect("an answer with a header");
            rest.chars().take_while(char::is_ascii_digit).collect()
        };
        Self { cluster: number("\"cluster_id\":\""), member: number("\"member_id\":\"") }
    }

    fn named(&self, text: &str) -> String {
        text.replace(&self.cluster, "CLUSTER").replace(&self.member, "MEMBER")
    }

    fn hidden(&self, text: &str) -> String {
        let ids = "\"cluster_id\":\"CLUSTER\",\"member_id\":\"MEMBER\",";
        self.named(text).replace(ids, "").replace(",\"raft_term\":\"2\"", "")
    }
}

/// A text with N for the numbers behind any of these.
fn masked(text: &str, after: &[&str]) -> String {
    after.iter().fold(text.to_owned(), |text, prefix| {
        let mut parts = text.split(prefix);
        let mut masked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            let number = if rest.len() < part.len() { "N" } else { "" };
            masked.extend([prefix, number, rest]);
        }
        masked
    })
}

fn is_as_expected(found: &[String], expected: &[String]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| match expected.split_once('*') {
            Some((start, end)) => found.starts_with(start) && found.ends_with(end),
            None => found == expected,
        })
}

/// The transcript's steps: a request and its answer's lines. A step without an answer is a
/// direction.
fn steps(text: &str) -> Vec<(String, Vec<String>)> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), lines.last_mut()) {
            (Some(rest), Some(begun)) => begun.push_str(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines {
        match (line.starts_with(['<', '+', '.', '~']), steps.last_mut()) {
            (true, Some((_, answer))) => answer.push(line),
            _ => steps.push((line, Vec::new())),
        }
    }
    steps
}

#[test]
fn the_session_goes_as_written() {
    let cluster = Cluster::start(1);
    let server = cluster.members[0].client;
    let mut ids = None;
    let mut unknown_after = UNKNOWN_AFTER.to_vec();
    let mut wrong = Vec::new();
    for (step, expected) in steps(include_str!("accept/gateway.txt")) {
        if step == "revisions N" {
            unknown_after.extend(REVISION_AFTER);
            continue;
        }
        let mut words = step.splitn(4, ' ').skip(1);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let body = words.next().unwrap_or_default();
        let found = transcribe(server, &format!("{method} {path}"), body);
        let found: Vec<String> = match &ids {
            None => {
                let first = Ids::of(&found[0]);
                let named = found.iter().map(|line| first.named(line)).collect();
                ids = Some(first);
                named
            }
            Some(ids) => {
                found.iter().map(|line| masked(&ids.hidden(line), &unknown_after)).collect()
            }
        };
        if !is_as_expected(&found, &expected) {
            wrong.push(format!("{step}\n{}\n", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} answers are others:\n{}", wrong.len(), wrong.join("\n"));
}

/// A websocket to a path, which must be granted.
fn websocket(server: SocketAddr, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (socket, _) = client(format!("ws://{server}{path}"), stream).unwrap();
    socket
}

/// The next message, without who answered.
fn told(socket: &mut WebSocket<TcpStream>) -> String {
    match socket.read().unwrap() {
        Message::Text(text) if text.contains("\"cluster_id\"") => Ids::of(&text).hidden(&text),
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn websockets_carry_one_message_a_frame() {
    let cluster = Cluster::start(1);
    let server = cluster.members[0].client;
    let mut socket = websocket(server, "/v3/watch");
    socket.send(Message::text(r#"{"create_request":{"key":"YQ==","prev_kv":true}}"#)).unwrap();
    assert_eq!(told(&mut socket), r#"{"result":{"header":{"revision":"1"},"created":true}}"#);
    let put = r#"{"key":"YQ==","value":"MQ=="}"#.as_bytes();
    assert_eq!(ask(server, "POST /v3/kv/put", "", put).0, 200);
    assert_eq!(
        told(&mut socket),
        "{\"result\":{\"header\":{\"revision\":\"2\"},\"events\":[{\"kv\":{\"key\":\"YQ==\",\
         \"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"MQ==\"}}]}}"
    );
    // A message may come in pieces, and several in one.
    socket.send(Message::text(r#"{"create_request":{"key""#)).unwrap();
    socket.send(Message::binary(r#":"Yg=="}}{"cancel_request":{"watch_id":0}}"#)).unwrap();
    let created = r#"{"result":{"header":{"revision":"2"},"watch_id":"1","created":true}}"#;
    assert_eq!(told(&mut socket), created);
    assert_eq!(told(&mut socket), r#"{"result":{"header":{"revision":"2"},"canceled":true}}"#);
    socket.close(None).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Close(_)));

    let mut socket = websocket(server, "/v3/lease/keepalive");
    for id in ["5", "6"] {
        socket.send(Message::text(format!(r#"{{"ID":"{id}"}}"#))).unwrap();
        let expected = format!(r#"{{"result":{{"header":{{"revision":"2"}},"ID":"{id}"}}}}"#);
        assert_eq!(told(&mut socket), expected);
    }
    let mut socket = websocket(server, "/v3/nothing");
    assert_eq!(told(&mut socket), r#"{"code":5,"message":"Not Found"}"#);
}

#[test]
fn events_arrive_while_the_stream_is_open_and_calls_are_counted() {
    let cluster = Cluster::start(1);
    let server = cluster.members[0].client;
    let create = br#"{"create_request":{"key":"YQ=="}}"#;
    let mut watch = Exchange::start(server, "POST /v3/watch", "", create);
    assert_eq!(watch.code(Duration::from_secs(20)), Some(200));
    assert!(watch.head.contains("\r\ncontent-type: application/json\r\n"), "{}", watch.head);
    assert!(watch.chunk().ends_with("\"created\":true}}\n"));
    for value in ["MQ==", "Mg=="] {
        let put = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
        assert_eq!(ask(server, "POST /v3/kv/put", "", put.as_bytes()).0, 200);
        let event = watch.chunk();
        assert!(event.ends_with(&format!("\"value\":\"{value}\"}}}}]}}}}\n")), "{event}");
    }
    watch.leave();
    let is_counted = |line: &str| {
        let (_, text) = ask(server, "GET /metrics", "", b"");
        let mut lines = text.lines().map(|line| {
            let mut parts: Vec<&str> = line.split(['{', ',', '}']).collect();
            parts.sort_unstable();
            parts.join(",")
        });
        let mut parts: Vec<&str> = line.split(',').collect();
        parts.sort_unstable();
        lines.any(|found| found == parts.join(","))
    };
    let put = "grpc_server_handled_total,grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",\
               grpc_type=\"unary\",grpc_code=\"OK\", 2";
    assert!(is_counted(put));
    let watched = "grpc_server_handled_total,grpc_method=\"Watch\",\
                   grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\",\
                   grpc_code=\"Canceled\", 1";
    accept::wait_for(Duration::from_secs(20), "the watch to end", || is_counted(watched));
}

#[test]
fn a_server_may_do_without() {
    let flags = vec!["--enable-grpc-gateway=false".into()];
    let cluster = Cluster::start_with(1, &Options { flags });
    let server = cluster.members[0].client;
    for path in ["/v3/kv/range", "/v3beta/watch", "/v3/"] {
        let (code, text) = ask(server, &format!("POST {path}"), "", b"{}");
        assert_eq!((code, text.as_str()), (404, "404 page not found\n"));
    }
    assert_eq!(ask(server, "GET /version", "", b"").0, 200);
}
