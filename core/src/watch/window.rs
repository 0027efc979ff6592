//! The slices of history read last: watchers that are behind by about as much share one reading.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::mvccpb::Event;

use super::recent::{event_bytes, touches};
use super::restraint::Portion;
use crate::event::{History, KeyRange, ReadError, Span};
use crate::ids::Revision;
use crate::limits::{CATCH_UP_REVISIONS_MAX, CATCH_UP_WINDOWS_MAX};
use crate::pinch::{Pinch, Site};

/// Records of the first slice ever read; how large records are is not known yet.
const PACE_FIRST: usize = 64;

/// A few slices, and how many records the next one may have.
#[derive(Debug)]
pub(super) struct Windows {
    /// The newest reading last.
    windows: VecDeque<Window>,
    /// As many records as promise a slice of bounded size, judged by the one before: a backlog of
    /// large values is never in memory at once.
    pace: usize,
    windows_max: usize,
}

/// All changes of some revisions in a row.
#[derive(Debug)]
pub(super) struct Window {
    from: Revision,
    /// The first revision not in it.
    reached: Revision,
    events: Vec<(Revision, Event)>,
}

impl Window {
    fn covers(&self, revision: Revision) -> bool {
        self.from <= revision && revision < self.reached
    }

    /// The events from `from` on that touch `keys`; the first revision not looked at; how many
    /// records were.
    pub(super) fn select(&self, from: Revision, keys: &KeyRange) -> (Vec<Event>, Revision, usize) {
        let first = self.events.partition_point(|(revision, _)| *revision < from);
        let rest = &self.events[first..];
        let events = rest
            .iter()
            .map(|(_, event)| event)
            .filter(|event| touches(event, keys))
            .cloned()
            .collect();
        (events, self.reached, rest.len())
    }
}

impl Windows {
    pub(super) fn new(pinch: Pinch) -> Self {
        let windows_max = pinch.bound(Site::Windows, CATCH_UP_WINDOWS_MAX);
        Self { windows: VecDeque::new(), pace: PACE_FIRST, windows_max }
    }

    /// Forgets the slices, not what they taught about the size of records.
    pub(super) fn clear(&mut self) {
        self.windows.clear();
    }

    /// A slice with `from` in it, and the records that were read for it: none if it was there.
    pub(super) fn reach(
        &mut self,
        (from, until): (Revision, Revision),
        portion: Portion,
        history: &dyn History,
    ) -> Result<(&Window, usize), ReadError> {
        let known = self.windows.iter().position(|window| window.covers(from));
        let (at, records) = match known {
            Some(at) => (at, 0),
            None => {
                let window = self.read((from, until), portion, history)?;
                let records = window.events.len();
                if self.windows.len() >= self.windows_max {
                    self.windows.pop_front();
                }
                self.windows.push_back(window);
                (self.windows.len() - 1, records)
            }
        };
        Ok((&self.windows[at], records))
    }

    fn read(
        &mut self,
        (from, until): (Revision, Revision),
        portion: Portion,
        history: &dyn History,
    ) -> Result<Window, ReadError> {
        let records_max = self.pace.min(portion.slice_records_max);
        let bytes_max = portion.slice_bytes_max;
        let span = Span { from, until, records_max, bytes_max };
        let everything = KeyRange::From(Bytes::new());
        let mut events = Vec::new();
        let mut keep = |revision, event| events.push((revision, event));
        let reached = history.changes(span, &everything, &mut keep)?;
        let bytes = events.iter().map(|(_, event)| event_bytes(event)).sum();
        self.learn(bytes, bytes_max);
        Ok(Window { from, reached, events })
    }

    fn learn(&mut self, bytes: usize, bytes_max: usize) {
        self.pace = if bytes > bytes_max {
            let scaled = self.pace as u128 * bytes_max as u128 / bytes as u128;
            usize::try_from(scaled).unwrap_or(1).max(1)
        } else if bytes < bytes_max / 4 {
            (self.pace * 2).min(CATCH_UP_REVISIONS_MAX)
        } else {
            self.pace
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 18;

    #[test]
    fn the_pace_falls_with_large_records_and_recovers_with_small_ones() {
        let mut windows = Windows::new(Pinch::default());
        windows.learn(16 * MAX, MAX);
        assert_eq!(windows.pace, 4);
        windows.learn(MAX / 2, MAX);
        assert_eq!(windows.pace, 4);
        windows.learn(1_000, MAX);
        assert_eq!(windows.pace, 8);
        for _ in 0..20 {
            windows.learn(0, MAX);
        }
        assert_eq!(windows.pace, CATCH_UP_REVISIONS_MAX);
        windows.learn(usize::MAX, MAX);
        assert_eq!(windows.pace, 1);
    }
}
