//! Watches (oracle 2): what every stream carried, against what really happened.
//!
//! A watch is a question with one right answer: the events of its keys, from its start on. So each
//! is replayed: the next revision with events it must see is known, and a frame must begin with
//! exactly that one. From this follow ordered, unique, reliable and atomic at once.
//!
//! - *bookmarkable*: a progress frame at revision R promises that everything up to R was sent;
//! - *resumable*: a later watch from any revision is judged by the same rule;
//! - filters, `prev_kv`, fragments, and nothing before the start;
//! - a cancel for compaction names a compacted revision above what the watch still needed.
//!
//! Deliberately absent: whether frames come in time; the world asks that at the end of a run.

use std::collections::{BTreeMap, VecDeque};

use quorate_io_sim::world::observe::Violation;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::mvccpb::{Event, event::EventType};

use super::wrong;
use crate::history::{Call, History, Operation, Outcome, Traffic, Truth};
use crate::model::{Aside, Compaction, Effect, Model, covers};

const NAME: &str = "watch";

/// Judges all streams of a history.
pub fn check(history: &History) -> Result<(), Violation> {
    let truth = truth(history);
    let mut streams: BTreeMap<u64, Stream> = BTreeMap::new();
    for watched in &history.watched {
        let stream = streams.entry(watched.stream).or_default();
        let judged = match &watched.what {
            Traffic::Request(request) => {
                stream.request(request);
                Ok(())
            }
            Traffic::Response(response) => stream.response(&truth, response),
            Traffic::Ended => Ok(()),
        };
        judged.map_err(|what| wrong(NAME, format!("stream {}: {what}", watched.stream)))?;
    }
    Ok(())
}

/// What really happened: the model after everything.
fn truth(history: &History) -> Model {
    let mut model = Model::default();
    match &history.truth {
        Truth::Log(log) => {
            for entry in log {
                let verdict = model.evaluate(&entry.call, Compaction::Checked);
                model.commit(verdict.effect);
            }
        }
        Truth::Changes(changes) => {
            for change in changes {
                let events = change.events.clone();
                model.commit(Effect { events, aside: None });
            }
            let compacted = history.operations.iter().filter_map(compaction).max();
            model.commit(Effect { aside: compacted.map(Aside::Compact), ..Effect::default() });
        }
    }
    model
}

/// The revision an operation may have compacted.
fn compaction(operation: &Operation) -> Option<i64> {
    match (&operation.call, &operation.outcome) {
        (Call::Compact(_), Outcome::Refused(_)) => None,
        (Call::Compact(compact), _) => Some(compact.revision),
        _ => None,
    }
}

/// One stream of a client.
#[derive(Default)]
struct Stream {
    /// Creations not answered yet; answers come in order.
    asked: VecDeque<pb::WatchCreateRequest>,
    watches: BTreeMap<i64, Watch>,
}

/// One watch.
struct Watch {
    request: pb::WatchCreateRequest,
    /// The first revision not yet told of.
    next: i64,
    /// Whether it was cancelled. One cancelled for compaction is still there to be cancelled by
    /// its client.
    is_over: bool,
    /// Events of a revision that came in fragments so far.
    partial: Vec<Event>,
}

impl Stream {
    fn request(&mut self, request: &pb::WatchRequest) {
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union {
            self.asked.push_back(create.clone());
        }
    }

    fn response(&mut self, truth: &Model, response: &pb::WatchResponse) -> Result<(), String> {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if revision > truth.revision() {
            let newest = truth.revision();
            return Err(format!("a frame of revision {revision}; there were only {newest}"));
        }
        if response.created {
            return self.created(response, revision);
        }
        if response.watch_id == -1 {
            let mut open = self.watches.iter_mut().filter(|(_, watch)| !watch.is_over);
            return open.try_for_each(|(id, watch)| {
                watch.progress(truth, revision).map_err(|what| format!("watch {id}: {what}"))
            });
        }
        let id = response.watch_id;
        let Some(watch) = self.watches.get_mut(&id) else {
            return Err(format!("a frame for watch {id}, which does not exist"));
        };
        let judged = if watch.is_over && !response.canceled {
            Err("a frame after its end".to_owned())
        } else if response.canceled {
            watch.canceled(truth, response)
        } else if response.events.is_empty() {
            watch.progress(truth, revision)
        } else {
            watch.events(truth, response, revision)
        };
        judged.map_err(|what| format!("watch {id}: {what}"))
    }

    fn created(&mut self, response: &pb::WatchResponse, revision: i64) -> Result<(), String> {
        let Some(request) = self.asked.pop_front() else {
            return Err("a watch was created that nobody asked for".to_owned());
        };
        if response.canceled {
            return Ok(());
        }
        if !response.events.is_empty() {
            return Err("the answer to a creation carries events".to_owned());
        }
        let next = if request.start_revision > 0 { request.start_revision } else { revision + 1 };
        let id = response.watch_id;
        let watch = Watch { request, next, is_over: false, partial: Vec::new() };
        if self.watches.insert(id, watch).is_some_and(|before| !before.is_over) {
            return Err(format!("watch {id} was created twice"));
        }
        Ok(())
    }
}

impl Watch {
    /// Whether this watch is to hear of an event.
    fn wants(&self, event: &Event) -> bool {
        let Some(kv) = &event.kv else { return false };
        let filter = match event.r#type() {
            EventType::Put => pb::watch_create_request::FilterType::Noput,
            EventType::Delete => pb::watch_create_request::FilterType::Nodelete,
        };
        let any: &[u8] = if self.request.key.is_empty() { &[0] } else { &self.request.key };
        covers(any, &self.request.range_end, &kv.key)
            && !self.request.filters().any(|it| it == filter)
    }

    /// The first revision from `next` to `until` with events for this watch, and the events.
    fn due(&self, truth: &Model, until: i64) -> Option<(i64, Vec<Event>)> {
        (self.next..=until.min(truth.revision())).find_map(|revision| {
            let events = truth.events(revision).iter();
            let events: Vec<Event> = events.filter(|event| self.wants(event)).cloned().collect();
            (!events.is_empty()).then_some((revision, events))
        })
    }

    fn progress(&mut self, truth: &Model, revision: i64) -> Result<(), String> {
        if let Some((missing, _)) = self.due(truth, revision) {
            return Err(format!("progress to {revision}, but revision {missing} was never sent"));
        }
        self.next = self.next.max(revision + 1);
        Ok(())
    }

    fn canceled(&mut self, truth: &Model, response: &pb::WatchResponse) -> Result<(), String> {
        let compacted = response.compact_revision;
        if compacted != 0 && self.next >= compacted {
            let next = self.next;
            return Err(format!("cancelled for compaction {compacted}, but it was at {next}"));
        }
        if compacted != 0 && compacted > truth.compacted() {
            return Err(format!("cancelled for compaction {compacted}, which never was"));
        }
        self.is_over = true;
        Ok(())
    }

    fn events(
        &mut self,
        truth: &Model,
        response: &pb::WatchResponse,
        revision: i64,
    ) -> Result<(), String> {
        if response.fragment && !self.request.fragment {
            return Err("a fragment, which was not asked for".to_owned());
        }
        self.partial.extend(response.events.iter().cloned());
        if response.fragment {
            return Ok(());
        }
        let events = std::mem::take(&mut self.partial);
        for sent in events.chunk_by(|a, b| mod_revision(a) == mod_revision(b)) {
            let at = mod_revision(&sent[0]);
            if at > revision {
                return Err(format!("an event of revision {at} in a frame of {revision}"));
            }
            self.events_of(truth, at, sent)?;
        }
        Ok(())
    }

    /// All events of one revision arrived.
    fn events_of(&mut self, truth: &Model, at: i64, sent: &[Event]) -> Result<(), String> {
        if at < self.next {
            let next = self.next;
            return Err(format!("revision {at} again or too late: {next} was next"));
        }
        let Some((revision, due)) = self.due(truth, at) else {
            return Err(format!("events of revision {at}, which has none for it"));
        };
        if revision != at {
            return Err(format!("revision {at} came, but {revision} was due first"));
        }
        let is_same =
            |(due, sent): (&Event, &Event)| due.r#type == sent.r#type && due.kv == sent.kv;
        if due.len() != sent.len() || !due.iter().zip(sent).all(is_same) {
            return Err(format!("revision {at} came as {sent:?}, should be {due:?}"));
        }
        sent.iter().try_for_each(|event| self.prev_kv(truth, at, event))?;
        self.next = at + 1;
        Ok(())
    }

    /// The value before; it may be missing when the revision before is compacted.
    fn prev_kv(&self, truth: &Model, at: i64, event: &Event) -> Result<(), String> {
        let Some(prev) = &event.prev_kv else {
            return self.missing_prev_kv(truth, at, event);
        };
        let key = event.kv.as_ref().map_or(&[][..], |kv| &kv.key);
        if self.request.prev_kv && truth.kv_at(key, at - 1) == Some(prev) {
            return Ok(());
        }
        Err(format!("revision {at} came with a wrong prev_kv: {prev:?}"))
    }

    fn missing_prev_kv(&self, truth: &Model, at: i64, event: &Event) -> Result<(), String> {
        let key = event.kv.as_ref().map_or(&[][..], |kv| &kv.key);
        let is_due = self.request.prev_kv && truth.kv_at(key, at - 1).is_some();
        if is_due && truth.compacted() < at {
            return Err(format!("revision {at} came without its prev_kv"));
        }
        Ok(())
    }
}

fn mod_revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

#[cfg(test)]
mod tests;
