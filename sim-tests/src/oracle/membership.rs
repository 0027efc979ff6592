//! Raft's group and the stored members are one (oracle 8).
//!
//! ```text
//!   log:   add 4 @17      promote 4 @30      remove 1 @42
//!   roll:  1 2 3 (4)      1 2 3 4            2 3 4            replayed here
//!          = what raft counts = what is stored = what members show, at every entry, everywhere
//! ```
//!
//! - what a replica counts, what a store, a log's mark or an image says, and what a member shows
//!   are the roll as of their entry;
//! - an answered change was made, and the answer shows the group it led to; one that was refused
//!   for good never is; none is made twice;
//! - nobody stops as removed who was not;
//! - whoever counts another group from an entry on knows after every crash that the entry is
//!   committed: somebody it has sent away need not be there any more.
//!
//! That who was removed stops, and that the group works, is asked by the world's finale.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::ids::{MemberId, RequestId, Term};
use quorate_core::storage::{Entry, LogContents, SnapshotMark};
use quorate_core::time::Time;
use quorate_core::{Request, Response};
use quorate_io_sim::world::observe::{CallId, Observer, Operation, Outcome, Seen, Stop, Violation};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb::{ConfChange, ConfState};

use super::roll::{Roll, parse_change};
use super::wrong;
use crate::history;

const NAME: &str = "membership";

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Membership {
    /// What the group began with, if that was before the first entry that is seen.
    first: Roll,
    /// By entry: the change, and the roll after it.
    rolls: BTreeMap<u64, (ConfChange, Roll)>,
    committed: u64,
    /// The last entry each running member was handed as committed.
    handed: BTreeMap<MemberId, u64>,
    /// The newest of those from which each member counted its group, in any of its lives. What an
    /// image says counts as soon as it comes, before it is there for good: it sends nobody away.
    counted: BTreeMap<MemberId, u64>,
    asked: BTreeMap<CallId, Request>,
    /// By the call that asked for it: the change, as soon as it is proposed or wished for.
    wishes: BTreeMap<CallId, RequestId>,
    /// Changes that were refused for good.
    refused: BTreeSet<RequestId>,
    /// Members whose addition was, whether or not it was ever put up: each has an id of its own.
    never_added: BTreeSet<u64>,
}

impl Observer for Membership {
    fn observe(&mut self, _at: Time, seen: &Seen) -> Result<(), Violation> {
        let judged = match seen {
            Seen::Committed { member, entries } => {
                self.handed.extend(entries.last().map(|entry| (*member, entry.index.0)));
                entries.iter().try_for_each(|it| self.commit(it))
            }
            Seen::Group { member, index, group } => {
                if self.handed.get(member).is_some_and(|handed| index.0 <= *handed) {
                    self.counted.insert(*member, index.0);
                }
                self.check_group(index.0, group, || format!("member {member} counts"))
            }
            Seen::Members { member, index, list } => self.check_list(*member, index.0, list),
            Seen::Started { member, log, stored, .. } => {
                if self.committed == 0 && self.first == Roll::default() {
                    self.first = Roll::of(&stored.conf_state);
                }
                self.check_mark(stored, || format!("the store of member {member} has"))
                    .and_then(|()| {
                        self.check_mark(&log.mark, || format!("the log of {member} has"))
                    })
                    .and_then(|()| self.check_start(*member, log, stored))
            }
            Seen::Installed { member, mark } => {
                self.check_mark(mark, || format!("an image for member {member} has"))
            }
            Seen::Cut { member, mark } => {
                self.check_mark(mark, || format!("member {member} cuts its log with"))
            }
            Seen::Called { call, operation: Operation::Request(request), .. } => {
                if is_change(request) {
                    self.asked.insert(*call, request.clone());
                }
                Ok(())
            }
            Seen::Proposed { id, call: Some(call), .. } => {
                if self.asked.contains_key(call) {
                    self.wishes.insert(*call, *id);
                }
                Ok(())
            }
            Seen::Returned { call, outcome, .. } => self.check_answer(*call, outcome),
            Seen::Stopped { member, why: Stop::Removed } => self.check_stop(*member),
            _ => Ok(()),
        };
        judged.map_err(|what| wrong(NAME, what))
    }
}

fn is_change(request: &Request) -> bool {
    matches!(
        request,
        Request::MemberAdd(_)
            | Request::MemberRemove(_)
            | Request::MemberUpdate(_)
            | Request::MemberPromote(_)
    )
}

impl Membership {
    /// Each entry once: that members agree on it is another oracle's business.
    fn commit(&mut self, entry: &Entry) -> Result<(), String> {
        if entry.index.0 <= self.committed {
            return Ok(());
        }
        self.committed = entry.index.0;
        let Some(change) = parse_change(entry) else { return Ok(()) };
        let mut roll = self.at(self.committed);
        let is_made = roll.apply(&change);
        if is_made {
            if self.refused.contains(&RequestId(change.id))
                || self.never_added.contains(&change.node_id)
            {
                return Err(format!("{change:?} is made, which was refused"));
            }
            if self.is_made(RequestId(change.id)) {
                return Err(format!("{change:?} is made again"));
            }
            self.rolls.insert(self.committed, (change, roll));
        }
        Ok(())
    }

    /// Whether that change was made. Those that a group begins with have no number.
    fn is_made(&self, id: RequestId) -> bool {
        id != RequestId(0) && self.rolls.values().any(|(change, _)| change.id == id.get())
    }

    /// The roll as of an entry.
    fn at(&self, index: u64) -> Roll {
        let newest = self.rolls.range(..=index).next_back();
        newest.map_or_else(|| self.first.clone(), |(_, (_, roll))| roll.clone())
    }

    fn check_group(
        &self,
        index: u64,
        group: &ConfState,
        who: impl FnOnce() -> String,
    ) -> Result<(), String> {
        match self.at(index).difference(group) {
            Some(difference) => Err(format!("at entry {index} {} {difference}", who())),
            None => Ok(()),
        }
    }

    /// A mark that nothing was ever written to says nothing.
    fn check_mark(&self, mark: &SnapshotMark, who: impl FnOnce() -> String) -> Result<(), String> {
        if mark.term == Term(0) {
            return Ok(());
        }
        self.check_group(mark.index.0, &mark.conf_state, who)
    }

    fn check_start(
        &mut self,
        member: MemberId,
        log: &LogContents,
        stored: &SnapshotMark,
    ) -> Result<(), String> {
        self.handed.remove(&member);
        let known = log.hard_state.commit.max(log.mark.index).max(stored.index).0;
        match self.counted.get(&member) {
            Some(counted) if *counted > known => Err(format!(
                "member {member} counted its group as of entry {counted}, and starts knowing only \
                 of entry {known} that it is committed"
            )),
            _ => Ok(()),
        }
    }

    fn check_list(
        &self,
        member: MemberId,
        index: u64,
        list: &[(MemberId, bool)],
    ) -> Result<(), String> {
        let roll = self.at(index);
        let shown = list.iter().map(|(id, is_learner)| (id.0, *is_learner));
        if roll.list().eq(shown) {
            return Ok(());
        }
        let due: Vec<_> = roll.list().collect();
        Err(format!("at entry {index} member {member} shows {list:?}, should be {due:?}"))
    }

    fn check_answer(&mut self, call: CallId, outcome: &Outcome) -> Result<(), String> {
        let Some(request) = self.asked.remove(&call) else { return Ok(()) };
        let wish = self.wishes.remove(&call);
        if let Outcome::Refused(refusal) = outcome
            && history::Outcome::from_refusal(*refusal) != history::Outcome::Unknown
        {
            let added = match &request {
                Request::MemberAdd(addition) => Some(addition.id.0),
                _ => None,
            };
            let is_added = |id| self.rolls.values().any(|(change, _)| change.node_id == id);
            if wish.is_some_and(|wish| self.is_made(wish)) || added.is_some_and(is_added) {
                return Err(format!("{request:?} was refused as {refusal:?}, and is made"));
            }
            self.refused.extend(wish);
            self.never_added.extend(added);
        }
        let (id, shown) = match (&request, outcome) {
            (Request::MemberAdd(ask), Outcome::Response(Response::MemberAdd(it))) => {
                (ask.id.0, &it.members)
            }
            (Request::MemberRemove(ask), Outcome::Response(Response::MemberRemove(it))) => {
                (ask.id, &it.members)
            }
            (Request::MemberUpdate(ask), Outcome::Response(Response::MemberUpdate(it))) => {
                (ask.id, &it.members)
            }
            (Request::MemberPromote(ask), Outcome::Response(Response::MemberPromote(it))) => {
                (ask.id, &it.members)
            }
            (_, Outcome::Response(other)) => {
                return Err(format!("{request:?} was answered as {other:?}"));
            }
            _ => return Ok(()),
        };
        let is_it = |(change, roll): &(ConfChange, Roll)| {
            change.node_id == id && does(change, &request) && shows(shown, roll)
        };
        let is_true = self.rolls.values().any(is_it);
        is_true.then_some(()).ok_or_else(|| {
            format!("{request:?} was answered with {shown:?}, which no such change led to")
        })
    }

    fn check_stop(&self, member: MemberId) -> Result<(), String> {
        let is_right = self.at(u64::MAX).has_removed(member.0);
        is_right
            .then_some(())
            .ok_or_else(|| format!("member {member} stops as removed, but nobody removed it"))
    }
}

/// Whether a change is of the kind that was asked for.
fn does(change: &ConfChange, request: &Request) -> bool {
    use quorate_proto::raftpb::ConfChangeType as Kind;
    match request {
        Request::MemberAdd(ask) if ask.request.is_learner => {
            change.r#type() == Kind::ConfChangeAddLearnerNode
        }
        Request::MemberAdd(_) | Request::MemberPromote(_) => {
            change.r#type() == Kind::ConfChangeAddNode
        }
        Request::MemberRemove(_) => change.r#type() == Kind::ConfChangeRemoveNode,
        Request::MemberUpdate(_) => change.r#type() == Kind::ConfChangeUpdateNode,
        _ => false,
    }
}

fn shows(members: &[pb::Member], roll: &Roll) -> bool {
    roll.list().eq(members.iter().map(|member| (member.id, member.is_learner)))
}

#[cfg(test)]
mod tests;
