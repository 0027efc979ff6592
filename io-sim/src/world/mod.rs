//! The world: members made of the real core, in a simulated network on simulated disks under
//! simulated clocks, driven by one event queue on one thread.
//!
//! ```text
//!              plan (from a seed, or from a file)
//!                |  faults            | errands
//!                v                    v
//!   network <-> members <-> disks   clients        driver: one event at a time
//!                |                    |
//!                `------ observers ---'            oracles judge; a trace hash sums up
//! ```
//!
//! Reading order: [`plan`], [`node`], [`driver`], `outputs`, `faults`, `client`, `operator`,
//! `group`, `finale`, [`run`](mod@run).
//!
//! Invariants:
//! - the same plan gives the same trace: all luck is drawn by key, all order comes from the queue;
//! - a member learns nothing but what its inputs say, least of all the world's time;
//! - outputs are executed in the order given, and power may go between any two of them.
//!
//! Deliberately absent: threads, system time, floats, hash maps.

pub(crate) mod client;
pub mod clock;
mod describe;
pub mod disk;
pub mod driver;
pub(crate) mod due;
mod faults;
mod finale;
mod group;
pub mod luck;
pub mod network;
pub mod node;
pub mod observe;
mod operator;
mod outputs;
pub mod plan;
mod post;
pub(crate) mod proposals;
pub mod queue;
pub mod run;
mod steward;
pub mod table;
pub mod toy;
pub mod trace;
mod words;

pub use node::Build;
pub use plan::{Plan, Shape};
pub use run::{Report, find_parting, run};
pub use trace::Wanted;

#[cfg(test)]
mod tests;
