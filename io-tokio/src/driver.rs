//! The handle through which every service reaches the machines.
//!
//! A call crosses to whoever runs the machines as a [`Call`]; the newest view is shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use quorate_core::error::{Misbehaviour, Refusal};
use quorate_core::ids::{MemberId, StreamId};
use quorate_core::output::Note;
use quorate_core::peer::{Message, PeerMessage, raftpb};
use quorate_core::storage::StateRead;
use quorate_core::{Request, Response, View};
use quorate_proto::etcdserverpb::{WatchRequest, WatchResponse};
use tokio::sync::{mpsc, oneshot};

/// Frames on their way to one watch stream.
const STREAM_FRAMES_MAX: usize = 128;

/// What crosses to the machines.
#[derive(Debug)]
pub enum Call {
    /// A request and where its answer goes.
    Request(Request, oneshot::Sender<Result<Response, Refusal>>),
    /// A read barrier, answered when the shared view is current.
    Read(oneshot::Sender<Result<(), Refusal>>),
    /// A watch stream: its number, what it takes, and where its frames go.
    Open(StreamId, usize, mpsc::Sender<WatchResponse>),
    /// A message on it.
    Watch(StreamId, WatchRequest),
    /// Its end.
    Close(StreamId),
    /// A peer's message.
    Deliver(MemberId, Message),
    /// How sending an image ended.
    SnapshotSent(MemberId, bool),
    /// Messages to that member are being lost.
    Unreachable(MemberId),
    /// Hand leadership over.
    TransferLeadership(Option<MemberId>),
}

/// The handle.
#[derive(Clone)]
pub struct Core {
    calls: mpsc::UnboundedSender<Call>,
    view: Arc<ArcSwap<View>>,
    streams: Arc<AtomicU64>,
}

impl Core {
    /// A handle over a queue of calls and the place where views are published.
    pub fn new(calls: mpsc::UnboundedSender<Call>, view: Arc<ArcSwap<View>>) -> Self {
        Self { calls, view, streams: Arc::default() }
    }

    async fn call<T>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Call,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(call(answer)).map_err(|_| Refusal::Stopped)?;
        answered.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// A call that changes something, or that only the leader can answer.
    pub async fn request(&self, request: Request) -> Result<Response, Refusal> {
        self.call(|answer| Call::Request(request, answer)).await
    }

    /// A read barrier, then a current view.
    pub async fn read(&self) -> Result<View, Refusal> {
        self.call(Call::Read).await.map(|()| self.view())
    }

    /// The newest published view.
    pub fn view(&self) -> View {
        View::clone(&self.view.load())
    }

    /// Opens a watch stream whose client takes frames of at most that many bytes.
    pub fn open_stream(&self, frame_bytes_max: usize) -> Result<WatchStream, Refusal> {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let (frames, received) = mpsc::channel(STREAM_FRAMES_MAX);
        self.tell(Call::Open(stream, frame_bytes_max, frames));
        Ok(WatchStream { stream, received, calls: self.calls.clone() })
    }

    /// A peer's message.
    pub fn deliver(&self, from: MemberId, message: Message) {
        self.tell(Call::Deliver(from, message));
    }

    /// How sending an image ended.
    pub fn snapshot_sent(&self, to: MemberId, delivered: bool) {
        self.tell(Call::SnapshotSent(to, delivered));
    }

    /// Messages to that member are being lost.
    pub fn unreachable(&self, to: MemberId) {
        self.tell(Call::Unreachable(to));
    }

    /// Hands leadership over, to that member or to whoever is furthest.
    pub fn transfer_leadership(&self, to: Option<MemberId>) {
        self.tell(Call::TransferLeadership(to));
    }

    /// Once the machines are gone there is nobody to tell.
    fn tell(&self, call: Call) {
        let _ = self.calls.send(call);
    }
}

/// One watch stream; dropping it closes it.
#[derive(Debug)]
pub struct WatchStream {
    stream: StreamId,
    received: mpsc::Receiver<WatchResponse>,
    calls: mpsc::UnboundedSender<Call>,
}

impl WatchStream {
    /// Passes a client's message on.
    pub fn send(&self, message: WatchRequest) -> Result<(), Refusal> {
        self.calls.send(Call::Watch(self.stream, message)).map_err(|_| Refusal::Stopped)
    }

    /// The next frame; `None` once the machines are gone.
    pub async fn recv(&mut self) -> Option<WatchResponse> {
        self.received.recv().await
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let _ = self.calls.send(Call::Close(self.stream));
    }
}

/// How the machines reach the other members.
pub trait Transport: Send + Sync {
    /// Sends a message, or drops it.
    fn send(&self, to: MemberId, message: PeerMessage);

    /// Sends an image and the message that announces it.
    fn send_image(&self, to: MemberId, announce: raftpb::Message, image: Arc<dyn StateRead>);
}

/// Who wants to hear what the loops do: the log file, the metrics. Called from the loops: quick.
pub trait Observer: Send + Sync {
    /// Something an operator should know.
    fn note(&self, _note: &Note) {}
    /// A peer sent what no correct peer sends.
    fn misbehaved(&self, _from: MemberId, _how: Misbehaviour) {}
    /// The log was synced.
    fn log_synced(&self, _took: Duration) {}
    /// The store took a turn's batches.
    fn store_written(&self, _took: Duration) {}
    /// The store was synced.
    fn store_synced(&self, _took: Duration) {}
    /// A loop's turn fed that many messages to a machine.
    fn turned(&self, _thread: &'static str, _messages: usize) {}
}
