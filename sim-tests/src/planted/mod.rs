//! Real mistakes, rebuilt one at a time: the proof that the simulator finds what it is for.
//!
//! Each is a `cfg!(planted = "name")` branch beside the right code; a build without the cfg has
//! none of them. The runner builds the simulator once for each, in a target folder of its own, runs
//! seeds of the general swarm until one fails, and writes the table. The swarm does not know which
//! mistake is on.
//!
//! ```text
//!   rustc ... --cfg planted="torn-tail-accepted"  -->  target/planted/ci/quorate-sim run ...
//! ```

mod list;
mod run;

pub use list::{BUGS, Bug};
pub use run::{Found, SEEDS_MAX, hunt, hunt_all, table};
