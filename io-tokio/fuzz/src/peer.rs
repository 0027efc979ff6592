//! A member of a group of three that is told lies: the two others are the input.
//!
//! A record's kind is one of [`Kind`]. Messages are protobuf behind a byte that says who sends
//! them and which of their numbers are meant relative to what the member is at, so that lies come
//! close to the truth.
//!
//! Beside what [`member`](crate::member) asserts: nothing the others say makes the member halt, but
//! an image whose rows are made up; and what it wrote down meanwhile can be opened.

use std::time::Duration;

use prost::Message as _;
use quorate_core::ids::{MemberId, Term};
use quorate_core::input::ReplicaInput;
use quorate_core::peer::{Message, PeerMessage};
use quorate_core::storage::{Table, Write};
use quorate_proto::raftpb::{self, MessageType};

use crate::client::{self, decoded};
use crate::member::Member;
use crate::records::{self, Record};

/// Entries an image may be ahead.
const AHEAD_MAX: u8 = 32;
/// Wakes in one passing of time.
const WAKES_MAX: usize = 200;

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another member's raft message; see [`Lie`].
    Raft,
    /// Any message: the sender, then a `PeerMessage`.
    Any,
    /// The others answer what they were sent last, honestly: bit 0 member 2, bit 1 member 3.
    Answer,
    /// An image: the sender, how far it is ahead, the term on top, then rows to change.
    Image,
    /// A client's request: its kind, its message.
    Call,
    /// A client's read.
    Read,
    /// Time passes: so many times 100 milliseconds.
    Wait,
    /// Slow disks: bit 0 the log, bit 1 the store.
    Slow,
    /// What the transport tells of messages and images: the member, what.
    Told,
    /// Power fails.
    Restart,
}

impl Kind {
    /// Every kind; a record's number is taken modulo how many there are.
    pub const ALL: [Self; 10] = [
        Self::Raft,
        Self::Any,
        Self::Answer,
        Self::Image,
        Self::Call,
        Self::Read,
        Self::Wait,
        Self::Slow,
        Self::Told,
        Self::Restart,
    ];
}

/// The bits of the byte before a raft message, beside the sender in the lowest three.
pub enum Lie {}

impl Lie {
    /// It is addressed as it should be.
    pub const ADDRESSED: u8 = 1 << 3;
    /// Its term is on top of the member's.
    pub const TERM: u8 = 1 << 4;
    /// Its index and commit are on top of the member's last.
    pub const INDEX: u8 = 1 << 5;
    /// Its entries follow that index, and are of its term.
    pub const ENTRIES: u8 = 1 << 6;
    /// The entry before them is named as the member knows it.
    pub const LOG_TERM: u8 = 1 << 7;
}

/// Runs an input.
pub fn run(input: &[u8]) {
    let mut member = Member::start(3);
    for record in records::read(input) {
        carry_out(&mut member, &record);
        if member.has_ended() {
            return;
        }
    }
    member.wait(Duration::from_secs(10), WAKES_MAX);
    member.restart();
}

fn carry_out(member: &mut Member, record: &Record) {
    let kind = Kind::ALL[usize::from(record.kind) % Kind::ALL.len()];
    let (first, rest) = record.body.split_first().map_or((0, &[][..]), |(it, rest)| (*it, rest));
    let from = MemberId(u64::from(first & 7));
    match kind {
        Kind::Raft => decoded(rest, |message| {
            let message = put_right(member, first, message);
            member.deliver(from, Message::Raft(message), None);
        }),
        Kind::Any => decoded(rest, |message: PeerMessage| {
            if let Some(message) = message.message {
                member.deliver(from, message, None);
            }
        }),
        Kind::Answer => answer_honestly(member, first),
        Kind::Image => send_image(member, from, rest),
        Kind::Call => {
            let kinds = client::Kind::ALL;
            if let Some(request) = client::request_of(kinds[usize::from(first) % kinds.len()], rest)
            {
                member.request(request);
            }
        }
        Kind::Read => drop(member.read()),
        Kind::Wait => member.wait(u32::from(first) * Duration::from_millis(100), WAKES_MAX),
        Kind::Slow => {
            member.slow.log = first & 1 != 0;
            member.slow.store = first & 2 != 0;
            member.settle();
        }
        Kind::Told => member.tell_replica(told(from, rest.first().copied().unwrap_or(0))),
        Kind::Restart => member.restart(),
    }
}

fn told(member: MemberId, what: u8) -> ReplicaInput {
    match what % 4 {
        0 => ReplicaInput::SnapshotSent { to: member, delivered: true },
        1 => ReplicaInput::SnapshotSent { to: member, delivered: false },
        2 => ReplicaInput::Unreachable { to: member },
        _ => ReplicaInput::TransferLeader { to: Some(member) },
    }
}

/// Makes numbers absolute, as the bits say.
fn put_right(member: &Member, how: u8, mut message: raftpb::Message) -> raftpb::Message {
    let (last, last_term) = member.last;
    let has = |bit: u8| how & bit != 0;
    if has(Lie::ADDRESSED) {
        (message.from, message.to) = (u64::from(how & 7), 1);
    }
    if has(Lie::TERM) {
        message.term = message.term.saturating_add(member.role.term.get());
    }
    if has(Lie::INDEX) {
        message.index = message.index.saturating_add(last.get());
        message.commit = message.commit.saturating_add(last.get());
    }
    if has(Lie::LOG_TERM) {
        message.log_term = last_term.get();
    }
    if has(Lie::ENTRIES) {
        let term = message.term;
        for (entry, number) in message.entries.iter_mut().zip(1..) {
            (entry.index, entry.term) = (message.index.saturating_add(number), term);
        }
    }
    message
}

/// What honest members would say to the messages they were sent.
fn answer_honestly(member: &mut Member, who: u8) {
    for (to, message) in std::mem::take(&mut member.sent) {
        let Some(Message::Raft(asked)) = message.message else { continue };
        if who & 1 << to.get().saturating_sub(2).min(7) == 0 {
            continue;
        }
        if asked.r#type() == MessageType::MsgSnap {
            member.tell_replica(ReplicaInput::SnapshotSent { to, delivered: true });
        }
        if let Some(answer) = honest_answer(member, asked) {
            member.deliver(to, Message::Raft(answer), None);
        }
    }
}

fn honest_answer(member: &Member, asked: raftpb::Message) -> Option<raftpb::Message> {
    let (last, last_term) = member.last;
    let mut answer = raftpb::Message {
        from: asked.to,
        to: asked.from,
        term: asked.term,
        ..raftpb::Message::default()
    };
    let kind = match asked.r#type() {
        MessageType::MsgVote => MessageType::MsgVoteResp,
        MessageType::MsgPreVote => MessageType::MsgPreVoteResp,
        MessageType::MsgHeartbeat => {
            answer.context = asked.context;
            MessageType::MsgHeartbeatResp
        }
        MessageType::MsgApp => {
            answer.index = asked.index + asked.entries.len() as u64;
            MessageType::MsgAppResp
        }
        MessageType::MsgSnap => {
            answer.index = asked.snapshot?.metadata?.index;
            MessageType::MsgAppResp
        }
        MessageType::MsgReadIndex => {
            (answer.term, answer.index) = (member.role.term.get(), last.get());
            answer.entries = asked.entries;
            MessageType::MsgReadIndexResp
        }
        // The leader takes it.
        MessageType::MsgProp => {
            (answer.index, answer.log_term) = (last.get(), last_term.get());
            answer.commit = last.get() + asked.entries.len() as u64;
            answer.entries = asked.entries;
            for (entry, number) in answer.entries.iter_mut().zip(1..) {
                (entry.index, entry.term) = (last.get() + number, answer.term);
            }
            MessageType::MsgApp
        }
        _ => return None,
    };
    answer.set_type(kind);
    Some(answer)
}

/// An image of what the member itself holds, some entries on; and made up, if rows follow.
fn send_image(member: &mut Member, from: MemberId, body: &[u8]) {
    let [ahead, term, rows @ ..] = body else { return };
    // Made of what is stored: were that less than what is applied, it would be made up as well.
    member.slow.store = false;
    member.settle();
    let term = Term(member.role.term.get() + u64::from(*term));
    let (mark, mut content) = member.advanced_image(term, u64::from(ahead % AHEAD_MAX));
    let writes = parse_rows(rows);
    member.is_tainted |= !writes.is_empty();
    content.apply(&writes);
    let metadata = raftpb::SnapshotMetadata {
        conf_state: Some(mark.conf_state),
        index: mark.index.get(),
        term: mark.term.get(),
    };
    let snapshot = raftpb::Snapshot { metadata: Some(metadata), ..raftpb::Snapshot::default() };
    let mut announce = raftpb::Message {
        from: from.get(),
        to: 1,
        term: term.get(),
        snapshot: Some(snapshot),
        ..raftpb::Message::default()
    };
    announce.set_type(MessageType::MsgSnap);
    member.deliver(from, Message::Raft(announce), Some(content));
}

/// Rows: the table, the key's length and the key, the value's length and the value. A row without
/// a value is removed.
fn parse_rows(mut bytes: &[u8]) -> Vec<Write> {
    let mut writes = Vec::new();
    while let [table, rest @ ..] = bytes {
        let (key, rest) = take_part(rest);
        let (value, rest) = take_part(rest);
        bytes = rest;
        let Some(table) = Table::from_number(u32::from(*table)) else { continue };
        let value = (!value.is_empty()).then(|| bytes::Bytes::copy_from_slice(value));
        writes.push(Write { table, key: bytes::Bytes::copy_from_slice(key), value });
    }
    writes
}

fn take_part(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return (&[], &[]) };
    rest.split_at(usize::from(*length).min(rest.len()))
}

/// A record of a raft message; for those who write inputs by hand.
pub fn raft(how: u8, message: &raftpb::Message) -> Record {
    Record::new(Kind::Raft as u8, [&[how], &message.encode_to_vec()[..]].concat())
}

#[cfg(test)]
mod tests {
    use quorate_core::error::Misbehaviour;

    use super::*;

    /// From member 2, its numbers on top of the member's.
    const CLOSE: u8 = 2 | Lie::ADDRESSED | Lie::TERM | Lie::INDEX;

    /// What is said of one lie to a member that follows in a term of its own.
    fn refused(how: u8, kind: MessageType, message: raftpb::Message) -> Vec<Misbehaviour> {
        let mut member = Member::start(3);
        let mut message = raftpb::Message { term: 1, ..message };
        message.set_type(kind);
        carry_out(&mut member, &raft(how, &message));
        member.refused
    }

    #[test]
    fn lies_of_every_kind_reach_the_fence_that_refuses_them() {
        let nothing = raftpb::Message::default;
        let entry = |index, term| raftpb::Entry { index, term, ..raftpb::Entry::default() };
        let beyond = raftpb::Message { commit: 1, ..nothing() };
        assert_eq!(refused(CLOSE, MessageType::MsgHeartbeat, beyond), [Misbehaviour::Inconsistent]);
        let gap = raftpb::Message { entries: vec![entry(1 << 40, 1)], ..nothing() };
        let how = CLOSE | Lie::LOG_TERM;
        assert_eq!(refused(how, MessageType::MsgApp, gap), [Misbehaviour::Inconsistent]);
        assert_eq!(refused(CLOSE, MessageType::MsgSnap, nothing()), [Misbehaviour::Malformed]);
        assert_eq!(refused(CLOSE, MessageType::MsgProp, nothing()), [Misbehaviour::Malformed]);
        let stranger = refused(2 | Lie::TERM, MessageType::MsgHeartbeat, nothing());
        assert_eq!(stranger, [Misbehaviour::Misdelivered]);
        // The truth is not refused.
        assert_eq!(refused(CLOSE, MessageType::MsgHeartbeat, nothing()), []);
    }
}
