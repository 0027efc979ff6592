//! Whole servers: the production shell's own code, in one thread, on turmoil's hosts and links.
//!
//! ```text
//!   Trial -- faults --> turmoil: hosts, links, connections, one runtime each, paused clocks
//!     |                    |
//!     |   site: Server::run, its four loops as tasks, its ports and its dialer on `wires`,
//!     |         its log and store on `disk`, the world's model
//!     |   clients: tonic's stubs, by the shell's own dialer
//!     `-- witness: one line for everything clients see --> whoever judges
//! ```
//!
//! It finds what only shells have: calls whose clients go away half-way, streams that nobody reads,
//! peers that are there only half, servers that end with streams open.
//!
//! Invariants:
//! - one process is one run: time and entropy of the whole process are the simulation's;
//! - the same plan gives the same lines: there is one thread, and no `select!` that is not biased;
//! - what was synced outlives the power, and of the rest some prefix.
//!
//! Deliberately absent: images between members (nobody falls that far behind here), changes of the
//! group, users: the world has them, and they are not the shell's.

mod clients;
mod course;
mod disk;
mod keys;
mod plan;
mod site;
mod trial;
mod wires;
mod witness;

pub use course::Changes;
pub use plan::{Fault, MEMBERS, Party, Plan, Strike};
pub use trial::{Report, run, show_logs};
