//! The consensus machine: routes inputs to the rooms of [`raft`](crate::raft) and their wishes
//! out.
//!
//! Raft's own state is only looked at when outputs are drained, so all proposals fed between two
//! drains leave as one append and one [`Persist`].
//!
//! What a shell must keep to
//! - Batches are written in order. `Persisted` may skip numbers: it covers all before it, synced or
//!   not. It may come late or in bursts; if it never comes, nothing but this member's own promises
//!   and its applying stops.
//! - A received image is complete before its announcement is handed in as `Peer`. It is installed
//!   when a [`Persist`] names its mark, and dropped if none does. `Installed` goes to `State`
//!   before entries committed later.
//! - Every announcement sent is answered by `SnapshotSent`. An image that was taken may be
//!   announced until a newer one is taken, a `Cut` passes it, or every announcement of it was
//!   answered.
//! - `handle_timeout` is called when the named instant has come, inbox or not.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/raft.go`

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::raftpb::{self, MessageType};

use crate::config::Config;
use crate::error::StorageFault;
use crate::ids::{BarrierId, LogIndex, MemberId, RequestId, Term};
use crate::input::{Followers, ReplicaInput, Role};
use crate::limits;
use crate::machine::Machine;
use crate::output::{Note, Persist, ReplicaOutput};
use crate::raft::backlog::Backlog;
use crate::raft::barrier::Barriers;
use crate::raft::canvass::Canvass;
use crate::raft::disk::{Batch, Disk, StallStep};
use crate::raft::driver::{CutRule, Driver, Work};
use crate::raft::lag::Lag;
use crate::raft::pointers::Pointers;
use crate::storage::{EntryKind, LogContents, SnapshotMark};
use crate::time::{Duration, Time, Wake};

/// Election timeouts for which a member stays that was told it was removed.
const FAREWELL_ELECTIONS: u32 = 5;

/// One member's consensus. See the module.
pub struct Replica {
    now: Time,
    next_tick: Time,
    tick: Duration,
    cut_rule: CutRule,
    node: Driver,
    disk: Disk,
    lag: Lag,
    barriers: Barriers,
    canvass: Canvass,
    proposals: Vec<Proposal>,
    /// When each member of the group was last heard from.
    heard: BTreeMap<MemberId, Time>,
    election_timeout: Duration,
    followers: Followers,
    backlog: Backlog,
    snapshot: LogIndex,
    stored: LogIndex,
    role: Role,
    announced_commit: LogIndex,
    awaits_image: bool,
    /// Whether `State` waits for an image in its place.
    wants_image: bool,
    /// When a member that was told it was removed stops, and whether it has said so.
    farewell: Option<Time>,
    is_removed: bool,
    is_halted: bool,
    outputs: VecDeque<ReplicaOutput>,
}

/// An entry that waits for the next drain.
struct Proposal {
    id: RequestId,
    data: Bytes,
    kind: EntryKind,
    in_term: Term,
    may_forward: bool,
}

impl Replica {
    /// Takes up where the store (`stored`: what is durably applied) and the log left off. With
    /// both empty, `config.bootstrap` begins a new group; without it, the member waits to be
    /// added to one.
    pub fn open(
        config: &Config,
        stored: SnapshotMark,
        log: LogContents,
        now: Time,
    ) -> Result<Self, StorageFault> {
        let node = Driver::open(config, &stored, log)?;
        let snapshot = node.purged();
        let replica = Self {
            now,
            next_tick: now + config.heartbeat_interval,
            tick: config.heartbeat_interval,
            cut_rule: CutRule {
                entries_kept: config.snapshot_catchup_entries,
                bytes_max: config.log_bytes_max,
            },
            node,
            disk: Disk::new(config.election_timeout / 2),
            lag: Lag::new(config.election_timeout),
            barriers: Barriers::new(config.member, config.boot),
            canvass: Canvass::default(),
            proposals: Vec::new(),
            heard: BTreeMap::new(),
            election_timeout: config.election_timeout,
            followers: Followers::default(),
            backlog: Backlog::new(config.pinch),
            snapshot,
            stored: stored.index,
            role: Role::default(),
            announced_commit: LogIndex(0),
            awaits_image: false,
            wants_image: false,
            farewell: None,
            is_removed: false,
            is_halted: false,
            outputs: VecDeque::new(),
        };
        replica.pointers().check_order()?;
        Ok(replica)
    }

    /// The group as raft counts it now.
    pub fn group(&self) -> raftpb::ConfState {
        self.node.group()
    }

    fn route(&mut self, input: ReplicaInput) -> Result<(), StorageFault> {
        match input {
            ReplicaInput::Propose { id, data, kind, in_term, may_forward } => {
                self.proposals.push(Proposal { id, data, kind, in_term, may_forward });
            }
            ReplicaInput::Barrier { context } => self.handle_barrier(context),
            ReplicaInput::Peer { from, message } => self.handle_peer(from, message),
            ReplicaInput::Persisted { number } => self.handle_persisted(number)?,
            ReplicaInput::Applied { index } => self.handle_applied(index)?,
            ReplicaInput::Changed { index, is_accepted } => {
                self.handle_changed(index, is_accepted);
            }
            ReplicaInput::Synced { mark } => self.handle_synced(mark.index)?,
            ReplicaInput::SnapshotTaken { mark } => {
                self.awaits_image = false;
                self.node.offer_image(&mark)?;
            }
            ReplicaInput::SnapshotSent { to, delivered } => {
                self.node.handle_snapshot_sent(to, delivered);
            }
            ReplicaInput::WantImage => {
                self.wants_image = true;
                self.ask_image();
            }
            ReplicaInput::Unreachable { to } => {
                self.node.handle_unreachable(to);
                self.canvass.handle_unreachable(to);
            }
            ReplicaInput::Removed => self.begin_farewell(),
            ReplicaInput::TransferLeader { to } => {
                self.node.transfer_leader(to);
            }
        }
        self.pointers().check_order()
    }

    fn handle_barrier(&mut self, barrier: BarrierId) {
        let has_leader = self.node.role().leader.is_some();
        if !has_leader || self.barriers.waiting() >= limits::PENDING_READS_MAX {
            self.outputs.push_back(ReplicaOutput::BarrierLost { context: barrier });
            return;
        }
        if crate::planted!("read-barrier-skipped") && self.node.role().is_leader {
            let index = self.node.committed();
            self.outputs.push_back(ReplicaOutput::BarrierReached { context: barrier, index });
            return;
        }
        let context = self.barriers.ask(barrier);
        self.node.ask_read(context);
    }

    fn handle_changed(&mut self, index: LogIndex, is_accepted: bool) {
        let effect = self.node.handle_changed(index, is_accepted);
        self.canvass.forget();
        self.heard.retain(|member, _| self.node.has_member(*member));
        self.announce_role(effect.gave_up);
        if effect.is_removed {
            crate::probe!("removed by its own log");
            if crate::planted!("removed-leaves-at-once") {
                self.farewell = Some(self.now);
            }
        }
    }

    /// Whoever was removed stays until another says so, and a while longer. By its own log alone
    /// it must not go: those who are left may not know that the change is committed, and need its
    /// vote to find out, however long they are cut off. One of them that says so knows for good.
    fn begin_farewell(&mut self) {
        self.farewell.get_or_insert(self.now + FAREWELL_ELECTIONS * self.election_timeout);
    }

    fn say_farewell(&mut self) {
        if !self.is_removed && self.farewell.is_some_and(|until| until <= self.now) {
            self.is_removed = true;
            self.outputs.push_back(ReplicaOutput::Removed);
        }
    }

    fn handle_peer(&mut self, from: MemberId, message: raftpb::Message) {
        if self.node.has_member(from) {
            self.heard.insert(from, self.now);
        }
        let may_campaign = self.may_campaign();
        let is_awaited = self.canvass.awaits(&message);
        match self.node.handle_message(from, message, may_campaign) {
            Err(how) => self.outputs.push_back(ReplicaOutput::Misbehaved { from, how }),
            Ok(()) if is_awaited && self.node.is_voter(from) => {
                let is_quorum = |answered: &[MemberId]| self.node.is_quorum_with(answered);
                self.canvass.handle_answer(self.now, from, is_quorum);
            }
            Ok(()) => {}
        }
    }

    fn handle_persisted(&mut self, number: u64) -> Result<(), StorageFault> {
        if number > self.disk.emitted() {
            return Err(StorageFault::new(format!("batch {number} was never emitted")));
        }
        let (batches, messages) = self.disk.handle_persisted(number);
        if batches.len() > 1 {
            crate::probe!("several batches written at once");
        }
        if let Some(last) = batches.last() {
            self.node.handle_persisted(last.ready);
        }
        let images_max = if crate::planted!("two-images-in-a-row") { 1 } else { usize::MAX };
        let marks = batches.into_iter().filter_map(|batch| batch.snapshot);
        for mark in marks.take(images_max) {
            crate::probe!("image installed");
            self.node.handle_applied(mark.index);
            self.backlog.apply(mark.index);
            self.stored = mark.index;
            self.snapshot = mark.index;
        }
        self.run_stall_watch();
        messages.into_iter().for_each(|message| self.send(message));
        while let Some(entries) = self.disk.take_settled() {
            self.outputs.push_back(ReplicaOutput::Committed { entries });
        }
        Ok(())
    }

    fn handle_applied(&mut self, index: LogIndex) -> Result<(), StorageFault> {
        let emitted = self.node.emitted();
        let limit = emitted.min(self.node.persisted());
        if index > limit && index <= emitted && self.disk.is_installing() {
            // An image counts as applied when its batch is reported; this is the same news.
            return Ok(());
        }
        if index > limit {
            return Err(StorageFault::new(format!("{index} applied, {limit} handed out")));
        }
        self.node.handle_applied(index);
        self.backlog.apply(index);
        Ok(())
    }

    fn handle_synced(&mut self, index: LogIndex) -> Result<(), StorageFault> {
        if index <= self.stored {
            return Ok(());
        }
        // What is durable is applied, even if that news travels more slowly.
        self.handle_applied(index)?;
        if self.node.applied() < index {
            return Ok(());
        }
        self.stored = index;
        if self.disk.is_installing() {
            return Ok(());
        }
        if let Some(mark) = self.node.cut(index, &self.cut_rule) {
            self.snapshot = mark.index;
            self.outputs.push_back(ReplicaOutput::Cut { mark });
        }
        Ok(())
    }

    /// Whether this member may stand for election. A silent disk could not keep its vote; an
    /// image half installed leaves no log to judge by; a sole voter leads the instant it stands,
    /// so all it has must be durable before.
    fn may_campaign(&self) -> bool {
        let is_written = || self.disk.is_clear() && !self.node.has_unwritten();
        !self.disk.is_stalled()
            && !self.disk.is_installing()
            && !self.wants_image
            && (!self.node.is_sole_voter() || is_written())
    }

    fn on_tick(&mut self) {
        self.next_tick += self.tick;
        if self.node.role().is_leader || self.may_campaign() {
            self.node.tick();
            self.canvass.note_tick();
        }
        self.ask_image();
        self.announce_followers();
    }

    /// Asks the leader for an image, if one is wanted. A leader first gives leadership away: it
    /// can lead no worse than others, but there is nobody it could ask.
    fn ask_image(&mut self) {
        if !self.wants_image {
            return;
        }
        if self.node.role().is_leader {
            if !self.node.is_handing_over() {
                self.node.transfer_leader(None);
            }
        } else {
            self.node.ask_image();
        }
    }

    /// Who is active and in sync, when that changed.
    fn announce_followers(&mut self) {
        let is_heard = |member| {
            let heard = self.heard.get(&member);
            heard.is_some_and(|at| self.now.since(*at) < self.election_timeout)
        };
        let followers = self.node.followers(is_heard);
        if followers != self.followers {
            self.followers = followers.clone();
            self.outputs.push_back(ReplicaOutput::Followers(followers));
        }
    }

    fn run_stall_watch(&mut self) {
        let is_leader = self.node.role().is_leader;
        let is_alone = self.node.is_sole_voter();
        match self.disk.poll_stall(self.now) {
            Some(StallStep::HandOver { number }) => {
                self.outputs.push_back(ReplicaOutput::Note(Note::LogStalled { number }));
                if is_leader && !is_alone {
                    crate::probe!("leadership handed over for a silent disk");
                    self.node.transfer_leader(None);
                }
            }
            Some(StallStep::StepDown) if is_leader && !is_alone => {
                crate::probe!("leader stepped down for a silent disk");
                self.node.step_down();
                self.announce_role("the log's disk is silent");
            }
            _ => {}
        }
    }

    /// A leader whose disk is slower than a quorum's hands leadership over.
    fn watch_lag(&mut self) {
        if !self.role.is_leader {
            self.lag.forget();
            return;
        }
        let (committed, persisted) = (self.node.committed(), self.node.persisted());
        let Some(by) = self.lag.observe(self.now, committed, persisted) else { return };
        if self.node.transfer_leader(None) {
            crate::probe!("leadership handed over for a slow disk");
            self.outputs.push_back(ReplicaOutput::Note(Note::LogLags { by }));
        }
    }

    fn send(&mut self, message: raftpb::Message) {
        if message.r#type() == MessageType::MsgVote {
            self.node.note_votes_asked(message.term);
        }
        self.outputs.push_back(ReplicaOutput::Send { to: MemberId(message.to), message });
    }

    /// Refills the empty queue of outputs. Whether it holds any now.
    fn pump(&mut self) -> bool {
        // Whoever hears that a proposal was dropped knows by then who leads.
        self.announce_role("");
        self.flush_proposals();
        if self.node.is_sole_voter() && self.may_campaign() {
            self.node.campaign_alone();
        }
        self.watch_lag();
        let room = self.backlog.room(self.node.applied(), self.node.emitted());
        let work = self.node.take_work(room);
        self.announce_role("");
        if let Some(work) = work {
            self.emit(work);
        }
        self.announce_commit();
        if self.node.take_image_wish() && !self.awaits_image {
            self.awaits_image = true;
            self.outputs.push_back(ReplicaOutput::TakeSnapshot);
        }
        if let Err(fault) = self.pointers().check_order() {
            self.halt(fault);
        }
        !self.outputs.is_empty()
    }

    fn flush_proposals(&mut self) {
        // While leadership is handed over they wait, for the successor or for the attempt's end.
        if self.proposals.is_empty() || self.node.is_handing_over() {
            return;
        }
        let role = self.node.role();
        let may_go = |p: &Proposal| p.in_term == role.term && (p.may_forward || role.is_leader);
        let (wanted, mut refused): (Vec<_>, Vec<_>) = self.proposals.drain(..).partition(may_go);
        let is_change = |p: &Proposal| p.kind != EntryKind::Normal;
        let (changes, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_change);
        let is_refused = |p: &Proposal| !self.node.propose_change(p.data.clone());
        refused.extend(changes.into_iter().filter(is_refused));
        if !wanted.is_empty() && !self.node.propose(wanted.iter().map(|p| p.data.clone())) {
            refused.extend(wanted);
        }
        let drop = |p: Proposal| ReplicaOutput::ProposalDropped { id: p.id, in_term: p.in_term };
        self.outputs.extend(refused.into_iter().map(drop));
    }

    fn emit(&mut self, mut work: Work) {
        let persist = self.batch(&mut work);
        let is_served = !work.reads.is_empty()
            || work.messages.iter().any(|m| m.r#type() == MessageType::MsgReadIndexResp);
        self.canvass.choose(self.now, &mut work.messages);
        self.canvass.note_waiting(self.now, self.node.reads_waiting(), is_served);
        for message in work.messages {
            if let Some(message) = self.disk.hold(message) {
                self.send(message);
            }
        }
        self.outputs.extend(persist.map(ReplicaOutput::Persist));
        for (context, index) in work.reads {
            for context in self.barriers.take_reached(&context) {
                self.outputs.push_back(ReplicaOutput::BarrierReached { context, index });
            }
        }
        if !work.committed.is_empty() {
            self.backlog.push(&work.committed);
            let free = self.disk.hold_committed(work.committed);
            self.outputs.extend(free.map(|entries| ReplicaOutput::Committed { entries }));
        }
    }

    /// The batch for the disk, noted as owed.
    fn batch(&mut self, work: &mut Work) -> Option<Persist> {
        if !work.has_batch() {
            if let Some(ready) = self.disk.note_empty(work.ready) {
                self.node.handle_persisted(ready);
            }
            return None;
        }
        self.wants_image &= work.snapshot.is_none();
        let number = self.disk.next_number();
        self.disk.note_emitted(Batch {
            number,
            ready: work.ready,
            must_sync: work.must_sync,
            is_binding: work.is_binding,
            snapshot: work.snapshot.clone(),
            emitted_at: self.now,
        });
        Some(Persist {
            number,
            hard_state: work.hard_state,
            entries: core::mem::take(&mut work.entries),
            snapshot: work.snapshot.take(),
            must_sync: work.must_sync,
        })
    }

    fn announce_role(&mut self, why: &'static str) {
        let (before, role) = (self.role, self.node.role());
        if role == before {
            return;
        }
        self.role = role;
        self.canvass.forget();
        self.note_role(before, why);
        self.outputs.push_back(ReplicaOutput::Role(role));
        for context in self.barriers.take_lost() {
            if before.is_leader {
                crate::probe!("leader deposed with a read waiting");
            }
            self.outputs.push_back(ReplicaOutput::BarrierLost { context });
        }
    }

    fn note_role(&mut self, before: Role, why: &'static str) {
        let role = self.role;
        if before.is_leader {
            let is_own = role.term == before.term && why.is_empty();
            let why = if is_own { "no quorum answers" } else { why };
            let note = Note::SteppedDown { term: before.term, why };
            self.outputs.push_back(ReplicaOutput::Note(note));
        }
        let note = match role.leader {
            Some(_) if role.is_leader => Note::BecameLeader { term: role.term },
            Some(leader) => Note::Follows { leader, term: role.term },
            None => return,
        };
        self.outputs.push_back(ReplicaOutput::Note(note));
    }

    fn announce_commit(&mut self) {
        let index = self.node.committed();
        if index > self.announced_commit {
            self.announced_commit = index;
            self.outputs.push_back(ReplicaOutput::CommitIndex { index });
        }
    }

    fn pointers(&self) -> Pointers {
        // Until an image is installed, the store and the log on disk are what they were before.
        let purged = if self.disk.is_installing() { self.snapshot } else { self.node.purged() };
        Pointers {
            purged,
            snapshot: self.snapshot,
            stored: self.stored,
            applied: self.node.applied(),
            committed: self.node.committed(),
            persisted: self.node.persisted(),
            accepted: self.node.accepted(),
        }
    }

    fn halt(&mut self, fault: StorageFault) {
        self.is_halted = true;
        self.outputs.push_back(ReplicaOutput::Halt(fault));
    }
}

impl Machine for Replica {
    type Input = ReplicaInput;
    type Output = ReplicaOutput;

    fn handle(&mut self, now: Time, input: ReplicaInput) {
        self.now = self.now.max(now);
        if self.is_halted {
            return;
        }
        if let Err(fault) = self.route(input) {
            self.halt(fault);
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.is_halted {
            return;
        }
        let late = self.now.since(self.next_tick);
        if late >= self.tick {
            // After a pause, one tick: the inbox may hold what the missed ones would have waited
            // for.
            self.next_tick = self.now;
            self.disk.note_pause(late);
        }
        self.run_stall_watch();
        self.say_farewell();
        if self.canvass.handle_timeout(self.now) {
            self.node.ping();
        }
        if self.next_tick <= self.now {
            self.on_tick();
        }
    }

    fn poll_output(&mut self) -> Option<ReplicaOutput> {
        if self.outputs.is_empty() && (self.is_halted || !self.pump()) {
            return None;
        }
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        if self.is_halted {
            return None;
        }
        let tick = Wake { at: self.next_tick, timer: "tick" };
        let wake = Wake::earlier(self.disk.poll_timeout(), self.canvass.poll_timeout());
        Wake::earlier(Some(tick), wake)
    }
}
