//! What happened, in few words: for people, never for decisions.
//!
//! ```text
//!   of a member    < goes in    > comes out    = starts, stops, or has its clock set
//!   of the world   ! a fault strikes or ends    c7 #12 client 7 calls    c7 #12 = learns
//! ```
//!
//! Pictures of a run are drawn from these lines.

use quorate_core::peer::Message;
use quorate_core::storage::Entry;
use quorate_core::{ReplicaInput, ReplicaOutput, StateInput, StateOutput};
use quorate_proto::peer::PeerMessage;
use quorate_proto::raftpb;

use super::observe::{Operation, Outcome};

const CHARS_MAX: usize = 100;

/// Something that can be said in few words.
pub(super) trait Describe {
    /// The words.
    fn describe(&self) -> String;
}

/// The beginning of what `Debug` says.
fn short(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

fn span(entries: &[Entry]) -> String {
    match entries {
        [] => String::from("-"),
        [one] => format!("{}@{}", one.index, one.term),
        [first, .., last] => format!("{}..{}@{}", first.index, last.index, last.term),
    }
}

impl Describe for raftpb::Message {
    fn describe(&self) -> String {
        let mut text = format!("{} t{} i{}", self.r#type().as_str_name(), self.term, self.index);
        if let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) {
            text += &format!(" [{}..{}]", first.index, last.index);
        }
        if self.commit > 0 {
            text += &format!(" c{}", self.commit);
        }
        if self.reject {
            text += " no";
        }
        text
    }
}

impl Describe for PeerMessage {
    fn describe(&self) -> String {
        match &self.message {
            Some(Message::Raft(raft)) => raft.describe(),
            Some(Message::Ask(ask)) => format!("ask {}", ask.id),
            Some(Message::Answer(answer)) => format!("answer {}", answer.id),
            Some(Message::ChangeWish(wish)) => format!("wish {:x} t{}", wish.id, wish.term),
            Some(Message::ChangeRefusal(no)) => format!("refuses {:x} {}", no.id, no.refused),
            Some(Message::Report(report)) => format!("report {}", report.version),
            Some(Message::Correction(it)) => format!("correction at {}", it.index),
            None => String::from("nothing"),
        }
    }
}

impl Describe for ReplicaInput {
    fn describe(&self) -> String {
        match self {
            Self::Propose { id, data, .. } => format!("<propose {:x} {}B", id.0, data.len()),
            Self::Barrier { context } => format!("<barrier {:x}", context.0),
            Self::Peer { from, message } => format!("<{from} {}", message.describe()),
            Self::Persisted { number } => format!("<persisted {number}"),
            Self::Applied { index } => format!("<applied {index}"),
            Self::Synced { mark } => format!("<synced {}", mark.index),
            Self::SnapshotTaken { mark } => format!("<snapshot-taken {}", mark.index),
            other => format!("<{}", short(other)),
        }
    }
}

impl Describe for ReplicaOutput {
    fn describe(&self) -> String {
        match self {
            Self::Send { to, message } => format!(">{to} {}", message.describe()),
            Self::Persist(persist) => {
                let sync = if persist.must_sync { "sync" } else { "write" };
                format!(">{sync} {} {}", persist.number, span(&persist.entries))
            }
            Self::Committed { entries } => format!(">committed {}", span(entries)),
            Self::CommitIndex { index } => format!(">commit-index {index}"),
            Self::Role(role) => {
                let leader = role.leader.map_or_else(|| "nobody".into(), |id| id.to_string());
                format!(">role t{} led by {leader}", role.term)
            }
            other => format!(">{}", short(other)),
        }
    }
}

impl Describe for StateInput {
    fn describe(&self) -> String {
        match self {
            Self::Request { token, request, .. } => format!("<#{token} {}", short(request)),
            Self::Read { token } => format!("<#{token} read"),
            Self::StreamOpened { stream, .. } => format!("<stream {stream} opened"),
            Self::StreamMessage { stream, message, .. } => {
                format!("<stream {stream} {}", short(&message.request_union))
            }
            Self::StreamReady { stream, frames } => format!("<stream {stream} +{frames}"),
            Self::StreamClosed { stream } => format!("<stream {stream} closed"),
            Self::Committed { entries } => format!("<committed {}", span(entries)),
            Self::BarrierReached { context, index } => format!("<barrier {:x} {index}", context.0),
            Self::BarrierLost { context } => format!("<barrier {:x} lost", context.0),
            Self::ProposalDropped { id, in_term } => format!("<dropped {:x} t{}", id.0, in_term.0),
            Self::Role(role) => format!("<role t{} leads:{}", role.term, role.is_leader),
            Self::CommitIndex { index } => format!("<commit-index {index}"),
            Self::Stored { index, .. } => format!("<stored {index}"),
            Self::Relaid { .. } => String::from("<relaid"),
            Self::Synced { index } => format!("<synced {index}"),
            Self::Installed { .. } => String::from("<installed"),
            Self::TakeSnapshot => String::from("<take-snapshot"),
            Self::Ask { from, ask } => format!("<{from} ask {}", ask.id),
            Self::Answer { from, answer } => format!("<{from} answer {}", answer.id),
            Self::ChangeWish { from, wish } => format!("<{from} wish {:x} t{}", wish.id, wish.term),
            Self::ChangeRefusal { from, refusal } => {
                format!("<{from} refuses {:x} {}", refusal.id, refusal.refused)
            }
            Self::Report { from, report } => format!("<{from} report {}", report.version),
            Self::TokenUsed { .. } => String::from("<token used"),
            Self::Correction { from, correction } => {
                format!("<{from} correction at {}", correction.index)
            }
            Self::Damaged { fault } => format!("<damaged: {}", fault.what),
            Self::Followers(followers) => format!("<followers {}", short(followers)),
            Self::DbSize { allocated, .. } => format!("<db-size {allocated}"),
            Self::Memory(memory) => format!("<memory {memory:?}"),
        }
    }
}

impl Describe for StateOutput {
    fn describe(&self) -> String {
        match self {
            Self::Respond { token, result } => format!(">#{token} {}", short(result)),
            Self::ReadReady { token, result } => match result {
                Ok(view) => format!(">#{token} view at {}", view.facts.applied),
                Err(refusal) => format!(">#{token} {refusal:?}"),
            },
            Self::Stream { stream, frame } => format!(">stream {stream} {}", short(frame)),
            Self::Publish(view) => format!(">publish {}", view.facts.applied),
            Self::Propose { id, data, .. } => format!(">propose {:x} {}B", id.0, data.len()),
            Self::WantImage => String::from(">want-image"),
            Self::Barrier { context } => format!(">barrier {:x}", context.0),
            Self::Changed { index, is_accepted } => format!(">changed {index} {is_accepted}"),
            Self::TransferLeader { to } => format!(">transfer-leader {}", short(to)),
            Self::Applied { index, digest } => format!(">applied {index} ={digest:016x}"),
            Self::Store(batch) => format!(">store {} {} rows", batch.index, batch.writes.len()),
            Self::SnapshotTaken { mark, .. } => format!(">snapshot-taken {}", mark.index),
            Self::Synced { mark } => format!(">synced {}", mark.index),
            Self::Send { to, message } => format!(">{to} {}", message.describe()),
            Self::Note(note) => format!(">{}", short(note)),
            Self::Halt(fault) => format!(">halt {fault}"),
        }
    }
}

impl Describe for Operation {
    fn describe(&self) -> String {
        match self {
            Self::Range(range) => short(range),
            Self::Request(request) => short(request),
        }
    }
}

impl Describe for Outcome {
    fn describe(&self) -> String {
        short(self)
    }
}
