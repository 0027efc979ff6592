//! A member that is the whole cluster, and knows it, is always current: what is acknowledged was
//! applied here, and nowhere else.
//!
//! ```text
//!   group or role changed ──> unsure ──a barrier asked for since then is reached──> sure
//!            ^                                                                       |
//!            '───────────────────────────────────────────────────────────────────────'
//! ```
//!
//! The group alone does not tell: whoever has just applied the removal of the last other member
//! may have voted for that one before, and what the other acknowledged since is not here yet. The
//! barrier is answered by the group of this member alone, and from then on nobody is elected
//! without it.

use super::State;
use crate::ids::{BarrierId, LogIndex};

/// What the lane's barriers told of it.
#[derive(Debug, Default)]
pub(super) struct Solitude {
    /// Barriers up to this one were asked for before the group and the role were what they are.
    before: BarrierId,
    /// What has to be applied, once a later one was reached.
    reached: Option<LogIndex>,
}

impl Solitude {
    /// A barrier this member asked for as a leader was reached.
    pub(super) fn handle_reached(&mut self, context: BarrierId, index: LogIndex) {
        if context > self.before && self.reached.is_none() {
            self.reached = Some(index);
        }
    }
}

impl State {
    /// The group, or whoever leads it, is not what it was.
    pub(super) fn on_company(&mut self) {
        self.solitude = Solitude { before: self.lane.newest(), reached: None };
    }

    /// Whether this member is the whole cluster and applies what it acknowledges before anybody
    /// can see it elsewhere, so that its newest view is current.
    pub(super) fn is_alone(&self) -> bool {
        let applied = self.ledgers.progress.mark.index;
        let is_sure = self.solitude.reached.is_some_and(|index| index <= applied);
        let members = &self.ledgers.members;
        // A learner acknowledges what it has applied, which may not be applied here yet.
        let count = match crate::planted!("alone-with-learners") {
            true => members.voters().take(2).count(),
            false => members.ids().take(2).count(),
        };
        self.role.is_leader
            && !self.trust.is_fenced()
            && count == 1
            && (is_sure || crate::planted!("alone-unasked"))
    }
}
