//! Consensus over bytes: one member of a group that agrees on a log.
//!
//! ```text
//!  Propose, Peer, Persisted, Applied ...          Persist, Send, Committed ...
//!            |                                             ^
//!            v                                             |
//!    message.rs (border) --> driver.rs (the raft crate) --> disk.rs (what must wait)
//!                              |      |      |
//!                           log.rs luck.rs confchange.rs
//! ```
//!
//! A put on a leader of three: `Propose` waits until the next drain, where all proposals leave in
//! one append to each follower and one `Persist`. A follower's answer to its append waits for its
//! own disk. When the second of three disks has it, it is committed and handed out as `Committed`
//! as soon as this member's own disk has it too.
//!
//! Invariants
//! - What is promised to a peer (a vote, an append taken) is on disk before it leaves.
//! - Heartbeats, their answers and pre-votes never wait for a disk.
//! - Committed entries are handed out in order, each once in a run, never before they are durable
//!   here, and never when an image brought them.
//! - A read barrier is reached when a quorum has answered what was asked after it came. Whom
//!   `canvass.rs` asks decides how soon that is, and nothing else.
//! - Log positions stand in the order of `pointers.rs` after every input.
//! - No message of a peer makes the crate panic: `message.rs` refuses it before.
//! - The same inputs give the same outputs: luck is drawn by key, and what comes out of hash sets
//!   is sorted.
//!
//! Deliberately absent: leases (reads are confirmed by a quorum), the meaning of entries other
//! than changes of the group, retries of proposals and barriers (`State` asks again), reading the
//! log back from disk (what followers may still need stays in memory).
//!
//! Answers to: etcd v3.7.1 `etcd-io/raft`, `server/etcdserver/raft.go`

pub(crate) mod backlog;
pub(crate) mod barrier;
pub(crate) mod canvass;
pub(crate) mod confchange;
pub(crate) mod disk;
pub(crate) mod driver;
pub(crate) mod lag;
pub(crate) mod log;
pub(crate) mod luck;
pub(crate) mod message;
pub(crate) mod opening;
pub(crate) mod pointers;
