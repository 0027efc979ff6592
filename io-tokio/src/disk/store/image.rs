//! An unchanging image of a generation.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Readable, Snapshot};
use quorate_core::error::StorageFault;
use quorate_core::storage::{RecordsName, StateRead, Table};

use super::Generation;
use super::generation::KEY_BYTES_MAX;

/// What was stored when it was taken. Keeps its generation's folder.
pub(super) struct Image {
    snapshot: Snapshot,
    generation: Arc<Generation>,
}

impl Image {
    pub(super) fn take(generation: &Arc<Generation>) -> Self {
        Self { snapshot: generation.database.snapshot(), generation: Arc::clone(generation) }
    }
}

impl StateRead for Image {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Ok(None);
        }
        let read = || {
            let value = self.snapshot.get(self.generation.table(table), key);
            Ok(value.map_err(|e| self.generation.read_fault(&e))?.map(Bytes::from))
        };
        if table == Table::Key { self.generation.lately.record(key, read) } else { read() }
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        if !until.is_empty() && until <= from {
            return Ok(());
        }
        let range = (first(from), last(until));
        for row in self.snapshot.range::<&[u8], _>(self.generation.table(table), range) {
            let (key, value) = row.into_inner().map_err(|e| self.generation.read_fault(&e))?;
            if visit(&key, &value.into()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remembered(
        &self,
        name: &RecordsName,
        make: &mut dyn FnMut() -> Result<Option<Bytes>, StorageFault>,
    ) -> Result<Option<Bytes>, StorageFault> {
        self.generation.lately.together(name, make)
    }
}

/// Where keys from `from` on begin. fjall panics on longer keys than it can hold: all that are not
/// before one such are after what it begins with.
fn first(from: &[u8]) -> Bound<&[u8]> {
    match from.get(..KEY_BYTES_MAX) {
        Some(start) if from.len() > KEY_BYTES_MAX => Bound::Excluded(start),
        _ => Bound::Included(from),
    }
}

/// Where keys before `until` end.
fn last(until: &[u8]) -> Bound<&[u8]> {
    match until.get(..KEY_BYTES_MAX) {
        Some(start) if until.len() > KEY_BYTES_MAX => Bound::Included(start),
        _ if until.is_empty() => Bound::Unbounded,
        _ => Bound::Excluded(until),
    }
}
