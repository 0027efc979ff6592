//! What the world tells its observers: everything an oracle may judge, as it happens.
//!
//! ```text
//!   client --Called--------> member --Proposed--> log --Persisting, Persisted-->
//!          <-Returned------         <-Applied---- Committed
//!          <-Frame (watch)-
//! ```
//!
//! Times are the world's own time, the same for all: no member ever sees it. What a client learns
//! is told at the instant the client learns it, so a reply lost on the way is never told.
//!
//! Invariants:
//! - every [`Called`](Seen::Called) is followed by exactly one [`Returned`](Seen::Returned) of the
//!   same call, with [`Outcome::Unknown`] when the client gave up;
//! - a retry is a new call; no two calls ever write the same value;
//! - between [`Stopped`](Seen::Stopped) and [`Started`](Seen::Started) of a member nothing else is
//!   told about it.
//!
//! Deliberately absent: judgement. The world reports, observers decide.

use bytes::Bytes;
use quorate_core::auth::Identity;
use quorate_core::error::{Misbehaviour, Refusal};
use quorate_core::ids::{LogIndex, MemberId, RequestId, StreamId, Term};
use quorate_core::output::Note;
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark};
use quorate_core::time::Time;
use quorate_core::{Request, Response, Role, txn};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb::{self, ConfState, MessageType};

/// A client actor, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// One call of one client; unique in a run, rising in order of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// `KV.Range`, linearizable or serializable as the request says.
    Range(pb::RangeRequest),
    /// Everything that goes through the core's loop.
    Request(Request),
}

impl Operation {
    /// Whether what only reads is content with the past; none if it may do more. What only reads
    /// does not go through the log.
    pub(crate) fn is_serializable(&self) -> Option<bool> {
        match self {
            Self::Range(range) => Some(range.serializable),
            Self::Request(Request::Txn(txn)) if txn::is_read_only(txn) => {
                Some(txn::is_serializable(txn))
            }
            Self::Request(_) => None,
        }
    }
}

/// What a client learned about its call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The answer to a range.
    Range(pb::RangeResponse),
    /// The answer to a request.
    Response(Response),
    /// Refused. Whether it was applied nevertheless depends on the refusal and on what was
    /// [`Proposed`](Seen::Proposed) for it.
    Refused(Refusal),
    /// No answer in time, or the connection broke.
    Unknown,
}

/// What a client shows of itself with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    #[default]
    Nothing,
    /// A token.
    Token(String),
    /// A certificate, verified.
    CommonName(String),
}

/// Why a member stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The world killed it: what was not synced may be gone.
    Crash,
    /// It wanted to stop: storage failed, with the fault's text.
    Halt(String),
    /// It was removed from the group.
    Removed,
    /// Its code panicked, with the message. Always a failure of the run.
    Panic(String),
}

/// The part of a raft message that invariants speak about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The sender.
    pub from: MemberId,
    /// The receiver.
    pub to: MemberId,
    /// What it is.
    pub kind: MessageType,
    /// The message's term.
    pub term: Term,
    /// Its index: the last entry before the appended ones, or the acknowledged one.
    pub index: LogIndex,
    /// The sender's commit index, where the kind carries it.
    pub commit: LogIndex,
    /// Whether it says no.
    pub reject: bool,
}

impl Sent {
    /// That part of a message.
    #[must_use]
    pub fn of(from: MemberId, to: MemberId, message: &raftpb::Message) -> Self {
        Self {
            from,
            to,
            kind: message.r#type(),
            term: Term(message.term),
            index: LogIndex(message.index),
            commit: LogIndex(message.commit),
            reject: message.reject,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A client sends a call. `member` is where to.
    Called {
        /// Who calls.
        client: ClientId,
        /// The call.
        call: CallId,
        /// The member asked.
        member: MemberId,
        /// What is asked.
        operation: Operation,
    },
    /// A client learned its call's outcome, or gave up.
    Returned {
        /// Who called.
        client: ClientId,
        /// The call.
        call: CallId,
        /// What it learned.
        outcome: Outcome,
    },
    /// A member looked at who makes a call, by what it had applied: for a read, of what it reads
    /// from; for any other, before its state hears of the call. Told only in runs with users.
    Identified {
        /// The member.
        member: MemberId,
        /// The call.
        call: CallId,
        /// What it had applied.
        index: LogIndex,
        /// What the client showed.
        shown: Shown,
        /// Who that is, or why nobody is.
        who: Result<Identity, Refusal>,
    },
    /// A member answered a call, whether or not the answer will reach the client. From here on
    /// the effect must survive.
    Acknowledged {
        /// Who answers.
        member: MemberId,
        /// The call.
        call: CallId,
    },
    /// A client opened a watch stream.
    StreamOpened {
        /// Who.
        client: ClientId,
        /// The stream; unique in a run.
        stream: StreamId,
        /// The member it is on.
        member: MemberId,
    },
    /// A client sent a message on its stream.
    StreamSent {
        /// Who.
        client: ClientId,
        /// The stream.
        stream: StreamId,
        /// The message.
        message: pb::WatchRequest,
    },
    /// A client received a frame.
    Frame {
        /// Who.
        client: ClientId,
        /// The stream.
        stream: StreamId,
        /// The frame.
        frame: pb::WatchResponse,
    },
    /// A client's stream broke or was closed. Frames still on the way are lost.
    StreamEnded {
        /// Who.
        client: ClientId,
        /// The stream.
        stream: StreamId,
    },
    /// A member opened its machines on what its disk held.
    Started {
        /// The member.
        member: MemberId,
        /// How often it was started, from 0.
        boot: u64,
        /// The log it found.
        log: LogContents,
        /// What its store durably held.
        stored: SnapshotMark,
    },
    /// A member stopped.
    Stopped {
        /// The member.
        member: MemberId,
        /// Why.
        why: Stop,
    },
    /// A member stands still, keeping its memory.
    Paused {
        /// The member.
        member: MemberId,
        /// Whether its clock stands still, too.
        is_frozen: bool,
    },
    /// A member goes on.
    Resumed {
        /// The member.
        member: MemberId,
    },
    /// A member's view of who leads changed.
    Role {
        /// The member.
        member: MemberId,
        /// The view.
        role: Role,
    },
    /// A member's state put an entry up for the log, or wished that the leader did.
    Proposed {
        /// The member.
        member: MemberId,
        /// The proposal.
        id: RequestId,
        /// The term for which.
        term: Term,
        /// The call it carries, if it is a client's; not told again when it is proposed again.
        call: Option<CallId>,
        /// The encoded `InternalRaftRequest`, or `ConfChange`.
        data: Bytes,
    },
    /// A raft message left a member.
    Sent(Sent),
    /// A member began to write a batch to its log.
    Persisting {
        /// The member.
        member: MemberId,
        /// The batch's number in this boot.
        number: u64,
        /// Term, vote, commit, when they changed.
        hard_state: Option<HardState>,
        /// Entries.
        entries: Vec<Entry>,
        /// The image that replaces the store first.
        snapshot: Option<SnapshotMark>,
    },
    /// That batch, and all before it, will survive a crash.
    Persisted {
        /// The member.
        member: MemberId,
        /// The batch's number in this boot.
        number: u64,
    },
    /// A member handed entries to its state as committed.
    Committed {
        /// The member.
        member: MemberId,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// A member learned how far the log is committed.
    CommitIndex {
        /// The member.
        member: MemberId,
        /// The index.
        index: LogIndex,
    },
    /// A member's replica counts these from an entry on, or was opened with them.
    Group {
        /// The member.
        member: MemberId,
        /// The entry.
        index: LogIndex,
        /// Whom.
        group: ConfState,
    },
    /// A member shows another list of members than before.
    Members {
        /// The member.
        member: MemberId,
        /// The entry it has applied.
        index: LogIndex,
        /// Who is in the group, and whether without a vote.
        list: Vec<(MemberId, bool)>,
    },
    /// A member applied everything up to an entry.
    Applied {
        /// The member.
        member: MemberId,
        /// The entry.
        index: LogIndex,
        /// Digest of all state at that entry.
        digest: u64,
    },
    /// A member's store durably holds everything up to an entry.
    Synced {
        /// The member.
        member: MemberId,
        /// The entry.
        index: LogIndex,
    },
    /// A member's content was replaced by another's image.
    Installed {
        /// The member.
        member: MemberId,
        /// What the image covers.
        mark: SnapshotMark,
    },
    /// A member cut its log.
    Cut {
        /// The member.
        member: MemberId,
        /// Where it may begin now.
        mark: SnapshotMark,
    },
    /// A member dropped a peer's message as wrong.
    Misbehaved {
        /// The member.
        member: MemberId,
        /// The peer.
        from: MemberId,
        /// How.
        how: Misbehaviour,
    },
    /// A member wrote a line for its operator.
    Noted {
        /// The member.
        member: MemberId,
        /// The line.
        note: Note,
    },
    /// Faults are over inside a quorum; outside they stay. Liveness is due from now on.
    Healed {
        /// The members of the quorum.
        quorum: Vec<MemberId>,
    },
    /// The run is over; all calls have returned.
    Finished {
        /// The members of the quorum, all up.
        quorum: Vec<MemberId>,
    },
}

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A wrong answer or a broken invariant.
    Correctness,
    /// What was due did not happen in time.
    Liveness,
    /// A member panicked, or halted without reason.
    Crash,
}

/// A broken promise. Ends the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind.
    pub verdict: Verdict,
    /// The oracle's short name: the failure's signature.
    pub oracle: &'static str,
    /// What was seen, in one or few lines.
    pub what: String,
}

/// Someone who watches the world and may object.
pub trait Observer {
    /// Something happened at `at`, the world's time.
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation>;
}

/// Watches nothing.
impl Observer for () {
    fn observe(&mut self, _at: Time, _seen: &Seen) -> Result<(), Violation> {
        Ok(())
    }
}

/// Two observers, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        self.0.observe(at, seen)?;
        self.1.observe(at, seen)
    }
}
