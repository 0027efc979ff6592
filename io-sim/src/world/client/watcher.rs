//! Those who watch.

use bytes::Bytes;
use quorate_core::ids::StreamId;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;

use super::request::key;
use super::{Class, ClientId, Event, Luck, MILLISECOND, Observer, Seen, Stream, Upward, World};
use crate::world::node::Build;

/// Follows some keys.
pub(in crate::world) struct Watcher {
    /// The first key, and the one after the last.
    pub(in crate::world) keys: (u64, u64),
    /// Events of revisions up to here have been seen completely.
    pub(in crate::world) seen: i64,
    stream: Option<StreamId>,
    is_created: bool,
    /// Looks in vain for a created watch, so often.
    waits: u32,
    node: usize,
    pub(in crate::world) is_slow: bool,
    prev_kv: bool,
    progress_notify: bool,
    fragment: bool,
}

impl Watcher {
    pub(super) fn new(luck: &mut Luck, keys: u64, nodes: u64) -> Self {
        let first = luck.below(keys);
        let span = if luck.below(3) == 0 { keys } else { luck.between(1, 10) };
        let (first, end) = if span == keys { (0, keys) } else { (first, first + span) };
        Self {
            keys: (first, end),
            seen: 0,
            stream: None,
            is_created: false,
            waits: 0,
            node: luck.below(nodes) as usize,
            is_slow: luck.below(4) == 0,
            prev_kv: luck.below(2) == 0,
            progress_notify: luck.below(2) == 0,
            fragment: luck.below(4) == 0,
        }
    }

    fn request(&self) -> pb::WatchRequest {
        let (first, end) = self.keys;
        let create = pb::WatchCreateRequest {
            key: key(first),
            range_end: if end == first + 1 { Bytes::new() } else { key(end) },
            start_revision: if self.seen > 0 { self.seen + 1 } else { 0 },
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            fragment: self.fragment,
            ..pb::WatchCreateRequest::default()
        };
        pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }
}

impl<B: Build, O: Observer> World<B, O> {
    /// Now and then a watcher looks after its stream: opens one, asks for progress, or moves.
    pub(super) fn wake_watcher(&mut self, client: usize, number: usize) {
        let rest = self.clients.luck[client].between(500, 3_000) * MILLISECOND;
        self.queue.push(self.now() + rest, Class::Client, Event::Wake(client));
        let watcher = &mut self.clients.watchers[number];
        let Some(stream) = watcher.stream else { return self.open_stream(client, number) };
        if !watcher.is_created {
            watcher.waits += 1;
        }
        let is_stuck = !watcher.is_created && watcher.waits > 2;
        match self.clients.luck[client].below(20) {
            0 => self.leave(client, stream),
            _ if is_stuck => self.leave(client, stream),
            1 | 2 => {
                let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                let message = pb::WatchRequest { request_union: Some(progress) };
                self.send_on_stream(client, stream, message);
            }
            _ => {}
        }
    }

    fn leave(&mut self, client: usize, stream: StreamId) {
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
        let node = watcher.node;
        (watcher.stream, watcher.is_created, watcher.waits) = (Some(stream), false, 0);
        let message = watcher.request();
        self.clients
            .streams
            .insert(stream, Stream { client, node, connection: None, is_broken: false });
        let member = self.nodes[node].id();
        self.tell(&Seen::StreamOpened { client: ClientId(client as u32), stream, member });
        self.send_up(client, node, Upward::Open(stream));
        self.send_on_stream(client, stream, message);
    }

    fn send_on_stream(&mut self, client: usize, stream: StreamId, message: pb::WatchRequest) {
        let Some(open) = self.clients.streams.get(&stream) else { return };
        let node = open.node;
        let seen =
            Seen::StreamSent { client: ClientId(client as u32), stream, message: message.clone() };
        self.tell(&seen);
        self.send_up(client, node, Upward::Watch(stream, message));
    }

    pub(super) fn take_frame(
        &mut self,
        client: usize,
        number: usize,
        stream: StreamId,
        frame: pb::WatchResponse,
    ) {
        let watcher = &mut self.clients.watchers[number];
        let revision = frame.header.as_ref().map_or(0, |header| header.revision);
        if frame.created {
            watcher.is_created = true;
            if watcher.seen == 0 {
                watcher.seen = revision;
            }
        }
        if !frame.fragment
            && let Some(last) = frame.events.last().and_then(|e| e.kv.as_ref())
        {
            watcher.seen = watcher.seen.max(last.mod_revision);
        }
        if frame.compact_revision > 0 {
            watcher.seen = watcher.seen.max(frame.compact_revision - 1);
        }
        let is_over = frame.canceled;
        self.tell(&Seen::Frame { client: ClientId(client as u32), stream, frame });
        if is_over {
            self.leave(client, stream);
        }
    }

    /// The client learns that its stream is gone; it will go on with the next member.
    pub(super) fn stream_broke(&mut self, client: usize, stream: StreamId) {
        if self.clients.streams.remove(&stream).is_none() {
            return;
        }
        self.tell(&Seen::StreamEnded { client: ClientId(client as u32), stream });
        let nodes = self.nodes.len();
        let Some(number) = self.clients.watcher_of(client) else { return };
        let watcher = &mut self.clients.watchers[number];
        watcher.stream = None;
        watcher.node = (watcher.node + 1) % nodes;
    }
}
