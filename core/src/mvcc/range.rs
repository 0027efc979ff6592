//! Reading keys: every option of etcd's `Range`.
//!
//! Filters, order and limit need only the index (but for order by value), so records are read last
//! and only those that are answered with.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::etcdserverpb::RangeRequest;
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::mvccpb::KeyValue;

use super::index::Version;
use super::view::KvView;
use crate::event::{KeyRange, ReadError};

/// What a range holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeResult {
    /// The keys asked for, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// Keys in the range, whatever the limit and the filters.
    pub count: i64,
    /// Whether the limit cut keys off.
    pub more: bool,
}

/// A key found in the index.
pub(super) type Found<'a> = (&'a [u8], Version);

impl KvView {
    /// Answers a range request. Its enums are taken for checked: unknown values mean no sorting.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResult, ReadError> {
        let main = self.resolve(request.revision)?;
        let keys = KeyRange::parse(&request.key, &request.range_end);
        if request.count_only {
            let count = self.count(&keys, main);
            return Ok(RangeResult { count, ..RangeResult::default() });
        }
        let enough = enough(request);
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut seen: i64 = 0;
        let flow = self.index.visit(&keys, main, &mut |key, version| {
            if enough.is_some_and(|enough| found.len() >= enough) {
                return ControlFlow::Break(());
            }
            seen += 1;
            if passes(request, &version) {
                found.push((key, version));
            }
            ControlFlow::Continue(())
        });
        let count = if flow.is_continue() { seen } else { self.count(&keys, main) };
        let (kvs, more) = self.assemble(request, found)?;
        Ok(RangeResult { kvs, count, more })
    }

    pub(super) fn count(&self, keys: &KeyRange, main: i64) -> i64 {
        i64::try_from(self.index.count(keys, main)).unwrap_or(i64::MAX)
    }

    /// Sorts, cuts, and reads the records.
    fn assemble(
        &self,
        request: &RangeRequest,
        mut found: Vec<Found<'_>>,
    ) -> Result<(Vec<KeyValue>, bool), ReadError> {
        let limit = limit(request).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        if let Some((SortTarget::Value, is_descending)) = sorting(request) {
            let read = found.iter().map(|(_, version)| self.load(version));
            let mut kvs = read.collect::<Result<Vec<_>, _>>()?;
            kvs.sort_by(|a, b| turn(a.value.cmp(&b.value), is_descending));
            kvs.truncate(limit);
            if request.keys_only {
                kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
            }
            return Ok((kvs, more));
        }
        match sorting(request) {
            Some((SortTarget::Key, true)) => found.reverse(),
            Some((target, is_descending)) => {
                found.sort_by(|a, b| turn(compare(target, &a.1, &b.1), is_descending));
            }
            None => {}
        }
        found.truncate(limit);
        if request.keys_only {
            return Ok((found.iter().map(key_only).collect(), more));
        }
        let read = found.iter().map(|(_, version)| self.load(version));
        Ok((read.collect::<Result<Vec<_>, _>>()?, more))
    }
}

/// The limit, if there is one.
pub(super) fn limit(request: &RangeRequest) -> Option<usize> {
    (request.limit > 0).then(|| usize::try_from(request.limit).unwrap_or(usize::MAX))
}

/// Whether keys come in their own order, or in none, which etcd takes for the same.
pub(crate) fn has_default_order(request: &RangeRequest) -> bool {
    let is_by_key = request.sort_target == SortTarget::Key as i32;
    request.sort_order == SortOrder::None as i32
        || (is_by_key && request.sort_order == SortOrder::Ascend as i32)
}

/// Whether keys are to be left out by their revisions.
pub(crate) fn has_filters(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// What to sort by, and whether downwards; nothing if the order of keys is right as it is.
fn sorting(request: &RangeRequest) -> Option<(SortTarget, bool)> {
    let target = SortTarget::try_from(request.sort_target).ok()?;
    let is_descending = request.sort_order == SortOrder::Descend as i32;
    (target != SortTarget::Key || is_descending).then_some((target, is_descending))
}

/// How many keys in key order settle the answer. Without an order but with a target, etcd cuts
/// first and sorts then; only filters keep it from that.
fn enough(request: &RangeRequest) -> Option<usize> {
    let cuts_first = request.sort_order == SortOrder::None as i32 && !has_filters(request);
    let is_settled = cuts_first || sorting(request).is_none();
    limit(request).filter(|_| is_settled).map(|limit| limit.saturating_add(1))
}

fn passes(request: &RangeRequest, version: &Version) -> bool {
    let within = |number: i64, min: i64, max: i64| {
        (max == 0 || number <= max) && (min == 0 || number >= min)
    };
    within(version.at.main, request.min_mod_revision, request.max_mod_revision)
        && within(version.created, request.min_create_revision, request.max_create_revision)
}

fn turn(order: Ordering, is_descending: bool) -> Ordering {
    if is_descending { order.reverse() } else { order }
}

fn compare(target: SortTarget, a: &Version, b: &Version) -> Ordering {
    match target {
        SortTarget::Version => a.number.cmp(&b.number),
        SortTarget::Create => a.created.cmp(&b.created),
        SortTarget::Mod => a.at.main.cmp(&b.at.main),
        SortTarget::Key | SortTarget::Value => Ordering::Equal,
    }
}

/// What the index alone knows: no value, and no lease.
pub(super) fn key_only((key, version): &Found<'_>) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key),
        create_revision: version.created,
        mod_revision: version.at.main,
        version: version.number,
        ..KeyValue::default()
    }
}
