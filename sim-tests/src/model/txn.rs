//! Writes: one transaction, or a lone put or delete.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb::{
    self as pb,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use quorate_proto::mvccpb::{Event, KeyValue, event::EventType};

use super::range::select;
use super::{Compaction, Effect, Model, covers, deletion, header};
use crate::history::{Call, Reply};

type Outcome = Result<(Reply, Effect), Refusal>;

/// A put or a delete outside of transactions.
pub(super) fn single(model: &Model, call: &Call) -> Outcome {
    let mut draft = Draft { model, events: Vec::new() };
    let reply = match call {
        Call::Put(put) => {
            draft.check_put(put)?;
            Reply::Put(draft.put(put)?)
        }
        Call::DeleteRange(delete) => Reply::DeleteRange(draft.delete(delete)),
        _ => return Err(Refusal::NotCapable),
    };
    Ok((reply, Effect { events: draft.events, aside: None }))
}

/// A whole transaction.
pub(super) fn whole(model: &Model, txn: &pb::TxnRequest, compaction: Compaction) -> Outcome {
    let mut draft = Draft { model, events: Vec::new() };
    draft.check(txn, compaction)?;
    let mut response = draft.run(txn)?;
    response.header = header(draft.revision());
    Ok((Reply::Txn(response), Effect { events: draft.events, aside: None }))
}

/// A transaction on its way: the state before it, and what it has done so far.
struct Draft<'a> {
    model: &'a Model,
    events: Vec<Event>,
}

impl Draft<'_> {
    /// The revision the transaction sees itself at.
    const fn revision(&self) -> i64 {
        self.model.revision + if self.events.is_empty() { 0 } else { 1 }
    }

    /// The branch the compares choose; they see the state before the transaction.
    fn branch<'t>(&self, txn: &'t pb::TxnRequest) -> (bool, &'t [pb::RequestOp]) {
        let succeeded = txn.compare.iter().all(|compare| holds(self.model, compare));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    /// Refuses the transaction if any operation on its path must be.
    fn check(&self, txn: &pb::TxnRequest, compaction: Compaction) -> Result<(), Refusal> {
        for op in self.branch(txn).1 {
            match &op.request {
                Some(Request::RequestRange(range)) => self.check_range(range, compaction)?,
                Some(Request::RequestPut(put)) => self.check_put(put)?,
                Some(Request::RequestTxn(nested)) => self.check(nested, compaction)?,
                Some(Request::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }

    const fn check_range(
        &self,
        range: &pb::RangeRequest,
        compaction: Compaction,
    ) -> Result<(), Refusal> {
        if range.revision == 0 {
            return Ok(());
        }
        if range.revision > self.model.revision {
            return Err(Refusal::FutureRev);
        }
        if range.revision < self.model.compacted && matches!(compaction, Compaction::Checked) {
            return Err(Refusal::Compacted);
        }
        Ok(())
    }

    /// The lease is looked for before the key.
    fn check_put(&self, put: &pb::PutRequest) -> Result<(), Refusal> {
        if put.lease != 0 && !self.model.has_lease(put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        let is_update = put.ignore_value || put.ignore_lease;
        if is_update && self.model.kv_at(&put.key, self.model.revision).is_none() {
            return Err(Refusal::KeyNotFound);
        }
        Ok(())
    }

    fn run(&mut self, txn: &pb::TxnRequest) -> Result<pb::TxnResponse, Refusal> {
        let (succeeded, ops) = self.branch(txn);
        let mut responses = Vec::new();
        for request in ops.iter().filter_map(|op| op.request.as_ref()) {
            let response = match request {
                Request::RequestRange(range) => Response::ResponseRange(self.range(range)),
                Request::RequestPut(put) => Response::ResponsePut(self.put(put)?),
                Request::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.delete(delete))
                }
                Request::RequestTxn(nested) => Response::ResponseTxn(self.run(nested)?),
            };
            responses.push(pb::ResponseOp { response: Some(response) });
        }
        Ok(pb::TxnResponse { responses, header: header(0), succeeded })
    }

    fn range(&self, range: &pb::RangeRequest) -> pb::RangeResponse {
        let live = if range.revision > 0 {
            self.model.live(&range.key, &range.range_end, range.revision)
        } else {
            self.live(&range.key, &range.range_end)
        };
        select(range, live, self.revision())
    }

    /// Live keys of a range, with this transaction's own changes.
    fn live(&self, key: &Bytes, range_end: &Bytes) -> Vec<KeyValue> {
        let before = self.model.live(key, range_end, self.model.revision);
        let mut live: BTreeMap<_, _> = before.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        for event in &self.events {
            let Some(kv) = &event.kv else { continue };
            if !covers(key, range_end, &kv.key) {
                continue;
            }
            if event.r#type == EventType::Put as i32 {
                live.insert(kv.key.clone(), kv.clone());
            } else {
                live.remove(&kv.key);
            }
        }
        live.into_values().collect()
    }

    fn put(&mut self, put: &pb::PutRequest) -> Result<pb::PutResponse, Refusal> {
        let old = self.live(&put.key, &Bytes::new()).pop();
        // The key may have gone on the way: the transaction then does nothing at all.
        if old.is_none() && (put.ignore_value || put.ignore_lease) {
            return Err(Refusal::KeyNotFound);
        }
        let next = self.model.revision + 1;
        let kept = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(next, |old| old.create_revision),
            mod_revision: next,
            version: kept.version + 1,
            value: if put.ignore_value { kept.value } else { put.value.clone() },
            lease: if put.ignore_lease { kept.lease } else { put.lease },
        };
        self.events.push(Event { r#type: EventType::Put as i32, kv: Some(kv), prev_kv: None });
        let prev_kv = old.filter(|_| put.prev_kv);
        Ok(pb::PutResponse { header: header(self.revision()), prev_kv })
    }

    fn delete(&mut self, delete: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        let victims = self.live(&delete.key, &delete.range_end);
        let next = self.model.revision + 1;
        self.events.extend(victims.iter().map(|kv| deletion(kv.key.clone(), next)));
        pb::DeleteRangeResponse {
            header: header(self.revision()),
            deleted: i64::try_from(victims.len()).expect("a count of keys fits"),
            prev_kvs: if delete.prev_kv { victims } else { Vec::new() },
        }
    }
}

/// Whether a compare holds for every key it names; none at all is judged as one absent key.
fn holds(model: &Model, compare: &pb::Compare) -> bool {
    let live = model.live(&compare.key, &compare.range_end, model.revision);
    if live.is_empty() {
        return compare.target != CompareTarget::Value as i32
            && holds_for(compare, &KeyValue::default());
    }
    live.iter().all(|kv| holds_for(compare, kv))
}

fn holds_for(compare: &pb::Compare, kv: &KeyValue) -> bool {
    use std::cmp::Ordering;
    let union = &compare.target_union;
    let number = |actual: i64, wanted: Option<i64>| actual.cmp(&wanted.unwrap_or(0));
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => number(
            kv.version,
            match union {
                Some(TargetUnion::Version(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            match union {
                Some(TargetUnion::CreateRevision(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            match union {
                Some(TargetUnion::ModRevision(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Lease) => number(
            kv.lease,
            match union {
                Some(TargetUnion::Lease(wanted)) => Some(*wanted),
                _ => None,
            },
        ),
        Ok(CompareTarget::Value) => match union {
            Some(TargetUnion::Value(wanted)) => kv.value.cmp(wanted),
            _ => kv.value.as_ref().cmp(b"".as_slice()),
        },
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        Err(_) => true,
    }
}
