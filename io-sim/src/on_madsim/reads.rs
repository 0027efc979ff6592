//! What only reads: answered from a view.

use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_core::ids::{Revision, Token};
use quorate_core::{Config, Request, Response, View, txn};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::oneshot;

use super::member::{Ending, Member, Reading, Waiting};
use super::wire::Answer;
use crate::world::observe::{Operation, Outcome};

impl Waiting {
    /// Sends the outcome to whoever still waits for it.
    pub(super) fn conclude(self, outcome: Outcome) {
        let _ = self.reply.send(Answer::Outcome(outcome));
    }
}

impl Member {
    /// Answers a call from a view.
    pub(super) fn read(&mut self, token: Token, view: &View) -> Result<(), Ending> {
        let Some(mut waiting) = self.calls.remove(&token) else { return Ok(()) };
        let operation = match waiting.read.take() {
            Some(Reading::Keys(operation)) => operation,
            Some(Reading::Members) => {
                // Membership has no revision.
                let header = Some(view.header(Revision(0)));
                let members = view.facts.members.to_vec();
                let list = pb::MemberListResponse { header, members };
                let _ = waiting.reply.send(Answer::Members(list));
                return Ok(());
            }
            None => return Ok(()),
        };
        let outcome = match read(view, &operation) {
            Ok(outcome) => outcome,
            Err(ReadError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(ReadError::Fault(fault)) => return Err(self.halt(fault)),
        };
        waiting.conclude(outcome);
        Ok(())
    }

    /// How this member is; nothing before it shows anything.
    pub(super) fn tell_status(&self, reply: oneshot::Sender<Answer>) {
        let view = self.ground.lock().view.clone();
        let Some(view) = view else { return };
        let facts = &view.facts;
        let status = pb::StatusResponse {
            header: Some(view.header(view.kv.revision())),
            leader: facts.role.leader.map_or(0, |leader| leader.get()),
            raft_term: facts.role.term.get(),
            raft_index: facts.committed.get(),
            raft_applied_index: facts.applied.get(),
            ..pb::StatusResponse::default()
        };
        let _ = reply.send(Answer::Status(status));
    }
}

fn read(view: &View, operation: &Operation) -> Result<Outcome, ReadError> {
    let header = Some(view.header(view.kv.revision()));
    match operation {
        Operation::Range(range) => {
            txn::check_range(range)?;
            let response = txn::read_range(&view.kv, range)?;
            Ok(Outcome::Range(pb::RangeResponse { header, ..response }))
        }
        Operation::Request(Request::Txn(request)) => {
            txn::check_txn(request, Config::default().txn_ops_max)?;
            let response = txn::read_txn(&view.kv, request)?;
            Ok(Outcome::Response(Response::Txn(pb::TxnResponse { header, ..response })))
        }
        // Nothing else is read from a view.
        Operation::Request(_) => Err(ReadError::Refused(Refusal::NotCapable)),
    }
}
