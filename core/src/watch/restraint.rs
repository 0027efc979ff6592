//! How far catching up holds back while others are served.
//!
//! ```text
//! nobody else:   slice slice slice slice             large ones, without a pause
//! others:        s          s          s             small ones, a pause after each
//!                '-PAUSE/n-'                         n watchers behind: each has its turn in PAUSE
//! ```
//!
//! A slice is read between two other inputs, so a small one is all that a write can be made to
//! wait; the pauses leave the machine to those who are served. A pause is the shorter the more
//! watchers are behind, so that every one of them gets further by its own slices, however many
//! there are.

use crate::limits::{
    CATCH_UP_BYTES_MAX, CATCH_UP_RECORDS_MAX, CATCH_UP_REVISIONS_MAX, CATCH_UP_SMALL_BYTES_MAX,
    CATCH_UP_SMALL_RECORDS_MAX,
};
use crate::pinch::{Pinch, Site};
use crate::time::{Duration, Time};

/// Time in which a watcher that is behind gets one slice, while others are served.
const PAUSE: Duration = Duration::from_millis(2);
/// How long after the last of them others count as being served.
const LULL: Duration = Duration::from_millis(10);

/// When the next slice is due, and who is served meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restraint {
    served_at: Option<Time>,
    next: Time,
    is_tiny: bool,
}

/// What one step of catching up may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    /// Records looked at after which no further slice is begun.
    pub(super) records_max: usize,
    /// Records in one slice.
    pub(super) slice_records_max: usize,
    /// Bytes after which a slice takes no further revision.
    pub(super) slice_bytes_max: usize,
}

impl Portion {
    const LARGE: Self = Self {
        records_max: CATCH_UP_RECORDS_MAX,
        slice_records_max: CATCH_UP_REVISIONS_MAX,
        slice_bytes_max: CATCH_UP_BYTES_MAX,
    };
    const SMALL: Self = Self {
        records_max: 1,
        slice_records_max: CATCH_UP_SMALL_RECORDS_MAX,
        slice_bytes_max: CATCH_UP_SMALL_BYTES_MAX,
    };
    const TINY: Self = Self { records_max: 1, slice_records_max: 1, slice_bytes_max: 1 };
}

impl Restraint {
    pub(super) fn new(pinch: Pinch) -> Self {
        let is_tiny = pinch.bound(Site::CatchUp, CATCH_UP_RECORDS_MAX) < CATCH_UP_RECORDS_MAX;
        Self { is_tiny, ..Self::default() }
    }

    /// Somebody else is being served.
    pub(super) fn note_served(&mut self, now: Time) {
        self.served_at = Some(now);
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Time {
        self.next
    }

    /// What the step at `now` may cost, `None` if it is too early; `behind` is how many watchers
    /// it is for.
    pub(super) fn take(&mut self, now: Time, behind: usize) -> Option<Portion> {
        if now < self.next {
            return None;
        }
        if self.served_at.is_none_or(|at| now.since(at) > LULL) {
            return Some(if self.is_tiny { Portion::TINY } else { Portion::LARGE });
        }
        let turns = u32::try_from(behind.max(1)).unwrap_or(u32::MAX);
        self.next = now + PAUSE / turns;
        Some(if self.is_tiny { Portion::TINY } else { Portion::SMALL })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn alone_it_goes_on_at_once() {
        let mut restraint = Restraint::default();
        for _ in 0..3 {
            assert_eq!(restraint.take(ms(5), 1), Some(Portion::LARGE));
        }
    }

    #[test]
    fn while_others_are_served_each_watcher_gets_one_small_slice_a_pause() {
        let mut restraint = Restraint::default();
        restraint.note_served(ms(5));
        assert_eq!(restraint.take(ms(5), 1), Some(Portion::SMALL));
        assert_eq!(restraint.take(ms(6), 1), None);
        assert_eq!(restraint.due(), ms(7));
        assert_eq!(restraint.take(ms(7), 4), Some(Portion::SMALL));
        assert_eq!(restraint.due(), ms(7) + PAUSE / 4);
        assert_eq!(restraint.take(ms(16), 1), Some(Portion::LARGE));
    }
}
