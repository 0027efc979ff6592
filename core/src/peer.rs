//! What members say to each other.

pub use quorate_proto::peer::{PeerMessage, peer_message::Message};
pub use quorate_proto::raftpb;

/// A message's class: one ordered stream each, so that urgent ones never queue behind bulky ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Votes, heartbeats, their answers, read barriers, leadership transfer.
    Urgent,
    /// Appends, their answers, forwarded proposals.
    Bulk,
    /// Announcements of an image; the shell streams the image with them.
    Snapshot,
}

impl Class {
    /// The class of a message.
    pub fn of(message: &Message) -> Self {
        use raftpb::MessageType as Kind;
        match message {
            Message::Ask(_)
            | Message::Answer(_)
            | Message::ChangeWish(_)
            | Message::ChangeRefusal(_)
            | Message::Report(_)
            | Message::Correction(_) => Self::Urgent,
            Message::Raft(raft) => match raft.r#type() {
                Kind::MsgSnap => Self::Snapshot,
                Kind::MsgApp | Kind::MsgAppResp | Kind::MsgProp => Self::Bulk,
                _ => Self::Urgent,
            },
        }
    }
}

/// Whether a message is as good when it arrives late: it is for one term or one question, and
/// nobody sends it again. All others say how things were, and raft says them anew.
pub fn is_patient(message: &Message) -> bool {
    match message {
        Message::Ask(_) | Message::ChangeWish(_) => true,
        Message::Raft(raft) => raft.r#type() == raftpb::MessageType::MsgProp,
        Message::Answer(_)
        | Message::ChangeRefusal(_)
        | Message::Report(_)
        | Message::Correction(_) => false,
    }
}
