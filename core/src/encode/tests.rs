use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::{
    Answer, Ask, ChangeRefusal, ChangeWish, Correction, PeerMessage, Report,
};
use quorate_proto::raftpb;

use super::Canonical;
use crate::auth::Identity;
use crate::error::{Misbehaviour, Refusal, StorageFault};
use crate::ids::{BarrierId, LogIndex, MemberId, RequestId, Revision, StreamId, Term, Token};
use crate::input::{Followers, Memory};
use crate::output::{Batch, Note, Persist};
use crate::storage::EntryKind;
use crate::storage::{Entry, Rows, SnapshotMark, StateRead, Table, Write};
use crate::time::Duration;
use crate::{ReplicaInput, ReplicaOutput, Request, Response, Role, StateInput, StateOutput};

fn form(value: &impl Canonical) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

#[track_caller]
fn check_all_differ(all: &[Vec<u8>]) {
    let set: BTreeSet<_> = all.iter().collect();
    assert_eq!(set.len(), all.len());
}

const INDEX: LogIndex = LogIndex(7);
const TO: MemberId = MemberId(7);

#[test]
fn replica_inputs_differ() {
    let mark = SnapshotMark::default();
    let all = [
        ReplicaInput::Propose {
            id: RequestId(7),
            data: Bytes::new(),
            kind: EntryKind::Normal,
            in_term: Term(0),
            may_forward: true,
        },
        ReplicaInput::Propose {
            id: RequestId(7),
            data: Bytes::new(),
            kind: EntryKind::Normal,
            in_term: Term(1),
            may_forward: false,
        },
        ReplicaInput::Propose {
            id: RequestId(7),
            data: Bytes::from_static(b"\0"),
            kind: EntryKind::Normal,
            in_term: Term(0),
            may_forward: true,
        },
        ReplicaInput::Barrier { context: BarrierId(7) },
        ReplicaInput::Peer { from: TO, message: raftpb::Message::default() },
        ReplicaInput::Persisted { number: 7 },
        ReplicaInput::Applied { index: INDEX },
        ReplicaInput::Synced { mark: mark.clone() },
        ReplicaInput::SnapshotTaken { mark },
        ReplicaInput::SnapshotSent { to: TO, delivered: true },
        ReplicaInput::SnapshotSent { to: TO, delivered: false },
        ReplicaInput::Unreachable { to: TO },
        ReplicaInput::Removed,
        ReplicaInput::TransferLeader { to: None },
        ReplicaInput::TransferLeader { to: Some(TO) },
        ReplicaInput::WantImage,
        ReplicaInput::Changed { index: INDEX, is_accepted: true },
        ReplicaInput::Changed { index: INDEX, is_accepted: false },
    ];
    check_all_differ(&all.iter().map(form).collect::<Vec<_>>());
}

#[test]
fn replica_outputs_differ() {
    let persist = Persist { number: 7, ..Persist::default() };
    let all = [
        ReplicaOutput::Send { to: TO, message: raftpb::Message::default() },
        ReplicaOutput::Persist(persist.clone()),
        ReplicaOutput::Persist(Persist { must_sync: true, ..persist }),
        ReplicaOutput::Committed { entries: vec![Entry::default()] },
        ReplicaOutput::Committed { entries: vec![Entry::default(); 2] },
        ReplicaOutput::CommitIndex { index: INDEX },
        ReplicaOutput::BarrierReached { context: BarrierId(7), index: INDEX },
        ReplicaOutput::BarrierLost { context: BarrierId(7) },
        ReplicaOutput::ProposalDropped { id: RequestId(7), in_term: Term(0) },
        ReplicaOutput::ProposalDropped { id: RequestId(7), in_term: Term(1) },
        ReplicaOutput::Role(Role::default()),
        ReplicaOutput::TakeSnapshot,
        ReplicaOutput::Cut { mark: SnapshotMark::default() },
        ReplicaOutput::Misbehaved { from: TO, how: Misbehaviour::Malformed },
        ReplicaOutput::Misbehaved { from: TO, how: Misbehaviour::Stranger },
        ReplicaOutput::Note(Note::Published),
        ReplicaOutput::Removed,
        ReplicaOutput::Halt(StorageFault::new("gone")),
        ReplicaOutput::Followers(Followers { active: vec![TO], in_sync: vec![] }),
        ReplicaOutput::Followers(Followers { active: vec![], in_sync: vec![TO] }),
    ];
    check_all_differ(&all.iter().map(form).collect::<Vec<_>>());
}

#[test]
fn state_inputs_differ() {
    let (token, stream, context) = (Token(7), StreamId(7), BarrierId(7));
    let image: Arc<dyn StateRead> = Arc::new(Rows::default());
    let who = Identity { user: "alice".into(), revision: 7 };
    let (put, txn) = (pb::PutRequest::default(), pb::TxnRequest::default());
    let all = [
        StateInput::Request { token, who: Ok(who.clone()), request: Request::Put(put) },
        StateInput::Request { token, who: Ok(who.clone()), request: Request::Txn(txn) },
        StateInput::Read { token },
        StateInput::StreamOpened { stream, frame_bytes_max: 7 },
        StateInput::StreamMessage { stream, who: Ok(who), message: pb::WatchRequest::default() },
        StateInput::TokenUsed { token: "a.1".into() },
        StateInput::StreamReady { stream, frames: 7 },
        StateInput::StreamClosed { stream },
        StateInput::Committed { entries: Vec::new() },
        StateInput::BarrierReached { context, index: INDEX },
        StateInput::BarrierLost { context },
        StateInput::ProposalDropped { id: RequestId(7), in_term: Term(0) },
        StateInput::ProposalDropped { id: RequestId(7), in_term: Term(1) },
        StateInput::Role(Role::default()),
        StateInput::CommitIndex { index: INDEX },
        StateInput::Stored { index: INDEX, image: image.clone() },
        StateInput::Synced { index: INDEX },
        StateInput::Installed { image: image.clone() },
        StateInput::Relaid { image },
        StateInput::TakeSnapshot,
        StateInput::Ask { from: TO, ask: Ask::default() },
        StateInput::Answer { from: TO, answer: Answer::default() },
        StateInput::DbSize { allocated: 7, in_use: 7, is_disk_low: false },
        StateInput::Followers(Followers { active: vec![TO], in_sync: vec![] }),
        StateInput::ChangeWish { from: TO, wish: ChangeWish::default() },
        StateInput::ChangeRefusal { from: TO, refusal: ChangeRefusal::default() },
        StateInput::Report { from: TO, report: Report::default() },
        StateInput::Correction { from: TO, correction: Correction::default() },
        StateInput::Damaged { fault: StorageFault::damage("gone") },
        StateInput::DbSize { allocated: 7, in_use: 7, is_disk_low: true },
        StateInput::Memory(Memory::Short),
        StateInput::Memory(Memory::Out),
    ];
    check_all_differ(&all.iter().map(form).collect::<Vec<_>>());
}

#[test]
fn state_outputs_differ() {
    let (token, stream) = (Token(7), StreamId(7));
    let image: Arc<dyn StateRead> = Arc::new(Rows::default());
    let row = Write { table: Table::Key, key: Bytes::new(), value: None };
    let kept = Write { value: Some(Bytes::new()), ..row.clone() };
    let batch = Batch { index: INDEX, writes: vec![row], ..Batch::default() };
    let put = Response::Put(pb::PutResponse::default());
    let compact = Response::Compact(pb::CompactionResponse::default());
    let all = [
        StateOutput::Respond { token, result: Ok(put) },
        StateOutput::Respond { token, result: Ok(compact) },
        StateOutput::Respond { token, result: Err(Refusal::EmptyKey) },
        StateOutput::Respond { token, result: Err(Refusal::NoLeader) },
        StateOutput::ReadReady { token, result: Err(Refusal::NoLeader) },
        StateOutput::Stream { stream, frame: pb::WatchResponse::default() },
        StateOutput::Propose {
            id: RequestId(7),
            data: Bytes::new(),
            kind: EntryKind::Normal,
            in_term: Term(0),
            may_forward: true,
        },
        StateOutput::Propose {
            id: RequestId(7),
            data: Bytes::new(),
            kind: EntryKind::Normal,
            in_term: Term(1),
            may_forward: false,
        },
        StateOutput::Barrier { context: BarrierId(7) },
        StateOutput::Applied { index: INDEX, digest: 7 },
        StateOutput::Applied { index: INDEX, digest: 8 },
        StateOutput::Store(Batch { writes: vec![kept], ..batch.clone() }),
        StateOutput::Store(batch),
        StateOutput::SnapshotTaken { mark: SnapshotMark::default(), image },
        StateOutput::Synced { mark: SnapshotMark::default() },
        StateOutput::Send { to: TO, message: PeerMessage::default() },
        StateOutput::Note(Note::Published),
        StateOutput::Note(Note::CompactionFinished { revision: Revision(7) }),
        StateOutput::Halt(StorageFault::new("gone")),
        StateOutput::Changed { index: INDEX, is_accepted: true },
        StateOutput::Changed { index: INDEX, is_accepted: false },
        StateOutput::TransferLeader { to: None },
        StateOutput::TransferLeader { to: Some(TO) },
        StateOutput::WantImage,
    ];
    check_all_differ(&all.iter().map(form).collect::<Vec<_>>());
}

#[test]
fn notes_differ_in_each_field() {
    let note = |why| Note::SteppedDown { term: Term(1), why };
    let all = [
        form(&Note::BecameLeader { term: Term(1) }),
        form(&note("a")),
        form(&note("b")),
        form(&Note::Follows { leader: TO, term: Term(1) }),
        form(&Note::LogStalled { number: 1 }),
        form(&Note::LogLags { by: Duration::from_millis(1) }),
        form(&Note::ClusterVersion { version: String::from("3.7.0") }),
        form(&Note::MemberAdded { member: TO }),
        form(&Note::MemberRemoved { member: TO }),
        form(&Note::MemberPromoted { member: TO }),
        form(&Note::MemberUpdated { member: TO }),
        form(&Note::SnapshotApplied { index: INDEX }),
        form(&Note::Alarm { member: TO, kind: "NOSPACE", raised: true }),
        form(&Note::Alarm { member: TO, kind: "NOSPACE", raised: false }),
    ];
    check_all_differ(&all);
}
