//! An unchanging image of a generation.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Readable, Snapshot};
use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table};

use super::Generation;

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
        let value = self.snapshot.get(self.generation.table(table), key);
        Ok(value.map_err(|e| self.generation.read_fault(&e))?.map(Bytes::from))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        let end = match until {
            [] => Bound::Unbounded,
            _ if until <= from => return Ok(()),
            _ => Bound::Excluded(until),
        };
        let range: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(from), end);
        for row in self.snapshot.range::<&[u8], _>(self.generation.table(table), range) {
            let (key, value) = row.into_inner().map_err(|e| self.generation.read_fault(&e))?;
            if visit(&key, &value.into()).is_break() {
                break;
            }
        }
        Ok(())
    }
}
