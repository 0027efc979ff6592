//! A plan as text, one item a line.

use super::{Chore, Decree, Deed, Duty, Errand, Fault, Order, Plan, Strike};
use std::fmt::Write;

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The line, from 1; 0 for the whole.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for PlanError {}

const TITLE: &str = "quorate-schedule 1";

impl Plan {
    /// The plan's text.
    pub fn write(&self) -> String {
        const TAKEN: &str = "a string takes all";
        let mut text = String::new();
        writeln!(text, "{TITLE}\nseed {}\nquorum {}", self.seed, self.quorum).expect(TAKEN);
        for (name, value) in self.shape.fields() {
            writeln!(text, "shape {name} {value}").expect(TAKEN);
        }
        for (name, value) in self.weather.fields() {
            writeln!(text, "weather {name} {value}").expect(TAKEN);
        }
        for strike in &self.strikes {
            write!(text, "fault {} ", strike.at).expect(TAKEN);
            strike.fault.write(&mut text);
            text.push('\n');
        }
        for errand in &self.errands {
            write!(text, "call {} {} ", errand.at, errand.worker).expect(TAKEN);
            errand.deed.write(&mut text);
            text.push('\n');
        }
        for duty in &self.duties {
            write!(text, "chore {} ", duty.at).expect(TAKEN);
            duty.chore.write(&mut text);
            text.push('\n');
        }
        for decree in &self.decrees {
            write!(text, "order {} ", decree.at).expect(TAKEN);
            decree.order.write(&mut text);
            text.push('\n');
        }
        text
    }

    /// Reads a plan's text. Empty lines and lines that begin with `#` do not count.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::default();
        let mut titled = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if titled {
                plan.take(line).map_err(|what| PlanError { line: number + 1, what })?;
            } else if line == TITLE {
                titled = true;
            } else {
                return Err(PlanError { line: number + 1, what: format!("not {TITLE}") });
            }
        }
        plan.strikes.sort_by_key(|strike| strike.at);
        plan.errands.sort_by_key(|errand| errand.at);
        plan.duties.sort_by_key(|duty| duty.at);
        plan.decrees.sort_by_key(|decree| decree.at);
        plan.check().map_err(|what| PlanError { line: 0, what })?;
        Ok(plan)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["seed", seed] => self.seed = number(seed)?,
            ["quorum", quorum] => self.quorum = number(quorum)?,
            ["shape", name, value] if self.shape.set(name, number(value)?) => {}
            ["weather", name, value] if self.weather.set(name, number(value)?) => {}
            ["fault", at, fault, rest @ ..] => {
                let unknown = || format!("unknown fault: {fault} {}", rest.join(" "));
                let fault = Fault::read(fault, &numbers(rest)?).ok_or_else(unknown)?;
                self.strikes.push(Strike { at: number(at)?, fault });
            }
            ["call", at, worker, deed, rest @ ..] => {
                let unknown = || format!("unknown call: {deed} {}", rest.join(" "));
                let deed = Deed::read(deed, &numbers(rest)?).ok_or_else(unknown)?;
                self.errands.push(Errand { at: number(at)?, worker: number(worker)?, deed });
            }
            ["chore", at, chore, rest @ ..] => {
                let unknown = || format!("unknown chore: {chore} {}", rest.join(" "));
                let chore = Chore::read(chore, &numbers(rest)?).ok_or_else(unknown)?;
                self.duties.push(Duty { at: number(at)?, chore });
            }
            ["order", at, order, rest @ ..] => {
                let unknown = || format!("unknown order: {order} {}", rest.join(" "));
                let order = Order::read(order, &numbers(rest)?).ok_or_else(unknown)?;
                self.decrees.push(Decree { at: number(at)?, order });
            }
            _ => return Err(format!("cannot read: {line}")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let shape = &self.shape;
        let machines = shape.nodes.saturating_add(shape.spares);
        let all = 1_u64.checked_shl(machines as u32).unwrap_or(0).wrapping_sub(1);
        let within = |value: u64, least: u64, most: u64| (least..=most).contains(&value);
        let is_sound = within(shape.nodes, 1, 9)
            && within(shape.spares, 0, 9)
            && within(shape.users, 0, 1_000)
            && within(shape.seconds, 0, 1_000_000)
            && within(shape.workers, 1, 10_000)
            && within(shape.keys, 1, 100_000)
            && within(shape.watchers, 0, 100_000)
            && within(shape.keepers, 0, 100_000)
            && within(shape.lease_ttl, 1, 1_000)
            && within(shape.heartbeat_ms, 1, 100_000)
            && within(shape.election_ms, 1, 100_000)
            && self.quorum & !all == 0
            && u64::from(self.quorum.count_ones()) > shape.nodes / 2;
        is_sound.then_some(()).ok_or_else(|| String::from("sizes out of range, or no quorum"))
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: {word}"))
}

fn numbers(words: &[&str]) -> Result<Vec<u64>, String> {
    words.iter().map(|word| number(word)).collect()
}
