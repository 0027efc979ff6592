//! The luck of one script: each draw depends on the seed and on how many came before it.

use quorate_core::draw::{Domain, draw, draw_below};

/// See the module.
pub(crate) struct Luck {
    seed: u64,
    drawn: u64,
}

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// 64 even bits.
    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        draw(self.seed, Domain::Shell as u64, 0, self.drawn)
    }

    /// A number below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let lot = draw_below(bound as u64, self.draw());
        usize::try_from(lot).expect("below a usize")
    }

    /// A number of `from..=until`.
    pub(crate) fn between(&mut self, from: i64, until: i64) -> i64 {
        let width = until.abs_diff(from).saturating_add(1);
        from.wrapping_add_unsigned(draw_below(width, self.draw()))
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// One of the right-hand sides, by the weight on its left.
    pub(crate) fn weigh<T: Copy>(&mut self, table: &[(usize, T)]) -> T {
        let mut lot = self.below(table.iter().map(|(weight, _)| weight).sum());
        for (weight, what) in table {
            match lot.checked_sub(*weight) {
                Some(rest) => lot = rest,
                None => return *what,
            }
        }
        unreachable!("a lot lies below the sum of the weights")
    }
}
