//! Watchers that are behind are shown what they missed, a bounded slice at a time, in turns.

use alloc::vec::Vec;

use quorate_proto::mvccpb::Event;

use super::fan_out::read_previous;
use super::hub::Hub;
use super::restraint::Portion;
use super::watcher::{Place, Slot};
use crate::error::StorageFault;
use crate::event::{History, ReadError};
use crate::ids::{Revision, StreamId};
use crate::time::Time;

/// What a slice brought to light.
struct Slice {
    events: Vec<Event>,
    /// The first revision not looked at.
    reached: Revision,
    /// Records it cost.
    records: usize,
}

/// Why a slice brought nothing.
enum Obstacle {
    Compacted,
    Fault(StorageFault),
}

impl From<ReadError> for Obstacle {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(_) => Self::Compacted,
            ReadError::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl Hub {
    /// When [`step`](Self::step) has something to do next without more credit; may be past.
    pub fn catch_up_due(&self) -> Option<Time> {
        (!self.running.is_empty()).then(|| self.restraint.due())
    }

    /// Somebody who is not catching up is being served: steps are small and rare for a while.
    pub fn note_served(&mut self, now: Time) {
        self.restraint.note_served(now);
    }

    /// Catches watchers up, one slice each in turns, until the step's records were looked at; a
    /// slice begun is finished. Nothing happens before it is due.
    pub fn step(&mut self, now: Time, history: &dyn History) -> Result<(), StorageFault> {
        if self.running.is_empty() {
            return Ok(());
        }
        let Some(portion) = self.restraint.take(now, self.behind) else { return Ok(()) };
        let mut records_left = portion.records_max;
        while records_left > 0 {
            let Some(id) = self.running.pop_front() else { break };
            let Some(slot) = self.next_behind(id) else { continue };
            let records = self.catch_up(slot, portion, history)?;
            records_left = records_left.saturating_sub(records.max(1));
            self.answer_wish(id);
            self.list_running(id);
        }
        if self.behind == 0 {
            self.windows.clear();
        }
        Ok(())
    }

    fn next_behind(&mut self, id: StreamId) -> Option<Slot> {
        let stream = self.streams.get_mut(&id)?;
        stream.is_running = false;
        if !stream.can_run() {
            return None;
        }
        let (_, slot) = stream.behind.pop_first()?;
        self.behind -= 1;
        Some(slot)
    }

    /// Shows one watcher, taken out of its line, one slice; returns the records that cost.
    fn catch_up(
        &mut self,
        slot: Slot,
        portion: Portion,
        history: &dyn History,
    ) -> Result<usize, StorageFault> {
        let compacted = history.compacted();
        let slice = match self.read_slice(slot, portion, history) {
            Ok(slice) => slice,
            Err(Obstacle::Fault(fault)) => return Err(fault),
            Err(Obstacle::Compacted) => {
                self.cancel_compacted(slot, compacted);
                return Ok(1);
            }
        };
        let Some(watcher) = self.watchers.get_mut(slot) else { return Ok(1) };
        let (id, stream) = (watcher.id, watcher.stream);
        watcher.next = slice.reached;
        if slice.reached > self.revision {
            watcher.place = Place::Synced;
            self.synced.insert(&watcher.keys, slot);
            if let Some(stream) = self.streams.get_mut(&stream) {
                stream.synced += 1;
            }
        } else {
            self.fall_behind(slot, slice.reached);
        }
        if !slice.events.is_empty() {
            let response = self.letterhead.events(id, self.revision, slice.events);
            self.push_response(slot, response);
        }
        Ok(slice.records)
    }

    fn read_slice(
        &mut self,
        slot: Slot,
        portion: Portion,
        history: &dyn History,
    ) -> Result<Slice, Obstacle> {
        let Some(watcher) = self.watchers.get(slot) else {
            return Ok(Slice { events: Vec::new(), reached: self.revision.next(), records: 0 });
        };
        if watcher.next < history.compacted() {
            return Err(Obstacle::Compacted);
        }
        let mut read = 0;
        let (mut events, reached, selected) = if self.recent.reaches(watcher.next) {
            self.recent.select(watcher.next, &watcher.keys)
        } else {
            let revisions = (watcher.next, self.revision);
            let (window, records) = self.windows.reach(revisions, portion, history)?;
            read = records;
            window.select(watcher.next, &watcher.keys)
        };
        events.retain(|event| watcher.wants.accept(event));
        if watcher.wants.prev_kv {
            for event in &mut events {
                event.prev_kv = read_previous(event, history).map_err(Obstacle::Fault)?;
            }
        }
        Ok(Slice { events, reached, records: read + selected })
    }

    fn cancel_compacted(&mut self, slot: Slot, compacted: Revision) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        crate::probe!("watch canceled by a compaction");
        watcher.place = Place::Canceled;
        let (stream, id) = (watcher.stream, watcher.id);
        let next = watcher.next;
        let named = if crate::planted!("compact-revision-wrong") { next } else { compacted };
        let frame = self.letterhead.compacted(id, named);
        self.push(stream, frame);
    }
}
