//! What is told of calls: spans, as a collector gets them; in the log, those that were slow.

mod accept;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use accept::wire::ask;
use accept::{Cluster, Options, free_addr};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tonic::{Request, Response, Status};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// Spans leave in batches, every few seconds.
const SENT_WITHIN: Duration = Duration::from_secs(40);

/// A collector that passes on what it gets.
struct Collector(Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let _ = self.0.send(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn collect(at: SocketAddr) -> Receiver<ExportTraceServiceRequest> {
    let (sender, received) = channel();
    let service = TowerToHyperService::new(TraceServiceServer::new(Collector(sender)));
    let serving = async move {
        let listener = tokio::net::TcpListener::bind(at).await.expect("a free address");
        while let Ok((stream, _)) = listener.accept().await {
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service.clone()));
        }
    };
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(serving);
    });
    received
}

/// Attributes as text, in order.
fn told(attributes: &[KeyValue]) -> Vec<String> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.clone());
        let value = match value {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::BoolValue(truth)) => truth.to_string(),
            other => format!("{other:?}"),
        };
        format!("{}={value}", attribute.key)
    };
    let mut told: Vec<String> = attributes.iter().map(text).collect();
    told.sort_unstable();
    told
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Spans of that trace, by name, until there are so many.
fn spans(received: &Receiver<ExportTraceServiceRequest>, count: usize) -> Vec<Span> {
    let deadline = Instant::now() + SENT_WITHIN;
    let mut spans: Vec<Span> = Vec::new();
    while spans.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        let batch = received.recv_timeout(left).expect("a batch of spans");
        for of_resource in batch.resource_spans {
            let resource = of_resource.resource.expect("a resource");
            assert_eq!(
                told(&resource.attributes),
                ["service.instance.id=one", "service.name=etcd"]
            );
            spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans.sort_by(|a, b| a.name.cmp(&b.name));
    spans
}

#[test]
fn a_callers_trace_is_continued_to_the_collector() {
    let place = free_addr();
    let received = collect(place);
    let flags = [
        "--enable-distributed-tracing".to_owned(),
        format!("--distributed-tracing-address={place}"),
        "--distributed-tracing-instance-id=one".to_owned(),
    ];
    let cluster = Cluster::start_with(1, &Options { flags: flags.to_vec() });
    let server = cluster.members[0].client;
    let parent =
        |sampled: &str| format!("grpc-metadata-traceparent: 00-{TRACE}-{CALLER}-{sampled}\r\n");
    let put = br#"{"key":"Zm9v","value":"YmFy"}"#;
    // Nobody asked for a sample of these, and none is taken unasked.
    assert_eq!(ask(server, "POST /v3/kv/put", "", put).0, 200);
    assert_eq!(ask(server, "POST /v3/kv/put", &parent("00"), put).0, 200);
    assert_eq!(ask(server, "POST /v3/kv/put", &parent("01"), put).0, 200);
    let range = br#"{"key":"Zm9v","limit":"5"}"#;
    assert_eq!(ask(server, "POST /v3/kv/range", &parent("01"), range).0, 200);
    assert_eq!(ask(server, "POST /v3/kv/range", &parent("01"), b"{}").0, 400);

    let spans = spans(&received, 6);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let [put, range] = ["etcdserverpb.KV/Put", "etcdserverpb.KV/Range"];
    assert_eq!(names, [put, range, range, "put", "range", "range"]);
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    for call in &spans[..3] {
        assert_eq!((hex(&call.parent_span_id).as_str(), call.kind()), (CALLER, SpanKind::Server));
        let code = call.status.as_ref().map_or(StatusCode::Unset, |status| status.code());
        assert_eq!(code, StatusCode::Unset);
    }
    let expected = |method: &str, code: &str| {
        let method = format!("rpc.method={method}");
        [method, format!("rpc.response.status_code={code}"), "rpc.system.name=grpc".to_owned()]
    };
    assert_eq!(told(&spans[0].attributes), expected(put, "OK"));
    let mut codes = [told(&spans[1].attributes), told(&spans[2].attributes)];
    codes.sort();
    assert_eq!(codes, [expected(range, "INVALID_ARGUMENT"), expected(range, "OK")]);
    assert_eq!(told(&spans[3].attributes), ["key=foo"]);
    assert_eq!(spans[3].parent_span_id, spans[0].span_id);
    let asked = spans[4..].iter().map(|span| told(&span.attributes));
    let asked = asked.flatten().filter(|text| text.starts_with("range_begin=f"));
    assert_eq!(asked.count(), 1);
}

#[test]
fn slow_calls_are_told_in_the_log_without_values() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let path = dir.path().join("etcd.log");
    let flags = vec![
        "--warning-apply-duration=1ns".to_owned(),
        "--warning-unary-request-duration=1ns".to_owned(),
        format!("--log-outputs=stderr,{}", path.display()),
        "--enable-log-rotation".to_owned(),
    ];
    let cluster = Cluster::start_with(1, &Options { flags });
    let server = cluster.members[0].client;
    let put = br#"{"key":"Zm9v","value":"c2VjcmV0"}"#;
    assert_eq!(ask(server, "POST /v3/kv/put", "", put).0, 200);
    assert_eq!(ask(server, "POST /v3/kv/range", "", br#"{"key":"Zm9v"}"#).0, 200);
    let txn = br#"{"success":[{"request_range":{"key":"Zm9v"}}]}"#;
    assert_eq!(ask(server, "POST /v3/kv/txn", "", txn).0, 200);
    assert_eq!(ask(server, "POST /v3/kv/deleterange", "", br#"{"key":"Zm9v"}"#).0, 200);
    let log = std::fs::read_to_string(&path).expect("a log");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said = |message: &str, name: &str, value: &str| {
        let mut lines = lines.iter().filter(|line| line["msg"] == message);
        assert!(lines.any(|line| line[name] == value), "{message} {name}={value} in {log}");
    };
    let slow = "apply request took too long";
    said(slow, "prefix", "");
    said(slow, "prefix", "read-only range ");
    said(slow, "request", "key:\"foo\"");
    assert!(log.contains("\"response\":\"range_response_count:1 size:"), "{log}");
    said(slow, "prefix", "read-only txn ");
    said("request stats", "response type", "/etcdserverpb.KV/Put");
    said("request stats", "request content", "key:\"foo\" value_size:6");
    said("request stats", "response type", "/etcdserverpb.KV/DeleteRange");
    assert!(!log.contains("secret"), "{log}");
}
