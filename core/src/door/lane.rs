//! The read lane: what waits until this member is provably current.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::error::Refusal;
use crate::ids::{BarrierId, LogIndex};
use crate::limits::PENDING_READS_MAX;
use crate::time::{Duration, Time, Wake};

/// How long a barrier may stay unanswered before a fresh one is asked for.
const RETRY: Duration = Duration::from_millis(500);
/// Barriers under way at once; whoever comes later shares the next.
const BARRIERS_MAX: usize = 2;

/// Those who share one barrier.
#[derive(Debug)]
struct Party<T> {
    context: BarrierId,
    asked_at: Time,
    deadline: Time,
    index: Option<LogIndex>,
    guests: Vec<T>,
}

/// The lane; `T` is whoever waits.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    waiting: Vec<T>,
    since: Time,
    parties: VecDeque<Party<T>>,
    patience: Duration,
    contexts: u64,
    /// Barriers that had to be asked for again.
    retries: u64,
    size: usize,
}

impl<T> Lane<T> {
    /// An empty lane whose guests wait at most `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            waiting: Vec::new(),
            since: Time::ZERO,
            parties: VecDeque::new(),
            patience,
            contexts: 0,
            retries: 0,
            size: 0,
        }
    }

    /// How often a barrier had to be asked for again.
    pub(crate) fn retries(&self) -> u64 {
        self.retries
    }

    /// The newest barrier that was asked for.
    pub(crate) fn newest(&self) -> BarrierId {
        BarrierId(self.contexts)
    }

    /// Lets `guest` wait for the next barrier.
    pub(crate) fn enter(&mut self, now: Time, guest: T) -> Result<(), Refusal> {
        if self.size >= PENDING_READS_MAX {
            return Err(Refusal::RequestTooManyRequests);
        }
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.size += 1;
        self.waiting.push(guest);
        Ok(())
    }

    /// A barrier that has to be asked for now: for those who wait, or again for those whose
    /// barrier went unanswered.
    pub(crate) fn poll_barrier(&mut self, now: Time) -> Option<BarrierId> {
        let contexts = &mut self.contexts;
        let late = |p: &&mut Party<T>| p.index.is_none() && now.since(p.asked_at) >= RETRY;
        if let Some(party) = self.parties.iter_mut().find(late) {
            *contexts += 1;
            party.context = BarrierId(*contexts);
            party.asked_at = now;
            self.retries += 1;
            return Some(party.context);
        }
        let under_way = self.parties.iter().filter(|p| p.index.is_none()).count();
        if self.waiting.is_empty() || under_way >= BARRIERS_MAX {
            return None;
        }
        *contexts += 1;
        let context = BarrierId(*contexts);
        let guests = core::mem::take(&mut self.waiting);
        let deadline = self.since + self.patience;
        self.parties.push_back(Party { context, asked_at: now, deadline, index: None, guests });
        Some(context)
    }

    /// A barrier was answered: its party is current once `index` is applied. When it was asked
    /// for, unless nobody waits for it any more.
    pub(crate) fn handle_reached(&mut self, context: BarrierId, index: LogIndex) -> Option<Time> {
        let party = self.parties.iter_mut().find(|p| p.context == context)?;
        party.index = Some(index);
        Some(party.asked_at)
    }

    /// Takes out a party that is current at `applied`.
    pub(crate) fn poll_current(&mut self, applied: LogIndex) -> Option<Vec<T>> {
        self.take(|party| party.index.is_some_and(|index| index <= applied))
    }

    /// Takes out those who have waited too long: a party, or whoever found no leader to ask for a
    /// barrier.
    pub(crate) fn poll_late(&mut self, now: Time) -> Option<Vec<T>> {
        let late = self.take(|party| party.deadline <= now);
        late.or_else(|| {
            self.waiting_until().filter(|deadline| *deadline <= now)?;
            self.size -= self.waiting.len();
            Some(core::mem::take(&mut self.waiting))
        })
    }

    /// Until when those wait who have no barrier yet.
    fn waiting_until(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then(|| self.since + self.patience)
    }

    /// Takes out a party whose barrier was lost with its leader.
    pub(crate) fn poll_unanswered(&mut self) -> Option<Vec<T>> {
        self.take(|party| party.index.is_none())
    }

    fn take(&mut self, is_wanted: impl Fn(&Party<T>) -> bool) -> Option<Vec<T>> {
        let place = self.parties.iter().position(is_wanted)?;
        let party = self.parties.remove(place)?;
        self.size -= party.guests.len();
        Some(party.guests)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        let parties = self.parties.iter().map(|party| match party.index {
            None => (party.asked_at + RETRY).min(party.deadline),
            Some(_) => party.deadline,
        });
        let at = parties.chain(self.waiting_until()).min()?;
        Some(Wake { at, timer: "read barrier" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane<char> {
        Lane::new(Duration::from_secs(7))
    }

    #[test]
    fn whoever_waits_shares_the_next_barrier() {
        let mut lane = lane();
        lane.enter(Time(0), 'a').unwrap();
        lane.enter(Time(0), 'b').unwrap();
        let context = lane.poll_barrier(Time(0)).unwrap();
        assert_eq!(lane.poll_barrier(Time(0)), None);
        assert_eq!(lane.handle_reached(context, LogIndex(5)), Some(Time(0)));
        assert_eq!(lane.poll_current(LogIndex(4)), None);
        assert_eq!(lane.poll_current(LogIndex(5)), Some(alloc::vec!['a', 'b']));
        assert_eq!(lane.poll_timeout(), None);
    }

    #[test]
    fn an_unanswered_barrier_is_asked_again_under_a_fresh_context() {
        let mut lane = lane();
        lane.enter(Time(0), 'a').unwrap();
        let first = lane.poll_barrier(Time(0)).unwrap();
        let later = Time(0) + RETRY;
        let second = lane.poll_barrier(later).unwrap();
        assert_ne!(first, second);
        assert_eq!(lane.handle_reached(first, LogIndex(1)), None);
        assert_eq!(lane.poll_current(LogIndex(9)), None, "the old context means nothing now");
        assert_eq!(lane.handle_reached(second, LogIndex(1)), Some(later));
        assert_eq!(lane.poll_current(LogIndex(9)), Some(alloc::vec!['a']));
    }

    #[test]
    fn patience_counts_from_the_first_guest() {
        let mut lane = lane();
        lane.enter(Time(0), 'a').unwrap();
        lane.poll_barrier(Time(1_000_000_000)).unwrap();
        assert_eq!(lane.poll_late(Time(6_999_999_999)), None);
        assert_eq!(lane.poll_late(Time(7_000_000_000)), Some(alloc::vec!['a']));
    }

    #[test]
    fn patience_ends_without_a_barrier_as_well() {
        let mut lane = lane();
        lane.enter(Time(5), 'a').unwrap();
        let deadline = Time(5) + Duration::from_secs(7);
        assert_eq!(lane.poll_timeout().map(|wake| wake.at), Some(deadline));
        assert_eq!(lane.poll_late(deadline - Duration::from_nanos(1)), None);
        assert_eq!(lane.poll_late(deadline), Some(alloc::vec!['a']));
        assert_eq!((lane.size, lane.poll_timeout()), (0, None));
    }
}
