//! The only room that touches the `raft` crate's node.
//!
//! Every call into the crate goes through [`Driver::call`], which takes its luck away again: the
//! crate draws election timeouts from the operating system's randomness, and here they are a
//! function of (seed, member, boot, term, campaign).
//!
//! The crate's own batching of appends stays off: it joins new entries to an earlier, empty
//! append without comparing their indexes, which goes wrong when several steps are taken between
//! two readies, as they are here. Proposals are stepped in one message and what leaves is joined
//! by `order_messages`, which does compare.

mod group;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use ::raft::eraftpb::{self, MessageType};
use ::raft::{RawNode, Ready, SnapshotStatus, StateRole};
use bytes::Bytes;
use quorate_proto::raftpb;

use self::group::has_change;
use super::confchange::{self, ConfHistory};
use super::log::{Log, Point};
use super::luck::Luck;
use super::message::{
    Standing, encode_message, export_entry, export_hard_state, export_mark, import_entry,
    import_mark, order_messages,
};
use super::opening::{crate_config, load_log};
use crate::config::Config;
use crate::error::{Misbehaviour, StorageFault};
use crate::ids::{LogIndex, MemberId, Term};
use crate::input::Role;
use crate::limits;
use crate::storage::{Entry, EntryKind, HardState, LogContents, SnapshotMark};

/// Read barriers a leader keeps for others and itself.
const READS_MAX: usize = limits::PENDING_READS_MAX;

/// One member of a raft group, deterministic.
pub(crate) struct Driver {
    node: RawNode<Log>,
    luck: Luck,
    history: ConfHistory,
    /// Barriers that wait for the leader's first commit in its term.
    early_reads: Vec<eraftpb::Message>,
    /// The newest term in which requests for votes have left.
    asked_votes_in: u64,
    /// The term in which an image was asked for last.
    asked_image_in: u64,
    /// Term and vote as they were last handed out to be persisted.
    vote: (Term, u64),
    /// How far the log was known to be committed when that last went to the disk with a sync.
    commit_synced: LogIndex,
    /// Last entry handed out as committed.
    emitted: LogIndex,
    /// Changes of the group among those, not yet judged.
    handed_out: BTreeMap<LogIndex, Entry>,
    /// Where a sole voter last tried to lead: not tried again until something changed.
    campaigned_at: Option<(u64, u64)>,
}

/// What a member must do now, taken out of the crate in one go.
#[derive(Default)]
pub(crate) struct Work {
    /// The crate's number for it, to be reported once it is persisted.
    pub(crate) ready: u64,
    pub(crate) hard_state: Option<HardState>,
    /// Whether what leaves later must wait for it: a new vote, or a change of the group committed.
    pub(crate) is_binding: bool,
    pub(crate) entries: Vec<Entry>,
    pub(crate) snapshot: Option<SnapshotMark>,
    pub(crate) must_sync: bool,
    pub(crate) messages: Vec<raftpb::Message>,
    pub(crate) committed: Vec<Entry>,
    pub(crate) reads: Vec<(Vec<u8>, LogIndex)>,
}

impl Work {
    /// Whether there is anything for the disk.
    pub(crate) fn has_batch(&self) -> bool {
        self.hard_state.is_some() || !self.entries.is_empty() || self.snapshot.is_some()
    }
}

impl Driver {
    /// Takes up where `stored` and `log` left off; begins a new group if both are empty and
    /// `config` names its members.
    pub(crate) fn open(
        config: &Config,
        stored: &SnapshotMark,
        log: LogContents,
    ) -> Result<Self, StorageFault> {
        if config.member.get() == 0 || config.heartbeat_interval.is_zero() {
            return Err(StorageFault::new("a member needs an id and a heartbeat interval"));
        }
        let is_fresh = stored.index.get() == 0 && log == LogContents::default();
        // What more is known of it is not on disk by itself.
        let commit_synced = log.hard_state.commit;
        let start = load_log(stored, log)?;
        let history = ConfHistory::open(&start.mark, stored, &start.entries);
        let entries = start.entries.iter().map(import_entry).collect();
        let point = Point { index: start.mark.index.get(), term: start.mark.term.get() };
        let conf = if stored.index.get() == 0 {
            eraftpb::ConfState::default()
        } else {
            let is_old =
                crate::planted!("group-of-log-mark") && !start.mark.conf_state.voters.is_empty();
            let group = if is_old { &start.mark.conf_state } else { &stored.conf_state };
            confchange::parse_conf_state(group)
                .ok_or_else(|| StorageFault::new("the stored group is impossible"))?
        };
        let hard = eraftpb::HardState {
            term: start.hard_state.term.get(),
            vote: start.hard_state.vote,
            commit: start.hard_state.commit.get(),
            ..eraftpb::HardState::default()
        };
        let window = Log::open(point, entries, hard, conf);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&crate_config(config, stored.index), window, &logger)
            .map_err(|error| StorageFault::new(format!("raft does not open: {error}")))?;
        let mut driver = Self {
            node,
            luck: Luck::new(config),
            history,
            early_reads: Vec::new(),
            asked_votes_in: 0,
            asked_image_in: 0,
            vote: (start.hard_state.term, start.hard_state.vote),
            commit_synced,
            emitted: stored.index,
            handed_out: BTreeMap::new(),
            campaigned_at: None,
        };
        driver.call(|_| ());
        driver.node.mut_store().note_applied(stored.index.get());
        if is_fresh && !config.bootstrap.is_empty() {
            driver.bootstrap(confchange::encode_bootstrap(&config.bootstrap)?);
        }
        Ok(driver)
    }

    /// The log begins as if a leader of term 1 had added every member and all had agreed.
    fn bootstrap(&mut self, entries: Vec<Entry>) {
        let entries: Vec<_> = entries.iter().map(import_entry).collect();
        self.call(|node| {
            node.raft.become_follower(1, 0);
            node.raft.raft_log.append(&entries);
            node.raft.raft_log.committed = entries.len() as u64;
        });
    }

    /// Calls the crate, and replaces the luck it may have drawn.
    fn call<R>(&mut self, step: impl FnOnce(&mut RawNode<Log>) -> R) -> R {
        let result = step(&mut self.node);
        let timeout = self.luck.timeout(self.node.raft.term);
        self.node.raft.set_randomized_election_timeout(timeout);
        result
    }

    /// Who leads, as far as this member knows.
    pub(crate) fn role(&self) -> Role {
        let raft = &self.node.raft;
        Role {
            term: Term(raft.term),
            leader: (raft.leader_id != 0).then_some(MemberId(raft.leader_id)),
            is_leader: raft.state == StateRole::Leader,
        }
    }

    /// Last entry known to be committed.
    pub(crate) fn committed(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.committed)
    }

    /// Last entry durable here.
    pub(crate) fn persisted(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.persisted)
    }

    /// Last entry applied.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.applied)
    }

    /// Last entry in the log.
    pub(crate) fn accepted(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.last_index())
    }

    /// Last entry handed out as committed.
    pub(crate) fn emitted(&self) -> LogIndex {
        self.emitted
    }

    /// Last entry that is gone from memory.
    pub(crate) fn purged(&self) -> LogIndex {
        LogIndex(self.node.store().start().index)
    }

    /// Whether this member is the only voter of its group.
    pub(crate) fn is_sole_voter(&self) -> bool {
        let raft = &self.node.raft;
        let voters = raft.prs().conf().voters().ids();
        raft.promotable() && voters.len() == 1
    }

    /// Whether entries wait to be handed out for the disk.
    pub(crate) fn has_unwritten(&self) -> bool {
        let log = &self.node.raft.raft_log;
        !log.unstable_entries().is_empty() || log.unstable_snapshot().is_some()
    }

    /// Appends or forwards proposals, all or none.
    pub(crate) fn propose(&mut self, proposals: impl Iterator<Item = Bytes>) -> bool {
        if self.node.raft.leader_id == 0 || self.is_full() {
            return false;
        }
        let entry = |data| eraftpb::Entry { data, ..eraftpb::Entry::default() };
        let mut message = self.own_message(MessageType::MsgPropose);
        message.set_entries(proposals.map(entry).collect::<Vec<_>>().into());
        self.call(|node| node.raft.step(message)).is_ok()
    }

    /// Asks for a read index; the answer comes with `context`.
    pub(crate) fn ask_read(&mut self, context: Bytes) {
        let mut message = self.own_message(MessageType::MsgReadIndex);
        let entry = eraftpb::Entry { data: context, ..eraftpb::Entry::default() };
        message.set_entries(Vec::from([entry]).into());
        self.step_read(message);
    }

    /// Barriers that wait for a quorum's answers.
    pub(crate) fn reads_waiting(&self) -> usize {
        self.node.raft.pending_read_count()
    }

    /// Sends all followers a heartbeat, which asks for what barriers wait for.
    pub(crate) fn ping(&mut self) {
        self.call(RawNode::ping);
    }

    /// Whether more is waiting to be applied than memory is meant for.
    fn is_full(&self) -> bool {
        self.node.store().unapplied_bytes() >= limits::UNCOMMITTED_BYTES_MAX
    }

    fn own_message(&self, kind: MessageType) -> eraftpb::Message {
        let mut message = eraftpb::Message::default();
        message.set_msg_type(kind);
        message.from = self.node.raft.id;
        message
    }

    /// The crate forgets a read that comes before the leader's first commit, so it waits here.
    fn step_read(&mut self, message: eraftpb::Message) {
        let raft = &self.node.raft;
        let is_leader = raft.state == StateRole::Leader;
        if is_leader && raft.pending_read_count() + self.early_reads.len() >= READS_MAX {
            return;
        }
        if is_leader && !raft.commit_to_current_term() {
            self.early_reads.push(message);
            return;
        }
        // Refusals come as no answer: whoever asked asks again.
        let _ = self.call(|node| node.raft.step(message));
    }

    fn step_early_reads(&mut self) {
        if self.early_reads.is_empty() {
            return;
        }
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            self.early_reads.clear();
        } else if raft.commit_to_current_term() {
            for message in core::mem::take(&mut self.early_reads) {
                self.step_read(message);
            }
        }
    }

    /// A peer's message.
    pub(crate) fn handle_message(
        &mut self,
        from: MemberId,
        message: raftpb::Message,
        may_campaign: bool,
    ) -> Result<(), Misbehaviour> {
        let standing = self.standing(from, may_campaign);
        let Some(message) = standing.parse(from, message)? else { return Ok(()) };
        if message.get_msg_type() == MessageType::MsgReadIndex {
            self.step_read(message);
            return Ok(());
        }
        if has_change(&message) {
            self.propose_changes(message);
            return Ok(());
        }
        match self.call(|node| node.step(message)) {
            Err(::raft::Error::StepPeerNotFound) => Err(Misbehaviour::Stranger),
            // A forwarded proposal was not taken; its member will give up waiting.
            _ => Ok(()),
        }
    }

    fn standing(&self, from: MemberId, may_campaign: bool) -> Standing {
        let raft = &self.node.raft;
        Standing {
            id: raft.id,
            term: raft.term,
            role: raft.state,
            leader: raft.leader_id,
            last_index: raft.raft_log.last_index(),
            committed: raft.raft_log.committed,
            committed_term: raft.raft_log.term(raft.raft_log.committed).unwrap_or(0),
            asked_votes_in: self.asked_votes_in,
            may_campaign,
            is_full: self.is_full(),
            matched: raft.prs().get(from.get()).map(|progress| progress.matched),
        }
    }

    /// Requests for votes in `term` have left.
    pub(crate) fn note_votes_asked(&mut self, term: u64) {
        self.asked_votes_in = self.asked_votes_in.max(term);
    }

    /// One tick of the clock.
    pub(crate) fn tick(&mut self) {
        let was_leader = self.node.raft.state == StateRole::Leader;
        self.call(|node| node.tick());
        let raft = &self.node.raft;
        let is_new_campaign = !was_leader && raft.promotable() && raft.election_elapsed == 0;
        if is_new_campaign {
            self.luck.note_campaign();
            self.call(|_| ());
        }
    }

    /// Stands for election at once; for a sole voter whose log is on disk.
    pub(crate) fn campaign_alone(&mut self) {
        let raft = &self.node.raft;
        let at = (raft.term, raft.raft_log.applied);
        if raft.state == StateRole::Leader || self.campaigned_at == Some(at) {
            return;
        }
        self.campaigned_at = Some(at);
        // Refused while changes of the group are not applied: tried again as they are.
        let _ = self.call(|node| node.campaign());
    }

    /// Everything up to the crate's `ready` is on disk.
    pub(crate) fn handle_persisted(&mut self, ready: u64) {
        self.call(|node| node.on_persist_ready(ready));
    }

    /// `State` has applied up to `index`, which was handed out.
    pub(crate) fn handle_applied(&mut self, index: LogIndex) {
        if index > self.applied() {
            self.call(|node| node.advance_apply_to(index.get()));
            self.node.mut_store().note_applied(index.get());
        }
    }

    /// Hands leadership to `to`, or to the active voter that is furthest. Whether it was begun.
    pub(crate) fn transfer_leader(&mut self, to: Option<MemberId>) -> bool {
        let Some(to) = to.map_or_else(|| self.successor(), |to| Some(to.get())) else {
            return false;
        };
        let raft = &self.node.raft;
        let is_voter = raft.prs().conf().voters().contains(to);
        if raft.state != StateRole::Leader || !is_voter {
            return false;
        }
        self.call(|node| node.transfer_leader(to));
        true
    }

    fn successor(&self) -> Option<u64> {
        let raft = &self.node.raft;
        let voters = raft.prs().conf().voters();
        let others = raft.prs().iter().filter(|&(&id, _)| id != raft.id && voters.contains(id));
        let rank = |&(&id, progress): &(&u64, &::raft::Progress)| {
            (progress.recent_active, progress.matched, core::cmp::Reverse(id))
        };
        others.max_by_key(rank).map(|(&id, _)| id)
    }

    /// Whether a successor is being asked to take over from this leader.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    /// Leads no longer, by its own decision.
    pub(crate) fn step_down(&mut self) {
        self.call(|node| {
            let term = node.raft.term;
            node.raft.become_follower(term, 0);
        });
    }

    /// Asks the leader for an image of what this member has already. The crate repeats it until
    /// the image is here, but for another leader it has to be begun anew.
    pub(crate) fn ask_image(&mut self) {
        let term = self.node.raft.term;
        if core::mem::replace(&mut self.asked_image_in, term) != term {
            self.node.raft.pending_request_snapshot = 0;
        }
        // Refused without a leader, and until its first entry is here: asked again with the clock.
        let _ = self.call(|node| node.request_snapshot());
    }

    /// Messages to `to` are being lost.
    pub(crate) fn handle_unreachable(&mut self, to: MemberId) {
        self.call(|node| node.report_unreachable(to.get()));
    }

    /// Sending an image to `to` has ended.
    pub(crate) fn handle_snapshot_sent(&mut self, to: MemberId, is_delivered: bool) {
        let status = if is_delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.call(|node| node.report_snapshot(to.get(), status));
        let is_sending =
            |progress: &::raft::Progress| progress.state == ::raft::ProgressState::Snapshot;
        if !self.node.raft.prs().iter().any(|(_, progress)| is_sending(progress)) {
            self.node.mut_store().offer_image(None);
        }
    }

    /// Whether an image was asked for and there is none.
    pub(crate) fn take_image_wish(&self) -> bool {
        self.node.store().take_image_wish()
    }

    /// An image is ready to be announced.
    pub(crate) fn offer_image(&mut self, mark: &SnapshotMark) -> Result<(), StorageFault> {
        let image = import_mark(mark)
            .ok_or_else(|| StorageFault::new("an image of an impossible group was taken"))?;
        self.node.mut_store().offer_image(Some(image));
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            return Ok(());
        }
        let purged = self.purged().get();
        let is_behind = |progress: &::raft::Progress| progress.next_idx <= purged;
        let mut behind: Vec<u64> = raft
            .prs()
            .iter()
            .filter(|&(&id, progress)| id != raft.id && is_behind(progress))
            .map(|(&id, _)| id)
            .collect();
        behind.sort_unstable();
        self.call(|node| behind.into_iter().for_each(|id| node.raft.send_append(id)));
        // Another would be the same until the store is further: those whom this one does not help
        // ask again with their next answer.
        self.take_image_wish();
        Ok(())
    }

    /// Cuts the log behind the durable point. Returns where it may begin now, if that moved.
    pub(crate) fn cut(&mut self, stored: LogIndex, config: &CutRule) -> Option<SnapshotMark> {
        let window = self.node.store();
        let wanted = window.cut_point(stored.get(), config.entries_kept, config.bytes_max);
        let (index, conf_state) = self.history.known_at(wanted)?;
        if index <= window.start().index {
            return None;
        }
        let term = Term(window.term_at(index)?);
        let mark = SnapshotMark { index: LogIndex(index), term, conf_state: conf_state.clone() };
        self.node.mut_store().cut(index);
        self.history.cut(index);
        Some(mark)
    }

    /// Takes out what is to be done, with at most `commits_max` entries as committed.
    pub(crate) fn take_work(&mut self, commits_max: usize) -> Option<Work> {
        self.step_early_reads();
        if !self.node.has_ready() {
            return None;
        }
        self.node.mut_store().limit_commits(commits_max);
        let mut ready = self.call(|node| node.ready());
        self.node.mut_store().limit_commits(usize::MAX);
        let work = self.read_ready(&mut ready);
        self.node.advance_append_async(ready);
        self.note_changes(&work.committed);
        Some(work)
    }

    /// Translates a ready, and makes what is to be persisted readable for the crate.
    fn read_ready(&mut self, ready: &mut Ready) -> Work {
        let mut hard_state = ready.hs().map(export_hard_state);
        let vote = hard_state.map_or(self.vote, |hard| (hard.term, hard.vote));
        let changes_vote = core::mem::replace(&mut self.vote, vote) != vote;
        let committed: Vec<Entry> =
            ready.take_committed_entries().iter().map(export_entry).collect();
        // Whoever is removed may be gone for good as soon as it hears of it: those that stay must
        // not forget that it was, or they wait for its vote for ever.
        let changes = committed.iter().filter(|entry| entry.kind != EntryKind::Normal);
        let last_change = changes.map(|entry| entry.index).next_back();
        let settles_change = last_change > Some(self.commit_synced);
        if settles_change {
            // What was committed may have been written before, without a sync.
            hard_state = Some(export_hard_state(&self.node.raft.hard_state()));
        }
        let must_sync = ready.must_sync() || settles_change;
        if let Some(hard_state) = hard_state.filter(|_| must_sync) {
            self.commit_synced = hard_state.commit;
        }
        let snapshot = (!ready.snapshot().is_empty()).then(|| export_mark(ready.snapshot()));
        let accepted = ready.take_entries();
        let mut messages = ready.take_messages();
        messages.extend(ready.take_persisted_messages());
        let term = self.node.raft.term;
        let encode = |message| encode_message(message, term);
        let encoded = messages.into_iter().filter_map(encode).collect();
        let reads = ready.take_read_states().into_iter();
        let work = Work {
            ready: ready.number(),
            hard_state,
            is_binding: changes_vote || settles_change,
            entries: accepted.iter().map(export_entry).collect(),
            snapshot,
            must_sync,
            messages: order_messages(encoded, limits::APPEND_BYTES_MAX as usize),
            committed,
            reads: reads.map(|read| (read.request_ctx, LogIndex(read.index))).collect(),
        };
        if let Some(mark) = &work.snapshot {
            let point = Point { index: mark.index.get(), term: mark.term.get() };
            self.node.mut_store().restart(point);
            self.history.restart(mark);
            self.handed_out.retain(|index, _| *index > mark.index);
            self.emitted = mark.index;
        }
        self.node.mut_store().append(accepted);
        if let Some(last) = work.committed.last() {
            self.emitted = last.index;
        }
        work
    }
}

/// How much of the log stays behind the durable point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutRule {
    pub(crate) entries_kept: u64,
    pub(crate) bytes_max: u64,
}
