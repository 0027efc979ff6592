//! How far a watch, or a whole stream, has been shown everything.

use alloc::vec::Vec;

use super::hub::Hub;
use super::watcher::{Place, Slot, Watcher};
use crate::draw::{Domain, draw, draw_below};
use crate::ids::{Revision, StreamId};
use crate::time::{Duration, Time, Wake};

impl Hub {
    /// When progress notifications are due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Wake> {
        let &(at, _) = self.ticks.first()?;
        Some(Wake { at, timer: "watch progress" })
    }

    /// Sends the progress notifications that are due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(&(at, stream)) = self.ticks.first().filter(|(at, _)| *at <= now) {
            self.ticks.pop_first();
            self.on_tick(stream);
            let next = at + self.interval(stream);
            let next = if next > now { next } else { now + self.interval(stream) };
            if let Some(open) = self.streams.get_mut(&stream) {
                open.tick = Some(next);
                self.ticks.insert((next, stream));
            }
        }
    }

    /// The interval, up to a tenth longer: streams opened together do not tick together.
    fn interval(&self, stream: StreamId) -> Duration {
        let member = self.letterhead.member.get();
        let lot = draw(self.seed, Domain::Watch as u64, member, stream.get());
        let tenth = u64::try_from(self.progress_interval.as_nanos() / 10).unwrap_or(u64::MAX);
        self.progress_interval + Duration::from_nanos(draw_below(tenth, lot))
    }

    /// Streams tick from the first watch on that wants notifications.
    pub(super) fn start_ticking(&mut self, now: Time, id: StreamId) {
        let at = now + self.interval(id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.notified > 0 && stream.tick.is_none() {
            stream.tick = Some(at);
            self.ticks.insert((at, id));
        }
    }

    /// And until the last one is gone.
    pub(super) fn stop_ticking(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.notified == 0
            && let Some(at) = stream.tick.take()
        {
            self.ticks.remove(&(at, id));
        }
    }

    fn on_tick(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let slots: Vec<Slot> = stream.ids.values().copied().collect();
        for slot in slots {
            self.notify(id, slot);
        }
    }

    fn notify(&mut self, stream: StreamId, slot: Slot) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        let was_idle = core::mem::replace(&mut watcher.is_idle, true);
        let is_synced =
            watcher.place == Place::Synced || crate::planted!("watch-progress-overtakes");
        let has_begun =
            watcher.start <= self.revision || crate::planted!("future-watch-told-progress");
        let is_current = is_synced && has_begun;
        let has_room = self.streams.get(&stream).is_some_and(|open| open.has_room());
        if watcher.wants.progress && was_idle && is_current && has_room {
            let frame = self.letterhead.progress(watcher.id, self.revision);
            self.push(stream, frame);
        }
    }

    /// The client asked how far its stream is. A stream without watches is nowhere: no answer.
    pub(super) fn wish_progress(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.wishes_progress = true;
        self.answer_wish(id);
    }

    /// Answers if the answer is due; to be tried whenever it may have become due.
    pub(super) fn answer_wish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.wishes_progress {
            return;
        }
        if stream.ids.is_empty() {
            stream.wishes_progress = false;
            return;
        }
        let is_synced = stream.is_synced() || crate::planted!("watch-progress-overtakes");
        if !is_synced || !stream.has_room() {
            return;
        }
        let watchers = stream.ids.values().filter_map(|&slot| self.watchers.get(slot));
        if let Some(start) = latest_start(watchers).filter(|start| *start > self.revision) {
            if let Some(before) = stream.wish_waits_for.replace(start) {
                self.early_wishes.remove(&(before, id));
            }
            self.early_wishes.insert((start, id));
            return;
        }
        stream.wishes_progress = false;
        let frame = self.letterhead.progress_all(self.revision);
        self.push(id, frame);
    }

    /// Answers wishes that waited for a start revision, now that it may be reached.
    pub(super) fn answer_early_wishes(&mut self) {
        while let Some(&(start, id)) = self.early_wishes.first() {
            if start > self.revision {
                return;
            }
            self.early_wishes.pop_first();
            self.answer_wish(id);
        }
    }
}

fn latest_start<'a>(watchers: impl Iterator<Item = &'a Watcher>) -> Option<Revision> {
    watchers.map(|watcher| watcher.start).max()
}
