//! Whether a reply is the one the model gives, and if not, what exactly differs.

use std::fmt::Debug;

use quorate_proto::etcdserverpb::{
    self as pb, range_request::SortTarget, request_op::Request, response_op::Response,
};
use quorate_proto::mvccpb::KeyValue;

use crate::history::{Call, Reply};
use crate::model::sort_key;

/// The first difference between what was answered and what should have been, in words.
pub fn difference(call: &Call, expected: &Reply, actual: &Reply) -> Option<String> {
    let different = match (call, expected, actual) {
        (Call::Range(range), Reply::Range(expected), Reply::Range(actual)) => {
            compare_range(range, expected, actual)
        }
        (_, Reply::Put(expected), Reply::Put(actual)) => compare_put(expected, actual),
        (_, Reply::DeleteRange(expected), Reply::DeleteRange(actual)) => {
            compare_delete(expected, actual)
        }
        (Call::Txn(txn), Reply::Txn(expected), Reply::Txn(actual)) => {
            compare_txn(txn, expected, actual)
        }
        (Call::LeaseGrant(grant), Reply::LeaseGrant(expected), Reply::LeaseGrant(actual)) => {
            compare_grant(grant, expected, actual)
        }
        (_, Reply::Compact(_), Reply::Compact(_))
        | (_, Reply::LeaseRevoke(_), Reply::LeaseRevoke(_)) => {
            field("revision", &expected.revision(), &actual.revision())
        }
        _ => Err("it is the reply of another method".to_owned()),
    };
    different.err()
}

/// Whether a reply is of the kind its call asks for.
pub(super) fn is_reply_to(call: &Call, reply: &Reply) -> bool {
    let name = call.name();
    Reply::parse(name, &reply.encode()).is_some_and(|again| again == *reply)
}

type Compared = Result<(), String>;

fn field<T: PartialEq + Debug>(name: &str, expected: &T, actual: &T) -> Compared {
    if expected == actual {
        return Ok(());
    }
    Err(format!("{name} is {actual:?}, should be {expected:?}"))
}

fn header(expected: &Option<pb::ResponseHeader>, actual: &Option<pb::ResponseHeader>) -> Compared {
    let revision =
        |header: &Option<pb::ResponseHeader>| header.as_ref().map_or(0, |it| it.revision);
    field("header.revision", &revision(expected), &revision(actual))
}

fn compare_put(expected: &pb::PutResponse, actual: &pb::PutResponse) -> Compared {
    header(&expected.header, &actual.header)?;
    field("prev_kv", &expected.prev_kv, &actual.prev_kv)
}

fn compare_delete(
    expected: &pb::DeleteRangeResponse,
    actual: &pb::DeleteRangeResponse,
) -> Compared {
    header(&expected.header, &actual.header)?;
    field("deleted", &expected.deleted, &actual.deleted)?;
    field("prev_kvs", &expected.prev_kvs, &actual.prev_kvs)
}

fn compare_grant(
    grant: &pb::LeaseGrantRequest,
    expected: &pb::LeaseGrantResponse,
    actual: &pb::LeaseGrantResponse,
) -> Compared {
    header(&expected.header, &actual.header)?;
    if grant.id != 0 {
        field("ID", &expected.id, &actual.id)?;
    }
    field("TTL", &expected.ttl, &actual.ttl)
}

fn compare_txn(
    txn: &pb::TxnRequest,
    expected: &pb::TxnResponse,
    actual: &pb::TxnResponse,
) -> Compared {
    header(&expected.header, &actual.header)?;
    field("succeeded", &expected.succeeded, &actual.succeeded)?;
    field("number of responses", &expected.responses.len(), &actual.responses.len())?;
    let ops = if expected.succeeded { &txn.success } else { &txn.failure };
    for (place, op) in ops.iter().enumerate() {
        let responses = (&expected.responses[place].response, &actual.responses[place].response);
        compare_op(&op.request, responses).map_err(|what| format!("response {place}: {what}"))?;
    }
    Ok(())
}

fn compare_op(
    request: &Option<Request>,
    responses: (&Option<Response>, &Option<Response>),
) -> Compared {
    match (request, responses) {
        (
            Some(Request::RequestRange(range)),
            (Some(Response::ResponseRange(expected)), Some(Response::ResponseRange(actual))),
        ) => compare_range(range, expected, actual),
        (_, (Some(Response::ResponsePut(expected)), Some(Response::ResponsePut(actual)))) => {
            compare_put(expected, actual)
        }
        (
            _,
            (
                Some(Response::ResponseDeleteRange(expected)),
                Some(Response::ResponseDeleteRange(actual)),
            ),
        ) => compare_delete(expected, actual),
        (
            Some(Request::RequestTxn(txn)),
            (Some(Response::ResponseTxn(expected)), Some(Response::ResponseTxn(actual))),
        ) => compare_txn(txn, expected, actual),
        (_, (_, actual)) => Err(format!("{actual:?} does not answer this operation")),
    }
}

fn compare_range(
    range: &pb::RangeRequest,
    expected: &pb::RangeResponse,
    actual: &pb::RangeResponse,
) -> Compared {
    header(&expected.header, &actual.header)?;
    field("count", &expected.count, &actual.count)?;
    field("more", &expected.more, &actual.more)?;
    field("number of keys", &expected.kvs.len(), &actual.kvs.len())?;
    let target = range.sort_target();
    if target == SortTarget::Key {
        return compare_kvs(&expected.kvs, &actual.kvs);
    }
    let order =
        |kvs: &[KeyValue]| -> Vec<_> { kvs.iter().map(|kv| sort_key(target, kv)).collect() };
    field("order", &order(&expected.kvs), &order(&actual.kvs))?;
    compare_kvs(
        &settle(target, &expected.kvs, expected.more),
        &settle(target, &actual.kvs, expected.more),
    )
}

/// Equal sort keys may come in any order, and a limit may fall anywhere among the last of them:
/// what is left is what every member must answer alike.
fn settle(target: SortTarget, kvs: &[KeyValue], more: bool) -> Vec<KeyValue> {
    let mut kvs = kvs.to_vec();
    if more && let Some(last) = kvs.last().map(|kv| sort_key(target, kv)) {
        kvs.retain(|kv| sort_key(target, kv) != last);
    }
    kvs.sort_by_key(|kv| (sort_key(target, kv), kv.key.clone()));
    kvs
}

fn compare_kvs(expected: &[KeyValue], actual: &[KeyValue]) -> Compared {
    for (place, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        field(&format!("kvs[{place}]"), expected, actual)?;
    }
    Ok(())
}
