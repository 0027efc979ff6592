//! What all clients of a run share: its plan, its witness, and how far it is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use quorate_core::time::Time;
use quorate_io_tokio::transport::Dialer;
use tokio::time::sleep;

use super::plan::{HEALS_AT_MS, Plan};
use super::witness::{Witness, now};

/// What is due after the healing is due within this.
pub(super) const DUE: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Course {
    pub(super) plan: Rc<Plan>,
    pub(super) witness: Witness,
    pub(super) dialer: Dialer,
    /// Clients that have not yet done what is due of them after the healing.
    pub(super) at_work: Cell<u32>,
    /// Watchers that have not yet seen everything.
    pub(super) watching: Cell<u32>,
    /// Up to where they must see.
    pub(super) last_revision: Cell<Option<i64>>,
    /// What really happened, as a watch of every key tells it in the end.
    pub(super) changes: RefCell<Vec<Changes>>,
}

/// All changes of one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The revision.
    pub revision: i64,
    /// Its events, in order.
    pub events: Vec<quorate_proto::mvccpb::Event>,
}

impl Course {
    pub(super) fn heals_at() -> Time {
        Time::ZERO + Duration::from_millis(HEALS_AT_MS)
    }

    pub(super) fn is_healed(&self) -> bool {
        now() >= Self::heals_at()
    }

    /// Looks again and again until something holds.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            sleep(LOOK).await;
        }
    }
}

/// One fewer.
pub(super) fn leave(count: &Cell<u32>) {
    count.set(count.get().saturating_sub(1));
}
