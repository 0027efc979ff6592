//! Those who watch.
//!
//! ```text
//!   one stream:  the main watch, resumed wherever it is opened again
//!                side watches, which come and go: from the past or the future, filtered, ...
//! ```

use std::collections::{BTreeMap, VecDeque};

use quorate_core::ids::StreamId;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_create_request::FilterType;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;

use super::request::key;
use super::{Class, ClientId, Event, Luck, MILLISECOND, Observer, Seen, Stream, Upward, World};
use crate::world::driver::Phase;
use crate::world::node::Build;

/// Side watches on one stream.
const SIDES_MAX: usize = 3;

/// Follows some keys.
pub(crate) struct Watcher {
    /// The first key, and the one after the last.
    pub(crate) keys: (u64, u64),
    /// Events of revisions up to here have been seen completely.
    pub(crate) seen: i64,
    /// The member said that nothing up to here is outstanding on the whole stream.
    pub(crate) synced: i64,
    /// Where the main watch of this stream begins. Until there is such a revision, the member says
    /// nothing of the stream.
    pub(crate) from: i64,
    stream: Option<StreamId>,
    /// The id of the main watch, once it is created.
    main: Option<i64>,
    /// Creations not answered yet: none for the main watch, the start revision of another.
    asked: VecDeque<Option<i64>>,
    /// Start revisions of side watches, by id.
    sides: BTreeMap<i64, i64>,
    /// Looks in vain for a created watch, so often.
    waits: u32,
    pub(crate) node: usize,
    pub(crate) is_slow: bool,
    prev_kv: bool,
    progress_notify: bool,
    fragment: bool,
    pub(crate) frame_bytes_max: usize,
}

impl Watcher {
    pub(crate) fn new(luck: &mut Luck, keys: u64, nodes: u64) -> Self {
        let first = luck.below(keys);
        let span = if luck.below(3) == 0 { keys } else { luck.between(1, 10) };
        let (first, end) = if span == keys { (0, keys) } else { (first, first + span) };
        Self {
            keys: (first, end),
            seen: 0,
            synced: 0,
            from: 0,
            stream: None,
            main: None,
            asked: VecDeque::new(),
            sides: BTreeMap::new(),
            waits: 0,
            node: luck.below(nodes) as usize,
            is_slow: luck.below(4) == 0,
            prev_kv: luck.below(2) == 0,
            progress_notify: luck.below(2) == 0,
            fragment: luck.below(2) == 0,
            // So small that a transaction or a slice of the past needs several.
            frame_bytes_max: if luck.below(2) == 0 { 200 } else { super::FRAME_BYTES_MAX },
        }
    }

    fn request(&self) -> pb::WatchCreateRequest {
        let (first, end) = self.keys;
        pb::WatchCreateRequest {
            key: key(first),
            range_end: if end == first + 1 { bytes::Bytes::new() } else { key(end) },
            start_revision: if self.seen > 0 { self.seen + 1 } else { 0 },
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            fragment: self.fragment,
            ..pb::WatchCreateRequest::default()
        }
    }

    /// A side watch of any kind.
    fn side_request(&self, luck: &mut Luck, keys: u64) -> pb::WatchCreateRequest {
        let first = luck.below(keys);
        let start_revision = match luck.below(16) {
            0..6 => 0,
            6..10 => (self.seen - luck.below(100) as i64).max(1),
            10 => 1,
            11..14 => self.seen + 1 + luck.below(60) as i64,
            14 => -1,
            _ => self.seen + 1_000_000,
        };
        let filter = [FilterType::Noput, FilterType::Nodelete][luck.below(2) as usize];
        pb::WatchCreateRequest {
            key: key(first),
            range_end: match luck.below(12) {
                0 => bytes::Bytes::from_static(&[0]),
                1 => key(0),
                2..6 => bytes::Bytes::new(),
                _ => key(first + luck.between(1, 6)),
            },
            start_revision,
            filters: if luck.below(3) == 0 { vec![filter.into()] } else { Vec::new() },
            watch_id: if luck.below(3) == 0 { luck.between(1, 4) as i64 } else { 0 },
            progress_notify: luck.below(2) == 0,
            prev_kv: luck.below(2) == 0,
            fragment: luck.below(2) == 0,
        }
    }

    /// Learns from a frame. True if the stream is of no use any more.
    pub(crate) fn learn(&mut self, frame: &pb::WatchResponse) -> bool {
        let revision = frame.header.as_ref().map_or(0, |header| header.revision);
        if frame.created {
            return self.learn_created(frame, revision);
        }
        let is_main = self.main == Some(frame.watch_id);
        if frame.canceled {
            self.sides.remove(&frame.watch_id);
            if is_main && frame.compact_revision > 0 {
                self.seen = self.seen.max(frame.compact_revision - 1);
            }
            return is_main || frame.watch_id == -1;
        }
        if frame.watch_id == -1 {
            self.synced = self.synced.max(revision);
        }
        if frame.events.is_empty() && (is_main || frame.watch_id == -1) && self.main.is_some() {
            self.seen = self.seen.max(revision);
        }
        if is_main
            && !frame.fragment
            && let Some(last) = frame.events.last().and_then(|event| event.kv.as_ref())
        {
            self.seen = self.seen.max(last.mod_revision);
        }
        false
    }

    fn learn_created(&mut self, frame: &pb::WatchResponse, revision: i64) -> bool {
        match self.asked.pop_front() {
            Some(Some(start)) if !frame.canceled => {
                self.sides.insert(frame.watch_id, start);
            }
            Some(None) if !frame.canceled => {
                self.main = Some(frame.watch_id);
                if self.seen == 0 {
                    self.seen = revision;
                }
            }
            _ => {}
        }
        false
    }
}

fn progress() -> RequestUnion {
    RequestUnion::ProgressRequest(pb::WatchProgressRequest {})
}

pub(crate) fn cancel(watch_id: i64) -> RequestUnion {
    RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })
}

/// What a watcher does when it looks after its stream.
pub(crate) enum Look {
    /// It goes elsewhere.
    Leave,
    /// It sends these, if any.
    Send(Vec<RequestUnion>),
    /// It sends this and then watches other keys: the id is free as soon as the cancel was sent.
    Replace(RequestUnion),
}

impl Watcher {
    /// The first message of a new stream.
    pub(crate) fn begin(&mut self) -> RequestUnion {
        self.asked.push_back(None);
        let request = self.request();
        self.from = request.start_revision;
        RequestUnion::CreateRequest(request)
    }

    /// Its stream is gone: it goes on with the next member.
    pub(crate) fn end(&mut self, next: usize) {
        (self.stream, self.main, self.waits) = (None, None, 0);
        self.asked.clear();
        self.sides.clear();
        self.node = next;
    }

    /// Now and then it asks for progress, watches other keys as well, or moves.
    pub(crate) fn look(&mut self, luck: &mut Luck, keys: u64, is_winding_up: bool) -> Look {
        if self.main.is_none() {
            self.waits += 1;
            if self.waits > 2 {
                return Look::Leave;
            }
        }
        if is_winding_up {
            return Look::Send(self.wind_up());
        }
        Look::Send(match luck.below(24) {
            0 => return Look::Leave,
            1 | 2 => vec![progress()],
            3..9 => self.watch_aside(luck, keys).into_iter().collect(),
            9..12 => vec![self.cancel_aside(luck)],
            12 => return Look::Replace(self.cancel_aside(luck)),
            _ => Vec::new(),
        })
    }

    /// Faults are over: no side watch may keep the stream from being shown everything.
    fn wind_up(&self) -> Vec<RequestUnion> {
        let newest = self.seen.max(self.synced);
        let ahead = self.sides.iter().filter(|(_, start)| **start > newest);
        ahead.map(|(id, _)| cancel(*id)).chain([progress()]).collect()
    }

    /// A watch beside the main one, if there is room.
    pub(crate) fn watch_aside(&mut self, luck: &mut Luck, keys: u64) -> Option<RequestUnion> {
        if self.sides.len() + self.asked.len() >= SIDES_MAX {
            return None;
        }
        let request = self.side_request(luck, keys);
        self.asked.push_back(Some(request.start_revision));
        Some(RequestUnion::CreateRequest(request))
    }

    /// Cancels a side watch, or one that does not exist.
    fn cancel_aside(&self, luck: &mut Luck) -> RequestUnion {
        let ids: Vec<_> = self.sides.keys().copied().collect();
        let place = luck.below(ids.len() as u64 + 1) as usize;
        cancel(ids.get(place).copied().unwrap_or(77))
    }
}

impl<B: Build, O: Observer> World<B, O> {
    /// Now and then a watcher looks after its stream, or opens one.
    pub(super) fn wake_watcher(&mut self, client: usize, number: usize) {
        let rest = self.clients.luck[client].between(500, 3_000) * MILLISECOND;
        self.queue.push(self.now() + rest, Class::Client, Event::Wake(client));
        let watcher = &mut self.clients.watchers[number];
        let Some(stream) = watcher.stream else { return self.open_stream(client, number) };
        let (luck, keys) = (&mut self.clients.luck[client], self.plan.shape.keys);
        match watcher.look(luck, keys, self.phase != Phase::Faults) {
            Look::Leave => self.leave(client, stream),
            Look::Send(requests) => {
                for request in requests {
                    self.send_on_stream(client, stream, request);
                }
            }
            Look::Replace(cancel) => {
                self.send_on_stream(client, stream, cancel);
                let (watcher, luck) =
                    (&mut self.clients.watchers[number], &mut self.clients.luck[client]);
                if let Some(request) = watcher.watch_aside(luck, keys) {
                    self.send_on_stream(client, stream, request);
                }
            }
        }
    }

    pub(super) fn leave(&mut self, client: usize, stream: StreamId) {
        if let Some(open) = self.clients.streams.get(&stream) {
            let node = open.node;
            self.send_up(client, node, Upward::Close(stream));
        }
        self.stream_broke(client, stream);
    }

    fn open_stream(&mut self, client: usize, number: usize) {
        self.clients.last_stream += 1;
        let stream = StreamId(self.clients.last_stream);
        let watcher = &mut self.clients.watchers[number];
        let (node, frame_bytes_max) = (watcher.node, watcher.frame_bytes_max);
        watcher.stream = Some(stream);
        let request = watcher.begin();
        let open = Stream { client, node, up: None, down: None, is_broken: false };
        self.clients.streams.insert(stream, open);
        let member = self.nodes[node].id();
        self.tell(&Seen::StreamOpened { client: ClientId(client as u32), stream, member });
        self.send_up_stream(stream, Upward::Open(stream, frame_bytes_max));
        self.send_on_stream(client, stream, request);
    }

    fn send_on_stream(&mut self, client: usize, stream: StreamId, request: RequestUnion) {
        if !self.clients.streams.contains_key(&stream) {
            return;
        }
        let message = pb::WatchRequest { request_union: Some(request) };
        let client = ClientId(client as u32);
        self.tell(&Seen::StreamSent { client, stream, message: message.clone() });
        self.send_up_stream(stream, Upward::Watch(stream, message));
    }

    pub(super) fn take_frame(
        &mut self,
        client: usize,
        number: usize,
        stream: StreamId,
        frame: pb::WatchResponse,
    ) {
        let watcher = &mut self.clients.watchers[number];
        let is_over = watcher.learn(&frame);
        let id = frame.watch_id;
        let is_behind = frame.compact_revision > 0;
        self.tell(&Seen::Frame { client: ClientId(client as u32), stream, frame });
        if is_over {
            self.leave(client, stream);
        } else if is_behind {
            // Until it is let go of, a watch that was cancelled keeps its id.
            self.send_on_stream(client, stream, cancel(id));
        }
    }

    /// The client learns that its stream is gone; it will go on with the next member.
    pub(super) fn stream_broke(&mut self, client: usize, stream: StreamId) {
        if self.clients.streams.remove(&stream).is_none() {
            return;
        }
        self.tell(&Seen::StreamEnded { client: ClientId(client as u32), stream });
        let Some(number) = self.clients.watcher_of(client) else { return };
        let next = self.next_node(self.clients.watchers[number].node);
        self.clients.watchers[number].end(next);
    }
}
