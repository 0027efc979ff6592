//! Real time: who returned before another was called must stand before it.

use quorate_proto::etcdserverpb::{self as pb, request_op::Request};

use super::name;
use super::replay::{Places, Stretch};
use crate::history::{Call, Operation, Outcome, Reply};

/// For each operation, the coordinates between what came before it and what came after it.
pub(super) type Windows = Vec<Stretch>;

/// Checks the order, and that no read below the compacted revision was served after the
/// compaction; returns the windows.
///
/// Stretches and times both are intervals, so it is enough to look at each operation once: the
/// greatest lower end among all who returned before its call must not lie above its upper end.
pub(super) fn check(operations: &[Operation], places: &Places) -> Result<Windows, String> {
    let windows = windows(operations, places);
    for (place, operation) in operations.iter().enumerate() {
        let Some(stretch) = places.operations[place] else { continue };
        let before = windows[place].first;
        if before > stretch.last && !operation.call.is_serializable() {
            let earlier = operations.iter().enumerate().find(|(other, it)| {
                places.operations[*other].is_some_and(|stretch| stretch.first == before)
                    && it.returned.is_some_and(|returned| returned < operation.called)
            });
            let earlier = earlier.map_or_else(String::new, |(_, it)| name(it));
            let operation = name(operation);
            return Err(format!("{operation} stands before {earlier}, which had returned earlier"));
        }
        let stands = if operation.call.is_serializable() {
            stretch.first
        } else {
            stretch.first.max(before)
        };
        check_compaction(operation, places, stands)?;
    }
    Ok(windows)
}

fn windows(operations: &[Operation], places: &Places) -> Windows {
    let count = operations.len();
    let mut by_call: Vec<usize> = (0..count).collect();
    by_call.sort_by_key(|place| operations[*place].called);
    let mut by_return: Vec<usize> =
        (0..count).filter(|place| operations[*place].returned.is_some()).collect();
    by_return.sort_by_key(|place| operations[*place].returned);

    let mut windows = vec![Stretch { first: 0, last: usize::MAX }; count];
    let (mut next, mut greatest) = (0, 0);
    for place in by_call.iter().copied() {
        while let Some(other) = by_return.get(next).copied()
            && operations[other].returned < Some(operations[place].called)
        {
            let settled = !matches!(operations[other].outcome, Outcome::Unknown);
            let first = places.operations[other].filter(|_| settled).map_or(0, |it| it.first);
            greatest = greatest.max(first);
            next += 1;
        }
        windows[place].first = greatest;
    }
    let (mut rest, mut least) = (by_call.as_slice(), usize::MAX);
    for place in by_return.into_iter().rev() {
        while let [before @ .., other] = rest
            && Some(operations[*other].called) > operations[place].returned
        {
            if !operations[*other].call.is_serializable() {
                least = least.min(places.operations[*other].map_or(usize::MAX, |it| it.last));
            }
            rest = before;
        }
        windows[place].last = least;
    }
    windows
}

fn check_compaction(operation: &Operation, places: &Places, stands: usize) -> Result<(), String> {
    let Outcome::Ok(reply) = &operation.outcome else { return Ok(()) };
    let passed = places.compactions.partition_point(|(coordinate, _)| *coordinate <= stands);
    let compacted = places.compactions[..passed].last().map_or(-1, |(_, revision)| *revision);
    let read = lowest_revision(&operation.call, reply);
    if let Some(revision) = read.filter(|revision| *revision < compacted) {
        let operation = name(operation);
        return Err(format!(
            "{operation} was served revision {revision} after {compacted} was compacted"
        ));
    }
    Ok(())
}

/// The lowest revision a read asked for by number.
fn lowest_revision(call: &Call, reply: &Reply) -> Option<i64> {
    let asked = |range: &pb::RangeRequest| Some(range.revision).filter(|revision| *revision > 0);
    match (call, reply) {
        (Call::Range(range), _) => asked(range),
        (Call::Txn(txn), Reply::Txn(answer)) if call.is_read() => {
            let branch = if answer.succeeded { &txn.success } else { &txn.failure };
            let revisions = branch.iter().filter_map(|op| match &op.request {
                Some(Request::RequestRange(range)) => asked(range),
                _ => None,
            });
            revisions.min()
        }
        _ => None,
    }
}
