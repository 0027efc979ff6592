//! One watch: what it wants and how far it has got.

use alloc::vec::Vec;

use quorate_proto::etcdserverpb::WatchCreateRequest;
use quorate_proto::etcdserverpb::watch_create_request::FilterType;
use quorate_proto::mvccpb::Event;
use quorate_proto::mvccpb::event::EventType;

use crate::event::KeyRange;
use crate::ids::{Revision, StreamId, WatchId};

/// A watcher's place in the hub. Places of watchers that are gone are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

/// One watch of one stream.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) stream: StreamId,
    pub(super) id: WatchId,
    pub(super) keys: KeyRange,
    /// The revision it asked to start from; 0 for "now".
    pub(super) start: Revision,
    /// The first revision it has not been shown. For a synced watcher merely a lower bound.
    pub(super) next: Revision,
    pub(super) wants: Wants,
    pub(super) place: Place,
    /// Whether no events were sent since the last progress tick.
    pub(super) is_idle: bool,
}

/// Options of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) puts: bool,
    pub(super) deletes: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress: bool,
}

/// How a watcher hears of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Directly: it is in the index.
    Synced,
    /// By catching up, at this turn of its stream.
    Behind(u64),
    /// Not at all: it fell behind a compaction, and holds its id until the client lets go.
    Canceled,
}

impl Wants {
    /// Reads the options of a request; unknown filters mean nothing.
    pub(super) fn parse(request: &WatchCreateRequest) -> Self {
        Self {
            puts: !request.filters.contains(&(FilterType::Noput as i32)),
            deletes: !request.filters.contains(&(FilterType::Nodelete as i32)),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress: request.progress_notify,
        }
    }

    /// Whether the filters let this event pass.
    pub(super) fn accept(self, event: &Event) -> bool {
        if event.r#type == EventType::Delete as i32 { self.deletes } else { self.puts }
    }
}

/// All watchers, by slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    watchers: Vec<Option<Watcher>>,
    free: Vec<Slot>,
}

impl Slots {
    /// Gives a watcher its slot.
    pub(super) fn insert(&mut self, watcher: Watcher) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.watchers.push(None);
            Slot(u32::try_from(self.watchers.len() - 1).expect("a watcher takes over 100 bytes"))
        });
        self.watchers[slot.0 as usize] = Some(watcher);
        slot
    }

    /// Takes a watcher out.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Watcher> {
        let watcher = self.watchers.get_mut(slot.0 as usize)?.take()?;
        self.free.push(slot);
        Some(watcher)
    }

    /// The watcher at `slot`.
    pub(super) fn get(&self, slot: Slot) -> Option<&Watcher> {
        self.watchers.get(slot.0 as usize)?.as_ref()
    }

    /// The watcher at `slot`, to be changed.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Watcher> {
        self.watchers.get_mut(slot.0 as usize)?.as_mut()
    }

    /// All of them, in order of their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Watcher)> {
        let numbered = (0u32..).map(Slot).zip(&mut self.watchers);
        numbered.filter_map(|(slot, watcher)| Some((slot, watcher.as_mut()?)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.watchers.len() - self.free.len()
    }
}
