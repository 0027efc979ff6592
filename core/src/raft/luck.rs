//! Election timeouts by key: a function of seed, member, boot, term and campaign, and nothing else.

use crate::config::Config;
use crate::draw::{Domain, draw, draw_below};

const ELECTION: u64 = Domain::Election as u64;

/// Where randomised election timeouts come from.
pub(crate) struct Luck {
    key: u64,
    ticks: usize,
    campaign: u64,
}

impl Luck {
    pub(crate) fn new(config: &Config) -> Self {
        let key = draw(config.seed, ELECTION, config.member.get(), config.boot);
        Self { key, ticks: config.election_ticks(), campaign: 0 }
    }

    /// The election timeout in ticks: from one to two times the configured one.
    pub(crate) fn timeout(&self, term: u64) -> usize {
        let lot = draw(self.key, ELECTION, term, self.campaign);
        self.ticks + draw_below(self.ticks as u64, lot) as usize
    }

    /// Another campaign begins.
    pub(crate) fn note_campaign(&mut self) {
        self.campaign += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MemberId;

    #[test]
    fn timeouts_lie_between_one_and_two_times_and_differ_by_every_key() {
        let config = |seed, boot| Config { member: MemberId(1), seed, boot, ..Config::default() };
        let row = |luck: &Luck| [1, 2, 3, 4, 5, 6, 7, 8].map(|term| luck.timeout(term));
        let mut luck = Luck::new(&config(1, 1));
        let first = row(&luck);
        assert!(first.iter().all(|ticks| (10..20).contains(ticks)));
        assert_eq!(first, row(&Luck::new(&config(1, 1))));
        assert_ne!(first, row(&Luck::new(&config(2, 1))));
        assert_ne!(first, row(&Luck::new(&config(1, 2))));
        luck.note_campaign();
        assert_ne!(first, row(&luck));
    }
}
