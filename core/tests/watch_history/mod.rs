//! A key store in a few lines: all records in one list, searched from end to end.

use std::cell::Cell;

use bytes::Bytes;
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::event::{Changes, History, KeyRange, ReadError, Span};
use quorate_core::ids::Revision;
use quorate_proto::mvccpb::event::EventType;
use quorate_proto::mvccpb::{Event, KeyValue};

/// One change of one key: its new value, or none if it was deleted.
pub(crate) type Change = (Bytes, Option<Bytes>);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    records: Vec<Event>,
    revision: i64,
    compacted: i64,
    /// How often history was read.
    pub(crate) reads: Cell<usize>,
    /// Whether every read fails.
    pub(crate) is_broken: bool,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            revision: 1,
            compacted: -1,
            reads: Cell::new(0),
            is_broken: false,
        }
    }

    /// Applies changes as the next revision. Deletes of keys that do not exist change nothing;
    /// None if that leaves no change at all.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Option<Changes> {
        let revision = self.revision + 1;
        let events: Vec<Event> =
            changes.iter().filter_map(|change| self.event(change, revision)).collect();
        if events.is_empty() {
            return None;
        }
        self.revision = revision;
        self.records.extend(events.iter().cloned());
        Some(Changes { revision: Revision(revision), events: events.into() })
    }

    /// Forgets what is not needed to read at `revision` or later.
    pub(crate) fn compact(&mut self, revision: i64) {
        self.compacted = revision;
        let all = self.records.clone();
        self.records.retain(|record| {
            let kv = record.kv.as_ref().unwrap();
            let is_latest = !all.iter().any(|other| {
                let other = other.kv.as_ref().unwrap();
                let between = kv.mod_revision + 1..=revision;
                other.key == kv.key && between.contains(&other.mod_revision)
            });
            let is_put = record.r#type == EventType::Put as i32;
            kv.mod_revision >= revision || (is_latest && is_put)
        });
    }

    fn event(&self, (key, value): &Change, revision: i64) -> Option<Event> {
        let before = self.latest(key, self.revision);
        let (kind, kv) = match value {
            Some(value) => {
                let create_revision = before.as_ref().map_or(revision, |kv| kv.create_revision);
                let version = before.map_or(1, |kv| kv.version + 1);
                let (key, value) = (key.clone(), value.clone());
                let mod_revision = revision;
                let kv = KeyValue { key, create_revision, mod_revision, version, value, lease: 0 };
                (EventType::Put, kv)
            }
            None => {
                before?;
                let (key, mod_revision) = (key.clone(), revision);
                (EventType::Delete, KeyValue { key, mod_revision, ..Default::default() })
            }
        };
        Some(Event { r#type: kind as i32, kv: Some(kv), prev_kv: None })
    }

    fn latest(&self, key: &[u8], at: i64) -> Option<KeyValue> {
        let of_key = |record: &&Event| {
            record.kv.as_ref().is_some_and(|kv| kv.key == key && kv.mod_revision <= at)
        };
        let latest = self.records.iter().rev().find(of_key)?;
        latest.kv.clone().filter(|_| latest.r#type == EventType::Put as i32)
    }

    fn check_readable(&self, from: i64) -> Result<(), ReadError> {
        if self.is_broken {
            return Err(StorageFault::new("the disk is gone").into());
        }
        if from < self.compacted { Err(Refusal::Compacted.into()) } else { Ok(()) }
    }
}

impl History for Memory {
    fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    fn changes(
        &self,
        span: Span,
        keys: &KeyRange,
        visit: &mut dyn FnMut(Revision, Event),
    ) -> Result<Revision, ReadError> {
        self.check_readable(span.from.get())?;
        self.reads.set(self.reads.get() + 1);
        let (mut seen, mut bytes, mut last) = (0, 0, 0);
        for record in &self.records {
            let kv = record.kv.as_ref().unwrap();
            if !(span.from.get()..=span.until.get()).contains(&kv.mod_revision) {
                continue;
            }
            let is_enough = seen >= span.records_max || bytes >= span.bytes_max;
            if is_enough && kv.mod_revision != last {
                return Ok(Revision(kv.mod_revision));
            }
            (seen, last) = (seen + 1, kv.mod_revision);
            bytes += kv.key.len() + kv.value.len();
            if keys.contains(&kv.key) {
                visit(Revision(kv.mod_revision), record.clone());
            }
        }
        Ok(span.until.next())
    }

    fn kv_at(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, ReadError> {
        self.check_readable(at.get())?;
        Ok(self.latest(key, at.get()))
    }
}
