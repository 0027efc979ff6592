//! The second opinion: one plan in the world and on madsim, under the same oracles.
//!
//! Two schedulers and two networks never run a plan alike, so what is compared is the verdict: both
//! find nothing, or both find something.

use quorate_io_sim::on_madsim::trial;
use quorate_io_sim::world::observe::Violation;
use quorate_io_sim::world::{Plan, Wanted, run};

use crate::scenario::{Members, Subject, shape};

/// What both said.
#[derive(Clone, Debug)]
pub struct Opinions {
    /// The world.
    pub world: Option<Violation>,
    /// Calls it answered.
    pub world_answered: u64,
    /// The trial on madsim.
    pub trial: trial::Report,
}

impl Opinions {
    /// Whether both say the same.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.world.is_some() == self.trial.violation.is_some()
    }
}

/// The plan of a seed, with what madsim has no means for left out.
#[must_use]
pub fn plan(seed: u64, nodes: u64, seconds: u64) -> Plan {
    trial::fit(Plan::draw(seed, shape(nodes, seconds)))
}

/// A plan on madsim, once.
#[must_use]
pub fn try_out(plan: &Plan) -> trial::Report {
    trial::run(plan, Box::new(Members::judges(plan)))
}

/// A plan in both.
#[must_use]
pub fn ask_both(plan: &Plan) -> Opinions {
    let world = run(plan.clone(), Members::build(), Members::judges(plan), Wanted::default());
    let (violation, world_answered) = (world.violation, world.answered);
    Opinions { world: violation, world_answered, trial: try_out(plan) }
}
