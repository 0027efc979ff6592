//! The state's loop.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use quorate_core::error::StorageFault;
use quorate_core::ids::{StreamId, Token};
use quorate_core::output::Batch;
use quorate_core::time::Time;
use quorate_core::{Machine, ReplicaInput, Response, StateInput, StateOutput, View};
use quorate_proto::etcdserverpb::WatchResponse;
use tokio::sync::mpsc::UnboundedSender;

use super::office::{Answer, Delivery, Listener, Outgoing};
use super::post::{ToReplica, ToState, ToStore};
use super::turns::{Next, Turns};
use super::{Fatal, Outfit, Queues};
use crate::metrics::Op;

/// How long word of what was applied may wait for something more urgent to travel with.
const APPLIED_WAIT_MAX: Duration = Duration::from_millis(1);

pub(super) struct StateLoop<S> {
    machine: S,
    replica: UnboundedSender<ToReplica>,
    store: Sender<ToStore>,
    common: Outfit,
    view: Arc<ArcSwap<View>>,
    waiting: HashMap<Token, Waiting, BuildHasherDefault<SpreadHasher>>,
    streams: HashMap<StreamId, Listener, BuildHasherDefault<SpreadHasher>>,
    /// Gathered for clients' threads.
    answers: Outgoing,
    /// What the machine has to hear of those that could not be delivered.
    undelivered: Vec<ToState>,
    /// Gathered for the replica's loop.
    replica_inputs: Vec<ReplicaInput>,
    /// Gathered for the store's loop.
    batches: Vec<Batch>,
    /// Whether the replica must hear at the end of this turn whatever there is to hear.
    is_urgent: bool,
    /// When this turn began to apply entries, if it did.
    applying_since: Option<Instant>,
    is_stopping: bool,
}

/// A call that waits for its answer.
enum Waiting {
    Call(Answer<Response>, Option<Op>),
    Read(Answer<View>),
}

impl<S> Turns for StateLoop<S>
where
    S: Machine<Input = StateInput, Output = StateOutput> + Send + 'static,
{
    type Message = ToState;

    fn begin(&mut self) {
        self.dispatch();
    }

    fn patience(&mut self) -> Option<Duration> {
        let patience = self.common.clock.until(self.machine.poll_timeout());
        // What is left over was held back for a turn: no longer than that.
        self.is_urgent = !self.replica_inputs.is_empty();
        match self.is_urgent {
            true => Some(patience.map_or(APPLIED_WAIT_MAX, |p| p.min(APPLIED_WAIT_MAX))),
            false => patience,
        }
    }

    fn take(&mut self, messages: &mut Vec<ToState>) -> Next {
        let now = self.common.clock.now();
        let count = self.give_places_back(messages);
        self.common.observer.turned("state", count);
        for message in messages.drain(..) {
            self.feed(now, message);
        }
        if self.machine.poll_timeout().is_some_and(|wake| wake.at <= now) {
            self.machine.handle_timeout(now);
        }
        self.dispatch();
        if let Some(since) = self.applying_since.take() {
            self.common.observer.turn_applied(since.elapsed());
        }
        while let Some(message) = self.undelivered.pop() {
            self.feed(now, message);
            self.dispatch();
        }
        if self.is_stopping { Next::End } else { Next::Turn }
    }
}

impl<S: Machine<Input = StateInput, Output = StateOutput>> StateLoop<S> {
    /// Fails if the machine did not publish a view when it was opened: there must always be one.
    pub(super) fn new(
        mut machine: S,
        queues: &Queues,
        common: &Outfit,
    ) -> Result<Self, StorageFault> {
        let mut outputs = Vec::new();
        while let Some(output) = machine.poll_output() {
            outputs.push(output);
        }
        let view = outputs.iter().find_map(|output| match output {
            StateOutput::Publish(view) => Some(view.clone()),
            _ => None,
        });
        let view = view.ok_or_else(|| StorageFault::new("the state opened without a view"))?;
        let mut this = Self {
            machine,
            replica: queues.to_replica.clone(),
            store: queues.to_store.clone(),
            common: common.clone(),
            view: Arc::new(ArcSwap::from_pointee(view)),
            waiting: HashMap::default(),
            streams: HashMap::default(),
            answers: Outgoing::default(),
            undelivered: Vec::new(),
            replica_inputs: Vec::new(),
            batches: Vec::new(),
            is_urgent: false,
            applying_since: None,
            is_stopping: false,
        };
        outputs.into_iter().for_each(|output| this.execute(output));
        Ok(this)
    }

    /// Where the newest view is published.
    pub(super) fn view(&self) -> Arc<ArcSwap<View>> {
        Arc::clone(&self.view)
    }

    /// Returns how many messages there are.
    fn give_places_back(&self, turn: &[ToState]) -> usize {
        let (mut clients, mut peers, mut messages) = (0, 0, turn.len());
        for message in turn {
            match message {
                ToState::Call { .. } | ToState::Read { .. } => clients += 1,
                ToState::Open { .. } | ToState::Client(_) => clients += 1,
                ToState::Peer(_) => peers += 1,
                ToState::Lot(lot) => messages += self.give_places_back(lot) - 1,
                _ => {}
            }
        }
        self.common.shares.clients.give_back(clients);
        self.common.shares.peer_questions.give_back(peers);
        messages
    }

    fn feed(&mut self, now: Time, message: ToState) {
        let input = match message {
            ToState::Inputs(inputs) => {
                if inputs.iter().any(|input| matches!(input, StateInput::Committed { .. })) {
                    self.applying_since.get_or_insert_with(Instant::now);
                }
                return inputs.into_iter().for_each(|input| self.machine.handle(now, input));
            }
            ToState::Lot(lot) => {
                return lot.into_iter().for_each(|message| self.feed(now, message));
            }
            ToState::Call { token, who, request, answer } => {
                self.waiting.insert(token, Waiting::Call(answer, Op::of(&request)));
                StateInput::Request { token, who, request }
            }
            ToState::Read { token, answer } => {
                self.waiting.insert(token, Waiting::Read(answer));
                StateInput::Read { token }
            }
            ToState::Open { stream, frame_bytes_max, listener } => {
                self.streams.insert(stream, listener);
                StateInput::StreamOpened { stream, frame_bytes_max }
            }
            ToState::After(input) => {
                if let StateInput::StreamClosed { stream } = &input {
                    self.streams.remove(stream);
                }
                input
            }
            ToState::Forget { token } => {
                self.waiting.remove(&token);
                return;
            }
            ToState::Client(input) | ToState::Peer(input) => input,
            ToState::Stop => return self.is_stopping = true,
        };
        self.machine.handle(now, input);
    }

    /// Carries out what the machine wants, until it wants nothing more.
    fn dispatch(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.execute(output);
        }
        self.answers.send(&mut self.undelivered);
        let is_urgent = self.is_urgent || self.is_stopping;
        if self.replica_inputs.iter().any(|input| is_urgent || !is_applied(input)) {
            let inputs = std::mem::take(&mut self.replica_inputs);
            self.replica.send(ToReplica::Inputs(inputs)).ok();
        }
        if !self.batches.is_empty() {
            self.store.send(ToStore::Batches(std::mem::take(&mut self.batches))).ok();
        }
    }

    fn execute(&mut self, output: StateOutput) {
        let input = match output {
            StateOutput::Respond { token, result } => match self.waiting.remove(&token) {
                Some(Waiting::Call(Answer { caller, mailbox }, op)) => {
                    if let (Some(op), Some(since)) = (op, self.applying_since) {
                        self.common.observer.applied(op, result.is_ok(), since.elapsed());
                    }
                    return self.answers.add(mailbox.as_ref(), Delivery::Call(caller, result));
                }
                _ => return,
            },
            StateOutput::ReadReady { token, result } => match self.waiting.remove(&token) {
                Some(Waiting::Read(Answer { caller, mailbox })) => {
                    return self.answers.add(mailbox.as_ref(), Delivery::Read(caller, result));
                }
                _ => return,
            },
            StateOutput::Stream { stream, frame } => return self.stream(stream, frame),
            StateOutput::Publish(view) => return self.view.store(Arc::new(view)),
            StateOutput::Store(batch) => return self.batches.push(batch),
            StateOutput::Send { to, message } => return self.common.transport.send(to, message),
            StateOutput::Note(note) => return self.common.observer.note(&note),
            StateOutput::Halt(fault) => {
                self.is_stopping = true;
                return self.common.tell(Fatal::Halted(fault));
            }
            StateOutput::SnapshotTaken { mark, image } => {
                self.replica.send(ToReplica::Image { mark, image }).ok();
                return;
            }
            StateOutput::Propose { id, data, kind, in_term, may_forward } => {
                ReplicaInput::Propose { id, data, kind, in_term, may_forward }
            }
            StateOutput::Changed { index, is_accepted } => {
                ReplicaInput::Changed { index, is_accepted }
            }
            StateOutput::TransferLeader { to } => ReplicaInput::TransferLeader { to },
            StateOutput::WantImage => ReplicaInput::WantImage,
            StateOutput::Barrier { context } => ReplicaInput::Barrier { context },
            StateOutput::Applied { index, .. } => ReplicaInput::Applied { index },
            StateOutput::Synced { mark } => ReplicaInput::Synced { mark },
        };
        self.replica_inputs.push(input);
    }

    fn stream(&mut self, stream: StreamId, frame: WatchResponse) {
        let Some(Listener { frames, mailbox }) = self.streams.get(&stream) else { return };
        let delivery = Delivery::Frame(stream, Arc::clone(frames), frame);
        self.answers.add(mailbox.as_ref(), delivery);
    }
}

fn is_applied(input: &ReplicaInput) -> bool {
    matches!(input, ReplicaInput::Applied { .. })
}

/// Spreads consecutive numbers over a hash table; our tokens need no more.
#[derive(Default)]
struct SpreadHasher(u64);

impl Hasher for SpreadHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}
