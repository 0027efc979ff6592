//! The model against what section by section of etcd's behaviour says.

use quorate_proto::etcdserverpb::{
    Compare, RequestOp, ResponseOp,
    compare::{CompareResult, CompareTarget, TargetUnion},
    range_request::{SortOrder, SortTarget},
    request_op::Request as Op,
    response_op::Response as Answer,
};

use super::*;

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn leased(key: &str, lease: i64) -> pb::PutRequest {
    pb::PutRequest { lease, ..put(key, "v") }
}

fn delete(key: &'static str, end: &'static [u8]) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: true }
}

fn range(key: &'static str, end: &'static [u8]) -> pb::RangeRequest {
    pb::RangeRequest { key: key.into(), range_end: end.into(), ..Default::default() }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// A short form of a range's answer: keys with create, mod and version, then count and more.
fn seen(model: &Model, request: &pb::RangeRequest) -> String {
    let verdict = model.evaluate(&Call::Range(request.clone()), Compaction::Checked);
    let Ok(Reply::Range(reply)) = verdict.reply else { panic!("{verdict:?}") };
    let kvs: Vec<String> = reply.kvs.iter().map(show).collect();
    let more = if reply.more { " more" } else { "" };
    format!("{} of {}{more} @{}", kvs.join(" "), reply.count, reply.header.unwrap().revision)
}

fn show(kv: &KeyValue) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let KeyValue { create_revision, mod_revision, version, .. } = kv;
    format!("{}={}/{create_revision}/{mod_revision}/{version}", text(&kv.key), text(&kv.value))
}

fn filled() -> Model {
    let mut model = Model::default();
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("a", "4")] {
        model.apply(&Call::Put(put(key, value))).unwrap();
    }
    model.apply(&Call::DeleteRange(delete("b", b""))).unwrap();
    model
}

#[test]
fn ranges_see_the_past_and_the_present() {
    let model = filled();
    let all = range("a", &[0]);
    assert_eq!(seen(&model, &all), "a=4/2/5/2 c=2/4/4/1 of 2 @6");
    let at = |revision| pb::RangeRequest { revision, ..all.clone() };
    assert_eq!(seen(&model, &at(5)), "a=4/2/5/2 b=1/3/3/1 c=2/4/4/1 of 3 @6");
    assert_eq!(seen(&model, &at(3)), "a=3/2/2/1 b=1/3/3/1 of 2 @6");
    assert_eq!(seen(&model, &at(1)), " of 0 @6");
    assert_eq!(seen(&model, &range("c", b"a")), " of 0 @6");
    let refused = model.evaluate(&Call::Range(at(7)), Compaction::Checked).reply;
    assert_eq!(refused, Err(Refusal::FutureRev));
}

#[test]
fn limits_sorts_and_filters() {
    let mut model = filled();
    model.apply(&Call::Put(put("d", "0"))).unwrap();
    let all = range("a", &[0]);
    let limited = pb::RangeRequest { limit: 2, ..all.clone() };
    assert_eq!(seen(&model, &limited), "a=4/2/5/2 c=2/4/4/1 of 3 more @7");
    let sorted = |order: SortOrder, target: SortTarget| pb::RangeRequest {
        sort_order: order as i32,
        sort_target: target as i32,
        ..limited.clone()
    };
    let by_value = sorted(SortOrder::Ascend, SortTarget::Value);
    assert_eq!(seen(&model, &by_value), "d=0/7/7/1 c=2/4/4/1 of 3 more @7");
    let by_mod = sorted(SortOrder::Descend, SortTarget::Mod);
    assert_eq!(seen(&model, &by_mod), "d=0/7/7/1 a=4/2/5/2 of 3 more @7");
    // Without an order the limit is taken in key order first, with one to spare.
    let unordered = pb::RangeRequest { limit: 1, ..sorted(SortOrder::None, SortTarget::Value) };
    assert_eq!(seen(&model, &unordered), "c=2/4/4/1 of 3 more @7");
    let filtered = pb::RangeRequest { min_mod_revision: 5, max_create_revision: 6, ..all.clone() };
    assert_eq!(seen(&model, &filtered), "a=4/2/5/2 of 3 @7");
    let counted = pb::RangeRequest { count_only: true, min_mod_revision: 5, ..limited };
    assert_eq!(seen(&model, &counted), " of 3 @7");
    let keys = pb::RangeRequest { keys_only: true, ..all };
    assert_eq!(seen(&model, &keys), "a=/2/5/2 c=/4/4/1 d=/7/7/1 of 3 @7");
}

#[test]
fn puts_keep_what_they_are_told_to() {
    let mut model = Model::default();
    let keep = pb::PutRequest { ignore_value: true, ..put("a", "") };
    assert_eq!(model.apply(&Call::Put(keep.clone())), Err(Refusal::KeyNotFound));
    assert_eq!(model.apply(&Call::Put(leased("a", 9))), Err(Refusal::LeaseNotFound));
    model.apply(&Call::Put(put("a", "1"))).unwrap();
    let prev = pb::PutRequest { prev_kv: true, ..keep };
    let Ok(Reply::Put(reply)) = model.apply(&Call::Put(prev)) else { panic!("not served") };
    assert_eq!(show(&reply.prev_kv.unwrap()), "a=1/2/2/1");
    assert_eq!(seen(&model, &range("a", b"")), "a=1/2/3/2 of 1 @3");
    let both = pb::PutRequest { ignore_value: true, ..put("a", "x") };
    assert_eq!(model.apply(&Call::Put(both)), Err(Refusal::ValueProvided));
    assert_eq!(model.apply(&Call::Put(put("", "x"))), Err(Refusal::EmptyKey));
}

#[test]
fn deletes_that_match_nothing_make_no_revision() {
    let mut model = filled();
    let Ok(Reply::DeleteRange(reply)) = model.apply(&Call::DeleteRange(delete("x", b""))) else {
        panic!("not served")
    };
    assert_eq!((reply.deleted, reply.header.unwrap().revision, model.revision()), (0, 6, 6));
    let Ok(Reply::DeleteRange(reply)) = model.apply(&Call::DeleteRange(delete("a", &[0]))) else {
        panic!("not served")
    };
    let prev: Vec<String> = reply.prev_kvs.iter().map(show).collect();
    assert_eq!((reply.deleted, prev.join(" ")), (2, "a=4/2/5/2 c=2/4/4/1".to_owned()));
    let events = model.events(7);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.r#type() == EventType::Delete));
    assert_eq!(events[1].kv.as_ref().unwrap().mod_revision, 7);
}

fn compare(target: CompareTarget, result: CompareResult, union: TargetUnion) -> Compare {
    Compare {
        target: target as i32,
        result: result as i32,
        key: "a".into(),
        target_union: Some(union),
        range_end: Bytes::new(),
    }
}

#[test]
fn compares_of_every_target() {
    use {CompareResult as R, CompareTarget as T, TargetUnion as U};
    let model = filled();
    let absent = |compare: Compare| Compare { key: "zz".into(), ..compare };
    let cases = [
        (compare(T::Version, R::Equal, U::Version(2)), true),
        (compare(T::Version, R::Less, U::Version(2)), false),
        (compare(T::Create, R::Greater, U::CreateRevision(1)), true),
        (compare(T::Mod, R::NotEqual, U::ModRevision(5)), false),
        (compare(T::Value, R::Equal, U::Value("4".into())), true),
        (compare(T::Lease, R::Equal, U::Lease(0)), true),
        // Of another type than the target: compared with nothing.
        (compare(T::Version, R::Greater, U::ModRevision(9)), true),
        (absent(compare(T::Create, R::Equal, U::CreateRevision(0))), true),
        (absent(compare(T::Value, R::NotEqual, U::Value("4".into()))), false),
        (
            Compare {
                range_end: [0].as_slice().into(),
                ..compare(T::Mod, R::Less, U::ModRevision(5))
            },
            false,
        ),
        (Compare { result: 9, ..compare(T::Mod, R::Less, U::ModRevision(5)) }, true),
    ];
    for (compare, expected) in cases {
        let txn = pb::TxnRequest { compare: vec![compare.clone()], ..Default::default() };
        let verdict = model.evaluate(&Call::Txn(txn), Compaction::Checked);
        let Ok(Reply::Txn(reply)) = verdict.reply else { panic!("{verdict:?}") };
        assert_eq!(reply.succeeded, expected, "{compare:?}");
    }
}

#[test]
fn a_transaction_is_one_revision_and_sees_itself() {
    let mut model = filled();
    let nested =
        pb::TxnRequest { success: vec![op(Op::RequestPut(put("n", "1")))], ..Default::default() };
    let success = vec![
        op(Op::RequestRange(range("p", b""))),
        op(Op::RequestPut(put("p", "1"))),
        op(Op::RequestRange(range("p", b""))),
        op(Op::RequestDeleteRange(delete("a", b""))),
        op(Op::RequestTxn(nested)),
    ];
    let txn = pb::TxnRequest { success, ..Default::default() };
    let Ok(Reply::Txn(reply)) = model.apply(&Call::Txn(txn)) else { panic!("not served") };
    assert_eq!(reply.header.unwrap().revision, 7);
    let told: Vec<(i64, i64)> = reply.responses.iter().map(told).collect();
    assert_eq!(told, [(6, 0), (7, 0), (7, 1), (7, 1), (0, 1)]);
    let keys: Vec<_> = model.events(7).iter().map(|it| it.kv.clone().unwrap().key).collect();
    assert_eq!(keys, ["p", "a", "n"]);
}

/// Revision and number of keys in one response of a transaction.
fn told(response: &ResponseOp) -> (i64, i64) {
    match response.response.as_ref().unwrap() {
        Answer::ResponseRange(it) => (it.header.unwrap().revision, it.count),
        Answer::ResponsePut(it) => (it.header.unwrap().revision, 0),
        Answer::ResponseDeleteRange(it) => (it.header.unwrap().revision, it.deleted),
        Answer::ResponseTxn(it) => (it.header.unwrap().revision, 1),
    }
}

#[test]
fn transactions_are_refused_whole() {
    let mut model = filled();
    model.apply(&Call::Compact(pb::CompactionRequest { revision: 4, physical: false })).unwrap();
    let txn = |ops: Vec<Op>| {
        let success = ops.into_iter().map(op).collect();
        Call::Txn(pb::TxnRequest { success, ..Default::default() })
    };
    let at = |revision| Op::RequestRange(pb::RangeRequest { revision, ..range("a", b"") });
    let a = || Op::RequestPut(put("a", "1"));
    let nested = |success: Vec<Op>, failure: Vec<Op>| {
        Op::RequestTxn(pb::TxnRequest {
            compare: Vec::new(),
            success: success.into_iter().map(op).collect(),
            failure: failure.into_iter().map(op).collect(),
        })
    };
    let cases = [
        (txn(vec![a(), at(3)]), Err(Refusal::Compacted)),
        (txn(vec![a(), at(-1)]), Err(Refusal::Compacted)),
        (txn(vec![a(), at(7)]), Err(Refusal::FutureRev)),
        (txn(vec![a(), a()]), Err(Refusal::DuplicateKey)),
        (txn(vec![a(), Op::RequestDeleteRange(delete("a", b"b"))]), Err(Refusal::DuplicateKey)),
        (txn(vec![a(), Op::RequestDeleteRange(delete("A", &[0]))]), Ok(7)),
        (txn(vec![nested(vec![a()], vec![a()])]), Ok(7)),
        (
            txn(vec![nested(vec![a()], vec![]), nested(vec![a()], vec![])]),
            Err(Refusal::DuplicateKey),
        ),
        (txn(vec![Op::RequestPut(leased("a", 5))]), Err(Refusal::LeaseNotFound)),
        (txn(std::iter::repeat_n(at(0), 129).collect()), Err(Refusal::TooManyOps)),
        (
            Call::Txn(pb::TxnRequest { success: vec![RequestOp::default()], ..Default::default() }),
            Err(Refusal::KeyNotFound),
        ),
    ];
    for (call, expected) in cases {
        let verdict = model.evaluate(&call, Compaction::Checked);
        assert_eq!(verdict.reply.map(|reply| reply.revision()), expected, "{call:?}");
    }
    assert_eq!(model.revision(), 6);
}

#[test]
fn compaction_forbids_the_past() {
    let mut model = filled();
    let mut compact = |revision| {
        let call = Call::Compact(pb::CompactionRequest { revision, physical: false });
        model.apply(&call).map(|reply| reply.revision())
    };
    assert_eq!(compact(-1), Err(Refusal::Compacted));
    assert_eq!(compact(0), Ok(6));
    assert_eq!(compact(0), Err(Refusal::Compacted));
    assert_eq!(compact(7), Err(Refusal::FutureRev));
    assert_eq!(compact(5), Ok(6));
    let at = |revision| Call::Range(pb::RangeRequest { revision, ..range("b", b"") });
    let reply = |call, compaction| model.evaluate(&call, compaction).reply;
    assert_eq!(reply(at(4), Compaction::Checked), Err(Refusal::Compacted));
    assert!(reply(at(4), Compaction::Ignored).is_ok());
    assert_eq!(
        seen(&model, &pb::RangeRequest { revision: 5, ..range("b", b"") }),
        "b=1/3/3/1 of 1 @6"
    );
}

#[test]
fn leases_take_their_keys_along() {
    let mut model = Model::default();
    let grant = |id, ttl| Call::LeaseGrant(pb::LeaseGrantRequest { ttl, id });
    let Ok(Reply::LeaseGrant(reply)) = model.apply(&grant(7, 1)) else { panic!("not served") };
    assert_eq!((reply.id, reply.ttl, reply.header.unwrap().revision), (7, 2, 1));
    assert_eq!(model.apply(&grant(7, 1)), Err(Refusal::LeaseExist));
    assert_eq!(model.apply(&grant(8, 9_000_000_001)), Err(Refusal::LeaseTtlTooLarge));
    model.apply(&grant(8, 60)).unwrap();
    for (key, lease) in [("b", 7), ("a", 7), ("c", 7), ("c", 8)] {
        model.apply(&Call::Put(leased(key, lease))).unwrap();
    }
    assert_eq!(
        (model.lease_keys(7), model.lease_keys(8)),
        (vec!["a".into(), "b".into()], vec![Bytes::from("c")])
    );
    let revoke = Call::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 });
    assert_eq!(model.apply(&revoke).map(|reply| reply.revision()), Ok(6));
    assert_eq!(model.apply(&revoke), Err(Refusal::LeaseNotFound));
    assert_eq!(model.events(6).len(), 2);
    assert_eq!(seen(&model, &range("a", &[0])), "c=v/4/5/2 of 1 @6");
    model.apply(&Call::DeleteRange(delete("c", b""))).unwrap();
    assert!(model.lease_keys(8).is_empty());
}

#[test]
fn a_put_looks_for_its_lease_before_its_key() {
    let mut model = Model::default();
    let put =
        pb::PutRequest { key: "none".into(), lease: 99, ignore_value: true, ..Default::default() };
    assert_eq!(model.apply(&Call::Put(put.clone())), Err(Refusal::LeaseNotFound));
    let success = vec![pb::RequestOp { request: Some(Op::RequestPut(put)) }];
    let txn = pb::TxnRequest { success, ..Default::default() };
    assert_eq!(model.apply(&Call::Txn(txn)), Err(Refusal::LeaseNotFound));
}
