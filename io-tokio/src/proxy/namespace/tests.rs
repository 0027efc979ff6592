use quorate_proto::etcdserverpb::{Compare, WatchCreateRequest};

use super::*;

fn renamed<M: Message + Default, R: Message>(path: &str, message: &R, is_request: bool) -> M {
    let namespace = Namespace::new("ns/").unwrap();
    let renames = Namespace::renames(path).unwrap();
    let rename = if is_request { renames.request } else { renames.response };
    M::decode(rename(&namespace, message.encode_to_vec().into()).unwrap()).unwrap()
}

fn range(key: &'static str, range_end: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), range_end: range_end.into(), ..RangeRequest::default() }
}

fn kv(key: &'static str) -> KeyValue {
    KeyValue { key: key.into(), value: "v".into(), ..KeyValue::default() }
}

#[test]
fn ranges_stay_within_the_namespace() {
    for ((key, end), expected) in [
        (("a", ""), ("ns/a", "")),
        (("a", "b"), ("ns/a", "ns/b")),
        (("a", "\0"), ("ns/a", "ns0")),
        (("\0", "\0"), ("ns/\0", "ns0")),
    ] {
        let got: RangeRequest = renamed("/etcdserverpb.KV/Range", &range(key, end), true);
        assert_eq!(got, range(expected.0, expected.1));
    }
    let highest = Namespace(Bytes::from_static(b"\xff\xff"));
    assert_eq!(highest.end(), Bytes::from_static(b"\0"));
    assert_eq!(Namespace(Bytes::from_static(b"a\xff")).end(), Bytes::from_static(b"b"));
    assert!(Namespace::new("").is_none());
}

#[test]
fn a_transaction_is_renamed_to_its_depths_and_its_answer_back() {
    let op = |request| RequestOp { request: Some(request) };
    let put = |key: &'static str| PutRequest { key: key.into(), ..PutRequest::default() };
    let txn = |put_key, get_key, inner_key| TxnRequest {
        compare: vec![Compare { key: Bytes::from_static(get_key), ..Compare::default() }],
        success: vec![op(Request::RequestPut(put(put_key)))],
        failure: vec![op(Request::RequestTxn(TxnRequest {
            success: vec![op(Request::RequestRange(range(inner_key, "")))],
            ..TxnRequest::default()
        }))],
    };
    let got: TxnRequest = renamed("/etcdserverpb.KV/Txn", &txn("p", b"c", "r"), true);
    assert_eq!(got, txn("ns/p", b"ns/c", "ns/r"));

    let answer = |key| TxnResponse {
        responses: vec![ResponseOp {
            response: Some(Response::ResponseRange(RangeResponse {
                kvs: vec![kv(key)],
                ..RangeResponse::default()
            })),
        }],
        ..TxnResponse::default()
    };
    let got: TxnResponse = renamed("/etcdserverpb.KV/Txn", &answer("ns/r"), false);
    assert_eq!(got, answer("r"));
}

#[test]
fn watches_and_leases_show_only_the_namespace() {
    let create = |key: &'static str, end: &'static str| WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: key.into(),
            range_end: end.into(),
            ..WatchCreateRequest::default()
        })),
    };
    let got: WatchRequest = renamed("/etcdserverpb.Watch/Watch", &create("", "\0"), true);
    assert_eq!(got, create("ns/\0", "ns0"));
    let held = |keys: &[&'static str]| LeaseTimeToLiveResponse {
        keys: keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect(),
        ..LeaseTimeToLiveResponse::default()
    };
    let path = "/etcdserverpb.Lease/LeaseTimeToLive";
    let got: LeaseTimeToLiveResponse = renamed(path, &held(&["ns/a", "other"]), false);
    assert_eq!(got, held(&["a"]));
    assert!(Namespace::renames("/etcdserverpb.Maintenance/Status").is_none());
}

#[test]
fn no_key_is_no_key_with_a_prefix_either() {
    let namespace = Namespace::new("ns/").unwrap();
    let renames = Namespace::renames("/etcdserverpb.KV/Put").unwrap();
    let refused = (renames.request)(&namespace, Bytes::new()).unwrap_err();
    assert_eq!(refused.message(), "etcdserver: key is not provided");
}
