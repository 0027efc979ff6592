//! What each output of a machine does, and what the disk answers.

use std::sync::Arc;

use quorate_core::error::StorageFault;
use quorate_core::ids::{LogIndex, MemberId, RequestId, Term};
use quorate_core::output::{Batch, Persist};
use quorate_core::peer::{Class as Lane, Message};
use quorate_core::storage::{EntryKind, SnapshotMark};
use quorate_core::{ReplicaInput, ReplicaOutput, StateInput, StateOutput, View};
use quorate_proto::peer::PeerMessage;

use super::member::{Ending, Member};
use super::site::now;
use super::wire::{Body, Parcel, post};
use crate::world::disk::Medium;
use crate::world::observe::{Outcome, Seen, Sent, Verdict, Violation};
use crate::world::table::Content;

/// An image whose arrival nobody has told of by then is taken for lost.
const IMAGE_PATIENCE: u64 = 2_000_000_000;
/// Received images that wait to be installed; more are refused.
const STAGED_MAX: usize = 8;

/// A promise that the machines broke with their shell, not with a client.
fn wrong(oracle: &'static str, what: String) -> Ending {
    Ending::Wrong(Violation { verdict: Verdict::Correctness, oracle, what })
}

impl Member {
    pub(super) fn execute_replica(&mut self, output: ReplicaOutput) -> Result<(), Ending> {
        let member = self.id;
        match output {
            ReplicaOutput::Send { to, message } => {
                self.tap.tell(|| Seen::Sent(Sent::of(member, to, &message)));
                self.send(to, PeerMessage { message: Some(Message::Raft(message)) });
            }
            ReplicaOutput::Persist(persist) => self.persist(persist)?,
            ReplicaOutput::Committed { entries } => {
                self.tap.tell(|| Seen::Committed { member, entries: entries.clone() });
                self.give_state(StateInput::Committed { entries });
            }
            ReplicaOutput::CommitIndex { index } => {
                self.tap.tell(|| Seen::CommitIndex { member, index });
                self.give_state(StateInput::CommitIndex { index });
            }
            ReplicaOutput::BarrierReached { context, index } => {
                self.give_state(StateInput::BarrierReached { context, index });
            }
            ReplicaOutput::BarrierLost { context } => {
                self.give_state(StateInput::BarrierLost { context });
            }
            ReplicaOutput::ProposalDropped { id, in_term } => {
                self.give_state(StateInput::ProposalDropped { id, in_term });
            }
            ReplicaOutput::Role(role) => {
                self.ground.lock().role = role;
                self.tap.tell(|| Seen::Role { member, role });
                self.give_state(StateInput::Role(role));
            }
            ReplicaOutput::Followers(followers) => {
                self.give_state(StateInput::Followers(followers));
            }
            ReplicaOutput::TakeSnapshot => self.give_state(StateInput::TakeSnapshot),
            ReplicaOutput::Cut { mark } => self.cut_log(mark)?,
            ReplicaOutput::Misbehaved { from, how } => {
                self.tap.tell(|| Seen::Misbehaved { member, from, how });
            }
            ReplicaOutput::Note(note) => self.note(note),
            ReplicaOutput::Removed => return Err(Ending::Removed),
            ReplicaOutput::Halt(fault) => return Err(self.halt(fault)),
        }
        Ok(())
    }

    pub(super) fn execute_state(&mut self, output: StateOutput) -> Result<(), Ending> {
        let member = self.id;
        match output {
            StateOutput::Respond { token, result } => {
                let Some(waiting) = self.calls.remove(&token) else { return Ok(()) };
                let call = waiting.call;
                self.proposals.forget(call);
                if result.is_ok() {
                    self.tap.tell(|| Seen::Acknowledged { member, call });
                }
                waiting.conclude(result.map_or_else(Outcome::Refused, Outcome::Response));
            }
            StateOutput::ReadReady { token, result: Ok(view) } => self.read(token, &view)?,
            StateOutput::ReadReady { token, result: Err(refusal) } => {
                if let Some(waiting) = self.calls.remove(&token) {
                    waiting.conclude(Outcome::Refused(refusal));
                }
            }
            StateOutput::Stream { stream, frame } => {
                // No more frames than credit: if there is no room the stream's task is gone.
                let frames = self.streams.get(&stream);
                if frames.is_some_and(|frames| frames.try_send(frame).is_err()) {
                    self.streams.remove(&stream);
                }
            }
            StateOutput::Publish(view) => self.publish(view),
            StateOutput::Propose { id, data, kind, in_term, may_forward } => {
                self.tell_proposed((id, in_term), kind, &data);
                self.give_replica(ReplicaInput::Propose { id, data, kind, in_term, may_forward });
            }
            StateOutput::Changed { index, is_accepted } => {
                self.give_replica(ReplicaInput::Changed { index, is_accepted });
            }
            StateOutput::TransferLeader { to } => {
                self.give_replica(ReplicaInput::TransferLeader { to });
            }
            StateOutput::WantImage => self.give_replica(ReplicaInput::WantImage),
            StateOutput::Barrier { context } => {
                self.give_replica(ReplicaInput::Barrier { context });
            }
            StateOutput::Applied { index, digest } => {
                self.ground.lock().applied = (index, digest);
                self.tap.tell(|| Seen::Applied { member, index, digest });
                self.give_replica(ReplicaInput::Applied { index });
            }
            StateOutput::Store(batch) => self.store(batch),
            StateOutput::SnapshotTaken { mark, image } => {
                self.pinned = Some((mark.clone(), image));
                self.give_replica(ReplicaInput::SnapshotTaken { mark });
            }
            StateOutput::Synced { mark } => self.give_replica(ReplicaInput::Synced { mark }),
            StateOutput::Send { to, message } => {
                if let Some(Message::ChangeWish(wish)) = &message.message {
                    let which = (RequestId(wish.id), Term(wish.term));
                    self.tell_proposed(which, EntryKind::ConfChange, &wish.change);
                }
                self.send(to, message);
            }
            StateOutput::Note(note) => self.note(note),
            StateOutput::Halt(fault) => return Err(self.halt(fault)),
        }
        Ok(())
    }

    /// A member wants to stop because of its storage: right if that was told to fail.
    pub(super) fn halt(&self, fault: StorageFault) -> Ending {
        match self.ground.lock().failing {
            Some(rest) => Ending::Halt(fault.what, rest),
            None => {
                let what = format!("member {} halts on a sound disk: {}", self.id, fault.what);
                Ending::Wrong(Violation { verdict: Verdict::Crash, oracle: "halt", what })
            }
        }
    }

    fn tell_proposed(
        &mut self,
        (id, term): (RequestId, Term),
        kind: EntryKind,
        data: &bytes::Bytes,
    ) {
        let member = self.id;
        let call = self.proposals.take((member, id), kind, data);
        self.tap.tell(|| Seen::Proposed { member, id, term, call, data: data.clone() });
    }

    /// A member shows what it knows.
    fn publish(&mut self, view: View) {
        let facts = &view.facts;
        let mut site = self.ground.lock();
        let before = site.view.as_ref().map(|before| &before.facts.members);
        if before != Some(&facts.members) && !facts.members.is_empty() {
            let (member, index) = (self.id, facts.applied);
            let list = facts.members.iter().map(|it| (MemberId(it.id), it.is_learner)).collect();
            self.tap.tell(|| Seen::Members { member, index, list });
        }
        site.view = Some(view);
    }

    /// The replica has the group as of that entry, or of a later one.
    pub(super) fn note_group(&mut self, index: LogIndex) {
        self.group = self.group.max(index);
        self.is_group_news = true;
    }

    /// Tells whom raft counts, if that may have changed.
    pub(super) fn tell_group(&mut self) {
        if std::mem::take(&mut self.is_group_news) {
            let (member, index) = (self.id, self.group);
            self.tap.tell(|| Seen::Group { member, index, group: self.replica.group() });
        }
    }

    /// Sends a message to another member; an announcement of an image only with the image.
    fn send(&mut self, to: MemberId, message: PeerMessage) {
        let (Some(&address), Some(body)) = (self.peers.get(&to), &message.message) else {
            return self.give_replica(ReplicaInput::Unreachable { to });
        };
        let image = match body {
            Message::Raft(raft) if Lane::of(body) == Lane::Snapshot => {
                let meta = raft.snapshot.as_ref().and_then(|it| it.metadata.as_ref());
                let Some(content) = meta.and_then(|meta| self.image_at(LogIndex(meta.index)))
                else {
                    return self.give_replica(ReplicaInput::SnapshotSent { to, delivered: false });
                };
                self.images.insert(to, now() + IMAGE_PATIENCE);
                Some(content)
            }
            _ => None,
        };
        let parcel = Parcel { from: self.id, body: Body::Message(message, image) };
        post(&self.endpoint, address, parcel);
    }

    fn image_at(&self, index: LogIndex) -> Option<Content> {
        let (mark, image) = self.pinned.as_ref()?;
        (mark.index == index).then(|| Content::copied(image.as_ref()).ok())?
    }

    /// Images that nobody has told of for too long.
    pub(super) fn forget_images(&mut self) {
        let now = now();
        let late: Vec<_> = self.images.iter().filter(|it| *it.1 <= now).map(|it| *it.0).collect();
        for to in late {
            self.images.remove(&to);
            self.give_replica(ReplicaInput::SnapshotSent { to, delivered: false });
        }
    }

    pub(super) fn take_parcel(&mut self, Parcel { from, body }: Parcel) {
        let (message, image) = match body {
            Body::Message(message, image) => (message.message, image),
            Body::Image { is_kept: delivered } => {
                if self.images.remove(&from).is_some() {
                    self.give_replica(ReplicaInput::SnapshotSent { to: from, delivered });
                }
                return;
            }
        };
        if let (Some(Message::Raft(raft)), Some(content)) = (&message, image) {
            let meta = raft.snapshot.as_ref().and_then(|it| it.metadata.as_ref());
            let Some(index) = meta.map(|meta| LogIndex(meta.index)) else { return };
            let is_kept = self.stage(index, content);
            if let Some(&address) = self.peers.get(&from) {
                let parcel = Parcel { from: self.id, body: Body::Image { is_kept } };
                post(&self.endpoint, address, parcel);
            }
            if !is_kept {
                return;
            }
        }
        let Some(message) = message else { return };
        match StateInput::from_peer(from, message) {
            Ok(input) => self.give_state(input),
            Err(message) => self.give_replica(ReplicaInput::Peer { from, message }),
        }
    }

    /// Keeps a received image until the replica asks for it to be installed. False if it is full.
    fn stage(&mut self, index: LogIndex, content: Content) -> bool {
        let applied = self.ground.lock().applied.0;
        self.staged.retain(|index, _| *index > applied);
        let has_room = self.staged.len() < STAGED_MAX;
        if has_room {
            self.staged.insert(index, content);
        }
        has_room
    }

    fn persist(&mut self, persist: Persist) -> Result<(), Ending> {
        let member = self.id;
        self.tap.tell(|| Seen::Persisting {
            member,
            number: persist.number,
            hard_state: persist.hard_state,
            entries: persist.entries.clone(),
            snapshot: persist.snapshot.clone(),
        });
        let mut image = None;
        if let Some(mark) = &persist.snapshot {
            self.note_group(mark.index);
            image = self.staged.remove(&mark.index);
            if image.is_none() {
                let what = format!("installs an image at {} that never arrived", mark.index);
                return Err(wrong("image", what));
            }
        }
        self.ground.lock().log.write(persist, image);
        self.begin_log();
        Ok(())
    }

    fn begin_log(&mut self) {
        let site = &mut *self.ground.lock();
        if let Some(is_sync) = site.log.begin() {
            self.due.log = match is_sync {
                true => site.pace.synced_at(now(), Medium::Log),
                false => site.pace.written_at(now(), Medium::Log),
            };
        }
    }

    /// Takes in what the disk has done by now.
    pub(super) fn settle_disk(&mut self) -> Result<(), Ending> {
        let now = now();
        let is_over = |at: &mut u64| *at <= now;
        if self.due.log.take_if(is_over).is_some() {
            self.log_done()?;
        }
        if self.due.store.take_if(is_over).is_some() {
            self.store_done();
        }
        if self.due.sync.take_if(is_over).is_some() {
            self.store_synced();
        }
        Ok(())
    }

    fn log_done(&mut self) -> Result<(), Ending> {
        let member = self.id;
        let done = {
            let site = &mut *self.ground.lock();
            if let Some(rest) = site.failing
                && site.pace.take_failure()
            {
                if !quorate_core::planted!("fsync-error-retried") {
                    return Err(Ending::Halt(String::from("fsync of the log failed"), rest));
                }
                site.log.lose_written();
            }
            site.log.complete()
        };
        let Some(done) = done else { return Ok(()) };
        if let Some((mark, content)) = done.installed {
            {
                let site = &mut *self.ground.lock();
                site.store.install(content.clone());
                site.stored = mark.index;
            }
            self.staged.retain(|index, _| *index > mark.index);
            self.tap.tell(|| Seen::Installed { member, mark });
            self.give_state(StateInput::Installed { image: Arc::new(content) });
        }
        let number = done.number;
        if done.synced {
            self.tap.tell(|| Seen::Persisted { member, number });
        }
        self.give_replica(ReplicaInput::Persisted { number });
        self.begin_log();
        Ok(())
    }

    fn cut_log(&mut self, mark: SnapshotMark) -> Result<(), Ending> {
        let site = &mut *self.ground.lock();
        if mark.index > site.stored {
            let (member, stored) = (self.id, site.stored);
            let what = format!("{member} cuts its log at {}, stored is {stored}", mark.index);
            return Err(wrong("log-cut", what));
        }
        self.tap.tell(|| Seen::Cut { member: self.id, mark: mark.clone() });
        site.log.cut(mark);
        Ok(())
    }

    fn store(&mut self, batch: Batch) {
        self.ground.lock().store.push(batch);
        self.begin_store();
    }

    fn begin_store(&mut self) {
        let site = &mut *self.ground.lock();
        if site.store.begin() {
            self.due.store = site.pace.written_at(now(), Medium::Store);
        }
    }

    fn store_done(&mut self) {
        let done = self.ground.lock().store.complete();
        if let Some(done) = done {
            let image = Arc::new(done.image);
            self.give_state(StateInput::Stored { index: done.index, image });
            if done.sync {
                self.begin_store_sync();
            }
        }
        self.begin_store();
    }

    fn begin_store_sync(&mut self) {
        let site = &mut *self.ground.lock();
        if site.store.begin_sync() {
            self.due.sync = site.pace.synced_at(now(), Medium::Store);
        }
    }

    fn store_synced(&mut self) {
        let (index, is_owing) = {
            let site = &mut *self.ground.lock();
            let index = site.store.complete_sync();
            site.stored = index.unwrap_or(site.stored);
            (index, site.store.owes_sync())
        };
        if let Some(index) = index {
            self.tap.tell(|| Seen::Synced { member: self.id, index });
            self.give_state(StateInput::Synced { index });
        }
        if is_owing {
            self.begin_store_sync();
        }
    }
}
