//! The machines `quorate-sim` drives: the core's own, under every oracle.

use std::sync::Arc;

use crate::oracle::Oracles;
use crate::oracle::liveness::Pace;
use quorate_core::error::StorageFault;
use quorate_core::event::ReadError;
use quorate_core::mvcc::check_heads;
use quorate_core::storage::{LogContents, SnapshotMark, StateRead};
use quorate_core::time::{Duration, Time};
use quorate_core::{Config, Replica, State, View, txn};
use quorate_io_sim::world::plan::Fault;
use quorate_io_sim::world::{Build, Plan};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb::ConfState;

use super::Subject;

/// The core's machines.
pub struct Members;

impl Build for Members {
    type Replica = Replica;
    type State = State;

    fn open_state(
        &self,
        config: &Config,
        image: Arc<dyn StateRead>,
        now: Time,
    ) -> Result<State, StorageFault> {
        // What a member starts from is what its records say, whenever it stopped.
        let checked = check_heads(&*image);
        let state = State::open(config, image, now)?;
        assert_eq!(checked, Ok(()), "a store that opens");
        Ok(state)
    }

    fn mark(&self, state: &State) -> SnapshotMark {
        state.mark()
    }

    fn open_replica(
        &self,
        config: &Config,
        stored: SnapshotMark,
        log: LogContents,
        now: Time,
    ) -> Result<Replica, StorageFault> {
        Replica::open(config, stored, log, now)
    }

    fn group(&self, replica: &Replica) -> ConfState {
        replica.group()
    }

    fn range(
        &self,
        view: &View,
        request: &pb::RangeRequest,
    ) -> Result<pb::RangeResponse, ReadError> {
        txn::check_range(request)?;
        let response = txn::read_range(&view.kv, request)?;
        Ok(pb::RangeResponse { header: Some(view.header(view.kv.revision())), ..response })
    }

    fn read_txn(
        &self,
        view: &View,
        request: &pb::TxnRequest,
    ) -> Result<pb::TxnResponse, ReadError> {
        txn::check_txn(request, Config::default().txn_ops_max)?;
        let response = txn::read_txn(&view.kv, request)?;
        Ok(pb::TxnResponse { header: Some(view.header(view.kv.revision())), ..response })
    }
}

/// How much any clock drifts, in parts in a million.
fn drift_ppm(plan: &Plan) -> u64 {
    let turned = plan.strikes.iter().filter_map(|strike| match strike.fault {
        Fault::TurnClock { pace, .. } => Some(pace.abs_diff(1_000_000)),
        _ => None,
    });
    turned.max().unwrap_or(0).max(plan.weather.drift_ppm)
}

impl Subject for Members {
    type Build = Self;
    type Judges = Oracles;

    fn build() -> Self {
        Self
    }

    fn judges(plan: &Plan) -> Oracles {
        let election_timeout = Duration::from_millis(plan.shape.election_ms);
        Oracles::all(Pace { election_timeout, drift_ppm: drift_ppm(plan) })
    }

    fn fit(plan: Plan) -> Plan {
        plan
    }
}
