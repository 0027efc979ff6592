//! The replica's loop.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use quorate_core::ids::{LogIndex, MemberId};
use quorate_core::peer::{Message, PeerMessage};
use quorate_core::storage::StateRead;
use quorate_core::time::Time;
use quorate_core::{Machine, ReplicaInput, ReplicaOutput, StateInput};
use quorate_proto::raftpb::{self, MessageType};

use super::post::{LogWork, ToReplica, ToState};
use super::turns::{Next, Turns};
use super::{Fatal, Outfit, Queues};

pub(super) struct ReplicaLoop<R> {
    machine: R,
    state: Sender<ToState>,
    log: Sender<Vec<LogWork>>,
    common: Outfit,
    /// The image announcements refer to.
    image: Option<(LogIndex, Arc<dyn StateRead>)>,
    /// Gathered for the state's loop.
    state_inputs: Vec<StateInput>,
    /// Gathered for the log's loop.
    log_works: Vec<LogWork>,
    is_stopping: bool,
}

impl<R> Turns for ReplicaLoop<R>
where
    R: Machine<Input = ReplicaInput, Output = ReplicaOutput> + Send + 'static,
{
    type Message = ToReplica;

    fn begin(&mut self) {
        self.dispatch();
    }

    fn patience(&mut self) -> Option<Duration> {
        self.common.clock.until(self.machine.poll_timeout())
    }

    fn take(&mut self, messages: &mut Vec<ToReplica>) -> Next {
        let now = self.common.clock.now();
        self.common.observer.turned("replica", messages.len());
        let peers = messages.iter().filter(|it| matches!(it, ToReplica::Peer { .. })).count();
        self.common.shares.peer_messages.give_back(peers);
        for message in messages.drain(..) {
            self.feed(now, message);
        }
        if self.machine.poll_timeout().is_some_and(|wake| wake.at <= now) {
            self.machine.handle_timeout(now);
        }
        self.dispatch();
        if self.is_stopping { Next::End } else { Next::Turn }
    }
}

impl<R: Machine<Input = ReplicaInput, Output = ReplicaOutput>> ReplicaLoop<R> {
    pub(super) fn new(machine: R, queues: &Queues, common: &Outfit) -> Self {
        Self {
            machine,
            state: queues.to_state.clone(),
            log: queues.to_log.clone(),
            common: common.clone(),
            image: None,
            state_inputs: Vec::new(),
            log_works: Vec::new(),
            is_stopping: false,
        }
    }

    fn feed(&mut self, now: Time, message: ToReplica) {
        match message {
            ToReplica::Inputs(inputs) => {
                inputs.into_iter().for_each(|input| self.machine.handle(now, input));
            }
            ToReplica::Peer { from, message } => {
                self.machine.handle(now, ReplicaInput::Peer { from, message });
            }
            ToReplica::Image { mark, image } => {
                self.image = Some((mark.index, image));
                self.machine.handle(now, ReplicaInput::SnapshotTaken { mark });
            }
            ToReplica::Stop => self.is_stopping = true,
        }
    }

    /// Carries out what the machine wants, until it wants nothing more.
    fn dispatch(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.execute(output);
        }
        if !self.log_works.is_empty() {
            self.log.send(std::mem::take(&mut self.log_works)).ok();
        }
        if !self.state_inputs.is_empty() {
            self.state.send(ToState::Inputs(std::mem::take(&mut self.state_inputs))).ok();
        }
    }

    fn execute(&mut self, output: ReplicaOutput) {
        let input = match output {
            ReplicaOutput::Send { to, message } => return self.send(to, message),
            ReplicaOutput::Persist(batch) => return self.log_works.push(LogWork::Persist(batch)),
            ReplicaOutput::Cut { mark } => {
                self.image.take_if(|(index, _)| *index < mark.index);
                return self.log_works.push(LogWork::Cut(mark));
            }
            ReplicaOutput::Misbehaved { from, how } => {
                return self.common.observer.misbehaved(from, how);
            }
            ReplicaOutput::Note(note) => return self.common.observer.note(&note),
            ReplicaOutput::Removed => return self.common.tell(Fatal::Removed),
            ReplicaOutput::Halt(fault) => {
                self.is_stopping = true;
                return self.common.tell(Fatal::Halted(fault));
            }
            ReplicaOutput::Committed { entries } => StateInput::Committed { entries },
            ReplicaOutput::CommitIndex { index } => StateInput::CommitIndex { index },
            ReplicaOutput::BarrierReached { context, index } => {
                StateInput::BarrierReached { context, index }
            }
            ReplicaOutput::BarrierLost { context } => StateInput::BarrierLost { context },
            ReplicaOutput::ProposalDropped { id, in_term } => {
                StateInput::ProposalDropped { id, in_term }
            }
            ReplicaOutput::Role(role) => StateInput::Role(role),
            ReplicaOutput::Followers(followers) => StateInput::Followers(followers),
            ReplicaOutput::TakeSnapshot => StateInput::TakeSnapshot,
        };
        self.state_inputs.push(input);
    }

    /// An announcement goes with its image; without one it is as good as lost.
    fn send(&mut self, to: MemberId, message: raftpb::Message) {
        if message.r#type() != MessageType::MsgSnap {
            let message = PeerMessage { message: Some(Message::Raft(message)) };
            return self.common.transport.send(to, message);
        }
        let about = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let index = about.map(|about| LogIndex(about.index));
        match &self.image {
            Some((at, image)) if Some(*at) == index => {
                self.common.transport.send_image(to, message, Arc::clone(image));
            }
            _ => {
                let now = self.common.clock.now();
                self.machine.handle(now, ReplicaInput::SnapshotSent { to, delivered: false });
            }
        }
    }
}
