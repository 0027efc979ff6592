//! A member that answers from a script, for tests of what stands in front of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quorate_core::error::Refusal;
use quorate_core::ids::{ClusterId, LogIndex, MemberId, StreamId, Term, Token};
use quorate_core::input::Role;
use quorate_core::peer::{PeerMessage, raftpb};
use quorate_core::storage::{SnapshotMark, StateRead};
use quorate_core::time::{Time, Wake};
use quorate_core::view::Facts;
use quorate_core::{
    Machine, ReplicaInput, ReplicaOutput, Request, Response, StateInput, StateOutput, View,
};
use quorate_io_tokio::cli::Place;
use quorate_io_tokio::clock::Clock;
use quorate_io_tokio::disk::{DataDir, Identity, recovery};
use quorate_io_tokio::driver::{Core, Parts, Running, Transport, Unobserved, start};
use quorate_io_tokio::gateway::Gateway;
pub use quorate_io_tokio::grpc::reads::view_of;
use quorate_io_tokio::grpc::{Arrivals, Front, Limits, Passwords, Patience, Replies, Services};
use quorate_io_tokio::http::{Pages, Surface};
use quorate_io_tokio::metrics::{Metrics, Traffic};
use quorate_io_tokio::tls::{Keyring, Security};
use quorate_io_tokio::tokens::Tokens;
use quorate_io_tokio::transport::bind::{Bound, bind};
use quorate_io_tokio::transport::listen::{Connections, Grpc, Http2, Port};
use quorate_io_tokio::transport::{Dialer, IoThreads};
use quorate_proto::etcdserverpb::{WatchRequest, WatchResponse};
use tokio::sync::{mpsc, oneshot};

/// Facts of a member that leads a cluster of one.
pub fn leading() -> Facts {
    Facts {
        member: MemberId(0xa),
        cluster: ClusterId(0xc),
        applied: LogIndex(4),
        committed: LogIndex(4),
        role: Role { term: Term(2), leader: Some(MemberId(0xa)), is_leader: true },
        cluster_version: "3.7.0".into(),
        is_published: true,
        ..Facts::default()
    }
}

/// What reached the machines.
#[derive(Debug)]
pub enum Call {
    /// A request and where its answer goes.
    Request(Request, oneshot::Sender<Result<Response, Refusal>>),
    /// A read barrier.
    Read(oneshot::Sender<Result<(), Refusal>>),
    /// A watch stream: its number, what it takes, and where its frames go.
    Open(StreamId, usize, mpsc::Sender<WatchResponse>),
    /// A message on it.
    Watch(StreamId, WatchRequest),
    /// Its end.
    Close(StreamId),
    /// Hand leadership over.
    TransferLeadership(Option<MemberId>),
}

/// How often the machines look whether the script has answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A state that passes everything to the script.
struct ScriptedState {
    calls: mpsc::UnboundedSender<Call>,
    published: Arc<ArcSwap<View>>,
    shown: Option<Arc<View>>,
    requests: Vec<(Token, oneshot::Receiver<Result<Response, Refusal>>)>,
    reads: Vec<(Token, oneshot::Receiver<Result<(), Refusal>>)>,
    streams: BTreeMap<StreamId, mpsc::Receiver<WatchResponse>>,
    outputs: VecDeque<StateOutput>,
    now: Time,
}

impl ScriptedState {
    fn look(&mut self) {
        let newest = self.published.load_full();
        if self.shown.as_ref().is_none_or(|shown| !Arc::ptr_eq(shown, &newest)) {
            self.outputs.push_back(StateOutput::Publish(View::clone(&newest)));
            self.shown = Some(newest.clone());
        }
        let outputs = &mut self.outputs;
        self.requests.retain_mut(|(token, answer)| match answer.try_recv() {
            Ok(result) => {
                outputs.push_back(StateOutput::Respond { token: *token, result });
                false
            }
            Err(error) => error == oneshot::error::TryRecvError::Empty,
        });
        self.reads.retain_mut(|(token, answer)| match answer.try_recv() {
            Ok(result) => {
                let result = result.map(|()| View::clone(&newest));
                outputs.push_back(StateOutput::ReadReady { token: *token, result });
                false
            }
            Err(error) => error == oneshot::error::TryRecvError::Empty,
        });
        for (stream, frames) in &mut self.streams {
            while let Ok(frame) = frames.try_recv() {
                outputs.push_back(StateOutput::Stream { stream: *stream, frame });
            }
        }
    }
}

impl Machine for ScriptedState {
    type Input = StateInput;
    type Output = StateOutput;

    fn handle(&mut self, now: Time, input: StateInput) {
        self.now = now;
        let call = match input {
            StateInput::Request { token, request, .. } => {
                let (answer, answered) = oneshot::channel();
                self.requests.push((token, answered));
                Call::Request(request, answer)
            }
            StateInput::Read { token } => {
                let (answer, answered) = oneshot::channel();
                self.reads.push((token, answered));
                Call::Read(answer)
            }
            StateInput::StreamOpened { stream, frame_bytes_max } => {
                let (frames, received) = mpsc::channel(100);
                self.streams.insert(stream, received);
                Call::Open(stream, frame_bytes_max, frames)
            }
            StateInput::StreamMessage { stream, message, .. } => Call::Watch(stream, message),
            StateInput::StreamClosed { stream } => {
                self.streams.remove(&stream);
                Call::Close(stream)
            }
            _ => return,
        };
        let _ = self.calls.send(call);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.look();
    }

    fn poll_output(&mut self) -> Option<StateOutput> {
        if self.shown.is_none() {
            self.look();
        }
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        Some(Wake { at: self.now + LOOK_INTERVAL, timer: "script" })
    }
}

/// A replica that passes wishes to the script.
struct ScriptedReplica(mpsc::UnboundedSender<Call>);

impl Machine for ScriptedReplica {
    type Input = ReplicaInput;
    type Output = ReplicaOutput;

    fn handle(&mut self, _: Time, input: ReplicaInput) {
        if let ReplicaInput::TransferLeader { to } = input {
            let _ = self.0.send(Call::TransferLeadership(to));
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_output(&mut self) -> Option<ReplicaOutput> {
        None
    }

    fn poll_timeout(&self) -> Option<Wake> {
        None
    }
}

/// Neither disk nor network: nothing in these tests gets that far.
struct Nothing;

impl Transport for Nothing {
    fn send(&self, _: MemberId, _: PeerMessage) {}
    fn send_image(&self, _: MemberId, _: raftpb::Message, _: Arc<dyn StateRead>) {}
}

/// A member and its ends.
pub struct Fake {
    running: Running,
    _streams: IoThreads,
    folder: tempfile::TempDir,
    pub core: Core,
    pub calls: mpsc::UnboundedReceiver<Call>,
    pub published: Arc<ArcSwap<View>>,
    pub metrics: Arc<Metrics>,
}

impl Fake {
    pub fn new(facts: Facts) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let published = Arc::new(ArcSwap::from_pointee(view_of(facts)));
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let identity = Identity { member: MemberId(0xa), cluster: ClusterId(0xc) };
        recovery::create(&dir, identity).unwrap();
        let mark_of = |_: &dyn StateRead| Ok(SnapshotMark::default());
        let found = recovery::open(&dir, None, &mark_of, Default::default()).unwrap();
        let state = ScriptedState {
            calls: sender.clone(),
            published: published.clone(),
            shown: None,
            requests: Vec::new(),
            reads: Vec::new(),
            streams: BTreeMap::new(),
            outputs: VecDeque::new(),
            now: Time::ZERO,
        };
        let parts = Parts {
            replica: ScriptedReplica(sender),
            state,
            incoming: found.store.incoming(),
            log: Box::new(found.log_writer),
            store: Box::new(found.store),
            transport: Arc::new(Nothing),
            observer: Arc::new(Unobserved),
            scrub_interval: Duration::from_secs(3_600),
            clock: Clock::start(),
        };
        let streams = IoThreads::start("test-peer", 1).unwrap();
        let running = start(parts, streams.next()).unwrap();
        let core = running.core.clone();
        let metrics = Arc::new(Metrics::new(1 << 31));
        Self { running, _streams: streams, folder, core, calls, published, metrics }
    }

    /// Publishes new facts and waits until they are seen.
    pub async fn publish(&self, facts: Facts) {
        self.published.store(view_of(facts.clone()).into());
        while self.core.view().facts != facts {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub fn front(&self) -> Front {
        let limits = Limits {
            message_bytes_max: 4_096,
            request_bytes_max: 2_048,
            election_timeout: Duration::from_millis(20),
            quota_backend_bytes: 1 << 31,
            txn_ops_max: 128,
            patience: Patience { apply: Duration::from_millis(100), unary: Duration::MAX },
        };
        let (passwords, tokens) = (Passwords::new(4), Tokens::Simple);
        Front {
            core: self.core.clone(),
            metrics: self.metrics.clone(),
            passwords,
            tokens,
            spans: None,
            replies: Replies::default(),
            arrivals: Arrivals::default(),
            limits,
        }
    }

    pub fn pages(&self, surface: Surface) -> Pages {
        Pages::new(surface, self.core.clone(), self.metrics.clone())
    }

    pub fn services(&self) -> Option<Services> {
        Some(Services::new(self.front()))
    }
}

/// A served port on loopback; dropping it ends it.
pub struct Served {
    pub authority: String,
    pub connections: Arc<Connections>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Served {
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }
}

/// A loopback port.
pub fn loopback() -> Bound {
    bind_to(0)
}

/// A port of loopback, bound.
pub fn bind_to(port: u16) -> Bound {
    bind(&Place::Port { host: "127.0.0.1".to_owned(), port }).unwrap()
}

/// Who connects to members without keys.
pub fn dialer() -> Dialer {
    Dialer::new(Arc::new(Keyring::open("peer", Security::default()).unwrap()))
}

/// Serves a port without a gateway on threads of its own.
pub fn serve<G: Grpc>(bound: Bound, grpc: Option<G>, pages: Pages) -> Served {
    serve_with(bound, grpc, None, pages)
}

/// Serves a port on threads of its own.
pub fn serve_with<G: Grpc>(
    bound: Bound,
    grpc: Option<G>,
    gateway: Option<Gateway>,
    pages: Pages,
) -> Served {
    let authority = bound.address.clone();
    let (http2, traffic) = (Http2::with_streams(100), Traffic::default());
    let port = Arc::new(Port {
        grpc,
        gateway,
        console: None,
        access: None,
        pages: Some(pages),
        http2,
        traffic,
    });
    let connections = Arc::new(Connections::default());
    let open = connections.clone();
    let accepting = tokio::spawn(async move {
        let threads = IoThreads::start("test-io", 1).unwrap();
        open.accept(bound, port, &threads).await;
        // Connections go on until the test is over.
        std::future::pending::<()>().await;
    });
    Served { authority, connections, accepting }
}
