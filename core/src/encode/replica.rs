//! What enters and leaves the replica.

use alloc::vec::Vec;

use super::Canonical;
use super::parts::tag;
use crate::{ReplicaInput, ReplicaOutput};

impl Canonical for ReplicaInput {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Propose { id, data, kind, in_term, may_forward } => {
                tag(0, out).put(id).put(data).put(kind).put(in_term).put(may_forward)
            }
            Self::Barrier { context } => tag(1, out).put(context),
            Self::Peer { from, message } => tag(2, out).put(from).put_message(message),
            Self::Persisted { number } => tag(3, out).put(number),
            Self::Applied { index } => tag(4, out).put(index),
            Self::Synced { mark } => tag(5, out).put(mark),
            Self::SnapshotTaken { mark } => tag(6, out).put(mark),
            Self::SnapshotSent { to, delivered } => tag(7, out).put(to).put(delivered),
            Self::Unreachable { to } => tag(8, out).put(to),
            Self::TransferLeader { to } => tag(9, out).put(to),
            Self::WantImage => tag(11, out),
            Self::Removed => tag(12, out),
            Self::Changed { index, is_accepted } => tag(10, out).put(index).put(is_accepted),
        };
    }
}

impl Canonical for ReplicaOutput {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Send { to, message } => tag(0, out).put(to).put_message(message),
            Self::Persist(persist) => tag(1, out).put(persist),
            Self::Committed { entries } => tag(2, out).put_all(entries),
            Self::CommitIndex { index } => tag(3, out).put(index),
            Self::BarrierReached { context, index } => tag(4, out).put(context).put(index),
            Self::BarrierLost { context } => tag(5, out).put(context),
            Self::ProposalDropped { id, in_term } => tag(6, out).put(id).put(in_term),
            Self::Role(role) => tag(7, out).put(role),
            Self::TakeSnapshot => tag(8, out),
            Self::Cut { mark } => tag(9, out).put(mark),
            Self::Misbehaved { from, how } => tag(10, out).put(from).put(&(*how as u8)),
            Self::Note(note) => tag(11, out).put(note),
            Self::Removed => tag(12, out),
            Self::Halt(fault) => tag(13, out).put(fault.what.as_str()),
            Self::Followers(followers) => tag(14, out).put(followers),
        };
    }
}
