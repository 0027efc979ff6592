//! An image that is scanned by a thread of its own, which reads rows before they are asked for.
//!
//! ```text
//!   reader: read, check, unpack, read, ... --8 batches of rows--> whoever scans: visit, visit, ...
//! ```
//!
//! For starting: every record is read once, and reading it takes as long as noting its key. Who
//! starts on it keeps it until something newer is stored. Where there is no thread to be had, it
//! is scanned without one.

use std::ops::ControlFlow;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, Builder};

use bytes::{Bytes, BytesMut};
use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table};

/// Batches that are read and not visited yet.
const BATCHES_MAX: usize = 8;
/// A batch is handed on when it has as many rows, or as many bytes of values.
const BATCH_ROWS: usize = 1_024;
const BATCH_BYTES: usize = 1 << 18;

/// See the module.
pub struct ReadAhead(Arc<dyn StateRead>);

impl ReadAhead {
    /// Reads `image` ahead.
    pub fn new(image: Arc<dyn StateRead>) -> Self {
        Self(image)
    }
}

impl StateRead for ReadAhead {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        thread::scope(|scope| {
            let (sender, batches) = sync_channel(BATCHES_MAX);
            let read = move || read(&*self.0, (table, from, until), &sender);
            let Ok(reader) = Builder::new().name("ahead".to_owned()).spawn_scoped(scope, read)
            else {
                return self.0.scan(table, from, until, visit);
            };
            // Nothing but the reader's end ends the batches, and dropping them ends the reader.
            let _ = batches.into_iter().try_for_each(|batch: Batch| batch.visit(visit));
            reader.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }
}

/// Rows in order.
#[derive(Default)]
struct Batch {
    /// All keys, one behind the other.
    keys: BytesMut,
    /// Where each key ends, and its value.
    rows: Vec<(usize, Bytes)>,
    value_bytes: usize,
}

impl Batch {
    fn push(&mut self, key: &[u8], value: &Bytes) {
        self.keys.extend_from_slice(key);
        self.rows.push((self.keys.len(), value.clone()));
        self.value_bytes += value.len();
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.value_bytes >= BATCH_BYTES
    }

    fn visit(&self, visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut begin = 0;
        self.rows.iter().try_for_each(|(end, value)| {
            let key = &self.keys[std::mem::replace(&mut begin, *end)..*end];
            visit(key, value)
        })
    }
}

fn read(
    image: &dyn StateRead,
    (table, from, until): (Table, &[u8], &[u8]),
    batches: &SyncSender<Batch>,
) -> Result<(), StorageFault> {
    let mut batch = Batch::default();
    let mut flow = ControlFlow::Continue(());
    let hand_on = |batch: Batch| match batches.send(batch) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let scanned = image.scan(table, from, until, &mut |key, value| {
        batch.push(key, value);
        if batch.is_full() {
            flow = hand_on(std::mem::take(&mut batch));
        }
        flow
    });
    // Whoever has seen enough does not miss the rest.
    let _ = hand_on(batch);
    scanned
}

#[cfg(test)]
mod tests {
    use quorate_core::storage::{Rows, Write};

    use super::*;

    const COUNT: u32 = 5_000;

    fn image() -> ReadAhead {
        let mut rows = Rows::default();
        for table in [Table::Key, Table::Lease] {
            let write = |n: u32| {
                let key = n.to_be_bytes().to_vec().into();
                Write { table, key, value: Some(vec![table as u8; 300].into()) }
            };
            rows.write(&(0..COUNT).map(write).collect::<Vec<_>>());
        }
        ReadAhead::new(Arc::new(rows))
    }

    /// Keys of a scan that ends after `most` of them.
    fn scan(image: &dyn StateRead, from: u32, until: &[u8], most: usize) -> Vec<u32> {
        let mut seen = Vec::new();
        let scanned = image.scan(Table::Key, &from.to_be_bytes(), until, &mut |key, value| {
            assert_eq!(value[..], [Table::Key as u8; 300]);
            seen.push(u32::from_be_bytes(key.try_into().unwrap()));
            if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.unwrap();
        seen
    }

    #[test]
    fn rows_come_in_order_each_once_and_no_others() {
        let image = image();
        let all = |from, until: u32| scan(&image, from, &until.to_be_bytes(), usize::MAX);
        assert_eq!(scan(&image, 0, &[], usize::MAX), (0..COUNT).collect::<Vec<_>>());
        assert_eq!(all(7, 2_500), (7..2_500).collect::<Vec<_>>());
        assert_eq!(all(9, 9), [0; 0]);
        let key = 4_u32.to_be_bytes();
        assert!(image.get(Table::Key, &key).unwrap().is_some());
    }

    #[test]
    fn whoever_has_seen_enough_sees_no_more() {
        assert_eq!(scan(&image(), 0, &[], 3), [0, 1, 2]);
    }

    #[test]
    fn a_fault_in_the_middle_is_told_after_what_came_before() {
        struct Torn(Rows);

        impl StateRead for Torn {
            fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
                self.0.get(table, key)
            }

            fn scan(
                &self,
                table: Table,
                from: &[u8],
                until: &[u8],
                visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
            ) -> Result<(), StorageFault> {
                self.0.scan(table, from, until, visit)?;
                Err(StorageFault::new("torn"))
            }
        }

        let mut rows = Rows::default();
        rows.write(&[Write { table: Table::Key, key: "a".into(), value: Some("1".into()) }]);
        let image = ReadAhead::new(Arc::new(Torn(rows)));
        let mut seen = 0;
        let scanned = image.scan(Table::Key, &[], &[], &mut |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((scanned.unwrap_err().what.as_str(), seen), ("torn", 1));
    }
}
