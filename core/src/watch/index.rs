//! Which synced watchers a changed key concerns.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::interval::{End, Intervals};
use super::watcher::Slot;
use crate::event::KeyRange;

/// Watchers of one key by that key, watchers of ranges in a tree of ranges.
#[derive(Debug, Default)]
pub(super) struct Index {
    keys: BTreeMap<Bytes, BTreeSet<Slot>>,
    ranges: Intervals,
}

impl Index {
    /// Adds a watcher.
    pub(super) fn insert(&mut self, keys: &KeyRange, slot: Slot) {
        match keys {
            KeyRange::One(key) => {
                self.keys.entry(key.clone()).or_default().insert(slot);
            }
            KeyRange::Between(start, end) => {
                self.ranges.insert(start.clone(), End::Before(end.clone()), slot);
            }
            KeyRange::From(start) => self.ranges.insert(start.clone(), End::Never, slot),
        }
    }

    /// Removes a watcher.
    pub(super) fn remove(&mut self, keys: &KeyRange, slot: Slot) {
        match keys {
            KeyRange::One(key) => {
                let Some(slots) = self.keys.get_mut(key) else { return };
                slots.remove(&slot);
                if slots.is_empty() {
                    self.keys.remove(key);
                }
            }
            KeyRange::Between(start, end) => {
                self.ranges.remove(start, &End::Before(end.clone()), slot);
            }
            KeyRange::From(start) => self.ranges.remove(start, &End::Never, slot),
        }
    }

    /// Visits the watchers of `key`, each once.
    pub(super) fn visit(&self, key: &[u8], mut visit: impl FnMut(Slot)) {
        if let Some(slots) = self.keys.get(key) {
            slots.iter().copied().for_each(&mut visit);
        }
        self.ranges.visit(key, &mut visit);
    }
}
