//! Hostile input, and what must be true whatever it is.
//!
//! ```text
//!   libFuzzer (bin/) --bytes--> client    calls of every kind, through door, txn, apply, watch
//!        |                      gateway   paths, bodies and answers of the JSON gateway
//!        v                      peer      messages, images and questions of a lying member
//!   corpus/  --replayed by tests/corpus.rs, without libFuzzer--^
//! ```
//!
//! A target is a function of bytes that panics when something is wrong. `docs/fuzzing.md` says how
//! to run them.

pub mod client;
pub mod corpus;
pub mod gateway;
pub mod member;
pub mod peer;
mod recipes;
pub mod records;
mod script;
pub mod seeds;
