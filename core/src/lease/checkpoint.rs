//! Checkpoints: what remains of long leases, written to the log now and then, so that a change of
//! leaders does not start them over.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use quorate_proto::etcdserverpb::LeaseCheckpoint;

use super::book::{Book, encode_row};
use super::expiry::Duty;
use crate::ids::LeaseId;
use crate::storage::Write;
use crate::time::{Duration, Time, Wake};

/// Time between two entries full of checkpoints.
const ENTRY_INTERVAL: Duration = Duration::from_secs(1);

/// When leases are to be checkpointed.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Time between two checkpoints of a lease. Leases that live no longer need none.
    interval: Duration,
    due: BTreeSet<(Time, LeaseId)>,
    times: BTreeMap<LeaseId, Time>,
    /// Handed out and not applied yet, as far as this primary knows, oldest first: what each says
    /// remains. A few of a lease at the most: a primary whose entries are not committed is none for
    /// long, and clears that follow each other count as one.
    in_flight: BTreeMap<LeaseId, VecDeque<i64>>,
    next_entry: Time,
}

impl Checkpoints {
    /// No lease yet.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: BTreeSet::new(),
            times: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_entry: Time::ZERO,
        }
    }

    /// Plans the next checkpoint of a lease with `ttl` seconds left, if it needs one.
    pub(super) fn schedule(&mut self, id: LeaseId, ttl: i64, now: Time) {
        self.unschedule(id);
        if u64::try_from(ttl).is_ok_and(|ttl| ttl > self.interval.as_secs()) {
            let at = now + self.interval;
            self.times.insert(id, at);
            self.due.insert((at, id));
        }
    }

    /// Forgets a lease.
    pub(super) fn leave(&mut self, id: LeaseId) {
        self.unschedule(id);
        self.in_flight.remove(&id);
    }

    /// What an earlier duty of the same primary had proposed may still come.
    pub(super) fn take_over(&mut self, before: Self) {
        self.in_flight = before.in_flight;
    }

    /// Whether a checkpoint that cuts this lease short may be on its way to being applied.
    pub(super) fn is_in_flight(&self, id: LeaseId) -> bool {
        self.in_flight.get(&id).is_some_and(|all| all.iter().any(|remaining| *remaining > 0))
    }

    /// A checkpoint, or with 0 a clear, is proposed.
    fn note_proposed(&mut self, id: LeaseId, remaining: i64) {
        let all = self.in_flight.entry(id).or_default();
        if remaining > 0 || all.back() != Some(&0) {
            all.push_back(remaining);
        }
    }

    /// One is applied. Entries keep their order: what was proposed before it never comes.
    fn note_applied(&mut self, id: LeaseId, remaining: i64) {
        let Some(all) = self.in_flight.get_mut(&id) else { return };
        if let Some(place) = all.iter().position(|proposed| *proposed == remaining) {
            all.drain(..=place);
        }
        if all.is_empty() {
            self.in_flight.remove(&id);
        }
    }

    /// When the next checkpoint is due.
    pub(super) fn wake(&self) -> Option<Wake> {
        let &(at, _) = self.due.first()?;
        Some(Wake { at: at.max(self.next_entry), timer: "lease checkpoint" })
    }

    fn unschedule(&mut self, id: LeaseId) {
        if let Some(at) = self.times.remove(&id) {
            self.due.remove(&(at, id));
        }
    }
}

impl Duty {
    /// A checkpoint of a lease due now; None if nothing of it has run down.
    fn checkpoint(&mut self, id: LeaseId, ttl: i64, now: Time) -> Option<LeaseCheckpoint> {
        let deadline = self.deadline(id)?;
        let left = deadline.since(now);
        let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let remaining_ttl = i64::try_from(whole).unwrap_or(i64::MAX);
        // Planned again whatever becomes of this one, but not when the end comes first.
        self.checkpoints.schedule(id, remaining_ttl, now);
        if remaining_ttl == 0 || remaining_ttl >= ttl {
            return None;
        }
        self.checkpoints.note_proposed(id, remaining_ttl);
        Some(LeaseCheckpoint { id: id.get(), remaining_ttl })
    }
}

impl Book {
    /// Takes out the checkpoints that are due, for one entry: at most `max`.
    pub fn checkpoints_due(&mut self, now: Time, max: usize) -> Vec<LeaseCheckpoint> {
        let mut checkpoints = Vec::new();
        let Some(duty) = self.duty.as_mut().filter(|duty| duty.checkpoints.next_entry <= now)
        else {
            return checkpoints;
        };
        while checkpoints.len() < max
            && let Some(&(_, id)) = duty.checkpoints.due.first().filter(|(at, _)| *at <= now)
        {
            duty.checkpoints.unschedule(id);
            let ttl = self.leases.get(&id).map_or(0, |lease| lease.ttl);
            checkpoints.extend(duty.checkpoint(id, ttl, now));
        }
        if !checkpoints.is_empty() {
            duty.checkpoints.next_entry = now + ENTRY_INTERVAL;
        }
        checkpoints
    }

    /// What clears a lease's checkpoint, to be proposed.
    pub fn clear(&mut self, id: LeaseId) -> LeaseCheckpoint {
        if let Some(duty) = &mut self.duty {
            duty.checkpoints.note_proposed(id, 0);
        }
        LeaseCheckpoint { id: id.get(), remaining_ttl: 0 }
    }

    /// A checkpoint was applied; 0 seconds clear one. Returns the row to store, if there is such a
    /// lease.
    pub fn apply_checkpoint(&mut self, id: LeaseId, remaining: i64, now: Time) -> Option<Write> {
        let lease = self.leases.get_mut(&id)?;
        lease.remaining = remaining;
        if let Some(duty) = &mut self.duty {
            duty.checkpoints.note_applied(id, remaining);
            duty.checkpoints.schedule(id, lease.full_ttl(), now);
        }
        Some(encode_row(id, lease))
    }
}
