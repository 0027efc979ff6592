//! Alarms: facts about members on which the whole cluster refuses requests.
//!
//! An alarm is a pair (member, kind). `NOSPACE` anywhere refuses what needs space everywhere;
//! `CORRUPT` anywhere refuses every change. They are raised and taken back through the log, so
//! that all members refuse from the same entry on.
//!
//! Invariants: the set and its rows in the store are equal after every entry; order is by kind,
//! then member.
//!
//! Absent on purpose: who raises them. That is `door/` for the quota.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3alarm/alarms.go`, `server/storage/quota.go`

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;
use quorate_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, RequestOp, TxnRequest, alarm_request::AlarmAction,
    request_op,
};

use crate::error::StorageFault;
use crate::ids::MemberId;
use crate::storage::{StateRead, Table, Write};

/// What etcd counts for a put on top of its key and value.
const PUT_COST: u64 = 256;
/// What etcd counts for a lease.
pub(crate) const LEASE_COST: u64 = 64;

/// The raised alarms.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    raised: BTreeSet<(i32, u64)>,
}

impl Alarms {
    /// Reads the `alarm` table.
    pub(crate) fn load(image: &dyn StateRead) -> Result<Self, StorageFault> {
        let mut alarms = Self::default();
        let mut broken = None;
        image.scan(Table::Alarm, &[], &[], &mut |key, _| match AlarmMember::decode(key) {
            Ok(member) => {
                alarms.raised.insert((member.alarm, member.member_id));
                ControlFlow::Continue(())
            }
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        })?;
        match broken {
            Some(error) => Err(StorageFault::new(alloc::format!("unreadable alarm row: {error}"))),
            None => Ok(alarms),
        }
    }

    /// Whether an alarm of that kind is raised by anyone.
    pub(crate) fn is_raised(&self, kind: AlarmType) -> bool {
        self.raised.range((kind as i32, 0)..=(kind as i32, u64::MAX)).next().is_some()
    }

    /// Whether that member has raised an alarm of that kind.
    pub(crate) fn has(&self, member: MemberId, kind: AlarmType) -> bool {
        self.raised.contains(&(kind as i32, member.get()))
    }

    /// All raised alarms.
    pub(crate) fn list(&self) -> Arc<[AlarmMember]> {
        self.raised.iter().map(|&(alarm, member_id)| AlarmMember { member_id, alarm }).collect()
    }

    /// Carries out one request. Returns the alarms it concerned and the rows it changed.
    pub(crate) fn apply(&mut self, request: &AlarmRequest) -> (Vec<AlarmMember>, Vec<Write>) {
        let pair = AlarmMember { member_id: request.member_id, alarm: request.alarm };
        let place = (pair.alarm, pair.member_id);
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => {
                let wanted =
                    |alarm| request.alarm == AlarmType::None as i32 || alarm == request.alarm;
                (self.list().iter().filter(|m| wanted(m.alarm)).copied().collect(), Vec::new())
            }
            Ok(AlarmAction::Activate) if pair.alarm != AlarmType::None as i32 => {
                let fresh = self.raised.insert(place);
                (alloc::vec![pair], if fresh { row(pair, true) } else { Vec::new() })
            }
            Ok(AlarmAction::Deactivate) if self.raised.remove(&place) => {
                (alloc::vec![pair], row(pair, false))
            }
            _ => (Vec::new(), Vec::new()),
        }
    }
}

fn row(member: AlarmMember, is_raised: bool) -> Vec<Write> {
    let key = Bytes::from(member.encode_to_vec());
    alloc::vec![Write { table: Table::Alarm, key, value: is_raised.then(Bytes::new) }]
}

/// What a put needs in bytes, as etcd estimates it.
pub(crate) fn put_cost(key: &[u8], value: &[u8]) -> u64 {
    PUT_COST + key.len() as u64 + value.len() as u64
}

/// What a transaction needs at most: the dearer of its branches.
pub(crate) fn txn_cost(txn: &TxnRequest) -> u64 {
    let branch = |ops: &[RequestOp]| -> u64 {
        ops.iter()
            .map(|op| match &op.request {
                Some(request_op::Request::RequestPut(put)) => put_cost(&put.key, &put.value),
                Some(request_op::Request::RequestTxn(txn)) => txn_cost(txn),
                _ => 0,
            })
            .sum()
    };
    branch(&txn.success).max(branch(&txn.failure))
}
