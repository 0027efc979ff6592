//! Writes down a run of the world.

use std::collections::BTreeMap;

use prost::Message;
use quorate_core::ids::{MemberId, RequestId, StreamId};
use quorate_core::storage::{Entry, EntryKind};
use quorate_core::time::Time;
use quorate_io_sim::world::observe::{self, CallId, Observer, Seen, Violation};
use quorate_proto::etcdserverpb as pb;

use crate::model::Judged;

use super::{Call, History, Logged, Operation, Outcome, Reply, Traffic, Truth, Watched};

/// An observer that makes a [`History`] out of what it sees.
#[derive(Default)]
pub struct Recorder {
    operations: BTreeMap<CallId, Operation>,
    proposed: BTreeMap<u64, CallId>,
    log: Vec<Logged>,
    /// The newest committed entry that was looked at.
    committed: u64,
    judged: Judged,
    watched: Vec<Watched>,
}

impl Observer for Recorder {
    fn observe(&mut self, at: Time, seen: &Seen) -> Result<(), Violation> {
        match seen {
            Seen::Called { client, call, member, operation } => {
                let call_made = match operation {
                    observe::Operation::Range(range) => Some(Call::Range(range.clone())),
                    observe::Operation::Request(request) => Call::of(request.clone()),
                };
                if let Some(made) = call_made {
                    self.operations.insert(*call, begin(at, *call, client.0, *member, made));
                }
            }
            Seen::Returned { call, outcome, .. } => {
                if let Some(operation) = self.operations.get_mut(call) {
                    operation.returned = Some(at.0);
                    operation.outcome = from_observed(outcome);
                }
            }
            Seen::Proposed { id: RequestId(id), call: Some(call), .. } => {
                self.proposed.insert(*id, *call);
            }
            Seen::Committed { entries, .. } => entries.iter().for_each(|it| self.commit(it)),
            Seen::StreamSent { stream, message, .. } => {
                self.traffic(at, *stream, Traffic::Request(message.clone()));
            }
            Seen::Frame { stream, frame, .. } => {
                self.traffic(at, *stream, Traffic::Response(frame.clone()));
            }
            Seen::StreamEnded { stream, .. } => self.traffic(at, *stream, Traffic::Ended),
            _ => {}
        }
        Ok(())
    }
}

impl Recorder {
    /// What was recorded.
    pub fn into_history(self) -> History {
        History {
            operations: self.operations.into_values().collect(),
            watched: self.watched,
            truth: Truth::Log(self.log),
        }
    }

    /// Each entry once: the first member to have it as committed speaks for all, because another
    /// oracle holds them to agree.
    fn commit(&mut self, entry: &Entry) {
        let is_first = self.committed == 0;
        if !is_first && entry.index.get() != self.committed + 1 {
            return;
        }
        self.committed = entry.index.get();
        if entry.kind != EntryKind::Normal {
            return;
        }
        let Ok(request) = pb::InternalRaftRequest::decode(entry.data.clone()) else { return };
        if self.judged.take(&request).is_err() {
            return;
        }
        let id = request.header.as_ref().map_or(request.id, |header| header.id);
        let operation = self.proposed.get(&id).map(|call| call.0);
        if let Some(call) = Call::from_entry(request) {
            self.log.push(Logged { index: entry.index.get(), operation, call });
        }
    }

    fn traffic(&mut self, at: Time, stream: StreamId, what: Traffic) {
        self.watched.push(Watched { at: at.0, stream: stream.0, what });
    }
}

const fn begin(at: Time, id: CallId, client: u32, member: MemberId, call: Call) -> Operation {
    Operation {
        id: id.0,
        client: client as u64,
        member: member.0,
        called: at.0,
        returned: None,
        call,
        outcome: Outcome::Unknown,
    }
}

fn from_observed(outcome: &observe::Outcome) -> Outcome {
    match outcome {
        observe::Outcome::Range(range) => Outcome::Ok(Reply::Range(range.clone())),
        observe::Outcome::Response(response) => {
            Reply::of(response.clone()).map_or(Outcome::Unknown, Outcome::Ok)
        }
        observe::Outcome::Refused(refusal) => Outcome::from_refusal(*refusal),
        observe::Outcome::Unknown => Outcome::Unknown,
    }
}
