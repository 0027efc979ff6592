//! Reads and questions: whatever must first be sure of being current.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::leasepb;
use quorate_proto::peer::{
    Answer, Ask, PeerMessage, answer::Outcome, ask::Question, peer_message::Message,
};

use super::{Reader, State};
use crate::error::Refusal;
use crate::ids::{LeaseId, MemberId, Token};
use crate::input::Request;
use crate::output::{Response, StateOutput};

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

    /// Answers every reader whose barrier is reached and applied.
    pub(super) fn release_readers(&mut self) {
        while let Some(readers) = self.lane.poll_current(self.ledgers.progress.mark.index) {
            for reader in readers {
                match reader {
                    Reader::Client(token) => {
                        let result = Ok(self.view.clone());
                        self.outputs.push_back(StateOutput::ReadReady { token, result });
                    }
                    Reader::Local(token, question) => {
                        let outcome = self.consider(&question);
                        self.respond_to_question(token, outcome);
                    }
                    Reader::Remote(from, id, question) => {
                        let outcome = self.consider(&question);
                        self.send_answer(from, id, outcome);
                    }
                }
            }
        }
    }

    /// The leader is gone: what was asked under it has no answer.
    pub(super) fn refuse_unanswered_reads(&mut self) {
        while let Some(readers) = self.lane.poll_unanswered() {
            for reader in readers {
                self.refuse_reader(reader, Refusal::LeaderChanged);
            }
        }
    }

    pub(super) fn on_late_reads(&mut self) {
        while let Some(readers) = self.lane.poll_late(self.now) {
            for reader in readers {
                self.refuse_reader(reader, Refusal::Timeout);
            }
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
            Reader::Local(token, _) => self.respond(token, Err(refusal)),
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
        match self.consider_at_once(&question) {
            Some(outcome) => self.respond_to_question(token, outcome),
            None => self.lane.enter(self.now, Reader::Local(token, question))?,
        }
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
        if !self.role.is_leader {
            // The asker asks again, of whoever leads then.
            return;
        }
        match self.consider_at_once(&question) {
            Some(outcome) => self.send_answer(from, ask.id, outcome),
            None => {
                let reader = Reader::Remote(from, ask.id, question);
                if self.lane.enter(self.now, reader).is_err() {
                    let refused = Refusal::RequestTooManyRequests.name().into();
                    self.send_answer(from, ask.id, Outcome::Refused(refused));
                }
            }
        }
    }

    /// A renewal of a lease this leader knows needs no barrier: should it be deposed already, its
    /// successor has granted every lease its full time anew.
    fn consider_at_once(&mut self, question: &Question) -> Option<Outcome> {
        match question {
            Question::KeepAlive(renewal) if self.ledgers.leases.exists(LeaseId(renewal.id)) => {
                Some(self.consider(question))
            }
            _ => None,
        }
    }

    /// Answers a question from the book, which is current by now.
    fn consider(&mut self, question: &Question) -> Outcome {
        if !self.role.is_leader {
            return Outcome::Refused(Refusal::LeaderChanged.name().into());
        }
        match question {
            Question::KeepAlive(renewal) => {
                let header = Some(self.header());
                let ttl = self.ledgers.leases.renew(LeaseId(renewal.id), self.now).unwrap_or(0);
                Outcome::KeepAlive(pb::LeaseKeepAliveResponse { header, id: renewal.id, ttl })
            }
            Question::Lease(request) => {
                let ask = request.lease_time_to_live_request.unwrap_or_default();
                Outcome::Lease(leasepb::LeaseInternalResponse {
                    lease_time_to_live_response: Some(self.time_to_live(&ask)),
                })
            }
        }
    }

    fn time_to_live(&self, ask: &pb::LeaseTimeToLiveRequest) -> pb::LeaseTimeToLiveResponse {
        let id = LeaseId(ask.id);
        let mut response = pb::LeaseTimeToLiveResponse {
            header: Some(self.header()),
            id: ask.id,
            ttl: -1,
            ..pb::LeaseTimeToLiveResponse::default()
        };
        let Some(granted_ttl) = self.ledgers.leases.granted_ttl(id) else { return response };
        response.granted_ttl = granted_ttl;
        response.ttl = self.ledgers.leases.remaining(id, self.now).unwrap_or(granted_ttl);
        if ask.keys {
            response.keys = self.ledgers.leases.keys(id);
        }
        response
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
fn refusal_named(name: &str) -> Refusal {
    Refusal::ALL.iter().copied().find(|r| r.name() == name).unwrap_or(Refusal::Timeout)
}

impl Response {
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
        };
        *place = Some(header);
    }
}
