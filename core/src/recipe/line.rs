//! Standing in line for a name: what lock and campaign have in common.
//!
//! ```text
//!  (no lease) Granting -> Entering -> first already? ----------------------> Turn
//!                            |                                                ^
//!                            +-> (candidate with a new value) Renewing ---+   |
//!                            +--------------------------------------------+-> Looking <-> Waiting
//!  failed, or the client left: Withdrawing -> Failure
//! ```

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::response_op::Response as OpResponse;
use quorate_proto::mvccpb::KeyValue;
use quorate_proto::mvccpb::event::EventType;

use super::{Answer, Failure, Recipe, Step, requests};
use crate::output::Response;

/// What is stood in line for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To hold a lock.
    Lock,
    /// To lead; whoever stands in line already takes the new value.
    Campaign,
}

/// Being first.
#[derive(Debug)]
pub(super) struct Turn {
    /// The key that is first.
    pub(super) key: Bytes,
    /// The revision that created it.
    pub(super) rev: i64,
    /// Its lease.
    pub(super) lease: i64,
    /// The header of the transaction that entered the line.
    pub(super) entered: Option<pb::ResponseHeader>,
    /// The header of whatever showed that the key is first.
    pub(super) reached: Option<pb::ResponseHeader>,
}

/// A contender.
#[derive(Debug)]
pub(super) struct Line<E> {
    purpose: Purpose,
    prefix: Bytes,
    value: Bytes,
    lease: i64,
    key: Bytes,
    state: State,
    /// Once the key is there.
    place: Option<Place>,
    /// What there is to tell once the key is taken back.
    failure: Option<Failure<E>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Granting,
    Entering,
    Renewing,
    Looking,
    Waiting,
    Withdrawing,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    rev: i64,
    entered: Option<pb::ResponseHeader>,
    is_first: bool,
}

type Outcome<E> = Result<Turn, Failure<E>>;

impl<E> Line<E> {
    /// A contender for `name`; without a lease (0) one is granted first.
    pub(super) fn begin(
        purpose: Purpose,
        name: &Bytes,
        value: Bytes,
        lease: i64,
    ) -> (Self, Step<Outcome<E>>) {
        let mut this = Self {
            purpose,
            prefix: requests::prefix_of(name),
            value,
            lease,
            key: Bytes::new(),
            state: State::Granting,
            place: None,
            failure: None,
        };
        let step = if lease == 0 { Step::Request(requests::grant()) } else { this.enter(lease) };
        (this, step)
    }

    fn enter(&mut self, lease: i64) -> Step<Outcome<E>> {
        self.state = State::Entering;
        self.lease = lease;
        self.key = requests::key_of(&self.prefix, lease);
        Step::Request(requests::enter(&self.prefix, self.put()))
    }

    fn put(&self) -> pb::PutRequest {
        let (key, value, lease) = (self.key.clone(), self.value.clone(), self.lease);
        pb::PutRequest { key, value, lease, ..pb::PutRequest::default() }
    }

    fn handle_entered(&mut self, txn: pb::TxnResponse) -> Step<Outcome<E>> {
        let Some((place, mine)) = parse_entered(txn) else {
            return self.fail(Failure::Misanswered);
        };
        let rev = place.rev;
        self.place = Some(place);
        let is_outdated = mine.is_some_and(|mine| mine.value != self.value);
        if self.purpose == Purpose::Campaign && is_outdated {
            self.state = State::Renewing;
            return Step::Request(requests::renew(self.put(), rev));
        }
        self.proceed()
    }

    /// The key is there with its right value.
    fn proceed(&mut self) -> Step<Outcome<E>> {
        match self.place {
            Some(place) if place.is_first => self.reach(place.entered),
            _ => self.look(),
        }
    }

    fn look(&mut self) -> Step<Outcome<E>> {
        let Some(place) = self.place else { return self.fail(Failure::Misanswered) };
        self.state = State::Looking;
        Step::Read(requests::last_two(&self.prefix, place.rev))
    }

    fn handle_seen(&mut self, seen: pb::RangeResponse) -> Step<Outcome<E>> {
        let rev = self.place.map_or(0, |place| place.rev);
        if !seen.kvs.iter().any(|kv| kv.key == self.key && kv.create_revision == rev) {
            return self.lose();
        }
        let Some(before) = seen.kvs.into_iter().find(|kv| kv.create_revision < rev) else {
            return self.reach(seen.header);
        };
        self.state = State::Waiting;
        let from = seen.header.map_or(0, |header| header.revision) + 1;
        Step::Watch(requests::watch_end(before.key, from))
    }

    fn handle_frame(&mut self, frame: pb::WatchResponse) -> Step<Outcome<E>> {
        if frame.canceled && frame.compact_revision == 0 {
            return self.fail(Failure::WatchCanceled(frame.cancel_reason));
        }
        let has_ended = frame.events.iter().any(|event| event.r#type() == EventType::Delete);
        // If what was to be watched is compacted already, much has happened.
        if has_ended || frame.canceled { self.look() } else { Step::Listen }
    }

    fn reach(&mut self, reached: Option<pb::ResponseHeader>) -> Step<Outcome<E>> {
        self.state = State::Over;
        let place = self.place.take();
        Step::Yield(Ok(Turn {
            key: self.key.clone(),
            rev: place.map_or(0, |place| place.rev),
            lease: self.lease,
            entered: place.and_then(|place| place.entered),
            reached,
        }))
    }

    /// The key is gone: its lease ended, or somebody deleted it.
    fn lose(&mut self) -> Step<Outcome<E>> {
        self.place = None;
        self.fail(match self.purpose {
            Purpose::Lock => Failure::SessionExpired,
            Purpose::Campaign => Failure::NotLeader,
        })
    }

    fn fail(&mut self, failure: Failure<E>) -> Step<Outcome<E>> {
        self.failure.get_or_insert(failure);
        match self.place {
            Some(place) => {
                self.state = State::Withdrawing;
                Step::Request(requests::withdraw(self.key.clone(), place.rev))
            }
            None => self.end(),
        }
    }

    fn end(&mut self) -> Step<Outcome<E>> {
        self.state = State::Over;
        Step::Yield(Err(self.failure.take().unwrap_or(Failure::Misanswered)))
    }
}

impl<E> Recipe<E> for Line<E> {
    type Yield = Outcome<E>;

    fn handle(&mut self, answer: Answer<E>) -> Step<Outcome<E>> {
        match (self.state, answer) {
            (State::Over, _) => self.end(),
            (_, Answer::ClientGone) => self.fail(Failure::Abandoned),
            // Taken back or not: its lease ends it.
            (State::Withdrawing, _) => self.end(),
            (_, Answer::Refused(why) | Answer::Unavailable(why)) => {
                self.fail(Failure::Refused(why))
            }
            (State::Granting, Answer::Response(Response::LeaseGrant(granted))) => {
                self.enter(granted.id)
            }
            (State::Entering, Answer::Response(Response::Txn(txn))) => self.handle_entered(txn),
            (State::Renewing, Answer::Response(Response::Txn(txn))) if !txn.succeeded => {
                self.lose()
            }
            (State::Renewing, Answer::Response(Response::Txn(_))) => self.proceed(),
            (State::Looking, Answer::Read(seen)) => self.handle_seen(seen),
            (State::Waiting, Answer::Frame(frame)) => self.handle_frame(frame),
            (State::Waiting, Answer::WatchLost) => self.look(),
            _ => self.fail(Failure::Misanswered),
        }
    }
}

/// The place taken, and the key as it was if it was there before.
fn parse_entered(txn: pb::TxnResponse) -> Option<(Place, Option<KeyValue>)> {
    let mut ranges = txn.responses.into_iter().filter_map(|op| match op.response {
        Some(OpResponse::ResponseRange(range)) => Some(range.kvs),
        _ => None,
    });
    let mine = match txn.succeeded {
        true => None,
        false => Some(ranges.next()?.into_iter().next()?),
    };
    let rev = match &mine {
        Some(mine) => mine.create_revision,
        None => txn.header.as_ref()?.revision,
    };
    let oldest = ranges.next()?.into_iter().next()?;
    let is_first = oldest.create_revision == rev;
    Some((Place { rev, entered: txn.header, is_first }, mine))
}
