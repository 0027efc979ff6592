//! One client's stream: its watches, its credit, what waits for it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use quorate_proto::etcdserverpb::{WatchRequest, WatchResponse};

use super::frame::frame_bytes;
use super::watcher::Slot;
use crate::ids::{Revision, WatchId};
use crate::limits::{STREAM_BYTES_MAX, STREAM_FRAMES_MAX};
use crate::pinch::{Pinch, Site};
use crate::time::Time;

/// See the module.
#[derive(Debug)]
pub(super) struct Stream {
    /// Encoded size at which responses of watches that asked for it are cut.
    pub(super) frame_bytes_max: usize,
    /// Frames that may be made and not passed on, and their bytes.
    frames_max: usize,
    bytes_max: usize,
    /// Frames the shell can still take.
    pub(super) credit: usize,
    /// Frames made and not taken yet.
    pub(super) frames: VecDeque<WatchResponse>,
    /// Bytes of all frames made and not passed on, the oldest first.
    held: VecDeque<usize>,
    held_bytes: usize,
    /// What arrived while there was no room for answers; none is left when there is room.
    pub(super) messages: VecDeque<Message>,
    /// Every watch whose id is in use.
    pub(super) ids: BTreeMap<WatchId, Slot>,
    /// How many of them are synced.
    pub(super) synced: usize,
    /// Those that catch up, by turn.
    pub(super) behind: BTreeMap<u64, Slot>,
    /// Whether the client asked how far the stream is, and has no answer yet.
    pub(super) wishes_progress: bool,
    /// The start revision that answer waits for, if it is only that.
    pub(super) wish_waits_for: Option<Revision>,
    /// How many watches want progress notifications.
    pub(super) notified: usize,
    /// When they are due.
    pub(super) tick: Option<Time>,
    /// Whether it stands in the hub's list of streams with frames to take.
    pub(super) is_ready: bool,
    /// Whether it stands in the hub's list of streams with watchers to catch up.
    pub(super) is_running: bool,
    /// Whether it was given up.
    pub(super) is_ended: bool,
    next_id: i64,
    next_turn: u64,
}

/// What the client sent, judged by the door.
#[derive(Debug)]
pub(super) enum Message {
    /// A request to be carried out.
    Request(WatchRequest),
    /// A request to create a watch that the client may not have, and why.
    Refused(String),
}

impl Stream {
    /// A stream without watches, with full credit.
    pub(super) fn new(frame_bytes_max: usize, pinch: Pinch) -> Self {
        let frames_max = pinch.bound(Site::StreamFrames, STREAM_FRAMES_MAX);
        Self {
            frame_bytes_max,
            frames_max,
            bytes_max: pinch.bound(Site::StreamBytes, STREAM_BYTES_MAX),
            credit: frames_max,
            frames: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            messages: VecDeque::new(),
            ids: BTreeMap::new(),
            synced: 0,
            behind: BTreeMap::new(),
            wishes_progress: false,
            wish_waits_for: None,
            notified: 0,
            tick: None,
            is_ready: false,
            is_running: false,
            is_ended: false,
            next_id: 0,
            next_turn: 0,
        }
    }

    /// Whether another frame may be made.
    pub(super) fn has_room(&self) -> bool {
        self.credit > self.frames.len() && self.held_bytes < self.bytes_max && !self.is_ended
    }

    /// Puts a frame last.
    pub(super) fn push(&mut self, frame: WatchResponse) {
        let bytes = frame_bytes(&frame);
        self.held.push_back(bytes);
        self.held_bytes += bytes;
        self.frames.push_back(frame);
    }

    /// Notes whether it has frames to take; tells whether that is new.
    pub(super) fn note_ready(&mut self) -> bool {
        let is_new = !self.is_ready && self.credit > 0 && !self.frames.is_empty();
        self.is_ready |= is_new;
        is_new
    }

    /// That many frames that were taken out were passed on.
    pub(super) fn on_passed(&mut self, frames: usize) {
        self.credit = self.credit.saturating_add(frames).min(self.frames_max);
        let taken = self.held.len() - self.frames.len();
        self.held_bytes -= self.held.drain(..frames.min(taken)).sum::<usize>();
    }

    /// Whether a watcher can be caught up now.
    pub(super) fn can_run(&self) -> bool {
        self.has_room() && !self.behind.is_empty()
    }

    /// Whether every watch has been shown everything.
    pub(super) fn is_synced(&self) -> bool {
        self.synced == self.ids.len()
    }

    /// Takes a frame out, if the shell can take one.
    pub(super) fn take_frame(&mut self) -> Option<WatchResponse> {
        if self.credit == 0 {
            return None;
        }
        let frame = self.frames.pop_front()?;
        self.credit -= 1;
        Some(frame)
    }

    /// The id a new watch gets: the one asked for, or the counter's next free one when that is 0.
    /// None if the one asked for is in use.
    pub(super) fn assign_id(&mut self, wanted: WatchId) -> Option<WatchId> {
        if wanted != WatchId(0) {
            return (!self.ids.contains_key(&wanted)).then_some(wanted);
        }
        if crate::planted!("canceled-id-reused") {
            self.next_id = 0;
        }
        while self.ids.contains_key(&WatchId(self.next_id)) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(WatchId(self.next_id - 1))
    }

    /// Puts a watcher last in the line of those that catch up; returns its turn.
    pub(super) fn queue(&mut self, slot: Slot) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.behind.insert(turn, slot);
        turn
    }
}
