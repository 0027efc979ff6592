//! `State`: what committed entries mean. Routing only; the rooms do the work.
//!
//! ```text
//!   Request --> door --> Propose ..... Committed --> apply --> Respond, Store, Applied
//!                                                      |\--> watch hub --> Stream
//!   Read ----> lane --> Barrier .. BarrierReached      '---> view --> Publish
//!                 '------- applied far enough ---------------> ReadReady
//! ```
//!
//! Inputs are fed in any number; outputs are settled when they are drained: all that was applied
//! since the last drain leaves as one batch for the store and one published view.
//!
//! Invariants:
//! - an answer leaves only after its entry was applied, and an entry is applied only after a
//!   quorum and this member's own log have it;
//! - the view that shows what was applied is among the outputs of the same drain, and whoever
//!   drains publishes it before any answer of that drain leaves;
//! - the applied index travels in the same batch as the rows it covers;
//! - a batch carries the epoch of the content it belongs to.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/server.go`

mod authority;
mod changes;
mod downgrade;
mod reads;
mod repair;
mod reports;
mod settle;
mod solitude;
mod writes;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use changes::{Changes, Transfers};
use quorate_proto::peer::ask::Question;
use repair::{Doubt, Trust};
use reports::Reports;
use solitude::Solitude;

use crate::apply::Ledgers;
use crate::config::Config;
use crate::door::asking::Asking;
use crate::door::lane::Lane;
use crate::door::pending::Pending;
use crate::error::{Refusal, StorageFault};
use crate::ids::{LogIndex, MemberId, Revision, Token};
use crate::input::{Followers, Memory, Role, StateInput};
use crate::machine::Machine;
use crate::output::{Note, Response, StateOutput};
use crate::schema::Progress;
use crate::storage::{SnapshotMark, StateRead, Write};
use crate::tally::Tally;
use crate::time::{Time, Wake};
use crate::upkeep::announce::Announcer;
use crate::upkeep::autocompact::AutoCompactor;
use crate::upkeep::compare::Trail;
use crate::view::{Facts, View};
use crate::watch::{self, Hub};

/// Who waits in the read lane.
#[derive(Debug)]
pub(crate) enum Reader {
    /// A client's read.
    Client(Token),
    /// A client's question about a lease, asked here.
    Local(Token, Question),
    /// The same, asked through another member.
    Remote(MemberId, u64, Question),
    /// A client's wish to change the cluster's version.
    Downgrade(Token, downgrade::Wish),
}

/// A batch on its way to the store.
#[derive(Debug)]
struct Shipped {
    index: LogIndex,
    revision: Revision,
    /// The mark to report once the batch is durable.
    sync: Option<SnapshotMark>,
    /// The compaction whose last row it removes.
    finished: Option<Revision>,
}

/// The machine. See the module.
pub struct State {
    config: Config,
    now: Time,
    role: Role,
    committed: LogIndex,
    ledgers: Ledgers,
    hub: Hub,
    pending: Pending,
    changes: Changes,
    transfers: Transfers,
    followers: Followers,
    lane: Lane<Reader>,
    /// As leader: the newest instant since which a quorum has confirmed that it leads.
    confirmed: Option<Time>,
    solitude: Solitude,
    asking: Asking,
    /// Renewals that wait for an entry to be applied, each until its deadline.
    parked: Vec<(Time, Reader)>,
    announcer: Announcer,
    reports: Reports,
    trust: Trust,
    compactor: AutoCompactor,
    /// The image behind the newest batch that is stored.
    image: Arc<dyn StateRead>,
    view: View,
    /// What views share and entries seldom change.
    facts: Facts,
    tally: Tally,
    /// Rows and position to leave with the next drain.
    draft: Draft,
    shipped: VecDeque<Shipped>,
    /// The newest revision in the image.
    stored_revision: Revision,
    epoch: u64,
    db_size: (u64, u64),
    is_disk_low: bool,
    memory: Memory,
    /// Clients that wait for the physical end of a compaction.
    physical: Vec<(Revision, Token)>,
    compact_at: Option<Time>,
    is_halted: bool,
    outputs: VecDeque<StateOutput>,
}

/// What has been applied since the last drain.
#[derive(Debug, Default)]
struct Draft {
    writes: Vec<Write>,
    has_applied: bool,
    has_new_conf_state: bool,
    has_new_view: bool,
    has_new_facts: bool,
    finished: Option<Revision>,
    /// Entries and bytes applied since the store was last asked to sync.
    entries_since_sync: u64,
    bytes_since_sync: u64,
}

impl State {
    /// Rebuilds everything from what the store holds.
    pub fn open(
        config: &Config,
        image: Arc<dyn StateRead>,
        now: Time,
    ) -> Result<Self, StorageFault> {
        let ledgers = Ledgers::open(config, Arc::clone(&image))?;
        let Progress { mark, digest } = &ledgers.progress;
        let trust = Trust::load(image.as_ref(), Trail::from((mark.index, *digest)))?;
        let patience = config.request_timeout();
        let hub = Hub::new(watch::Setup {
            cluster: config.cluster,
            member: config.member,
            seed: config.seed,
            progress_interval: config.watch_progress_interval,
            revision: ledgers.kv.revision(),
            pinch: config.pinch,
        });
        let mut this = Self {
            config: config.clone(),
            now,
            role: Role::default(),
            committed: ledgers.progress.mark.index,
            view: View::new(ledgers.kv.view(), Facts::default()),
            facts: Facts::default(),
            tally: Tally::default(),
            hub,
            pending: Pending::new(config),
            changes: Changes::default(),
            transfers: Transfers::new(),
            followers: Followers::default(),
            lane: Lane::new(patience),
            confirmed: None,
            solitude: Solitude::default(),
            asking: Asking::new(config),
            parked: Vec::new(),
            announcer: Announcer::new(),
            reports: Reports::default(),
            trust,
            compactor: AutoCompactor::new(config.auto_compaction, ledgers.kv.revision(), now),
            image,
            draft: Draft::default(),
            shipped: VecDeque::new(),
            stored_revision: ledgers.kv.revision(),
            epoch: 0,
            db_size: (0, 0),
            is_disk_low: false,
            memory: Memory::default(),
            physical: Vec::new(),
            compact_at: None,
            is_halted: false,
            outputs: VecDeque::new(),
            ledgers,
        };
        this.draft.has_new_view = true;
        this.draft.has_new_facts = true;
        this.compact_at = this.ledgers.kv.is_compacting().then_some(now);
        if this.trust.is_fenced() {
            this.begin_repair("it was, when this member stopped".into());
        }
        Ok(this)
    }

    /// What the store held when the machine was opened: the point a replica starts from.
    pub fn mark(&self) -> SnapshotMark {
        self.ledgers.progress.mark.clone()
    }

    /// Digest of everything applied so far.
    pub fn digest(&self) -> u64 {
        self.ledgers.progress.digest
    }

    fn respond(&mut self, token: Token, result: Result<Response, Refusal>) {
        self.outputs.push_back(StateOutput::Respond { token, result });
    }

    fn note(&mut self, note: Note) {
        self.outputs.push_back(StateOutput::Note(note));
    }

    /// Nothing can be trusted any more: say so, and never say anything again.
    fn halt(&mut self, fault: StorageFault) {
        if !self.is_halted {
            self.is_halted = true;
            self.outputs.push_back(StateOutput::Halt(fault));
        }
    }

    /// What does not read is replaced, if there is somebody to get it from.
    fn try_to(&mut self, work: impl FnOnce(&mut Self) -> Result<(), StorageFault>) {
        if let Err(fault) = work(self) {
            self.fence(Doubt::Damaged(fault));
        }
    }

    /// Time never runs backwards. A leader that slept through a timer for longer than an election
    /// timeout could not renew leases either: it grants them the lost time.
    fn advance(&mut self, now: Time) {
        let patience = self.config.election_timeout;
        if self.ledgers.leases.is_primary()
            && now.since(self.now) > patience
            && self.poll_timeout().is_some_and(|wake| now.since(wake.at) > patience)
        {
            self.ledgers.leases.promote(now, patience);
        }
        self.now = self.now.max(now);
    }

    /// Only a primary that looks at the clock more often than that can tell a quiet time from one
    /// in which nobody heard it.
    fn presence(&self) -> Option<Wake> {
        let is_needed = self.ledgers.leases.is_primary() && !self.ledgers.leases.is_empty();
        let at = self.now + self.config.election_timeout / 2;
        is_needed.then_some(Wake { at, timer: "lease presence" })
    }

    fn handle_role(&mut self, role: Role) {
        let before = core::mem::replace(&mut self.role, role);
        self.draft.has_new_view = true;
        self.hub.set_term(role.term);
        if !role.is_leader || role.term != before.term {
            self.ledgers.leases.demote();
            self.confirmed = None;
            self.changes.clear();
            for (_, reader) in core::mem::take(&mut self.parked) {
                self.hand_on(reader);
            }
        }
        if role != before {
            self.on_company();
        }
        if role.leader != before.leader {
            if before.leader.is_some() {
                self.refuse_unanswered_reads();
            }
            self.announcer.on_leader();
            self.asking.ask_again();
        }
        if role != before {
            let patience = role.is_leader.then_some(self.config.election_timeout);
            self.reports.on_leader(self.now, patience);
            self.trust.on_leader();
        }
        if crate::planted!("repeated-too-early") && role.term != before.term {
            self.on_term_applied(role.term);
        }
        self.settle_transfers();
        self.send_unsent();
        if role.is_leader {
            self.answer_own_questions();
        }
    }

    fn handle_installed(&mut self, image: Arc<dyn StateRead>) -> Result<(), StorageFault> {
        self.ledgers = Ledgers::open(&self.config, Arc::clone(&image))?;
        self.epoch += 1;
        self.on_company();
        self.shipped.clear();
        self.stored_revision = self.ledgers.kv.revision();
        self.image = image;
        self.draft = Draft { has_new_view: true, has_new_facts: true, ..Draft::default() };
        self.compact_at = self.ledgers.kv.is_compacting().then_some(self.now);
        self.hub.on_installed(self.ledgers.kv.now());
        self.announcer.on_facts();
        let SnapshotMark { index, term, .. } = self.ledgers.progress.mark;
        self.pending.on_terms_skipped(term);
        self.on_repaired();
        self.committed = self.committed.max(index);
        self.note(Note::SnapshotApplied { index });
        let digest = self.ledgers.progress.digest;
        self.outputs.push_back(StateOutput::Applied { index, digest });
        if core::mem::take(&mut self.trust.owes_image) {
            self.take_snapshot()?;
        }
        Ok(())
    }

    fn handle_stored(&mut self, index: LogIndex, image: Arc<dyn StateRead>) {
        let covered = self.shipped.iter_mut().take_while(|s| s.index <= index);
        let (mut revision, mut finished) = (None, None);
        for shipped in covered {
            revision = Some(shipped.revision);
            finished = shipped.finished.take().or(finished);
        }
        while self.shipped.front().is_some_and(|s| s.index <= index && s.sync.is_none()) {
            self.shipped.pop_front();
        }
        if let Some(revision) = revision {
            self.stored_revision = revision;
            self.show(image);
        }
        if let Some(finished) = finished {
            self.release_physical(finished);
        }
    }

    /// Reads from that image from now on, and lets go of the one so far.
    fn show(&mut self, image: Arc<dyn StateRead>) {
        self.image = Arc::clone(&image);
        self.ledgers.kv.on_stored(self.stored_revision, image);
        if self.compact_at.is_none() && self.ledgers.kv.is_compacting() {
            self.compact_at = Some(self.now);
        }
        self.draft.has_new_view = true;
    }

    fn handle_synced(&mut self, index: LogIndex) {
        while self.shipped.front().is_some_and(|s| s.index <= index) {
            if let Some(mark) = self.shipped.pop_front().and_then(|s| s.sync) {
                self.outputs.push_back(StateOutput::Synced { mark });
            }
        }
    }

    fn take_snapshot(&mut self) -> Result<(), StorageFault> {
        if self.trust.is_fenced() {
            self.trust.owes_image = true;
            return Ok(());
        }
        let mark = Progress::load(self.image.as_ref())?.mark;
        let image = Arc::clone(&self.image);
        self.outputs.push_back(StateOutput::SnapshotTaken { mark, image });
        Ok(())
    }
}

impl Machine for State {
    type Input = StateInput;
    type Output = StateOutput;

    fn handle(&mut self, now: Time, input: StateInput) {
        if self.is_halted {
            return;
        }
        self.advance(now);
        if input.is_service() {
            self.hub.note_served(self.now);
        }
        match input {
            StateInput::Request { token, who, request } => {
                self.handle_request(token, who, request);
            }
            StateInput::Read { token } => self.enter_lane(Reader::Client(token)),
            StateInput::StreamOpened { stream, frame_bytes_max } => {
                self.hub.open(stream, frame_bytes_max);
            }
            StateInput::StreamMessage { stream, who, message } => {
                self.handle_watch(stream, who, message);
            }
            StateInput::TokenUsed { token } => self.handle_token_used(&token),
            StateInput::StreamReady { stream, frames } => {
                self.hub.handle_ready(self.now, stream, frames);
            }
            StateInput::StreamClosed { stream } => self.hub.close(stream),
            StateInput::Committed { entries } => self.handle_committed(entries),
            StateInput::BarrierReached { context, index } => {
                self.handle_reached(context, index);
            }
            StateInput::BarrierLost { .. } => {}
            StateInput::ProposalDropped { id, in_term } => self.handle_dropped(id, in_term),
            StateInput::Role(role) => self.handle_role(role),
            StateInput::Followers(followers) => self.followers = followers,
            StateInput::CommitIndex { index } => self.committed = self.committed.max(index),
            StateInput::Stored { index, image } => self.handle_stored(index, image),
            StateInput::Relaid { image } => self.show(image),
            StateInput::Synced { index } => self.handle_synced(index),
            StateInput::Installed { image } => {
                if let Err(fault) = self.handle_installed(image) {
                    self.halt(fault);
                }
            }
            StateInput::Damaged { fault } => self.fence(Doubt::Damaged(fault)),
            StateInput::Correction { from, correction } => {
                self.handle_correction(from, &correction);
            }
            StateInput::TakeSnapshot => self.try_to(Self::take_snapshot),
            StateInput::Ask { from, ask } => self.handle_ask(from, ask),
            StateInput::Answer { answer, .. } => self.handle_answer(answer),
            StateInput::ChangeWish { from, wish } => self.handle_wish(from, wish),
            StateInput::ChangeRefusal { refusal, .. } => self.handle_refusal(refusal),
            StateInput::Report { from, report } => self.handle_report(from, &report),
            StateInput::DbSize { allocated, in_use, is_disk_low } => {
                self.db_size = (allocated, in_use);
                self.draft.has_new_view = true;
                self.handle_disk(is_disk_low);
            }
            StateInput::Memory(memory) => {
                self.memory = memory;
                self.draft.has_new_view = true;
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.is_halted {
            return;
        }
        self.advance(now);
        self.on_late_requests();
        self.settle_transfers();
        self.on_late_reads();
        self.on_late_reports();
        self.on_upkeep();
        if self.compact_at.is_some_and(|at| at <= self.now) {
            self.try_to(Self::on_compaction);
        }
        self.hub.handle_timeout(self.now);
    }

    fn poll_output(&mut self) -> Option<StateOutput> {
        if self.outputs.is_empty() && !self.is_halted {
            self.settle();
        }
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        if self.is_halted {
            return None;
        }
        let catch_up = self.hub.catch_up_due().filter(|_| !self.trust.is_fenced());
        let catch_up = catch_up.map(|at| Wake { at: at.max(self.now), timer: "watch catch-up" });
        let compact = self.compact_at.map(|at| Wake { at, timer: "compaction" });
        let leader = self.role.is_leader;
        let may_ask = self.role.leader.is_some() && !leader;
        let wakes = [
            catch_up,
            compact,
            self.pending.poll_timeout(),
            self.transfer_timeout(),
            self.lane.poll_timeout(),
            self.asking.poll_timeout(may_ask),
            self.parked.first().map(|(at, _)| Wake { at: *at, timer: "renewal" }),
            self.presence(),
            self.trust.poll_timeout().filter(|_| self.role.leader.is_some()),
            self.announcer.poll_timeout().filter(|_| self.role.leader.is_some()),
            self.reports.poll_timeout(leader).filter(|_| self.role.leader.is_some()),
            self.compactor.poll_timeout(),
            self.ledgers.leases.poll_timeout().filter(|_| leader),
            self.hub.poll_timeout(),
        ];
        wakes.into_iter().fold(None, Wake::earlier)
    }
}
