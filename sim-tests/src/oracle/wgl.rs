//! A second opinion for tiny histories: search for an order (Wing and Gong, with Lowe's memory).
//!
//! It knows nothing of revisions: it tries every order real time allows and asks the model whether
//! all replies fit. Exponential, so only for a dozen operations; its one purpose is to check the
//! checker in [`linear`](super::linear).

use std::collections::BTreeSet;

use crate::history::{Operation, Outcome};
use crate::model::{Compaction, Model};

use super::linear::difference;

/// Whether some order explains all replies. At most 64 operations.
pub fn is_linearizable(operations: &[Operation]) -> bool {
    assert!(operations.len() <= 64, "a set of operations is one word");
    let mut search = Search { operations, dead: BTreeSet::new() };
    search.go(0, &Model::default())
}

struct Search<'a> {
    operations: &'a [Operation],
    /// What was done, and the state it led to, where no way on was found.
    dead: BTreeSet<(u64, String)>,
}

impl Search<'_> {
    fn go(&mut self, done: u64, model: &Model) -> bool {
        let open = |place: usize| done & (1 << place) == 0;
        let places = 0..self.operations.len();
        let must = |place: usize| self.operations[place].outcome != Outcome::Unknown;
        if !places.clone().any(|place| open(place) && must(place)) {
            return true;
        }
        if !self.dead.insert((done, format!("{model:?}"))) {
            return false;
        }
        let returned = |place: usize| match self.operations[place].outcome {
            Outcome::Unknown => u64::MAX,
            _ => self.operations[place].returned.unwrap_or(u64::MAX),
        };
        let first = places.clone().filter(|place| open(*place)).map(returned).min();
        for place in places {
            if !open(place) || Some(self.operations[place].called) > first {
                continue;
            }
            if let Some(next) = step(&self.operations[place], model)
                && self.go(done | 1 << place, &next)
            {
                return true;
            }
        }
        false
    }
}

/// The state after an operation, if its outcome fits.
fn step(operation: &Operation, model: &Model) -> Option<Model> {
    let verdict = model.evaluate(&operation.call, Compaction::Checked);
    let fits = match (&operation.outcome, &verdict.reply) {
        (Outcome::Unknown, _) => true,
        (Outcome::Ok(actual), Ok(expected)) => {
            difference(&operation.call, expected, actual).is_none()
        }
        (Outcome::Refused(actual), Err(expected)) => actual == expected,
        _ => false,
    };
    fits.then(|| {
        let mut next = model.clone();
        next.commit(verdict.effect);
        next
    })
}
