//! Lots by key: the same seed, purpose, place and count always draw the same.
//!
//! Each link, disk, client counts its own draws, so a draw more in one place moves no other. A
//! chance is a `u32` over 2^32; a distribution is a table of integers.

use quorate_core::draw::{Domain, draw, draw_below};

/// What a draw is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Base latencies, clocks' rates.
    Topology = 1,
    /// Which fault families are on and how strong.
    Swarm = 2,
    /// Which faults happen when.
    Fault = 3,
    /// What a client does.
    Client = 4,
    /// What a link does to a message.
    Link = 5,
    /// How long a disk takes, what it loses.
    Disk = 6,
    /// A clock's offset and drift.
    Clock = 7,
    /// How long a machine's step takes and how much it takes in.
    Step = 8,
    /// What a client decides while it runs.
    Choice = 9,
    /// What the operator does.
    Operator = 10,
}

/// A stream of draws for one purpose in one place.
#[derive(Clone, Debug)]
pub struct Luck {
    seed: u64,
    domain: u64,
    place: u64,
    drawn: u64,
}

impl Luck {
    /// The stream for `purpose` at `place`.
    pub fn new(seed: u64, purpose: Purpose, place: u64) -> Self {
        Self { seed, domain: Domain::Shell as u64 + purpose as u64, place, drawn: 0 }
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        draw(self.seed, self.domain, self.place, self.drawn)
    }

    /// Below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        draw_below(bound, self.bits())
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// Whether a chance of `chance` / 2^32 comes true. A chance of 0 costs no draw.
    pub fn hits(&mut self, chance: u32) -> bool {
        chance > 0 && (self.bits() >> 32) < u64::from(chance)
    }

    /// One of a table's rows.
    pub fn pick<'a, T>(&mut self, table: &'a [T]) -> &'a T {
        &table[self.below(table.len() as u64) as usize]
    }
}

/// `n` in a thousand as a chance.
pub const fn per_mille(n: u32) -> u32 {
    n.saturating_mul(4_294_967)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_do_not_move_each_other() {
        let mut a = Luck::new(1, Purpose::Link, 0);
        let mut b = Luck::new(1, Purpose::Link, 1);
        let first = a.bits();
        b.bits();
        let second = a.bits();
        let mut again = Luck::new(1, Purpose::Link, 0);
        assert_eq!((again.bits(), again.bits()), (first, second));
    }

    #[test]
    fn chances_come_true_as_often_as_they_say() {
        let mut luck = Luck::new(7, Purpose::Disk, 0);
        let hits = (0..100_000).filter(|_| luck.hits(per_mille(250))).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!luck.hits(0));
    }

    #[test]
    fn between_includes_both_ends() {
        let mut luck = Luck::new(7, Purpose::Disk, 0);
        let drawn: std::collections::BTreeSet<_> = (0..100).map(|_| luck.between(3, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
