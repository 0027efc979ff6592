//! The hub: streams and watches come, ask and go; frames leave.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};

use bytes::Bytes;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

use super::frame::{self, Letterhead};
use super::index::Index;
use super::recent::Recent;
use super::restraint::Restraint;
use super::stream::{Message, Stream};
use super::watcher::{Place, Slot, Slots, Wants, Watcher};
use super::window::Windows;
use crate::event::KeyRange;
use crate::ids::{ClusterId, MemberId, Revision, StreamId, Term, WatchId};
use crate::limits::STREAM_MESSAGES_MAX;
use crate::pinch::Pinch;
use crate::time::{Duration, Time};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const OVERRUN: &str = "etcdserver: too many requests";

/// No progress notification is sent more often than this.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Whose hub it is, and how it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The cluster, for headers.
    pub cluster: ClusterId,
    /// The member, for headers.
    pub member: MemberId,
    /// Seed of the spread of progress notifications over streams.
    pub seed: u64,
    /// Time between progress notifications of an idle watch; raised to 100 ms if it is less.
    pub progress_interval: Duration,
    /// The store's revision when the hub is made.
    pub revision: Revision,
    /// Bounds that are tiny.
    pub pinch: Pinch,
}

/// How much the hub holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Open streams.
    pub streams: usize,
    /// Watches, canceled ones that still hold their id included.
    pub watchers: usize,
    /// Watchers that have not been shown everything.
    pub behind: usize,
    /// Frames made and not taken.
    pub frames: usize,
}

/// All watch streams of one member. See the [module](super).
#[derive(Debug)]
pub struct Hub {
    pub(super) letterhead: Letterhead,
    pub(super) seed: u64,
    pub(super) progress_interval: Duration,
    /// Everything up to here went through the hub.
    pub(super) revision: Revision,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) watchers: Slots,
    /// The synced ones.
    pub(super) synced: Index,
    pub(super) recent: Recent,
    pub(super) windows: Windows,
    pub(super) restraint: Restraint,
    pinch: Pinch,
    /// How many watchers stand in their stream's line for catching up.
    pub(super) behind: usize,
    /// Streams with frames to take.
    ready: VecDeque<StreamId>,
    /// Streams with watchers to catch up and room for what they find.
    pub(super) running: VecDeque<StreamId>,
    /// When progress notifications are due.
    pub(super) ticks: BTreeSet<(Time, StreamId)>,
    /// Streams whose progress wish waits for a revision.
    pub(super) early_wishes: BTreeSet<(Revision, StreamId)>,
}

impl Hub {
    /// A hub without streams.
    pub fn new(setup: Setup) -> Self {
        let Setup { cluster, member, seed, progress_interval, revision, pinch } = setup;
        Self {
            letterhead: Letterhead { cluster, member, term: Term(0) },
            seed,
            progress_interval: progress_interval.max(PROGRESS_INTERVAL_MIN),
            revision,
            streams: BTreeMap::new(),
            watchers: Slots::default(),
            synced: Index::default(),
            recent: Recent::new(pinch),
            windows: Windows::new(pinch),
            restraint: Restraint::new(pinch),
            pinch,
            behind: 0,
            ready: VecDeque::new(),
            running: VecDeque::new(),
            ticks: BTreeSet::new(),
            early_wishes: BTreeSet::new(),
        }
    }

    /// The term that headers tell from now on.
    pub fn set_term(&mut self, term: Term) {
        self.letterhead.term = term;
    }

    /// A client opened a stream. Responses of watches that ask for fragments are cut when their
    /// encoding reaches `frame_bytes_max`.
    pub fn open(&mut self, stream: StreamId, frame_bytes_max: usize) {
        self.close(stream);
        self.streams.insert(stream, Stream::new(frame_bytes_max, self.pinch));
    }

    /// The stream is gone, and all its watches with it.
    pub fn close(&mut self, stream: StreamId) {
        self.drop_watchers(stream);
        if let Some(start) = self.streams.remove(&stream).and_then(|open| open.wish_waits_for) {
            self.early_wishes.remove(&(start, stream));
        }
    }

    /// The client sent a message, which it may send as far as the door knows.
    pub fn handle_message(&mut self, now: Time, stream: StreamId, message: WatchRequest) {
        self.handle(now, stream, Message::Request(message));
    }

    /// The client asked for a watch it may not have; `reason` is what it is told.
    pub fn handle_refused(&mut self, now: Time, stream: StreamId, reason: &str) {
        self.handle(now, stream, Message::Refused(reason.to_string()));
    }

    /// The shell passed `frames` frames on and can take as many more.
    pub fn handle_ready(&mut self, now: Time, stream: StreamId, frames: usize) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.on_passed(frames);
        self.list_ready(stream);
        while let Some(message) = self.next_message(stream) {
            self.carry_out(now, stream, message);
        }
        self.answer_wish(stream);
        self.list_running(stream);
    }

    /// Takes out the next frame for a stream that can take one.
    #[must_use]
    pub fn poll_frame(&mut self) -> Option<(StreamId, WatchResponse)> {
        loop {
            let id = *self.ready.front()?;
            let stream = self.streams.get_mut(&id);
            if let Some(stream) = stream {
                if let Some(frame) = stream.take_frame() {
                    return Some((id, frame));
                }
                stream.is_ready = false;
            }
            self.ready.pop_front();
        }
    }

    /// How many watches there are.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// How many watchers are told from history.
    pub fn behind(&self) -> usize {
        self.behind
    }

    /// Everything counted, at a cost that grows with the number of streams.
    pub fn counts(&self) -> Counts {
        Counts {
            streams: self.streams.len(),
            watchers: self.watchers(),
            behind: self.behind,
            frames: self.streams.values().map(|stream| stream.frames.len()).sum(),
        }
    }

    fn handle(&mut self, now: Time, stream: StreamId, message: Message) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        if open.is_ended {
            return;
        }
        if open.has_room() {
            self.carry_out(now, stream, message);
        } else if open.messages.len() < STREAM_MESSAGES_MAX {
            open.messages.push_back(message);
        } else {
            self.end(stream);
        }
    }

    fn next_message(&mut self, stream: StreamId) -> Option<Message> {
        let stream = self.streams.get_mut(&stream)?;
        if stream.has_room() { stream.messages.pop_front() } else { None }
    }

    fn carry_out(&mut self, now: Time, stream: StreamId, message: Message) {
        let request = match message {
            Message::Refused(reason) => return self.refuse(stream, reason),
            Message::Request(request) => request.request_union,
        };
        match request {
            Some(RequestUnion::CreateRequest(request)) => self.create(now, stream, &request),
            Some(RequestUnion::CancelRequest(request)) => {
                self.cancel(stream, WatchId(request.watch_id));
            }
            Some(RequestUnion::ProgressRequest(_)) => self.wish_progress(stream),
            None => {}
        }
    }

    fn refuse(&mut self, stream: StreamId, reason: String) {
        let frame = self.letterhead.refused(reason, self.revision);
        self.push(stream, frame);
    }

    fn create(&mut self, now: Time, stream: StreamId, request: &WatchCreateRequest) {
        match self.parse(stream, request) {
            Err(reason) => self.refuse(stream, reason.to_string()),
            Ok(watcher) => {
                let frame = self.letterhead.created(watcher.id, self.revision);
                self.push(stream, frame);
                self.settle(now, watcher);
            }
        }
    }

    fn parse(
        &mut self,
        id: StreamId,
        request: &WatchCreateRequest,
    ) -> Result<Watcher, &'static str> {
        if request.start_revision < 0 {
            return Err(COMPACTED);
        }
        let first = Bytes::from_static(&[0]);
        let key = if request.key.is_empty() { &first } else { &request.key };
        let keys = KeyRange::parse(key, &request.range_end);
        if matches!(&keys, KeyRange::Between(start, end) if end <= start) {
            return Err(EMPTY_RANGE);
        }
        let stream = self.streams.get_mut(&id).ok_or(DUPLICATE_ID)?;
        let start = Revision(request.start_revision);
        Ok(Watcher {
            stream: id,
            id: stream.assign_id(WatchId(request.watch_id)).ok_or(DUPLICATE_ID)?,
            keys,
            start,
            next: if start == Revision(0) { self.revision.next() } else { start },
            wants: Wants::parse(request),
            place: Place::Synced,
            is_idle: true,
        })
    }

    /// Enters a new watcher in the ledgers.
    fn settle(&mut self, now: Time, watcher: Watcher) {
        let (id, stream, next) = (watcher.id, watcher.stream, watcher.next);
        let wants_progress = watcher.wants.progress;
        let slot = self.watchers.insert(watcher);
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.ids.insert(id, slot);
        open.synced += 1;
        open.notified += usize::from(wants_progress);
        if let Some(watcher) = self.watchers.get(slot) {
            self.synced.insert(&watcher.keys, slot);
        }
        if next <= self.revision {
            self.fall_behind(slot, next);
        }
        self.start_ticking(now, stream);
    }

    fn cancel(&mut self, stream: StreamId, id: WatchId) {
        let slot = self.streams.get(&stream).and_then(|open| open.ids.get(&id)).copied();
        let Some(slot) = slot else { return };
        self.drop_watcher(slot);
        let frame = self.letterhead.canceled(id, self.revision);
        self.push(stream, frame);
        self.answer_wish(stream);
    }

    /// Gives up a stream whose client sends without reading: one last frame says so.
    fn end(&mut self, stream: StreamId) {
        self.drop_watchers(stream);
        let frame = self.letterhead.ended(OVERRUN, self.revision);
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.is_ended = true;
        open.messages.clear();
        open.wishes_progress = false;
        self.push(stream, frame);
    }

    fn drop_watchers(&mut self, stream: StreamId) {
        let Some(open) = self.streams.get(&stream) else { return };
        let slots: BTreeSet<Slot> = open.ids.values().copied().collect();
        slots.into_iter().for_each(|slot| self.drop_watcher(slot));
    }

    fn drop_watcher(&mut self, slot: Slot) {
        let Some(watcher) = self.watchers.remove(slot) else { return };
        if watcher.place == Place::Synced {
            self.synced.remove(&watcher.keys, slot);
        }
        let Some(stream) = self.streams.get_mut(&watcher.stream) else { return };
        stream.ids.remove(&watcher.id);
        match watcher.place {
            Place::Synced => stream.synced -= 1,
            Place::Behind(turn) => {
                stream.behind.remove(&turn);
                self.behind -= 1;
            }
            Place::Canceled => {}
        }
        stream.notified -= usize::from(watcher.wants.progress);
        self.stop_ticking(watcher.stream);
    }

    /// A watcher cannot be shown `next` now: it catches up from there.
    pub(super) fn fall_behind(&mut self, slot: Slot, next: Revision) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        let id = watcher.stream;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if watcher.place == Place::Synced {
            self.synced.remove(&watcher.keys, slot);
            stream.synced -= 1;
        }
        watcher.next = next;
        watcher.place = Place::Behind(stream.queue(slot));
        self.behind += 1;
        self.list_running(id);
    }

    /// Sends one response of a watch, in parts if it wants that.
    pub(super) fn push_response(&mut self, slot: Slot, response: WatchResponse) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        let (stream, fragment) = (watcher.stream, watcher.wants.fragment);
        watcher.is_idle = false;
        if crate::planted!("watch-splits-revision") {
            for part in frame::split(response, 1) {
                self.push(stream, WatchResponse { fragment: false, ..part });
            }
            return;
        }
        if !fragment {
            return self.push(stream, response);
        }
        let bytes_max = self.streams.get(&stream).map_or(0, |open| open.frame_bytes_max);
        for part in frame::split(response, bytes_max) {
            self.push(stream, part);
        }
    }

    /// Puts a frame last in its stream.
    pub(super) fn push(&mut self, stream: StreamId, frame: WatchResponse) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        open.push(frame);
        if open.note_ready() {
            self.ready.push_back(stream);
        }
    }

    fn list_ready(&mut self, id: StreamId) {
        if self.streams.get_mut(&id).is_some_and(Stream::note_ready) {
            self.ready.push_back(id);
        }
    }

    /// Puts a stream last in the line for catching up, if it has anything to do there.
    pub(super) fn list_running(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.is_running && stream.can_run() {
            stream.is_running = true;
            self.running.push_back(id);
        }
    }
}
