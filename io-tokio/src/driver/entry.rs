//! The way in: what the client API, the transport and the server call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use arc_swap::ArcSwap;
use quorate_core::auth::{Credential, Identified, Identity};
use quorate_core::error::Refusal;
use quorate_core::ids::{MemberId, StreamId, Token};
use quorate_core::peer::Message;
use quorate_core::{ReplicaInput, Request, Response, StateInput, View};
use quorate_proto::peer::ImageChunk;
use quorate_proto::raftpb;
use tokio::sync::{mpsc, oneshot};

use super::office::{self, Answer, Listener};
use super::post::{Shares, ToReplica, ToState, ToStore};
use super::stream::WatchStream;
use super::{Outfit, Queues};
use crate::channels::STREAM_FRAMES_MAX;
use crate::clock::Clock;
use crate::disk::ImageWrite;
use crate::disk::image::ImageError;

/// The running core. Cloning is cheap; no call waits for a lock.
#[derive(Clone)]
pub struct Core(Arc<Inner>);

struct Inner {
    to_replica: mpsc::UnboundedSender<ToReplica>,
    to_state: Sender<ToState>,
    to_store: Sender<ToStore>,
    shares: Arc<Shares>,
    view: Arc<ArcSwap<View>>,
    clock: Clock,
    incoming: Arc<dyn ImageWrite>,
    /// The next token or stream.
    next: AtomicU64,
}

impl Core {
    pub(super) fn new(
        queues: &Queues,
        common: &Outfit,
        incoming: Arc<dyn ImageWrite>,
        view: Arc<ArcSwap<View>>,
    ) -> Self {
        Self(Arc::new(Inner {
            to_replica: queues.to_replica.clone(),
            to_state: queues.to_state.clone(),
            to_store: queues.to_store.clone(),
            shares: Arc::clone(&common.shares),
            view,
            clock: common.clock,
            incoming,
            next: AtomicU64::new(1),
        }))
    }

    /// A client's call. What an abandoned call is answered goes to nobody.
    pub async fn request(
        &self,
        who: Result<Identity, Refusal>,
        request: Request,
    ) -> Result<Response, Refusal> {
        let token = Token(self.draw());
        let (answer, answered) = self.way_back();
        self.hand_in(ToState::Call { token, who, request, answer })?;
        self.wait(token, answered).await
    }

    /// A view current enough for a linearizable read that starts now.
    pub async fn read(&self) -> Result<View, Refusal> {
        let token = Token(self.draw());
        let (answer, answered) = self.way_back();
        self.hand_in(ToState::Read { token, answer })?;
        self.wait(token, answered).await
    }

    /// The newest view: for serializable reads.
    pub fn view(&self) -> View {
        View::clone(&self.0.view.load())
    }

    /// Looks at the newest view without keeping it.
    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.0.view.load())
    }

    /// Who shows that, by a view.
    pub fn identify(&self, view: &View, shown: Credential<'_>) -> Result<Identified, Refusal> {
        let identified = view.facts.auth.identify(shown, view.facts.applied, self.0.clock.now())?;
        if let (Identified::As { is_renewal_due: true, .. }, Credential::Token(token)) =
            (&identified, shown)
        {
            // If there is no room for it now, the next use tells it.
            let _ = self.client(StateInput::TokenUsed { token: token.to_owned() });
        }
        Ok(identified)
    }

    /// Opens a watch stream whose client takes frames of at most that many bytes.
    pub fn open_stream(&self, frame_bytes_max: usize) -> Result<WatchStream, Refusal> {
        let stream = StreamId(self.draw());
        let (frames, received) = mpsc::channel(STREAM_FRAMES_MAX);
        let listener =
            Listener { frames: Arc::new(frames), mailbox: office::mailbox(&self.0.shares) };
        self.enter(ToState::Open { stream, frame_bytes_max, listener })?;
        Ok(WatchStream::new(stream, received, self.clone()))
    }

    /// A peer's message. Dropped when too many wait.
    pub fn deliver(&self, from: MemberId, message: Message) {
        match StateInput::from_peer(from, message) {
            Ok(input) if self.0.shares.peer_questions.take() => self.post(ToState::Peer(input)),
            Ok(_) => {}
            Err(mut message) => {
                // Without its image an announcement announces nothing: it could not be installed,
                // and a member that cannot do what it has agreed to ends.
                message.snapshot = None;
                self.deliver_raft(from, message);
            }
        }
    }

    fn deliver_raft(&self, from: MemberId, message: raftpb::Message) {
        if self.0.shares.peer_messages.take() {
            self.0.to_replica.send(ToReplica::Peer { from, message }).ok();
        }
    }

    /// Receives an image and delivers its announcement. Blocking: not for a task of the runtime.
    /// `from` is who the transport says it is from.
    pub fn receive_image(
        &self,
        from: MemberId,
        mut chunks: impl Iterator<Item = ImageChunk>,
    ) -> Result<(), ImageError> {
        let announce = self.0.incoming.receive(&mut chunks)?;
        self.deliver_raft(from, announce);
        Ok(())
    }

    /// How sending an image ended.
    pub fn snapshot_sent(&self, to: MemberId, delivered: bool) {
        self.tell(ReplicaInput::SnapshotSent { to, delivered });
    }

    /// Messages to that member are being lost.
    pub fn unreachable(&self, to: MemberId) {
        self.tell(ReplicaInput::Unreachable { to });
    }

    /// This member was removed from the cluster, as another says.
    pub fn removed(&self) {
        self.tell(ReplicaInput::Removed);
    }

    /// Hands leadership over, to that member or to whoever is furthest.
    pub fn transfer_leadership(&self, to: Option<MemberId>) {
        self.tell(ReplicaInput::TransferLeader { to });
    }

    /// Begins to give back space nothing needs, in the background.
    pub fn defragment(&self) -> Result<(), Refusal> {
        self.0.to_store.send(ToStore::Defragment).map_err(|_| Refusal::Stopped)
    }

    /// Something of a client's that has no answer of its own.
    pub(super) fn client(&self, input: StateInput) -> Result<(), Refusal> {
        self.enter(ToState::Client(input))
    }

    /// To the state's loop, whatever is there already.
    pub(super) fn post(&self, message: ToState) {
        self.0.to_state.send(message).ok();
    }

    /// Makes calls from this thread, which must be the only one of its runtime, and their answers
    /// travel together. Runs as long as the thread serves.
    pub async fn keep_office(self) {
        let pass_on = |lot| self.post(ToState::Lot(lot));
        office::keep(Arc::clone(&self.0.shares), pass_on).await;
    }

    fn way_back<T>(&self) -> (Answer<T>, Answered<T>) {
        let (caller, answered) = oneshot::channel();
        (Answer { caller, mailbox: office::mailbox(&self.0.shares) }, answered)
    }

    /// Something the state should know of this process.
    pub fn tell_state(&self, input: StateInput) {
        self.post(ToState::Inputs(vec![input]));
    }

    fn tell(&self, input: ReplicaInput) {
        self.0.to_replica.send(ToReplica::Inputs(vec![input])).ok();
    }

    /// To the state's loop, if there is room.
    fn enter(&self, message: ToState) -> Result<(), Refusal> {
        if !self.0.shares.clients.take() {
            return Err(Refusal::RequestTooManyRequests);
        }
        self.0.to_state.send(message).map_err(|_| Refusal::Stopped)
    }

    /// The same, together with what else this thread has.
    fn hand_in(&self, message: ToState) -> Result<(), Refusal> {
        if !self.0.shares.clients.take() {
            return Err(Refusal::RequestTooManyRequests);
        }
        match office::hand_in(&self.0.shares, message) {
            Some(message) => self.0.to_state.send(message).map_err(|_| Refusal::Stopped),
            None => Ok(()),
        }
    }

    fn draw(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn wait<T>(&self, token: Token, answered: Answered<T>) -> Result<T, Refusal> {
        let mut call = Call { token, core: self, is_answered: false };
        let answer = answered.await;
        call.is_answered = true;
        answer.unwrap_or(Err(Refusal::Stopped))
    }
}

/// Where a call's answer arrives.
type Answered<T> = oneshot::Receiver<Result<T, Refusal>>;

/// A call under way: abandoned when it is dropped without an answer.
struct Call<'a> {
    token: Token,
    core: &'a Core,
    is_answered: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let token = self.token;
            self.core.post(ToState::Forget { token });
        }
    }
}
