//! Locks.

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use super::line::{Line, Purpose, Turn};
use super::once::{Begun, Once};
use super::{Answer, Failure, Recipe, Step};
use crate::input::Request;
use crate::output::Response;

/// Waits until the lock is held. Whoever holds it already does at once.
#[derive(Debug)]
pub struct Lock<E>(Line<E>);

type Outcome<E> = Result<LockResponse, Failure<E>>;

impl<E> Lock<E> {
    /// The recipe and its first step.
    pub fn begin(request: LockRequest) -> (Self, Step<Outcome<E>>) {
        let (line, step) = Line::begin(Purpose::Lock, &request.name, Bytes::new(), request.lease);
        (Self(line), step.map(locked))
    }
}

impl<E> Recipe<E> for Lock<E> {
    type Yield = Outcome<E>;

    fn handle(&mut self, answer: Answer<E>) -> Step<Outcome<E>> {
        self.0.handle(answer).map(locked)
    }
}

fn locked<E>(turn: Result<Turn, Failure<E>>) -> Outcome<E> {
    turn.map(|turn| LockResponse { header: turn.reached, key: turn.key })
}

/// Deletes a lock's key, whoever holds it and whether it is there or not.
pub fn unlock<E>(request: UnlockRequest) -> Begun<UnlockResponse, E> {
    let delete = pb::DeleteRangeRequest { key: request.key, ..pb::DeleteRangeRequest::default() };
    let unlocked = |answer| match answer {
        Answer::Response(Response::DeleteRange(deleted)) => {
            Ok(UnlockResponse { header: deleted.header })
        }
        _ => Err(Failure::Misanswered),
    };
    (Once::new(unlocked), Step::Request(Request::DeleteRange(delete)))
}
