//! Random clients of the watch hub: whatever they ask for, however slowly they read, whatever is
//! compacted or replaced by an image, each of them gets what it is owed and nothing else.
//!
//! The model is the list of everything that ever happened. A watch is owed the events of that list
//! that its range, start and filters select; a client checks every frame against that on arrival.
#![allow(missing_docs, clippy::unwrap_used)]

mod watch_history;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::draw::{draw, draw_below};
use quorate_core::event::{Changes, History, KeyRange};
use quorate_core::ids::{ClusterId, MemberId, Revision, StreamId};
use quorate_core::limits::STREAM_FRAMES_MAX;
use quorate_core::pinch::Pinch;
use quorate_core::time::Time;
use quorate_core::watch::{Hub, Setup};
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use quorate_proto::mvccpb::Event;
use watch_history::{Change, Memory};

const SEEDS: u64 = 150;
const STEPS: usize = 400;
const STREAMS: u64 = 3;
const KEYS: u64 = 8;

#[test]
fn every_watch_gets_exactly_what_it_is_owed() {
    let mut totals = Totals::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.act();
        }
        world.settle();
        totals.add(&world.totals);
    }
    // The test means something only if the interesting cases occurred.
    assert!(totals.events > 50_000, "{totals:?}");
    assert!(totals.compacted > 100, "{totals:?}");
    assert!(totals.fragments > 100, "{totals:?}");
    assert!(totals.stream_progress > 500, "{totals:?}");
    assert!(totals.watch_progress > 100, "{totals:?}");
    assert!(totals.several_revisions > 500, "{totals:?}");
    assert!(totals.refused > 100, "{totals:?}");
}

#[derive(Debug, Default)]
struct Totals {
    events: usize,
    compacted: usize,
    fragments: usize,
    stream_progress: usize,
    watch_progress: usize,
    several_revisions: usize,
    refused: usize,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.compacted += other.compacted;
        self.fragments += other.fragments;
        self.stream_progress += other.stream_progress;
        self.watch_progress += other.watch_progress;
        self.several_revisions += other.several_revisions;
        self.refused += other.refused;
    }
}

/// A watch as its client sees it.
struct Watch {
    request: WatchCreateRequest,
    keys: KeyRange,
    start: i64,
    /// How much of the log it is known to have been shown.
    position: usize,
    /// Everything up to here is known to have been shown, by events or by progress.
    seen: i64,
    /// Revision of the last event.
    last: i64,
    /// Whether the response begun goes on in the next frame.
    is_open: bool,
    is_compacted: bool,
}

#[derive(Default)]
struct Client {
    asked: VecDeque<WatchCreateRequest>,
    watches: BTreeMap<i64, Watch>,
    /// Frames held and not passed on.
    held: usize,
}

struct World {
    seed: u64,
    lots: u64,
    hub: Hub,
    memory: Memory,
    now: Time,
    log: Vec<Event>,
    clients: BTreeMap<StreamId, Client>,
    was_compacted: bool,
    totals: Totals,
}

impl World {
    fn new(seed: u64) -> Self {
        let setup = Setup {
            cluster: ClusterId(1),
            member: MemberId(2),
            seed,
            progress_interval: Duration::from_secs(1),
            revision: Revision(1),
            pinch: Pinch::default(),
        };
        let mut world = Self {
            seed,
            lots: 0,
            hub: Hub::new(setup),
            memory: Memory::new(),
            now: Time::ZERO,
            log: Vec::new(),
            clients: BTreeMap::new(),
            was_compacted: false,
            totals: Totals::default(),
        };
        (0..STREAMS).for_each(|stream| world.reopen(StreamId(stream)));
        world
    }

    fn lot(&mut self, bound: u64) -> u64 {
        self.lots += 1;
        draw_below(bound, draw(self.seed, 77, 0, self.lots))
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.lot(one_in) == 0
    }

    /// Whether watches ask for fragments in this world.
    fn cuts(&self) -> bool {
        !self.seed.is_multiple_of(2)
    }

    fn revision(&self) -> i64 {
        self.memory.revision().get()
    }

    fn reopen(&mut self, stream: StreamId) {
        self.hub.close(stream);
        self.hub.open(stream, 200);
        self.clients.insert(stream, Client::default());
    }

    fn act(&mut self) {
        let stream = StreamId(self.lot(STREAMS));
        match self.lot(100) {
            0..12 => self.create(stream),
            12..15 => self.cancel(stream),
            15..23 => {
                let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                self.send(stream, request);
            }
            23..60 => self.apply(),
            60..63 => self.burst(),
            63..66 => self.install(),
            66..69 => self.compact(),
            69..80 => self.pass_on(stream),
            80..92 => {
                if self.chance(2) {
                    self.hub.note_served(self.now);
                }
                self.hub.step(self.now, &self.memory).unwrap();
            }
            92..99 => {
                self.now += Duration::from_millis(500);
                self.hub.handle_timeout(self.now);
            }
            _ => self.reopen(stream),
        }
        self.receive();
    }

    fn create(&mut self, stream: StreamId) {
        let revision = self.revision() as u64;
        let start_revision = match self.lot(4) {
            0 => 0,
            1 => revision + 1 + self.lot(5),
            _ => self.lot(revision + 1),
        } as i64;
        let first = self.lot(KEYS);
        let range_end = match self.lot(4) {
            0 => Bytes::from_static(&[0]),
            1 => key(first + 1 + self.lot(3)),
            _ => Bytes::new(),
        };
        let request = WatchCreateRequest {
            key: key(first),
            range_end,
            start_revision,
            progress_notify: self.chance(2),
            filters: if self.chance(5) { vec![self.lot(2) as i32] } else { Vec::new() },
            prev_kv: self.chance(2),
            watch_id: if self.chance(3) { 1 + self.lot(6) as i64 } else { 0 },
            fragment: self.cuts() && self.chance(2),
        };
        let client = self.clients.get_mut(&stream).unwrap();
        client.asked.push_back(request.clone());
        self.send(stream, RequestUnion::CreateRequest(request));
    }

    fn cancel(&mut self, stream: StreamId) {
        let ids: Vec<i64> = self.clients[&stream].watches.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let watch_id = ids[self.lot(ids.len() as u64) as usize];
        self.send(stream, RequestUnion::CancelRequest(WatchCancelRequest { watch_id }));
    }

    fn send(&mut self, stream: StreamId, union: RequestUnion) {
        let message = WatchRequest { request_union: Some(union) };
        self.hub.handle_message(self.now, stream, message);
    }

    fn change(&mut self) -> Option<Changes> {
        let mut changes: BTreeMap<Bytes, Change> = BTreeMap::new();
        for _ in 0..1 + self.lot(3) {
            let key = key(self.lot(KEYS));
            let length = self.lot(60) as usize;
            let value = if self.chance(3) { None } else { Some(Bytes::from(vec![b'v'; length])) };
            changes.insert(key.clone(), (key, value));
        }
        let changes: Vec<Change> = changes.into_values().collect();
        let applied = self.memory.apply(&changes)?;
        self.log.extend(applied.events.iter().cloned());
        Some(applied)
    }

    fn apply(&mut self) {
        if let Some(changes) = self.change() {
            self.hub.on_applied(&changes, &self.memory).unwrap();
        }
    }

    fn burst(&mut self) {
        (0..self.lot(80)).for_each(|_| self.apply());
    }

    fn install(&mut self) {
        for _ in 0..self.lot(20) {
            self.change();
        }
        if self.chance(3) {
            self.compact();
        }
        self.hub.on_installed(&self.memory);
    }

    fn compact(&mut self) {
        if self.seed.is_multiple_of(3) {
            return;
        }
        let (compacted, revision) = (self.memory.compacted().get(), self.revision());
        let least = compacted.max(revision - 30).max(1);
        let target = least + self.lot((revision - least + 1) as u64) as i64;
        if target > compacted {
            self.memory.compact(target);
            self.was_compacted = true;
        }
    }

    fn pass_on(&mut self, stream: StreamId) {
        let held = self.clients[&stream].held as u64;
        let frames = self.lot(held + 1) as usize;
        self.clients.get_mut(&stream).unwrap().held -= frames;
        self.hub.handle_ready(self.now, stream, frames);
    }

    fn receive(&mut self) {
        let frames_max = STREAMS as usize * STREAM_FRAMES_MAX;
        assert!(self.cuts() || self.hub.counts().frames <= frames_max, "more frames than credit");
        while let Some((stream, frame)) = self.hub.poll_frame() {
            let client = self.clients.get_mut(&stream).unwrap();
            client.held += 1;
            assert!(client.held <= STREAM_FRAMES_MAX, "more frames than credit");
            self.check(stream, &frame);
        }
    }

    /// All clients read until nothing is left; then nobody may be owed anything.
    fn settle(&mut self) {
        loop {
            for (stream, client) in &mut self.clients {
                self.hub.handle_ready(self.now, *stream, client.held);
                client.held = 0;
            }
            // Later than any pause.
            self.now += Duration::from_millis(500);
            self.hub.step(self.now, &self.memory).unwrap();
            self.receive();
            if self.hub.catch_up_due().is_none()
                && self.clients.values().all(|client| client.held == 0)
            {
                break;
            }
        }
        for client in self.clients.values() {
            assert!(client.asked.is_empty(), "a create was not answered");
            for watch in client.watches.values().filter(|watch| !watch.is_compacted) {
                assert!(!watch.is_open, "the last fragment is missing");
                assert_eq!(watch.owed(&self.log, i64::MAX), None, "seed {}", self.seed);
            }
        }
    }

    fn check(&mut self, stream: StreamId, frame: &WatchResponse) {
        let revision = frame.header.as_ref().unwrap().revision;
        let newest = self.revision();
        assert!(revision <= newest);
        if frame.created {
            return self.check_created(stream, frame, revision);
        }
        let client = self.clients.get_mut(&stream).unwrap();
        if !frame.events.is_empty() {
            let watch = client.watches.get_mut(&frame.watch_id).expect("events of a stranger");
            assert!(!frame.canceled && frame.compact_revision == 0);
            watch.check_events(frame, &self.log, !self.was_compacted);
            self.totals.events += frame.events.len();
            self.totals.fragments += usize::from(frame.fragment);
            let revisions = |event: &Event| event.kv.as_ref().unwrap().mod_revision;
            let spread = revisions(frame.events.last().unwrap()) - revisions(&frame.events[0]);
            self.totals.several_revisions += usize::from(spread > 0);
        } else if frame.compact_revision != 0 {
            assert!(frame.canceled && revision == 0 && frame.cancel_reason.is_empty());
            assert_eq!(frame.compact_revision, self.memory.compacted().get());
            let watch = client.watches.get_mut(&frame.watch_id).unwrap();
            assert!(watch.seen + 1 < frame.compact_revision, "canceled without need");
            assert!(watch.start < frame.compact_revision && !watch.is_compacted);
            watch.is_compacted = true;
            self.totals.compacted += 1;
        } else if frame.canceled {
            client.watches.remove(&frame.watch_id).expect("a cancel of a stranger");
        } else if frame.watch_id == -1 {
            assert!(!client.watches.is_empty(), "progress of nothing");
            for watch in client.watches.values_mut() {
                watch.check_progress(revision, &self.log);
            }
            self.totals.stream_progress += 1;
        } else {
            let watch = client.watches.get_mut(&frame.watch_id).unwrap();
            assert!(watch.request.progress_notify);
            watch.check_progress(revision, &self.log);
            self.totals.watch_progress += 1;
        }
    }

    fn check_created(&mut self, stream: StreamId, frame: &WatchResponse, revision: i64) {
        let client = self.clients.get_mut(&stream).unwrap();
        let request = client.asked.pop_front().expect("an answer to nothing");
        let wanted = request.watch_id;
        if frame.canceled {
            assert!(client.watches.contains_key(&wanted) && frame.watch_id == -1);
            self.totals.refused += 1;
            return;
        }
        assert!(wanted == 0 || wanted == frame.watch_id);
        let start = request.start_revision;
        let start = if start == 0 { revision + 1 } else { start };
        let keys = KeyRange::parse(&request.key, &request.range_end);
        let watch = Watch {
            request,
            keys,
            start,
            position: 0,
            seen: start - 1,
            last: 0,
            is_open: false,
            is_compacted: false,
        };
        assert!(client.watches.insert(frame.watch_id, watch).is_none(), "an id given twice");
    }
}

impl Watch {
    /// Where in the log the next event stands that the watch is owed, up to `until`.
    fn owed(&self, log: &[Event], until: i64) -> Option<usize> {
        let selects = |event: &Event| {
            let kv = event.kv.as_ref().unwrap();
            (self.start..=until).contains(&kv.mod_revision)
                && self.keys.contains(&kv.key)
                && !self.request.filters.contains(&event.r#type)
        };
        let rest = &log[self.position..];
        rest.iter().position(selects).map(|offset| self.position + offset)
    }

    fn check_events(&mut self, frame: &WatchResponse, log: &[Event], must_have_prev: bool) {
        assert!(!self.is_compacted);
        assert!(!frame.fragment || self.request.fragment, "cut without being asked to");
        let first = frame.events[0].kv.as_ref().unwrap().mod_revision;
        assert!(self.is_open || first > self.last, "a revision in two responses");
        for event in &frame.events {
            let at = self.owed(log, i64::MAX).expect("an event it is not owed");
            let bare = Event { prev_kv: None, ..event.clone() };
            assert_eq!(bare, log[at]);
            self.check_previous(event, &log[..at], must_have_prev);
            self.position = at + 1;
            self.last = event.kv.as_ref().unwrap().mod_revision;
        }
        self.seen = self.seen.max(self.last - i64::from(frame.fragment));
        self.is_open = frame.fragment;
        assert!(frame.header.as_ref().unwrap().revision >= self.last);
    }

    fn check_previous(&self, event: &Event, before: &[Event], must_have: bool) {
        let kv = event.kv.as_ref().unwrap();
        let same_key = |other: &&Event| other.kv.as_ref().unwrap().key == kv.key;
        let previous = before.iter().rev().find(same_key).filter(|other| other.r#type == 0);
        let previous = previous.and_then(|other| other.kv.as_ref());
        match &event.prev_kv {
            Some(found) => assert!(self.request.prev_kv && Some(found) == previous),
            None => assert!(!must_have || !self.request.prev_kv || previous.is_none()),
        }
    }

    fn check_progress(&mut self, revision: i64, log: &[Event]) {
        assert!(!self.is_compacted && !self.is_open);
        assert!(self.request.start_revision <= revision, "progress before the start");
        assert_eq!(self.owed(log, revision), None, "progress overtook events");
        self.seen = self.seen.max(revision);
    }
}

fn key(n: u64) -> Bytes {
    Bytes::from(format!("key{n:02}"))
}
