//! `quorate bench`: load on any server of etcd's API, and how it bears it. Whoever compares servers
//! drives them with the same rooms.
//!
//! ```text
//! $ quorate bench put --clients=64 --conns=8 --total=100000 --val-size=256 --svg=put.svg
//! $ quorate bench range greeting --consistency=s --duration=10s
//! $ quorate bench watch-latency --streams=10 --watchers-per-stream=10
//!
//! words ──cli──> job ──> stint: whose turn is it ──> threads ──> connections ──> a server
//!                          │                           └─ work: what each client asks
//!                          └─ tally, course: what it took ──report──> text, JSON, picture
//! ```
//!
//! Commands and flags have the names of etcd's `benchmark` tool; `mixed`, `--duration`,
//! `--threads`, `--json` and `--svg` are ours.
//!
//! Invariants
//! - Memory does not grow with the number of operations: latencies are in histograms.
//! - An operation's time is from its call to its answer. With `--rate` a call that is late because
//!   all clients are busy is late unseen, as in etcd's tool.
//! - Interrupted runs report what they saw.
//! - Whatever a server says no to is counted by what it said.
//!
//! Deliberately absent: `--compact-interval` and `--check-hashkv` of `put`; `stm`; parts of a
//! server without one (`mvcc`).
//!
//! Answers to: etcd v3.7.1 `tools/benchmark/cmd/`, `pkg/report/report.go`

mod cli;
mod course;
mod drive;
mod job;
mod keys;
mod progress;
mod report;
mod session;
mod stint;
mod tally;
mod target;
pub mod watch;
pub mod work;

pub use drive::{Load, Step, Work, drive, on_threads};
pub use keys::{Keys, spread};
pub use stint::{Stint, Terms};
pub use tally::Tally;
pub use target::Target;

pub(crate) use session::declared;
pub use session::{called, main};

use crate::client::{self, Direct};

/// A connection ready for calls.
pub type Line = client::Line<Direct>;

/// What was done, or why it could not be.
pub type Outcome<T> = Result<T, String>;
