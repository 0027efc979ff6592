//! Spans of calls, for a collector that speaks OpenTelemetry's protocol.
//!
//! ```text
//! traceparent: 00-<trace>-<span>-01 ──> etcdserverpb.KV/Range   kind server, its code at the end
//!                                          └── range            key, limit, revision
//!                                   ... batches ──gRPC──> collector
//! ```
//!
//! Invariants
//! - A caller's trace is continued, and its wish to be sampled or not is followed; of calls without
//!   a trace as many are sampled as is said.
//! - What waits for the collector is bounded by the library's queue: spans beyond it are dropped,
//!   and no call waits for a collector.
//!
//! Answers to: etcd v3.7.1 `server/embed/config_tracing.go`, `server/etcdserver/v3_server.go`;
//! otelgrpc v0.68

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tonic::Code;
use tracing::info;

/// Spans of which all are sampled.
pub const SAMPLES_MAX: u32 = 1_000_000;
/// How long the last spans may take on their way.
const FLUSH_MAX: Duration = Duration::from_millis(300);

/// What the settings say about spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Where the collector is: host and port.
    pub address: String,
    /// As what all members show themselves.
    pub service_name: String,
    /// As which one this member does; empty to say nothing.
    pub instance_id: String,
    /// Of a million calls without a trace so many are sampled.
    pub samples: u32,
}

/// Where spans go; clones are one.
#[derive(Clone, Debug)]
pub struct Spans {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Spans {
    /// Begins to send to a collector, whether it is there yet or not. Wants a runtime around it
    /// that goes on running.
    ///
    /// # Errors
    /// Why nothing can be sent there.
    pub fn start(collector: &Collector) -> Result<Self, String> {
        let Collector { address, service_name, instance_id, samples } = collector;
        let exporter = SpanExporter::builder().with_tonic();
        let exporter = exporter.with_endpoint(format!("http://{address}")).build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let named = Some(KeyValue::new("service.instance.id", instance_id.clone()));
        let resource = Resource::builder_empty()
            .with_service_name(service_name.clone())
            .with_attributes(named.filter(|_| !instance_id.is_empty()))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(sampler(*samples))))
            .build();
        info!(
            "distributed-tracing-address" = address,
            "distributed-tracing-service-name" = service_name,
            "distributed-tracing-service-instance-id" = instance_id,
            "distributed-tracing-sampling-rate" = samples,
            "distributed tracing setup enabled"
        );
        Ok(Self { tracer: provider.tracer("quorate"), provider })
    }

    /// Sends what there is, if that does not take long.
    pub fn stop(&self) {
        // Who asked for the end does not wait for a collector that is gone.
        let _ = self.provider.shutdown_with_timeout(FLUSH_MAX);
    }

    /// The span of a call that comes in with these headers.
    pub(crate) fn begin(&self, path: &str, headers: &HeaderMap) -> Context {
        let caller =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let name = path.strip_prefix('/').unwrap_or(path).to_owned();
        let span = self.tracer.span_builder(name.clone()).with_kind(SpanKind::Server);
        let span = span.with_attributes([
            KeyValue::new("rpc.method", name),
            KeyValue::new("rpc.system.name", "grpc"),
        ]);
        caller.with_span(span.start_with_context(&self.tracer, &caller))
    }

    /// What is done within a call, until it is dropped.
    pub(crate) fn within(
        &self,
        call: &Context,
        name: &'static str,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Part {
        if !call.span().is_recording() {
            return Part(None);
        }
        let span = self.tracer.span_builder(name).with_attributes(attributes());
        Part(Some(call.with_span(span.start_with_context(&self.tracer, call))))
    }
}

/// Ends the span of a call.
pub(crate) fn end(call: &Context, code: Code) {
    let span = call.span();
    if is_failure(code) {
        span.set_status(Status::error(code.description()));
    }
    span.set_attribute(KeyValue::new("rpc.response.status_code", code_name(code)));
    span.end();
}

/// A part of a call.
pub(crate) struct Part(Option<Context>);

impl Part {
    /// None.
    pub(crate) const NONE: Self = Self(None);
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(part) = &self.0 {
            part.span().end();
        }
    }
}

fn sampler(samples: u32) -> Sampler {
    match samples {
        0 => Sampler::AlwaysOff,
        samples => Sampler::TraceIdRatioBased(f64::from(samples) / f64::from(SAMPLES_MAX)),
    }
}

/// Codes that are the server's failure.
const fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// A code as the protocol names it.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_the_protocol_names_them() {
        let named = [Code::Ok, Code::Cancelled, Code::InvalidArgument, Code::DataLoss];
        let names = named.map(code_name);
        assert_eq!(names, ["OK", "CANCELLED", "INVALID_ARGUMENT", "DATA_LOSS"]);
    }

    #[test]
    fn a_callers_trace_is_continued() {
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(sampler(0))))
            .build();
        let spans = Spans { tracer: provider.tracer("test"), provider };
        let begun = |parent: &str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("traceparent"),
                http::HeaderValue::from_str(parent).unwrap(),
            )]);
            let span = spans.begin("/a.B/C", &headers).span().span_context().clone();
            (span.trace_id().to_string(), span.is_sampled())
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sampled = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(begun(&sampled), (trace.to_owned(), true));
        let unsampled = format!("00-{trace}-00f067aa0ba902b7-00");
        assert_eq!(begun(&unsampled), (trace.to_owned(), false));
        assert!(!begun("nonsense").1);
    }
}
