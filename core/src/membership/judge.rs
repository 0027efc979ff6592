//! Whether a change of the group is wise: asked of its leader before it is proposed, because the
//! answer depends on who is there to be heard, which differs from member to member.
//!
//! ```text
//!   3 voters, one of them silent:  add a voter  -->  quorum of 4 is 3, and 2 are there: refused
//!   2 voters, one of them silent:  remove it    -->  the survivor needs nobody else: allowed
//! ```
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/server.go` (mayAddMember, mayRemoveMember,
//! mayPromoteMember), `server/etcdserver/api/membership/cluster.go` (IsReadyTo...)

use super::{Change, MemberRecord, Members};
use crate::error::Refusal;
use crate::ids::MemberId;
use crate::input::Followers;

/// What a leader knows beside the members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    /// Itself.
    pub(crate) leader: MemberId,
    /// Who is there, and who keeps up.
    pub(crate) followers: &'a Followers,
    /// Most learners.
    pub(crate) learners_max: usize,
    /// Whether changes that could cost the quorum are refused.
    pub(crate) is_strict: bool,
}

impl Members {
    /// Judges a change that is possible.
    pub(crate) fn judge(&self, change: &Change, on: &Circumstances<'_>) -> Result<(), Refusal> {
        match change {
            Change::Add(record) => self.judge_addition(record, on),
            Change::Promote(member) => self.judge_promotion(*member, on),
            Change::Remove(member) => self.judge_removal(*member, on),
            Change::Update(_) => Ok(()),
        }
    }

    fn judge_addition(&self, record: &MemberRecord, on: &Circumstances<'_>) -> Result<(), Refusal> {
        let learners = self.members.values().filter(|member| member.is_learner).count();
        if record.is_learner && learners >= on.learners_max {
            return Err(Refusal::TooManyLearners);
        }
        if !on.is_strict {
            return Ok(());
        }
        let voters = self.count_voters(|_| true);
        let started = self.count_voters(MemberRecord::is_started);
        let quorum = quorum_of(voters + 1);
        let is_second = started == 1 && voters == 1;
        if !record.is_learner && started < quorum && !is_second {
            return Err(Refusal::MemberNotEnoughStarted);
        }
        if voters > 1 && self.count_active(on, |_| true) < quorum {
            return Err(Refusal::Unhealthy);
        }
        Ok(())
    }

    fn judge_promotion(&self, member: MemberId, on: &Circumstances<'_>) -> Result<(), Refusal> {
        if !on.followers.in_sync.contains(&member) {
            return Err(Refusal::LearnerNotReady);
        }
        let voters = self.count_voters(|_| true);
        let started = self.count_voters(MemberRecord::is_started);
        if on.is_strict && started + 1 < quorum_of(voters + 1) {
            return Err(Refusal::MemberNotEnoughStarted);
        }
        Ok(())
    }

    fn judge_removal(&self, member: MemberId, on: &Circumstances<'_>) -> Result<(), Refusal> {
        let is_voter = self.members.get(&member).is_some_and(|known| !known.is_learner);
        if !on.is_strict || !is_voter {
            return Ok(());
        }
        let is_other = |other: &MemberRecord| other.id != member.get();
        let remaining = self.count_voters(is_other);
        let started = self.count_voters(|other| is_other(other) && other.is_started());
        if started < quorum_of(remaining) {
            return Err(Refusal::MemberNotEnoughStarted);
        }
        // Whoever is silent takes nothing away from the others: they are as many as before. Unlike
        // etcd we count them all the same: a leader that was just elected has heard nobody yet.
        let others = self.count_active(on, |other| other.id != member.get());
        if others < quorum_of(remaining) {
            return Err(Refusal::Unhealthy);
        }
        Ok(())
    }

    fn count_voters(&self, is_wanted: impl Fn(&MemberRecord) -> bool) -> usize {
        let voters = self.members.values().filter(|member| !member.is_learner);
        voters.filter(|member| is_wanted(member)).count()
    }

    /// Voters that are there; the leader, which judges, is one of them.
    fn count_active(
        &self,
        on: &Circumstances<'_>,
        is_wanted: impl Fn(&MemberRecord) -> bool,
    ) -> usize {
        let is_there = |member: &MemberRecord| {
            let id = MemberId(member.id);
            id == on.leader || on.followers.active.contains(&id)
        };
        self.count_voters(|member| is_wanted(member) && is_there(member))
    }
}

const fn quorum_of(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests;
