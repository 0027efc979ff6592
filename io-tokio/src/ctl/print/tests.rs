use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb::{Event, KeyValue};

use super::*;

fn header() -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { cluster_id: 10, member_id: 0xabc, revision: 3, raft_term: 2 })
}

fn written(answer: &impl Answer, format: Format, is_hex: bool) -> Result<String, Failure> {
    let ink = Ink { is_hex, is_value_only: false };
    let bytes = Printer { format, ink }.written(answer)?;
    Ok(String::from_utf8(bytes).unwrap())
}

fn kv() -> KeyValue {
    KeyValue {
        key: "k<".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: "v\n".into(),
        lease: 255,
    }
}

#[test]
fn a_key_has_every_format_but_a_table() {
    let answer = pb::RangeResponse { header: header(), kvs: vec![kv()], more: true, count: 5 };
    assert_eq!(written(&answer, Format::Simple, false).unwrap(), "k<\nv\n\n");
    assert_eq!(written(&answer, Format::Simple, true).unwrap(), "\\x6b\\x3c\n\\x76\\x0a\n");
    assert_eq!(
        written(&answer, Format::Fields, true).unwrap(),
        "\"ClusterID\" : a\n\"MemberID\" : abc\n\"Revision\" : 3\n\"RaftTerm\" : 2\n\
         \"Key\" : \"k<\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 3\n\"Version\" : 2\n\
         \"Value\" : \"v\\n\"\n\"Lease\" : 00000000000000ff\n\"More\" : true\n\"Count\" : 5\n"
    );
    assert_eq!(
        written(&answer, Format::Json, false).unwrap(),
        "{\"header\":{\"cluster_id\":10,\"member_id\":2748,\"revision\":3,\"raft_term\":2},\
         \"kvs\":[{\"key\":\"azw=\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\
         \"value\":\"dgo=\",\"lease\":255}],\"more\":true,\"count\":5}\n"
    );
    let refused = written(&answer, Format::Table, false).unwrap_err();
    assert_eq!((refused.code, refused.text.as_str()), (4, "table not supported as output format"));
}

#[test]
fn events_have_the_shape_of_etcds_client() {
    let event = Event { r#type: 1, kv: Some(kv()), prev_kv: Some(kv()) };
    let answer = pb::WatchResponse { header: header(), events: vec![event], ..Default::default() };
    assert_eq!(written(&answer, Format::Simple, false).unwrap(), "DELETE\nk<\nv\n\nk<\nv\n\n");
    let pair = "{\"key\":\"azw=\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\
                \"value\":\"dgo=\",\"lease\":255}";
    let header = "{\"cluster_id\":10,\"member_id\":2748,\"revision\":3,\"raft_term\":2}";
    assert_eq!(
        written(&answer, Format::Json, false).unwrap(),
        format!(
            "{{\"Header\":{header},\"Events\":[{{\"type\":1,\"kv\":{pair},\"prev_kv\":{pair}}}],\
             \"CompactRevision\":0,\"Canceled\":false,\"Created\":false,\"CancelReason\":\"\"}}\n"
        )
    );
}

#[test]
fn the_state_of_a_member_is_a_row() {
    let reply = pb::StatusResponse {
        header: header(),
        version: "3.7.1".to_owned(),
        db_size: 20_480,
        leader: 0xabc,
        raft_index: 7,
        raft_term: 2,
        raft_applied_index: 6,
        errors: vec!["NOSPACE".to_owned(), "CORRUPT".to_owned()],
        db_size_in_use: 16_384,
        is_learner: false,
        storage_version: "3.7.0".to_owned(),
        db_size_quota: 2_147_483_648,
        downgrade_info: None,
    };
    let statuses = Statuses(vec![Status { endpoint: "a:1".to_owned(), reply }]);
    assert_eq!(
        written(&statuses, Format::Simple, false).unwrap(),
        "a:1, abc, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, 2, 7, 6, \
         NOSPACE, CORRUPT, , false\n"
    );
    let fields = written(&statuses, Format::Fields, false).unwrap();
    assert!(fields.contains("\"Errors\" : [NOSPACE CORRUPT]\n\"Endpoint\" : \"a:1\"\n"));
    assert_eq!(written(&statuses, Format::Protobuf, false).unwrap_err().code, 4);
}

#[test]
fn hashes_and_health_are_tables() {
    let reply =
        pb::HashKvResponse { header: header(), hash: 7, compact_revision: -1, hash_revision: 3 };
    let hashes = Hashes(vec![Hash { endpoint: "a:1".to_owned(), reply }]);
    assert_eq!(
        written(&hashes, Format::Table, false).unwrap(),
        "┌──────────┬──────┬───────────────┐\n\
         │ ENDPOINT │ HASH │ HASH REVISION │\n\
         ├──────────┼──────┼───────────────┤\n\
         │      a:1 │    7 │             3 │\n\
         └──────────┴──────┴───────────────┘\n"
    );
    let health =
        Health { endpoint: "a:1".to_owned(), took: "1ms".to_owned(), error: "no".to_owned() };
    assert_eq!(
        written(&Healths(vec![health]), Format::Json, false).unwrap(),
        "[{\"endpoint\":\"a:1\",\"health\":false,\"took\":\"1ms\",\"error\":\"no\"}]\n"
    );
    assert_eq!(written(&Healths(Vec::new()), Format::Json, false).unwrap(), "null\n");
}

#[test]
fn ids_of_members_are_hexadecimal_if_wanted() {
    let member = pb::Member {
        id: 255,
        name: String::new(),
        peer_ur_ls: vec!["http://a:1".to_owned()],
        client_ur_ls: Vec::new(),
        is_learner: true,
    };
    let reply = pb::MemberListResponse { header: header(), members: vec![member] };
    let members = Members { reply: &reply, words: None };
    assert_eq!(
        written(&members, Format::Json, true).unwrap(),
        "{\"header\":{\"cluster_id\":\"a\",\"member_id\":\"abc\",\"revision\":3,\"raft_term\":2},\
         \"members\":[{\"ID\":\"ff\",\"peerURLs\":[\"http://a:1\"],\"isLearner\":true}]}\n"
    );
    assert_eq!(
        written(&members, Format::Simple, true).unwrap(),
        "ff, unstarted, , http://a:1, , true\n"
    );
}
