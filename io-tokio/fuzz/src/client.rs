//! A client that sends what it likes to a group of one: calls, watch streams, recipes, in any
//! order, with time passing and power failing in between.
//!
//! A record's kind names the call, its body is the call's message as protobuf; see [`Kind`].
//! Beside what [`member`](crate::member) asserts: every call is answered in time, nothing is
//! stored that nobody wrote, reads never find the store broken, and after a restart the member
//! knows what it knew before.

use std::time::Duration;

use prost::Message;
use quorate_core::auth::Identity;
use quorate_core::event::ReadError;
use quorate_core::ids::{MemberId, StreamId, Token};
use quorate_core::input::MemberAddition;
use quorate_core::mvcc::{Chunks, Step};
use quorate_core::{Memory, Request, StateInput, View, txn};
use quorate_proto::etcdserverpb as pb;

use crate::member::{Answer, Member};
use crate::recipes::Runner;
use crate::records::{self, Record};

/// Operations of one transaction, as the shell's default.
const TXN_OPS_MAX: usize = 128;
/// Rows a member stores by itself: who is in the group, versions, positions.
const OWN_ROWS_MAX: usize = 100;
/// Bytes a streamed range aims at for a chunk.
const CHUNK_BYTES_AIM: usize = 64;
/// Streams at once.
const STREAMS_MAX: u64 = 4;
/// Twice the time a request may take, and an election: a question about a lease that was asked of a
/// leader who lost the group is asked again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(16);
/// Wakes in one passing of time.
const WAKES_MAX: usize = 400;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a record does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind; a record's number is taken modulo how many there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

kinds! {
    /// `KV.Put`
    Put,
    /// `KV.DeleteRange`
    DeleteRange,
    /// `KV.Txn`
    Txn,
    /// `KV.Compact`
    Compact,
    /// `KV.Range`
    Range,
    /// `KV.RangeStream`
    RangeStream,
    /// `Maintenance.HashKV`
    HashKv,
    /// `Lease.LeaseGrant`
    LeaseGrant,
    /// `Lease.LeaseRevoke`
    LeaseRevoke,
    /// `Lease.LeaseKeepAlive`
    LeaseKeepAlive,
    /// `Lease.LeaseTimeToLive`
    LeaseTimeToLive,
    /// `Lease.LeaseLeases`
    LeaseLeases,
    /// `Maintenance.Alarm`
    Alarm,
    /// `Maintenance.MoveLeader`
    MoveLeader,
    /// `Cluster.MemberAdd`; the id is made from the body.
    MemberAdd,
    /// `Cluster.MemberRemove`
    MemberRemove,
    /// `Cluster.MemberUpdate`
    MemberUpdate,
    /// `Cluster.MemberPromote`
    MemberPromote,
    /// A message on a stream: the stream's number, then the message.
    Watch,
    /// Opens a stream: its number, the bytes of its frames.
    StreamOpen,
    /// Takes frames: the stream's number, how many.
    StreamReady,
    /// Closes a stream: its number.
    StreamClose,
    /// `Lock.Lock` and the five after it: recipes.
    Lock,
    /// `Lock.Unlock`
    Unlock,
    /// `Election.Campaign`
    Campaign,
    /// `Election.Proclaim`
    Proclaim,
    /// `Election.Leader`
    Leader,
    /// `Election.Observe`
    Observe,
    /// `Election.Resign`
    Resign,
    /// The client of the oldest recipe leaves.
    Leave,
    /// Time passes: so many times 100 milliseconds, two bytes.
    Wait,
    /// The store's size: four bytes; whether the disk is low (bit 0), and memory (bits 1 and 2).
    DbSize,
    /// Slow disks: bit 0 the log, bit 1 the store.
    Slow,
    /// Power fails.
    Restart,
}

/// Runs an input.
pub fn run(input: &[u8]) {
    let mut client = Client { member: Member::start(1), runner: Runner::default(), written: 0 };
    for record in records::read(input) {
        client.carry_out(&record);
        if client.member.has_ended() {
            return;
        }
        client.runner.go_on(&mut client.member);
    }
    client.part();
}

/// Whoever sends.
struct Client {
    member: Member,
    runner: Runner,
    /// Bytes of all records: no row takes less than one of them.
    written: usize,
}

impl Client {
    fn carry_out(&mut self, record: &Record) {
        self.written += record.body.len() + 1;
        let kind = Kind::ALL[usize::from(record.kind) % Kind::ALL.len()];
        if let Some(request) = request_of(kind, &record.body) {
            return self.ask(request);
        }
        if self.runner.begin(kind, &record.body, &mut self.member) {
            return;
        }
        let (first, rest) = record.body.split_first().map_or((0, &[][..]), |(it, r)| (*it, r));
        let stream = StreamId(u64::from(first) % STREAMS_MAX);
        let member = &mut self.member;
        match kind {
            Kind::Range => decoded(&record.body, |range| self.range(&range)),
            Kind::RangeStream => decoded(&record.body, |range| self.range_stream(&range)),
            Kind::HashKv => decoded(&record.body, |hash: pb::HashKvRequest| {
                sound(member.view().kv.hash(hash.revision));
            }),
            Kind::Watch => decoded(rest, |message| {
                member.tell_state(StateInput::StreamMessage {
                    stream,
                    who: Ok(Identity::default()),
                    message,
                });
            }),
            Kind::StreamOpen => member.open_stream(stream, usize::from(number(rest)).max(1)),
            Kind::StreamReady => drop(member.take_frames(stream, usize::from(number(rest)))),
            Kind::StreamClose => member.close_stream(stream),
            Kind::Leave => self.runner.leave(member),
            Kind::Wait => {
                member.wait(100 * Duration::from_millis(number(&record.body).into()), WAKES_MAX);
            }
            Kind::DbSize => {
                let allocated = u64::from(number(&record.body)) << 8;
                let (in_use, is_disk_low) = (allocated / 2, first & 1 != 0);
                let memory = [Memory::Enough, Memory::Short, Memory::Out, Memory::Enough];
                let memory = memory[usize::from(first >> 1 & 3)];
                member.tell_state(StateInput::DbSize { allocated, in_use, is_disk_low });
                member.tell_state(StateInput::Memory(memory));
            }
            Kind::Slow => {
                member.slow.log = first & 1 != 0;
                member.slow.store = first & 2 != 0;
                member.settle();
            }
            Kind::Restart => {
                self.runner = Runner::default();
                member.restart();
            }
            _ => {}
        }
    }

    /// As the services do: what only reads never reaches the machines.
    fn ask(&mut self, request: Request) {
        if let Request::Txn(txn) = &request
            && txn::is_read_only(txn)
        {
            if txn::check_txn(txn, TXN_OPS_MAX).is_ok() {
                sound(txn::read_txn(&self.member.view().kv, txn));
            }
            return;
        }
        let token = self.member.request(request);
        self.look_at(token);
    }

    fn look_at(&mut self, token: Token) {
        if let Some(Answer::Response(Ok(response))) = self.member.take_answer(token) {
            // It can be printed, as it can be encoded.
            assert!(!format!("{response:?}").is_empty());
        }
    }

    fn range(&mut self, range: &pb::RangeRequest) {
        if txn::check_range(range).is_err() {
            return;
        }
        if range.serializable {
            sound(txn::read_range(&self.member.view().kv, range));
            return;
        }
        let token = self.member.read();
        if let Some(Answer::View(Ok(view))) = self.member.take_answer(token) {
            let found = sound(txn::read_range(&view.kv, range));
            assert!(found.is_none_or(|found| found.kvs.len() as i64 <= found.count));
        }
    }

    fn range_stream(&mut self, range: &pb::RangeRequest) {
        if txn::check_range_stream(range).is_err() {
            return;
        }
        let view = self.member.view();
        let Ok(chunks) = Chunks::begin(&view.kv, range, CHUNK_BYTES_AIM) else { return };
        let whole = sound(txn::read_range(&view.kv, range)).unwrap_or_default();
        let streamed = read_all(chunks, &view);
        assert_eq!(streamed, whole.kvs, "a range in chunks is the range");
    }

    /// Everything must be answered in the end, and found again after a restart.
    fn part(mut self) {
        let member = &mut self.member;
        member.slow = Default::default();
        member.settle();
        self.runner.leave_all(member);
        member.wait(ANSWERED_WITHIN, WAKES_MAX);
        if member.has_ended() {
            return;
        }
        self.runner.leave_all(member);
        assert_eq!(member.unanswered(), [""; 0], "calls without an answer");
        let rows = member.content().rows();
        assert!(rows <= OWN_ROWS_MAX + 2 * self.written, "{rows} rows of {}", self.written);
        let before = (member.digest(), everything(&member.view()));
        member.restart();
        let applied = member.view().facts.applied;
        if applied == before.0.0 {
            assert_eq!((member.digest(), everything(&member.view())), before, "after a restart");
        }
    }
}

/// All keys and the hash of their history.
fn everything(view: &View) -> (Vec<quorate_proto::mvccpb::KeyValue>, i64) {
    let all = pb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..pb::RangeRequest::default()
    };
    let found = sound(txn::read_range(&view.kv, &all)).unwrap_or_default();
    (found.kvs, view.kv.revision().get())
}

fn read_all(mut chunks: Chunks, view: &View) -> Vec<quorate_proto::mvccpb::KeyValue> {
    let mut found = Vec::new();
    loop {
        match sound(chunks.step(&view.kv)) {
            Some(Step::Reading) => {}
            Some(Step::Chunk(chunk)) => found.extend(chunk.kvs),
            Some(Step::Last(chunk)) => {
                found.extend(chunk.kvs);
                return found;
            }
            None => return found,
        }
    }
}

/// What a read found; a refusal is an answer as well, a broken store is not.
fn sound<T>(read: Result<T, ReadError>) -> Option<T> {
    match read {
        Ok(found) => Some(found),
        Err(ReadError::Refused(_)) => None,
        Err(ReadError::Fault(fault)) => panic!("{}", fault.what),
    }
}

/// A number of up to two bytes.
fn number(bytes: &[u8]) -> u16 {
    bytes.iter().take(2).fold(0, |number, byte| number << 8 | u16::from(*byte))
}

/// Goes on with the message that a body is, if it is one.
pub(crate) fn decoded<M: Message + Default>(body: &[u8], go_on: impl FnOnce(M)) {
    // As the services get it: from bytes that are shared.
    if let Ok(message) = M::decode(bytes::Bytes::copy_from_slice(body)) {
        go_on(message);
    }
}

/// The request of a kind that a body is.
pub fn request_of(kind: Kind, body: &[u8]) -> Option<Request> {
    fn message<M: Message + Default>(body: &[u8]) -> Option<M> {
        M::decode(bytes::Bytes::copy_from_slice(body)).ok()
    }
    Some(match kind {
        Kind::Put => Request::Put(message(body)?),
        Kind::DeleteRange => Request::DeleteRange(message(body)?),
        Kind::Txn => Request::Txn(message(body)?),
        Kind::Compact => Request::Compact(message(body)?),
        Kind::LeaseGrant => Request::LeaseGrant(message(body)?),
        Kind::LeaseRevoke => Request::LeaseRevoke(message(body)?),
        Kind::LeaseKeepAlive => Request::LeaseKeepAlive(message(body)?),
        Kind::LeaseTimeToLive => Request::LeaseTimeToLive(message(body)?),
        Kind::LeaseLeases => Request::LeaseLeases(message(body)?),
        Kind::Alarm => Request::Alarm(message(body)?),
        Kind::MoveLeader => Request::MoveLeader(message(body)?),
        Kind::MemberAdd => {
            let request: pb::MemberAddRequest = message(body)?;
            let id = MemberId(2 + body.len() as u64 % 8);
            Request::MemberAdd(MemberAddition { id, request })
        }
        Kind::MemberRemove => Request::MemberRemove(message(body)?),
        Kind::MemberUpdate => Request::MemberUpdate(message(body)?),
        Kind::MemberPromote => Request::MemberPromote(message(body)?),
        _ => return None,
    })
}
