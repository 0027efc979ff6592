//! What legitimately differs between two servers is levelled here; the rest must be equal.

use std::collections::BTreeMap;

use prost::Message;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::range_request::SortTarget;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::mvccpb::{Event, KeyValue};

use super::call::{Answer, Call, Method, Reply};
use super::judge::level_spaces;
use super::streams::{Heard, WatchName, at};

/// Where etcd itself has no order, or no fixed answer, and why. Everything else is compared as it
/// came.
pub(crate) const LEVELLED: &[(&str, &str)] = &[
    ("cluster and member ids, raft terms, log positions", "each cluster has its own"),
    ("ids of leases the server picks", "they count up from the time of its start"),
    ("order of LeaseLeases", "etcd sorts by what remains, which runs down while we ask"),
    ("order of keys in LeaseTimeToLive", "etcd walks a hash map"),
    ("seconds that remain of a lease", "time passes; a minute's worth is forgiven"),
    ("keys that sort equal among more than 12", "etcd's sort is unstable from there on"),
    ("order between the watches of a stream", "etcd walks a hash map; each has its own order"),
    ("how a watch from the past is cut into responses", "etcd looks for such watches 10 times/s"),
    ("the same of a stream that is told very much", "whoever falls behind is told from history"),
    ("hashes left by compactions before a restart", "there again if replay compacts once more"),
    ("spaces in the words of an alarm", "Go's protobuf doubles them in some of its builds"),
    ("sizes of the store, addresses of members", "not the same file, not the same port"),
];

/// From this many keys on, Go's sort does not keep the order of equals.
const STABLE_MAX: i64 = 12;
/// Seconds a script may have taken since a lease was granted.
const RUN_DOWN_MAX: i64 = 60;

/// Levels ids and terms; that there is one stays visible.
pub(crate) fn level_header(header: &mut pb::ResponseHeader) {
    header.cluster_id = header.cluster_id.min(1);
    header.member_id = header.member_id.min(1);
    header.raft_term = header.raft_term.min(1);
}

/// Levels an answer to `call`.
pub(crate) fn level(call: &Call, answer: &mut Answer) {
    let Ok(reply) = answer else { return };
    if let Reply::Status(reply) = reply {
        level_status(reply);
    }
    reply.header_mut().into_iter().for_each(level_header);
    match reply {
        Reply::Range(reply) => {
            if let Ok(request) = pb::RangeRequest::decode(call.body.clone()) {
                level_ties(&request, reply);
            }
        }
        Reply::Txn(reply) => {
            if let Ok(request) = pb::TxnRequest::decode(call.body.clone()) {
                level_txn(&request, reply);
            }
        }
        Reply::TimeToLive(reply) => {
            if (0..=RUN_DOWN_MAX).contains(&reply.granted_ttl.saturating_sub(reply.ttl)) {
                reply.ttl = reply.granted_ttl;
            }
            reply.keys.sort();
        }
        Reply::Leases(reply) => reply.leases.sort_by_key(|lease| lease.id),
        Reply::Members(reply) => reply.members.iter_mut().for_each(level_member),
        _ => {}
    }
}

fn level_status(reply: &mut pb::StatusResponse) {
    let header = reply.header.unwrap_or_default();
    reply.leader = u64::from(reply.leader == header.member_id);
    reply.raft_term = u64::from(reply.raft_term == header.raft_term);
    reply.raft_applied_index = u64::from(reply.raft_applied_index <= reply.raft_index);
    reply.raft_index = reply.raft_index.min(1);
    reply.db_size = reply.db_size.min(1);
    reply.db_size_in_use = reply.db_size_in_use.min(1);
    for error in &mut reply.errors {
        *error = level_spaces(error);
    }
}

fn level_member(member: &mut pb::Member) {
    member.id = member.id.min(1);
    member.peer_ur_ls.iter_mut().chain(&mut member.client_ur_ls).for_each(|url| {
        url.truncate("http://127.0.0.1:".len());
    });
}

fn level_txn(request: &pb::TxnRequest, reply: &mut pb::TxnResponse) {
    let branch = if reply.succeeded { &request.success } else { &request.failure };
    for (op, response) in branch.iter().zip(&mut reply.responses) {
        match (&op.request, &mut response.response) {
            (Some(Request::RequestRange(request)), Some(Response::ResponseRange(reply))) => {
                level_ties(request, reply);
            }
            (Some(Request::RequestTxn(request)), Some(Response::ResponseTxn(reply))) => {
                level_txn(request, reply);
            }
            _ => {}
        }
    }
}

/// Keys that sort equal, which stand in a row, are put in the order of keys; the order of rows
/// stays. The last row, which a limit may have cut through, counts by what it was sorted by.
fn level_ties(request: &pb::RangeRequest, reply: &mut pb::RangeResponse) {
    let target = SortTarget::try_from(request.sort_target).unwrap_or(SortTarget::Key);
    if target == SortTarget::Key || reply.count <= STABLE_MAX {
        return;
    }
    if target == SortTarget::Value && request.keys_only {
        // What they were sorted by was not sent.
        reply.kvs.sort_by(|one, other| one.key.cmp(&other.key));
        reply.kvs.retain(|_| !reply.more);
        return;
    }
    let by = |kv: &KeyValue| match target {
        SortTarget::Version => kv.version.to_be_bytes().to_vec(),
        SortTarget::Create => kv.create_revision.to_be_bytes().to_vec(),
        SortTarget::Mod => kv.mod_revision.to_be_bytes().to_vec(),
        _ => kv.value.to_vec(),
    };
    for row in reply.kvs.chunk_by_mut(|one, other| by(one) == by(other)) {
        row.sort_by(|one, other| one.key.cmp(&other.key));
    }
    if let Some(last) = reply.kvs.last().map(by).filter(|_| reply.more) {
        for kv in reply.kvs.iter_mut().filter(|kv| by(kv) == last) {
            *kv = KeyValue { value: last.clone().into(), ..KeyValue::default() };
        }
    }
}

/// What a watch was told: whole responses, or, if they could be cut anywhere, events by revision.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Whole(Vec<pb::WatchResponse>),
    Joined {
        events: BTreeMap<i64, Vec<Event>>,
        canceled: Option<i64>,
        /// A revision that was split without saying so.
        split: Option<i64>,
    },
}

/// All that was heard on a stream, levelled. `from_the_past` says of a watch whether it began
/// before the revision it was created at.
pub(crate) fn level_heard(
    mut heard: Heard,
    from_the_past: impl Fn(WatchName) -> bool,
) -> (Heard, BTreeMap<WatchName, Told>) {
    let told = core::mem::take(&mut heard.watches).into_iter().map(|(name, told)| {
        let told = if from_the_past(name) { join(told) } else { Told::Whole(told) };
        (name, told)
    });
    let told = told.collect();
    (heard, told)
}

/// Events by revision.
fn join(told: Vec<pb::WatchResponse>) -> Told {
    let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    let (mut canceled, mut split) = (None, None);
    let mut is_part = false;
    for response in told {
        if response.canceled {
            canceled = Some(response.compact_revision);
        }
        let first = response.events.first().map(at);
        split = split.or(first.filter(|first| !is_part && events.contains_key(first)));
        is_part = response.fragment;
        for event in response.events {
            events.entry(at(&event)).or_default().push(event);
        }
    }
    Told::Joined { events, canceled, split }
}

/// Whether an answer may be another for a moment: it is asked for until both agree.
pub(crate) fn is_momentary(call: &Call) -> bool {
    matches!(call.method, Method::Status | Method::HashKv)
}
