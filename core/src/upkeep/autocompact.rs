//! Compaction without being asked, by age or by number of revisions.
//!
//! ```text
//! periodic, 1h:   look  look  look ... look   each 6 minutes; the newest 11 revisions are kept
//!                 r0    r1    r2       r10    after an hour: compact to r0, then hourly to the
//!                                             oldest kept
//! ```
//!
//! Every member looks, so that a new leader knows what is old; only the leader asks.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3compactor/periodic.go`, `revision.go`

use alloc::collections::VecDeque;

use crate::config::AutoCompaction;
use crate::ids::Revision;
use crate::time::{Duration, Time, Wake};

/// How often the revision mode looks.
const REVISION_MODE_INTERVAL: Duration = Duration::from_secs(300);
/// Samples of the revision per interval of the periodic mode.
const SAMPLES_PER_INTERVAL: u32 = 10;
/// The shortest time between two looks.
const PACE_MIN: Duration = Duration::from_millis(100);
/// The longest time between two compactions of the periodic mode.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// Revisions kept, at most: those of 30 days.
const SAMPLES_MAX: u128 = 7_200;

/// See the module. A compaction that failed is asked for again at the next look.
#[derive(Debug)]
pub(crate) struct AutoCompactor {
    mode: AutoCompaction,
    next_at: Time,
    /// Revisions at past looks, the oldest first.
    samples: VecDeque<Revision>,
    /// When history was last cut, or looking began.
    cut_at: Time,
    has_cut: bool,
    /// What was asked for, and when, until it is seen to have happened.
    asked: Option<(Time, Revision)>,
}

impl AutoCompactor {
    /// Looks for the first time: the store is at `revision` now.
    pub(crate) fn new(mode: AutoCompaction, revision: Revision, now: Time) -> Self {
        let mut this = Self {
            mode,
            next_at: Time::FAR,
            samples: VecDeque::from([revision]),
            cut_at: now,
            has_cut: false,
            asked: None,
        };
        this.next_at = now + this.pace();
        this
    }

    /// Time between two looks.
    fn pace(&self) -> Duration {
        match self.mode {
            AutoCompaction::Off => Duration::MAX,
            AutoCompaction::Periodic(age) => {
                (age.min(INTERVAL_MAX) / SAMPLES_PER_INTERVAL).max(PACE_MIN)
            }
            AutoCompaction::Revisions(_) => REVISION_MODE_INTERVAL,
        }
    }

    /// The revision to compact to now, if it is time and there is something to compact. Whether
    /// this member may ask for it does not change what it sees.
    pub(crate) fn poll(
        &mut self,
        now: Time,
        revision: Revision,
        compacted: Revision,
        may_ask: bool,
    ) -> Option<Revision> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + self.pace();
        let target = match self.mode {
            AutoCompaction::Off => None,
            AutoCompaction::Revisions(keep) => Some(Revision(revision.get() - keep)),
            AutoCompaction::Periodic(age) => self.look(now, revision, compacted, age),
        };
        let target = target.filter(|target| *target > compacted && target.get() > 0 && may_ask)?;
        self.asked = Some((now, target));
        Some(target)
    }

    fn look(
        &mut self,
        now: Time,
        revision: Revision,
        compacted: Revision,
        age: Duration,
    ) -> Option<Revision> {
        if let Some((at, _)) = self.asked.take_if(|(_, target)| compacted >= *target) {
            (self.cut_at, self.has_cut) = (at, true);
        }
        let interval = if self.has_cut { age.min(INTERVAL_MAX) } else { age };
        let oldest = self.samples.front().copied().filter(|_| now.since(self.cut_at) >= interval);
        let kept = (age.as_nanos() / self.pace().as_nanos() + 1).min(SAMPLES_MAX);
        self.samples.push_back(revision);
        while self.samples.len() as u128 > kept {
            self.samples.pop_front();
        }
        oldest
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        (self.mode != AutoCompaction::Off)
            .then_some(Wake { at: self.next_at, timer: "auto-compaction" })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const NEVER: Revision = Revision(-1);

    fn at(minutes: u64) -> Time {
        Time::ZERO + Duration::from_secs(60 * minutes)
    }

    fn periodic(minutes: u64) -> AutoCompactor {
        let age = Duration::from_secs(60 * minutes);
        AutoCompactor::new(AutoCompaction::Periodic(age), Revision(1), Time::ZERO)
    }

    /// What is asked for at which minute, with one revision a minute, every compaction succeeding.
    fn run(minutes: u64, until: u64) -> Vec<(u64, i64)> {
        let (mut compactor, mut compacted, mut asked) = (periodic(minutes), NEVER, Vec::new());
        for minute in 1..=until {
            let revision = Revision(1 + minute as i64);
            if let Some(target) = compactor.poll(at(minute), revision, compacted, true) {
                asked.push((minute, target.get()));
                compacted = target;
            }
        }
        asked
    }

    #[test]
    fn an_hour_is_kept_from_the_first_hour_on() {
        // etcd's own order of things: the sample of this moment joins after the look.
        assert_eq!(run(60, 185), [(60, 1), (120, 55), (180, 115)]);
    }

    #[test]
    fn a_day_is_kept_and_cut_hourly() {
        let day = 24 * 60;
        assert_eq!(run(day, day + 125), [(day, 1), (day + 60, 55), (day + 120, 115)]);
    }

    #[test]
    fn what_failed_is_asked_for_again_at_the_next_look() {
        let mut compactor = periodic(60);
        let mut poll = |minute, compacted| {
            compactor.poll(at(minute), Revision(minute as i64 + 1), Revision(compacted), true)
        };
        for minute in (6..60).step_by(6) {
            assert_eq!(poll(minute, -1), None, "nothing is an hour old at minute {minute}");
        }
        assert_eq!(poll(60, -1), Some(Revision(1)));
        assert_eq!(poll(66, -1), Some(Revision(1)), "refused, or lost with its leader");
        assert_eq!(poll(72, 1), None, "seen: an hour from minute 66");
        for minute in (78..126).step_by(6) {
            assert_eq!(poll(minute, 1), None, "minute {minute}");
        }
        assert_eq!(poll(126, 1), Some(Revision(61)));
    }

    #[test]
    fn a_follower_looks_as_well_and_asks_as_soon_as_it_leads() {
        let mut compactor = periodic(60);
        for look in 1..=12 {
            let (now, revision) = (at(6 * look), Revision(10 * look as i64));
            assert_eq!(compactor.poll(now, revision, NEVER, false), None);
        }
        assert_eq!(compactor.poll(at(78), Revision(200), NEVER, true), Some(Revision(20)));
    }

    #[test]
    fn revision_mode_keeps_that_many() {
        let keep = AutoCompaction::Revisions(100);
        let mut compactor = AutoCompactor::new(keep, Revision(1), Time::ZERO);
        assert_eq!(compactor.poll(at(4), Revision(500), NEVER, true), None);
        assert_eq!(compactor.poll(at(5), Revision(500), NEVER, true), Some(Revision(400)));
        assert_eq!(compactor.poll(at(10), Revision(500), Revision(400), true), None);
    }
}
