//! The newest revisions, in memory: watchers that only waited for credit, or came a moment late,
//! catch up from here without touching the store, and all share the same events.

use alloc::collections::VecDeque;

use quorate_proto::mvccpb::Event;

use crate::event::{Changes, KeyRange, Span};
use crate::ids::Revision;
use crate::limits::{RECENT_BYTES_MAX, RECENT_REVISIONS_MAX};

/// Revisions without gaps, the newest last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    changes: VecDeque<Changes>,
    bytes: usize,
}

/// Bytes of keys and values in an event.
pub(super) fn event_bytes(event: &Event) -> usize {
    event.kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len())
}

fn changes_bytes(changes: &Changes) -> usize {
    changes.events.iter().map(event_bytes).sum()
}

impl Recent {
    /// Adds the next revision and lets go of the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, changes: &Changes) {
        self.bytes += changes_bytes(changes);
        self.changes.push_back(changes.clone());
        while self.changes.len() > RECENT_REVISIONS_MAX || self.bytes > RECENT_BYTES_MAX {
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

    /// As [`History::changes`](crate::event::History::changes); also counts the records.
    pub(super) fn changes(
        &self,
        span: Span,
        keys: &KeyRange,
        visit: &mut dyn FnMut(Revision, Event),
    ) -> (Revision, usize) {
        let mut records = 0;
        let first = self.changes.partition_point(|changes| changes.revision < span.from);
        for changes in self.changes.range(first..) {
            if changes.revision > span.until || records >= span.records_max {
                return (changes.revision, records);
            }
            records += changes.events.len();
            for event in changes.events.iter() {
                if event.kv.as_ref().is_some_and(|kv| keys.contains(&kv.key)) {
                    visit(changes.revision, event.clone());
                }
            }
        }
        (span.until.next(), records)
    }
}
