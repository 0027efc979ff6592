//! Puts every step and every read to the model, and remembers where each operation stands.

use std::collections::BTreeMap;

use quorate_core::error::Refusal;

use super::{Step, agree, name, needs_step};
use crate::history::{Call, Operation, Outcome, Reply};
use crate::model::{Aside, Compaction, Model, Settings, Verdict};

/// Where something stands: states are even coordinates, steps odd ones. What takes effect at one
/// place and is answered at a later one, like a physical compaction, has its answer's place first:
/// nobody who comes after it may stand before that, nobody who came before it behind its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// What the replay found out.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of each operation, in the history's order; none if it has no place or none is known.
    pub(super) operations: Vec<Option<Stretch>>,
    /// Coordinates of compactions, and the revision each compacted.
    pub(super) compactions: Vec<(usize, i64)>,
}

/// Replays all. Errors are whole sentences.
pub(super) fn replay(
    operations: &[Operation],
    steps: &[Step],
    settings: Settings,
) -> Result<Places, String> {
    let mut replay = Replay::new(operations, steps, settings)?;
    for (place, step) in steps.iter().enumerate() {
        replay.take(place, step)?;
    }
    replay.read_segment(2 * steps.len())?;
    let late = replay.late.pop_last().and_then(|(_, mut late)| late.pop());
    if let Some(read) = replay.reads.pop().or(late) {
        let operation = &operations[read];
        let (revision, newest) = (revision_of(operation), replay.model.revision());
        let operation = name(operation);
        return Err(format!("{operation} saw revision {revision}; there were only {newest}"));
    }
    Ok(replay.places)
}

struct Replay<'a> {
    operations: &'a [Operation],
    model: Model,
    places: Places,
    /// Answered operations without a step, the lowest revision last.
    reads: Vec<usize>,
    /// Coordinate of the first state at the model's revision.
    since: usize,
    /// Compactions answered with a revision that is yet to come.
    late: BTreeMap<i64, Vec<usize>>,
}

impl<'a> Replay<'a> {
    fn new(
        operations: &'a [Operation],
        steps: &[Step],
        settings: Settings,
    ) -> Result<Self, String> {
        let mut has_step = vec![false; operations.len()];
        for place in steps.iter().filter_map(|step| step.operation) {
            has_step[place] = true;
        }
        let mut reads = Vec::new();
        for (place, operation) in operations.iter().enumerate() {
            if has_step[place] || !matches!(operation.outcome, Outcome::Ok(_)) {
                continue;
            }
            if operation.call.is_read() {
                reads.push(place);
            } else if needs_step(&operation.call) {
                let operation = name(operation);
                return Err(format!("{operation} was acknowledged but never took effect"));
            }
        }
        reads.sort_by_key(|place| std::cmp::Reverse(revision_of(&operations[*place])));
        let places = Places { operations: vec![None; operations.len()], compactions: Vec::new() };
        let model = Model::new(settings);
        Ok(Self { operations, model, places, reads, since: 0, late: BTreeMap::new() })
    }

    fn take(&mut self, place: usize, step: &Step) -> Result<(), String> {
        let coordinate = 2 * place + 1;
        let verdict = self.model.evaluate(&step.call, Compaction::Checked);
        if let Some(operation) = step.operation {
            if !self.is_answered_later(operation, &verdict) {
                compare(&self.operations[operation], &step.call, &verdict)?;
            }
            self.places.operations[operation] =
                Some(Stretch { first: coordinate, last: coordinate });
        }
        if let Some(Aside::Compact(revision)) = verdict.effect.aside {
            self.places.compactions.push((coordinate, revision));
        }
        if !verdict.effect.events.is_empty() {
            self.read_segment(coordinate - 1)?;
            self.since = coordinate + 1;
        }
        self.model.commit(verdict.effect);
        for operation in self.late.remove(&self.model.revision()).unwrap_or_default() {
            self.places.operations[operation] =
                self.places.operations[operation].map(|it| Stretch { first: self.since, ..it });
        }
        Ok(())
    }

    /// A physical compaction is answered when its rows are gone, with the revision of then.
    fn is_answered_later(&mut self, operation: usize, verdict: &Verdict) -> bool {
        let Operation { call: Call::Compact(compact), outcome: Outcome::Ok(actual), .. } =
            &self.operations[operation]
        else {
            return false;
        };
        let is_later = compact.physical
            && verdict.reply.as_ref().is_ok_and(|reply| reply.revision() < actual.revision());
        if is_later {
            self.late.entry(actual.revision()).or_default().push(operation);
        }
        is_later
    }

    /// Judges the reads at the model's revision, whose last state is at `last`.
    fn read_segment(&mut self, last: usize) -> Result<(), String> {
        while let Some(place) = self.reads.last().copied() {
            let operation = &self.operations[place];
            let revision = revision_of(operation);
            if revision > self.model.revision() {
                break;
            }
            if revision < self.model.revision() {
                let operation = name(operation);
                return Err(format!("{operation} saw revision {revision}, which never was"));
            }
            let verdict = self.model.evaluate(&operation.call, Compaction::Ignored);
            compare(operation, &operation.call, &verdict)?;
            self.places.operations[place] = Some(Stretch { first: self.since, last });
            self.reads.pop();
        }
        Ok(())
    }
}

fn revision_of(operation: &Operation) -> i64 {
    match &operation.outcome {
        Outcome::Ok(reply) => reply.revision(),
        _ => 0,
    }
}

/// Holds what the client learned against what the model says.
fn compare(operation: &Operation, call: &Call, verdict: &Verdict) -> Result<(), String> {
    let says = |what: String| Err(format!("{}: {what}", name(operation)));
    match (&operation.outcome, &verdict.reply) {
        (Outcome::Unknown, _) => Ok(()),
        (Outcome::Ok(actual), Ok(expected)) => {
            match agree::difference(&operation.call, expected, actual) {
                Some(difference) => says(difference),
                None => compare_picked(call, actual).or_else(says),
            }
        }
        (Outcome::Ok(_), Err(refusal)) => {
            says(format!("served, should be refused: {}", refusal.name()))
        }
        (Outcome::Refused(actual), Err(expected)) if actual == expected => Ok(()),
        (Outcome::Refused(actual), expected) => {
            let expected = expected.as_ref().map_or_else(|refusal| refusal.name(), |_| "served");
            says(format!("refused as {}, should be {expected}", Refusal::name(*actual)))
        }
    }
}

/// An id picked by the server must be the one that went through the log.
fn compare_picked(call: &Call, actual: &Reply) -> Result<(), String> {
    match (call, actual) {
        (Call::LeaseGrant(grant), Reply::LeaseGrant(reply))
            if grant.id != 0 && grant.id != reply.id =>
        {
            Err(format!("granted lease {}, but lease {} began", reply.id, grant.id))
        }
        _ => Ok(()),
    }
}
