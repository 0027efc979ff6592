//! The JSON gateway with raw HTTP on loopback, in front of a scripted member.
#![allow(clippy::unwrap_used)]

mod front_fake;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "accept/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use front_fake::{Call, Fake, Served, leading, loopback, serve, serve_with, view_of};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use quorate_core::error::Refusal;
use quorate_core::{Request, Response};
use quorate_io_tokio::gateway::Gateway;
use quorate_io_tokio::http::Surface;
use quorate_io_tokio::transport::listen::NoGrpc;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use tokio::task::spawn_blocking;
use tokio_tungstenite::tungstenite::{Message, client};
use wire::{Exchange, Next, ask};

/// How long something may take that must happen.
const SOON: Duration = Duration::from_secs(20);
/// How long to wait for what must not happen.
const MOMENT: Duration = Duration::from_millis(300);
const CREATE: &str = r#"{"create_request":{"key":"YQ=="}}"#;
const CREATED: &str = "{\"result\":{\"created\":true}}\n";

fn served(fake: &Fake) -> Served {
    let services = fake.services().unwrap();
    let gateway = Gateway::new(services.clone(), fake.front().limits.message_bytes_max);
    serve_with(loopback(), Some(services), Some(gateway), fake.pages(Surface::Client))
}

fn address(served: &Served) -> SocketAddr {
    served.authority.parse().unwrap()
}

/// Asks from a thread that may wait.
async fn posted(
    server: SocketAddr,
    path: &str,
    headers: &'static str,
    body: impl Into<Vec<u8>>,
) -> (u16, String) {
    let (request, body) = (format!("POST {path}"), body.into());
    spawn_blocking(move || ask(server, &request, headers, &body)).await.unwrap()
}

/// Answers puts, refuses everything else, and greets watches, as long as it runs.
async fn answer_all(mut fake: Fake) {
    while let Some(call) = fake.calls.recv().await {
        match call {
            Call::Request(Request::Put(_), answer) => {
                let _ = answer.send(Ok(Response::Put(pb::PutResponse::default())));
            }
            Call::Request(_, answer) => drop(answer.send(Err(Refusal::Stopped))),
            Call::Read(answer) => drop(answer.send(Ok(()))),
            _ => {}
        }
    }
}

/// The next call that is the opening of a watch; greets it.
async fn greeted(fake: &mut Fake) -> tokio::sync::mpsc::Sender<pb::WatchResponse> {
    let Some(Call::Open(_, _, frames)) = fake.calls.recv().await else { panic!() };
    let Some(Call::Watch(..)) = fake.calls.recv().await else { panic!() };
    frames.send(pb::WatchResponse { created: true, ..Default::default() }).await.unwrap();
    frames
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_text() {
    let fake = Fake::new(leading());
    let served = served(&fake);
    let server = address(&served);
    let answering = tokio::spawn(answer_all(fake));
    let large = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "QUFB".repeat(1_500));
    let larger = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "QUFB".repeat(4_100));
    for (path, body, code, expected) in [
        ("/v3/kv/put", r#"{"key":"YQ=="}"#, 200, "{}"),
        ("/v3/lease/grant", "", 503, r#"{"code":14,"message":"etcdserver: server stopped"}"#),
        (
            "/v3/kv/put",
            &large,
            429,
            r#"{"code":8,"message":"grpc: received message larger than max (4506 vs. 4096)"}"#,
        ),
        (
            "/v3/kv/put",
            &larger,
            429,
            r#"{"code":8,"message":"grpc: received JSON larger than max (16384)"}"#,
        ),
    ] {
        assert_eq!(posted(server, path, "", body).await, (code, expected.to_owned()));
    }
    answering.abort();
}

#[tokio::test]
async fn only_marked_headers_reach_the_services() {
    let mut facts = leading();
    facts.role.leader = None;
    let fake = Fake::new(facts);
    let served = served(&fake);
    let server = address(&served);
    for (headers, expected) in [
        ("hasleader: true\r\n", 200),
        ("grpc-metadata-grpc-encoding: zip\r\n", 200),
        ("Grpc-Metadata-HasLeader: true\r\nAuthorization: a\r\n", 503),
    ] {
        let (code, text) = posted(server, "/v3/maintenance/status", headers, "{}").await;
        assert_eq!(code, expected, "{text}");
    }
}

#[tokio::test]
async fn a_stream_outlives_its_half_close_and_ends_with_its_client() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let server = address(&served);
    let asking = spawn_blocking(move || {
        let head = "POST /v3/watch HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len()).into_bytes();
        let mut exchange = Exchange::raw(server, head, &chunk(&CREATE[..10]));
        assert_eq!(exchange.code(MOMENT), None);
        exchange.send(&chunk(&CREATE[10..]));
        assert_eq!(exchange.code(SOON), Some(200));
        assert_eq!(exchange.chunk(), CREATED);
        exchange.send(&chunk(r#"{"cancel_request":{"watch_id":"5"}}"#));
        exchange.send(b"0\r\n\r\n");
        assert_eq!(exchange.next(MOMENT), Next::Silence);
        exchange
    });
    let frames = greeted(&mut fake).await;
    let cancelled = fake.calls.recv().await;
    assert!(matches!(cancelled, Some(Call::Watch(..))), "{cancelled:?}");
    let exchange = asking.await.unwrap();
    frames.send(pb::WatchResponse { watch_id: 7, ..Default::default() }).await.unwrap();
    let told = spawn_blocking(move || {
        let mut exchange = exchange;
        assert_eq!(exchange.chunk(), "{\"result\":{\"watch_id\":\"7\"}}\n");
        exchange.leave();
    });
    told.await.unwrap();
    let end = tokio::time::timeout(SOON, fake.calls.recv()).await.unwrap();
    assert!(matches!(end, Some(Call::Close(_))), "{end:?}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_is_missed() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let server = address(&served);
    for said_last in ["", "{\"create", "no JSON"] {
        let left = spawn_blocking(move || {
            let head = "POST /v3/watch HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";
            let body = format!("{CREATE}{said_last}");
            let mut exchange = Exchange::raw(server, head, body.as_bytes());
            assert_eq!(exchange.code(SOON), Some(200));
            assert_eq!(exchange.chunk(), CREATED);
            exchange.leave();
        });
        let _frames = greeted(&mut fake).await;
        left.await.unwrap();
        let end = tokio::time::timeout(SOON, fake.calls.recv()).await.unwrap();
        assert!(matches!(end, Some(Call::Close(_))), "{said_last}: {end:?}");
    }
}

#[tokio::test]
async fn a_websocket_that_closes_ends_its_call() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let server = address(&served);
    let socket = spawn_blocking(move || {
        let stream = std::net::TcpStream::connect(server).unwrap();
        let (mut socket, _) = client(format!("ws://{server}/v3/kv/put"), stream).unwrap();
        // The call takes one message only.
        for _ in 0..3 {
            socket.send(Message::text(r#"{"key":"YQ=="}"#)).unwrap();
        }
        socket
    });
    let socket = socket.await.unwrap();
    let call = fake.calls.recv().await;
    assert!(matches!(call, Some(Call::Request(Request::Put(_), _))), "{call:?}");
    let is_cancelled = || {
        let text = fake.metrics.text(&view_of(leading()));
        text.contains("grpc_method=\"Put\",grpc_code=\"Canceled\"} 1\n")
    };
    assert!(!is_cancelled());
    drop(socket);
    let ended = async {
        while !is_cancelled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, ended).await.unwrap();
}

#[tokio::test]
async fn a_stopping_server_ends_streams_and_websockets() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let server = address(&served);
    let (open, opened) = std::sync::mpsc::channel();
    let by_http = open.clone();
    let http = spawn_blocking(move || {
        let mut exchange = Exchange::start(server, "POST /v3/watch", "", CREATE.as_bytes());
        assert_eq!(exchange.code(SOON), Some(200));
        assert_eq!(exchange.chunk(), CREATED);
        by_http.send(()).unwrap();
        assert_eq!(exchange.next(SOON), Next::End);
    });
    let _first = greeted(&mut fake).await;
    let websocket = spawn_blocking(move || {
        let stream = std::net::TcpStream::connect(server).unwrap();
        let (mut socket, _) = client(format!("ws://{server}/v3/watch"), stream).unwrap();
        socket.send(Message::text(CREATE)).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(CREATED.trim_end()));
        open.send(()).unwrap();
        assert!(socket.read().is_err());
    });
    let _second = greeted(&mut fake).await;
    let both = spawn_blocking(move || [opened.recv_timeout(SOON), opened.recv_timeout(SOON)]);
    assert_eq!(both.await.unwrap(), [Ok(()), Ok(())]);
    served.connections.drain(SOON).await;
    http.await.unwrap();
    websocket.await.unwrap();
}

/// A connection of HTTP/2.
async fn http2(served: &Served) -> SendRequest<Full<bytes::Bytes>> {
    let stream = tokio::net::TcpStream::connect(&served.authority).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Browsers and Prometheus ask for HTTP/2 wherever there is TLS.
#[tokio::test]
async fn http2_carries_pages_where_there_is_no_grpc() {
    let fake = Fake::new(leading());
    let served = serve(loopback(), None::<NoGrpc>, fake.pages(Surface::Metrics));
    let mut sender = http2(&served).await;
    for (path, kind, code) in [("/livez", "text/plain", 200), ("/x", "application/grpc", 404)] {
        let request = http::Request::get(format!("{}{path}", served.url()));
        let request = request.header("content-type", kind).body(Full::default()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), code, "{path}");
    }
}

#[tokio::test]
async fn http2_carries_json_beside_grpc() {
    let fake = Fake::new(leading());
    let served = served(&fake);
    let answering = tokio::spawn(answer_all(fake));
    let sender = http2(&served).await;
    for (path, body, expected) in [
        ("/v3/kv/put", r#"{"key":"YQ=="}"#, "{}"),
        ("/v3/nothing", "", r#"{"code":5,"message":"Not Found"}"#),
        ("/nothing", "", "404 page not found\n"),
    ] {
        let uri = format!("{}{path}", served.url());
        let request = http::Request::post(uri).body(Full::<bytes::Bytes>::from(body)).unwrap();
        let answer = sender.clone().send_request(request).await.unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, expected);
    }
    let channel = tonic::transport::Channel::from_shared(served.url()).unwrap();
    let mut client = KvClient::new(channel.connect().await.unwrap());
    client.put(pb::PutRequest { key: "a".into(), ..Default::default() }).await.unwrap();
    answering.abort();
}

#[tokio::test]
async fn large_heads_and_slow_bodies_hurt_nobody() {
    let fake = Fake::new(leading());
    let served = served(&fake);
    let server = address(&served);
    let answering = tokio::spawn(answer_all(fake));
    let slow = spawn_blocking(move || {
        let body = br#"{"key":"YQ=="}"#;
        let head = format!(
            "POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut exchange = Exchange::raw(server, &head, b"");
        for byte in body {
            std::thread::sleep(Duration::from_millis(20));
            exchange.send(&[*byte]);
        }
        assert_eq!(exchange.code(SOON), Some(200));
    });
    let put = posted(server, "/v3/kv/put", "", r#"{"key":"YQ=="}"#).await;
    assert_eq!(put, (200, "{}".to_owned()));
    let large = spawn_blocking(move || {
        let head = format!("POST /v3/kv/put HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
        Exchange::raw(server, &head, b"").code(SOON)
    });
    assert_eq!(large.await.unwrap(), Some(431));
    slow.await.unwrap();
    answering.abort();
}

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// What is put into bodies: ends of JSON, numbers at their limits, depth, bytes that are no text.
const POISON: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"1e999",
    b"0.1",
    b"\xff\xfe",
    b"\xf0\x9f",
    b"\0",
    b"{\"success\":[{\"request_txn\":",
    b"[[[[[[[[[[[[[[[[",
    b"\"key\":\"Z\"",
    b"=",
    b"-",
];

fn mutated(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(body.len() + 1);
        match dice.below(4) {
            0 => body.truncate(at),
            1 => drop(body.drain(at..(at + dice.below(8)).min(body.len()))),
            2 => {
                let poison = POISON[dice.below(POISON.len())].repeat(1 + dice.below(200));
                body.splice(at..at, poison);
            }
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    body
}

/// Paths and bodies of a session in which every path occurs.
fn seeds() -> Vec<(String, String)> {
    let session = include_str!("accept/gateway.txt").replace("\n  ", "");
    let posts = session.lines().filter_map(|line| line.strip_prefix("> POST "));
    let split = |line: &str| match line.split_once(' ') {
        Some((path, body)) => (path.to_owned(), body.to_owned()),
        None => (line.to_owned(), "{}".to_owned()),
    };
    let snapshot = ("/v3/maintenance/snapshot".to_owned(), "{}".to_owned());
    posts.map(split).chain([snapshot]).collect()
}

#[tokio::test]
async fn whatever_is_sent_is_answered() {
    let fake = Fake::new(leading());
    let metrics = fake.metrics.clone();
    let served = served(&fake);
    let server = address(&served);
    let answering = tokio::spawn(answer_all(fake));
    let hammering = spawn_blocking(move || {
        let mut dice = Dice(1);
        for (path, body) in seeds() {
            // Streams wait for their first message, which never comes here.
            let is_stream = path.ends_with("watch") || path.ends_with("keepalive");
            // Recipes wait for their turn, and fail with etcd's code for what is wrong with their
            // answers, which here are another request's.
            let is_recipe = path.starts_with("/v3/lock/") || path.starts_with("/v3/election/");
            // Snapshots wait for the store to have what was applied, and here it never has.
            let is_snapshot = path.ends_with("snapshot");
            let may_wait = is_stream || is_recipe || is_snapshot;
            let wait_max = if may_wait { Duration::from_millis(10) } else { SOON };
            for _ in 0..12 {
                let body = mutated(body.as_bytes(), &mut dice);
                if is_stream {
                    let stream = std::net::TcpStream::connect(server).unwrap();
                    let (mut socket, _) = client(format!("ws://{server}{path}"), stream).unwrap();
                    socket.send(Message::binary(body.clone())).unwrap();
                }
                let request = format!("POST {path}");
                let mut exchange = Exchange::start(server, &request, "", &body);
                let Some(code) = exchange.code(wait_max) else {
                    assert!(may_wait, "{path} {body:?}");
                    continue;
                };
                if !exchange.is_chunked() && code != 404 {
                    let text = exchange.body();
                    let answer = serde_json::from_str::<serde_json::Value>(&text);
                    assert!(answer.is_ok_and(|json| json.is_object()), "{path} {body:?}: {text}");
                }
                assert!(code != 500 || is_recipe, "{path} {body:?}");
            }
        }
    });
    hammering.await.unwrap();
    let put = posted(server, "/v3/kv/put", "", r#"{"key":"YQ=="}"#).await;
    assert_eq!(put, (200, "{}".to_owned()));
    assert!(metrics.text(&view_of(leading())).contains("etcd_server_proposals_pending 0\n"));
    answering.abort();
}
