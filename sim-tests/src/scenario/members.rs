//! The machines `quorate-sim` drives.

use quorate_io_sim::world::Plan;
use quorate_io_sim::world::toy::{Planted, Toy};

use super::Subject;

/// The toy machines of the simulated world: they replicate puts from a leader that never changes.
pub(crate) struct Members;

impl Subject for Members {
    type Build = Toy;
    type Judges = ();

    fn build() -> Toy {
        Toy(Planted::Nothing)
    }

    fn judges(_: &Plan) {}

    /// The first member leads for ever, so the run must end with it.
    fn fit(plan: Plan) -> Plan {
        Plan { quorum: plan.quorum | 1, ..plan }
    }
}
