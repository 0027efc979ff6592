//! What each output of a machine does to the world, and what the disk answers.

use std::sync::Arc;

use quorate_core::ids::{RequestId, Term};
use quorate_core::output::{Batch, Persist};
use quorate_core::peer::Message;
use quorate_core::storage::{EntryKind, SnapshotMark};
use quorate_core::{ReplicaInput, ReplicaOutput, StateInput, StateOutput};
use quorate_proto::peer::PeerMessage;
use quorate_proto::raftpb;

use super::client::Downward;
use super::disk::Medium;
use super::driver::{Event, Phase, World, shared};
use super::node::Build;
use super::observe::{CallId, Observer, Outcome, Seen, Sent, Stop, Verdict};
use super::queue::Class;

impl<B: Build, O: Observer> World<B, O> {
    pub(super) fn execute_replica(&mut self, node: usize, output: ReplicaOutput) {
        let member = self.nodes[node].id();
        match output {
            ReplicaOutput::Send { to, message } => {
                self.tell_sent(node, to, &message);
                self.send(node, to, PeerMessage { message: Some(Message::Raft(message)) });
            }
            ReplicaOutput::Persist(persist) => self.persist(node, persist),
            ReplicaOutput::Committed { entries } => {
                self.tell(&Seen::Committed { member, entries: entries.clone() });
                self.give_state(node, StateInput::Committed { entries });
            }
            ReplicaOutput::CommitIndex { index } => {
                self.tell(&Seen::CommitIndex { member, index });
                self.give_state(node, StateInput::CommitIndex { index });
            }
            ReplicaOutput::BarrierReached { context, index } => {
                self.give_state(node, StateInput::BarrierReached { context, index });
            }
            ReplicaOutput::BarrierLost { context } => {
                self.give_state(node, StateInput::BarrierLost { context });
            }
            ReplicaOutput::ProposalDropped { id, in_term } => {
                self.give_state(node, StateInput::ProposalDropped { id, in_term });
            }
            ReplicaOutput::Role(role) => {
                self.nodes[node].role = role;
                self.tell(&Seen::Role { member, role });
                self.give_state(node, StateInput::Role(role));
            }
            ReplicaOutput::Followers(followers) => {
                self.give_state(node, StateInput::Followers(followers));
            }
            ReplicaOutput::TakeSnapshot => self.give_state(node, StateInput::TakeSnapshot),
            ReplicaOutput::Cut { mark } => self.cut_log(node, mark),
            ReplicaOutput::Misbehaved { from, how } => {
                self.tell(&Seen::Misbehaved { member, from, how });
            }
            ReplicaOutput::Note(note) => self.tell(&Seen::Noted { member, note }),
            ReplicaOutput::Removed => self.retire(node),
            ReplicaOutput::Halt(fault) => self.halt(node, fault.what),
        }
    }

    fn tell_sent(&mut self, node: usize, to: quorate_core::ids::MemberId, m: &raftpb::Message) {
        let sent = Sent::of(self.nodes[node].id(), to, m);
        self.tell(&Seen::Sent(sent));
    }

    /// A member wants to stop because of its storage: right if the world broke it.
    fn halt(&mut self, node: usize, what: String) {
        let member = self.nodes[node].id();
        match self.nodes[node].failing {
            Some(rest) => self.crash(node, rest, Stop::Halt(what)),
            None => {
                let text = format!("member {member} halts on a sound disk: {what}");
                self.crash(node, u64::MAX, Stop::Halt(what));
                self.object(Verdict::Crash, "halt", text);
            }
        }
    }

    fn persist(&mut self, node: usize, persist: Persist) {
        let seen = Seen::Persisting {
            member: self.nodes[node].id(),
            number: persist.number,
            hard_state: persist.hard_state,
            entries: persist.entries.clone(),
            snapshot: persist.snapshot.clone(),
        };
        self.tell(&seen);
        if let Some(mark) = &persist.snapshot {
            self.nodes[node].note_group(mark.index);
        }
        let image = match &persist.snapshot {
            Some(mark) => match self.nodes[node].staged.remove(&mark.index) {
                Some(content) => Some(content),
                None => {
                    let what = format!("installs an image at {} that never arrived", mark.index);
                    return self.object(Verdict::Correctness, "image", what);
                }
            },
            None => None,
        };
        self.nodes[node].log.write(persist, image);
        self.begin_log(node);
    }

    fn begin_log(&mut self, node: usize) {
        let now = self.queue.now();
        let member = &mut self.nodes[node];
        let Some(sync) = member.log.begin() else { return };
        let at = match sync {
            true => member.pace.synced_at(now, Medium::Log),
            false => member.pace.written_at(now, Medium::Log),
        };
        if let Some(at) = at {
            self.queue.push(at, Class::Disk, Event::LogDone(node, member.boot));
        }
    }

    pub(super) fn log_done(&mut self, node: usize) {
        let member = self.nodes[node].id();
        if let Some(rest) = self.nodes[node].failing
            && self.nodes[node].pace.take_failure()
        {
            if quorate_core::planted!("fsync-error-retried") {
                self.nodes[node].log.lose_written();
                return self.log_done(node);
            }
            return self.crash(node, rest, Stop::Halt(String::from("fsync of the log failed")));
        }
        let Some(done) = self.nodes[node].log.complete() else { return };
        if let Some((mark, content)) = done.installed {
            self.nodes[node].store.install(content.clone());
            self.nodes[node].staged.retain(|index, _| *index > mark.index);
            self.nodes[node].stored = mark.index;
            self.tell(&Seen::Installed { member, mark });
            self.give_state(node, StateInput::Installed { image: shared(content) });
        }
        if done.synced {
            self.tell(&Seen::Persisted { member, number: done.number });
        }
        self.give_replica(node, ReplicaInput::Persisted { number: done.number });
        self.begin_log(node);
    }

    fn cut_log(&mut self, node: usize, mark: SnapshotMark) {
        let member = self.nodes[node].id();
        let stored = self.nodes[node].stored;
        if mark.index > stored {
            let what = format!("{member} cuts its log at {}, stored is {stored}", mark.index);
            self.object(Verdict::Correctness, "log-cut", what);
        }
        self.tell(&Seen::Cut { member, mark: mark.clone() });
        self.nodes[node].log.cut(mark);
    }

    pub(super) fn execute_state(&mut self, node: usize, output: StateOutput) {
        let member = self.nodes[node].id();
        match output {
            StateOutput::Respond { token, result } => {
                let call = CallId(token.get());
                self.nodes[node].proposals.forget(call);
                if result.is_ok() {
                    self.tell(&Seen::Acknowledged { member, call });
                }
                let outcome = result.map_or_else(Outcome::Refused, Outcome::Response);
                self.answer(node, call, outcome);
            }
            StateOutput::ReadReady { token, result } => {
                let call = CallId(token.get());
                match result {
                    Ok(view) => self.read(node, call, &view),
                    Err(refusal) => self.answer(node, call, Outcome::Refused(refusal)),
                }
            }
            StateOutput::Stream { stream, frame } => {
                self.pass_on(node, stream, Downward::Frame { stream, frame });
            }
            StateOutput::Publish(view) => self.publish(node, view),
            StateOutput::Propose { id, data, kind, in_term, may_forward } => {
                self.tell_proposed(node, (id, in_term), kind, &data);
                if self.is_refused(node) {
                    return self.give_state(node, StateInput::ProposalDropped { id, in_term });
                }
                self.give_replica(
                    node,
                    ReplicaInput::Propose { id, data, kind, in_term, may_forward },
                );
            }
            StateOutput::Changed { index, is_accepted } => {
                self.give_replica(node, ReplicaInput::Changed { index, is_accepted });
            }
            StateOutput::TransferLeader { to } => {
                self.give_replica(node, ReplicaInput::TransferLeader { to });
            }
            StateOutput::WantImage => self.give_replica(node, ReplicaInput::WantImage),
            StateOutput::Barrier { context } => {
                self.give_replica(node, ReplicaInput::Barrier { context });
            }
            StateOutput::Applied { index, digest } => {
                self.nodes[node].applied = (index, digest);
                self.tell(&Seen::Applied { member, index, digest });
                self.give_replica(node, ReplicaInput::Applied { index });
            }
            StateOutput::Store(batch) => self.store(node, batch),
            StateOutput::SnapshotTaken { mark, image } => {
                self.nodes[node].pinned = Some((mark.clone(), image));
                self.give_replica(node, ReplicaInput::SnapshotTaken { mark });
            }
            StateOutput::Synced { mark } => self.give_replica(node, ReplicaInput::Synced { mark }),
            StateOutput::Send { to, message } => {
                if let Some(Message::ChangeWish(wish)) = &message.message {
                    let which = (RequestId(wish.id), Term(wish.term));
                    self.tell_proposed(node, which, EntryKind::ConfChange, &wish.change);
                }
                self.send(node, to, message);
            }
            StateOutput::Note(note) => self.tell(&Seen::Noted { member, note }),
            StateOutput::Halt(fault) => self.halt(node, fault.what),
        }
    }

    /// Whether a proposal is refused, as a replica may that has too much to do.
    fn is_refused(&mut self, node: usize) -> bool {
        let chance = self.plan.weather.refuse as u32;
        let is_refused = self.phase == Phase::Faults && self.nodes[node].luck.hits(chance);
        if is_refused {
            self.count_fired("refused");
        }
        is_refused
    }

    fn tell_proposed(
        &mut self,
        node: usize,
        (id, term): (RequestId, Term),
        kind: EntryKind,
        data: &bytes::Bytes,
    ) {
        let member = self.nodes[node].id();
        let call = self.nodes[node].proposals.take((member, id), kind, data);
        self.tell(&Seen::Proposed { member, id, term, call, data: data.clone() });
    }

    fn store(&mut self, node: usize, batch: Batch) {
        self.nodes[node].store.push(batch);
        self.begin_store(node);
    }

    fn begin_store(&mut self, node: usize) {
        let now = self.queue.now();
        let member = &mut self.nodes[node];
        if member.store.begin()
            && let Some(at) = member.pace.written_at(now, Medium::Store)
        {
            self.queue.push(at, Class::Disk, Event::StoreDone(node, member.boot));
        }
    }

    pub(super) fn store_done(&mut self, node: usize) {
        if let Some(done) = self.nodes[node].store.complete() {
            let image = Arc::new(done.image);
            self.give_state(node, StateInput::Stored { index: done.index, image });
            if done.sync {
                self.begin_store_sync(node);
            }
        }
        self.begin_store(node);
    }

    fn begin_store_sync(&mut self, node: usize) {
        let now = self.queue.now();
        let member = &mut self.nodes[node];
        if member.store.begin_sync()
            && let Some(at) = member.pace.synced_at(now, Medium::Store)
        {
            self.queue.push(at, Class::Disk, Event::StoreSynced(node, member.boot));
        }
    }

    pub(super) fn store_synced(&mut self, node: usize) {
        if let Some(index) = self.nodes[node].store.complete_sync() {
            let member = self.nodes[node].id();
            self.nodes[node].stored = index;
            self.tell(&Seen::Synced { member, index });
            self.give_state(node, StateInput::Synced { index });
        }
        if self.nodes[node].store.owes_sync() {
            self.begin_store_sync(node);
        }
    }
}
