//! Messages between the wire and the `raft` crate, field by field.
//!
//! Inwards is a border: the crate trusts what it is stepped with and panics on what no correct
//! peer sends. Everything it would stumble over is refused here.

use alloc::vec::Vec;

use ::raft::StateRole;
use ::raft::eraftpb::{self, MessageType as Inner};
use prost::Message as _;
use quorate_proto::raftpb::{self, MessageType as Wire};

use super::confchange::{encode_conf_state, parse_conf_state};
use crate::error::Misbehaviour;
use crate::ids::{LogIndex, MemberId, Term};
use crate::storage::{Entry, EntryKind, HardState, SnapshotMark};

/// Terms and indexes above this are nobody's: additions to smaller ones cannot overflow.
const NUMBER_MAX: u64 = 1 << 62;
/// Longest context of a read barrier.
const CONTEXT_BYTES_MAX: usize = 64;

/// What must be known of a member to judge a message to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) id: u64,
    pub(crate) term: u64,
    pub(crate) role: StateRole,
    pub(crate) leader: u64,
    pub(crate) last_index: u64,
    pub(crate) committed: u64,
    pub(crate) committed_term: u64,
    /// The newest term in which requests for votes have left this member.
    pub(crate) asked_votes_in: u64,
    /// Whether this member may stand for election now.
    pub(crate) may_campaign: bool,
    /// Whether no more entries can be taken for now.
    pub(crate) is_full: bool,
    /// How far the sender's log is known to match, if it is in the group.
    pub(crate) matched: Option<u64>,
}

impl Standing {
    /// Judges a message. `Ok(None)`: honest, and of no use now.
    pub(crate) fn parse(
        &self,
        from: MemberId,
        message: raftpb::Message,
    ) -> Result<Option<eraftpb::Message>, Misbehaviour> {
        let kind = parse_kind(message.r#type).ok_or(Misbehaviour::Malformed)?;
        self.check_address(from, &message)?;
        check_numbers(&message)?;
        if (kind == Inner::MsgReadIndex) != (message.term == 0) {
            return Err(Misbehaviour::Malformed);
        }
        match kind {
            Inner::MsgAppend => check_append(&message)?,
            Inner::MsgAppendResponse => self.check_append_response(&message)?,
            Inner::MsgSnapshot => self.check_snapshot(&message)?,
            Inner::MsgHeartbeat => self.check_heartbeat(&message)?,
            Inner::MsgPropose => self.check_proposal(&message)?,
            Inner::MsgReadIndex => self.check_read(&message)?,
            Inner::MsgRequestVoteResponse => self.check_vote(&message)?,
            _ => {}
        }
        if self.ignores(kind, &message) {
            return Ok(None);
        }
        let is_answer = matches!(
            kind,
            Inner::MsgAppendResponse
                | Inner::MsgHeartbeatResponse
                | Inner::MsgRequestVoteResponse
                | Inner::MsgRequestPreVoteResponse
        );
        let is_forward = matches!(kind, Inner::MsgPropose | Inner::MsgReadIndex);
        if (is_answer || is_forward) && self.matched.is_none() {
            return Err(Misbehaviour::Stranger);
        }
        parse_message(kind, message).map(Some)
    }

    fn check_address(&self, from: MemberId, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        if message.to != self.id && !crate::planted!("message-for-another") {
            return Err(Misbehaviour::Misdelivered);
        }
        if message.from != from.get() || message.from == 0 || message.from == self.id {
            return Err(Misbehaviour::Inconsistent);
        }
        Ok(())
    }

    /// A peer cannot hold what this leader never had; the crate would count it.
    fn check_append_response(&self, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        // Who asks for an image asks for what the leader has.
        if message.request_snapshot != 0 && !message.reject {
            return Err(Misbehaviour::Malformed);
        }
        if self.is_current_leader(message) && message.request_snapshot > self.last_index {
            return Err(Misbehaviour::Inconsistent);
        }
        if self.is_current_leader(message) && !message.reject && message.index > self.last_index {
            return Err(Misbehaviour::Inconsistent);
        }
        Ok(())
    }

    fn is_current_leader(&self, message: &raftpb::Message) -> bool {
        self.role == StateRole::Leader && message.term == self.term
    }

    fn check_heartbeat(&self, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        if message.term >= self.term && message.commit > self.last_index {
            return Err(Misbehaviour::Inconsistent);
        }
        Ok(())
    }

    fn check_snapshot(&self, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        let metadata = message
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.metadata.as_ref())
            .ok_or(Misbehaviour::Malformed)?;
        if metadata.index == 0 || metadata.term == 0 || metadata.term > message.term {
            return Err(Misbehaviour::Inconsistent);
        }
        if metadata.index == self.committed && metadata.term != self.committed_term {
            return Err(Misbehaviour::Inconsistent);
        }
        Ok(())
    }

    fn check_proposal(&self, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        if message.entries.is_empty() {
            return Err(Misbehaviour::Malformed);
        }
        let is_readable = |entry: &raftpb::Entry| match entry.r#type() {
            raftpb::EntryType::EntryNormal => true,
            raftpb::EntryType::EntryConfChange => {
                raftpb::ConfChange::decode(entry.data.clone()).is_ok()
            }
            raftpb::EntryType::EntryConfChangeV2 => {
                raftpb::ConfChangeV2::decode(entry.data.clone()).is_ok()
            }
        };
        if message.entries.iter().all(is_readable) {
            return Ok(());
        }
        Err(Misbehaviour::Malformed)
    }

    fn check_read(&self, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        match message.entries.as_slice() {
            [one] if (1..=CONTEXT_BYTES_MAX).contains(&one.data.len()) => Ok(()),
            _ => Err(Misbehaviour::Malformed),
        }
    }

    /// A vote nobody asked for: had it counted, this member would lead before its own vote and
    /// log are on disk.
    fn check_vote(&self, message: &raftpb::Message) -> Result<(), Misbehaviour> {
        let is_counted = self.role == StateRole::Candidate && message.term == self.term;
        if is_counted && self.asked_votes_in != self.term {
            return Err(Misbehaviour::Inconsistent);
        }
        Ok(())
    }

    fn ignores(&self, kind: Inner, message: &raftpb::Message) -> bool {
        match kind {
            // Passed on a second time they would bear a sender who did not send them. A proposal
            // is for one term: its sender counts on it that no other leader takes it later.
            Inner::MsgPropose => {
                let is_stale =
                    message.term != self.term && !crate::planted!("stale-proposal-taken");
                self.role != StateRole::Leader || is_stale
            }
            Inner::MsgReadIndex => self.role != StateRole::Leader,
            // Only the leader this member follows can answer what it asked.
            Inner::MsgReadIndexResp => message.term != self.term || message.from != self.leader,
            // The leader sends it again; what replaces a tail is taken, or it would stay for ever.
            Inner::MsgAppend => {
                let extends = message.index >= self.last_index && !message.entries.is_empty();
                self.is_full && message.term >= self.term && extends
            }
            // Late: the crate would probe below what it knows to match. Who asks for an image of
            // what it has rejects nothing.
            Inner::MsgAppendResponse => {
                let is_known = self.matched.is_some_and(|matched| message.index <= matched);
                let is_late = message.reject && is_known && message.request_snapshot == 0;
                self.is_current_leader(message) && is_late
            }
            Inner::MsgTimeoutNow | Inner::MsgRequestPreVoteResponse => !self.may_campaign,
            _ => false,
        }
    }
}

fn check_numbers(message: &raftpb::Message) -> Result<(), Misbehaviour> {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    let numbers = [
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
        message.request_snapshot,
        metadata.map_or(0, |metadata| metadata.index),
        metadata.map_or(0, |metadata| metadata.term),
    ];
    if numbers.iter().any(|&number| number > NUMBER_MAX) {
        return Err(Misbehaviour::Inconsistent);
    }
    Ok(())
}

/// Entries follow the one named before them, without gaps, in terms that never fall.
fn check_append(message: &raftpb::Message) -> Result<(), Misbehaviour> {
    // The crate takes term 0 for "unknown" and lets it match beyond the log's end.
    let mut is_sound =
        (message.index == 0) == (message.log_term == 0) && message.log_term <= message.term;
    let (mut index, mut term) = (message.index, message.log_term.max(1));
    for entry in &message.entries {
        index += 1;
        is_sound &= entry.index == index && (term..=message.term).contains(&entry.term);
        term = entry.term;
    }
    if is_sound { Ok(()) } else { Err(Misbehaviour::Inconsistent) }
}

/// Kinds that travel, by their numbers, which both sides share.
const KINDS: [(Wire, Inner); 13] = [
    (Wire::MsgProp, Inner::MsgPropose),
    (Wire::MsgApp, Inner::MsgAppend),
    (Wire::MsgAppResp, Inner::MsgAppendResponse),
    (Wire::MsgVote, Inner::MsgRequestVote),
    (Wire::MsgVoteResp, Inner::MsgRequestVoteResponse),
    (Wire::MsgSnap, Inner::MsgSnapshot),
    (Wire::MsgHeartbeat, Inner::MsgHeartbeat),
    (Wire::MsgHeartbeatResp, Inner::MsgHeartbeatResponse),
    (Wire::MsgTimeoutNow, Inner::MsgTimeoutNow),
    (Wire::MsgReadIndex, Inner::MsgReadIndex),
    (Wire::MsgReadIndexResp, Inner::MsgReadIndexResp),
    (Wire::MsgPreVote, Inner::MsgRequestPreVote),
    (Wire::MsgPreVoteResp, Inner::MsgRequestPreVoteResponse),
];

fn parse_kind(number: i32) -> Option<Inner> {
    KINDS.iter().find(|(wire, _)| *wire as i32 == number).map(|&(_, inner)| inner)
}

fn encode_kind(kind: Inner) -> Option<Wire> {
    KINDS.iter().find(|(_, inner)| *inner == kind).map(|&(wire, _)| wire)
}

/// The sender's priority is left behind: all members are equal, and a member without a term cannot
/// refuse a vote for its sake without panicking.
fn parse_message(kind: Inner, message: raftpb::Message) -> Result<eraftpb::Message, Misbehaviour> {
    let mut parsed = eraftpb::Message::default();
    parsed.set_msg_type(kind);
    parsed.to = message.to;
    parsed.from = message.from;
    // The crate knows proposals without a term only.
    parsed.term = if kind == Inner::MsgPropose { 0 } else { message.term };
    parsed.log_term = message.log_term;
    parsed.index = message.index;
    parsed.commit = message.commit;
    parsed.commit_term = message.commit_term;
    parsed.reject = message.reject;
    parsed.reject_hint = message.reject_hint;
    parsed.request_snapshot = message.request_snapshot;
    parsed.context = message.context;
    let entries: Option<Vec<_>> = message.entries.into_iter().map(parse_entry).collect();
    parsed.set_entries(entries.ok_or(Misbehaviour::Malformed)?.into());
    if kind == Inner::MsgSnapshot {
        let metadata = message.snapshot.and_then(|snapshot| snapshot.metadata);
        let snapshot = metadata.as_ref().and_then(parse_snapshot);
        parsed.set_snapshot(snapshot.ok_or(Misbehaviour::Malformed)?);
    }
    Ok(parsed)
}

fn parse_snapshot(metadata: &raftpb::SnapshotMetadata) -> Option<eraftpb::Snapshot> {
    let mut snapshot = eraftpb::Snapshot::default();
    let parsed = snapshot.mut_metadata();
    parsed.index = metadata.index;
    parsed.term = metadata.term;
    parsed.set_conf_state(parse_conf_state(metadata.conf_state.as_ref()?)?);
    Some(snapshot)
}

fn parse_entry(entry: raftpb::Entry) -> Option<eraftpb::Entry> {
    let mut parsed = eraftpb::Entry::default();
    parsed.set_entry_type(match raftpb::EntryType::try_from(entry.r#type).ok()? {
        raftpb::EntryType::EntryNormal => eraftpb::EntryType::EntryNormal,
        raftpb::EntryType::EntryConfChange => eraftpb::EntryType::EntryConfChange,
        raftpb::EntryType::EntryConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    });
    parsed.term = entry.term;
    parsed.index = entry.index;
    parsed.data = entry.data;
    Some(parsed)
}

/// The crate's message for the wire; `None` for kinds that never travel. A proposal is bound to
/// `term`, in which it is passed on.
pub(crate) fn encode_message(mut message: eraftpb::Message, term: u64) -> Option<raftpb::Message> {
    let kind = encode_kind(message.get_msg_type())?;
    let snapshot = message.has_snapshot().then(|| {
        let metadata = message.get_snapshot().get_metadata();
        raftpb::Snapshot {
            metadata: Some(raftpb::SnapshotMetadata {
                conf_state: Some(encode_conf_state(metadata.get_conf_state())),
                index: metadata.index,
                term: metadata.term,
            }),
            ..raftpb::Snapshot::default()
        }
    });
    Some(raftpb::Message {
        r#type: kind as i32,
        to: message.to,
        from: message.from,
        term: if kind == Wire::MsgProp { term } else { message.term },
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().into_iter().map(encode_entry).collect(),
        commit: message.commit,
        snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.take_context(),
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        commit_term: message.commit_term,
    })
}

fn encode_entry(entry: eraftpb::Entry) -> raftpb::Entry {
    raftpb::Entry {
        r#type: entry.get_entry_type() as i32,
        term: entry.term,
        index: entry.index,
        data: entry.data,
    }
}

/// An entry as the log and `State` know it.
pub(crate) fn export_entry(entry: &eraftpb::Entry) -> Entry {
    Entry {
        term: Term(entry.term),
        index: LogIndex(entry.index),
        kind: match entry.get_entry_type() {
            eraftpb::EntryType::EntryNormal => EntryKind::Normal,
            eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
            eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
        },
        data: entry.data.clone(),
    }
}

/// An entry as the crate knows it.
pub(crate) fn import_entry(entry: &Entry) -> eraftpb::Entry {
    let mut imported = eraftpb::Entry::default();
    imported.set_entry_type(match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    });
    imported.term = entry.term.get();
    imported.index = entry.index.get();
    imported.data = entry.data.clone();
    imported
}

/// Term, vote and commit as the log knows them.
pub(crate) fn export_hard_state(hard: &eraftpb::HardState) -> HardState {
    HardState { term: Term(hard.term), vote: hard.vote, commit: LogIndex(hard.commit) }
}

/// An image's place, from the crate.
pub(crate) fn export_mark(snapshot: &eraftpb::Snapshot) -> SnapshotMark {
    let metadata = snapshot.get_metadata();
    SnapshotMark {
        index: LogIndex(metadata.index),
        term: Term(metadata.term),
        conf_state: encode_conf_state(metadata.get_conf_state()),
    }
}

/// An image's place, for the crate; `None` if its group is impossible.
pub(crate) fn import_mark(mark: &SnapshotMark) -> Option<eraftpb::Snapshot> {
    parse_snapshot(&raftpb::SnapshotMetadata {
        conf_state: Some(mark.conf_state.clone()),
        index: mark.index.get(),
        term: mark.term.get(),
    })
}

/// Brings messages into one order on every machine, and lets appends that follow one another
/// leave as one.
pub(crate) fn order_messages(
    mut messages: Vec<raftpb::Message>,
    bytes_max: usize,
) -> Vec<raftpb::Message> {
    messages.sort_by_key(|message| (message.to, message.r#type, message.term, message.index));
    let mut ordered: Vec<raftpb::Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let rest = match ordered.last_mut() {
            Some(last) => merge_append(last, message, bytes_max),
            None => Some(message),
        };
        ordered.extend(rest);
    }
    ordered
}

/// Joins `next` to `last` if it continues it; gives it back if it does not.
fn merge_append(
    last: &mut raftpb::Message,
    next: raftpb::Message,
    bytes_max: usize,
) -> Option<raftpb::Message> {
    let is_pair = last.r#type == Wire::MsgApp as i32
        && (last.to, last.r#type, last.term) == (next.to, next.r#type, next.term);
    if !is_pair {
        return Some(next);
    }
    let bytes = |message: &raftpb::Message| -> usize {
        message.entries.iter().map(|entry| entry.data.len()).sum()
    };
    let (end, end_term) =
        last.entries.last().map_or((last.index, last.log_term), |entry| (entry.index, entry.term));
    let continues = (next.index, next.log_term) == (end, end_term);
    let repeats = (next.index, next.log_term) == (last.index, last.log_term);
    if !(continues || repeats && next.entries.is_empty()) {
        return Some(next);
    }
    if !last.entries.is_empty() && bytes(last) + bytes(&next) > bytes_max {
        return Some(next);
    }
    last.commit = last.commit.max(next.commit);
    last.entries.extend(next.entries);
    None
}

#[cfg(test)]
mod tests;
