//! Members, which of them can be reached, and whose turn it is.
//!
//! Of those that can be reached the ones with the lowest priority number take turns; where some
//! have weights, these are drawn by weight, and the others hardly ever.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::RngExt as _;

use crate::cli::Place;
use crate::srv::Target;

/// One of how many draws goes to a member without weight, where others have some.
const WEIGHTLESS_ONE_OF: u32 = 100;

/// All members.
#[derive(Debug)]
pub(super) struct Pool {
    remotes: Vec<Remote>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Remote {
    target: Target,
    is_active: AtomicBool,
}

impl Pool {
    /// Who can all be reached, as far as is known.
    pub(super) fn new(targets: Vec<Target>) -> Self {
        let remote = |target| Remote { target, is_active: AtomicBool::new(true) };
        Self { remotes: targets.into_iter().map(remote).collect(), turn: AtomicUsize::new(0) }
    }

    /// Where that one is.
    pub(super) fn place(&self, number: usize) -> &Place {
        &self.remotes[number].target.url.place
    }

    /// Notes whether that one can be reached.
    pub(super) fn set_active(&self, number: usize, is_active: bool) {
        self.remotes[number].is_active.store(is_active, Ordering::Relaxed);
    }

    /// Those that cannot be reached.
    pub(super) fn inactive(&self) -> Vec<usize> {
        let numbers = 0..self.remotes.len();
        numbers.filter(|number| !self.is_active(*number)).collect()
    }

    fn is_active(&self, number: usize) -> bool {
        self.remotes[number].is_active.load(Ordering::Relaxed)
    }

    /// Whose turn it is; nobody's if none can be reached.
    pub(super) fn pick(&self) -> Option<usize> {
        let active: Vec<usize> =
            (0..self.remotes.len()).filter(|number| self.is_active(*number)).collect();
        let priority = |number: &usize| self.remotes[*number].target.priority;
        let weight = |number: usize| u32::from(self.remotes[number].target.weight);
        let best = active.iter().map(priority).min()?;
        let best = active.into_iter().filter(|number| priority(number) == best);
        let (weighted, weightless): (Vec<_>, Vec<_>) = best.partition(|number| weight(*number) > 0);
        let mut luck = rand::rng();
        let takes_turns = !weightless.is_empty() && luck.random_range(0..WEIGHTLESS_ONE_OF) == 0;
        if weighted.is_empty() || takes_turns {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            return Some(weightless[turn % weightless.len()]);
        }
        let mut drawn = luck.random_range(0..weighted.iter().map(|number| weight(*number)).sum());
        weighted.into_iter().find(|number| match drawn.checked_sub(weight(*number)) {
            Some(left) => {
                drawn = left;
                false
            }
            None => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Url;

    fn pool(targets: &[(u16, u16)]) -> Pool {
        let target = |&(priority, weight): &(u16, u16)| {
            let url = Url::http("h", priority * 100 + weight);
            Target { url, priority, weight }
        };
        Pool::new(targets.iter().map(target).collect())
    }

    /// How often each is chosen in a thousand times.
    fn counts(pool: &Pool) -> Vec<usize> {
        let mut counts = vec![0; pool.remotes.len()];
        for _ in 0..1_000 {
            counts[pool.pick().unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn equals_take_turns_and_those_that_cannot_be_reached_are_left_out() {
        let pool = pool(&[(0, 0), (0, 0), (1, 0)]);
        let picked: Vec<_> = (0..4).filter_map(|_| pool.pick()).collect();
        assert_eq!(picked, [0, 1, 0, 1]);
        pool.set_active(0, false);
        assert_eq!(counts(&pool), [0, 1_000, 0]);
        assert_eq!(pool.inactive(), [0]);
        pool.set_active(1, false);
        assert_eq!(counts(&pool), [0, 0, 1_000]);
        pool.set_active(2, false);
        assert_eq!(pool.pick(), None);
        pool.set_active(1, true);
        assert_eq!(pool.pick(), Some(1));
    }

    #[test]
    fn weights_are_kept_to() {
        let counts = counts(&pool(&[(0, 30), (0, 10), (0, 0), (7, 100)]));
        assert!((600..900).contains(&counts[0]), "{counts:?}");
        assert!((100..400).contains(&counts[1]), "{counts:?}");
        assert!(counts[2] < 100, "{counts:?}");
        assert_eq!(counts[3], 0);
    }
}
