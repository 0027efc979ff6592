//! Requests that go through the log: in at the door, out of `apply/`.

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::etcdserverpb::{
    self as pb, AlarmRequest, AlarmType, InternalRaftRequest, LeaseRevokeRequest,
    alarm_request::AlarmAction,
};

use super::repair::Doubt;
use super::{Reader, State};
use crate::apply::Outcome;
use crate::auth::Identity;
use crate::door::admit::{self, Conditions};
use crate::door::pending::{Sending, Waiter};
use crate::error::Refusal;
use crate::ids::{LeaseId, RequestId, Term, Token};
use crate::input::Request;
use crate::limits::{CHECKPOINTS_PER_ENTRY_MAX, REVOKES_PER_PASS_MAX};
use crate::output::{Response, StateOutput};
use crate::pinch::Site;
use crate::storage::{Entry, EntryKind};
use crate::upkeep::announce::attributes_due;

impl State {
    pub(super) fn handle_request(
        &mut self,
        token: Token,
        who: Result<Identity, Refusal>,
        request: Request,
    ) {
        if let Err(refusal) = self.admit(token, who, request) {
            self.respond(token, Err(refusal));
        }
    }

    /// Lets a request in and sends it on its way.
    fn admit(
        &mut self,
        token: Token,
        who: Result<Identity, Refusal>,
        request: Request,
    ) -> Result<(), Refusal> {
        if self.trust.is_fenced() {
            return Err(Refusal::Corrupt);
        }
        admit::check_shape(&request, &self.config)?;
        let who = who?;
        self.check_rights(&who, &request)?;
        let conditions = Conditions {
            config: &self.config,
            apply_gap: self.committed.get().saturating_sub(self.view.facts.applied.get()),
            db_size: self.db_size.0,
            is_disk_low: self.is_disk_low,
            memory: self.memory,
            is_busy: self.pending.len() > 0,
        };
        admit::check_backlog(&conditions)?;
        admit::check_memory(&request, &conditions)?;
        if admit::exceeds_quota(&request, &conditions) {
            self.raise_no_space();
            return Err(Refusal::NoSpace);
        }
        if let Some(admitted) = self.admit_change(token, &request) {
            return admitted;
        }
        match request {
            Request::MoveLeader(request) => return self.move_leader(token, request),
            Request::Downgrade(request) => return self.admit_downgrade(token, &request),
            Request::LeaseKeepAlive(_) | Request::LeaseTimeToLive(_) => {
                return self.admit_question(token, request);
            }
            Request::LeaseLeases(_) => {
                let leases = self.ledgers.leases.list().into_iter();
                let leases = leases.map(|id| pb::LeaseStatus { id: id.get() });
                let response = pb::LeaseLeasesResponse {
                    header: Some(self.header()),
                    leases: leases.collect(),
                };
                self.respond(token, Ok(Response::LeaseLeases(response)));
                return Ok(());
            }
            _ => {}
        }
        let waiter = match &request {
            Request::Compact(compaction) if compaction.physical => Waiter::Physical(token),
            _ => Waiter::Client(token),
        };
        let has_space = admit::check_space(&request, &self.ledgers.alarms);
        let Some(mut envelope) = admit::envelope(request) else { return Ok(()) };
        if let Some(grant) = &mut envelope.lease_grant
            && grant.id == 0
        {
            grant.id = self.pick_lease_id();
        }
        let proposal = self.write_down(&who, envelope)?;
        // etcd says this last of all, when it applies the entry; here it is told before.
        has_space?;
        self.submit(proposal, waiter)
    }

    /// A lease id nobody has, positive.
    fn pick_lease_id(&mut self) -> i64 {
        loop {
            let id = (self.pending.next_id().get() & i64::MAX as u64) as i64;
            if id != 0 && !self.ledgers.leases.exists(LeaseId(id)) {
                return id;
            }
        }
    }

    /// Hands an entry to the replica and notes who waits for it.
    pub(super) fn propose(
        &mut self,
        envelope: InternalRaftRequest,
        waiter: Waiter,
    ) -> Result<(), Refusal> {
        let proposal = self.write_down(&self.own_identity(), envelope)?;
        self.submit(proposal, waiter)
    }

    fn write_down(
        &mut self,
        who: &Identity,
        envelope: InternalRaftRequest,
    ) -> Result<(RequestId, Bytes), Refusal> {
        let id = self.pending.next_id();
        Ok((id, admit::encode((id, who), envelope, &self.config)?))
    }

    fn submit(&mut self, (id, data): (RequestId, Bytes), waiter: Waiter) -> Result<(), Refusal> {
        self.enter_log(id, data, EntryKind::Normal, waiter)
    }

    /// Notes who waits for an entry, and sends it to the leader as soon as there is one.
    pub(super) fn enter_log(
        &mut self,
        id: RequestId,
        data: Bytes,
        kind: EntryKind,
        waiter: Waiter,
    ) -> Result<(), Refusal> {
        let sending = self.pending.insert(self.now, (id, data, kind), waiter, self.led_in())?;
        self.send_to_leader(sending);
        Ok(())
    }

    /// The term, if somebody is known to lead in it.
    fn led_in(&self) -> Option<Term> {
        self.role.leader.map(|_| self.role.term)
    }

    fn send_to_leader(&mut self, all: impl IntoIterator<Item = Sending>) {
        let (Some(leader), in_term) = (self.role.leader, self.role.term) else { return };
        for sending in all {
            if sending.kind != EntryKind::Normal {
                self.send_change(leader, sending);
                continue;
            }
            let Sending { id, data, kind, may_forward } = sending;
            let propose = StateOutput::Propose { id, data, kind, in_term, may_forward };
            self.outputs.push_back(propose);
        }
    }

    /// What waited for a leader goes to the one that is known, if one is.
    pub(super) fn send_unsent(&mut self) {
        if let Some(term) = self.led_in() {
            let unsent = self.pending.send(term);
            self.send_to_leader(unsent);
        }
    }

    /// The first entry of a term is applied: what was proposed in earlier terms and was not
    /// applied never will be.
    pub(super) fn on_term_applied(&mut self, term: Term) {
        for id in self.pending.on_term_applied(term) {
            if let Some(waiter) = self.pending.remove(id) {
                self.give_up(waiter, Refusal::TimeoutDueToLeaderFail);
            }
        }
        self.send_unsent();
    }

    /// A disk without room is told of before it fails: then the member could only halt.
    pub(super) fn handle_disk(&mut self, is_low: bool) {
        let was_low = core::mem::replace(&mut self.is_disk_low, is_low);
        if is_low && !was_low && !self.trust.is_fenced() {
            self.raise_no_space();
        }
    }

    /// Once is enough; a request that was refused meanwhile may have raised it again.
    fn raise_no_space(&mut self) {
        if self.ledgers.alarms.has(self.config.member, AlarmType::Nospace) {
            return;
        }
        let alarm = AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: self.config.member.get(),
            alarm: AlarmType::Nospace as i32,
        };
        let envelope =
            InternalRaftRequest { alarm: Some(alarm.into()), ..InternalRaftRequest::default() };
        // Refused only when everything else is refused too; the next put raises it again.
        let _ = self.propose(envelope, Waiter::Upkeep);
    }

    pub(super) fn handle_committed(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            // The image that is waited for has it.
            if self.trust.is_fenced() {
                return;
            }
            let before = self.ledgers.progress.mark.term;
            match self.ledgers.apply(self.now, entry) {
                Ok(Some(outcome)) => self.handle_outcome(entry, outcome),
                Ok(None) => {}
                Err(fault) => return self.fence(Doubt::Damaged(fault)),
            }
            self.trust.trail.note((entry.index, self.ledgers.progress.digest));
            if entry.term > before {
                self.on_term_applied(entry.term);
            }
        }
    }

    fn handle_outcome(&mut self, entry: &Entry, outcome: Outcome) {
        self.committed = self.committed.max(entry.index);
        if self.role.is_leader && entry.term == self.role.term && !self.ledgers.leases.is_primary()
        {
            // Everything of earlier terms is applied: checkpoints among it can no longer shorten
            // what is renewed from here on.
            self.ledgers.leases.promote(self.now, self.config.election_timeout);
            self.announcer.on_facts();
        }
        if let Some(is_accepted) = outcome.change {
            let index = entry.index;
            self.outputs.push_back(StateOutput::Changed { index, is_accepted });
            self.changes.on_settled();
        }
        let response = outcome.result.as_ref().and_then(|result| result.as_ref().ok());
        self.tally.note_applied(response, outcome.changes.as_ref());
        if outcome.has_new_conf_state {
            self.on_company();
        }
        let draft = &mut self.draft;
        draft.has_applied = true;
        draft.has_new_conf_state |= outcome.has_new_conf_state;
        draft.entries_since_sync += 1;
        draft.bytes_since_sync += entry.data.len() as u64;
        draft.writes.extend(outcome.writes);
        if outcome.has_new_facts {
            draft.has_new_facts = true;
            self.announcer.on_facts();
        }
        if let Some(note) = outcome.note {
            self.note(note);
        }
        let is_compaction = matches!(outcome.result, Some(Ok(Response::Compact(_))));
        if is_compaction {
            self.compact_at.get_or_insert(self.now);
        }
        // The answer first: whoever made a change may know of it before those who watch.
        match (outcome.id, outcome.result) {
            (Some(id), Some(result)) => self.answer(id, result),
            // What the members tell each other has no answer, and is no longer under way.
            (Some(id), None) => drop(self.pending.remove(id)),
            (None, _) => {}
        }
        if let Some(changes) = outcome.changes {
            self.try_to(|this| this.hub.on_applied(&changes, this.ledgers.kv.now()));
        }
    }

    /// Finds whoever waits for proposal `id` and answers.
    fn answer(&mut self, id: RequestId, mut result: Result<Response, Refusal>) {
        let Some(waiter) = self.pending.remove(id) else { return };
        if let Ok(response) = &mut result {
            let mut header = self.header();
            if response.is_about_members() {
                // Membership has no revision.
                header.revision = 0;
            }
            response.set_header(header);
        }
        match waiter {
            Waiter::Client(token) => self.respond(token, result),
            Waiter::Physical(token) if result.is_ok() => {
                self.physical.push((self.ledgers.kv.compacted(), token));
            }
            Waiter::Physical(token) => self.respond(token, result),
            Waiter::Expiry(_) | Waiter::Checkpoint | Waiter::Upkeep => {}
        }
    }

    pub(super) fn handle_dropped(&mut self, id: RequestId, in_term: Term) {
        self.on_change_dropped(id);
        if !self.pending.is_sent_in(id, in_term) {
            return;
        }
        // A leader that is still the same, and yet does not take it, has too much to do.
        let is_refused = self.led_in() == Some(in_term);
        if !is_refused && self.pending.take_back(id) {
            return self.send_unsent();
        }
        if let Some(waiter) = self.pending.remove(id) {
            self.give_up(waiter, Refusal::RequestTooManyRequests);
        }
    }

    pub(super) fn give_up(&mut self, waiter: Waiter, refusal: Refusal) {
        match waiter {
            Waiter::Client(token) | Waiter::Physical(token) => self.respond(token, Err(refusal)),
            Waiter::Expiry(lease) => self.ledgers.leases.on_revoke_failed(lease, self.now),
            Waiter::Checkpoint | Waiter::Upkeep => {}
        }
    }

    pub(super) fn on_late_requests(&mut self) {
        while let Some(waiter) = self.pending.poll_late(self.now) {
            self.give_up(waiter, Refusal::Timeout);
        }
    }

    /// What the others must know of this member, or all of the cluster.
    pub(super) fn announce(&mut self) {
        if self.role.leader.is_none() || !self.announcer.is_due(self.now) {
            return;
        }
        let attributes = || attributes_due(&self.config, &self.ledgers.members);
        let due = self.version_due().or_else(attributes);
        if let Some(envelope) = self.announcer.poll(self.now, due) {
            // Made again after a while if it is refused or lost.
            let _ = self.propose(envelope, Waiter::Upkeep);
        }
    }

    /// Leases that ran out, old revisions: what the core asks of itself.
    pub(super) fn on_upkeep(&mut self) {
        self.compact_old();
        if !self.role.is_leader || self.trust.is_fenced() {
            return;
        }
        let revokes_max = self.config.pinch.bound(Site::Revokes, REVOKES_PER_PASS_MAX);
        for lease in self.ledgers.leases.expired(self.now, revokes_max) {
            self.tally.leases_expired += 1;
            let revoke = LeaseRevokeRequest { id: lease.get() };
            let envelope = InternalRaftRequest {
                lease_revoke: Some(revoke.into()),
                ..InternalRaftRequest::default()
            };
            if self.propose(envelope, Waiter::Expiry(lease)).is_err() {
                self.ledgers.leases.on_revoke_failed(lease, self.now);
            }
        }
        let checkpoints_max = self.config.pinch.bound(Site::Checkpoints, CHECKPOINTS_PER_ENTRY_MAX);
        let checkpoints = self.ledgers.leases.checkpoints_due(self.now, checkpoints_max);
        if !checkpoints.is_empty() {
            self.propose_checkpoints(checkpoints);
        }
    }

    fn compact_old(&mut self) {
        let (kv, may_ask) = (&self.ledgers.kv, self.role.is_leader);
        let target = self.compactor.poll(self.now, kv.revision(), kv.compacted(), may_ask);
        if let Some(target) = target {
            let compaction = pb::CompactionRequest { revision: target.get(), physical: false };
            let envelope = InternalRaftRequest {
                compaction: Some(compaction.into()),
                ..InternalRaftRequest::default()
            };
            let _ = self.propose(envelope, Waiter::Upkeep);
        }
    }

    /// Lost checkpoints are made again when they are next due.
    pub(super) fn propose_checkpoints(&mut self, checkpoints: Vec<pb::LeaseCheckpoint>) {
        let request = pb::LeaseCheckpointRequest { checkpoints };
        let envelope = InternalRaftRequest {
            lease_checkpoint: Some(request.into()),
            ..InternalRaftRequest::default()
        };
        let _ = self.propose(envelope, Waiter::Checkpoint);
    }

    pub(super) fn enter_lane(&mut self, reader: Reader) {
        let client = match &reader {
            Reader::Client(token) => Some(*token),
            _ => None,
        };
        let entered = match self.trust.is_fenced() {
            true => Err(Refusal::Corrupt),
            false => self.lane.enter(self.now, reader),
        };
        if let Err(refusal) = entered
            && let Some(token) = client
        {
            self.outputs.push_back(StateOutput::ReadReady { token, result: Err(refusal) });
        }
    }
}
