//! All oracles together on a small run told event by event, right and then spoilt.

use bytes::Bytes;
use prost::Message;
use quorate_core::ids::{LogIndex, MemberId, RequestId, StreamId, Term};
use quorate_core::storage::{Entry, EntryKind, LogContents, SnapshotMark};
use quorate_core::time::Time;
use quorate_core::{Request, Response, Role};
use quorate_io_sim::world::observe::{
    CallId, ClientId, Observer, Operation, Outcome, Seen, Stop, Verdict,
};
use quorate_proto::{etcdserverpb as pb, mvccpb, raftpb};
use quorate_sim_tests::oracle::Oracles;
use quorate_sim_tests::oracle::liveness::Pace;

const MEMBERS: [MemberId; 3] = [MemberId(1), MemberId(2), MemberId(3)];
/// The put: the seventh request of the first member.
const REQUEST: RequestId = RequestId(1 << 48 | 7);
const CLIENT: ClientId = ClientId(0);
const STREAM: StreamId = StreamId(5);

fn started(member: MemberId) -> Seen {
    let conf_state = raftpb::ConfState { voters: vec![1, 2, 3], ..Default::default() };
    let mark = SnapshotMark { index: LogIndex(1), term: Term(1), conf_state };
    let log = LogContents { mark: mark.clone(), ..Default::default() };
    Seen::Started { member, boot: 0, log, stored: mark }
}

fn role(member: MemberId) -> Seen {
    let leader = Some(MEMBERS[0]);
    Seen::Role { member, role: Role { term: Term(2), leader, is_leader: member == MEMBERS[0] } }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}

fn put() -> pb::PutRequest {
    pb::PutRequest { key: "a".into(), value: "1".into(), ..Default::default() }
}

fn kv() -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: "a".into(),
        create_revision: 2,
        mod_revision: 2,
        version: 1,
        value: "1".into(),
        lease: 0,
    }
}

fn envelope() -> Bytes {
    let header = Some(pb::RequestHeader { id: REQUEST.0, ..Default::default() });
    let request = pb::InternalRaftRequest { header, put: Some(put()), ..Default::default() };
    request.encode_to_vec().into()
}

fn entry() -> Entry {
    Entry { term: Term(2), index: LogIndex(2), kind: EntryKind::Normal, data: envelope() }
}

fn watching() -> Vec<Seen> {
    let create =
        pb::WatchCreateRequest { key: "a".into(), start_revision: 1, ..Default::default() };
    let request = pb::watch_request::RequestUnion::CreateRequest(create);
    let message = pb::WatchRequest { request_union: Some(request) };
    let created = pb::WatchResponse { header: header(1), created: true, ..Default::default() };
    vec![
        Seen::StreamOpened { client: CLIENT, stream: STREAM, member: MEMBERS[1] },
        Seen::StreamSent { client: CLIENT, stream: STREAM, message },
        Seen::Frame { client: CLIENT, stream: STREAM, frame: created },
    ]
}

/// One member writes the entry, hands it out and applies it.
fn replicate() -> Vec<Seen> {
    let mut seen = Vec::new();
    let (number, hard_state, snapshot) = (1, None, None);
    for member in MEMBERS {
        let entries = vec![entry()];
        let snapshot = snapshot.clone();
        seen.push(Seen::Persisting { member, number, hard_state, entries, snapshot });
        seen.push(Seen::Persisted { member, number });
    }
    for member in MEMBERS {
        seen.push(Seen::Committed { member, entries: vec![entry()] });
        seen.push(Seen::Applied { member, index: LogIndex(2), digest: 9 });
    }
    seen
}

/// A put goes through, is read, and is watched.
fn right() -> Vec<Seen> {
    let (client, member) = (CLIENT, MEMBERS[0]);
    let mut seen: Vec<Seen> = MEMBERS.iter().map(|it| started(*it)).collect();
    seen.extend(MEMBERS.iter().map(|it| role(*it)));
    seen.extend(watching());
    let operation = Operation::Request(Request::Put(put()));
    seen.push(Seen::Called { client, call: CallId(0), member, operation });
    let (id, call, data) = (REQUEST, Some(CallId(0)), envelope());
    seen.push(Seen::Proposed { member, id, term: entry().term, call, data });
    seen.extend(replicate());
    let reply = Response::Put(pb::PutResponse { header: header(2), prev_kv: None });
    seen.push(Seen::Returned { client, call: CallId(0), outcome: Outcome::Response(reply) });
    let range = pb::RangeRequest { key: "a".into(), ..Default::default() };
    let operation = Operation::Range(range);
    seen.push(Seen::Called { client, call: CallId(1), member, operation });
    let reply = pb::RangeResponse { header: header(2), kvs: vec![kv()], more: false, count: 1 };
    seen.push(Seen::Returned { client, call: CallId(1), outcome: Outcome::Range(reply) });
    let ask = Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: 7 });
    let operation = Operation::Request(ask);
    seen.push(Seen::Called { client, call: CallId(2), member, operation });
    let gone = pb::LeaseKeepAliveResponse { header: header(2), id: 7, ttl: 0 };
    let outcome = Outcome::Response(Response::LeaseKeepAlive(gone));
    seen.push(Seen::Returned { client, call: CallId(2), outcome });
    let event = mvccpb::Event { kv: Some(kv()), ..Default::default() };
    let frame = pb::WatchResponse { header: header(2), events: vec![event], ..Default::default() };
    seen.push(Seen::Frame { client, stream: STREAM, frame });
    seen.push(Seen::Finished { quorum: MEMBERS.to_vec() });
    seen
}

/// Who objects to a run, and how.
fn said(seen: &[Seen]) -> (Option<Verdict>, &'static str, String) {
    let mut oracles = Oracles::all(Pace::default());
    for (at, seen) in seen.iter().enumerate() {
        if let Err(violation) = oracles.observe(Time(at as u64 * 1_000), seen) {
            return (Some(violation.verdict), violation.oracle, violation.what);
        }
    }
    (None, "", String::new())
}

#[test]
fn a_right_run_is_accepted() {
    assert_eq!(said(&right()), (None, "", String::new()));
}

/// Changes the first event it fits, and says whether it did.
type Spoil = fn(&mut Seen) -> bool;

/// Who objects, to what, with which words.
const SPOILT: [(&str, Spoil, &str); 7] = [
    (
        "linear",
        |seen| match seen {
            Seen::Returned { outcome: Outcome::Range(reply), .. } => {
                reply.count = 2;
                true
            }
            _ => false,
        },
        "operation 1 (Range by client 0 on member 1): count is 2, should be 1",
    ),
    (
        "watch",
        |seen| match seen {
            Seen::Frame { frame, .. } if !frame.created => {
                frame.events.clear();
                true
            }
            _ => false,
        },
        "stream 5: watch 0: progress to 2, but revision 2 was never sent",
    ),
    (
        "agreement",
        |seen| match seen {
            Seen::Applied { member, digest, .. } if *member == MEMBERS[2] => {
                *digest = 8;
                true
            }
            _ => false,
        },
        "at entry 2 member 3 has digest 0000000000000008, 1 had 0000000000000009",
    ),
    (
        "raft",
        |seen| match seen {
            Seen::Role { member, role } if *member == MEMBERS[1] => {
                role.is_leader = true;
                true
            }
            _ => false,
        },
        "term 2 has two leaders: 1 and 2",
    ),
    (
        "lease",
        |seen| match seen {
            Seen::Returned {
                call,
                outcome: Outcome::Response(Response::LeaseKeepAlive(_)),
                ..
            } => {
                let answer = pb::LeaseTimeToLiveResponse { id: 7, ttl: 5, ..Default::default() };
                let outcome = Outcome::Response(Response::LeaseTimeToLive(answer));
                *seen = Seen::Returned { client: CLIENT, call: *call, outcome };
                true
            }
            _ => false,
        },
        "lease 7 is gone, yet has 5 s or keys",
    ),
    (
        "panic",
        |seen| {
            let is_applied = matches!(seen, Seen::Applied { .. });
            if is_applied {
                *seen = Seen::Stopped { member: MEMBERS[0], why: Stop::Panic("why".to_owned()) };
            }
            is_applied
        },
        "member 1 panicked: why",
    ),
    (
        "liveness",
        |seen| match seen {
            Seen::Applied { member, index, .. } if *member == MEMBERS[2] => {
                *index = LogIndex(1);
                true
            }
            _ => false,
        },
        "members differ at the end: 2 at 2 with 0000000000000009, 3 at 1 with 0000000000000009",
    ),
];

#[test]
fn each_spoilt_run_is_refused_by_its_oracle() {
    for (oracle, spoil, what) in SPOILT {
        let mut seen = right();
        assert!(seen.iter_mut().any(spoil), "nothing to spoil for {oracle}");
        let (_, by, said) = said(&seen);
        assert_eq!((by, said.as_str()), (oracle, what));
    }
}
