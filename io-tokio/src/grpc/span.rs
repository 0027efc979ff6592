//! What calls on keys and leases tell of themselves within their spans, under etcd's names.

use bytes::Bytes;
use opentelemetry::{Context, KeyValue};
use quorate_proto::etcdserverpb as pb;
use tonic::Request;

use super::Front;
use crate::spans::Part;

impl Front {
    /// The part of a call that is about its request; nothing where nobody collects spans.
    pub(super) fn part<T>(
        &self,
        name: &'static str,
        call: &Request<T>,
        attributes: impl FnOnce(&T) -> Vec<KeyValue>,
    ) -> Part {
        match (&self.spans, call.extensions().get::<Context>()) {
            (Some(spans), Some(span)) => spans.within(span, name, || attributes(call.get_ref())),
            _ => Part::NONE,
        }
    }
}

pub(super) fn of_range(request: &pb::RangeRequest) -> Vec<KeyValue> {
    vec![
        text("range_begin", &request.key),
        text("range_end", &request.range_end),
        KeyValue::new("rev", request.revision),
        KeyValue::new("limit", request.limit),
        KeyValue::new("count_only", request.count_only),
        KeyValue::new("keys_only", request.keys_only),
    ]
}

pub(super) fn of_put(request: &pb::PutRequest) -> Vec<KeyValue> {
    vec![text("key", &request.key)]
}

pub(super) fn of_delete(request: &pb::DeleteRangeRequest) -> Vec<KeyValue> {
    vec![text("range_begin", &request.key), text("range_end", &request.range_end)]
}

pub(super) fn of_txn(request: &pb::TxnRequest) -> Vec<KeyValue> {
    let count = |parts: usize| i64::try_from(parts).unwrap_or(i64::MAX);
    let first = request.compare.first().map(|compare| compare.key.clone());
    vec![
        text("compare_first_key", &first.unwrap_or_default()),
        KeyValue::new("compare_len", count(request.compare.len())),
        KeyValue::new("success_len", count(request.success.len())),
        KeyValue::new("failure_len", count(request.failure.len())),
        KeyValue::new("read_only", super::reads::is_read_only(request)),
    ]
}

pub(super) fn of_compact(request: &pb::CompactionRequest) -> Vec<KeyValue> {
    vec![KeyValue::new("is_physical", request.physical), KeyValue::new("rev", request.revision)]
}

pub(super) fn of_grant(request: &pb::LeaseGrantRequest) -> Vec<KeyValue> {
    vec![KeyValue::new("id", request.id), KeyValue::new("ttl", request.ttl)]
}

pub(super) fn of_revoke(request: &pb::LeaseRevokeRequest) -> Vec<KeyValue> {
    vec![KeyValue::new("id", request.id)]
}

fn text(name: &'static str, bytes: &Bytes) -> KeyValue {
    KeyValue::new(name, String::from_utf8_lossy(bytes).into_owned())
}
