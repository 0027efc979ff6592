//! Quorate's pure core: everything the store does, and nothing it does it with.
//!
//! No file, socket, thread, clock or random number is touched here. The core is two deterministic
//! machines ([`Machine`]); a shell feeds them [inputs](input) and executes their [outputs](output).
//! The production shell does so with sockets and disks, the simulator with a seeded faulty world.
//!
//! ```text
//!             clients                                  peers
//!                |  Request, Read                        |  raftpb::Message
//!                v                                       v
//!   +------- State --------+   Propose, Barrier   +--- Replica ---+
//!   | door   admit, answer | -------------------> | raft/         |
//!   | apply  one entry     | <------------------- |  consensus    |
//!   | mvcc txn lease ...   |  Committed, Barrier- |  over bytes   |
//!   | watch  who hears     |  Reached, Role       |               |
//!   +----------------------+                      +---------------+
//!        |  Store                                       |  Persist
//!        v                                              v
//!      store                                           log
//! ```
//!
//! [`Replica`] knows entries as bytes and never touches the store; [`State`] knows what they mean
//! and never touches the log. So neither a slow disk nor a slow apply can silence a member:
//! heartbeats, elections and stepping down wait for nobody.
//!
//! # The way through
//!
//! [`Stage`](stage::Stage) names the stages of a request in order. Read [`input`] and [`output`]
//! next, then the room of interest:
//!
//! | Room | Owns |
//! |---|---|
//! | [`ids`] [`time`] [`draw`] [`limits`] [`config`] | words everyone shares |
//! | [`error`] [`event`] [`storage`] | and more of them |
//! | [`schema`] | bytes at rest |
//! | `raft` | consensus over bytes |
//! | `door` | requests in flight |
//! | `apply` | one entry in, one outcome out |
//! | [`mvcc`] | keys and their history |
//! | [`txn`] | one transaction |
//! | [`watch`] | who hears what |
//! | [`lease`] | leases |
//! | [`auth`] | who may do what |
//! | `membership` | who is in |
//! | `alarm` | when to refuse |
//! | `upkeep` | what the core asks of itself |
//! | [`recipe`] | lock and election, on top of all that |
//!
//! Rooms import the shared words and what the table of `ARCHITECTURE.md` allows; two ledgers
//! never import each other.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;

/// Whether a mistake is built in and on: see [`planted`](mod@planted).
#[cfg(planted)]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        $crate::planted::is_chosen(const { $crate::planted::number($name) })
    };
}

/// Whether a mistake is built in and on: never in this build.
#[cfg(not(planted))]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}

/// Notes that this place was reached: see [`probes`].
#[cfg(probes)]
#[macro_export]
macro_rules! probe {
    ($name:literal) => {
        $crate::probes::hit(const { $crate::probes::place($name) })
    };
}

/// Nothing in this build, but the name must be known.
#[cfg(not(probes))]
#[macro_export]
macro_rules! probe {
    ($name:literal) => {
        const { _ = $crate::probes::place($name) }
    };
}

pub mod auth;
pub mod config;
pub mod draw;
pub mod encode;
pub mod error;
pub mod event;
pub mod ids;
pub mod input;
pub mod lease;
pub mod limits;
pub mod machine;
pub mod membership;
pub mod mvcc;
pub mod output;
pub mod peer;
pub mod pinch;
#[cfg(planted)]
pub mod planted;
pub mod probes;
pub mod recipe;
pub mod schema;
pub mod stage;
pub mod storage;
pub mod tally;
pub mod time;
pub mod txn;
pub mod view;
pub mod watch;

mod alarm;
mod apply;
mod door;
mod raft;
mod replica;
mod state;
mod upkeep;

pub use apply::{check_known, rows_awaiting_image};
pub use config::Config;
pub use input::{Memory, ReplicaInput, Request, Role, StateInput};
pub use machine::Machine;
pub use output::{ReplicaOutput, Response, StateOutput};
pub use replica::Replica;
pub use state::State;
pub use upkeep::announce::CLUSTER_VERSION;
pub use view::View;
