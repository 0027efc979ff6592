//! Makes the numbers of faults and calls small: a rest of nine seconds may do as well with one.

use quorate_io_sim::world::Plan;
use quorate_io_sim::world::plan::{Deed, Fault};

use super::Shrinking;

/// From here on a number is an amount, not the name of a machine or an option.
const AMOUNT: u64 = 1_000;

/// Most faults and calls whose numbers are tried: those of longer lists say little anyway.
const ITEMS_MAX: usize = 40;

impl Shrinking<'_> {
    /// Halves amounts in faults, and takes options of calls away.
    pub(super) fn simplify_numbers(&mut self) {
        for item in 0..self.plan.strikes.len().min(ITEMS_MAX) {
            for place in 0..numbers_of(|line| self.plan.strikes[item].fault.write(line)).len() {
                while self.accept(self.with_fault(item, place)) {}
            }
        }
        for item in 0..self.plan.errands.len().min(ITEMS_MAX) {
            for place in 0..numbers_of(|line| self.plan.errands[item].deed.write(line)).len() {
                self.accept(self.with_deed(item, place));
            }
        }
    }

    /// The plan with half of an amount in one of its faults.
    fn with_fault(&self, item: usize, place: usize) -> Plan {
        let mut plan = self.plan.clone();
        let fault = &mut plan.strikes[item].fault;
        let mut numbers = numbers_of(|line| fault.write(line));
        if numbers[place] >= AMOUNT {
            numbers[place] /= 2;
        }
        *fault = Fault::read(fault.word(), &numbers).unwrap_or(*fault);
        plan
    }

    /// The plan with 0 in one of its calls.
    fn with_deed(&self, item: usize, place: usize) -> Plan {
        let mut plan = self.plan.clone();
        let deed = &mut plan.errands[item].deed;
        let mut numbers = numbers_of(|line| deed.write(line));
        numbers[place] = 0;
        *deed = Deed::read(deed.word(), &numbers).unwrap_or(*deed);
        plan
    }
}

/// The numbers behind the word of a written item.
fn numbers_of(write: impl FnOnce(&mut String)) -> Vec<u64> {
    let mut line = String::new();
    write(&mut line);
    line.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect()
}
