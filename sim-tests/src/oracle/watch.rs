//! Watches (oracle 2): what every stream carried, against what really happened.
//!
//! A watch is a question with one right answer: the events of its keys, from its start on. So each
//! is replayed: the next revision with events it must see is known, and a frame must begin with
//! exactly that one. From this follow ordered, unique, reliable and atomic at once.
//!
//! - *bookmarkable*: a progress frame at revision R promises that everything up to R was sent, and
//!   that the watch has begun: none comes before its start revision, and none between fragments;
//! - *resumable*: a later watch from any revision is judged by the same rule;
//! - filters, `prev_kv`, fragments, and nothing before the start;
//! - a cancel was asked for, or names a revision that was compacted, above what the watch needed;
//! - an id is the one that was asked for, or a new one; a watch is refused for a reason, and not
//!   created against one.
//!
//! Deliberately absent: whether frames come in time; the world asks that at the end of a run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    let (truth, compactions) = truth(history);
    let truth = Truths { model: &truth, compactions: &compactions };
    let mut streams: BTreeMap<u64, Stream> = BTreeMap::new();
    for watched in &history.watched {
        let stream = streams.entry(watched.stream).or_default();
        let judged = match &watched.what {
            Traffic::Request(request) => {
                stream.request(request);
                Ok(())
            }
            Traffic::Response(response) => stream.response(truth, response),
            Traffic::Ended => Ok(()),
        };
        judged.map_err(|what| wrong(NAME, format!("stream {}: {what}", watched.stream)))?;
    }
    Ok(())
}

/// What really happened.
#[derive(Clone, Copy)]
struct Truths<'a> {
    /// The model after everything.
    model: &'a Model,
    /// Revisions that were compacted, or may have been.
    compactions: &'a BTreeSet<i64>,
}

/// The model after everything, and the revisions that may have been compacted.
fn truth(history: &History) -> (Model, BTreeSet<i64>) {
    let mut model = Model::default();
    let mut compactions = BTreeSet::new();
    match &history.truth {
        Truth::Log(log) => {
            for entry in log {
                let verdict = model.evaluate(&entry.call, Compaction::Checked);
                if let Some(Aside::Compact(revision)) = verdict.effect.aside {
                    compactions.insert(revision);
                }
                model.commit(verdict.effect);
            }
        }
        Truth::Changes(changes) => {
            for change in changes {
                let events = change.events.clone();
                model.commit(Effect { events, aside: None });
            }
            compactions.extend(history.operations.iter().filter_map(compaction));
            let compacted = compactions.last().copied();
            model.commit(Effect { aside: compacted.map(Aside::Compact), ..Effect::default() });
        }
    }
    (model, compactions)
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
    /// Cancels the client sent, by id.
    cancels: BTreeMap<i64, u32>,
    /// The newest id the member chose.
    newest_id: Option<i64>,
}

/// One watch.
struct Watch {
    request: pb::WatchCreateRequest,
    /// The first revision not yet told of.
    next: i64,
    /// Whether it was cancelled.
    is_over: bool,
    /// Whether it was cancelled for compaction, and is still there to be cancelled by its client.
    holds_id: bool,
    /// Events of a revision that came in fragments so far.
    partial: Vec<Event>,
}

impl Stream {
    fn request(&mut self, request: &pb::WatchRequest) {
        match &request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.asked.push_back(create.clone()),
            Some(RequestUnion::CancelRequest(cancel)) => {
                *self.cancels.entry(cancel.watch_id).or_default() += 1;
            }
            _ => {}
        }
    }

    fn response(&mut self, truths: Truths, response: &pb::WatchResponse) -> Result<(), String> {
        let truth = truths.model;
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if revision > truth.revision() {
            let newest = truth.revision();
            return Err(format!("a frame of revision {revision}; there were only {newest}"));
        }
        if response.created {
            return self.created(response, revision);
        }
        if response.watch_id == -1 && response.canceled {
            return Ok(());
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
            let cancels = self.cancels.entry(id).or_default();
            watch.canceled(truths, response, cancels)
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
        let reason = self.reason_against(&request);
        if response.canceled {
            let is_justified = reason.is_some() || self.holds_id(request.watch_id);
            return is_justified
                .then_some(())
                .ok_or_else(|| format!("refused for no reason: {}", response.cancel_reason));
        }
        if let Some(reason) = reason {
            return Err(format!("a watch was created although {reason}"));
        }
        if !response.events.is_empty() {
            return Err("the answer to a creation carries events".to_owned());
        }
        let next = if request.start_revision > 0 { request.start_revision } else { revision + 1 };
        let (id, wanted) = (response.watch_id, request.watch_id);
        let (is_over, holds_id) = (false, false);
        let watch = Watch { request, next, is_over, holds_id, partial: Vec::new() };
        if self.watches.insert(id, watch).is_some_and(|before| !before.is_over) {
            return Err(format!("watch {id} was created twice"));
        }
        if wanted != 0 && id != wanted {
            return Err(format!("watch {wanted} was asked for, watch {id} created"));
        }
        if wanted == 0 && self.newest_id.replace(id) >= Some(id) {
            return Err(format!("watch {id} was given the id of an earlier one"));
        }
        Ok(())
    }

    /// Why a watch must be refused.
    fn reason_against(&self, request: &pb::WatchCreateRequest) -> Option<&'static str> {
        let pb::WatchCreateRequest { key, range_end, start_revision, watch_id, .. } = request;
        let is_open = range_end.is_empty() || range_end.as_ref() == [0];
        if *start_revision < 0 {
            Some("its start is compacted for ever")
        } else if !is_open && range_end <= key {
            Some("its range is empty")
        } else if *watch_id != 0 && self.watches.get(watch_id).is_some_and(|it| !it.is_over) {
            Some("its id is taken")
        } else {
            None
        }
    }

    fn holds_id(&self, id: i64) -> bool {
        self.watches.get(&id).is_some_and(|watch| watch.holds_id)
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
        let start = self.request.start_revision;
        if start > revision {
            return Err(format!("progress to {revision}, but it starts at {start}"));
        }
        if !self.partial.is_empty() {
            return Err(format!("progress to {revision} between two fragments"));
        }
        if let Some((missing, _)) = self.due(truth, revision) {
            return Err(format!("progress to {revision}, but revision {missing} was never sent"));
        }
        self.next = self.next.max(revision + 1);
        Ok(())
    }

    fn canceled(
        &mut self,
        truths: Truths,
        response: &pb::WatchResponse,
        cancels: &mut u32,
    ) -> Result<(), String> {
        let compacted = response.compact_revision;
        self.holds_id = compacted != 0;
        if compacted == 0 {
            let left = cancels.checked_sub(1);
            *cancels = left.ok_or_else(|| "cancelled, but nobody asked for it".to_owned())?;
        }
        if compacted != 0 && self.next >= compacted {
            let next = self.next;
            return Err(format!("cancelled for compaction {compacted}, but it was at {next}"));
        }
        if compacted != 0 && !truths.compactions.contains(&compacted) {
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
