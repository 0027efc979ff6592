//! Watchers that are behind are shown what they missed, a bounded slice at a time, in turns.

use alloc::vec::Vec;

use quorate_proto::mvccpb::Event;

use super::fan_out::read_previous;
use super::hub::Hub;
use super::recent::event_bytes;
use super::watcher::{Place, Slot, Watcher};
use crate::error::StorageFault;
use crate::event::{History, ReadError, Span};
use crate::ids::{Revision, StreamId};
use crate::limits::{CATCH_UP_BYTES_MAX, CATCH_UP_RECORDS_MAX, CATCH_UP_REVISIONS_MAX};

/// Records of the first slice ever read; how large records are is not known yet.
const PACE_FIRST: usize = 64;

/// How many records one slice asks the store for: as many as promise a response of bounded size,
/// judged by the slice before. A backlog of large values is never held in memory at once.
#[derive(Debug)]
pub(super) struct Pace {
    records: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { records: PACE_FIRST }
    }
}

impl Pace {
    fn learn(&mut self, bytes: usize) {
        self.records = if bytes > CATCH_UP_BYTES_MAX {
            let scaled = self.records as u128 * CATCH_UP_BYTES_MAX as u128 / bytes as u128;
            usize::try_from(scaled).unwrap_or(1).max(1)
        } else if bytes < CATCH_UP_BYTES_MAX / 4 {
            (self.records * 2).min(CATCH_UP_REVISIONS_MAX)
        } else {
            self.records
        };
    }
}

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

impl Hub {
    /// Whether [`step`](Self::step) has anything to do.
    pub fn has_work(&self) -> bool {
        !self.running.is_empty()
    }

    /// Catches watchers up, one slice each in turns, until [`CATCH_UP_RECORDS_MAX`] records were
    /// looked at. Returns whether work remains that can be done without more credit.
    pub fn step(&mut self, history: &dyn History) -> Result<bool, StorageFault> {
        let mut records_left = CATCH_UP_RECORDS_MAX;
        while records_left > 0 {
            let Some(id) = self.running.pop_front() else { break };
            let Some(slot) = self.next_behind(id) else { continue };
            let records = self.catch_up(slot, records_left, history)?;
            records_left = records_left.saturating_sub(records.max(1));
            self.answer_wish(id);
            self.list_running(id);
        }
        Ok(self.has_work())
    }

    fn next_behind(&mut self, id: StreamId) -> Option<Slot> {
        let stream = self.streams.get_mut(&id)?;
        stream.is_running = false;
        if stream.can_run() { stream.behind.pop_first().map(|(_, slot)| slot) } else { None }
    }

    /// Shows one watcher, taken out of its line, one slice; returns the records that cost.
    fn catch_up(
        &mut self,
        slot: Slot,
        records_max: usize,
        history: &dyn History,
    ) -> Result<usize, StorageFault> {
        let compacted = history.compacted();
        let slice = match self.read_slice(slot, records_max, history) {
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
        records_max: usize,
        history: &dyn History,
    ) -> Result<Slice, Obstacle> {
        let Some(watcher) = self.watchers.get(slot) else {
            return Ok(Slice { events: Vec::new(), reached: self.revision.next(), records: 0 });
        };
        if watcher.next < history.compacted() {
            return Err(Obstacle::Compacted);
        }
        let span = Span { from: watcher.next, until: self.revision, records_max };
        let mut slice = if self.recent.reaches(watcher.next) {
            let mut events = Vec::new();
            let mut keep = |_, event| accept(watcher, event, &mut events);
            let (reached, records) = self.recent.changes(span, &watcher.keys, &mut keep);
            Slice { events, reached, records }
        } else {
            let records_max = records_max.min(self.pace.records);
            let slice = read_stored(watcher, Span { records_max, ..span }, history)?;
            self.pace.learn(slice.events.iter().map(event_bytes).sum());
            slice
        };
        if watcher.wants.prev_kv {
            for event in &mut slice.events {
                event.prev_kv = read_previous(event, history).map_err(Obstacle::Fault)?;
            }
        }
        Ok(slice)
    }

    fn cancel_compacted(&mut self, slot: Slot, compacted: Revision) {
        let Some(watcher) = self.watchers.get_mut(slot) else { return };
        watcher.place = Place::Canceled;
        let (stream, id) = (watcher.stream, watcher.id);
        let frame = self.letterhead.compacted(id, compacted);
        self.push(stream, frame);
    }
}

fn accept(watcher: &Watcher, event: Event, events: &mut Vec<Event>) {
    if watcher.wants.accept(&event) {
        events.push(event);
    }
}

fn read_stored(watcher: &Watcher, span: Span, history: &dyn History) -> Result<Slice, Obstacle> {
    let mut events = Vec::new();
    let mut keep = |_, event| accept(watcher, event, &mut events);
    match history.changes(span, &watcher.keys, &mut keep) {
        Ok(reached) => Ok(Slice { events, reached, records: span.records_max }),
        Err(ReadError::Refused(_)) => Err(Obstacle::Compacted),
        Err(ReadError::Fault(fault)) => Err(Obstacle::Fault(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_falls_with_large_records_and_recovers_with_small_ones() {
        let mut pace = Pace::default();
        pace.learn(64 << 20);
        assert_eq!(pace.records, 4);
        pace.learn(3 << 20);
        assert_eq!(pace.records, 4);
        pace.learn(1_000);
        assert_eq!(pace.records, 8);
        for _ in 0..20 {
            pace.learn(0);
        }
        assert_eq!(pace.records, CATCH_UP_REVISIONS_MAX);
        pace.learn(usize::MAX);
        assert_eq!(pace.records, 1);
    }
}
