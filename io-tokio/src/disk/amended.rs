//! An image with a few rows changed.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table, Write};

/// What `base` holds after `writes`, without having written them.
pub struct Amended {
    base: Arc<dyn StateRead>,
    changed: BTreeMap<(Table, Bytes), Option<Bytes>>,
}

impl Amended {
    /// Of several writes to one row the last counts.
    pub fn new(base: Arc<dyn StateRead>, writes: impl IntoIterator<Item = Write>) -> Self {
        let changed = writes.into_iter().map(|write| ((write.table, write.key), write.value));
        Self { base, changed: changed.collect() }
    }
}

impl StateRead for Amended {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        match self.changed.get(&(table, Bytes::copy_from_slice(key))) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(table, key),
        }
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
        let first = Bound::Included((table, Bytes::copy_from_slice(from)));
        let changed = self.changed.range((first, Bound::Unbounded));
        let mut changed = changed
            .take_while(|((at, key), _)| *at == table && (until.is_empty() || key < until))
            .map(|((_, key), value)| (key, value))
            .peekable();
        let mut flow = ControlFlow::Continue(());
        self.base.scan(table, from, until, &mut |key, value| {
            while let Some((before, row)) = changed.next_if(|(changed, _)| *changed < key) {
                flow = row.as_ref().map_or(flow, |value| visit(before, value));
                if flow.is_break() {
                    return flow;
                }
            }
            flow = match changed.next_if(|(changed, _)| *changed == key) {
                Some((_, None)) => ControlFlow::Continue(()),
                Some((_, Some(value))) => visit(key, value),
                None => visit(key, value),
            };
            flow
        })?;
        while let (true, Some((key, row))) = (flow.is_continue(), changed.next()) {
            flow = row.as_ref().map_or(flow, |value| visit(key, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::storage::Rows;

    use super::*;

    fn write(key: &'static str, value: Option<&'static str>) -> Write {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        Write { table: Table::Meta, key: Bytes::from_static(key.as_bytes()), value }
    }

    fn rows(image: &dyn StateRead, from: &str, until: &str, most: usize) -> Vec<String> {
        let mut rows = Vec::new();
        let scanned = image.scan(Table::Meta, from.as_bytes(), until.as_bytes(), &mut |k, v| {
            rows.push(format!("{}={}", String::from_utf8_lossy(k), String::from_utf8_lossy(v)));
            if rows.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.unwrap();
        rows
    }

    #[test]
    fn rows_are_added_replaced_and_removed_in_their_places() {
        let base = Amended::new(
            Arc::new(Rows::default()),
            [write("b", Some("1")), write("d", Some("1")), write("f", Some("1"))],
        );
        let writes = [
            write("a", Some("2")),
            write("d", None),
            write("e", Some("2")),
            write("f", Some("2")),
            write("x", None),
            write("y", Some("2")),
        ];
        let image = Amended::new(Arc::new(base), writes);
        assert_eq!(rows(&image, "", "", 9), ["a=2", "b=1", "e=2", "f=2", "y=2"]);
        assert_eq!(rows(&image, "", "", 1), ["a=2"]);
        assert_eq!(rows(&image, "", "", 3), ["a=2", "b=1", "e=2"]);
        assert_eq!(rows(&image, "b", "f", 9), ["b=1", "e=2"]);
        assert_eq!(rows(&image, "f", "b", 9), [""; 0]);
        let get = |key: &str| image.get(Table::Meta, key.as_bytes()).unwrap();
        assert_eq!(get("d"), None);
        assert_eq!(get("b"), Some(Bytes::from_static(b"1")));
        assert_eq!(image.get(Table::Key, b"b"), Ok(None));
    }
}
