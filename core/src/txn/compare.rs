//! Conditions of a transaction.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::ControlFlow;

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::mvccpb::KeyValue;

use crate::error::StorageFault;
use crate::event::KeyRange;
use crate::mvcc::KvView;

/// Which branch each transaction on the way takes: the outermost first, nested ones as they come.
pub(super) fn choose(view: &KvView, txn: &pb::TxnRequest) -> Result<Vec<bool>, StorageFault> {
    let mut path = Vec::new();
    choose_into(view, txn, &mut path)?;
    Ok(path)
}

/// The operations of the branch taken.
pub(super) fn branch(txn: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn choose_into(
    view: &KvView,
    txn: &pb::TxnRequest,
    path: &mut Vec<bool>,
) -> Result<(), StorageFault> {
    let mut succeeded = true;
    for compare in &txn.compare {
        if !holds(view, compare)? {
            succeeded = false;
            break;
        }
    }
    path.push(succeeded);
    for op in branch(txn, succeeded) {
        if let Some(Request::RequestTxn(nested)) = &op.request {
            choose_into(view, nested, path)?;
        }
    }
    Ok(())
}

/// Whether the condition holds for every key it names. If none of them exists, a condition on
/// values fails, and any other sees zeros.
fn holds(view: &KvView, compare: &pb::Compare) -> Result<bool, StorageFault> {
    let target = CompareTarget::try_from(compare.target).ok();
    let needs_record = matches!(target, Some(CompareTarget::Value | CompareTarget::Lease));
    let (mut is_any, mut fault) = (false, None);
    let keys = KeyRange::parse(&compare.key, &compare.range_end);
    let flow = view.visit(&keys, &mut |_, version| {
        is_any = true;
        let kv = match needs_record {
            true => view.load(&version),
            false => Ok(KeyValue {
                create_revision: version.created,
                mod_revision: version.at.main,
                version: version.number,
                ..KeyValue::default()
            }),
        };
        match kv {
            Ok(kv) if holds_for(compare, target, &kv) => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(broken) => {
                fault = Some(broken);
                ControlFlow::Break(())
            }
        }
    });
    match fault {
        Some(fault) => Err(fault),
        None if is_any => Ok(flow.is_continue()),
        None if target == Some(CompareTarget::Value) => Ok(false),
        None => Ok(holds_for(compare, target, &KeyValue::default())),
    }
}

/// A union of another kind than the target compares as zero; an unknown target as equal; an unknown
/// relation always holds.
fn holds_for(compare: &pb::Compare, target: Option<CompareTarget>, kv: &KeyValue) -> bool {
    let number = match (target, &compare.target_union) {
        (Some(CompareTarget::Version), Some(TargetUnion::Version(number)))
        | (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(number)))
        | (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(number)))
        | (Some(CompareTarget::Lease), Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    };
    let value = match &compare.target_union {
        Some(TargetUnion::Value(value)) => value.as_ref(),
        _ => &[],
    };
    let order = match target {
        Some(CompareTarget::Version) => kv.version.cmp(&number),
        Some(CompareTarget::Create) => kv.create_revision.cmp(&number),
        Some(CompareTarget::Mod) => kv.mod_revision.cmp(&number),
        Some(CompareTarget::Lease) => kv.lease.cmp(&number),
        Some(CompareTarget::Value) => kv.value.as_ref().cmp(value),
        None => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}
