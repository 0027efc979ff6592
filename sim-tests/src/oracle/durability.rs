//! What was durable stays, and nothing is promised before it is durable (oracle 4).
//!
//! - a started member finds every entry, the term and the vote it had made durable, and a store no
//!   older than what was synced;
//! - a vote never changes within a term, and a term never goes back;
//! - a granted vote and an acknowledged append leave a member only when they are durable;
//! - the store is never ahead of what is known to be committed.
//!
//! That an answered write is in the committed log is held by [`linear`](super::linear); that a
//! committed entry is durable on a quorum by [`raft`](super::raft).

use std::collections::BTreeMap;

use quorate_core::ids::MemberId;
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark};
use quorate_core::time::Time;
use quorate_io_sim::world::observe::{Observer, Seen, Sent, Violation};
use quorate_proto::raftpb::MessageType;

use super::logs::{Log, Logs};
use super::wrong;

const NAME: &str = "durability";

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Durability {
    logs: Logs,
    /// Term and vote each member wrote last, durable or not.
    written: BTreeMap<MemberId, HardState>,
    synced: BTreeMap<MemberId, u64>,
    committed: u64,
}

impl Observer for Durability {
    fn observe(&mut self, _at: Time, seen: &Seen) -> Result<(), Violation> {
        let judged = match seen {
            Seen::Started { member, log, stored, .. } => self.check_start(*member, log, stored),
            Seen::Persisting { member, hard_state: Some(state), .. } => {
                self.check_vote(*member, *state)
            }
            Seen::Sent(sent) if !sent.reject => self.check_sent(*sent),
            Seen::Synced { member, index } => self.check_synced(*member, index.0),
            Seen::Committed { entries, .. } => {
                let last = entries.last().map_or(0, |entry| entry.index.0);
                self.committed = self.committed.max(last);
                Ok(())
            }
            _ => Ok(()),
        };
        self.logs.follow(seen);
        judged.map_err(|what| wrong(NAME, what))
    }
}

impl Durability {
    fn check_start(
        &mut self,
        member: MemberId,
        found: &LogContents,
        stored: &SnapshotMark,
    ) -> Result<(), String> {
        let synced = self.synced.get(&member).copied().unwrap_or(0);
        self.committed = self.committed.max(found.hard_state.commit.0).max(stored.index.0);
        self.written.insert(member, found.hard_state);
        let kept = &*self.logs.of(member);
        let Log { durable: log, hard_state: had, .. } = kept;
        if stored.index.0 < synced {
            let index = stored.index;
            return Err(format!("member {member} had its store at {synced}, found it at {index}"));
        }
        let has = found.hard_state;
        if has.term < had.term || has.term == had.term && had.vote != 0 && has.vote != had.vote {
            let (had, has) = (describe(*had), describe(has));
            return Err(format!("member {member} had {had} on disk, found {has}"));
        }
        let end = found.entries.last().map_or(found.mark.index.0, |entry| entry.index.0);
        let is_overwritten = found.entries.last().is_some_and(|entry| kept.is_writing(entry));
        if end < log.last() && !is_overwritten {
            let had = log.last();
            return Err(format!("member {member} had entries up to {had} on disk, found {end}"));
        }
        let is_older = |entry: &&Entry| {
            log.term(entry.index.0).is_some_and(|term| term > entry.term.0)
                && !kept.is_writing(entry)
        };
        let older = found.entries.iter().find(is_older);
        match older {
            Some(entry) => {
                let index = entry.index;
                Err(format!("member {member} found an older entry {index} than it had on disk"))
            }
            None => Ok(()),
        }
    }

    fn check_vote(&mut self, member: MemberId, next: HardState) -> Result<(), String> {
        let last = self.written.insert(member, next).unwrap_or_default();
        let is_changed = next.term == last.term && last.vote != 0 && next.vote != last.vote;
        if next.term < last.term || is_changed {
            let (last, next) = (describe(last), describe(next));
            return Err(format!("member {member} goes from {last} to {next}"));
        }
        Ok(())
    }

    fn check_sent(&mut self, sent: Sent) -> Result<(), String> {
        let committed = self.committed;
        let log = self.logs.of(sent.from);
        let Sent { from, to, term, index, .. } = sent;
        let state = log.hard_state;
        let kept = describe(state);
        match sent.kind {
            MessageType::MsgVoteResp
                if state.term < term || state.term == term && state.vote != to.0 =>
            {
                Err(format!("member {from} votes for {to} in term {term}, but its disk has {kept}"))
            }
            MessageType::MsgVote if state.term < term => {
                Err(format!("member {from} stands in term {term}, but its disk has {kept}"))
            }
            // To a leader whose successor's entries, which cut the log, were written with its own.
            MessageType::MsgAppResp if term < state.term && index.0 <= log.reached(term) => Ok(()),
            MessageType::MsgAppResp if index.0 > log.durable.last().max(committed) => {
                let last = log.durable.last();
                Err(format!("member {from} acknowledges entry {index}, its disk ends at {last}"))
            }
            _ => Ok(()),
        }
    }

    fn check_synced(&mut self, member: MemberId, index: u64) -> Result<(), String> {
        self.synced.insert(member, index);
        if index > self.committed {
            let committed = self.committed;
            return Err(format!("member {member} stored up to {index}, committed is {committed}"));
        }
        Ok(())
    }
}

fn describe(state: HardState) -> String {
    format!("term {} with a vote for {:x}", state.term, state.vote)
}

#[cfg(test)]
mod tests;
