//! The sending side: an image as a sequence of chunks.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table};
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::{ImageChunk, ImageEnd, ImageHeader, ImageRow, ImageRows};

use super::CHUNK_BYTES_MAX;

/// The chunks of one image, read as they are asked for: blocking.
pub struct ImageChunks {
    header: Option<ImageHeader>,
    image: Arc<dyn StateRead>,
    /// Index of the table being read; past the last one when only the end is due.
    table: usize,
    /// Where to go on in it.
    from: Vec<u8>,
    rows: u64,
    crc: u32,
    is_done: bool,
}

impl ImageChunks {
    /// Of `image`, announced by `header`.
    pub fn new(header: ImageHeader, image: Arc<dyn StateRead>) -> Self {
        Self { header: Some(header), ..Self::of_rows(image) }
    }

    /// Those after the header.
    pub(super) fn of_rows(image: Arc<dyn StateRead>) -> Self {
        Self { header: None, image, table: 0, from: Vec::new(), rows: 0, crc: 0, is_done: false }
    }

    /// The next rows of the present table; empty if there are none.
    fn rows(&mut self, table: Table) -> Result<Vec<ImageRow>, StorageFault> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        self.image.scan(table, &self.from, &[], &mut |key, value| {
            bytes += key.len() + value.len();
            if bytes > CHUNK_BYTES_MAX && !rows.is_empty() {
                return ControlFlow::Break(());
            }
            rows.push(ImageRow { key: Bytes::copy_from_slice(key), value: value.clone() });
            ControlFlow::Continue(())
        })?;
        for row in &rows {
            self.crc = add_row(self.crc, &row.key, &row.value);
        }
        self.rows += rows.len() as u64;
        if let Some(last) = rows.last() {
            self.from = [&last.key[..], &[0]].concat();
        }
        Ok(rows)
    }

    fn step(&mut self) -> Result<Chunk, StorageFault> {
        if let Some(header) = self.header.take() {
            return Ok(Chunk::Header(header));
        }
        while let Some(table) = Table::ALL.get(self.table) {
            let rows = self.rows(*table)?;
            if !rows.is_empty() {
                return Ok(Chunk::Rows(ImageRows { table: *table as u32, rows }));
            }
            self.table += 1;
            self.from.clear();
        }
        self.is_done = true;
        Ok(Chunk::End(ImageEnd { rows: self.rows, crc: self.crc }))
    }
}

impl Iterator for ImageChunks {
    type Item = Result<ImageChunk, StorageFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step();
        self.is_done |= step.is_err();
        Some(step.map(|chunk| ImageChunk { chunk: Some(chunk) }))
    }
}

/// The checksum after one more row.
pub(super) fn add_row(crc: u32, key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value)
}
