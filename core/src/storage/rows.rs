//! A store in memory, as plain as one can be.

use alloc::collections::BTreeMap;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::{StateRead, Table, Write};
use crate::error::StorageFault;

/// What a store holds; its default is the image of a store that holds nothing yet.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub BTreeMap<(Table, Bytes), Bytes>);

impl Rows {
    /// Changes what the writes say.
    pub fn write(&mut self, writes: &[Write]) {
        for Write { table, key, value } in writes {
            let row = (*table, key.clone());
            match value {
                Some(value) => self.0.insert(row, value.clone()),
                None => self.0.remove(&row),
            };
        }
    }
}

impl StateRead for Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        Ok(self.0.get(&(table, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        let first = (table, Bytes::copy_from_slice(from));
        for ((_, key), value) in self.0.range(first..).take_while(|((of, _), _)| *of == table) {
            if (!until.is_empty() && key.as_ref() >= until) || visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
