//! Elections: who leads under a name, and with which value.

use bytes::Bytes;
use quorate_proto::etcdserverpb::PutRequest;
use quorate_proto::v3electionpb as pb;

use super::line::{Line, Purpose, Turn};
use super::once::{Begun, Once};
use super::{Answer, Failure, Recipe, Step, requests};
use crate::output::Response;

type Outcome<T, E> = Result<T, Failure<E>>;

/// Waits until the candidate leads. Whoever leads already does at once, with the new value.
#[derive(Debug)]
pub struct Campaign<E> {
    name: Bytes,
    line: Line<E>,
}

impl<E> Campaign<E> {
    /// The recipe and its first step.
    pub fn begin(request: pb::CampaignRequest) -> (Self, Step<Outcome<pb::CampaignResponse, E>>) {
        let pb::CampaignRequest { name, lease, value } = request;
        let (line, step) = Line::begin(Purpose::Campaign, &name, value, lease);
        let this = Self { name, line };
        let step = step.map(|turn| this.elected(turn));
        (this, step)
    }

    fn elected(&self, turn: Result<Turn, Failure<E>>) -> Outcome<pb::CampaignResponse, E> {
        turn.map(|turn| pb::CampaignResponse {
            header: turn.entered,
            leader: Some(pb::LeaderKey {
                name: self.name.clone(),
                key: turn.key,
                rev: turn.rev,
                lease: turn.lease,
            }),
        })
    }
}

impl<E> Recipe<E> for Campaign<E> {
    type Yield = Outcome<pb::CampaignResponse, E>;

    fn handle(&mut self, answer: Answer<E>) -> Step<Self::Yield> {
        let step = self.line.handle(answer);
        step.map(|turn| self.elected(turn))
    }
}

/// Gives the leader's key a new value. A leader that names no lease gets one.
#[derive(Debug)]
pub struct Proclaim {
    put: PutRequest,
    rev: i64,
}

impl Proclaim {
    /// The recipe and its first step.
    pub fn begin<E>(
        request: pb::ProclaimRequest,
    ) -> (Self, Step<Outcome<pb::ProclaimResponse, E>>) {
        let is_named = request.leader.is_some();
        let pb::LeaderKey { key, rev, lease, .. } = request.leader.unwrap_or_default();
        let put = PutRequest { key, value: request.value, lease, ..PutRequest::default() };
        let this = Self { put, rev };
        let step = match (is_named, lease) {
            (false, _) => Step::Yield(Err(Failure::MissingLeader)),
            (true, 0) => Step::Request(requests::grant()),
            (true, _) => Step::Request(requests::renew(this.put.clone(), rev)),
        };
        (this, step)
    }
}

impl<E> Recipe<E> for Proclaim {
    type Yield = Outcome<pb::ProclaimResponse, E>;

    fn handle(&mut self, answer: Answer<E>) -> Step<Self::Yield> {
        Step::Yield(match answer {
            Answer::Response(Response::LeaseGrant(granted)) => {
                self.put.lease = granted.id;
                return Step::Request(requests::renew(self.put.clone(), self.rev));
            }
            Answer::Response(Response::Txn(txn)) if txn.succeeded => {
                Ok(pb::ProclaimResponse { header: txn.header })
            }
            Answer::Response(Response::Txn(_)) => Err(Failure::NotLeader),
            Answer::Refused(why) | Answer::Unavailable(why) => Err(Failure::Refused(why)),
            Answer::ClientGone => Err(Failure::Abandoned),
            _ => Err(Failure::Misanswered),
        })
    }
}

/// Deletes the leader's key. Whoever does not lead any more has nothing to resign from.
pub fn resign<E>(request: pb::ResignRequest) -> Begun<pb::ResignResponse, E> {
    let resigned = |answer| match answer {
        Answer::Response(Response::Txn(txn)) => Ok(pb::ResignResponse { header: txn.header }),
        _ => Err(Failure::Misanswered),
    };
    let step = match request.leader {
        Some(leader) => Step::Request(requests::withdraw(leader.key, leader.rev)),
        None => Step::Yield(Err(Failure::MissingLeader)),
    };
    (Once::new(resigned), step)
}

/// Reads who leads.
pub fn leader<E>(request: &pb::LeaderRequest) -> Begun<pb::LeaderResponse, E> {
    let found = |answer| match answer {
        Answer::Read(found) => match found.kvs.into_iter().next() {
            Some(kv) => Ok(pb::LeaderResponse { header: found.header, kv: Some(kv) }),
            None => Err(Failure::NoLeader),
        },
        _ => Err(Failure::Misanswered),
    };
    let prefix = requests::prefix_of(&request.name);
    (Once::new(found), Step::Read(requests::oldest(&prefix)))
}
