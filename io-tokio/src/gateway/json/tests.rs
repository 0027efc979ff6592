use quorate_proto::{etcdserverpb as pb, mvccpb};

use super::*;
use crate::gateway::shapes::pool;

fn shape(name: &str) -> &'static Shape {
    let name = format!("etcdserverpb.{name}");
    Shape::of(&pool().get_message_by_name(&name).unwrap()).unwrap()
}

fn read_as<T: prost::Message + Default>(name: &str, text: &str) -> Result<T, String> {
    let read = read(shape(name), text.as_bytes()).map_err(|status| {
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        status.message().to_owned()
    })?;
    Ok(T::decode(read).unwrap())
}

fn range(text: &str) -> Result<pb::RangeRequest, String> {
    read_as("RangeRequest", text)
}

fn written<T: prost::Message>(name: &str, value: &T) -> String {
    let json = message(shape(name), &value.encode_to_vec()).unwrap();
    String::from_utf8(json.to_vec()).unwrap()
}

#[test]
fn names_numbers_enums_and_bytes_are_taken_in_every_spelling() {
    let expected = pb::RangeRequest {
        key: "foo".into(),
        range_end: vec![0xff, 0xef, 0xbf].into(),
        limit: 7,
        sort_order: 2,
        keys_only: true,
        min_mod_revision: i64::MIN,
        ..Default::default()
    };
    for text in [
        r#"{"key":"Zm9v","range_end":"/++/","limit":7,"sort_order":"DESCEND",
            "keys_only":true,"min_mod_revision":-9223372036854775808}"#,
        r#"{"key":"Zm9v","rangeEnd":"_--_","limit":"7","sortOrder":2,
            "keysOnly":true,"minModRevision":"-9223372036854775808"} and more"#,
        r#" {"key":"Zm9v","range_end":"_--_","limit":"7e0","sort_order":2.0,"keys_only":true,
            "min_mod_revision":"-9223372036854775808","serializable":null,"count_only":false,
            "unknown":[{"a":[null,1e99]}],"sort_target":"NO SUCH"}"#,
    ] {
        assert_eq!(range(text), Ok(expected.clone()), "{text}");
    }
    for (text, key) in [
        ("Zg", "f"),
        ("Zg==", "f"),
        ("Zm8", "fo"),
        ("Zm8=", "fo"),
        ("", ""),
        ("Z\\r\\nm8=\\n", "fo"),
    ] {
        let read = range(&format!(r#"{{"key":"{text}"}}"#)).unwrap();
        assert_eq!(read.key, key);
    }
    for empty in ["", " \r\n\t", "{}", r#"{"key":null}"#, r#"{"KEY":"Zm9v"}"#] {
        assert_eq!(range(empty), Ok(pb::RangeRequest::default()));
    }
}

#[test]
fn what_is_no_message_is_refused() {
    for text in [
        "null",
        "[]",
        "5",
        "\"x\"",
        "true",
        "{key:1}",
        r#"{"key":"Zm9v",}"#,
        "\u{feff}{}",
        r#"{"key":5}"#,
        r#"{"key":"Z"}"#,
        r#"{"key":"Zm 9v"}"#,
        r#"{"key":"Zm9v=="}"#,
        r#"{"key":"\ud800"}"#,
        r#"{"key":["Zm9v"]}"#,
        r#"{"key":{}}"#,
        "{\"key\":\"\n\"}",
        r#"{"limit":1.5}"#,
        r#"{"limit":9223372036854775808}"#,
        r#"{"limit":"1.5"}"#,
        r#"{"limit":1e19}"#,
        r#"{"limit":-9223372036854775809}"#,
        r#"{"limit":"+1"}"#,
        r#"{"limit":"inf"}"#,
        r#"{"key":"Zg==","key":"Zg=="}"#,
        r#"{"range_end":"Zg==","rangeEnd":"Zg=="}"#,
        r#"{"limit":"9223372036854775808"}"#,
        r#"{"limit":" 1"}"#,
        r#"{"limit":true}"#,
        r#"{"limit":""}"#,
        r#"{"keys_only":"true"}"#,
        r#"{"keys_only":1}"#,
        r#"{"sort_order":true}"#,
        r#"{"sort_order":2147483648}"#,
    ] {
        assert!(range(text).is_err(), "{text}");
    }
    for cut in ["{", r#"{"key"#, r#"{"key":"#, r#"{"key":"Zm9v""#, r#"{"nope":[{"#] {
        assert_eq!(range(cut), Err("unexpected EOF".to_owned()), "{cut}");
    }
    assert!(read(shape("RangeRequest"), b"{\"key\":\"\xff\"}").is_err());
    let txn = |text| read_as::<pb::TxnRequest>("TxnRequest", text);
    for text in [
        r#"{"success":{}}"#,
        r#"{"success":[null]}"#,
        r#"{"success":[5]}"#,
        r#"{"success":[{"request_put":{},"requestRange":{}}]}"#,
    ] {
        assert!(txn(text).is_err(), "{text}");
    }
    assert_eq!(txn(r#"{"success":null}"#), Ok(pb::TxnRequest::default()));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        let inner = r#"{"success":[{"request_txn":"#.repeat(depth);
        format!("{inner}{{}}{}", "}]}".repeat(depth))
    };
    let txn = |text: &str| read_as::<pb::TxnRequest>("TxnRequest", text);
    assert!(txn(&nested(40)).is_ok());
    assert_eq!(
        txn(&nested(100_000)).unwrap_err(),
        "recursion limit exceeded at line 1 column 1146"
    );
    let unknown = format!(r#"{{"x":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert!(txn(&unknown).is_ok());
}

#[test]
fn messages_are_written_as_etcd_writes_them() {
    let header = Some(pb::ResponseHeader {
        cluster_id: u64::MAX,
        member_id: 1,
        revision: i64::MIN,
        raft_term: 0,
    });
    let hash =
        pb::HashKvResponse { header, hash: u32::MAX, compact_revision: -1, ..Default::default() };
    assert_eq!(
        written("HashKVResponse", &hash),
        "{\"header\":{\"cluster_id\":\"18446744073709551615\",\"member_id\":\"1\",\
         \"revision\":\"-9223372036854775808\"},\"hash\":4294967295,\"compact_revision\":\"-1\"}"
    );
    let kv = mvccpb::KeyValue { key: vec![0, 0xfb, 0xff].into(), ..Default::default() };
    let event = |kind: i32| mvccpb::Event { r#type: kind, kv: Some(kv.clone()), prev_kv: None };
    let events = vec![event(0), event(1), event(9)];
    let watch = pb::WatchResponse { events, ..Default::default() };
    assert_eq!(
        written("WatchResponse", &watch),
        "{\"events\":[{\"kv\":{\"key\":\"APv/\"}},{\"type\":\"DELETE\",\"kv\":{\"key\":\"APv/\"}},\
         {\"type\":9,\"kv\":{\"key\":\"APv/\"}}]}"
    );
    let member = pb::Member {
        id: 5,
        name: "\"\\\u{7f}\u{8}\u{c}\n\r\t\u{1f}<é\u{2028}".to_owned(),
        peer_ur_ls: vec!["http://a".to_owned(), String::new()],
        ..Default::default()
    };
    assert_eq!(
        written("Member", &member),
        "{\"ID\":\"5\",\"name\":\"\\\"\\\\\u{7f}\\b\\f\\n\\r\\t\\u001f<é\u{2028}\",\
         \"peerURLs\":[\"http://a\",\"\"]}"
    );
    assert_eq!(written("DefragmentResponse", &pb::DefragmentResponse::default()), "{}");
    assert_eq!(result_line(shape("DefragmentResponse"), b"").unwrap(), "{\"result\":{}}\n");
    let filters = pb::WatchCreateRequest { filters: vec![0, 1, 5], ..Default::default() };
    assert_eq!(written("WatchCreateRequest", &filters), r#"{"filters":["NOPUT","NODELETE",5]}"#);
}

#[test]
fn a_stream_is_cut_into_its_values() {
    let text = r#" {"a":"}\"{\\"}{"b":[{},[1]]}
        {}]x{"#;
    let expected = [r#" {"a":"}\"{\\"}"#, r#"{"b":[{},[1]]}"#, "\n        {}", "]", "x"];
    for size in [1, 3, 1_000] {
        let mut values = Values::default();
        let mut cut = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            values.push(piece);
            while let Some(value) = values.next() {
                cut.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        assert_eq!(cut, expected);
        assert_eq!(values.held_bytes(), 1);
    }
}
