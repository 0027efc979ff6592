//! Linearizability, in one pass over the revisions (oracle 1).
//!
//! Every response carries the store's revision and every mutation takes exactly one, so a history
//! is already ordered: there is nothing to search.
//!
//! ```text
//!   truth   step 0: put a     step 1: put b          step 2: compact 2
//!   state  0 ------------- 1 --------------- 2 ----------------------- 3
//!   revision 1             2                 3                         3
//!   coordinate  0     1     2       3        4           5             6
//! ```
//!
//! 1. The steps: every committed call, in order. The log tells them, or are rebuilt.
//! 2. The replay: each step and each read is put to the model where its revision says, and every
//!    field of every reply must be what the model says.
//! 3. Real time: an operation stands at a coordinate (a step) or in a stretch of them (a read at
//!    one revision). Who returned before another was called must stand before it. One pass in
//!    order of time finds any violation.
//! 4. Refusals carry no revision, and what is said of leases none of its own: each must be what
//!    the model would have said at some state between what was before it and what came after it.
//!
//! Serializable reads may be from the past, never from the future, and always whole.
//!
//! Cost: n log n in operations for sorting, everything else linear.
//!
//! Deliberately absent: remaining times and alarms: they are about time or members, not keys.

use std::collections::BTreeMap;

use quorate_io_sim::world::observe::Violation;

use super::wrong;
use crate::history::{Call, History, Operation, Outcome, Truth};
use crate::model::{Settings, check as check_shape};

mod agree;
mod rebuild;
mod refused;
mod replay;
mod times;

pub use agree::difference;

const NAME: &str = "linear";

/// One committed call.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What it does.
    call: Call,
    /// Which operation asked for it; none if a member did by itself.
    operation: Option<usize>,
}

/// Judges a history of a cluster with these settings.
pub fn check(history: &History, settings: Settings) -> Result<(), Violation> {
    let operations = &history.operations;
    for operation in operations {
        check_alone(operation, settings).map_err(|what| wrong(NAME, what))?;
    }
    let steps = match &history.truth {
        Truth::Log(_) => from_log(history),
        Truth::Changes(changes) => rebuild::rebuild(operations, changes, settings),
    };
    let steps = steps.map_err(|what| wrong(NAME, what))?;
    let places = replay::replay(operations, &steps, settings).map_err(|what| wrong(NAME, what))?;
    let windows = times::check(operations, &places).map_err(|what| wrong(NAME, what))?;
    refused::check(history, &steps, &windows, settings).map_err(|what| wrong(NAME, what))
}

/// What is wrong with an operation whatever the others did.
fn check_alone(operation: &Operation, settings: Settings) -> Result<(), String> {
    if let Some(returned) = operation.returned.filter(|at| *at < operation.called) {
        let called = operation.called;
        return Err(format!(
            "{} returned at {returned}, before its call at {called}",
            name(operation)
        ));
    }
    let shape = check_shape(&operation.call, settings.txn_ops_max);
    match (&operation.outcome, shape) {
        (Outcome::Ok(reply), Ok(())) if !agree::is_reply_to(&operation.call, reply) => {
            Err(format!("{} was answered like another method", name(operation)))
        }
        (Outcome::Ok(_), Err(refusal)) => {
            Err(format!("{} was served, but must be refused: {}", name(operation), refusal.name()))
        }
        _ => Ok(()),
    }
}

/// The log's entries as steps.
fn from_log(history: &History) -> Result<Vec<Step>, String> {
    let Truth::Log(log) = &history.truth else { return Ok(Vec::new()) };
    let places = history.operations.iter().enumerate().map(|(place, it)| (it.id, place));
    let places: BTreeMap<u64, usize> = places.collect();
    let mut indexes: BTreeMap<usize, u64> = BTreeMap::new();
    let mut steps = Vec::with_capacity(log.len());
    for entry in log {
        let operation = entry.operation.and_then(|id| places.get(&id).copied());
        if let Some(place) = operation
            && let Some(first) = indexes.insert(place, entry.index)
        {
            let operation = name(&history.operations[place]);
            let second = entry.index;
            return Err(format!("{operation} is in the log twice, at {first} and {second}"));
        }
        let by_itself = matches!(entry.call, Call::LeaseRevoke(_) | Call::Compact(_));
        if operation.is_none() && !by_itself {
            let method = entry.call.name();
            return Err(format!("entry {} is a {method} nobody asked for", entry.index));
        }
        steps.push(Step { call: entry.call.clone(), operation });
    }
    Ok(steps)
}

/// How an operation is called in a verdict.
pub(super) fn name(operation: &Operation) -> String {
    let Operation { id, client, member, call, .. } = operation;
    format!("operation {id} ({} by client {client} on member {member:x})", call.name())
}

/// Whether a call, once answered, must have gone through the log.
const fn needs_step(call: &Call) -> bool {
    matches!(
        call,
        Call::Put(_)
            | Call::DeleteRange(_)
            | Call::Txn(_)
            | Call::Compact(_)
            | Call::LeaseGrant(_)
            | Call::LeaseRevoke(_)
    )
}

#[cfg(test)]
mod tests;
