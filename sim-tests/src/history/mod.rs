//! What clients saw of a cluster, as data: recorded in the simulated world or from a real cluster
//! (ours or etcd's), written as JSON lines, judged by [`linear`](crate::oracle::linear) and
//! [`watch`](crate::oracle::watch).
//!
//! ```text
//!   {"kind":"operation","id":7,"client":1,"member":2,"called":1200,"returned":3400,
//!    "method":"Put","request":"0a0161120131","outcome":{"ok":"0a021802"}}
//!   {"kind":"changes","revision":2,"events":["12090a01611002180220012a0131"]}
//! ```
//!
//! Operations alone do not tell what became of those nobody was answered for. So a history carries
//! the truth as well, in one of two forms: the committed *log* (the world has it), or all
//! *changes* from revision 2 on (a watch of every key, recorded beside the clients).
//!
//! Invariants:
//! - times are nanoseconds on one clock; an operation without `returned` never came back;
//! - an outcome other than an answer or a final refusal is `Unknown`: it may yet take effect.
//!
//! Deliberately absent: anything only one implementation knows, and who may call: what auth refused
//! is in no log here.

use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb::Event;

mod call;
mod lines;
mod recorder;

pub use call::{Call, Reply};
pub use lines::{BadLine, read, write};
pub use recorder::Recorder;

/// One call of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Unique in the history.
    pub id: u64,
    /// Who called.
    pub client: u64,
    /// The member asked; 0 if not known.
    pub member: u64,
    /// When.
    pub called: u64,
    /// When the client learned the outcome, or gave up; nothing if it never did.
    pub returned: Option<u64>,
    /// What was asked.
    pub call: Call,
    /// What the client learned.
    pub outcome: Outcome,
}

/// What a client learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The answer.
    Ok(Reply),
    /// Refused, for good: it had and will have no effect.
    Refused(Refusal),
    /// Nothing that settles it.
    Unknown,
}

impl Outcome {
    /// What a refusal tells about the effect.
    pub const fn from_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSpace
            | Refusal::NoLeader
            | Refusal::NotLeader
            | Refusal::LeaderChanged
            | Refusal::Stopped
            | Refusal::Timeout
            | Refusal::TimeoutDueToLeaderFail
            | Refusal::TimeoutDueToConnectionLost
            | Refusal::TimeoutWaitAppliedIndex => Self::Unknown,
            _ => Self::Refused(refusal),
        }
    }
}

/// A committed entry that asks something of keys or leases.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Its place in the log.
    pub index: u64,
    /// The operation it was proposed for, if a client's.
    pub operation: Option<u64>,
    /// What it asks.
    pub call: Call,
}

/// All changes of one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The revision.
    pub revision: i64,
    /// Its events, in order.
    pub events: Vec<Event>,
}

/// Something on a watch stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// When the client sent or received it.
    pub at: u64,
    /// The stream, unique in the history.
    pub stream: u64,
    /// What it was.
    pub what: Traffic,
}

/// A message of a watch stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    /// From the client.
    Request(pb::WatchRequest),
    /// To the client.
    Response(pb::WatchResponse),
    /// The stream is over.
    Ended,
}

/// The truth about effects.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// Every committed entry, in order.
    Log(Vec<Logged>),
    /// Every revision's changes, in order.
    Changes(Vec<Changes>),
}

/// A whole history.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Operations, in any order.
    pub operations: Vec<Operation>,
    /// Traffic of watch streams, in order of time.
    pub watched: Vec<Watched>,
    /// What really happened.
    pub truth: Truth,
}

impl Default for History {
    fn default() -> Self {
        Self { operations: Vec::new(), watched: Vec::new(), truth: Truth::Changes(Vec::new()) }
    }
}
