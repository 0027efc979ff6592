//! Raft's invariants, judged at every event (oracle 5).
//!
//! - *election safety*: no two leaders in one term;
//! - *log matching*: entries of equal index and term are equal, and so are those before them;
//! - *leader completeness*: a new leader has every entry committed in an earlier term;
//! - *proposals*: what was put up for a term enters the log in that term or never;
//! - *one change at a time*: a change of the group is written behind committed ones only;
//! - *commit*: what is handed to a state machine is durable on a quorum of the voters, and no two
//!   members ever have different entries committed at one index, nor the same entry twice.
//!
//! Each event costs the entries it carries, never the length of a log: log matching is held by
//! induction, an entry and the term of the one before it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use quorate_core::ids::{MemberId, RequestId, Term};
use quorate_core::storage::{Entry, EntryKind};
use quorate_core::time::Time;
use quorate_io_sim::world::observe::{Observer, Seen, Violation};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb::{self, ConfChangeType as Kind};

use super::logs::Logs;
use super::wrong;

const NAME: &str = "raft";

/// Entries of this term are what every member of a new group begins with: nobody elected it, and
/// each has them committed from the start.
const BOOTSTRAP_TERM: u64 = 1;

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Raft {
    logs: Logs,
    leaders: BTreeMap<Term, MemberId>,
    /// By index and term: the entry, and the term of the one before it where it was known.
    entries: BTreeMap<(u64, u64), (Entry, Option<u64>)>,
    /// By request: the terms for which it was put up.
    proposed: BTreeMap<RequestId, BTreeSet<u64>>,
    /// By index: what is committed.
    committed: BTreeMap<u64, Entry>,
    /// By index: the term of the newest change of the group anyone wrote there.
    changes: BTreeMap<u64, u64>,
    /// By term: the last index committed in it, entries of earlier terms included.
    last_of_term: BTreeMap<u64, u64>,
    /// The term each member is in, as far as it told.
    terms: BTreeMap<MemberId, u64>,
    /// What each running member was handed last.
    handed: BTreeMap<MemberId, u64>,
    groups: Groups,
}

/// Who votes: the newest configuration, and the one before it, which may still decide.
#[derive(Debug, Default)]
struct Groups {
    newest: Group,
    before: Group,
    /// The entry that made the newest.
    index: u64,
}

/// Voters, and those of the outgoing half of a joint configuration.
#[derive(Clone, Debug, Default)]
struct Group {
    voters: BTreeSet<u64>,
    outgoing: BTreeSet<u64>,
}

impl Group {
    fn has_quorum(&self, has: impl Fn(u64) -> bool) -> bool {
        let majority = |voters: &BTreeSet<u64>| {
            voters.is_empty() || 2 * voters.iter().filter(|id| has(**id)).count() > voters.len()
        };
        !self.voters.is_empty() && majority(&self.voters) && majority(&self.outgoing)
    }

    fn change(&mut self, kind: Kind, node: u64) {
        match kind {
            Kind::ConfChangeAddNode => {
                self.voters.insert(node);
            }
            Kind::ConfChangeRemoveNode | Kind::ConfChangeAddLearnerNode => {
                self.voters.remove(&node);
            }
            Kind::ConfChangeUpdateNode => {}
        }
    }
}

impl Groups {
    /// What a member is started with is news only if nothing is known: others may still decide as
    /// they did before the newest change.
    fn start(&mut self, state: &raftpb::ConfState, index: u64) {
        if self.newest.voters.is_empty() {
            self.newest.voters = state.voters.iter().copied().collect();
            self.newest.outgoing = state.voters_outgoing.iter().copied().collect();
            self.before = self.newest.clone();
            self.index = index;
        }
    }

    fn apply_entry(&mut self, entry: &Entry) {
        if entry.index.0 <= self.index || entry.kind == EntryKind::Normal {
            return;
        }
        let mut next = self.newest.clone();
        if entry.kind == EntryKind::ConfChange {
            let Ok(change) = raftpb::ConfChange::decode(entry.data.clone()) else { return };
            next.change(change.r#type(), change.node_id);
        } else {
            let Ok(change) = raftpb::ConfChangeV2::decode(entry.data.clone()) else { return };
            next.outgoing =
                if change.changes.len() > 1 { next.voters.clone() } else { BTreeSet::new() };
            for single in &change.changes {
                next.change(single.r#type(), single.node_id);
            }
        }
        let before = std::mem::replace(&mut self.newest, next);
        // A group that begins was never any smaller.
        self.before = if entry.term.0 > BOOTSTRAP_TERM { before } else { self.newest.clone() };
        self.index = entry.index.0;
    }
}

impl Observer for Raft {
    fn observe(&mut self, _at: Time, seen: &Seen) -> Result<(), Violation> {
        if let Seen::Role { member, role } = seen {
            self.terms.insert(*member, role.term.0);
        }
        let judged = match seen {
            Seen::Role { member, role } if role.is_leader => self.check_leader(*member, role.term),
            Seen::Proposed { member, id, term, .. } if id.is_of(*member) => {
                self.proposed.entry(*id).or_default().insert(term.0);
                Ok(())
            }
            Seen::Persisting { member, entries, .. } => self.check_entries(*member, entries),
            Seen::Committed { member, entries } => self.check_committed(*member, entries),
            _ => Ok(()),
        };
        self.logs.follow(seen);
        match seen {
            Seen::Started { member, log, stored, .. } => {
                self.handed.insert(*member, stored.index.0);
                self.groups.start(&log.mark.conf_state, log.mark.index.0);
                self.groups.start(&stored.conf_state, stored.index.0);
                self.forget_unheard(*member, log.hard_state.term);
            }
            Seen::Installed { member, mark } => {
                self.handed.insert(*member, mark.index.0);
            }
            _ => {}
        }
        judged.map_err(|what| wrong(NAME, what))
    }
}

impl Raft {
    fn check_leader(&mut self, member: MemberId, term: Term) -> Result<(), String> {
        let leader = *self.leaders.entry(term).or_insert(member);
        if leader != member {
            return Err(format!("term {term} has two leaders: {leader} and {member}"));
        }
        let Some((_, index)) = self.last_of_term.range(..term.0).next_back() else {
            return Ok(());
        };
        let log = &self.logs.of(member).accepted;
        let committed = self.committed.get(index).map(|entry| entry.term.0);
        if *index > log.mark() && log.term(*index) != committed {
            return Err(format!("leader {member} of term {term} lacks committed entry {index}"));
        }
        Ok(())
    }

    /// A sole voter leads before its term is on disk, and nobody hears of it until it is: what it
    /// wrote in a term that a crash took from it was never anybody's, and that term may begin
    /// again.
    fn forget_unheard(&mut self, member: MemberId, kept: Term) {
        if self.groups.newest.voters.iter().ne([&member.get()]) {
            return;
        }
        let leaders = &self.leaders;
        self.entries.retain(|(_, term), _| {
            *term <= kept.0 || leaders.get(&Term(*term)).is_none_or(|leader| *leader != member)
        });
    }

    fn check_entries(&mut self, member: MemberId, entries: &[Entry]) -> Result<(), String> {
        let mut before: Option<&Entry> = None;
        for entry in entries {
            let (index, term) = (entry.index.0, entry.term.0);
            let term_before = match before {
                Some(before) if before.index.next() == entry.index => Some(before.term.0),
                Some(before) => {
                    let before = before.index;
                    return Err(format!("member {member} writes entry {index} after {before}"));
                }
                None => self.logs.of(member).accepted.term(index - 1),
            };
            self.check_kept(member, entry)?;
            self.check_change(member, (entry, entries))?;
            if !self.entries.contains_key(&(index, term)) {
                self.check_proposed(entry)?;
            }
            let known = self.entries.entry((index, term));
            let known = known.or_insert_with(|| (entry.clone(), term_before));
            let is_same_before =
                known.1.is_none() || term_before.is_none() || known.1 == term_before;
            if known.0 != *entry || !is_same_before {
                return Err(format!(
                    "entry {index} of term {term} on member {member} differs from another's"
                ));
            }
            before = Some(entry);
        }
        Ok(())
    }

    /// Looked at where an entry is first written: whoever put it up may do so again, for the term
    /// it is in, before it hears of it.
    fn check_proposed(&self, entry: &Entry) -> Result<(), String> {
        let Some(id) = request_of(entry) else { return Ok(()) };
        let terms = self.proposed.get(&id);
        if terms.is_some_and(|terms| terms.contains(&entry.term.0)) {
            return Ok(());
        }
        let (index, term, terms) = (entry.index, entry.term, terms.into_iter().flatten());
        let terms: Vec<_> = terms.collect();
        Err(format!("entry {index} of term {term} was put up for terms {terms:?}"))
    }

    /// A change of the group is written only when the one before it is committed; what the same
    /// batch replaces is none before it.
    fn check_change(
        &mut self,
        member: MemberId,
        (entry, batch): (&Entry, &[Entry]),
    ) -> Result<(), String> {
        if entry.kind == EntryKind::Normal || entry.term.0 <= BOOTSTRAP_TERM {
            return Ok(());
        }
        let index = entry.index.0;
        let settled = self.committed.last_key_value().map_or(0, |(last, _)| *last);
        let log = &self.logs.of(member).accepted;
        let first = batch.first().map_or(index, |entry| entry.index.0);
        let term_at = |at: u64| match at.checked_sub(first) {
            Some(place) => batch.get(place as usize).map(|entry| entry.term.0),
            None => log.term(at),
        };
        let mut before = self.changes.range(settled + 1..index.max(settled + 1));
        if let Some((open, _)) = before.find(|(at, term)| term_at(**at) == Some(**term)) {
            return Err(format!(
                "member {member} writes change {index} while change {open} is not committed"
            ));
        }
        self.changes.insert(index, entry.term.0);
        Ok(())
    }

    /// What is committed is never replaced where it is held, nor by anything of the term it was
    /// committed in or a later one anywhere. Entries of earlier terms may come late: a leader that
    /// stood still writes its own before it learns that it was deposed, and one that hears late
    /// writes what it was sent.
    fn check_kept(&mut self, member: MemberId, entry: &Entry) -> Result<(), String> {
        let Some(committed) = self.committed.get(&entry.index.0) else { return Ok(()) };
        let (index, old, new) = (entry.index, committed.term, entry.term);
        let log = &self.logs.of(member).accepted;
        let is_held = log.mark() >= index.0 || log.term(index.0) == Some(old.0);
        let mut terms = self.last_of_term.iter().filter(|(_, last)| **last >= index.0);
        let is_late = terms.next().is_some_and(|(committed_in, _)| new.0 < *committed_in);
        if committed == entry || (is_late && !is_held) {
            return Ok(());
        }
        Err(format!("member {member} replaces committed entry {index} of term {old} by term {new}"))
    }

    fn check_committed(&mut self, member: MemberId, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let index = entry.index.0;
            let last = self.handed.entry(member).or_insert(index - 1);
            if index != *last + 1 {
                return Err(format!("member {member} hands out entry {index} after {last}"));
            }
            *last = index;
            if let Some(known) = self.committed.get(&index)
                && known != entry
            {
                let (a, b) = (known.term, entry.term);
                return Err(format!("entry {index} is committed twice: of term {a} and of {b}"));
            }
        }
        let Some(last) = entries.last().filter(|last| !self.committed.contains_key(&last.index.0))
        else {
            return Ok(());
        };
        self.check_quorum(member, last)?;
        let committed_in = self.terms.get(&member).copied().unwrap_or(0).max(last.term.0);
        self.last_of_term.insert(committed_in, last.index.0);
        for entry in entries {
            self.groups.apply_entry(entry);
            self.committed.insert(entry.index.0, entry.clone());
        }
        Ok(())
    }

    fn check_quorum(&self, member: MemberId, entry: &Entry) -> Result<(), String> {
        let (index, term) = (entry.index.0, entry.term.0);
        if term <= BOOTSTRAP_TERM {
            return Ok(());
        }
        let has = |id: u64| {
            self.logs.get(MemberId(id)).is_some_and(|log| {
                log.durable.term(index) == Some(term) || log.durable.mark() > index
            })
        };
        if self.groups.newest.has_quorum(has) || self.groups.before.has_quorum(has) {
            return Ok(());
        }
        let durable: Vec<u64> = self.logs.ids().map(|id| id.0).filter(|id| has(*id)).collect();
        let voters = &self.groups.newest.voters;
        Err(format!(
            "member {member} has entry {index} of term {term} committed, durable on {durable:x?} \
             of voters {voters:x?}"
        ))
    }
}

/// Whose proposal an entry is, if it is anybody's.
fn request_of(entry: &Entry) -> Option<RequestId> {
    let id = match entry.kind {
        EntryKind::Normal => {
            let request = pb::InternalRaftRequest::decode(entry.data.clone()).ok()?;
            request.header.map(|header| header.id)?
        }
        EntryKind::ConfChange => raftpb::ConfChange::decode(entry.data.clone()).ok()?.id,
        EntryKind::ConfChangeV2 => return None,
    };
    (id != 0).then_some(RequestId(id))
}

#[cfg(test)]
mod tests;
