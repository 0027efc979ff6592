//! Whether all members' states are equal: what a leader makes of the digests it is told.
//!
//! ```text
//!   own trail      .. 1024:a1  ..  1998:77  1999:c4  2000:09          index:digest
//!   member 2 says     1024:a1               1999:c4                   agrees, at 1999
//!   member 3 says     1024:a1               1999:5e                   differs, at 1999
//!   of three voters two agree at 1999 or later: member 3 is wrong, and is told so
//! ```
//!
//! Digests are chained over what entries write, so whoever agrees once agreed always before, and
//! whoever differs once differs for ever: members need not be compared at one and the same entry.
//!
//! Invariants
//! - Nobody is called wrong unless a majority of the voters is known to agree.
//! - What is kept does not grow: a trail has two short ends, a member one standing.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/corrupt.go`

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::ids::{LogIndex, MemberId};
use crate::time::{Duration, Time};

/// Newest entries whose digests are kept.
const RECENT_MAX: usize = 1_024;
/// Every so many entries there is one whose digest is kept for longer.
const MARK_EVERY: u64 = 1_024;
/// How many of those are kept.
const MARKS_MAX: usize = 64;
/// What of a member's words is kept, to be held beside others'.
const WORDS_MAX: usize = 8;
/// How long it may stay unclear who is right.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state's digest after an entry.
pub(crate) type Reading = (LogIndex, u64);

/// A member's own digests.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    recent: VecDeque<Reading>,
    marks: VecDeque<Reading>,
}

impl Trail {
    /// A trail that begins with this reading.
    pub(crate) fn from(reading: Reading) -> Self {
        let mut this = Self::default();
        this.note(reading);
        this
    }

    /// The next entry is applied.
    pub(crate) fn note(&mut self, reading: Reading) {
        keep(&mut self.recent, reading, RECENT_MAX);
        if reading.0.get().is_multiple_of(MARK_EVERY) {
            keep(&mut self.marks, reading, MARKS_MAX);
        }
    }

    /// The digest after that entry, if it is still known.
    pub(crate) fn at(&self, index: LogIndex) -> Option<u64> {
        let find = |readings: &VecDeque<Reading>| {
            let at = readings.binary_search_by_key(&index, |reading| reading.0).ok()?;
            readings.get(at).map(|reading| reading.1)
        };
        find(&self.recent).or_else(|| find(&self.marks))
    }

    /// What to tell: the newest, which a leader that is not far ahead knows as well, and one that
    /// all keep for longer.
    pub(crate) fn newest(&self) -> impl Iterator<Item = Reading> {
        self.marks.back().into_iter().chain(self.recent.back()).copied()
    }
}

fn keep(readings: &mut VecDeque<Reading>, reading: Reading, most: usize) {
    if readings.len() == most {
        readings.pop_front();
    }
    readings.push_back(reading);
}

/// What is known of another member.
#[derive(Debug, Default)]
struct Standing {
    /// The last entry after which it is known to agree with this leader.
    agrees_at: Option<LogIndex>,
    /// The first after which it is known to differ, and its newest word of that kind.
    differs_at: Option<(LogIndex, LogIndex)>,
    words: VecDeque<Reading>,
}

/// The other members, as a leader sees them.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    members: BTreeMap<MemberId, Standing>,
    /// Since when somebody is known to differ.
    since: Option<Time>,
}

/// What a comparison comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody is known to differ, or it is not clear yet who is wrong.
    Open,
    /// These are wrong, and the leader knows better: after which entry.
    Wrong(Vec<(MemberId, LogIndex)>),
    /// The leader itself is.
    Self_,
    /// There is no majority.
    Split,
}

impl Comparison {
    /// A member said so; `own` is what this leader's trail has.
    pub(crate) fn hear(&mut self, from: MemberId, reading: Reading, own: Option<u64>) {
        let (index, digest) = reading;
        let standing = self.members.entry(from).or_default();
        if !standing.words.contains(&reading) {
            keep(&mut standing.words, reading, WORDS_MAX);
        }
        match own {
            None => {}
            Some(own) if own == digest => {
                standing.agrees_at = standing.agrees_at.max(Some(index));
                // It differed once and agrees now: its state was replaced.
                if standing.differs_at.is_some_and(|(_, newest)| newest < index) {
                    standing.differs_at = None;
                }
            }
            Some(_) => {
                let (first, newest) = standing.differs_at.unwrap_or((index, index));
                standing.differs_at = Some((first.min(index), newest.max(index)));
            }
        }
    }

    /// Who is wrong? `voters` are all that count, this leader among them.
    pub(crate) fn judge(&mut self, now: Time, voters: &[MemberId]) -> Verdict {
        let differing = self.members.iter().filter_map(|(id, it)| Some((*id, it.differs_at?)));
        let differing: Vec<_> = differing.collect();
        let Some(first) = differing.iter().map(|(_, (first, _))| *first).max() else {
            self.since = None;
            return Verdict::Open;
        };
        let since = *self.since.get_or_insert(now);
        let quorum = voters.len() / 2 + 1;
        let agrees = |id: &&MemberId| match self.members.get(id) {
            Some(it) => it.differs_at.is_none() && it.agrees_at >= Some(first),
            None => false,
        };
        let allies = 1 + voters.iter().filter(agrees).count();
        if allies >= quorum {
            let wrong = differing.into_iter().map(|(id, (_, newest))| (id, newest));
            return Verdict::Wrong(wrong.collect());
        }
        if self.has_other_majority(voters, quorum) {
            return Verdict::Self_;
        }
        let is_hopeless = allies + differing.len() >= voters.len() && voters.len() == 2;
        if is_hopeless || now.since(since) >= PATIENCE { Verdict::Split } else { Verdict::Open }
    }

    /// Whether a majority says the same after one entry, and the leader something else.
    fn has_other_majority(&self, voters: &[MemberId], quorum: usize) -> bool {
        let differs =
            |id: &&MemberId| self.members.get(id).is_some_and(|it| it.differs_at.is_some());
        let others: Vec<_> =
            voters.iter().filter(differs).filter_map(|id| self.members.get(id)).collect();
        let readings = others.iter().flat_map(|it| {
            let (first, _) = it.differs_at.unwrap_or_default();
            it.words.iter().filter(move |word| word.0 >= first)
        });
        let share = |word: &Reading| others.iter().filter(|it| it.words.contains(word)).count();
        readings.into_iter().any(|word| share(word) >= quorum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);

    /// What a leader makes of words of others; its own digest is the entry's index.
    fn judge(voters: &[MemberId], words: &[(MemberId, u64, u64)], seconds: u64) -> Verdict {
        let mut comparison = Comparison::default();
        comparison.judge(Time::ZERO, voters);
        for (from, index, digest) in words {
            comparison.hear(*from, (LogIndex(*index), *digest), Some(*index));
            comparison.judge(Time::ZERO, voters);
        }
        comparison.judge(Time::ZERO + Duration::from_secs(seconds), voters)
    }

    #[test]
    fn a_trail_knows_its_newest_and_some_marks() {
        let mut trail = Trail::default();
        for index in 1..=100_000 {
            trail.note((LogIndex(index), index * 3));
        }
        for (index, is_known) in [
            (100_000, true),
            (98_977, true),
            (98_976, false),
            (97 * 1_024, true),
            (33 * 1_024, false),
        ] {
            let expected = is_known.then_some(index * 3);
            assert_eq!(trail.at(LogIndex(index)), expected, "{index}");
        }
        let newest: Vec<_> = trail.newest().map(|reading| reading.0.get()).collect();
        assert_eq!(newest, [97 * 1_024, 100_000]);
    }

    #[test]
    fn the_minority_of_three_is_told_once_the_third_has_spoken() {
        let all = [A, B, C];
        assert_eq!(judge(&all, &[(B, 5, 5), (C, 5, 5)], 60), Verdict::Open);
        assert_eq!(judge(&all, &[(B, 4, 4), (C, 5, 9)], 1), Verdict::Open);
        let wrong = Verdict::Wrong(Vec::from([(C, LogIndex(7))]));
        assert_eq!(judge(&all, &[(C, 5, 9), (B, 6, 6), (C, 7, 9)], 1), wrong);
    }

    #[test]
    fn a_leader_learns_that_it_is_the_odd_one() {
        let all = [A, B, C];
        assert_eq!(judge(&all, &[(B, 5, 9), (C, 6, 8)], 1), Verdict::Open);
        assert_eq!(judge(&all, &[(B, 5, 9), (C, 6, 8), (B, 6, 8)], 1), Verdict::Self_);
    }

    #[test]
    fn without_a_majority_nobody_is_called_wrong() {
        assert_eq!(judge(&[A, B], &[(B, 5, 9)], 0), Verdict::Split);
        let all = [A, B, C];
        assert_eq!(judge(&all, &[(B, 5, 9)], 9), Verdict::Open);
        assert_eq!(judge(&all, &[(B, 5, 9)], 10), Verdict::Split);
        assert_eq!(judge(&all, &[(B, 5, 9), (C, 5, 8)], 10), Verdict::Split);
    }

    #[test]
    fn learners_may_be_wrong_but_do_not_count() {
        let wrong = Verdict::Wrong(Vec::from([(B, LogIndex(5))]));
        assert_eq!(judge(&[A], &[(B, 5, 9)], 0), wrong);
    }

    #[test]
    fn who_was_repaired_agrees_again() {
        let all = [A, B, C];
        let words = [(B, 5, 5), (C, 5, 9), (C, 8, 8)];
        assert_eq!(judge(&all, &words, 60), Verdict::Open);
    }
}
