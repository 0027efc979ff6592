//! Compaction without being asked, by age or by number of revisions.

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

/// See the module. Periodic mode samples the revision and compacts to the sample that has just
/// grown old enough; a failed compaction is tried again at the next sample.
#[derive(Debug)]
pub(crate) struct AutoCompactor {
    mode: AutoCompaction,
    samples: VecDeque<(Time, Revision)>,
    next_at: Time,
    compacted_at: Time,
}

impl AutoCompactor {
    pub(crate) fn new(mode: AutoCompaction, now: Time) -> Self {
        let mut this =
            Self { mode, samples: VecDeque::new(), next_at: Time::FAR, compacted_at: now };
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

    /// The revision to compact to now, if it is time and there is something to compact.
    pub(crate) fn poll(
        &mut self,
        now: Time,
        revision: Revision,
        compacted: Revision,
    ) -> Option<Revision> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + self.pace();
        let target = match self.mode {
            AutoCompaction::Off => None,
            AutoCompaction::Revisions(keep) => Some(Revision(revision.get() - keep)),
            AutoCompaction::Periodic(age) => self.sample(now, revision, age),
        }?;
        (target > compacted && target.get() > 0).then_some(target)
    }

    fn sample(&mut self, now: Time, revision: Revision, age: Duration) -> Option<Revision> {
        self.samples.push_back((now, revision));
        if now.since(self.compacted_at) < age.min(INTERVAL_MAX) {
            return None;
        }
        let mut target = None;
        while let Some(&(at, old)) = self.samples.front()
            && now.since(at) >= age
        {
            target = Some(old);
            self.compacted_at = now;
            self.samples.pop_front();
        }
        target
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        (self.mode != AutoCompaction::Off)
            .then_some(Wake { at: self.next_at, timer: "auto-compaction" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Time {
        Time::ZERO + Duration::from_secs(60 * minutes)
    }

    #[test]
    fn periodic_keeps_what_is_younger_than_its_age() {
        let hour = Duration::from_secs(3_600);
        let mut compactor = AutoCompactor::new(AutoCompaction::Periodic(hour), Time::ZERO);
        for tick in 1..=10 {
            let target = compactor.poll(at(6 * tick), Revision(tick as i64 * 10), Revision(-1));
            assert_eq!(target, None, "nothing is an hour old at minute {}", 6 * tick);
        }
        assert_eq!(compactor.poll(at(66), Revision(200), Revision(-1)), Some(Revision(10)));
        assert_eq!(compactor.poll(at(72), Revision(210), Revision(10)), None);
    }

    #[test]
    fn revision_mode_keeps_that_many() {
        let mut compactor = AutoCompactor::new(AutoCompaction::Revisions(100), Time::ZERO);
        assert_eq!(compactor.poll(at(4), Revision(500), Revision(-1)), None);
        assert_eq!(compactor.poll(at(5), Revision(500), Revision(-1)), Some(Revision(400)));
        assert_eq!(compactor.poll(at(10), Revision(500), Revision(400)), None);
    }
}
