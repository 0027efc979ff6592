//! The forms of the values that inputs and outputs are made of.

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::peer::PeerMessage;

use super::Canonical;
use crate::auth::Identity;
use crate::ids::{
    BarrierId, LeaseId, LogIndex, MemberId, RequestId, Revision, StreamId, Term, Token, WatchId,
};
use crate::input::{Followers, MemberAddition, Request, Role};
use crate::output::{Note, Persist, Response};
use crate::storage::{Entry, EntryKind, HardState, SnapshotMark, Write};
use crate::time::Duration;
use crate::view::View;

macro_rules! integers {
    ($($name:ty),*) => {$(
        impl Canonical for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
integers!(u8, u32, u64, i64);

macro_rules! numbers {
    ($($name:ident),*) => {$(
        impl Canonical for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }
    )*};
}
numbers!(
    Term, LogIndex, Revision, LeaseId, WatchId, StreamId, Token, RequestId, BarrierId, MemberId
);

impl Canonical for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Canonical for usize {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self as u64).encode(out);
    }
}

impl Canonical for Duration {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_secs().encode(out);
        self.subsec_nanos().encode(out);
    }
}

impl Canonical for [u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        self.len().encode(out);
        out.extend_from_slice(self);
    }
}

impl Canonical for str {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_bytes().encode(out);
    }
}

impl Canonical for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_ref().encode(out);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.encode(out);
            }
        }
    }
}

/// A list: its length, then each.
pub(super) fn encode_all<T: Canonical>(all: &[T], out: &mut Vec<u8>) {
    all.len().encode(out);
    for one in all {
        one.encode(out);
    }
}

/// A message: room for its length, then its bytes on the wire, which are a function of its value
/// because no message has a map.
pub(super) fn encode_message(message: &impl prost::Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    message.encode_raw(out);
    let bytes = out.len() - start - 4;
    out[start..start + 4].copy_from_slice(&(bytes as u32).to_le_bytes());
}

impl Canonical for PeerMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_message(self, out);
    }
}

impl Canonical for EntryKind {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
}

impl Canonical for Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        self.index.encode(out);
        self.kind.encode(out);
        self.data.encode(out);
    }
}

impl Canonical for HardState {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        self.vote.encode(out);
        self.commit.encode(out);
    }
}

impl Canonical for SnapshotMark {
    fn encode(&self, out: &mut Vec<u8>) {
        self.index.encode(out);
        self.term.encode(out);
        encode_message(&self.conf_state, out);
    }
}

impl Canonical for Identity {
    fn encode(&self, out: &mut Vec<u8>) {
        self.user.as_bytes().encode(out);
        self.revision.encode(out);
    }
}

impl Canonical for Role {
    fn encode(&self, out: &mut Vec<u8>) {
        self.term.encode(out);
        self.leader.encode(out);
        self.is_leader.encode(out);
    }
}

impl Canonical for Followers {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_all(&self.active, out);
        encode_all(&self.in_sync, out);
    }
}

impl Canonical for Write {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.table as u8);
        self.key.encode(out);
        self.value.encode(out);
    }
}

impl Canonical for Persist {
    fn encode(&self, out: &mut Vec<u8>) {
        self.number.encode(out);
        self.hard_state.encode(out);
        encode_all(&self.entries, out);
        self.snapshot.encode(out);
        self.must_sync.encode(out);
    }
}

impl Canonical for View {
    fn encode(&self, out: &mut Vec<u8>) {
        self.facts.applied.encode(out);
        self.facts.committed.encode(out);
        self.facts.role.encode(out);
    }
}

impl Canonical for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        let (number, message): (u8, &dyn Wire) = match self {
            Self::Put(m) => (0, m),
            Self::DeleteRange(m) => (1, m),
            Self::Txn(m) => (2, m),
            Self::Compact(m) => (3, m),
            Self::LeaseGrant(m) => (4, m),
            Self::LeaseRevoke(m) => (5, m),
            Self::LeaseKeepAlive(m) => (6, m),
            Self::LeaseTimeToLive(m) => (7, m),
            Self::LeaseLeases(m) => (8, m),
            Self::Alarm(m) => (9, m),
            Self::MoveLeader(m) => (10, m),
            Self::MemberAdd(m) => (11, m),
            Self::MemberRemove(m) => (12, m),
            Self::MemberUpdate(m) => (13, m),
            Self::MemberPromote(m) => (14, m),
            Self::Downgrade(m) => (15, m),
            Self::Auth(m) => (16, m),
        };
        out.push(number);
        message.wire(out);
    }
}

impl Canonical for Response {
    fn encode(&self, out: &mut Vec<u8>) {
        let (number, message): (u8, &dyn Wire) = match self {
            Self::Put(m) => (0, m),
            Self::DeleteRange(m) => (1, m),
            Self::Txn(m) => (2, m),
            Self::Compact(m) => (3, m),
            Self::LeaseGrant(m) => (4, m),
            Self::LeaseRevoke(m) => (5, m),
            Self::LeaseKeepAlive(m) => (6, m),
            Self::LeaseTimeToLive(m) => (7, m),
            Self::LeaseLeases(m) => (8, m),
            Self::Alarm(m) => (9, m),
            Self::MoveLeader(m) => (10, m),
            Self::MemberAdd(m) => (11, m),
            Self::MemberRemove(m) => (12, m),
            Self::MemberUpdate(m) => (13, m),
            Self::MemberPromote(m) => (14, m),
            Self::Downgrade(m) => (15, m),
            Self::Auth(m) => (16, m),
        };
        out.push(number);
        message.wire(out);
    }
}

/// [`encode_message`] behind a pointer.
trait Wire {
    fn wire(&self, out: &mut Vec<u8>);
}

impl<M: prost::Message> Wire for M {
    fn wire(&self, out: &mut Vec<u8>) {
        encode_message(self, out);
    }
}

impl Wire for MemberAddition {
    fn wire(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        encode_message(&self.request, out);
    }
}

impl Canonical for Note {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::BecameLeader { term } => tag(0, out).put(term),
            Self::SteppedDown { term, why } => tag(1, out).put(term).put(*why),
            Self::Follows { leader, term } => tag(2, out).put(leader).put(term),
            Self::LogStalled { number } => tag(3, out).put(number),
            Self::Published => tag(4, out),
            Self::ClusterVersion { version } => tag(5, out).put(version.as_str()),
            Self::MemberAdded { member } => tag(6, out).put(member),
            Self::CompactionFinished { revision } => tag(7, out).put(revision),
            Self::SnapshotApplied { index } => tag(8, out).put(index),
            Self::Alarm { member, kind, raised } => tag(9, out).put(member).put(*kind).put(raised),
            Self::MemberRemoved { member } => tag(10, out).put(member),
            Self::MemberPromoted { member } => tag(11, out).put(member),
            Self::MemberUpdated { member } => tag(12, out).put(member),
            Self::Fenced { why } => tag(13, out).put(why.as_str()),
            Self::Repaired => tag(14, out),
            Self::LogLags { by } => tag(15, out).put(by),
        };
    }
}

/// Begins a variant; its fields follow by [`Fields::put`].
pub(super) fn tag(number: u8, out: &mut Vec<u8>) -> Fields<'_> {
    out.push(number);
    Fields(out)
}

/// The fields of a variant, in order.
pub(super) struct Fields<'a>(pub(super) &'a mut Vec<u8>);

impl Fields<'_> {
    /// Appends one field.
    pub(super) fn put(self, field: &(impl Canonical + ?Sized)) -> Self {
        field.encode(self.0);
        self
    }

    /// Appends a list.
    pub(super) fn put_all<T: Canonical>(self, fields: &[T]) -> Self {
        encode_all(fields, self.0);
        self
    }

    /// Appends a message.
    pub(super) fn put_message(self, message: &impl prost::Message) -> Self {
        encode_message(message, self.0);
        self
    }
}
