//! No branch of a transaction may put a key twice, or put a key it deletes.
//!
//! What a branch may do to a key is collected from the inside out. The two branches of a nested
//! transaction exclude each other and may put the same key; two nested transactions side by side
//! may not. A delete whose end is not above its start counts as one of nothing, also when the end
//! is the zero byte that means "all keys from here on".

use alloc::collections::{BTreeMap, BTreeSet};

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::request_op::Request;

use crate::error::Refusal;

/// Checks one branch, and all that is nested in it.
pub(super) fn check_overlaps(branch: &[pb::RequestOp]) -> Result<(), Refusal> {
    collect(branch).map(|_| ())
}

/// Keys put and deleted somewhere in a branch.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Deletes<'a>,
}

#[derive(Default)]
struct Deletes<'a> {
    keys: BTreeSet<&'a [u8]>,
    /// Start to end; apart from each other.
    spans: BTreeMap<&'a [u8], &'a [u8]>,
}

/// The same in etcd's order: deletes of this level, nested transactions one by one, puts of this
/// level. A nested put meets only the deletes collected before it.
fn collect(branch: &[pb::RequestOp]) -> Result<Touched<'_>, Refusal> {
    let mut touched = Touched::default();
    for op in branch {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            touched.deletes.insert(&delete.key, &delete.range_end);
        }
    }
    for op in branch {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            let success = collect(&nested.success)?;
            let failure = collect(&nested.failure)?;
            touched.take_in(success, failure)?;
        }
    }
    for op in branch {
        if let Some(Request::RequestPut(put)) = &op.request {
            touched.put(&put.key)?;
        }
    }
    Ok(touched)
}

impl<'a> Touched<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        if self.deletes.contains(key) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }

    fn take_in(&mut self, success: Self, failure: Self) -> Result<(), Refusal> {
        let only_failure = failure.puts.iter().filter(|key| !success.puts.contains(*key));
        success.puts.iter().chain(only_failure).try_for_each(|key| self.put(key))?;
        self.deletes.take_in(success.deletes);
        self.deletes.take_in(failure.deletes);
        Ok(())
    }
}

impl<'a> Deletes<'a> {
    fn insert(&mut self, start: &'a [u8], end: &'a [u8]) {
        if end.is_empty() {
            self.keys.insert(start);
        }
        if end <= start {
            return;
        }
        let (mut start, mut end) = (start, end);
        if let Some((before, its_end)) = self.spans.range(..=start).next_back()
            && *its_end >= start
        {
            start = before;
            end = end.max(its_end);
        }
        while let Some((next, its_end)) = self.spans.range(start..).next()
            && *next <= end
        {
            let next = *next;
            end = end.max(its_end);
            self.spans.remove(next);
        }
        self.spans.insert(start, end);
    }

    fn take_in(&mut self, other: Self) {
        self.keys.extend(other.keys);
        other.spans.into_iter().for_each(|(start, end)| self.insert(start, end));
    }

    fn contains(&self, key: &[u8]) -> bool {
        let before = self.spans.range(..=key).next_back();
        self.keys.contains(key) || before.is_some_and(|(_, end)| key < *end)
    }
}
