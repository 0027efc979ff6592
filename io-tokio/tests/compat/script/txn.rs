//! Transactions: all targets and relations, nested, doubled, mismatched, too many.

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::TargetUnion;
use quorate_proto::etcdserverpb::request_op::Request;

use super::{Known, Script};

/// The deepest nesting that is asked for, and the deepest that both serve for certain.
const DEPTH_MAX: usize = 80;
const WRITING_DEPTH_MAX: usize = 40;

/// What the operations of a transaction are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taste {
    Reads,
    Mixed,
}

impl Script {
    pub(super) fn any_txn(&mut self, known: &Known) -> pb::TxnRequest {
        if self.luck.one_in(25) {
            return self.crowded_txn(known);
        }
        if self.luck.one_in(40) {
            return self.deep_txn();
        }
        let taste = if self.luck.one_in(4) { Taste::Reads } else { Taste::Mixed };
        let mut txn = self.txn(known, taste, 3);
        let mut keys = Vec::new();
        puts(&txn, &mut keys);
        narrow(&mut txn, &keys);
        txn
    }

    fn txn(&mut self, known: &Known, taste: Taste, depth: usize) -> pb::TxnRequest {
        let compares = self.luck.weigh(&[(3, 0), (5, 1), (2, 2), (1, 4)]);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare(known)).collect(),
            success: self.branch(known, taste, depth),
            failure: self.branch(known, taste, depth),
        }
    }

    fn branch(&mut self, known: &Known, taste: Taste, depth: usize) -> Vec<pb::RequestOp> {
        let size = self.luck.weigh(&[(2, 0), (4, 1), (4, 2), (2, 3), (1, 5)]);
        (0..size).map(|_| self.op(known, taste, depth)).collect()
    }

    fn op(&mut self, known: &Known, taste: Taste, depth: usize) -> pb::RequestOp {
        let lot = if taste == Taste::Reads { 0 } else { self.luck.below(40) };
        let request = match lot {
            0..=12 => Request::RequestRange(self.modest_range(known)),
            13..=26 => Request::RequestPut(self.put()),
            27..=33 => Request::RequestDeleteRange(self.delete()),
            34..=38 if depth > 1 => Request::RequestTxn(self.nested(known, depth - 1)),
            39 if self.luck.one_in(3) => return pb::RequestOp { request: None },
            _ => Request::RequestPut(self.put()),
        };
        pb::RequestOp { request: Some(request) }
    }

    fn nested(&mut self, known: &Known, depth: usize) -> pb::TxnRequest {
        let taste = if self.luck.one_in(4) { Taste::Reads } else { Taste::Mixed };
        self.txn(known, taste, depth)
    }

    /// A range that is not refused every other time: one that is takes the others with it.
    fn modest_range(&mut self, known: &Known) -> pb::RangeRequest {
        let mut request = self.range(known);
        if !self.luck.one_in(4) {
            request.revision = *self.luck.pick(&[0, 0, known.revision, known.compacted.max(1)]);
        }
        request
    }

    fn compare(&mut self, known: &Known) -> pb::Compare {
        let (key, range_end) =
            if self.luck.one_in(4) { self.span() } else { (self.key(), Bytes::new()) };
        let target = self.luck.below(5);
        // Now and then a union of another kind, or none.
        let kind = if self.luck.one_in(12) { self.luck.below(6) } else { target };
        let number = self.compared(known);
        let target_union = match kind {
            0 => Some(TargetUnion::Version(*self.luck.pick(&[0, 1, 2, 3]))),
            1 => Some(TargetUnion::CreateRevision(number)),
            2 => Some(TargetUnion::ModRevision(number)),
            3 => Some(TargetUnion::Value(format!("v{}", self.luck.below(6)).into())),
            4 => Some(TargetUnion::Lease(self.lease_id())),
            _ => None,
        };
        let strange = |luck: &mut super::super::luck::Luck, usual: i32| match luck.one_in(50) {
            true => *luck.pick(&[-1, 9, i32::MAX]),
            false => usual,
        };
        let relation = i32::try_from(self.luck.below(4)).unwrap_or_default();
        let target = i32::try_from(target).unwrap_or_default();
        pb::Compare {
            result: strange(&mut self.luck, relation),
            target: strange(&mut self.luck, target),
            key,
            range_end,
            target_union,
        }
    }

    fn compared(&mut self, known: &Known) -> i64 {
        if self.luck.one_in(2) { 0 } else { self.revision(known) }
    }

    /// As many operations as are allowed, or one more, side by side or below each other.
    fn crowded_txn(&mut self, known: &Known) -> pb::TxnRequest {
        let size = self.world.txn_ops_max + self.luck.below(2);
        let put = |n: usize| {
            let request = pb::PutRequest {
                key: format!("s/{n:02}").into(),
                value: format!("crowd {n}").into(),
                ..Default::default()
            };
            pb::RequestOp { request: Some(Request::RequestPut(request)) }
        };
        let ops: Vec<_> = (0..size).map(put).collect();
        match self.luck.below(4) {
            0 => pb::TxnRequest { success: ops, ..Default::default() },
            1 => pb::TxnRequest { failure: ops, ..Default::default() },
            2 => {
                let compare = (0..size).map(|_| self.compare(known)).collect();
                pb::TxnRequest { compare, success: vec![put(0)], failure: vec![put(1)] }
            }
            _ => {
                let fits = self.luck.below(size) + 1;
                let nested = pb::TxnRequest { success: ops[..fits].to_vec(), ..Default::default() };
                let nested = Request::RequestTxn(nested);
                let mut success: Vec<_> = (0..size - fits).map(|n| put(n + 200)).collect();
                success.push(pb::RequestOp { request: Some(nested) });
                pb::TxnRequest { success, ..Default::default() }
            }
        }
    }

    /// Transactions within transactions. Very deep ones change nothing.
    fn deep_txn(&mut self) -> pb::TxnRequest {
        let depth = self.luck.below(self.world.txn_ops_max.min(DEPTH_MAX)) + 1;
        let innermost = match depth > WRITING_DEPTH_MAX {
            true => {
                Request::RequestRange(pb::RangeRequest { key: self.key(), ..Default::default() })
            }
            false => Request::RequestPut(self.put()),
        };
        let innermost = pb::RequestOp { request: Some(innermost) };
        let mut txn = pb::TxnRequest { success: vec![innermost], ..Default::default() };
        for _ in 0..depth {
            let op = pb::RequestOp { request: Some(Request::RequestTxn(txn)) };
            txn = pb::TxnRequest { success: vec![op], ..Default::default() };
        }
        txn
    }
}

/// Keys put somewhere in a transaction.
fn puts(txn: &pb::TxnRequest, keys: &mut Vec<Bytes>) {
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestPut(put)) => keys.push(put.key.clone()),
            Some(Request::RequestTxn(nested)) => puts(nested, keys),
            _ => {}
        }
    }
}

/// etcd does not survive that a key is deleted by an open range and put again in one revision, see
/// `docs/differences.md`: such ranges become their first key.
fn narrow(txn: &mut pb::TxnRequest, puts: &[Bytes]) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestDeleteRange(delete)) => {
                let is_put = puts.iter().any(|key| *key >= delete.key);
                if delete.range_end.as_ref() == [0] && is_put {
                    delete.range_end.clear();
                }
            }
            Some(Request::RequestTxn(nested)) => narrow(nested, puts),
            _ => {}
        }
    }
}
