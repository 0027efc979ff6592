//! How far a leader's own log lags behind those of a quorum.
//!
//! ```text
//!   committed  ----*------------------*--------------   on a quorum
//!   persisted  --------------*------------------*----   here
//!                   <-- lag -->        <-- lag -->
//! ```
//!
//! A leader applies, and answers, when its own disk has what a quorum has: with a slow disk it is
//! slower than any of its followers would be. One write that is late says little; only when most of
//! them are, for a while, another should lead.

use crate::ids::LogIndex;
use crate::time::{Duration, Time};

/// Parts of an election timeout: what a write may come later than a quorum's.
const LATE_PART: u32 = 32;
/// Parts of an election timeout: how much lag is too much, added up.
const PATIENCE_PART: u32 = 2;
/// As much of one write's lag counts as is this part of the patience, for a pause is no slow disk;
/// and as much a write takes back that is in time.
const SAMPLE_PART: u32 = 4;
/// Election timeouts after which it may be tried again: disks that take turns at being slow must
/// not make leaders take turns.
const REST_ELECTIONS: u32 = 20;

/// The lag of one member's log, while it leads.
pub(crate) struct Lag {
    election_timeout: Duration,
    /// What a quorum has and this disk has not, and since when.
    waits: Option<(LogIndex, Time)>,
    /// Last entry durable here, as of the last look.
    persisted: LogIndex,
    /// The lag of the writes that were late, less what those in time took back.
    late: Duration,
    rests_until: Time,
}

impl Lag {
    pub(crate) fn new(election_timeout: Duration) -> Self {
        Self {
            election_timeout,
            waits: None,
            persisted: LogIndex(0),
            late: Duration::ZERO,
            rests_until: Time::ZERO,
        }
    }

    /// This member does not lead.
    pub(crate) fn forget(&mut self) {
        self.waits = None;
        self.late = Duration::ZERO;
    }

    /// Looks at a leader's positions. The last lag, when another should lead.
    pub(crate) fn observe(
        &mut self,
        now: Time,
        committed: LogIndex,
        persisted: LogIndex,
    ) -> Option<Duration> {
        let is_written = core::mem::replace(&mut self.persisted, persisted) < persisted;
        let lag = match self.waits {
            Some((index, since)) if index <= persisted => Some(now.since(since)),
            None if is_written => Some(Duration::ZERO),
            _ => None,
        };
        if let Some(lag) = lag {
            self.waits = None;
            self.note(lag);
        }
        if self.waits.is_none() && committed > persisted {
            self.waits = Some((committed, now));
        }
        let lag = lag?;
        if self.late < self.patience() || now < self.rests_until {
            return None;
        }
        self.late = Duration::ZERO;
        self.rests_until = now + REST_ELECTIONS * self.election_timeout;
        Some(lag)
    }

    fn note(&mut self, lag: Duration) {
        let most = self.patience() / SAMPLE_PART;
        self.late = if lag < self.election_timeout / LATE_PART {
            self.late.saturating_sub(most)
        } else {
            (self.late + lag.min(most)).min(self.patience())
        };
    }

    fn patience(&self) -> Duration {
        self.election_timeout / PATIENCE_PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELECTION: Duration = Duration::from_secs(1);

    /// A quorum has each entry 1 ms after it was put up, this disk `lag` ms later, or before.
    struct Course {
        lag: Lag,
        now: Time,
        index: u64,
    }

    impl Course {
        fn new() -> Self {
            Self { lag: Lag::new(ELECTION), now: Time::ZERO, index: 0 }
        }

        fn write(&mut self, lag: u64) -> Option<Duration> {
            let before = LogIndex(self.index);
            self.index += 1;
            let index = LogIndex(self.index);
            self.now += Duration::from_millis(1);
            let early = self.lag.observe(self.now, index, before);
            self.now += Duration::from_millis(lag);
            early.or(self.lag.observe(self.now, index, index))
        }

        fn write_first(&mut self) -> Option<Duration> {
            let before = LogIndex(self.index);
            self.index += 1;
            let index = LogIndex(self.index);
            self.lag.observe(self.now, before, index).or(self.lag.observe(self.now, index, index))
        }
    }

    #[test]
    fn most_writes_are_late_before_another_should_lead() {
        let mut course = Course::new();
        assert!((0..9).all(|_| course.write(50).is_none()));
        assert_eq!(course.write(50), Some(Duration::from_millis(50)));
        // One that is in time, or here before a quorum has it, takes back more than it adds.
        for in_time in [|it: &mut Course| it.write(31), Course::write_first] {
            let mut course = Course::new();
            let mut round = |late: usize| {
                let after = (0..late).find_map(|_| course.write(50));
                after.or(in_time(&mut course))
            };
            assert!((0..100).all(|_| round(2).is_none()));
            assert!((0..100).any(|_| round(4).is_some()));
        }
    }

    #[test]
    fn a_pause_is_no_slow_disk() {
        let mut course = Course::new();
        assert!((0..3).all(|_| course.write(60_000).is_none()));
        assert!(course.write(60_000).is_some());
    }

    #[test]
    fn it_rests_after_an_attempt_and_forgets_what_it_saw_before_it_led() {
        let mut course = Course::new();
        assert_eq!((0..500).filter(|_| course.write(50).is_some()).count(), 2);
        let mut course = Course::new();
        for _ in 0..10 {
            assert!((0..9).all(|_| course.write(50).is_none()));
            course.lag.forget();
        }
    }
}
