//! A member in front of which the production services stand, and that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate_core::error::Refusal;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::peer::PeerMessage;
use quorate_core::storage::{SnapshotMark, StateRead};
use quorate_core::time::{Time, Wake};
use quorate_core::{
    Machine, ReplicaInput, ReplicaOutput, Request, Response, StateInput, StateOutput, View,
};
use quorate_io_tokio::clock::Clock;
use quorate_io_tokio::disk::{DataDir, Identity, recovery};
use quorate_io_tokio::driver::{Parts, Running, Transport, Unobserved, start};
use quorate_io_tokio::grpc::{Arrivals, Front, Limits, Passwords, Patience, Replies, Services};
use quorate_io_tokio::metrics::Metrics;
use quorate_io_tokio::tokens::Tokens;
use quorate_io_tokio::transport::IoThreads;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb;

use crate::member::Member;

/// Keys the member holds.
const KEYS: u8 = 4;

/// What the member answers with, in turn: messages, or numbers of refusals.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) answers: VecDeque<Result<Bytes, usize>>,
}

/// The member, running.
pub(crate) struct Scripted {
    running: Running,
    _streams: IoThreads,
    _folder: tempfile::TempDir,
}

impl Scripted {
    pub(crate) fn start(script: Arc<Mutex<Script>>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = DataDir::open(folder.path()).expect("an empty folder");
        let identity = Identity { member: MemberId(1), cluster: ClusterId(7) };
        recovery::create(&dir, identity).expect("a new member");
        let mark_of = |_: &dyn StateRead| Ok(SnapshotMark::default());
        let found = recovery::open(&dir, None, &mark_of, Default::default());
        let found = found.expect("a new member opens");
        let view = view_with_keys();
        let outputs = VecDeque::from([StateOutput::Publish(view.clone())]);
        let parts = Parts {
            replica: Idle,
            state: Answering { script, view, outputs },
            incoming: found.store.incoming(),
            log: Box::new(found.log_writer),
            store: Box::new(found.store),
            transport: Arc::new(Nobody),
            observer: Arc::new(Unobserved),
            scrub_interval: Duration::from_secs(3_600),
            clock: Clock::start(),
        };
        let streams = IoThreads::start("peer", 1).expect("a thread");
        let running = start(parts, streams.next()).expect("the loops start");
        Self { running, _streams: streams, _folder: folder }
    }

    pub(crate) fn services(&self, message_bytes_max: usize) -> Services {
        Services::new(Front {
            core: self.running.core.clone(),
            metrics: Arc::new(Metrics::new(1 << 31)),
            passwords: Passwords::new(4),
            tokens: Tokens::Simple,
            spans: None,
            replies: Replies::default(),
            arrivals: Arrivals::default(),
            limits: Limits {
                message_bytes_max,
                request_bytes_max: message_bytes_max / 2,
                election_timeout: Duration::from_millis(20),
                quota_backend_bytes: 1 << 31,
                txn_ops_max: 128,
                patience: Patience { apply: Duration::MAX, unary: Duration::MAX },
            },
        })
    }
}

/// What reads find.
fn view_with_keys() -> View {
    let mut member = Member::start(1);
    for number in 0..KEYS {
        let put = pb::PutRequest {
            key: vec![b'a' + number].into(),
            value: vec![number, 0xff].into(),
            ..pb::PutRequest::default()
        };
        member.request(Request::Put(put));
    }
    member.view()
}

/// A state that answers at once.
struct Answering {
    script: Arc<Mutex<Script>>,
    view: View,
    outputs: VecDeque<StateOutput>,
}

impl Answering {
    fn next(&self) -> Result<Bytes, Refusal> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = script.answers.pop_front().unwrap_or_else(|| Ok(Bytes::new()));
        answer.map_err(|number| Refusal::ALL[number % Refusal::ALL.len()])
    }

    fn respond(&self, request: &Request) -> Result<Response, Refusal> {
        let bytes = self.next()?;
        macro_rules! response {
            ($($kind:ident),*) => {
                match request {
                    $(Request::$kind(_) => Message::decode(bytes).ok().map(Response::$kind),)*
                }
            };
        }
        let response = response!(
            Put,
            DeleteRange,
            Txn,
            Compact,
            LeaseGrant,
            LeaseRevoke,
            LeaseKeepAlive,
            LeaseTimeToLive,
            LeaseLeases,
            Alarm,
            MoveLeader,
            Downgrade,
            Auth,
            MemberAdd,
            MemberRemove,
            MemberUpdate,
            MemberPromote
        );
        response.ok_or(Refusal::Stopped)
    }
}

impl Machine for Answering {
    type Input = StateInput;
    type Output = StateOutput;

    fn handle(&mut self, _: Time, input: StateInput) {
        let output = match input {
            StateInput::Request { token, request, .. } => {
                StateOutput::Respond { token, result: self.respond(&request) }
            }
            StateInput::Read { token } => {
                StateOutput::ReadReady { token, result: Ok(self.view.clone()) }
            }
            StateInput::StreamMessage { stream, .. } => {
                let answer = self.next().ok().and_then(|bytes| Message::decode(bytes).ok());
                let frame =
                    answer.unwrap_or(pb::WatchResponse { created: true, ..Default::default() });
                StateOutput::Stream { stream, frame }
            }
            _ => return,
        };
        self.outputs.push_back(output);
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_output(&mut self) -> Option<StateOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        None
    }
}

/// A replica that has nothing to do.
struct Idle;

impl Machine for Idle {
    type Input = ReplicaInput;
    type Output = ReplicaOutput;

    fn handle(&mut self, _: Time, _: ReplicaInput) {}
    fn handle_timeout(&mut self, _: Time) {}
    fn poll_output(&mut self) -> Option<ReplicaOutput> {
        None
    }
    fn poll_timeout(&self) -> Option<Wake> {
        None
    }
}

/// No other members.
struct Nobody;

impl Transport for Nobody {
    fn send(&self, _: MemberId, _: PeerMessage) {}
    fn send_image(&self, _: MemberId, _: raftpb::Message, _: Arc<dyn StateRead>) {}
}
