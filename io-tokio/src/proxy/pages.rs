//! What a proxy answers to those who do not speak gRPC.
//!
//! | Page | |
//! |---|---|
//! | `/metrics` | a member's, as it shows them |
//! | `/health` | whether a member answers a read |
//! | `/proxy/metrics` | the proxy's own |
//! | `/proxy/health` | the same as `/health`: the proxy has no state that could be unwell |
//!
//! Answers to: etcd v3.7.1 `server/proxy/grpcproxy/health.go`, `metrics.go`

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use quorate_proto::etcdserverpb::RangeRequest;
use serde_json::json;

use super::forward::Counts;
use crate::client::{Client, plain, told};
use crate::transport::listen::Asked;

/// How long a member may take to say that it is well, or to show its metrics.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How large a member's metrics may be.
const PAGE_BYTES_MAX: usize = 16 << 20;
const TEXT: &str = "text/plain; version=0.0.4";

/// The pages of a proxy.
pub(super) struct Pages {
    pub(super) client: Arc<Client>,
    pub(super) counts: Arc<Counts>,
}

impl Asked for Pages {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !["/metrics", "/health", "/proxy/metrics", "/proxy/health"].contains(&path) {
            return page(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
        }
        if request.method() != Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n");
        }
        match path {
            "/metrics" => self.member_metrics().await,
            "/proxy/metrics" => page(StatusCode::OK, TEXT, self.own_metrics()),
            _ => self.health().await,
        }
    }
}

impl Pages {
    async fn member_metrics(&self) -> Response<Full<Bytes>> {
        let endpoint = self.client.endpoints().next().unwrap_or_default();
        let fetched = self.client.way().page(endpoint, "/metrics", PAGE_BYTES_MAX);
        match tokio::time::timeout(ANSWER_MAX, fetched).await {
            Ok(Ok(text)) => page(StatusCode::OK, TEXT, text),
            _ => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "Internal server error\n"),
        }
    }

    fn own_metrics(&self) -> String {
        let rows = [
            ("forwarded", "handed on to members", &self.counts.forwarded),
            ("failed", "that no member could be asked", &self.counts.failed),
        ];
        let row = |(name, what, count): (&str, &str, &std::sync::atomic::AtomicU64)| {
            let count = count.load(Ordering::Relaxed);
            let name = format!("quorate_proxy_calls_{name}");
            format!("# HELP {name} Calls {what}.\n# TYPE {name} counter\n{name}_total {count}\n")
        };
        rows.into_iter().map(row).collect()
    }

    async fn health(&self) -> Response<Full<Bytes>> {
        let request = RangeRequest { key: "a".into(), ..RangeRequest::default() };
        let asked = async { self.client.line().await.kv().range(request).await };
        let reason = match tokio::time::timeout(ANSWER_MAX, asked).await {
            Err(_) => "GET ERROR:context deadline exceeded".to_owned(),
            // That too was answered by a majority.
            Ok(Err(status)) if status.message() != "etcdserver: permission denied" => {
                format!("GET ERROR:{}", told(&plain(status)))
            }
            _ => String::new(),
        };
        let is_well = reason.is_empty();
        let text = json!({ "health": is_well.to_string(), "reason": reason }).to_string();
        let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        page(status, "application/json", text)
    }
}

fn page(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut page = Response::new(Full::new(text.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}
