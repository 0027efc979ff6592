//! What is wrong with a call before any state is looked at.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb::{self as pb, request_op::Request};

use crate::history::Call;

const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// Judges a call's shape: the refusal every member gives at any time, or none.
pub fn check(call: &Call, txn_ops_max: usize) -> Result<(), Refusal> {
    match call {
        Call::Range(range) => check_range(range),
        Call::Put(put) => check_put(put),
        Call::DeleteRange(delete) => check_key(&delete.key),
        Call::Txn(txn) => {
            check_txn(txn, txn_ops_max)?;
            touched(&txn.success)?;
            touched(&txn.failure).map(|_| ())
        }
        Call::LeaseGrant(grant) if grant.ttl > LEASE_TTL_MAX => Err(Refusal::LeaseTtlTooLarge),
        _ => Ok(()),
    }
}

const fn check_key(key: &Bytes) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

fn check_range(range: &pb::RangeRequest) -> Result<(), Refusal> {
    check_key(&range.key)?;
    let known = (0..=2).contains(&range.sort_order) && (0..=4).contains(&range.sort_target);
    if known { Ok(()) } else { Err(Refusal::InvalidSortOption) }
}

fn check_put(put: &pb::PutRequest) -> Result<(), Refusal> {
    check_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

fn check_txn(txn: &pb::TxnRequest, budget: usize) -> Result<(), Refusal> {
    let width = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let Some(rest) = budget.checked_sub(width) else { return Err(Refusal::TooManyOps) };
    for compare in &txn.compare {
        check_key(&compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_key(&delete.key)?,
            Some(Request::RequestTxn(nested)) => check_txn(nested, rest)?,
            None => return Err(Refusal::KeyNotFound),
        }
    }
    Ok(())
}

/// What a branch may write: keys put, and spans deleted.
#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    deletes: Vec<(Bytes, Bytes)>,
}

impl Touched {
    /// An open or inverted span counts as empty: etcd's interval tree sees nothing in it.
    fn is_deleted(&self, key: &Bytes) -> bool {
        self.deletes.iter().any(|(start, end)| match end.is_empty() {
            true => key == start,
            false => start <= key && key < end,
        })
    }

    fn put(&mut self, key: &Bytes, is_harmless: bool) -> Result<(), Refusal> {
        let is_new = self.puts.insert(key.clone());
        if self.is_deleted(key) || !(is_new || is_harmless) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }
}

/// What one branch touches, unless it touches a key twice. Deletes of nested transactions count
/// only against what comes after them, as in etcd.
fn touched(branch: &[pb::RequestOp]) -> Result<Touched, Refusal> {
    let mut all = Touched::default();
    for op in branch {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            all.deletes.push((delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in branch {
        let Some(Request::RequestTxn(nested)) = &op.request else { continue };
        let success = touched(&nested.success)?;
        let failure = touched(&nested.failure)?;
        for key in &success.puts {
            all.put(key, false)?;
        }
        for key in &failure.puts {
            all.put(key, success.puts.contains(key))?;
        }
        all.deletes.extend(success.deletes);
        all.deletes.extend(failure.deletes);
    }
    for op in branch {
        if let Some(Request::RequestPut(put)) = &op.request {
            all.put(&put.key, false)?;
        }
    }
    Ok(all)
}
