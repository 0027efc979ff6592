//! What happened reaches those who wait for it.

use alloc::vec::Vec;

use quorate_proto::mvccpb::event::EventType;
use quorate_proto::mvccpb::{Event, KeyValue};

use super::hub::Hub;
use super::watcher::{Place, Slot};
use crate::error::StorageFault;
use crate::event::{Changes, History, ReadError};
use crate::ids::Revision;

/// Previous values of one revision's keys, each read once however many watchers want it.
struct Previous<'a> {
    history: &'a dyn History,
    read: Vec<Option<Option<KeyValue>>>,
}

impl Previous<'_> {
    fn get(&mut self, n: usize, event: &Event) -> Result<Option<KeyValue>, StorageFault> {
        if self.read[n].is_none() {
            self.read[n] = Some(read_previous(event, self.history)?);
        }
        Ok(self.read[n].clone().flatten())
    }
}

/// The key's value just before the event; none if it was created by it, or that is compacted.
pub(super) fn read_previous(
    event: &Event,
    history: &dyn History,
) -> Result<Option<KeyValue>, StorageFault> {
    let Some(kv) = &event.kv else { return Ok(None) };
    let is_put = event.r#type == EventType::Put as i32;
    if is_put && kv.create_revision == kv.mod_revision {
        return Ok(None);
    }
    let before = kv.mod_revision - i64::from(!crate::planted!("previous-value-is-new"));
    match history.kv_at(&kv.key, Revision(before)) {
        Ok(found) => Ok(found),
        Err(ReadError::Refused(_)) => Ok(None),
        Err(ReadError::Fault(fault)) => Err(fault),
    }
}

impl Hub {
    /// A revision was applied: synced watchers of its keys hear of it, one response each. To be
    /// called for every revision, in order, none left out; `history` contains it.
    pub fn on_applied(
        &mut self,
        changes: &Changes,
        history: &dyn History,
    ) -> Result<(), StorageFault> {
        debug_assert_eq!(changes.revision, self.revision.next(), "revisions arrive in order");
        self.revision = changes.revision;
        if self.watchers.len() == 0 {
            self.recent.clear();
            return Ok(());
        }
        self.recent.push(changes);
        let mut previous = Previous { history, read: Vec::new() };
        previous.read.resize(changes.events.len(), None);
        for concerned in self.concerned(changes).chunk_by(|a, b| a.0 == b.0) {
            self.tell(concerned, changes, &mut previous)?;
        }
        self.answer_early_wishes();
        Ok(())
    }

    /// A leader's image replaced the store. Synced watchers have seen everything up to the
    /// revision the hub knew; what they missed since, they catch up on.
    pub fn on_installed(&mut self, history: &dyn History) {
        let missed = self.revision.next();
        self.revision = history.revision();
        self.recent.clear();
        self.windows.clear();
        let mut late = Vec::new();
        for (slot, watcher) in self.watchers.iter_mut() {
            if watcher.place == Place::Synced && !crate::planted!("watchers-lost-at-install") {
                watcher.next = watcher.next.max(missed);
                if crate::planted!("watch-goes-back") {
                    watcher.next = Revision((missed.get() - 5).max(1));
                }
                if watcher.next <= self.revision {
                    late.push((slot, watcher.next));
                }
            }
        }
        for (slot, next) in late {
            self.fall_behind(slot, next);
        }
        self.answer_early_wishes();
    }

    /// Pairs of watchers and the events on their keys, by watcher, then in order of events.
    fn concerned(&self, changes: &Changes) -> Vec<(Slot, usize)> {
        let mut pairs = Vec::new();
        for (n, event) in changes.events.iter().enumerate() {
            if let Some(kv) = &event.kv {
                self.synced.visit(&kv.key, |slot| pairs.push((slot, n)));
            }
        }
        pairs.sort_unstable();
        pairs
    }

    fn tell(
        &mut self,
        concerned: &[(Slot, usize)],
        changes: &Changes,
        previous: &mut Previous<'_>,
    ) -> Result<(), StorageFault> {
        let Some(&(slot, _)) = concerned.first() else { return Ok(()) };
        let Some(watcher) = self.watchers.get_mut(slot) else { return Ok(()) };
        if watcher.next > changes.revision {
            return Ok(());
        }
        let wants = watcher.wants;
        let numbers = concerned.iter().map(|&(_, n)| n);
        let numbers: Vec<usize> = numbers.filter(|&n| wants.accept(&changes.events[n])).collect();
        if numbers.is_empty() {
            watcher.next = changes.revision.next();
            return Ok(());
        }
        if !self.streams.get(&watcher.stream).is_some_and(|stream| stream.has_room()) {
            crate::probe!("watcher fell behind");
            let has_seen = i64::from(!crate::planted!("watch-event-repeated"));
            self.fall_behind(slot, Revision(changes.revision.get() - 1 + has_seen));
            return Ok(());
        }
        watcher.next = changes.revision.next();
        let id = watcher.id;
        let mut events = Vec::with_capacity(numbers.len());
        for n in numbers {
            let mut event = changes.events[n].clone();
            if wants.prev_kv {
                event.prev_kv = previous.get(n, &event)?;
            }
            events.push(event);
        }
        let response = self.letterhead.events(id, changes.revision, events);
        self.push_response(slot, response);
        Ok(())
    }
}
