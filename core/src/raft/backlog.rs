//! How many committed entries may be handed out and not yet applied: bounded in number and bytes.

use alloc::collections::VecDeque;

use crate::ids::LogIndex;
use crate::limits;
use crate::pinch::{Pinch, Site};
use crate::storage::Entry;

/// Committed entries handed out and not yet applied.
pub(crate) struct Backlog {
    /// Last index and bytes of each hand-out.
    parts: VecDeque<(LogIndex, u64)>,
    bytes: u64,
    bytes_max: u64,
    entries_max: usize,
}

impl Backlog {
    pub(crate) fn new(pinch: Pinch) -> Self {
        let bytes_max = pinch.bound(Site::ApplyBytes, limits::APPLY_BYTES_MAX as usize) as u64;
        let entries_max = pinch.bound(Site::ApplyGap, limits::APPLY_GAP_MAX as usize);
        Self { parts: VecDeque::new(), bytes: 0, bytes_max, entries_max }
    }

    /// Entries are handed out.
    pub(crate) fn push(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
        self.parts.push_back((last.index, bytes));
        self.bytes += bytes;
    }

    /// Entries up to `index` are applied.
    pub(crate) fn apply(&mut self, index: LogIndex) {
        while let Some((_, bytes)) = self.parts.pop_front_if(|(last, _)| *last <= index) {
            self.bytes -= bytes;
        }
    }

    /// How many more entries may be handed out when those behind `applied`, up to `emitted`, are.
    pub(crate) fn room(&self, applied: LogIndex, emitted: LogIndex) -> usize {
        if self.bytes >= self.bytes_max {
            return 0;
        }
        let gap = emitted.get().saturating_sub(applied.get());
        self.entries_max.saturating_sub(gap as usize)
    }
}
