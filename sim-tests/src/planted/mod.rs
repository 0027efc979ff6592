//! Real mistakes, rebuilt one at a time: the proof that the simulator finds what it is for.
//!
//! Each is a branch on `planted!("name")` beside the right code; an ordinary build has none. The
//! runner builds the simulator once with all of them in it, in a target folder of its own; then for
//! each it turns that one on, runs seeds of the general swarm until one fails, and writes the
//! table. The swarm does not know which mistake is on.
//!
//! ```text
//!   RUSTFLAGS="--cfg planted" cargo build ...
//!   QUORATE_PLANTED=torn-tail-accepted target/planted/ci/quorate-sim run ...
//! ```

mod list;
mod run;

pub use list::{BUGS, Bug};
pub use run::{Found, SEEDS_MAX, hunt_all};
