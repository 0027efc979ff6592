//! Inputs by hand, from which mutations begin: one exchange of every kind, as it should be.

use prost::Message;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::peer::peer_message::Message as PeerSays;
use quorate_proto::peer::{Answer, Ask, ChangeRefusal, ChangeWish, PeerMessage, answer, ask};
use quorate_proto::raftpb::{self, MessageType};
use quorate_proto::{v3electionpb as election, v3lockpb as lock};

use crate::client::Kind;
use crate::gateway;
use crate::peer::{self, Lie};
use crate::records::{self, Record};

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let lists = match target {
        "client" => vec![keys(), history(), streams(), leases(), members(), recipes(), trouble()],
        "gateway" => exchanges(),
        "peer" => vec![follower(), leader(), images(), questions(), disks()],
        _ => Vec::new(),
    };
    lists.iter().map(|records| records::write(records)).collect()
}

fn call(kind: Kind, message: impl Message) -> Record {
    Record::new(kind as u8, message.encode_to_vec())
}

fn put(key: &'static str, value: &'static str, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), lease, ..Default::default() }
}

fn range(key: &'static str, end: &'static str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.into(), range_end: end.into(), ..Default::default() }
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn txn(depth: usize) -> pb::TxnRequest {
    let compare = pb::Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: "a".into(),
        range_end: "c".into(),
        target_union: Some(TargetUnion::Version(0)),
    };
    let delete = pb::DeleteRangeRequest { key: "b".into(), range_end: "d".into(), prev_kv: true };
    let mut success = vec![
        op(Op::RequestPut(put("a", "2", 0))),
        op(Op::RequestDeleteRange(delete)),
        op(Op::RequestRange(range("a", "z"))),
    ];
    if depth > 0 {
        success.push(op(Op::RequestTxn(txn(depth - 1))));
    }
    let failure = vec![op(Op::RequestPut(put("c", "3", 0)))];
    pb::TxnRequest { compare: vec![compare], success, failure }
}

fn keys() -> Vec<Record> {
    let keep =
        pb::PutRequest { key: "a".into(), prev_kv: true, ignore_value: true, ..Default::default() };
    let sorted = pb::RangeRequest {
        limit: 2,
        sort_order: 2,
        sort_target: 4,
        revision: 3,
        min_mod_revision: 1,
        max_create_revision: 9,
        keys_only: true,
        ..range("a", "z")
    };
    let delete = pb::DeleteRangeRequest { key: "a".into(), range_end: "b".into(), prev_kv: true };
    vec![
        call(Kind::Put, put("a", "1", 0)),
        call(Kind::Put, put("b", "22", 0)),
        call(Kind::Put, keep),
        call(Kind::Txn, txn(2)),
        call(Kind::Range, sorted),
        call(Kind::Range, pb::RangeRequest { serializable: true, ..range("\0", "\0") }),
        call(Kind::RangeStream, range("a", "z")),
        call(Kind::DeleteRange, delete),
        call(Kind::HashKv, pb::HashKvRequest { revision: 3 }),
    ]
}

fn history() -> Vec<Record> {
    let compact = |revision, physical| pb::CompactionRequest { revision, physical };
    let mut records: Vec<Record> = (0..6).map(|_| call(Kind::Put, put("a", "v", 0))).collect();
    records.extend([
        call(Kind::DeleteRange, pb::DeleteRangeRequest { key: "a".into(), ..Default::default() }),
        call(Kind::Compact, compact(4, false)),
        Record::new(Kind::Restart as u8, []),
        call(Kind::Put, put("a", "v", 0)),
        call(Kind::Compact, compact(8, true)),
        Record::new(Kind::Wait as u8, [0, 3]),
        call(Kind::Range, pb::RangeRequest { revision: 5, ..range("a", "") }),
        call(Kind::Range, pb::RangeRequest { revision: 8, ..range("a", "") }),
        call(Kind::HashKv, pb::HashKvRequest { revision: 0 }),
    ]);
    records
}

fn watch(union: RequestUnion) -> Record {
    let message = pb::WatchRequest { request_union: Some(union) };
    Record::new(Kind::Watch as u8, [&[0], &message.encode_to_vec()[..]].concat())
}

fn streams() -> Vec<Record> {
    let create = |start_revision, watch_id| pb::WatchCreateRequest {
        key: "a".into(),
        range_end: "c".into(),
        start_revision,
        progress_notify: true,
        filters: vec![1],
        prev_kv: true,
        watch_id,
        fragment: true,
    };
    vec![
        call(Kind::Put, put("a", "1", 0)),
        Record::new(Kind::StreamOpen as u8, [0, 64]),
        watch(RequestUnion::CreateRequest(create(1, 0))),
        watch(RequestUnion::CreateRequest(create(9, 7))),
        call(Kind::Put, put("b", "long enough to be cut in two", 0)),
        call(Kind::Txn, txn(1)),
        Record::new(Kind::StreamReady as u8, [0, 9]),
        watch(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
        watch(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 })),
        Record::new(Kind::Wait as u8, [0, 30]),
        call(Kind::Compact, pb::CompactionRequest { revision: 3, physical: false }),
        watch(RequestUnion::CreateRequest(create(2, 8))),
        Record::new(Kind::StreamReady as u8, [0, 200]),
        Record::new(Kind::StreamClose as u8, [0]),
    ]
}

fn leases() -> Vec<Record> {
    vec![
        call(Kind::LeaseGrant, pb::LeaseGrantRequest { ttl: 5, id: 7 }),
        call(Kind::LeaseGrant, pb::LeaseGrantRequest { ttl: 60, id: 0 }),
        call(Kind::Put, put("a", "1", 7)),
        call(Kind::LeaseKeepAlive, pb::LeaseKeepAliveRequest { id: 7 }),
        call(Kind::LeaseTimeToLive, pb::LeaseTimeToLiveRequest { id: 7, keys: true }),
        call(Kind::LeaseLeases, pb::LeaseLeasesRequest {}),
        Record::new(Kind::Restart as u8, []),
        Record::new(Kind::Wait as u8, [0, 90]),
        call(Kind::LeaseRevoke, pb::LeaseRevokeRequest { id: 7 }),
    ]
}

fn members() -> Vec<Record> {
    let add = |url: &str, is_learner| pb::MemberAddRequest {
        peer_ur_ls: vec![url.to_owned()],
        is_learner,
    };
    vec![
        call(Kind::MemberAdd, add("http://10.0.0.2:2380", true)),
        call(
            Kind::MemberUpdate,
            pb::MemberUpdateRequest { id: 1, peer_ur_ls: vec!["http://a:1".into()] },
        ),
        call(Kind::MemberPromote, pb::MemberPromoteRequest { id: 5 }),
        call(Kind::MoveLeader, pb::MoveLeaderRequest { target_id: 1 }),
        call(Kind::MemberRemove, pb::MemberRemoveRequest { id: 5 }),
        call(Kind::Alarm, pb::AlarmRequest { action: 1, member_id: 1, alarm: 1 }),
        call(Kind::Put, put("a", "1", 0)),
        call(Kind::Alarm, pb::AlarmRequest { action: 2, member_id: 1, alarm: 1 }),
        call(Kind::MemberAdd, add("http://10.0.0.3:2380", false)),
        Record::new(Kind::Wait as u8, [0, 20]),
        call(Kind::Put, put("a", "2", 0)),
    ]
}

fn recipes() -> Vec<Record> {
    let campaign = |value: &'static str, lease| election::CampaignRequest {
        name: "e".into(),
        lease,
        value: value.into(),
    };
    let leader = election::LeaderKey { name: "e".into(), key: "e/7".into(), rev: 4, lease: 7 };
    let proclaim = election::ProclaimRequest { leader: Some(leader.clone()), value: "w".into() };
    vec![
        call(Kind::LeaseGrant, pb::LeaseGrantRequest { ttl: 9, id: 7 }),
        call(Kind::Observe, election::LeaderRequest { name: "e".into() }),
        call(Kind::Lock, lock::LockRequest { name: "l".into(), lease: 7 }),
        call(Kind::Lock, lock::LockRequest { name: "l".into(), lease: 0 }),
        call(Kind::Campaign, campaign("v", 7)),
        call(Kind::Campaign, campaign("x", 0)),
        call(Kind::Leader, election::LeaderRequest { name: "e".into() }),
        call(Kind::Proclaim, proclaim),
        call(Kind::Unlock, lock::UnlockRequest { key: "l/7".into() }),
        call(Kind::Resign, election::ResignRequest { leader: Some(leader) }),
        Record::new(Kind::Leave as u8, []),
        Record::new(Kind::Wait as u8, [1, 0]),
    ]
}

fn trouble() -> Vec<Record> {
    vec![
        Record::new(Kind::Slow as u8, [3]),
        call(Kind::Put, put("a", "1", 0)),
        call(Kind::Range, range("a", "")),
        Record::new(Kind::Wait as u8, [0, 2]),
        Record::new(Kind::Slow as u8, [0]),
        Record::new(Kind::DbSize as u8, [0xff, 0xff]),
        call(Kind::Put, put("a", "2", 0)),
        Record::new(Kind::DbSize as u8, [0, 1]),
        call(Kind::Alarm, pb::AlarmRequest { action: 2, member_id: 0, alarm: 1 }),
        Record::new(Kind::Slow as u8, [2]),
        call(Kind::Put, put("a", "3", 0)),
        Record::new(Kind::Restart as u8, []),
    ]
}

const PATHS: [&str; 20] = [
    "kv/range",
    "kv/put",
    "kv/deleterange",
    "kv/txn",
    "kv/compaction",
    "watch",
    "lease/grant",
    "lease/keepalive",
    "lease/timetolive",
    "cluster/member/list",
    "cluster/member/add",
    "maintenance/status",
    "maintenance/hashkv",
    "maintenance/alarm",
    "maintenance/snapshot",
    "auth/authenticate",
    "lock/lock",
    "election/campaign",
    "election/observe",
    "election/resign",
];

const TEXT: &str = r#"{"key":"YQ==","range_end":"AA==","rangeEnd":"Yg","value":"/+8-_w",
"lease":"-9","ttl":60,"ID":"7","limit":1e2,"sort_order":"DESCEND",
"sort_target":2,"keys_only":true,"name":"bA",
"compare":[{"result":"EQUAL","target":"VERSION","version":"1","key":"YQ=="}],
"success":[{"request_put":{"key":"YQ==","value":null}},{"requestTxn":{"failure":[{}]}}],
"create_request":{"key":"YQ==","filters":["NOPUT",1]},"peerURLs":["http://\u00e9\ud83d\ude00\n"]}"#;

fn exchanges() -> Vec<Vec<Record>> {
    use gateway::Kind as Part;
    let part = |kind: Part, body: &[u8]| Record::new(kind as u8, body);
    let answer = pb::WatchResponse {
        watch_id: -1,
        created: true,
        cancel_reason: "\u{1}<\u{e9}".into(),
        events: vec![quorate_proto::mvccpb::Event::default(); 2],
        ..Default::default()
    };
    let exchange = |path: &&str| {
        vec![
            part(Part::Path, format!("/v3/{path}").as_bytes()),
            part(Part::Header, b"grpc-metadata-hasleader:true"),
            part(Part::Body, &TEXT.as_bytes()[..50]),
            part(Part::Body, &TEXT.as_bytes()[50..]),
            part(Part::Body, br#"{"cancel_request":{"watch_id":"5"}}"#),
            part(Part::Answer, &answer.encode_to_vec()),
            part(Part::Refusal, &[3]),
        ]
    };
    let mut all: Vec<_> = PATHS.iter().map(exchange).collect();
    // A text frame, masked with zeros, and an end.
    let frame = [&[0x81, 0x8e, 0, 0, 0, 0][..], br#"{"key":"YQ=="}"#, &[0x88, 0x80, 0, 0, 0, 0]];
    for path in ["/v3/watch", "/v3beta/kv/put"] {
        all.push(vec![
            part(Part::Path, path.as_bytes()),
            part(Part::Socket, &frame.concat()),
            part(Part::Answer, &answer.encode_to_vec()),
        ]);
    }
    all
}

fn said(kind: MessageType, message: raftpb::Message) -> raftpb::Message {
    raftpb::Message { r#type: kind.into(), ..message }
}

fn entry(data: &'static [u8]) -> raftpb::Entry {
    raftpb::Entry { data: data.into(), ..Default::default() }
}

const CLOSE: u8 = 2 | Lie::ADDRESSED | Lie::TERM | Lie::INDEX | Lie::LOG_TERM;

fn follower() -> Vec<Record> {
    let append =
        raftpb::Message { entries: vec![entry(b""), entry(b"\x1a\0")], ..Default::default() };
    let vote = raftpb::Message { term: 1, ..Default::default() };
    vec![
        peer::raft(CLOSE, &said(MessageType::MsgHeartbeat, vote.clone())),
        peer::raft(CLOSE | Lie::ENTRIES, &said(MessageType::MsgApp, append.clone())),
        peer::raft(CLOSE, &said(MessageType::MsgHeartbeat, raftpb::Message::default())),
        Record::new(peer::Kind::Call as u8, [&[0], &put("a", "1", 0).encode_to_vec()[..]].concat()),
        Record::new(peer::Kind::Read as u8, []),
        Record::new(peer::Kind::Answer as u8, [3]),
        peer::raft(CLOSE | 1, &said(MessageType::MsgPreVote, vote.clone())),
        peer::raft(CLOSE | 1, &said(MessageType::MsgVote, vote)),
        peer::raft(CLOSE | 1 | Lie::ENTRIES, &said(MessageType::MsgApp, append)),
        peer::raft(CLOSE | 1, &said(MessageType::MsgTimeoutNow, raftpb::Message::default())),
        Record::new(peer::Kind::Answer as u8, [3]),
    ]
}

fn leader() -> Vec<Record> {
    let answer = || Record::new(peer::Kind::Answer as u8, [3]);
    let wait = |tenths: u8| Record::new(peer::Kind::Wait as u8, [tenths]);
    let call = |kind: Kind, message: &dyn Fn() -> Vec<u8>| {
        Record::new(peer::Kind::Call as u8, [&[kind as u8], &message()[..]].concat())
    };
    let refusal = raftpb::Message { reject: true, reject_hint: 1, ..Default::default() };
    let read = raftpb::Message { entries: vec![entry(b"context")], ..Default::default() };
    let proposal = raftpb::Message { entries: vec![entry(b"\x1a\0")], ..Default::default() };
    let to_leader = 2 | Lie::ADDRESSED | Lie::TERM;
    vec![
        wait(30),
        answer(),
        answer(),
        answer(),
        call(Kind::Put, &|| put("a", "1", 0).encode_to_vec()),
        Record::new(peer::Kind::Read as u8, []),
        answer(),
        answer(),
        peer::raft(to_leader | Lie::INDEX, &said(MessageType::MsgAppResp, refusal)),
        peer::raft(2 | Lie::ADDRESSED, &said(MessageType::MsgReadIndex, read)),
        peer::raft(to_leader, &said(MessageType::MsgProp, proposal)),
        call(Kind::MoveLeader, &|| pb::MoveLeaderRequest { target_id: 2 }.encode_to_vec()),
        call(Kind::MemberRemove, &|| pb::MemberRemoveRequest { id: 3 }.encode_to_vec()),
        answer(),
        answer(),
        Record::new(peer::Kind::Told as u8, [2, 2]),
        wait(40),
    ]
}

fn images() -> Vec<Record> {
    let meta = raftpb::Message { term: 1, ..Default::default() };
    vec![
        peer::raft(CLOSE, &said(MessageType::MsgHeartbeat, meta.clone())),
        Record::new(peer::Kind::Image as u8, [2, 9, 0]),
        peer::raft(CLOSE, &said(MessageType::MsgHeartbeat, meta.clone())),
        Record::new(peer::Kind::Image as u8, [2, 20, 1, 7, 5, b'a', b'b', b'c', b'd', b'e', 1, 9]),
        peer::raft(CLOSE, &said(MessageType::MsgSnap, meta)),
        Record::new(peer::Kind::Restart as u8, []),
    ]
}

fn questions() -> Vec<Record> {
    let any = |message: PeerSays| {
        let message = PeerMessage { message: Some(message) }.encode_to_vec();
        Record::new(peer::Kind::Any as u8, [&[2], &message[..]].concat())
    };
    let keep_alive = ask::Question::KeepAlive(pb::LeaseKeepAliveRequest { id: 7 });
    let refused = answer::Outcome::Refused("Timeout".into());
    let change = raftpb::ConfChange { id: 9, node_id: 3, ..Default::default() };
    let change = raftpb::ConfChange { r#type: 1, ..change }.encode_to_vec();
    let mut records = leader();
    records.truncate(6);
    records.extend([
        any(PeerSays::Ask(Ask { id: 1, question: Some(keep_alive) })),
        any(PeerSays::Answer(Answer { id: 1, outcome: Some(refused) })),
        any(PeerSays::ChangeWish(ChangeWish { id: 9, term: 2, change: change.into() })),
        any(PeerSays::ChangeRefusal(ChangeRefusal { id: 9, refused: "x".into(), term: 2 })),
        Record::new(peer::Kind::Answer as u8, [3]),
        Record::new(peer::Kind::Answer as u8, [3]),
    ]);
    records
}

fn disks() -> Vec<Record> {
    let mut records = vec![Record::new(peer::Kind::Slow as u8, [3])];
    records.extend(follower());
    records.push(Record::new(peer::Kind::Wait as u8, [20]));
    records.push(Record::new(peer::Kind::Restart as u8, []));
    records.extend(leader());
    records
}
