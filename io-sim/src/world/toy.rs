//! The smallest machines a world can drive: the first member leads for ever, and a state that
//! knows puts and watches. For tests of the world itself.

mod replica;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_core::error::{Refusal, StorageFault};
use quorate_core::event::ReadError;
use quorate_core::storage::{LogContents, SnapshotMark, StateRead};
use quorate_core::time::Time;
use quorate_core::{Config, View};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb::ConfState;

use crate::world::Build;

pub use replica::ToyReplica;
pub use state::ToyState;

/// What is wrong with the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Nothing.
    Nothing,
    /// Digests contain the member's id.
    OwnDigest,
    /// The hundredth entry is too much.
    Panic,
    /// Request ids depend on how many runs there were before.
    Runs(u64),
    /// Entries are acknowledged before they are safe.
    EarlyAck,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

impl Planted {
    /// Machines that are another in each run.
    pub fn another_each_run() -> Self {
        Self::Runs(RUNS.fetch_add(1, Ordering::Relaxed))
    }
}

/// Builds them.
pub struct Toy(pub Planted);

impl Build for Toy {
    type Replica = ToyReplica;
    type State = ToyState;

    fn open_state(
        &self,
        config: &Config,
        image: Arc<dyn StateRead>,
        _: Time,
    ) -> Result<ToyState, StorageFault> {
        ToyState::open(config, image, self.0)
    }

    fn mark(&self, state: &ToyState) -> SnapshotMark {
        state.mark()
    }

    fn open_replica(
        &self,
        config: &Config,
        stored: SnapshotMark,
        log: LogContents,
        now: Time,
    ) -> Result<ToyReplica, StorageFault> {
        ToyReplica::open(config, stored, log, now, self.0)
    }

    fn group(&self, replica: &ToyReplica) -> ConfState {
        replica.group()
    }

    fn range(&self, _: &View, _: &pb::RangeRequest) -> Result<pb::RangeResponse, ReadError> {
        Err(ReadError::Refused(Refusal::NotCapable))
    }

    fn read_txn(&self, _: &View, _: &pb::TxnRequest) -> Result<pb::TxnResponse, ReadError> {
        Err(ReadError::Refused(Refusal::NotCapable))
    }
}
