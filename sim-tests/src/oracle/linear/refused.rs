//! Refusals carry no revision, and answers about leases one that says nothing about leases: each
//! must have been right at some state in its window.

use std::collections::BTreeMap;

use quorate_core::error::Refusal;

use super::times::Windows;
use super::{Step, name};
use crate::history::{Call, History, Operation, Outcome, Reply, Truth};
use crate::model::{Compaction, Model, Settings};

/// An operation that is not explained yet.
struct Open {
    place: usize,
    /// The last state it may be explained by.
    last: usize,
    /// Whether changes of keys may explain it; else only compactions and leases that come and go.
    needs_keys: bool,
    /// Whether no state was asked yet.
    is_new: bool,
}

/// Replays the steps once more, asking the model about open refusals at each state.
pub(super) fn check(
    history: &History,
    steps: &[Step],
    windows: &Windows,
    settings: Settings,
) -> Result<(), String> {
    let operations = &history.operations;
    let mut waiting = waiting(operations, steps, windows);
    if waiting.is_empty() {
        return Ok(());
    }
    let mut model = Model::new(settings);
    let mut open: Vec<Open> = Vec::new();
    let mut was_aside = true;
    for state in 0..=steps.len() {
        open.extend(waiting.remove(&state).unwrap_or_default());
        open.retain_mut(|it| {
            let is_due = std::mem::take(&mut it.is_new) || it.needs_keys || was_aside;
            !(is_due && is_right(&model, &operations[it.place]))
        });
        if let Some(late) = open.iter().find(|it| it.last <= state && !is_excused(history, it)) {
            return Err(describe(&operations[late.place]));
        }
        open.retain(|it| it.last > state);
        if let Some(step) = steps.get(state) {
            let verdict = model.evaluate(&step.call, Compaction::Checked);
            was_aside = verdict.effect.aside.is_some();
            model.commit(verdict.effect);
        }
    }
    Ok(())
}

/// Whether the model would have said the same here.
fn is_right(model: &Model, operation: &Operation) -> bool {
    match &operation.outcome {
        Outcome::Refused(refusal) => {
            model.evaluate(&operation.call, Compaction::Checked).reply == Err(*refusal)
        }
        Outcome::Ok(reply) => explains(model, &operation.call, reply),
        Outcome::Unknown => true,
    }
}

/// Whether what is said of a call may change with keys, and not only by compactions or leases.
const fn needs_keys(operation: &Operation) -> bool {
    !matches!(
        (&operation.call, &operation.outcome),
        (Call::LeaseKeepAlive(_) | Call::LeaseLeases(_), _)
            | (Call::LeaseGrant(_) | Call::LeaseRevoke(_), _)
            | (Call::Range(_) | Call::Compact(_), Outcome::Refused(Refusal::Compacted))
    )
}

fn describe(operation: &Operation) -> String {
    let what = match &operation.outcome {
        Outcome::Refused(refusal) => format!("refused as {}", refusal.name()),
        outcome => format!("answered {outcome:?}"),
    };
    format!("{} was {what}, which was never right", name(operation))
}

/// Whether an answer about leases fits the leases and keys there are; what it says about time is
/// judged elsewhere.
fn explains(model: &Model, call: &Call, reply: &Reply) -> bool {
    match (call, reply) {
        (Call::LeaseKeepAlive(ask), Reply::LeaseKeepAlive(answer)) => {
            ask.id == answer.id && model.has_lease(ask.id) == (answer.ttl > 0)
        }
        (Call::LeaseTimeToLive(ask), Reply::LeaseTimeToLive(answer)) => {
            let mut keys = answer.keys.clone();
            keys.sort_unstable();
            let due = if ask.keys { model.lease_keys(ask.id) } else { Vec::new() };
            model.granted(ask.id) == answer.granted_ttl && due == keys
        }
        (Call::LeaseLeases(_), Reply::LeaseLeases(answer)) => {
            let mut ids: Vec<i64> = answer.leases.iter().map(|lease| lease.id).collect();
            ids.sort_unstable();
            model.lease_ids().eq(ids)
        }
        _ => true,
    }
}

/// Which answers have no place of their own in the order of revisions.
const fn is_about_leases(call: &Call) -> bool {
    matches!(call, Call::LeaseKeepAlive(_) | Call::LeaseTimeToLive(_) | Call::LeaseLeases(_))
}

/// Whether the answer may be from the past: any member tells its leases; and a renewal is not
/// worth asking others whether its lease is there, only whether it is not.
fn may_be_late(operation: &Operation) -> bool {
    match (&operation.call, &operation.outcome) {
        (Call::LeaseLeases(_), _) => true,
        (Call::LeaseKeepAlive(_), Outcome::Ok(Reply::LeaseKeepAlive(answer))) => answer.ttl > 0,
        (call, _) => call.is_serializable(),
    }
}

/// Operations without a step that must be explained, by the first state that may explain each.
fn waiting(
    operations: &[Operation],
    steps: &[Step],
    windows: &Windows,
) -> BTreeMap<usize, Vec<Open>> {
    let mut has_step = vec![false; operations.len()];
    for place in steps.iter().filter_map(|step| step.operation) {
        has_step[place] = true;
    }
    let mut waiting: BTreeMap<usize, Vec<Open>> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let is_judged = match operation.outcome {
            Outcome::Refused(refusal) => is_about_state(refusal),
            Outcome::Ok(_) => is_about_leases(&operation.call),
            Outcome::Unknown => false,
        };
        if has_step[place] || !is_judged {
            continue;
        }
        let window = windows[place];
        let first = if may_be_late(operation) { 0 } else { window.first.div_ceil(2) };
        let last = (window.last / 2).min(steps.len());
        let first = first.min(last);
        let needs_keys = needs_keys(operation);
        let open = Open { place, last, needs_keys, is_new: true };
        waiting.entry(first).or_default().push(open);
    }
    waiting
}

/// Whether the model can tell if a refusal is right: by shape, or by the state of keys and leases.
const fn is_about_state(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::EmptyKey
            | Refusal::KeyNotFound
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::TooManyOps
            | Refusal::DuplicateKey
            | Refusal::InvalidSortOption
            | Refusal::Compacted
            | Refusal::FutureRev
            | Refusal::LeaseNotFound
            | Refusal::LeaseExist
            | Refusal::LeaseTtlTooLarge
    )
}

/// Without a log, what leaves no trace in the revisions may explain a refusal: a compaction or a
/// change of a lease nobody was answered for, and a lease that ended by itself.
fn is_excused(history: &History, open: &Open) -> bool {
    let operation = &history.operations[open.place];
    // Times of leases' ends are not in such a history.
    let Outcome::Refused(refusal) = operation.outcome else {
        return matches!(history.truth, Truth::Changes(_));
    };
    let is_lease = matches!(refusal, Refusal::LeaseNotFound | Refusal::LeaseExist);
    let is_traceless = |call: &Call| match call {
        Call::LeaseGrant(_) | Call::LeaseRevoke(_) => is_lease,
        Call::Compact(_) => refusal == Refusal::Compacted,
        _ => false,
    };
    let returned = operation.returned.unwrap_or(u64::MAX);
    let ended = |operation: &Operation| match &operation.call {
        Call::LeaseGrant(grant) => {
            let ttl = u64::try_from(grant.ttl).unwrap_or(0);
            operation.called.saturating_add(ttl.saturating_mul(1_000_000_000)) < returned
        }
        _ => false,
    };
    matches!(history.truth, Truth::Changes(_))
        && history.operations.iter().any(|operation| {
            operation.called < returned
                && (operation.outcome == Outcome::Unknown && is_traceless(&operation.call)
                    || refusal == Refusal::LeaseNotFound && ended(operation))
        })
}
