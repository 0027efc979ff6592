//! History as watches read it.

use core::ops::ControlFlow;

use bytes::Bytes;
use quorate_proto::mvccpb::{Event, KeyValue, event::EventType};

use super::index::Version;
use super::view::KvView;
use crate::error::{Refusal, StorageFault};
use crate::event::{History, KeyRange, ReadError, Span};
use crate::ids::Revision;
use crate::schema::heads::Head;
use crate::schema::{RevisionKey, RowKey, record};

impl History for KvView {
    fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// Refused if the span begins before the compacted revision. What lies in the future is not
    /// looked at.
    fn changes(
        &self,
        span: Span,
        keys: &KeyRange,
        visit: &mut dyn FnMut(Revision, Event),
    ) -> Result<Revision, ReadError> {
        if span.from.get() < self.compacted {
            return Err(Refusal::Compacted.into());
        }
        let from = span.from.get().max(0);
        let until = span.until.get().min(self.revision);
        let mut unseen = until.max(from.saturating_sub(1)).saturating_add(1);
        let (mut looked_at, mut bytes, mut current) = (0_usize, 0, None);
        self.records.scan(RevisionKey::first_of(from), until, &mut |row, record| {
            if current != Some(row.at.main) {
                if looked_at >= span.records_max.max(1) || bytes >= span.bytes_max.max(1) {
                    unseen = row.at.main;
                    return Ok(ControlFlow::Break(()));
                }
                current = Some(row.at.main);
            }
            looked_at += 1;
            bytes += record.len();
            if keys.contains(record::load_key(record)?) {
                visit(Revision(row.at.main), load_event(row, record)?);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Revision(unseen))
    }

    /// Nothing if `at` was compacted; the newest if `at` is in the future.
    fn kv_at(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, ReadError> {
        if at.get() < self.compacted {
            return Ok(None);
        }
        let version = self.index.as_of(key, at.get().min(self.revision));
        let live = version.filter(Version::is_live);
        Ok(live.map(|version| self.load(&version)).transpose()?)
    }
}

/// The event of a row. Deletions carry their key and revision, nothing else.
fn load_event(row: RowKey, record: &Bytes) -> Result<Event, StorageFault> {
    let kv = record::load(record)?;
    Ok(match row.is_tombstone {
        true => deletion(kv.key, row.at.main),
        false => put(kv),
    })
}

/// The event of a put.
pub(super) fn put(kv: KeyValue) -> Event {
    Event { r#type: EventType::Put as i32, kv: Some(kv), prev_kv: None }
}

/// The event of a deletion.
pub(super) fn deletion(key: Bytes, mod_revision: i64) -> Event {
    let kv = KeyValue { key, mod_revision, ..KeyValue::default() };
    Event { r#type: EventType::Delete as i32, kv: Some(kv), prev_kv: None }
}

/// The head of the record that an event is about.
pub(super) fn head(at: RevisionKey, event: &Event) -> Head<'_> {
    let row = RowKey { at, is_tombstone: event.r#type == EventType::Delete as i32 };
    let Some(kv) = &event.kv else {
        return Head { row, key: &[], create_revision: 0, version: 0, lease: 0 };
    };
    let KeyValue { key, create_revision, version, lease, .. } = kv;
    let lease = if crate::planted!("head-without-lease") { &0 } else { lease };
    Head { row, key, create_revision: *create_revision, version: *version, lease: *lease }
}
