//! Refusals carry no revision: each must have been right at some state in its window.

use std::collections::BTreeMap;

use quorate_core::error::Refusal;

use super::times::Windows;
use super::{Step, name};
use crate::history::{Call, History, Operation, Outcome, Truth};
use crate::model::{Compaction, Model, Settings};

/// A refused operation that is not explained yet.
struct Open {
    place: usize,
    refusal: Refusal,
    /// The last state it may be explained by.
    last: usize,
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
    for state in 0..=steps.len() {
        open.extend(waiting.remove(&state).unwrap_or_default());
        open.retain(|it| {
            let call = &operations[it.place].call;
            model.evaluate(call, Compaction::Checked).reply != Err(it.refusal)
        });
        if let Some(late) = open.iter().find(|it| it.last <= state && !is_excused(history, it)) {
            let (operation, refusal) = (name(&operations[late.place]), late.refusal.name());
            return Err(format!("{operation} was refused as {refusal}, which was never right"));
        }
        open.retain(|it| it.last > state);
        if let Some(step) = steps.get(state) {
            let verdict = model.evaluate(&step.call, Compaction::Checked);
            model.commit(verdict.effect);
        }
    }
    Ok(())
}

/// Refused operations without a step, by the first state that may explain each.
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
        let Outcome::Refused(refusal) = operation.outcome else { continue };
        if has_step[place] || !is_about_state(refusal) {
            continue;
        }
        let window = windows[place];
        let first = if operation.call.is_serializable() { 0 } else { window.first.div_ceil(2) };
        let last = (window.last / 2).min(steps.len());
        let first = first.min(last);
        waiting.entry(first).or_default().push(Open { place, refusal, last });
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
    let is_lease = matches!(open.refusal, Refusal::LeaseNotFound | Refusal::LeaseExist);
    let is_traceless = |call: &Call| match call {
        Call::LeaseGrant(_) | Call::LeaseRevoke(_) => is_lease,
        Call::Compact(_) => open.refusal == Refusal::Compacted,
        _ => false,
    };
    let returned = history.operations[open.place].returned.unwrap_or(u64::MAX);
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
                    || open.refusal == Refusal::LeaseNotFound && ended(operation))
        })
}
