//! Finds the steps of a history that has no log, from the recorded changes of every revision.
//!
//! For each revision somebody must have made it: the operation that was answered with it, else an
//! operation nobody was answered for whose effect is exactly these changes, else a lease that
//! ended. Effects without a revision stand behind the revision in their header, in order of their
//! calls unless the model says otherwise.

use std::collections::{BTreeMap, VecDeque};

use quorate_proto::etcdserverpb::{self as pb, request_op::Request, response_op::Response};
use quorate_proto::mvccpb::Event;

use super::{Step, agree, name, needs_step};
use crate::history::{Call, Changes, Operation, Outcome, Reply};
use crate::model::{Compaction, Model, Settings, covers};

/// Finds the steps. Errors are whole sentences.
pub(super) fn rebuild(
    operations: &[Operation],
    changes: &[Changes],
    settings: Settings,
) -> Result<Vec<Step>, String> {
    let mut rebuild = Rebuild::new(operations, settings)?;
    rebuild.settle_asides();
    for change in changes {
        let next = rebuild.model.revision() + 1;
        if change.revision != next {
            let got = change.revision;
            return Err(format!("changes of revision {got} recorded where {next} was due"));
        }
        rebuild.make(change)?;
        rebuild.settle_asides();
    }
    rebuild.check_left(changes.last().map_or(1, |change| change.revision))?;
    Ok(rebuild.steps)
}

struct Rebuild<'a> {
    operations: &'a [Operation],
    model: Model,
    steps: Vec<Step>,
    /// Who was answered with a revision of their own.
    claims: BTreeMap<i64, usize>,
    /// Other answered writes by the revision in their header, in order of call.
    asides: BTreeMap<i64, VecDeque<usize>>,
    /// Writes nobody was answered for, in order of call.
    unknown: Vec<usize>,
}

impl<'a> Rebuild<'a> {
    fn new(operations: &'a [Operation], settings: Settings) -> Result<Self, String> {
        let mut rebuild = Self {
            operations,
            model: Model::new(settings),
            steps: Vec::new(),
            claims: BTreeMap::new(),
            asides: BTreeMap::new(),
            unknown: Vec::new(),
        };
        let mut order: Vec<usize> = (0..operations.len()).collect();
        order.sort_by_key(|place| operations[*place].called);
        for place in order {
            rebuild.sort_in(place)?;
        }
        Ok(rebuild)
    }

    fn sort_in(&mut self, place: usize) -> Result<(), String> {
        let operation = &self.operations[place];
        if operation.call.is_read() || !needs_step(&operation.call) {
            return Ok(());
        }
        match &operation.outcome {
            Outcome::Unknown => self.unknown.push(place),
            Outcome::Refused(_) => {}
            Outcome::Ok(reply) if is_mutation(reply) => {
                if let Some(other) = self.claims.insert(reply.revision(), place) {
                    let (this, other) = (name(operation), name(&self.operations[other]));
                    let revision = reply.revision();
                    return Err(format!("{this} and {other} both made revision {revision}"));
                }
            }
            Outcome::Ok(reply) => {
                self.asides.entry(reply.revision()).or_default().push_back(place);
            }
        }
        Ok(())
    }

    fn push(&mut self, call: Call, operation: Option<usize>) {
        let verdict = self.model.evaluate(&call, Compaction::Checked);
        self.model.commit(verdict.effect);
        self.steps.push(Step { call, operation });
    }

    /// Finds who made a revision, and lets it happen.
    fn make(&mut self, change: &Changes) -> Result<(), String> {
        let revision = change.revision;
        if let Some(place) = self.claims.remove(&revision) {
            return self.make_as(place, change);
        }
        if let Some(place) = self.find_revoke(change) {
            return self.make_as(place, change);
        }
        let found = self.unknown.iter().position(|place| {
            let call = &self.operations[*place].call;
            may_touch(call, change) && self.explains(call, change)
        });
        if let Some(found) = found {
            let place = self.unknown.remove(found);
            return self.make_as(place, change);
        }
        let expiry = self.expiry(change).filter(|call| self.explains(call, change));
        let Some(call) = expiry else {
            let events = &change.events;
            return Err(format!("nobody made revision {revision}: {events:?}"));
        };
        self.push(call, None);
        Ok(())
    }

    fn make_as(&mut self, place: usize, change: &Changes) -> Result<(), String> {
        let operation = &self.operations[place];
        self.grant_first(&operation.call);
        if !self.explains(&operation.call, change) {
            let operation = name(operation);
            return Err(format!("{operation} does not explain what was recorded: {change:?}"));
        }
        self.push(operation.call.clone(), Some(place));
        Ok(())
    }

    /// A revoke's reply does not tell whether there were keys; the changes do.
    fn find_revoke(&mut self, change: &Changes) -> Option<usize> {
        let asides = self.asides.get(&change.revision)?;
        let found = asides.iter().position(|place| {
            let call = &self.operations[*place].call;
            matches!(call, Call::LeaseRevoke(_)) && self.explains(call, change)
        })?;
        self.asides.get_mut(&change.revision)?.remove(found)
    }

    fn explains(&self, call: &Call, change: &Changes) -> bool {
        let events = self.model.evaluate(call, Compaction::Checked).effect.events;
        events.len() == change.events.len()
            && events.iter().zip(&change.events).all(|(a, b)| a.r#type == b.r#type && a.kv == b.kv)
    }

    /// The end of the lease the first changed key hangs on.
    fn expiry(&self, change: &Changes) -> Option<Call> {
        let key = &change.events.first()?.kv.as_ref()?.key;
        let id = self.model.kv_at(key, self.model.revision())?.lease;
        Some(Call::LeaseRevoke(pb::LeaseRevokeRequest { id }))
    }

    /// A lease nobody was told of exists if a key could be attached to it.
    fn grant_first(&mut self, call: &Call) {
        let mut wanted = Vec::new();
        collect_leases(call, &mut wanted);
        for lease in wanted {
            let found = self.unknown.iter().position(|place| {
                matches!(&self.operations[*place].call, Call::LeaseGrant(it) if it.id == lease)
            });
            if !self.model.has_lease(lease)
                && let Some(found) = found
            {
                let place = self.unknown.remove(found);
                self.push(self.operations[place].call.clone(), Some(place));
            }
        }
    }

    /// Lets everything happen that was answered with the model's revision and did not make it.
    fn settle_asides(&mut self) {
        let revision = self.model.revision();
        let Some(mut waiting) = self.asides.remove(&revision) else { return };
        let mut deferred = 0;
        while let Some(place) = waiting.pop_front() {
            let operation = &self.operations[place];
            self.grant_first(&operation.call);
            let call = with_picked(&operation.call, &operation.outcome);
            let verdict = self.model.evaluate(&call, Compaction::Checked);
            let agrees = match (&operation.outcome, &verdict.reply) {
                (Outcome::Ok(actual), Ok(expected)) => {
                    agree::difference(&operation.call, expected, actual).is_none()
                }
                _ => false,
            };
            if !agrees && deferred < waiting.len() {
                deferred += 1;
                waiting.push_back(place);
                continue;
            }
            deferred = 0;
            self.steps.push(Step { call, operation: Some(place) });
            // A step that would make a revision is wrong here; the replay will say how.
            if verdict.effect.events.is_empty() {
                self.model.commit(verdict.effect);
            }
        }
    }

    fn check_left(&self, newest: i64) -> Result<(), String> {
        let asides =
            self.asides.iter().filter_map(|(revision, all)| Some((revision, all.front()?)));
        let left = self.claims.iter().chain(asides).next();
        let Some((revision, place)) = left else { return Ok(()) };
        let operation = name(&self.operations[*place]);
        Err(format!("{operation} was answered with revision {revision}; there were only {newest}"))
    }
}

/// Whether a reply says that a revision was made.
fn is_mutation(reply: &Reply) -> bool {
    match reply {
        Reply::Put(_) => true,
        Reply::DeleteRange(delete) => delete.deleted > 0,
        Reply::Txn(txn) => txn_mutates(txn),
        _ => false,
    }
}

fn txn_mutates(txn: &pb::TxnResponse) -> bool {
    txn.responses.iter().any(|response| match &response.response {
        Some(Response::ResponsePut(_)) => true,
        Some(Response::ResponseDeleteRange(delete)) => delete.deleted > 0,
        Some(Response::ResponseTxn(nested)) => txn_mutates(nested),
        Some(Response::ResponseRange(_)) | None => false,
    })
}

/// The call with the id the server picked for it.
fn with_picked(call: &Call, outcome: &Outcome) -> Call {
    match (call, outcome) {
        (Call::LeaseGrant(grant), Outcome::Ok(Reply::LeaseGrant(reply))) if grant.id == 0 => {
            Call::LeaseGrant(pb::LeaseGrantRequest { id: reply.id, ..*grant })
        }
        _ => call.clone(),
    }
}

/// Whether a call could have caused the first of these changes; cheap, and never wrongly no.
fn may_touch(call: &Call, change: &Changes) -> bool {
    let Some(Event { kv: Some(kv), .. }) = change.events.first() else { return false };
    match call {
        Call::Put(put) => put.key == kv.key,
        Call::DeleteRange(delete) => covers(&delete.key, &delete.range_end, &kv.key),
        _ => true,
    }
}

fn collect_leases(call: &Call, into: &mut Vec<i64>) {
    match call {
        Call::Put(put) if put.lease != 0 => into.push(put.lease),
        Call::Txn(txn) => collect_txn_leases(txn, into),
        Call::LeaseRevoke(revoke) => into.push(revoke.id),
        _ => {}
    }
}

fn collect_txn_leases(txn: &pb::TxnRequest, into: &mut Vec<i64>) {
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestPut(put)) if put.lease != 0 => into.push(put.lease),
            Some(Request::RequestTxn(nested)) => collect_txn_leases(nested, into),
            _ => {}
        }
    }
}
