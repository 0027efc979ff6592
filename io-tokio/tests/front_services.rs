//! The client port with real clients on loopback, in front of a scripted member.
#![allow(clippy::unwrap_used)]

mod front_fake;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use front_fake::{Call, Fake, Served, leading, loopback, serve, view_of};
use http_body_util::BodyExt as _;
use quorate_core::error::Refusal;
use quorate_core::{Request, Response};
use quorate_io_tokio::http::Surface;
use quorate_io_tokio::metrics::Traffic;
use quorate_io_tokio::transport::IoThreads;
use quorate_io_tokio::transport::listen::{self, Http2, Port};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::health::HealthCheckRequest;
use quorate_proto::health::health_client::HealthClient;
use quorate_proto::mvccpb::KeyValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};

fn served(fake: &Fake) -> Served {
    serve(loopback(), fake.services(), fake.pages(Surface::Client))
}

async fn dial(served: &Served) -> Channel {
    Channel::from_shared(served.url()).unwrap().connect().await.unwrap()
}

/// Answers each put with its key, and refuses the key `bad`.
fn answer_puts(mut fake: Fake) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(call) = fake.calls.recv().await {
            match call {
                Call::Request(Request::Put(put), answer) if put.key == "bad" => {
                    answer.send(Err(Refusal::LeaseNotFound)).unwrap();
                }
                Call::Request(Request::Put(put), answer) => {
                    let prev_kv = KeyValue { key: put.key, ..Default::default() };
                    let response = pb::PutResponse { prev_kv: Some(prev_kv), header: None };
                    answer.send(Ok(Response::Put(response))).unwrap();
                }
                Call::Read(answer) => answer.send(Ok(())).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    })
}

fn put(key: impl Into<bytes::Bytes>) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), ..Default::default() }
}

#[tokio::test]
async fn answers_and_refusals_reach_their_callers_and_are_counted() {
    let fake = Fake::new(leading());
    let metrics = fake.metrics.clone();
    let served = served(&fake);
    let answering = answer_puts(fake);
    let client = KvClient::new(dial(&served).await).send_compressed(CompressionEncoding::Gzip);
    let calls = (0..100).map(|n| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let key = format!("key-{n}");
            let answer = client.put(put(key.clone())).await.unwrap().into_inner();
            assert_eq!(answer.prev_kv.unwrap().key, key);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let status = client.clone().put(put("bad")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "etcdserver: requested lease not found")
    );
    let mut plain = KvClient::new(dial(&served).await);
    let status = plain.put(put(vec![0; 5_000])).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "grpc: received message larger than max (5003 vs. 4096)")
    );
    let text = metrics.text(&view_of(leading()));
    for (code, count) in [("OK", 100), ("NotFound", 1)] {
        let line = format!(
            "grpc_server_handled_total{{grpc_type=\"unary\",grpc_service=\"etcdserverpb.KV\",\
             grpc_method=\"Put\",grpc_code=\"{code}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line}");
    }
    let took = "etcd_server_request_duration_seconds_count{type=\"Put\",success=\"true\"} 100\n";
    assert!(text.contains(took));
    answering.abort();
}

#[tokio::test]
async fn the_gate_asks_for_a_version_and_for_a_leader() {
    let mut facts = leading();
    facts.cluster_version = "".into();
    facts.role.leader = None;
    let fake = Fake::new(facts.clone());
    let served = served(&fake);
    let mut client = MaintenanceClient::new(dial(&served).await);
    let status = client.status(pb::StatusRequest {}).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: not capable");
    let mut health = HealthClient::new(dial(&served).await);
    let status = health.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: not capable");

    facts.cluster_version = "3.7.0".into();
    fake.publish(facts).await;
    let found = client.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((found.version.as_str(), found.leader), ("3.7.1", 0));
    let mut request = tonic::Request::new(pb::StatusRequest {});
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let status = client.status(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));
    let found = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(found.status, 1);
    let unknown = HealthCheckRequest { service: "x".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn clients_are_counted_by_the_version_they_say_they_speak() {
    use tonic::metadata::{AsciiMetadataValue, MetadataMap};
    let fake = Fake::new(leading());
    let served = served(&fake);
    let mut client = MaintenanceClient::new(dial(&served).await);
    let mut call = async |version: Option<&[u8]>| {
        let mut headers = http::HeaderMap::new();
        if let Some(version) = version {
            let version = AsciiMetadataValue::try_from(version).unwrap();
            let mut metadata = MetadataMap::new();
            metadata.insert("client-api-version", version);
            headers = metadata.into_headers();
        }
        let metadata = MetadataMap::from_headers(headers);
        let status = pb::StatusRequest {};
        client.status(tonic::Request::from_parts(metadata, Default::default(), status)).await
    };
    call(Some(b"3.7")).await.unwrap();
    call(Some("3.7\u{e9}".as_bytes())).await.unwrap();
    call(None).await.unwrap();
    let status = call(Some(b"3.\xff")).await.unwrap_err();
    let expected = (Code::InvalidArgument, "etcdserver: invalid client api version");
    assert_eq!((status.code(), status.message()), expected);
    let text = fake.metrics.text(&view_of(leading()));
    for version in ["3.7", "3.7\u{e9}", "unknown"] {
        let line = format!(
            "etcd_server_client_requests_total{{type=\"unary\",\
             client_api_version=\"{version}\"}} 1\n"
        );
        assert!(text.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn a_learner_serves_its_status_and_what_it_has() {
    let mut facts = leading();
    let learner = pb::Member { id: 0xa, is_learner: true, ..Default::default() };
    facts.members = [learner].into();
    let fake = Fake::new(facts);
    let served = served(&fake);
    let channel = dial(&served).await;
    let mut kv = KvClient::new(channel.clone());
    let range =
        |serializable| pb::RangeRequest { key: "k".into(), serializable, ..Default::default() };
    MaintenanceClient::new(channel.clone()).status(pb::StatusRequest {}).await.unwrap();
    kv.range(range(true)).await.unwrap();
    let mut refused = vec![
        kv.range(range(false)).await.unwrap_err(),
        kv.range_stream(range(true)).await.unwrap_err(),
        kv.put(put("k")).await.unwrap_err(),
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap_err(),
    ];
    for status in refused.drain(..) {
        let expected = (Code::FailedPrecondition, "etcdserver: rpc not supported for learner");
        assert_eq!((status.code(), status.message()), expected);
    }
}

#[tokio::test]
async fn a_watch_outlives_its_clients_half_close() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let mut client = WatchClient::new(dial(&served).await);
    let (messages, sent) = mpsc::channel(1);
    let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
    let message = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    messages.send(message.clone()).await.unwrap();
    drop(messages);
    let mut frames = client.watch(ReceiverStream::new(sent)).await.unwrap().into_inner();
    let Some(Call::Open(stream, 4_096, out)) = fake.calls.recv().await else { panic!() };
    let Some(Call::Watch(on, received)) = fake.calls.recv().await else { panic!() };
    assert_eq!((on, received), (stream, message));
    tokio::time::sleep(Duration::from_millis(50)).await;
    for watch_id in 0..300 {
        out.send(pb::WatchResponse { watch_id, ..Default::default() }).await.unwrap();
        if watch_id % 100 == 99 {
            for expected in watch_id - 99..=watch_id {
                assert_eq!(frames.message().await.unwrap().unwrap().watch_id, expected);
            }
        }
    }
    drop(frames);
    let closed = tokio::time::timeout(Duration::from_secs(5), fake.calls.recv()).await;
    assert!(matches!(closed, Ok(Some(Call::Close(on))) if on == stream));
}

#[tokio::test]
async fn a_watch_whose_client_goes_is_counted_once() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let failures = |fake: &Fake| {
        let text = fake.metrics.text(&view_of(leading()));
        let of_watches = text.lines().find(|line| {
            line.starts_with("etcd_network_server_stream_failures_total") && line.contains("watch")
        });
        of_watches.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    };
    for gone in 1..=3 {
        // All of the client goes with its runtime, the connection and what it has to send too.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let endpoint = tonic::transport::Endpoint::from_shared(served.url()).unwrap();
        let frames = runtime.spawn(async move {
            let mut client = WatchClient::new(endpoint.connect().await.unwrap());
            client.watch(tokio_stream::pending()).await.unwrap().into_inner()
        });
        let frames = frames.await.unwrap();
        let Some(Call::Open(stream, _, _out)) = fake.calls.recv().await else { panic!() };
        assert_eq!(failures(&fake), gone - 1);
        drop(frames);
        runtime.shutdown_background();
        let closed = tokio::time::timeout(Duration::from_secs(5), fake.calls.recv()).await;
        assert!(matches!(closed, Ok(Some(Call::Close(on))) if on == stream));
        assert_eq!(failures(&fake), gone, "of client {gone}");
    }
}

/// How a stream to this path ends on which this is sent.
async fn end_of(
    served: &Served,
    path: &'static str,
    message: impl prost::Message + 'static,
) -> (Code, String) {
    let mut grpc = tonic::client::Grpc::new(dial(served).await);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    let codec = tonic_prost::ProstCodec::<_, pb::WatchResponse>::default();
    let sent = tonic::Request::new(tokio_stream::once(message));
    let end = match grpc.streaming(sent, path, codec).await {
        Ok(answers) => answers.into_inner().message().await.unwrap_err(),
        Err(end) => end,
    };
    (end.code(), end.message().to_owned())
}

#[tokio::test]
async fn a_watch_ends_at_what_is_no_message_and_says_so() {
    let fake = Fake::new(leading());
    let served = served(&fake);
    let path = "/etcdserverpb.Watch/Watch";
    assert_eq!(end_of(&served, path, put("x")).await.0, Code::Internal);
    let large = (
        Code::ResourceExhausted,
        "grpc: received message larger than max (5003 vs. 4096)".to_owned(),
    );
    assert_eq!(end_of(&served, path, put(vec![b'x'; 5_000])).await, large);
}

#[tokio::test]
async fn what_does_not_exist_is_named_as_etcds_transport_names_it() {
    let fake = Fake::new(leading());
    let served = served(&fake);
    for (path, words) in [
        ("/etcdserverpb.KV/Nothing", "unknown method Nothing for service etcdserverpb.KV"),
        ("/nobody.Nothing/Put", "unknown service nobody.Nothing"),
        ("/a/b/Put", "unknown service a/b"),
        ("/etcdserverpb.KV", "malformed method name: \"/etcdserverpb.KV\""),
        ("/", "malformed method name: \"/\""),
    ] {
        assert_eq!(end_of(&served, path, put("x")).await, (Code::Unimplemented, words.to_owned()));
    }
}

#[tokio::test]
async fn a_watch_that_needs_a_leader_ends_without_one() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let mut client = WatchClient::new(dial(&served).await);
    let mut request = tonic::Request::new(tokio_stream::pending());
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let mut frames = client.watch(request).await.unwrap().into_inner();
    let Some(Call::Open(_, _, _out)) = fake.calls.recv().await else { panic!() };
    let mut facts = leading();
    facts.role.leader = None;
    fake.publish(facts).await;
    let status = frames.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));
    let closed = tokio::time::timeout(Duration::from_secs(5), fake.calls.recv()).await;
    assert!(matches!(closed, Ok(Some(Call::Close(_)))));
}

#[tokio::test]
async fn keep_alives_that_need_a_leader_end_without_one() {
    let fake = Fake::new(leading());
    let served = served(&fake);
    let mut client = LeaseClient::new(dial(&served).await);
    let mut request = tonic::Request::new(tokio_stream::pending());
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let mut answers = client.lease_keep_alive(request).await.unwrap().into_inner();
    let mut facts = leading();
    facts.role.leader = None;
    fake.publish(facts).await;
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));
}

#[tokio::test]
async fn keep_alives_are_answered_in_order_and_end_with_the_client() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let mut client = LeaseClient::new(dial(&served).await);
    let beats = tokio_stream::iter((1..=3).map(|id| pb::LeaseKeepAliveRequest { id }));
    let answering = tokio::spawn(async move {
        while let Some(call) = fake.calls.recv().await {
            let Call::Request(Request::LeaseKeepAlive(beat), answer) = call else { panic!() };
            let ttl = 10 * beat.id;
            let response = pb::LeaseKeepAliveResponse { id: beat.id, ttl, header: None };
            answer.send(Ok(Response::LeaseKeepAlive(response))).unwrap();
        }
    });
    let mut answers = client.lease_keep_alive(beats).await.unwrap().into_inner();
    for id in 1..=3 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.id, answer.ttl), (id, 10 * id));
    }
    assert_eq!(answers.message().await.unwrap(), None);
    answering.abort();
}

/// One HTTP/1 request; its code and body.
async fn get(served: &Served, method: &str, path: &str) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(&served.authority).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let driving = tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", &served.authority)
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    driving.abort();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn pages_are_served_on_the_same_port() {
    let fake = Fake::new(leading());
    let metrics = fake.metrics.clone();
    let served = served(&fake);
    let answering = answer_puts(fake);
    let good = r#"{"health":"true","reason":""}"#;
    for (method, path, code, body) in [
        ("GET", "/health", 200, good),
        ("POST", "/health", 405, "Method Not Allowed\n"),
        ("GET", "/readyz", 200, "ok\n"),
        ("GET", "/nope", 404, "404 page not found\n"),
    ] {
        let found = get(&served, method, path).await;
        assert_eq!(found, (code, body.to_owned()), "{method} {path}");
    }
    let (code, text) = get(&served, "GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(text.contains("\netcd_server_has_leader 1\n"));
    assert_eq!(metrics.health_successes.get(), 1);
    answering.abort();
}

#[tokio::test]
async fn draining_says_goodbye_and_finishes_what_was_begun() {
    let mut fake = Fake::new(leading());
    let served = served(&fake);
    let mut client = KvClient::new(dial(&served).await);
    let calling = tokio::spawn(async move { client.put(put("k")).await });
    let Some(Call::Request(_, answer)) = fake.calls.recv().await else { panic!() };
    let connections = served.connections.clone();
    let started = std::time::Instant::now();
    let draining = tokio::spawn(async move { connections.drain(Duration::from_secs(20)).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!draining.is_finished());
    answer.send(Ok(Response::Put(pb::PutResponse::default()))).unwrap();
    assert_eq!(calling.await.unwrap().unwrap().into_inner(), pb::PutResponse::default());
    draining.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "the connection did not close");
    let refused = tokio::net::TcpStream::connect(&served.authority).await;
    assert!(refused.is_err(), "the port still accepts");
}

/// A connection that counts what is sent on it.
struct Tallied {
    io: tokio::io::DuplexStream,
    sends: Arc<AtomicUsize>,
}

impl AsyncRead for Tallied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tallied {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.sends.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn answers_that_are_ready_together_leave_together() {
    const CALLS: usize = 64;
    let mut fake = Fake::new(leading());
    let traffic = Traffic::default();
    let port = Arc::new(Port {
        grpc: fake.services(),
        gateway: None,
        console: None,
        access: None,
        pages: Some(fake.pages(Surface::Client)),
        http2: Http2::with_streams(100),
        traffic: traffic.clone(),
    });
    let (near, far) = tokio::io::duplex(1 << 20);
    let sends = Arc::new(AtomicUsize::new(0));
    let tallied = Tallied { io: far, sends: sends.clone() };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let threads = IoThreads::start("test-io", 1).unwrap();
    let serving = threads.next().spawn(listen::serve(tallied, port, stopped));
    let mut near = Some(hyper_util::rt::TokioIo::new(near));
    let connect = tower::service_fn(move |_: http::Uri| {
        let io = near.take().ok_or(std::io::ErrorKind::NotConnected);
        async move { Ok::<_, std::io::Error>(io?) }
    });
    let channel =
        Endpoint::from_static("http://test").connect_with_connector(connect).await.unwrap();
    let client = KvClient::new(channel);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.put(put(vec![1; 300])).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    while answers.len() < CALLS {
        let Some(Call::Request(Request::Put(put), answer)) = fake.calls.recv().await else {
            panic!()
        };
        answers.push((put, answer));
    }
    let before = sends.load(Ordering::Relaxed);
    // The thread is held until all of them are ready.
    let (held, is_held) = tokio::sync::oneshot::channel();
    threads.next().spawn(async {
        held.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    });
    is_held.await.unwrap();
    for (put, answer) in answers {
        // Larger than what HTTP/2 keeps back by itself.
        let prev_kv = KeyValue { value: put.key, ..Default::default() };
        let response = pb::PutResponse { prev_kv: Some(prev_kv), header: None };
        answer.send(Ok(Response::Put(response))).unwrap();
    }
    for call in calls {
        assert_eq!(call.await.unwrap().into_inner().prev_kv.unwrap().value.len(), 300);
    }
    let sent = sends.load(Ordering::Relaxed) - before;
    assert!(sent <= CALLS / 8, "{sent} sends for {CALLS} answers");
    let Traffic { received, sent } = &traffic;
    let least = (CALLS * 300) as u64;
    assert!(received.get() > least && sent.get() > least, "{traffic:?}");
    stop.send_replace(true);
    drop(client);
    // Whether its last words found the client still there is chance.
    serving.await.unwrap().ok();
    threads.stop();
}
