//! The store's content: cheap to change and free to keep a picture of.
//!
//! ```text
//!   Content -> table -> [chunk][chunk][chunk]      a chunk: up to 32 rows in key order
//!                          |      |      |         all behind shared pointers
//!   Image   ---------------+------+------+
//! ```
//!
//! Cloning a [`Content`] copies ten pointers. A change then copies one chunk and one spine; the
//! rows themselves are shared for ever.
//!
//! Invariants: chunks are never empty, at most `ROWS_MAX` long, and in key order throughout.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table, Write};

const ROWS_MAX: usize = 32;

type Row = Arc<(Bytes, Bytes)>;
type Chunk = Arc<Vec<Row>>;

/// All tables. An image is a clone.
#[derive(Clone, Default)]
pub struct Content {
    tables: [Arc<Vec<Chunk>>; Table::ALL.len()],
}

impl Content {
    /// Applies writes in order.
    pub fn apply(&mut self, writes: &[Write]) {
        for write in writes {
            match &write.value {
                Some(value) => self.put(write.table, write.key.clone(), value.clone()),
                None => self.remove(write.table, &write.key),
            }
        }
    }

    /// A copy of what any image shows.
    pub fn copied(image: &dyn StateRead) -> Result<Self, StorageFault> {
        let mut content = Self::default();
        for table in Table::ALL {
            image.scan(table, b"", b"", &mut |key, value| {
                content.put(table, Bytes::copy_from_slice(key), value.clone());
                ControlFlow::Continue(())
            })?;
        }
        Ok(content)
    }

    /// What is there of it when its records have come and nothing else yet: a mistake's part.
    pub(super) fn half(mut self) -> Self {
        let chunks = Arc::make_mut(&mut self.tables[Table::Key as usize]);
        chunks.truncate(chunks.len() / 2);
        self
    }

    /// Rows in all tables.
    pub fn rows(&self) -> usize {
        self.tables.iter().flat_map(|chunks| chunks.iter()).map(|chunk| chunk.len()).sum()
    }

    fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        let chunks = Arc::make_mut(&mut self.tables[table as usize]);
        if chunks.is_empty() {
            chunks.push(Arc::new(vec![Arc::new((key, value))]));
            return;
        }
        let at = chunk_of(chunks, &key);
        let chunk = Arc::make_mut(&mut chunks[at]);
        match place(chunk, &key) {
            Ok(row) => chunk[row] = Arc::new((key, value)),
            Err(row) => chunk.insert(row, Arc::new((key, value))),
        }
        if chunk.len() > ROWS_MAX {
            // Rows mostly come at the end: leave the left part nearly full.
            let right = chunk.split_off(ROWS_MAX - ROWS_MAX / 8);
            chunks.insert(at + 1, Arc::new(right));
        }
    }

    fn remove(&mut self, table: Table, key: &[u8]) {
        let chunks = &self.tables[table as usize];
        if chunks.is_empty() {
            return;
        }
        let at = chunk_of(chunks, key);
        let Ok(row) = place(&chunks[at], key) else { return };
        let chunks = Arc::make_mut(&mut self.tables[table as usize]);
        if chunks[at].len() == 1 {
            chunks.remove(at);
        } else {
            Arc::make_mut(&mut chunks[at]).remove(row);
        }
    }
}

/// The chunk that has or would take `key`.
fn chunk_of(chunks: &[Chunk], key: &[u8]) -> usize {
    chunks.partition_point(|chunk| chunk[0].0.as_ref() <= key).saturating_sub(1)
}

fn place(chunk: &[Row], key: &[u8]) -> Result<usize, usize> {
    chunk.binary_search_by(|row| row.0.as_ref().cmp(key))
}

impl StateRead for Content {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        let chunks = &self.tables[table as usize];
        if chunks.is_empty() {
            return Ok(None);
        }
        let chunk = &chunks[chunk_of(chunks, key)];
        Ok(place(chunk, key).ok().map(|row| chunk[row].1.clone()))
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        let chunks = &self.tables[table as usize];
        let first = if chunks.is_empty() { 0 } else { chunk_of(chunks, from) };
        for row in chunks[first..].iter().flat_map(|chunk| chunk.iter()) {
            let (key, value) = row.as_ref();
            if key.as_ref() < from {
                continue;
            }
            if (!until.is_empty() && key.as_ref() >= until) || visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::world::luck::{Luck, Purpose};

    fn rows(content: &Content, from: &[u8], until: &[u8]) -> Vec<(Vec<u8>, Bytes)> {
        let mut all = Vec::new();
        content
            .scan(Table::Key, from, until, &mut |key, value| {
                all.push((key.to_vec(), value.clone()));
                ControlFlow::Continue(())
            })
            .unwrap();
        all
    }

    #[test]
    fn agrees_with_a_plain_map_and_images_never_change() {
        let mut luck = Luck::new(3, Purpose::Disk, 0);
        let mut content = Content::default();
        let mut plain = BTreeMap::new();
        let mut kept = Vec::new();
        for n in 0..4_000_u32 {
            let key = Bytes::copy_from_slice(&(luck.below(500) as u16).to_be_bytes());
            let value =
                (!luck.bits().is_multiple_of(3)).then(|| Bytes::copy_from_slice(&n.to_be_bytes()));
            content.apply(&[Write { table: Table::Key, key: key.clone(), value: value.clone() }]);
            match value {
                Some(value) => plain.insert(key.to_vec(), value),
                None => plain.remove(key.as_ref()),
            };
            if n % 500 == 0 {
                kept.push((content.clone(), plain.clone()));
            }
        }
        kept.push((content, plain));
        for (content, plain) in &kept {
            let all: Vec<_> = plain.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            assert_eq!(rows(content, b"", b""), all);
            assert_eq!(content.rows(), plain.len());
            let part: Vec<_> = plain.range(vec![0, 9]..vec![1, 9]).collect();
            assert_eq!(rows(content, &[0, 9], &[1, 9]).len(), part.len());
            for n in 0..500_u16 {
                let key = n.to_be_bytes();
                assert_eq!(
                    content.get(Table::Key, &key).unwrap().as_ref(),
                    plain.get(key.as_slice())
                );
            }
        }
    }

    #[test]
    fn copying_an_image_copies_every_table() {
        let mut content = Content::default();
        for table in Table::ALL {
            let (key, value) = (Bytes::from_static(b"k"), Some(Bytes::from(table.name())));
            content.apply(&[Write { table, key, value }]);
        }
        let copy = Content::copied(&content).unwrap();
        for table in Table::ALL {
            assert_eq!(copy.get(table, b"k").unwrap(), Some(Bytes::from(table.name())));
        }
    }
}
