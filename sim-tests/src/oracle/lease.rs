//! Leases in time (oracle 6): none dies early, none lives for ever, and only who leads ends one.
//!
//! ```text
//!   keep-alive called ------ acknowledged
//!          |------------ TTL ------------|   no expiry is proposed in here,
//!          '--- a fast clock ---'            or, with clocks that drift, in this
//!
//!   last that may have renewed it, or a new leader's promotion
//!          |-- TTL, extension, slow clock, work --|   gone by here, if that leader gets
//!                                                     entries through that it proposed later
//! ```
//!
//! - *No early death*: a renewal that was acknowledged counts from its call. Answers of members
//!   whose clock stood still a moment ago do not count: they cannot know how late it is.
//! - *No immortality*: asked whenever something is committed that its leader proposed after the
//!   lease was due, and at the end of a run, when nobody has kept anything alive for a while.
//! - *Only the leader*: an expiry enters the log in the term of the leader that proposed it.
//! - *Time to live*: never above what was granted and the extension, no less than what the last
//!   acknowledged renewal promises, no more than the last possible one allows.
//!
//! Which leases and keys there are, and that a lease and its keys end in one revision, is judged
//! with everything else that has an order: see [`linear`](super::linear).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use quorate_core::ids::{LogIndex, MemberId, Term};
use quorate_core::storage::{Entry, EntryKind};
use quorate_core::time::{Duration, Time};
use quorate_core::{Request, Response, Role};
use quorate_io_sim::world::observe::{CallId, Observer, Operation, Outcome, Seen, Violation};
use quorate_proto::etcdserverpb as pb;

use super::liveness::Pace;
use super::wrong;
use crate::model::Judged;

const NAME: &str = "lease";
const MILLION: u64 = 1_000_000;
/// How long a renewal may linger after its client gave it up, or after another copy of the member's
/// question to the leader was answered.
const LINGER: Duration = Duration::from_secs(12);
/// From a lease's end to its revoke in a log that moves, lost proposals included.
const WORK: Duration = Duration::from_secs(10);
/// The same when nothing is lost.
const WORK_AT_REST: Duration = Duration::from_secs(2);
/// How long after a clock stood still its member may not know that it was deposed.
const CONFUSION: Duration = Duration::from_secs(4);

/// One lease from its grant to its end.
#[derive(Debug)]
struct Life {
    ttl: Duration,
    /// Tells lives of one id apart.
    number: u64,
    /// The newest call that was answered with a promise.
    promised: Option<Time>,
    /// The last instant at which somebody may have renewed it.
    renewed: Time,
    /// When the entry that ended it was proposed, if it ran out.
    ended: Option<Time>,
    is_over: bool,
}

/// A call about one lease.
#[derive(Debug)]
struct Asked {
    lease: i64,
    at: Time,
    /// The life it is about, if there was one when it was made, and that life's promise.
    life: Option<(u64, Option<Time>)>,
    renews: bool,
    /// The member asked, and the term in which it led then, if it did.
    of: (MemberId, Option<Term>),
}

/// Who leads in the newest term.
#[derive(Clone, Copy, Debug)]
struct Reign {
    member: MemberId,
    term: Term,
    /// Since when it counts leases' time, at the latest.
    since: Option<Time>,
}

/// A proposal of a member's own.
#[derive(Debug)]
struct Proposal {
    at: Time,
    role: Role,
}

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Lease {
    pace: Pace,
    /// What rights forbid begins and ends nothing.
    judged: Judged,
    lives: BTreeMap<i64, Life>,
    numbers: u64,
    asked: BTreeMap<CallId, Asked>,
    grants: BTreeMap<CallId, Time>,
    roles: BTreeMap<MemberId, Role>,
    reign: Option<Reign>,
    /// The first entry of the reign's term.
    first_of_term: Option<LogIndex>,
    clients: BTreeSet<u64>,
    proposals: BTreeMap<u64, Proposal>,
    committed: LogIndex,
    frozen: BTreeSet<MemberId>,
    thawed: Option<Time>,
    next_look: Time,
}

impl Lease {
    /// An oracle for a cluster of that pace.
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// A span of a member's time in true time, if its clock is as fast as any may be.
    fn shortest(&self, span: Duration) -> Duration {
        scale(span, MILLION, MILLION + self.pace.drift_ppm)
    }

    /// And if it is as slow.
    fn longest(&self, span: Duration) -> Duration {
        scale(span, MILLION, MILLION.saturating_sub(self.pace.drift_ppm).max(1))
    }

    /// The newest instant at which some clock stood still.
    fn still_at(&self, now: Time) -> Time {
        if self.frozen.is_empty() { self.thawed.unwrap_or(Time::ZERO) } else { now }
    }

    fn note_role(&mut self, member: MemberId, role: Role) {
        self.roles.insert(member, role);
        if role.is_leader && self.reign.is_none_or(|reign| reign.term < role.term) {
            self.reign = Some(Reign { member, term: role.term, since: None });
            self.first_of_term = None;
        } else if let Some(reign) = &mut self.reign
            && reign.member == member
            && !(role.is_leader && role.term == reign.term)
        {
            reign.since = None;
            self.first_of_term = None;
        }
    }

    fn note_applied(&mut self, at: Time, member: MemberId, index: LogIndex) {
        let Some(reign) = self.reign.as_mut().filter(|reign| reign.member == member) else {
            return;
        };
        if reign.since.is_none() && self.first_of_term.is_some_and(|first| first <= index) {
            reign.since = Some(at);
        }
    }

    /// Someone goes on after standing still: a leader grants the lost time.
    fn note_resumed(&mut self, at: Time, member: MemberId) {
        if self.frozen.remove(&member) {
            self.thawed = Some(at);
        }
        if let Some(reign) = self.reign.as_mut().filter(|reign| reign.member == member)
            && reign.since.is_some()
        {
            reign.since = Some(at);
        }
    }

    fn note_proposed(&mut self, at: Time, member: MemberId, id: u64, call: Option<CallId>) {
        if call.is_some() {
            self.clients.insert(id);
        } else if !self.clients.contains(&id) {
            let role = self.roles.get(&member).copied().unwrap_or_default();
            self.proposals.entry(id).or_insert(Proposal { at, role });
        }
    }

    /// The term in which a member leads, if it does.
    fn led_by(&self, member: MemberId) -> Option<Term> {
        self.roles.get(&member).filter(|role| role.is_leader).map(|role| role.term)
    }

    fn note_called(&mut self, at: Time, call: CallId, of: MemberId, operation: &Operation) {
        let (lease, renews) = match operation {
            Operation::Request(Request::LeaseKeepAlive(ask)) => (ask.id, true),
            Operation::Request(Request::LeaseTimeToLive(ask)) => (ask.id, false),
            Operation::Request(Request::LeaseGrant(_)) => {
                self.grants.insert(call, at);
                return;
            }
            _ => return,
        };
        let living = self.lives.get(&lease).filter(|life| !life.is_over);
        let life = living.map(|life| (life.number, life.promised));
        let of = (of, self.led_by(of));
        self.asked.insert(call, Asked { lease, at, life, renews, of });
    }

    fn check_returned(&mut self, at: Time, call: CallId, outcome: &Outcome) -> Result<(), String> {
        if let Some(called) = self.grants.remove(&call) {
            return match outcome {
                Outcome::Response(Response::LeaseGrant(grant)) => self.promise(grant.id, called),
                _ => Ok(()),
            };
        }
        let Some(asked) = self.asked.remove(&call) else { return Ok(()) };
        if asked.renews {
            let (member, led) = asked.of;
            let is_over =
                *outcome != Outcome::Unknown && led.is_some() && self.led_by(member) == led;
            let last = if is_over { at } else { at + LINGER };
            if let Some(life) = self.lives.get_mut(&asked.lease) {
                life.renewed = life.renewed.max(last);
            }
        }
        match outcome {
            Outcome::Response(Response::LeaseKeepAlive(answer)) if answer.ttl > 0 => {
                self.check_renewal(&asked, answer.ttl)
            }
            Outcome::Response(Response::LeaseTimeToLive(answer)) => {
                self.check_time_to_live(at, &asked, answer)
            }
            _ => Ok(()),
        }
    }

    fn check_renewal(&mut self, asked: &Asked, ttl: i64) -> Result<(), String> {
        let (lease, Asked { at, life, .. }) = (asked.lease, asked);
        let Some(current) = self.lives.get(&lease) else {
            return Err(format!("lease {lease} was renewed, but nobody was granted it"));
        };
        let granted = current.ttl.as_secs();
        let is_same = life.is_some_and(|(number, _)| number == current.number);
        if is_same && u64::try_from(ttl) != Ok(granted) {
            return Err(format!("lease {lease} of {granted} s was renewed for {ttl} s"));
        }
        let is_confused = self.still_at(*at) + CONFUSION > *at && self.still_at(*at) > Time::ZERO;
        if is_same && !is_confused { self.promise(lease, *at) } else { Ok(()) }
    }

    /// A client was told that a lease lives, by an answer to what it asked at `called`.
    fn promise(&mut self, lease: i64, called: Time) -> Result<(), String> {
        let Some(life) = self.lives.get_mut(&lease) else { return Ok(()) };
        life.promised = life.promised.max(Some(called));
        let life = &self.lives[&lease];
        match life.ended {
            Some(ended) => self.check_end(lease, ended),
            None => Ok(()),
        }
    }

    /// The lease's expiry was proposed at `ended`.
    fn check_end(&self, lease: i64, ended: Time) -> Result<(), String> {
        let life = &self.lives[&lease];
        let Some(promised) = life.promised else { return Ok(()) };
        if ended >= promised + self.shortest(life.ttl) {
            return Ok(());
        }
        let (ttl, lived) = (life.ttl.as_secs(), ended.since(promised).as_millis());
        Err(format!("lease {lease} of {ttl} s ended {lived} ms after its last renewal's call"))
    }

    fn check_time_to_live(
        &self,
        at: Time,
        asked: &Asked,
        answer: &pb::LeaseTimeToLiveResponse,
    ) -> Result<(), String> {
        let (lease, ttl, granted) = (asked.lease, answer.ttl, answer.granted_ttl);
        if answer.id != lease {
            return Err(format!("asked about lease {lease}, answered about {}", answer.id));
        }
        if granted == 0 {
            let is_right = ttl == -1 && answer.keys.is_empty();
            return is_right
                .then_some(())
                .ok_or_else(|| format!("lease {lease} is gone, yet has {ttl} s or keys"));
        }
        let Some(life) = self.lives.get(&lease) else {
            return Err(format!("lease {lease} has {ttl} s left, but nobody was granted it"));
        };
        let left = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
        let most = life.ttl + self.pace.election_timeout;
        let is_same = asked.life.is_some_and(|(number, _)| number == life.number);
        if is_same && left > most {
            return Err(format!("lease {lease} of {granted} s has {ttl} s left"));
        }
        if is_same && !life.is_over {
            self.check_least(at, asked, life, left)?;
            self.check_most(at, asked, life, left)?;
        }
        Ok(())
    }

    /// What the last renewal promised before the question was asked must be left.
    fn check_least(
        &self,
        at: Time,
        asked: &Asked,
        life: &Life,
        left: Duration,
    ) -> Result<(), String> {
        let Some((_, Some(promised))) = asked.life else { return Ok(()) };
        let due = (promised + self.shortest(life.ttl)).since(at);
        if self.shortest(due) < left + Duration::from_secs(1) {
            return Ok(());
        }
        let (lease, left, due) = (asked.lease, left.as_secs(), due.as_millis());
        Err(format!("lease {lease} has {left} s left, renewed for {due} ms"))
    }

    /// Nor may more be left than anyone can have renewed it for.
    fn check_most(
        &self,
        at: Time,
        asked: &Asked,
        life: &Life,
        left: Duration,
    ) -> Result<(), String> {
        let since = self.reign.and_then(|reign| reign.since);
        let (Some(since), false) = (since, self.is_being_renewed(asked.lease)) else {
            return Ok(());
        };
        let last = life.renewed.max(since).max(self.still_at(at));
        let whole = self.longest(life.ttl + self.pace.election_timeout);
        let most = self.longest((last + whole).since(asked.at));
        if left <= most {
            return Ok(());
        }
        let (lease, left, most) = (asked.lease, left.as_secs(), most.as_millis());
        Err(format!("lease {lease} has {left} s left, {most} ms after all renewals"))
    }

    fn is_being_renewed(&self, lease: i64) -> bool {
        self.asked.values().any(|asked| asked.renews && asked.lease == lease)
    }

    fn check_committed(&mut self, at: Time, entry: &Entry) -> Result<(), String> {
        if self.reign.is_some_and(|reign| reign.term == entry.term) && self.first_of_term.is_none()
        {
            self.first_of_term = Some(entry.index);
        }
        if entry.kind != EntryKind::Normal || entry.data.is_empty() {
            return Ok(());
        }
        let Ok(request) = pb::InternalRaftRequest::decode(entry.data.clone()) else {
            return Ok(());
        };
        let id = request.header.as_ref().map_or(request.id, |header| header.id);
        let is_permitted = self.judged.take(&request).is_ok();
        if let Some(grant) = request.lease_grant.as_ref().filter(|_| is_permitted) {
            self.begin(at, grant);
        }
        if let Some(revoke) = request.lease_revoke.as_ref().filter(|_| is_permitted) {
            self.check_revoke(entry.term, revoke.id, id)?;
        }
        self.look(at, id)
    }

    fn begin(&mut self, at: Time, grant: &pb::LeaseGrantRequest) {
        if self.lives.get(&grant.id).is_some_and(|life| !life.is_over) {
            return;
        }
        self.numbers += 1;
        let ttl = u64::try_from(grant.ttl).unwrap_or(0).max(self.pace.lease_ttl_min());
        let life = Life {
            ttl: Duration::from_secs(ttl),
            number: self.numbers,
            promised: None,
            renewed: at,
            ended: None,
            is_over: false,
        };
        self.lives.insert(grant.id, life);
    }

    fn check_revoke(&mut self, term: Term, lease: i64, id: u64) -> Result<(), String> {
        let Some(life) = self.lives.get_mut(&lease).filter(|life| !life.is_over) else {
            return Ok(());
        };
        life.is_over = true;
        let Some(Proposal { at, role }) = self.proposals.get(&id) else { return Ok(()) };
        life.ended = Some(*at);
        if !role.is_leader || role.term != term {
            let led = if role.is_leader { "led" } else { "did not lead" };
            let then = role.term;
            return Err(format!(
                "lease {lease} expired in term {term} by a member that {led} in term {then}"
            ));
        }
        self.check_end(lease, *at)
    }

    /// The entry `id` is committed: what its leader had to do before it proposed that is done.
    fn look(&mut self, at: Time, id: u64) -> Result<(), String> {
        let Some(proposal) = self.proposals.get(&id) else { return Ok(()) };
        let Proposal { at: proposed, role } = *proposal;
        let is_reigning = self.reign.is_some_and(|reign| reign.term == role.term);
        if at < self.next_look || !role.is_leader || !is_reigning {
            return Ok(());
        }
        self.next_look = at + Duration::from_secs(1);
        self.check_living(proposed, WORK)
    }

    /// Every lease that lives had a reason to at `at`.
    fn check_living(&self, at: Time, work: Duration) -> Result<(), String> {
        let Some(since) = self.reign.and_then(|reign| reign.since) else { return Ok(()) };
        for (&lease, life) in self.lives.iter().filter(|(_, life)| !life.is_over) {
            let last = life.renewed.max(since).max(self.still_at(at));
            let due = last + self.longest(life.ttl + self.pace.election_timeout) + work;
            if due < at && !self.is_being_renewed(lease) {
                let (ttl, over) = (life.ttl.as_secs(), at.since(last).as_millis());
                return Err(format!("lease {lease} of {ttl} s lives {over} ms after all renewals"));
            }
        }
        Ok(())
    }
}

fn scale(span: Duration, times: u64, by: u64) -> Duration {
    let nanos = span.as_nanos() * u128::from(times) / u128::from(by);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Observer for Lease {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        let judged = match seen {
            Seen::Called { call, member, operation, .. } => {
                self.note_called(at, *call, *member, operation);
                Ok(())
            }
            Seen::Returned { call, outcome, .. } => self.check_returned(at, *call, outcome),
            Seen::Role { member, role } => {
                self.note_role(*member, *role);
                Ok(())
            }
            Seen::Stopped { member, .. } => {
                self.note_role(*member, Role::default());
                self.note_resumed(at, *member);
                Ok(())
            }
            Seen::Paused { member, is_frozen } => {
                if *is_frozen {
                    self.frozen.insert(*member);
                }
                Ok(())
            }
            Seen::Resumed { member } => {
                self.note_resumed(at, *member);
                Ok(())
            }
            Seen::Proposed { member, id, call, .. } => {
                self.note_proposed(at, *member, id.0, *call);
                Ok(())
            }
            Seen::Applied { member, index, .. } => {
                self.note_applied(at, *member, *index);
                Ok(())
            }
            Seen::Committed { entries, .. } => {
                let mut new = Ok(());
                for entry in entries {
                    if entry.index > self.committed {
                        self.committed = entry.index;
                        new = new.and_then(|()| self.check_committed(at, entry));
                    }
                }
                new
            }
            Seen::Finished { .. } => self.check_living(at, WORK_AT_REST),
            _ => Ok(()),
        };
        judged.map_err(|what| wrong(NAME, what))
    }
}

#[cfg(test)]
mod tests;
