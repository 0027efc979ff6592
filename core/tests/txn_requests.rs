//! Puts, deletes and transactions: what is refused, what happens, what is answered.
#![allow(clippy::unwrap_used)]

mod mvcc_image;

use mvcc_image::{Ledger, bytes};
use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_core::ids::{LeaseId, Revision};
use quorate_core::mvcc::Outcome;
use quorate_core::txn::{
    Leases, apply_delete_range, apply_put, apply_txn, check_delete, check_put, check_range,
    check_range_stream, check_txn, is_read_only, is_serializable, read_range, read_txn,
};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::mvccpb::KeyValue;

/// Only lease 7 is alive.
struct Seven;

impl Leases for Seven {
    fn exists(&self, lease: LeaseId) -> bool {
        lease == LeaseId(7)
    }
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

fn range(key: &str, end: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: bytes(key), range_end: bytes(end), ..Default::default() }
}

fn delete(key: &str, end: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: bytes(key), range_end: bytes(end), prev_kv: false }
}

fn op(request: impl Into<Op>) -> pb::RequestOp {
    pb::RequestOp { request: Some(request.into().0) }
}

struct Op(Request);
impl From<pb::PutRequest> for Op {
    fn from(request: pb::PutRequest) -> Self {
        Self(Request::RequestPut(request))
    }
}
impl From<pb::RangeRequest> for Op {
    fn from(request: pb::RangeRequest) -> Self {
        Self(Request::RequestRange(request))
    }
}
impl From<pb::DeleteRangeRequest> for Op {
    fn from(request: pb::DeleteRangeRequest) -> Self {
        Self(Request::RequestDeleteRange(request))
    }
}
impl From<pb::TxnRequest> for Op {
    fn from(request: pb::TxnRequest) -> Self {
        Self(Request::RequestTxn(request))
    }
}

fn then(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { success, ..Default::default() }
}

fn compare(key: &str, result: CompareResult, target: TargetUnion) -> pb::Compare {
    let kind = match target {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    pb::Compare {
        result: result as i32,
        target: kind as i32,
        key: bytes(key),
        target_union: Some(target),
        ..Default::default()
    }
}

type Applied = (Result<pb::TxnResponse, ReadError>, Outcome);

fn apply(ledger: &mut Ledger, txn: &pb::TxnRequest) -> Applied {
    ledger.mutate(|writer| apply_txn(writer, txn, &Seven))
}

fn refused<T>(refusal: Refusal) -> Result<T, ReadError> {
    Err(ReadError::Refused(refusal))
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

#[test]
fn single_requests_are_checked_by_themselves() {
    assert_eq!(check_range(&range("", "a")), Err(Refusal::EmptyKey));
    assert_eq!(check_range(&range("a", "")), Ok(()));
    for (sort_order, sort_target, expected) in [
        (2, 4, Ok(())),
        (3, 0, Err(Refusal::InvalidSortOption)),
        (0, 5, Err(Refusal::InvalidSortOption)),
        (-1, 0, Err(Refusal::InvalidSortOption)),
    ] {
        let request = pb::RangeRequest { sort_order, sort_target, ..range("a", "") };
        assert_eq!(check_range(&request), expected);
    }
    assert_eq!(check_put(&put("", "v")), Err(Refusal::EmptyKey));
    let ignoring = pb::PutRequest { ignore_value: true, ..put("a", "v") };
    assert_eq!(check_put(&ignoring), Err(Refusal::ValueProvided));
    let ignoring = pb::PutRequest { ignore_lease: true, lease: 1, ..put("a", "v") };
    assert_eq!(check_put(&ignoring), Err(Refusal::LeaseProvided));
    let ignoring = pb::PutRequest { ignore_value: true, ignore_lease: true, ..put("a", "") };
    assert_eq!(check_put(&ignoring), Ok(()));
    assert_eq!(check_delete(&delete("", "a")), Err(Refusal::EmptyKey));
    assert_eq!(check_delete(&delete("a", "")), Ok(()));
}

#[test]
fn nesting_takes_from_the_budget_and_neighbours_do_not() {
    let gets = |count: usize| vec![op(range("a", "")); count];
    assert_eq!(check_txn(&then(gets(3)), 3), Ok(()));
    assert_eq!(check_txn(&then(gets(4)), 3), Err(Refusal::TooManyOps));
    let one = compare("a", CompareResult::Equal, TargetUnion::Version(0));
    let compares = pb::TxnRequest { compare: vec![one; 4], ..then(gets(1)) };
    assert_eq!(check_txn(&compares, 3), Err(Refusal::TooManyOps));
    let nested = then(gets(2));
    let side_by_side = then(vec![op(nested.clone()), op(nested.clone())]);
    assert_eq!(check_txn(&side_by_side, 4), Ok(()));
    assert_eq!(check_txn(&side_by_side, 3), Err(Refusal::TooManyOps));
    assert_eq!(check_txn(&then(vec![op(side_by_side.clone())]), 5), Ok(()));
    assert_eq!(check_txn(&then(vec![op(side_by_side)]), 4), Err(Refusal::TooManyOps));
}

#[test]
fn every_part_of_a_transaction_is_checked() {
    let empty = compare("", CompareResult::Equal, TargetUnion::Version(0));
    let txn = pb::TxnRequest { compare: vec![empty], ..Default::default() };
    assert_eq!(check_txn(&txn, 9), Err(Refusal::EmptyKey));
    let unset = pb::TxnRequest { failure: vec![pb::RequestOp::default()], ..Default::default() };
    assert_eq!(check_txn(&unset, 9), Err(Refusal::KeyNotFound));
    let nested = then(vec![op(then(vec![op(put("", ""))]))]);
    assert_eq!(check_txn(&nested, 9), Err(Refusal::EmptyKey));
    assert_eq!(check_txn(&pb::TxnRequest::default(), 9), Ok(()));
}

#[test]
fn a_branch_touches_a_key_once() {
    let a = || op(put("a", ""));
    let either = pb::TxnRequest { failure: vec![a()], ..then(vec![a()]) };
    let deleting = then(vec![op(delete("a", "c"))]);
    let duplicate = Err(Refusal::DuplicateKey);
    for (branch, expected) in [
        (vec![a(), op(put("b", ""))], Ok(())),
        (vec![a(), a()], duplicate),
        (vec![a(), op(delete("a", ""))], duplicate),
        (vec![op(delete("A", "b")), a()], duplicate),
        (vec![op(delete("A", "a")), op(delete("b", "c")), a()], Ok(())),
        (vec![op(delete("A", "B")), op(delete("B", "a\0")), a()], duplicate),
        (vec![op(delete("A", "z")), op(delete("B", "C")), a()], duplicate),
        (vec![op(delete("B", "C")), op(delete("A", "z")), a()], duplicate),
        (vec![op(delete("a", "c")), op(delete("b", "d"))], Ok(())),
        // All keys from `A` on, but seen as none; as none are below `A` and from `b` on.
        (vec![op(delete("A", "\0")), a()], Ok(())),
        (vec![op(delete("a", "\0")), a()], Ok(())),
        (vec![op(delete("a", "A")), a()], Ok(())),
        (vec![op(delete("a", "a")), a()], Ok(())),
        (vec![op(either.clone())], Ok(())),
        (vec![op(either.clone()), a()], duplicate),
        (vec![op(either.clone()), op(either.clone())], duplicate),
        (vec![op(either.clone()), op(delete("a", ""))], duplicate),
        // A nested delete is seen by what comes after it, and by the puts of this level.
        (vec![op(deleting.clone()), op(either.clone())], duplicate),
        (vec![op(either), op(deleting.clone())], Ok(())),
        (vec![a(), op(deleting)], duplicate),
    ] {
        assert_eq!(check_txn(&then(branch.clone()), 9), expected, "{branch:?}");
        let failure = pb::TxnRequest { failure: branch, ..Default::default() };
        assert_eq!(check_txn(&failure, 9), expected);
    }
}

#[test]
fn only_ranges_make_a_transaction_read_only() {
    let serializable = op(pb::RangeRequest { serializable: true, ..range("a", "") });
    for (success, reads, stale) in [
        (vec![], true, true),
        (vec![serializable.clone()], true, true),
        (vec![serializable, op(range("a", ""))], true, false),
        (vec![op(put("a", ""))], false, false),
        (vec![op(then(vec![]))], false, false),
        (vec![pb::RequestOp::default()], false, false),
    ] {
        let txn = pb::TxnRequest { failure: success.clone(), ..Default::default() };
        assert_eq!((is_read_only(&txn), is_serializable(&txn)), (reads, stale));
        assert_eq!((is_read_only(&then(success)), is_serializable(&txn)), (reads, stale));
    }
}

/// a=1 with lease 7 at 2 and again at 3, b=2 at 4.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    for _ in 0..2 {
        ledger.mutate(|writer| writer.put(&bytes("a"), &bytes("1"), LeaseId(7)));
    }
    ledger.put("b", "2");
    ledger
}

#[test]
fn puts_keep_what_they_are_told_to_keep() {
    let mut ledger = ledger();
    let mut apply = |request| ledger.mutate(|writer| apply_put(writer, &request, &Seven)).0;
    let plain = |revision| Ok(pb::PutResponse { header: header(revision), prev_kv: None });
    let before = KeyValue {
        key: bytes("a"),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: bytes("1"),
        lease: 7,
    };
    let prev_kv = pb::PutRequest { prev_kv: true, ignore_lease: true, ..put("a", "3") };
    let answer = pb::PutResponse { header: header(5), prev_kv: Some(before.clone()) };
    assert_eq!(apply(prev_kv.clone()), Ok(answer));
    assert_eq!(apply(pb::PutRequest { ignore_value: true, ..put("a", "") }), plain(6));
    let kept = KeyValue { mod_revision: 5, version: 3, value: bytes("3"), ..before.clone() };
    let detached = KeyValue { mod_revision: 6, version: 4, lease: 0, ..kept };
    let answer = pb::PutResponse { header: header(7), prev_kv: Some(detached) };
    assert_eq!(apply(prev_kv), Ok(answer));
    let missing = pb::PutRequest { ignore_value: true, ..put("x", "") };
    assert_eq!(apply(missing.clone()), refused(Refusal::KeyNotFound));
    let lost = pb::PutRequest { lease: 8, ..missing };
    assert_eq!(apply(lost), refused(Refusal::LeaseNotFound));
    assert_eq!(apply(pb::PutRequest { prev_kv: true, ..put("x", "") }), plain(8));
    assert_eq!(ledger.mvcc.revision(), Revision(8));
}

#[test]
fn deletes_tell_what_they_took() {
    let mut ledger = ledger();
    let request = pb::DeleteRangeRequest { prev_kv: true, ..delete("a", "\0") };
    let mut apply = |request| ledger.mutate(|writer| apply_delete_range(writer, &request)).0;
    let answer = apply(request.clone()).unwrap();
    let taken: Vec<_> = answer.prev_kvs.iter().map(|kv| (kv.value.clone(), kv.lease)).collect();
    assert_eq!((answer.header, answer.deleted), (header(5), 2));
    assert_eq!(taken, [(bytes("1"), 7), (bytes("2"), 0)]);
    let nothing = pb::DeleteRangeResponse { header: header(5), ..Default::default() };
    assert_eq!(apply(request), Ok(nothing));
}

#[test]
fn conditions_compare_as_etcds_do() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use TargetUnion::{CreateRevision, Lease, ModRevision, Value, Version};
    let mut ledger = ledger();
    ledger.delete("gone");
    let view = ledger.mvcc.view();
    let over = |end: &str, compare| pb::Compare { range_end: bytes(end), ..compare };
    let value = |text: &str| Value(bytes(text));
    let version = compare("a", Equal, Version(2));
    for (compare, expected) in [
        (version.clone(), true),
        (compare("a", NotEqual, Version(2)), false),
        (compare("a", Greater, CreateRevision(1)), true),
        (compare("a", Less, CreateRevision(2)), false),
        (compare("a", Equal, ModRevision(3)), true),
        (compare("a", Equal, Lease(7)), true),
        (compare("b", Less, Lease(1)), true),
        (compare("b", Greater, value("12")), true),
        (compare("b", Equal, value("2")), true),
        (compare("x", Equal, value("")), false),
        (compare("x", NotEqual, value("q")), false),
        (compare("x", Equal, Version(0)), true),
        (compare("x", Less, ModRevision(1)), true),
        (compare("x", Equal, Lease(0)), true),
        (over("\0", compare("a", Greater, Version(0))), true),
        (over("\0", compare("a", Greater, Version(1))), false),
        (over("c", compare("a", Less, value("3"))), true),
        (over("z", compare("c", Equal, Version(0))), true),
        (over("z", compare("c", NotEqual, value("1"))), false),
        // Another kind of number than the target, and no number at all, are zero.
        (pb::Compare { target: CompareTarget::Mod as i32, ..version.clone() }, false),
        (
            pb::Compare { target: CompareTarget::Lease as i32, ..compare("b", Equal, Version(9)) },
            true,
        ),
        (pb::Compare { target_union: None, ..compare("a", Greater, value("9")) }, true),
        (pb::Compare { target_union: None, ..compare("x", Equal, Version(9)) }, true),
        (pb::Compare { result: 9, ..compare("a", Equal, Version(9)) }, true),
        (pb::Compare { result: 9, ..compare("x", Equal, value("9")) }, false),
        (pb::Compare { target: 9, ..version.clone() }, true),
        (pb::Compare { target: 9, ..compare("a", NotEqual, Version(9)) }, false),
    ] {
        let txn = pb::TxnRequest { compare: vec![compare.clone()], ..Default::default() };
        assert_eq!(read_txn(&view, &txn).unwrap().succeeded, expected, "{compare:?}");
        let both = pb::TxnRequest { compare: vec![version.clone(), compare], ..Default::default() };
        assert_eq!(read_txn(&view, &both).unwrap().succeeded, expected);
    }
}

#[test]
fn a_transaction_sees_its_own_writes_and_nested_conditions_do_not() {
    let mut ledger = ledger();
    let absent = compare("c", CompareResult::Equal, TargetUnion::Version(0));
    let nested = pb::TxnRequest {
        compare: vec![absent],
        failure: vec![op(put("never", ""))],
        ..then(vec![op(put("d", "4")), op(delete("a", ""))])
    };
    let txn = then(vec![
        op(range("c", "")),
        op(put("c", "3")),
        op(range("c", "")),
        op(pb::RangeRequest { revision: 3, ..range("a", "\0") }),
        op(nested),
        op(delete("x", "")),
    ]);
    assert_eq!(check_txn(&txn, 9), Ok(()));
    let (answer, outcome) = apply(&mut ledger, &txn);
    let kv = |key: &str, create, modified, version, value: &str, lease| KeyValue {
        key: bytes(key),
        create_revision: create,
        mod_revision: modified,
        version,
        value: bytes(value),
        lease,
    };
    let found = |revision, kvs: Vec<KeyValue>| {
        let count = kvs.len() as i64;
        let response = pb::RangeResponse { header: header(revision), kvs, more: false, count };
        Some(Response::ResponseRange(response))
    };
    let written = pb::PutResponse { header: header(5), prev_kv: None };
    let deleted =
        |deleted| pb::DeleteRangeResponse { header: header(5), deleted, ..Default::default() };
    let of = |response| pb::ResponseOp { response };
    let inner = pb::TxnResponse {
        header: header(0),
        succeeded: true,
        responses: vec![
            of(Some(Response::ResponsePut(written.clone()))),
            of(Some(Response::ResponseDeleteRange(deleted(1)))),
        ],
    };
    let expected = pb::TxnResponse {
        header: header(5),
        succeeded: true,
        responses: vec![
            of(found(4, vec![])),
            of(Some(Response::ResponsePut(written))),
            of(found(5, vec![kv("c", 5, 5, 1, "3", 0)])),
            of(found(5, vec![kv("a", 2, 3, 2, "1", 7)])),
            of(Some(Response::ResponseTxn(inner))),
            of(Some(Response::ResponseDeleteRange(deleted(0)))),
        ],
    };
    assert_eq!(answer, Ok(expected));
    let changes = outcome.changes.unwrap();
    let told: Vec<_> = changes.events.iter().map(|e| e.kv.clone().unwrap()).collect();
    let gone = KeyValue { key: bytes("a"), mod_revision: 5, ..Default::default() };
    assert_eq!(told, [kv("c", 5, 5, 1, "3", 0), kv("d", 5, 5, 1, "4", 0), gone]);
}

#[test]
fn a_refused_transaction_leaves_no_trace() {
    let mut ledger = ledger();
    ledger.compact(3);
    let at = |revision| op(pb::RangeRequest { revision, ..range("a", "") });
    let ignoring = |key| op(pb::PutRequest { ignore_value: true, ..put(key, "") });
    let leased = |lease| op(pb::PutRequest { lease, ..put("l", "") });
    let both = op(pb::PutRequest { lease: 8, ignore_value: true, ..put("x", "") });
    let hidden = then(vec![op(then(vec![at(5)]))]);
    for (ops, refusal) in [
        (vec![at(5)], Refusal::FutureRev),
        (vec![at(2)], Refusal::Compacted),
        (vec![at(-1)], Refusal::Compacted),
        (vec![ignoring("x")], Refusal::KeyNotFound),
        (vec![leased(8)], Refusal::LeaseNotFound),
        (vec![both], Refusal::LeaseNotFound),
        (vec![op(hidden)], Refusal::FutureRev),
        // `b` is there when the transaction is checked, and gone when the put comes to it.
        (vec![op(delete("B", "\0")), ignoring("b")], Refusal::KeyNotFound),
        (vec![pb::RequestOp::default()], Refusal::KeyNotFound),
    ] {
        let mut txn = then(vec![op(put("n", ""))]);
        txn.success.extend(ops);
        let hash = ledger.mvcc.view().hash(0);
        let (answer, outcome) = apply(&mut ledger, &txn);
        assert_eq!(answer, refused(refusal));
        assert_eq!(outcome, Outcome { revision: Revision(4), ..Default::default() });
        assert_eq!(ledger.mvcc.view().hash(0), hash);
        assert_eq!(ledger.mvcc.keys_live(), 2);
    }
    let kept = then(vec![leased(7), op(delete("b", "")), ignoring("a"), at(3), at(4), at(0)]);
    assert_eq!(apply(&mut ledger, &kept).1.revision, Revision(5));
}

#[test]
fn below_zero_is_the_newest_until_something_was_compacted() {
    let mut ledger = ledger();
    let at = |revision| then(vec![op(pb::RangeRequest { revision, ..range("a", "") })]);
    let view = ledger.mvcc.view();
    assert_eq!(read_txn(&view, &at(-1)).unwrap().responses.len(), 1);
    assert_eq!(read_txn(&view, &at(-2)), refused(Refusal::Compacted));
    let alone = pb::RangeRequest { revision: -2, ..range("a", "") };
    assert_eq!(read_range(&view, &alone).unwrap().count, 1);
    ledger.compact(2);
    assert_eq!(read_txn(&ledger.mvcc.view(), &at(-1)), refused(Refusal::Compacted));
}

#[test]
fn reading_transactions_answer_with_the_stores_revision() {
    let view = ledger().mvcc.view();
    let never = compare("a", CompareResult::Equal, TargetUnion::Version(0));
    let success = vec![op(range("b", ""))];
    let failure = vec![op(range("a", "")), op(pb::RangeRequest { revision: 2, ..range("b", "") })];
    let txn = pb::TxnRequest { compare: vec![never], success, failure };
    let answer = read_txn(&view, &txn).unwrap();
    assert_eq!((answer.header, answer.succeeded), (header(4), false));
    let told: Vec<_> = answer
        .responses
        .into_iter()
        .map(|op| match op.response {
            Some(Response::ResponseRange(range)) => (range.header, range.count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(header(4), 1), (header(4), 0)]);
    let writing = then(vec![op(put("a", ""))]);
    assert_eq!(read_txn(&view, &writing), refused(Refusal::KeyNotFound));
}

#[test]
fn a_transaction_without_effect_takes_no_revision() {
    let mut ledger = ledger();
    let txn = then(vec![op(delete("x", "")), op(range("a", ""))]);
    let (answer, outcome) = apply(&mut ledger, &txn);
    assert_eq!(answer.unwrap().header, header(4));
    assert_eq!(outcome, Outcome { revision: Revision(4), ..Default::default() });
}

#[test]
fn a_range_in_chunks_has_no_order_of_its_own_and_no_filters() {
    let asked = |order: i32, target: i32, filter: i64| {
        check_range_stream(&pb::RangeRequest {
            key: bytes("k"),
            sort_order: order,
            sort_target: target,
            min_mod_revision: filter,
            ..Default::default()
        })
    };
    for (order, target, filter, expected) in [
        (0, 0, 0, Ok(())),
        (1, 0, 0, Ok(())),
        // Without an order the target is not looked at.
        (0, 4, 0, Ok(())),
        (1, 1, 0, Err(Refusal::RangeStreamSorted)),
        (2, 0, 0, Err(Refusal::RangeStreamSorted)),
        (2, 0, 1, Err(Refusal::RangeStreamSorted)),
        (0, 0, 1, Err(Refusal::RangeStreamFiltered)),
        (3, 0, 1, Err(Refusal::InvalidSortOption)),
    ] {
        assert_eq!(asked(order, target, filter), expected, "{order} {target} {filter}");
    }
    let no_key = pb::RangeRequest { sort_order: 2, ..Default::default() };
    assert_eq!(check_range_stream(&no_key), Err(Refusal::EmptyKey));
}
