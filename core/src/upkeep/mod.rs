//! What the core asks of itself: it is its own client and has no side door.
//!
//! Each part looks at the ledgers and answers "what should be proposed now, if anything". Only
//! the leader acts, except for publishing: every member tells the others its own name and URLs.
//!
//! - [`autocompact`]: compaction by age or by number of revisions.
//! - `expire` is the lease book's own queue; `state.rs` turns what it yields into proposals.
//! - [`announce`]: what is told to all, again until all know it.
//! - [`compare`]: whether all members' states are equal.
//! - [`version`]: the cluster's version.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3compactor/`, `server/etcdserver/server.go`

pub(crate) mod announce;
pub(crate) mod autocompact;
pub(crate) mod compare;
pub(crate) mod version;
