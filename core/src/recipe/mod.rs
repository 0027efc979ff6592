//! Locks and elections: two recipes on top, built only from what any client can ask.
//!
//! A recipe is a machine without clocks and sockets. It yields a [`Step`]; whoever drives it does
//! what the step says and hands the [`Answer`] in; the next step comes back. Contenders stand in
//! line by the revision that created their keys, and each watches only the one before it:
//!
//! ```text
//!   name/a  created 5   holds           a lease ends or a key is deleted
//!   name/7  created 8   watches name/a    -> the next one hears of it, looks, and holds
//!   name/c  created 9   watches name/7       (nobody else wakes up)
//!
//!   Lock { name, lease 7 }
//!     Request  txn if create(name/7) = 0 then put name/7, who is first? else get name/7, ...
//!     Read     name/ up to created 8, newest first, two    -> name/7, and name/a before it
//!     Watch    name/a from the revision read               -> Frame: deleted
//!     Read     the same                                    -> name/7 alone
//!     Yield    Ok: held, as of that read
//! ```
//!
//! Invariants
//! - The first in line holds: no key with a smaller create revision, and its own still there, at
//!   one revision. A contender whose lease ended while it waited is told so, never that it holds.
//! - Nothing is sent twice. A contender that does not come to hold takes its key back, guarded by
//!   the create revision: a key that is a later contender's is left alone.
//! - A wrong answer ends a recipe with [`Failure::Misanswered`]; nothing handed in panics.
//! - [`Observe`] tells what was true at ever later revisions, no leader's value twice, and never
//!   ends by itself.
//!
//! For whoever drives: a request is never abandoned, its answer is waited for, because only the
//! answer tells what there is to take back. [`Answer::ClientGone`] may be handed in instead of
//! the answer to any other step, and instead of beginning any step. There is no limit on how long
//! [`Step::Listen`] takes.
//!
//! Where etcd's own recipe does less: it tells a candidate whose lease ended while it waited that
//! it leads; it leaves the key of a candidate that failed in line, to lead without knowing; it
//! grants a lease nobody uses for a resignation that names none; it ends an observer, without
//! a word, when a read fails.
//!
//! Deliberately absent: keeping leases alive (the client does), fairness beyond the order of
//! arrival, locks that are only tried.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3lock/lock.go`,
//! `server/etcdserver/api/v3election/election.go`, `client/v3/concurrency/`

mod election;
mod line;
mod lock;
mod observe;
mod once;
mod requests;

use alloc::string::String;

use quorate_proto::etcdserverpb as pb;

use crate::input::Request;
use crate::output::Response;
use crate::time::Duration;

pub use election::{Campaign, Proclaim, leader, resign};
pub use lock::{Lock, unlock};
pub use observe::Observe;
pub use once::Once;

/// A recipe under way; `E` is how its driver refuses.
pub trait Recipe<E> {
    /// What it is there to find out.
    type Yield;

    /// The step before was done, or the client left; what comes next.
    fn handle(&mut self, answer: Answer<E>) -> Step<Self::Yield>;
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<T> {
    /// Make this request and hand in its response.
    Request(Request),
    /// Read these keys, linearizably, and hand in what was found.
    Read(pb::RangeRequest),
    /// Open this watch in place of any before it, and hand in its first frame.
    Watch(pb::WatchCreateRequest),
    /// Hand in the next frame of that watch.
    Listen,
    /// Wait so long.
    Rest(Duration),
    /// Tell the client. A recipe with one answer is over then.
    Yield(T),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<E> {
    /// Of a request.
    Response(Response),
    /// Of a read.
    Read(pb::RangeResponse),
    /// Of opening a watch or listening to it.
    Frame(pb::WatchResponse),
    /// Of the same: the watch is gone, by no fault of its own.
    WatchLost,
    /// Of a rest.
    Rested,
    /// Of a yield, where there can be more than one: the client has room again.
    Taken,
    /// Of anything: it was refused.
    Refused(E),
    /// Of anything: it was refused for now, as when nobody leads.
    Unavailable(E),
    /// The client does not wait any more.
    ClientGone,
}

/// Why there is nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// A step was refused.
    Refused(E),
    /// The lease of a waiting lock ended.
    SessionExpired,
    /// Somebody else leads, or nobody.
    NotLeader,
    /// Nobody leads.
    NoLeader,
    /// The request does not say who leads.
    MissingLeader,
    /// The watch was cancelled for this reason.
    WatchCanceled(String),
    /// The client left: nobody hears this.
    Abandoned,
    /// An answer was another step's.
    Misanswered,
}

impl<T> Step<T> {
    /// The same step with another thing to tell.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Request(request) => Step::Request(request),
            Self::Read(range) => Step::Read(range),
            Self::Watch(create) => Step::Watch(create),
            Self::Listen => Step::Listen,
            Self::Rest(duration) => Step::Rest(duration),
            Self::Yield(told) => Step::Yield(change(told)),
        }
    }
}
