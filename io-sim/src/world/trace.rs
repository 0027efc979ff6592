//! The trace: one number that says whether two runs were the same run.
//!
//! ```text
//!   hash(n) = xxh3_128( hash(n-1) ++ time, member, machine, inputs, outputs )
//! ```
//!
//! Every 1024 steps the number is kept. Two runs that differ are told apart by the first kept
//! number that differs; a second pass records the steps of that stretch, and the first step that
//! differs is shown in both versions.

use std::collections::VecDeque;
use std::ops::Range;

use quorate_core::encode::Canonical;
use xxhash_rust::xxh3::xxh3_128;

/// Steps between two kept numbers.
pub const STRETCH: u64 = 1_024;

/// A line of what happened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, in nanoseconds.
    pub at: u64,
    /// Which member, by number; none for the world itself.
    pub node: Option<usize>,
    /// What.
    pub text: String,
}

/// What a run wants to be written down, beside its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The last so many lines.
    pub lines: usize,
    /// Every step of this stretch, by number.
    pub steps: Range<u64>,
}

/// A recorded step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub number: u64,
    /// The hash after it.
    pub hash: u128,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// See the module.
#[derive(Default)]
pub struct Trace {
    hash: u128,
    steps: u64,
    checkpoints: Vec<u128>,
    form: Vec<u8>,
    wanted: Wanted,
    lines: VecDeque<Line>,
    open: Vec<Line>,
    recorded: Vec<Step>,
}

impl Trace {
    /// A trace that also writes down what is wanted.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Begins a step of one machine (0 replica, 1 state, 2 the world) of one member.
    pub fn begin(&mut self, at: u64, node: usize, machine: u8) {
        self.form.clear();
        self.form.extend_from_slice(&self.hash.to_le_bytes());
        at.encode(&mut self.form);
        node.encode(&mut self.form);
        self.form.push(machine);
    }

    /// Something entered or left.
    pub fn take(&mut self, what: &impl Canonical) {
        what.encode(&mut self.form);
    }

    /// Ends the step.
    pub fn end(&mut self) {
        self.hash = xxh3_128(&self.form);
        if self.wanted.steps.contains(&self.steps) {
            let lines = std::mem::take(&mut self.open);
            self.recorded.push(Step { number: self.steps, hash: self.hash, lines });
        }
        self.steps += 1;
        if self.steps.is_multiple_of(STRETCH) {
            self.checkpoints.push(self.hash);
        }
    }

    /// Whether lines are wanted now: making them costs more than all the rest.
    pub fn wants_lines(&self) -> bool {
        self.wanted.lines > 0 || self.wanted.steps.contains(&self.steps)
    }

    /// Writes a line down.
    pub fn note(&mut self, line: Line) {
        if self.wanted.steps.contains(&self.steps) {
            self.open.push(line.clone());
        }
        if self.wanted.lines > 0 {
            if self.lines.len() == self.wanted.lines {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    /// What is left of it in the end.
    pub fn finish(self) -> Recording {
        Recording {
            hash: self.hash,
            steps: self.steps,
            checkpoints: self.checkpoints,
            lines: self.lines.into(),
            recorded: self.recorded,
        }
    }
}

/// A finished trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The number of the run.
    pub hash: u128,
    /// Steps in it.
    pub steps: u64,
    /// The number after every 1024th step.
    pub checkpoints: Vec<u128>,
    /// The last lines, if wanted.
    pub lines: Vec<Line>,
    /// The wanted steps.
    pub recorded: Vec<Step>,
}

impl Recording {
    /// The stretch of steps in which two runs part; `None` if they are the same.
    pub fn parting(&self, other: &Self) -> Option<Range<u64>> {
        if self.hash == other.hash && self.steps == other.steps {
            return None;
        }
        let pairs = self.checkpoints.iter().zip(&other.checkpoints);
        let same = pairs.take_while(|(a, b)| a == b).count() as u64;
        Some(same * STRETCH..(same + 1) * STRETCH)
    }

    /// The first recorded step that differs, in both versions; `None` if all are the same.
    pub fn first_difference<'a>(
        &'a self,
        other: &'a Self,
    ) -> Option<(Option<&'a Step>, Option<&'a Step>)> {
        let most = self.recorded.len().max(other.recorded.len());
        (0..most)
            .map(|n| (self.recorded.get(n), other.recorded.get(n)))
            .find(|(a, b)| a.map(|step| step.hash) != b.map(|step| step.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(odd: Option<u64>, steps: Range<u64>) -> Recording {
        let mut trace = Trace::new(Wanted { lines: 2, steps });
        for n in 0..5_000 {
            trace.begin(n, 1, 0);
            trace.take(&(n + u64::from(odd == Some(n))));
            if trace.wants_lines() {
                trace.note(Line { at: n, node: Some(1), text: format!("step {n}") });
            }
            trace.end();
        }
        trace.finish()
    }

    #[test]
    fn the_first_step_that_differs_is_found_in_two_passes() {
        let (a, b) = (trace(None, 0..0), trace(Some(3_333), 0..0));
        assert_eq!(a.parting(&a), None);
        let stretch = a.parting(&b).unwrap();
        assert_eq!(stretch, 3_072..4_096);
        let (a, b) = (trace(None, stretch.clone()), trace(Some(3_333), stretch));
        let (a, b) = a.first_difference(&b).unwrap();
        assert_eq!((a.unwrap().number, b.unwrap().number), (3_333, 3_333));
        assert_eq!(a.unwrap().lines[0].text, "step 3333");
    }

    #[test]
    fn the_last_lines_are_kept() {
        let texts: Vec<_> = trace(None, 0..0).lines.into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["step 4998", "step 4999"]);
    }
}
