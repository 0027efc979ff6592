//! `KV.Range`.

use std::cmp::Reverse;

use bytes::Bytes;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb::{
    self as pb,
    range_request::{SortOrder, SortTarget},
};
use quorate_proto::mvccpb::KeyValue;

use super::{Compaction, Model, header};
use crate::history::Reply;

/// Whether the pair `key`, `range_end` of a request names `candidate`.
pub fn covers(key: &[u8], range_end: &[u8], candidate: &[u8]) -> bool {
    match range_end {
        [] => candidate == key,
        [0] => candidate >= key,
        _ => key <= candidate && candidate < range_end,
    }
}

/// What a range sorts by: a number or bytes.
pub fn sort_key(target: SortTarget, kv: &KeyValue) -> (i64, Bytes) {
    match target {
        SortTarget::Key => (0, kv.key.clone()),
        SortTarget::Version => (kv.version, Bytes::new()),
        SortTarget::Create => (kv.create_revision, Bytes::new()),
        SortTarget::Mod => (kv.mod_revision, Bytes::new()),
        SortTarget::Value => (0, kv.value.clone()),
    }
}

impl Model {
    pub(super) fn range(
        &self,
        range: &pb::RangeRequest,
        compaction: Compaction,
    ) -> Result<Reply, Refusal> {
        let at = if range.revision <= 0 { self.revision } else { range.revision };
        if at > self.revision {
            return Err(Refusal::FutureRev);
        }
        if at < self.compacted && compaction == Compaction::Checked {
            return Err(Refusal::Compacted);
        }
        let live = self.live(&range.key, &range.range_end, at);
        Ok(Reply::Range(select(range, live, self.revision)))
    }

    /// The keys of a range that existed at `revision`, in key order.
    pub fn live(&self, key: &Bytes, range_end: &[u8], revision: i64) -> Vec<KeyValue> {
        if range_end.is_empty() {
            return self.kv_at(key, revision).cloned().into_iter().collect();
        }
        let mut live = Vec::new();
        for candidate in self.keys.range(key.clone()..).map(|(candidate, _)| candidate) {
            if !covers(key, range_end, candidate) {
                break;
            }
            live.extend(self.kv_at(candidate, revision).cloned());
        }
        live
    }
}

/// Makes the response to `range` out of all live keys it names, given in key order.
pub(super) fn select(
    range: &pb::RangeRequest,
    mut kvs: Vec<KeyValue>,
    revision: i64,
) -> pb::RangeResponse {
    let count = i64::try_from(kvs.len()).expect("a count of keys fits");
    let mut response =
        pb::RangeResponse { header: header(revision), kvs: Vec::new(), more: false, count };
    if range.count_only {
        return response;
    }
    let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
    let is_filtered = is_filtered(range);
    if range.sort_order() == SortOrder::None && !is_filtered {
        // etcd fetches no more than this before it sorts.
        kvs.truncate(limit.map_or(usize::MAX, |limit| limit + 1));
    }
    kvs.retain(|kv| passes(range, kv));
    sort(range, &mut kvs);
    if let Some(limit) = limit
        && kvs.len() > limit
    {
        kvs.truncate(limit);
        response.more = true;
    }
    if range.keys_only {
        for kv in &mut kvs {
            kv.value = Bytes::new();
            if range.sort_target() != SortTarget::Value {
                kv.lease = 0;
            }
        }
    }
    response.kvs = kvs;
    response
}

const fn is_filtered(range: &pb::RangeRequest) -> bool {
    range.min_mod_revision != 0
        || range.max_mod_revision != 0
        || range.min_create_revision != 0
        || range.max_create_revision != 0
}

const fn passes(range: &pb::RangeRequest, kv: &KeyValue) -> bool {
    (range.max_mod_revision == 0 || kv.mod_revision <= range.max_mod_revision)
        && (range.min_mod_revision == 0 || kv.mod_revision >= range.min_mod_revision)
        && (range.max_create_revision == 0 || kv.create_revision <= range.max_create_revision)
        && (range.min_create_revision == 0 || kv.create_revision >= range.min_create_revision)
}

fn sort(range: &pb::RangeRequest, kvs: &mut [KeyValue]) {
    let target = range.sort_target();
    match range.sort_order() {
        SortOrder::Descend => {
            kvs.sort_by_key(|kv| Reverse(sort_key(target, kv)));
        }
        SortOrder::None | SortOrder::Ascend if target == SortTarget::Key => {}
        SortOrder::None | SortOrder::Ascend => kvs.sort_by_key(|kv| sort_key(target, kv)),
    }
}
