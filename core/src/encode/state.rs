//! What enters and leaves the state.

use alloc::vec::Vec;

use super::Canonical;
use super::parts::tag;
use crate::error::Refusal;
use crate::output::Batch;
use crate::{StateInput, StateOutput};

impl Canonical for StateInput {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request { token, who, request } => tag(0, out).put(token).put(who).put(request),
            Self::Read { token } => tag(1, out).put(token),
            Self::StreamOpened { stream, frame_bytes_max } => {
                tag(3, out).put(stream).put(frame_bytes_max)
            }
            Self::StreamMessage { stream, who, message } => {
                tag(4, out).put(stream).put(who).put_message(message)
            }
            Self::StreamReady { stream, frames } => tag(5, out).put(stream).put(frames),
            Self::StreamClosed { stream } => tag(6, out).put(stream),
            Self::Committed { entries } => tag(7, out).put_all(entries),
            Self::BarrierReached { context, index } => tag(8, out).put(context).put(index),
            Self::BarrierLost { context } => tag(9, out).put(context),
            Self::ProposalDropped { id, in_term } => tag(10, out).put(id).put(in_term),
            Self::Role(role) => tag(11, out).put(role),
            Self::CommitIndex { index } => tag(12, out).put(index),
            Self::Stored { index, image: _ } => tag(13, out).put(index),
            Self::Relaid { image: _ } => tag(26, out),
            Self::Synced { index } => tag(14, out).put(index),
            Self::Installed { image: _ } => tag(15, out),
            Self::TakeSnapshot => tag(16, out),
            Self::Ask { from, ask } => tag(17, out).put(from).put_message(ask),
            Self::Answer { from, answer } => tag(18, out).put(from).put_message(answer),
            Self::DbSize { allocated, in_use, is_disk_low } => {
                tag(19, out).put(allocated).put(in_use).put(is_disk_low)
            }
            Self::Memory(memory) => tag(28, out).put(&(*memory as u64)),
            Self::Followers(followers) => tag(20, out).put(followers),
            Self::ChangeWish { from, wish } => tag(21, out).put(from).put_message(wish),
            Self::ChangeRefusal { from, refusal } => tag(22, out).put(from).put_message(refusal),
            Self::TokenUsed { token } => tag(27, out).put(token.as_bytes()),
            Self::Report { from, report } => tag(23, out).put(from).put_message(report),
            Self::Correction { from, correction } => tag(24, out).put(from).put_message(correction),
            Self::Damaged { fault } => tag(25, out).put(fault.what.as_str()),
        };
    }
}

impl Canonical for StateOutput {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Respond { token, result } => tag(0, out).put(token).put(result),
            Self::ReadReady { token, result } => tag(1, out).put(token).put(result),
            Self::Stream { stream, frame } => tag(2, out).put(stream).put_message(frame),
            Self::Publish(view) => tag(3, out).put(view),
            Self::Propose { id, data, kind, in_term, may_forward } => {
                tag(4, out).put(id).put(data).put(kind).put(in_term).put(may_forward)
            }
            Self::Barrier { context } => tag(5, out).put(context),
            Self::Applied { index, digest } => tag(6, out).put(index).put(digest),
            Self::Store(batch) => tag(7, out).put(batch),
            Self::SnapshotTaken { mark, image: _ } => tag(8, out).put(mark),
            Self::Synced { mark } => tag(9, out).put(mark),
            Self::Send { to, message } => tag(10, out).put(to).put(message),
            Self::Note(note) => tag(11, out).put(note),
            Self::Halt(fault) => tag(12, out).put(fault.what.as_str()),
            Self::Changed { index, is_accepted } => tag(13, out).put(index).put(is_accepted),
            Self::TransferLeader { to } => tag(14, out).put(to),
            Self::WantImage => tag(15, out),
        };
    }
}

impl Canonical for Batch {
    fn encode(&self, out: &mut Vec<u8>) {
        self.epoch.encode(out);
        self.index.encode(out);
        super::parts::encode_all(&self.writes, out);
        self.sync.encode(out);
    }
}

impl<T: Canonical> Canonical for Result<T, Refusal> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Ok(value) => tag(1, out).put(value),
            Err(refusal) => tag(0, out).put(&(*refusal as u8)),
        };
    }
}
