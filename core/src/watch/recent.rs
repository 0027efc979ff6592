//! The newest revisions, in memory: watchers that only waited for credit, or came a moment late,
//! catch up from here without touching the store, and all share the same events.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use quorate_proto::mvccpb::Event;

use crate::event::{Changes, KeyRange};
use crate::ids::Revision;
use crate::limits::{CATCH_UP_BYTES_MAX, RECENT_BYTES_MAX, RECENT_REVISIONS_MAX};
use crate::pinch::{Pinch, Site};

/// Revisions without gaps, the newest last.
#[derive(Debug)]
pub(super) struct Recent {
    changes: VecDeque<Changes>,
    bytes: usize,
    revisions_max: usize,
}

/// Bytes of keys and values in an event.
pub(super) fn event_bytes(event: &Event) -> usize {
    event.kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len())
}

/// Whether an event is about one of `keys`.
pub(super) fn touches(event: &Event, keys: &KeyRange) -> bool {
    event.kv.as_ref().is_some_and(|kv| keys.contains(&kv.key))
}

fn changes_bytes(changes: &Changes) -> usize {
    changes.events.iter().map(event_bytes).sum()
}

impl Recent {
    pub(super) fn new(pinch: Pinch) -> Self {
        let revisions_max = pinch.bound(Site::RecentRevisions, RECENT_REVISIONS_MAX);
        Self { changes: VecDeque::new(), bytes: 0, revisions_max }
    }

    /// Adds the next revision and lets go of the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, changes: &Changes) {
        self.bytes += changes_bytes(changes);
        self.changes.push_back(changes.clone());
        while self.changes.len() > self.revisions_max || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= changes_bytes(&oldest);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }

    /// Whether everything since `from` is here.
    pub(super) fn reaches(&self, from: Revision) -> bool {
        self.changes.front().is_some_and(|oldest| oldest.revision <= from)
    }

    /// The events from `from` on that touch `keys`, of revisions until they have
    /// [`CATCH_UP_BYTES_MAX`] bytes; the first revision not looked at; how many records were.
    pub(super) fn select(&self, from: Revision, keys: &KeyRange) -> (Vec<Event>, Revision, usize) {
        let first = self.changes.partition_point(|changes| changes.revision < from);
        let (mut events, mut reached) = (Vec::new(), from);
        let (mut records, mut bytes) = (0, 0);
        for changes in self.changes.range(first..) {
            if bytes >= CATCH_UP_BYTES_MAX {
                break;
            }
            let chosen = changes.events.iter().filter(|event| touches(event, keys));
            for event in chosen {
                bytes += event_bytes(event);
                events.push(event.clone());
            }
            records += changes.events.len();
            reached = changes.revision.next();
        }
        (events, reached, records)
    }
}
