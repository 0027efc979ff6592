//! Requests in flight: let in here, answered here.
//!
//! ```text
//!   Request --admit--> id --Propose--> (the log) --applied--> found by id --> Respond
//!                       `-- 7 s pass -------------------------------------> Timeout
//!
//!   Read --> waiting --one Barrier for all--> asked --index--> reached --applied--> ReadReady
//!                          ^--- 500 ms without an answer: asked again, fresh context ---'
//! ```
//!
//! - [`admit`]: what a request must satisfy before anything is proposed for it.
//! - [`pending`]: proposals of this member, by id, until they are applied or time out.
//! - [`lane`]: the read lane. Everybody who waits shares the next barrier.
//! - [`asking`]: questions only the leader can answer, asked on behalf of a client.
//!
//! Invariants: every token let in leaves exactly once, with an answer or a refusal; ids rise; no
//! collection grows beyond its constant in [`crate::limits`].
//!
//! Absent on purpose: what requests mean. That is `apply/`.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/v3_server.go`, `server/etcdserver/api/v3rpc/key.go`

pub(crate) mod admit;
pub(crate) mod asking;
pub(crate) mod lane;
pub(crate) mod pending;
