//! Reads and questions: whatever must first be sure of being current.

use alloc::vec::Vec;

use quorate_proto::etcdserverpb as pb;
use quorate_proto::leasepb;
use quorate_proto::peer::{
    Answer, Ask, PeerMessage, answer::Outcome, ask::Question, peer_message::Message,
};

use super::{Reader, State};
use crate::error::Refusal;
use crate::ids::{BarrierId, LeaseId, LogIndex, MemberId, Token};
use crate::input::Request;
use crate::lease::Renewal;
use crate::limits::PENDING_REQUESTS_MAX;
use crate::output::{Response, StateOutput};
use crate::time::Time;

impl State {
    /// A header for an answer given now.
    pub(super) fn header(&self) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.config.cluster.get(),
            member_id: self.config.member.get(),
            revision: self.ledgers.kv.revision().get(),
            raft_term: self.role.term.get(),
        }
    }

    /// A barrier was answered: whoever leads led when it was asked for.
    pub(super) fn handle_reached(&mut self, context: BarrierId, index: LogIndex) {
        let asked_at = self.lane.handle_reached(context, index);
        if self.role.is_leader {
            self.confirmed = self.confirmed.max(asked_at);
            self.solitude.handle_reached(context, index);
        }
    }

    /// Answers every reader whose barrier is reached and applied.
    pub(super) fn release_readers(&mut self) {
        while let Some(readers) = self.lane.poll_current(self.ledgers.progress.mark.index) {
            for reader in readers {
                self.release(reader);
            }
        }
    }

    fn release(&mut self, reader: Reader) {
        let question = match &reader {
            Reader::Client(token) => {
                let (token, result) = (*token, Ok(self.view.clone()));
                return self.outputs.push_back(StateOutput::ReadReady { token, result });
            }
            Reader::Downgrade(token, wish) => return self.consider_downgrade(*token, *wish),
            Reader::Local(_, question) | Reader::Remote(_, _, question) => *question,
        };
        if !self.ledgers.leases.is_primary() {
            return self.hand_on(reader);
        }
        match self.consider(&question) {
            Some(outcome) => self.reply(reader, outcome),
            None => self.park(reader),
        }
    }

    /// Leadership went elsewhere, and questions of our own clients go after it. Members that asked
    /// us ask again by themselves.
    pub(super) fn hand_on(&mut self, reader: Reader) {
        if let Reader::Local(token, question) = reader
            && let Err(refusal) = self.asking.insert(self.now, token, question)
        {
            self.respond(token, Err(refusal));
        }
    }

    fn reply(&mut self, reader: Reader, outcome: Outcome) {
        match reader {
            Reader::Client(_) | Reader::Downgrade(..) => {}
            Reader::Local(token, _) => self.respond_to_question(token, outcome),
            Reader::Remote(from, id, _) => self.send_answer(from, id, outcome),
        }
    }

    /// Lets a renewal wait for the next entries: the lease's revoke, or a cleared checkpoint.
    fn park(&mut self, reader: Reader) {
        if self.parked.len() >= PENDING_REQUESTS_MAX {
            return self.refuse_reader(reader, Refusal::RequestTooManyRequests);
        }
        self.parked.push((self.now + self.config.request_timeout(), reader));
    }

    /// Entries were applied: some of those who wait for them may have their answer.
    pub(super) fn reconsider_parked(&mut self) {
        for (deadline, reader) in core::mem::take(&mut self.parked) {
            let (Reader::Local(_, question) | Reader::Remote(_, _, question)) = &reader else {
                continue;
            };
            match self.look_up(question) {
                Some(outcome) => self.reply(reader, outcome),
                None => self.parked.push((deadline, reader)),
            }
        }
    }

    /// The leader is gone: what was asked under it has no answer.
    pub(super) fn refuse_unanswered_reads(&mut self) {
        while let Some(readers) = self.lane.poll_unanswered() {
            self.tally.barriers_failed += readers.len() as u64;
            for reader in readers {
                self.refuse_reader(reader, Refusal::LeaderChanged);
            }
        }
    }

    pub(super) fn on_late_reads(&mut self) {
        while let Some(readers) = self.lane.poll_late(self.now) {
            self.tally.barriers_failed += readers.len() as u64;
            for reader in readers {
                self.refuse_reader(reader, Refusal::Timeout);
            }
        }
        let late = self.parked.iter().take_while(|(deadline, _)| *deadline <= self.now).count();
        for (_, reader) in self.parked.drain(..late).collect::<Vec<_>>() {
            self.refuse_reader(reader, Refusal::Timeout);
        }
        while let Some(token) = self.asking.poll_late(self.now) {
            let refusal =
                if self.role.leader.is_none() { Refusal::NoLeader } else { Refusal::Timeout };
            self.respond(token, Err(refusal));
        }
    }

    fn refuse_reader(&mut self, reader: Reader, refusal: Refusal) {
        match reader {
            Reader::Client(token) => {
                let result = Err(refusal);
                self.outputs.push_back(StateOutput::ReadReady { token, result });
            }
            Reader::Local(..) if refusal == Refusal::LeaderChanged => self.hand_on(reader),
            Reader::Local(token, _) | Reader::Downgrade(token, _) => {
                self.respond(token, Err(refusal));
            }
            Reader::Remote(from, id, _) => {
                self.send_answer(from, id, Outcome::Refused(refusal.name().into()));
            }
        }
    }

    /// A client's question about a lease: answered here by the leader, asked of it by others.
    pub(super) fn admit_question(&mut self, token: Token, request: Request) -> Result<(), Refusal> {
        let question = match request {
            Request::LeaseKeepAlive(keep_alive) => Question::KeepAlive(keep_alive),
            Request::LeaseTimeToLive(ask) => Question::Lease(leasepb::LeaseInternalRequest {
                lease_time_to_live_request: Some(ask),
            }),
            _ => return Ok(()),
        };
        if !self.role.is_leader {
            return self.asking.insert(self.now, token, question);
        }
        let reader = Reader::Local(token, question);
        if self.needs_barrier(&question) {
            return self.lane.enter(self.now, reader);
        }
        self.release(reader);
        Ok(())
    }

    /// Leadership came here: what was to be asked elsewhere is answered here.
    pub(super) fn answer_own_questions(&mut self) {
        for (token, question) in self.asking.drain() {
            if self.lane.enter(self.now, Reader::Local(token, question)).is_err() {
                self.respond(token, Err(Refusal::RequestTooManyRequests));
            }
        }
    }

    pub(super) fn send_questions(&mut self) {
        let Some(leader) = self.role.leader.filter(|_| !self.role.is_leader) else { return };
        for ask in self.asking.poll_due(self.now) {
            let message = PeerMessage { message: Some(Message::Ask(ask)) };
            self.outputs.push_back(StateOutput::Send { to: leader, message });
        }
    }

    pub(super) fn handle_ask(&mut self, from: MemberId, ask: Ask) {
        let Some(question) = ask.question else { return };
        if !self.role.is_leader || self.trust.is_fenced() {
            // The asker asks again, of whoever leads then.
            return;
        }
        let reader = Reader::Remote(from, ask.id, question);
        if !self.needs_barrier(&question) {
            self.release(reader);
        } else if self.lane.enter(self.now, reader).is_err() {
            let refused = Refusal::RequestTooManyRequests.name().into();
            self.send_answer(from, ask.id, Outcome::Refused(refused));
        }
    }

    /// A renewal of a lease this leader knows needs no barrier while it surely led a moment ago:
    /// should it be deposed already, its successor has granted every lease its full time anew, and
    /// an election timeout on top.
    fn needs_barrier(&self, question: &Question) -> bool {
        match question {
            Question::KeepAlive(renewal) => {
                let leases = &self.ledgers.leases;
                let knows_it = leases.is_primary() && leases.exists(LeaseId(renewal.id));
                let is_sure = knows_it && self.led_lately();
                if !is_sure {
                    crate::probe!("renewal asked for a barrier");
                }
                !is_sure
            }
            Question::Lease(_) => true,
        }
    }

    /// Whether a quorum confirmed that this member led less than half an election timeout ago; the
    /// other half is for clocks that differ. When followers were last *heard* says nothing: their
    /// messages may have been on the way for longer than a successor's election took.
    fn led_lately(&self) -> bool {
        let is_recent = |at: Time| self.now.since(at) < self.config.election_timeout / 2;
        self.confirmed.is_some_and(is_recent) || crate::planted!("renewed-by-deposed")
    }

    /// Answers a question from the book, or sets in motion what the answer waits for.
    fn consider(&mut self, question: &Question) -> Option<Outcome> {
        if let Question::KeepAlive(renewal) = question
            && let Ok(Renewal::ClearFirst) =
                self.ledgers.leases.renew(LeaseId(renewal.id), self.now)
        {
            let clear = self.ledgers.leases.clear(LeaseId(renewal.id));
            self.propose_checkpoints(alloc::vec![clear]);
            return None;
        }
        self.look_up(question)
    }

    /// Answers a question from the book; nothing if the answer waits for an entry.
    fn look_up(&mut self, question: &Question) -> Option<Outcome> {
        let outcome = match question {
            Question::KeepAlive(renewal) => {
                let id = LeaseId(renewal.id);
                let ttl = match self.ledgers.leases.renew(id, self.now) {
                    Ok(Renewal::Renewed { ttl }) => {
                        self.tally.leases_renewed += 1;
                        ttl
                    }
                    Ok(Renewal::ClearFirst | Renewal::Expired) => return None,
                    Err(Refusal::LeaseNotFound) => 0,
                    Err(refusal) => return Some(Outcome::Refused(refusal.name().into())),
                };
                let header = Some(self.header());
                Outcome::KeepAlive(pb::LeaseKeepAliveResponse { header, id: renewal.id, ttl })
            }
            Question::Lease(request) => {
                let ask = request.lease_time_to_live_request.unwrap_or_default();
                match self.ledgers.leases.time_to_live(LeaseId(ask.id), self.now, ask.keys) {
                    Ok(found) => Outcome::Lease(leasepb::LeaseInternalResponse {
                        lease_time_to_live_response: Some(pb::LeaseTimeToLiveResponse {
                            header: Some(self.header()),
                            id: ask.id,
                            ttl: found.ttl,
                            granted_ttl: found.granted,
                            keys: found.keys,
                        }),
                    }),
                    Err(refusal) => Outcome::Refused(refusal.name().into()),
                }
            }
        };
        Some(outcome)
    }

    fn send_answer(&mut self, to: MemberId, id: u64, outcome: Outcome) {
        let answer = Answer { id, outcome: Some(outcome) };
        let message = PeerMessage { message: Some(Message::Answer(answer)) };
        self.outputs.push_back(StateOutput::Send { to, message });
    }

    pub(super) fn handle_answer(&mut self, answer: Answer) {
        let Some(outcome) = answer.outcome else { return };
        if let Some(token) = self.asking.remove(answer.id) {
            self.respond_to_question(token, outcome);
        }
    }

    fn respond_to_question(&mut self, token: Token, outcome: Outcome) {
        let header = self.header();
        let result = match outcome {
            Outcome::KeepAlive(response) => {
                Ok(Response::LeaseKeepAlive(pb::LeaseKeepAliveResponse {
                    header: Some(header),
                    ..response
                }))
            }
            Outcome::Lease(response) => {
                let inner = response.lease_time_to_live_response.unwrap_or_default();
                Ok(Response::LeaseTimeToLive(pb::LeaseTimeToLiveResponse {
                    header: Some(header),
                    ..inner
                }))
            }
            Outcome::Refused(name) => Err(refusal_named(&name)),
        };
        self.respond(token, result);
    }
}

/// The refusal another member names; a name from another version is a time-out to the client.
pub(super) fn refusal_named(name: &str) -> Refusal {
    Refusal::ALL.iter().copied().find(|r| r.name() == name).unwrap_or(Refusal::Timeout)
}

impl Response {
    /// Whether it tells who is in the group.
    pub(crate) fn is_about_members(&self) -> bool {
        matches!(
            self,
            Self::MemberAdd(_)
                | Self::MemberRemove(_)
                | Self::MemberUpdate(_)
                | Self::MemberPromote(_)
        )
    }

    /// Fills in the header, which only the answering member can.
    pub(crate) fn set_header(&mut self, header: pb::ResponseHeader) {
        let place = match self {
            Self::Put(r) => &mut r.header,
            Self::DeleteRange(r) => &mut r.header,
            Self::Txn(r) => &mut r.header,
            Self::Compact(r) => &mut r.header,
            Self::LeaseGrant(r) => &mut r.header,
            Self::LeaseRevoke(r) => &mut r.header,
            Self::LeaseKeepAlive(r) => &mut r.header,
            Self::LeaseTimeToLive(r) => &mut r.header,
            Self::LeaseLeases(r) => &mut r.header,
            Self::Alarm(r) => &mut r.header,
            Self::MoveLeader(r) => &mut r.header,
            Self::Auth(r) => &mut r.header,
            Self::Downgrade(r) => &mut r.header,
            Self::MemberAdd(r) => &mut r.header,
            Self::MemberRemove(r) => &mut r.header,
            Self::MemberUpdate(r) => &mut r.header,
            Self::MemberPromote(r) => &mut r.header,
        };
        *place = Some(header);
    }
}
