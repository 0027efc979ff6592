//! A member whose shell is this thread: what its machines want of each other, of its disk and of
//! time is done at once, unless the input says that something is slow.
//!
//! ```text
//!   requests, reads, streams --> state <--> replica <-- peers' messages
//!                                  |           |
//!                                store        log      the simulator's disk
//! ```
//!
//! Invariants, each a panic when broken
//! - the machines come to rest, and never halt unless a peer's image was made up;
//! - a request is answered once, a read as well;
//! - a stream tells of ever later revisions;
//! - what the disk holds can be opened again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use quorate_core::auth::Identity;
use quorate_core::config::Peer;
use quorate_core::error::{Misbehaviour, Refusal};
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Revision, StreamId, Term, Token};
use quorate_core::input::Role;
use quorate_core::peer::{Message, PeerMessage};
use quorate_core::storage::SnapshotMark;
use quorate_core::time::{Time, Wake};
use quorate_core::{
    Config, Machine, Replica, ReplicaInput, ReplicaOutput, Request, Response, State, StateInput,
    StateOutput, View,
};
use quorate_io_sim::world::disk::{Log, Store};
use quorate_io_sim::world::luck::{Luck, Purpose};
use quorate_io_sim::world::table::Content;
use quorate_proto::etcdserverpb::WatchResponse;

/// Turns the machines may need to come to rest.
const TURNS_MAX: usize = 100_000;
/// Messages to others that are kept for honest answers.
const SENT_MAX: usize = 64;
/// Frames a stream has told and its client has not taken.
const FRAMES_MAX: usize = 2_048;

/// What is slow: nothing of it completes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slow {
    /// The log's disk.
    pub log: bool,
    /// The store.
    pub store: bool,
}

/// See the module.
pub struct Member {
    config: Config,
    /// The member's clock.
    pub now: Time,
    state: State,
    replica: Replica,
    log: Log,
    store: Store,
    luck: Luck,
    /// What is slow.
    pub slow: Slow,
    /// The last entry that went to the log.
    pub last: (LogIndex, Term),
    /// Images that arrived, by index.
    staged: BTreeMap<LogIndex, Content>,
    /// Whether what a peer made up may have been installed.
    pub is_tainted: bool,
    to_state: VecDeque<StateInput>,
    to_replica: VecDeque<ReplicaInput>,
    /// The newest messages to others.
    pub sent: VecDeque<(MemberId, PeerMessage)>,
    tokens: u64,
    open: BTreeMap<Token, Call>,
    frames: BTreeMap<StreamId, VecDeque<WatchResponse>>,
    told: BTreeMap<(StreamId, i64), i64>,
    view: Option<View>,
    /// Raft's view of the group.
    pub role: Role,
    /// What others sent wrong, as it was refused.
    pub refused: Vec<Misbehaviour>,
    has_ended: bool,
}

/// A request, or a read, and its answer once it is there.
struct Call {
    request: Option<Request>,
    answer: Option<Answer>,
}

/// What a client is answered.
pub enum Answer {
    /// To a request.
    Response(Result<Response, Refusal>),
    /// To a read: the view to read from.
    View(Result<View, Refusal>),
}

/// The settings of member 1 of a group of so many.
fn configure(size: u64) -> Config {
    let peer = |id| Peer {
        id: MemberId(id),
        name: format!("m{id}"),
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
    };
    Config {
        member: MemberId(1),
        cluster: ClusterId(7),
        name: "m1".into(),
        client_urls: vec!["http://10.0.0.1:2379".into()],
        bootstrap: (1..=size).map(peer).collect(),
        snapshot_count: 16,
        snapshot_catchup_entries: 4,
        quota_backend_bytes: 1 << 20,
        watch_progress_interval: Duration::from_secs(1),
        lease_checkpoint_interval: Duration::from_secs(5),
        ..Config::default()
    }
}

impl Member {
    /// Member 1 of a new group of so many, at rest.
    pub fn start(size: u64) -> Self {
        let config = configure(size);
        let (mut log, store) = (Log::default(), Store::default());
        let (state, replica, last) = open(&config, &mut log, &store, Time::ZERO);
        let mut this = Self {
            config,
            now: Time::ZERO,
            state,
            replica,
            log,
            store,
            luck: Luck::new(1, Purpose::Disk, 0),
            slow: Slow::default(),
            last,
            staged: BTreeMap::new(),
            is_tainted: false,
            to_state: VecDeque::new(),
            to_replica: VecDeque::new(),
            sent: VecDeque::new(),
            tokens: 0,
            open: BTreeMap::new(),
            frames: BTreeMap::new(),
            told: BTreeMap::new(),
            view: None,
            role: Role::default(),
            refused: Vec::new(),
            has_ended: false,
        };
        this.settle();
        this
    }

    /// Power goes and comes back: what was not safe may be lost, and nobody waits any more.
    pub fn restart(&mut self) {
        let installed = self.log.crash(&mut self.luck);
        self.store.crash(&mut self.luck, installed);
        self.to_state.clear();
        self.to_replica.clear();
        self.staged.clear();
        self.open.clear();
        self.frames.clear();
        self.told.clear();
        self.sent.clear();
        self.view = None;
        self.slow = Slow::default();
        self.role = Role::default();
        self.config.boot += 1;
        if self.is_tainted && State::open(&self.config, self.image(), self.now).is_err() {
            self.has_ended = true;
            return;
        }
        let opened = open(&self.config, &mut self.log, &self.store, self.now);
        (self.state, self.replica, self.last) = opened;
        self.settle();
    }

    fn image(&self) -> Arc<Content> {
        Arc::new(self.store.image())
    }

    /// What the store holds.
    pub fn content(&self) -> Content {
        self.store.image()
    }

    /// Whether the process would have ended: the member was removed, or a made-up image broke it.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.view.clone().expect("a member publishes a view when it is opened")
    }

    /// The digest of all that was applied, and up to where.
    pub fn digest(&self) -> (LogIndex, u64) {
        (self.view().facts.applied, self.state.digest())
    }

    /// Hands something to the state, and everything that follows from it to whom it concerns.
    pub fn tell_state(&mut self, input: StateInput) {
        self.to_state.push_back(input);
        self.settle();
    }

    /// The same for the replica.
    pub fn tell_replica(&mut self, input: ReplicaInput) {
        self.to_replica.push_back(input);
        self.settle();
    }

    /// A client's request.
    pub fn request(&mut self, request: Request) -> Token {
        let token = self.token(Some(request.clone()));
        self.tell_state(StateInput::Request { token, who: Ok(Identity::default()), request });
        token
    }

    /// A client's linearizable read.
    pub fn read(&mut self) -> Token {
        let token = self.token(None);
        self.tell_state(StateInput::Read { token });
        token
    }

    fn token(&mut self, request: Option<Request>) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.open.insert(token, Call { request, answer: None });
        token
    }

    /// Takes the answer, once it is there.
    pub fn take_answer(&mut self, token: Token) -> Option<Answer> {
        let answer = self.open.get_mut(&token)?.answer.take()?;
        self.open.remove(&token);
        Some(answer)
    }

    /// Requests and reads nobody has answered.
    pub fn unanswered(&self) -> Vec<String> {
        let unanswered = self.open.values().filter(|call| call.answer.is_none());
        unanswered.map(|call| format!("{:?}", call.request)).collect()
    }

    /// Opens a watch stream.
    pub fn open_stream(&mut self, stream: StreamId, frame_bytes_max: usize) {
        self.told.retain(|(of, _), _| *of != stream);
        self.frames.insert(stream, VecDeque::new());
        self.tell_state(StateInput::StreamOpened { stream, frame_bytes_max });
    }

    /// Takes what a stream has told.
    pub fn take_frames(&mut self, stream: StreamId, most: usize) -> Vec<WatchResponse> {
        let Some(frames) = self.frames.get_mut(&stream) else { return Vec::new() };
        let taken: Vec<_> = frames.drain(..most.min(frames.len())).collect();
        if !taken.is_empty() {
            self.tell_state(StateInput::StreamReady { stream, frames: taken.len() });
        }
        taken
    }

    /// Closes a watch stream.
    pub fn close_stream(&mut self, stream: StreamId) {
        self.frames.remove(&stream);
        self.tell_state(StateInput::StreamClosed { stream });
    }

    /// Another member's message, as the shell takes it in: an announcement comes with its image or
    /// not at all.
    pub fn deliver(&mut self, from: MemberId, message: Message, image: Option<Content>) {
        match message {
            Message::Raft(mut message) => {
                match (&mut message.snapshot, image) {
                    (Some(snapshot), Some(image)) => {
                        let about = snapshot.metadata.as_ref().map_or(0, |about| about.index);
                        self.staged.insert(LogIndex(about), image);
                    }
                    (snapshot, _) => *snapshot = None,
                }
                self.tell_replica(ReplicaInput::Peer { from, message });
            }
            Message::Ask(ask) => self.tell_state(StateInput::Ask { from, ask }),
            Message::Answer(answer) => self.tell_state(StateInput::Answer { from, answer }),
            Message::ChangeWish(wish) => self.tell_state(StateInput::ChangeWish { from, wish }),
            Message::ChangeRefusal(refusal) => {
                self.tell_state(StateInput::ChangeRefusal { from, refusal });
            }
            Message::Report(report) => self.tell_state(StateInput::Report { from, report }),
            Message::Correction(correction) => {
                self.tell_state(StateInput::Correction { from, correction });
            }
        }
    }

    /// Lets time pass, waking the machines when they want to be woken, so many times at most.
    pub fn wait(&mut self, span: Duration, wakes_max: usize) {
        let until = self.now + span;
        for _ in 0..wakes_max {
            let wake = Wake::earlier(self.state.poll_timeout(), self.replica.poll_timeout());
            let Some(wake) = wake.filter(|wake| wake.at <= until && !self.has_ended) else { break };
            self.now = self.now.max(wake.at);
            self.wake();
        }
        self.now = until;
        self.wake();
    }

    fn wake(&mut self) {
        self.state.handle_timeout(self.now);
        self.replica.handle_timeout(self.now);
        self.settle();
    }

    /// Carries out everything until there is nothing left to do.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            while let Some(output) = self.replica.poll_output() {
                self.execute_replica(output);
            }
            while let Some(output) = self.state.poll_output() {
                self.execute_state(output);
            }
            if self.has_ended {
                return;
            }
            // What has gathered is fed together, as the shell's loops do.
            let has_inputs = !self.to_replica.is_empty() || !self.to_state.is_empty();
            self.to_replica.drain(..).for_each(|input| self.replica.handle(self.now, input));
            self.to_state.drain(..).for_each(|input| self.state.handle(self.now, input));
            if !has_inputs && !self.work_on_disk() {
                return;
            }
        }
        panic!("the machines do not come to rest");
    }

    /// One step of the disk, if there is one to take.
    fn work_on_disk(&mut self) -> bool {
        if !self.slow.log && self.log.begin().is_some() {
            let Some(done) = self.log.complete() else { return true };
            if let Some((_, content)) = done.installed {
                self.store.install(content.clone());
                self.to_state.push_back(StateInput::Installed { image: Arc::new(content) });
            }
            self.to_replica.push_back(ReplicaInput::Persisted { number: done.number });
            return true;
        }
        if self.slow.store {
            return false;
        }
        if self.store.begin() {
            if let Some(done) = self.store.complete() {
                let image = Arc::new(done.image);
                self.to_state.push_back(StateInput::Stored { index: done.index, image });
            }
            return true;
        }
        if self.store.owes_sync() && self.store.begin_sync() {
            let synced = self.store.complete_sync();
            self.to_state.extend(synced.map(|index| StateInput::Synced { index }));
            return true;
        }
        false
    }

    fn execute_replica(&mut self, output: ReplicaOutput) {
        let input = match output {
            ReplicaOutput::Send { to, message } => {
                return self.send(to, PeerMessage { message: Some(Message::Raft(message)) });
            }
            ReplicaOutput::Persist(persist) => {
                let mark = persist.snapshot.as_ref();
                let image = mark.map(|mark| self.take_image(mark.index));
                let marked = mark.map(|mark| (mark.index, mark.term));
                let last = persist.entries.last().map(|last| (last.index, last.term));
                self.last = last.or(marked).unwrap_or(self.last);
                return self.log.write(persist, image);
            }
            ReplicaOutput::Cut { mark } => return self.log.cut(mark),
            ReplicaOutput::Misbehaved { how, .. } => return self.refused.push(how),
            ReplicaOutput::Note(_) => return,
            ReplicaOutput::Removed => return self.has_ended = true,
            ReplicaOutput::Halt(fault) => return self.halt(&fault.what),
            ReplicaOutput::Committed { entries } => StateInput::Committed { entries },
            ReplicaOutput::CommitIndex { index } => StateInput::CommitIndex { index },
            ReplicaOutput::BarrierReached { context, index } => {
                StateInput::BarrierReached { context, index }
            }
            ReplicaOutput::BarrierLost { context } => StateInput::BarrierLost { context },
            ReplicaOutput::ProposalDropped { id, in_term } => {
                StateInput::ProposalDropped { id, in_term }
            }
            ReplicaOutput::Role(role) => {
                self.role = role;
                StateInput::Role(role)
            }
            ReplicaOutput::Followers(followers) => StateInput::Followers(followers),
            ReplicaOutput::TakeSnapshot => StateInput::TakeSnapshot,
        };
        self.to_state.push_back(input);
    }

    fn execute_state(&mut self, output: StateOutput) {
        let input = match output {
            StateOutput::Respond { token, result } => {
                return self.answer(token, Answer::Response(result));
            }
            StateOutput::ReadReady { token, result } => {
                return self.answer(token, Answer::View(result));
            }
            StateOutput::Stream { stream, frame } => return self.take_in(stream, frame),
            StateOutput::Publish(view) => return self.publish(view),
            StateOutput::Store(batch) => {
                self.store.push(batch);
                return;
            }
            StateOutput::Send { to, message } => return self.send(to, message),
            StateOutput::Note(_) => return,
            StateOutput::Halt(fault) => return self.halt(&fault.what),
            StateOutput::Propose { id, data, kind, in_term, may_forward } => {
                ReplicaInput::Propose { id, data, kind, in_term, may_forward }
            }
            StateOutput::Changed { index, is_accepted } => {
                ReplicaInput::Changed { index, is_accepted }
            }
            StateOutput::WantImage => ReplicaInput::WantImage,
            StateOutput::TransferLeader { to } => ReplicaInput::TransferLeader { to },
            StateOutput::Barrier { context } => ReplicaInput::Barrier { context },
            StateOutput::Applied { index, .. } => ReplicaInput::Applied { index },
            StateOutput::SnapshotTaken { mark, .. } => ReplicaInput::SnapshotTaken { mark },
            StateOutput::Synced { mark } => ReplicaInput::Synced { mark },
        };
        self.to_replica.push_back(input);
    }

    fn take_image(&mut self, index: LogIndex) -> Content {
        self.staged.remove(&index).expect("what was announced has arrived")
    }

    fn send(&mut self, to: MemberId, message: PeerMessage) {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((to, message));
    }

    fn answer(&mut self, token: Token, answer: Answer) {
        let call = self.open.get_mut(&token).expect("nobody asked that, or was answered before");
        assert!(call.answer.is_none(), "answered twice: {:?}", call.request);
        call.answer = Some(answer);
    }

    fn take_in(&mut self, stream: StreamId, frame: WatchResponse) {
        // The client left meanwhile.
        let Some(frames) = self.frames.get_mut(&stream) else { return };
        let revisions = frame.events.iter().filter_map(|event| event.kv.as_ref());
        let told = self.told.entry((stream, frame.watch_id)).or_default();
        if frame.created {
            *told = 0;
        }
        for kv in revisions {
            assert!(kv.mod_revision >= *told, "a watch went back: {frame:?}");
            *told = kv.mod_revision;
        }
        frames.push_back(frame);
        assert!(frames.len() <= FRAMES_MAX, "a stream tells more than it may");
    }

    fn publish(&mut self, view: View) {
        let before = self.view.as_ref().map_or(Revision(0), |view| view.kv.revision());
        let is_forward = view.kv.revision() >= before;
        assert!(is_forward || self.is_tainted, "the revision fell from {before}");
        self.view = Some(view);
    }

    fn halt(&mut self, why: &str) {
        assert!(self.is_tainted, "halts on a sound disk: {why}");
        self.has_ended = true;
    }

    /// An image as another member would have it who applied `more` entries of `term` beyond what is
    /// stored here.
    pub fn advanced_image(&self, term: Term, more: u64) -> (SnapshotMark, Content) {
        let mut content = self.content();
        let opened = State::open(&self.config, self.image(), self.now);
        let Ok(mut other) = opened else { return (SnapshotMark::default(), content) };
        let last = other.mark();
        let term = term.max(last.term);
        for number in 1..=more {
            let index = LogIndex(last.index.get() + number);
            let entry = quorate_core::storage::Entry { term, index, ..Default::default() };
            other.handle(self.now, StateInput::Committed { entries: vec![entry] });
        }
        while let Some(output) = other.poll_output() {
            if let StateOutput::Store(batch) = output {
                content.apply(&batch.writes);
            }
        }
        let mark = SnapshotMark {
            index: LogIndex(last.index.get() + more),
            term,
            conf_state: last.conf_state,
        };
        (mark, content)
    }
}

fn open(
    config: &Config,
    log: &mut Log,
    store: &Store,
    now: Time,
) -> (State, Replica, (LogIndex, Term)) {
    let state = State::open(config, Arc::new(store.image()), now).expect("the store opens");
    let mark = state.mark();
    let contents = log.load(&mark).expect("the log fits the store");
    let last = contents.entries.last().map(|last| (last.index, last.term));
    let last = last.unwrap_or((contents.mark.index, contents.mark.term));
    let replica = Replica::open(config, mark, contents, now).expect("the replica opens");
    (state, replica, last)
}
