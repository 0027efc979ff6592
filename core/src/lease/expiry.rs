//! The primary's duty: deadlines, and revokes until they are applied.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::book::{Book, Lease};
use super::checkpoint::Checkpoints;
use crate::error::Refusal;
use crate::ids::LeaseId;
use crate::limits::REVOKES_PER_PASS_MAX;
use crate::time::{Duration, Time, Wake};

/// Deadlines a new primary lets fall into any one second: three quarters of what can be revoked,
/// so that leases that expire in the ordinary way find room between them.
pub const EXPIRIES_PER_SECOND_MAX: usize = 750;

/// Expired leases are looked for no more often than this.
const PASS_INTERVAL: Duration = Duration::from_millis(500);

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lives for another `ttl` seconds.
    Renewed {
        /// TTL as granted.
        ttl: i64,
    },
    /// Propose what [`Book::clear`] hands out, and renew again once it is applied: a later primary
    /// must not go by what remained before.
    ClearFirst,
    /// It has expired. Wait until its revoke is applied, then there is no such lease; or until
    /// this member is no primary any more, then ask the next.
    Expired,
}

/// When a lease ends, and whether it lives long enough for checkpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) deadline: Time,
    pub(super) ttl: i64,
}

impl Timing {
    /// A lease that begins, or begins again, at `now`.
    pub(super) fn of(lease: &Lease, now: Time) -> Self {
        let ttl = lease.full_ttl();
        Self { deadline: now + seconds(ttl), ttl }
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Duty {
    deadlines: BTreeMap<LeaseId, Time>,
    /// Leases whose revoke is not in flight, by deadline.
    waiting: BTreeSet<(Time, LeaseId)>,
    /// Revokes in flight, by when they count as lost.
    in_flight: BTreeSet<(Time, LeaseId)>,
    retries: BTreeMap<LeaseId, Time>,
    /// No expired leases are handed out before.
    next_pass: Time,
    pub(super) checkpoints: Checkpoints,
}

impl Duty {
    /// No lease yet, each to be checkpointed after every `interval`.
    fn new(interval: Duration) -> Self {
        Self {
            deadlines: BTreeMap::new(),
            waiting: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            retries: BTreeMap::new(),
            next_pass: Time::ZERO,
            checkpoints: Checkpoints::new(interval),
        }
    }

    /// A lease begins, or begins again.
    pub(super) fn enter(&mut self, id: LeaseId, timing: Timing, now: Time) {
        self.leave(id);
        self.deadlines.insert(id, timing.deadline);
        self.waiting.insert((timing.deadline, id));
        self.checkpoints.schedule(id, timing.ttl, now);
    }

    /// A lease is gone.
    pub(super) fn leave(&mut self, id: LeaseId) {
        if let Some(deadline) = self.deadlines.remove(&id) {
            self.waiting.remove(&(deadline, id));
        }
        if let Some(retry) = self.retries.remove(&id) {
            self.in_flight.remove(&(retry, id));
        }
        self.checkpoints.leave(id);
    }

    /// Whole seconds left, rounded towards 0.
    pub(super) fn remaining(&self, id: LeaseId, now: Time) -> Option<i64> {
        let deadline = *self.deadlines.get(&id)?;
        let (left, overdue) = (deadline.since(now), now.since(deadline));
        let whole = |rest: Duration| i64::try_from(rest.as_secs()).unwrap_or(i64::MAX);
        Some(if left > Duration::ZERO { whole(left) } else { -whole(overdue) })
    }

    /// The instant a lease ends.
    pub(super) fn deadline(&self, id: LeaseId) -> Option<Time> {
        self.deadlines.get(&id).copied()
    }

    /// All leases, those that end first first.
    pub(super) fn by_deadline(&self) -> Vec<LeaseId> {
        let mut leases: Vec<(Time, LeaseId)> =
            self.deadlines.iter().map(|(&id, &deadline)| (deadline, id)).collect();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }

    fn renew(&mut self, id: LeaseId, deadline: Time) {
        if let Some(before) = self.deadlines.insert(id, deadline) {
            self.waiting.remove(&(before, id));
        }
        self.waiting.insert((deadline, id));
    }

    /// Takes over a lease of an earlier duty whose revoke may be in the log already: it has ended.
    fn keep_ended(&mut self, id: LeaseId, before: &Self) -> bool {
        let (Some(&deadline), Some(&retry)) = (before.deadlines.get(&id), before.retries.get(&id))
        else {
            return false;
        };
        self.deadlines.insert(id, deadline);
        self.launch(id, retry);
        true
    }

    fn launch(&mut self, id: LeaseId, retry: Time) {
        self.retries.insert(id, retry);
        self.in_flight.insert((retry, id));
    }

    /// Takes out expired leases: first those whose revoke was lost, then others while there is
    /// room in flight.
    fn take_expired(&mut self, now: Time, max: usize, retry: Time) -> Vec<LeaseId> {
        let mut expired = Vec::new();
        while expired.len() < max
            && let Some(&(at, id)) = self.in_flight.first().filter(|(at, _)| *at <= now)
        {
            self.in_flight.remove(&(at, id));
            expired.push(id);
        }
        let room = REVOKES_PER_PASS_MAX.saturating_sub(self.in_flight.len()).min(max);
        while expired.len() < room
            && let Some(&(at, id)) = self.waiting.first().filter(|(at, _)| *at <= now)
        {
            self.waiting.remove(&(at, id));
            expired.push(id);
        }
        for &id in &expired {
            if crate::planted!("expired-lease-forgotten") {
                break;
            }
            self.launch(id, retry);
        }
        expired
    }

    fn wake(&self) -> Option<Wake> {
        let has_room = self.in_flight.len() < REVOKES_PER_PASS_MAX;
        let waiting = self.waiting.first().filter(|_| has_room);
        let due = [waiting, self.in_flight.first()].into_iter().flatten().map(|(at, _)| *at).min();
        let expiry = due.map(|at| Wake { at: at.max(self.next_pass), timer: "lease expiry" });
        Wake::earlier(expiry, self.checkpoints.wake())
    }
}

impl Book {
    /// This member leads now: every lease lasts from `now` for `extend` and its TTL, or what a
    /// checkpoint says remains of it. If it led before, what it had asked to be revoked stays
    /// expired, and what it had proposed may still come.
    pub fn promote(&mut self, now: Time, extend: Duration) {
        let mut timings: Vec<(LeaseId, Timing)> =
            self.leases.iter().map(|(&id, lease)| (id, Timing::of(lease, now + extend))).collect();
        timings.sort_by_key(|(id, timing)| (timing.deadline, *id));
        spread(&mut timings);
        let mut duty = Duty::new(self.checkpoint_interval);
        let before = self.duty.take();
        for (id, timing) in timings {
            if !before.as_ref().is_some_and(|before| duty.keep_ended(id, before)) {
                duty.enter(id, timing, now);
            }
        }
        if let Some(before) = before {
            duty.checkpoints.take_over(before.checkpoints);
        }
        self.duty = Some(duty);
    }

    /// This member does not lead any more: nothing expires here.
    pub fn demote(&mut self) {
        self.duty = None;
    }

    /// Whether this member is to renew leases and have them revoked.
    pub fn is_primary(&self) -> bool {
        self.duty.is_some()
    }

    /// A client keeps a lease alive.
    ///
    /// # Errors
    /// [`Refusal::NotLeader`] unless this is the primary, [`Refusal::LeaseNotFound`] if there is
    /// no such lease.
    pub fn renew(&mut self, id: LeaseId, now: Time) -> Result<Renewal, Refusal> {
        let duty = self.duty.as_mut().ok_or(Refusal::NotLeader)?;
        let lease = self.leases.get(&id).ok_or(Refusal::LeaseNotFound)?;
        if duty.deadline(id).is_some_and(|deadline| deadline <= now) {
            return Ok(Renewal::Expired);
        }
        let is_cut_short = lease.remaining > 0 || duty.checkpoints.is_in_flight(id);
        if is_cut_short && !crate::planted!("lease-time-lost") {
            crate::probe!("renewal of a lease cut short");
            return Ok(Renewal::ClearFirst);
        }
        // A promotion may have given it more, and that stays: whoever led before may renew it a
        // moment later, and promises what the promotion gave.
        let granted = duty.deadline(id).unwrap_or(now);
        duty.renew(id, Timing::of(lease, now).deadline.max(granted));
        Ok(Renewal::Renewed { ttl: lease.ttl })
    }

    /// Takes out leases whose deadline has passed, to be revoked by a proposal: at most `max`, and
    /// none between two passes. Each is reported again if it still exists after the retry time.
    pub fn expired(&mut self, now: Time, max: usize) -> Vec<LeaseId> {
        let retry = now + self.retry_after;
        let Some(duty) = self.duty.as_mut().filter(|duty| duty.next_pass <= now) else {
            return Vec::new();
        };
        let expired = duty.take_expired(now, max.min(REVOKES_PER_PASS_MAX), retry);
        if !expired.is_empty() {
            duty.next_pass = now + PASS_INTERVAL;
        }
        expired
    }

    /// The proposal to revoke an expired lease failed: it is due again at the next pass.
    pub fn on_revoke_failed(&mut self, id: LeaseId, now: Time) {
        let Some(duty) = &mut self.duty else { return };
        if let Some(retry) = duty.retries.get(&id).copied() {
            duty.in_flight.remove(&(retry, id));
            duty.launch(id, now);
        }
    }

    /// When to ask for expired leases and due checkpoints; never, unless this is the primary.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Wake> {
        self.duty.as_ref()?.wake()
    }
}

/// Puts deadlines off, never forward, until no second holds too many of them. They come sorted
/// and stay so.
fn spread(timings: &mut [(LeaseId, Timing)]) {
    for n in EXPIRIES_PER_SECOND_MAX..timings.len() {
        let least = timings[n - EXPIRIES_PER_SECOND_MAX].1.deadline + Duration::from_secs(1);
        let timing = &mut timings[n].1;
        timing.deadline = timing.deadline.max(least);
    }
}
