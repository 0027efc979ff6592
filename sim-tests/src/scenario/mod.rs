//! What is simulated: which machines, judged by whom, in worlds of which shape.

use quorate_io_sim::world::observe::Observer;
use quorate_io_sim::world::{Build, Plan, Shape};

mod members;

pub use members::Members;

/// Machines and those who judge them.
pub trait Subject {
    /// How the machines are opened.
    type Build: Build;
    /// Who judges.
    type Judges: Observer;

    /// Builds members.
    fn build() -> Self::Build;

    /// Judges for one run of a plan.
    fn judges(plan: &Plan) -> Self::Judges;

    /// The plan, with what these machines cannot do left out.
    fn fit(plan: Plan) -> Plan;
}

/// The reference scenario with another number of members or another length.
pub fn shape(nodes: u64, seconds: u64) -> Shape {
    Shape { nodes, seconds, ..Shape::R3 }
}
