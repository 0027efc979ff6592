//! How much is stored, without looking.
//!
//! *In use* is what live rows weigh: keys, values and a constant each. It is counted as rows come
//! and go. Records (the `key` table) are written once and removed once, by compaction; what a
//! removed one weighed is taken as the table's average, because reading it first would cost more
//! than everything else about its removal. Rows of ledgers are weighed exactly. The records'
//! count travels in each batch; ledgers are small and weighed anew at each start.
//!
//! *Allocated* is what fjall's tables and write buffers occupy, or what is in use if that is more
//! (tables are compressed). It falls by itself some time after a compaction, at once by a
//! defragmentation. An empty store has a few hundred bytes of either. Heads, which say again what
//! records say, count to neither.

use std::collections::BTreeMap;

use quorate_core::error::StorageFault;
use quorate_core::storage::{Table, Write};

use super::Generation;

/// What a row weighs beside its key and value.
const ROW_BYTES: u64 = 24;
/// Where the tally is stored.
const KEY: &[u8] = b"records";

/// Live rows and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::disk) struct Tally {
    rows: u64,
    bytes: u64,
    ledgers: u64,
}

impl Tally {
    /// Reads the records' tally and weighs the ledgers.
    pub(super) fn load(generation: &Generation) -> Result<Self, StorageFault> {
        let failed = |e| generation.read_fault(&e);
        let mut tally = Self::default();
        if let Some(value) = generation.tally.get(KEY).map_err(failed)? {
            let number = |at: usize| {
                let bytes = value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u64::from_le_bytes)
            };
            (tally.rows, tally.bytes) = (number(0), number(8));
        }
        for table in Table::ALL.iter().filter(|table| is_weighed(**table)) {
            for row in generation.table(*table).iter() {
                let (key, value) = row.into_inner().map_err(failed)?;
                tally.ledgers += weight(key.len(), value.len());
            }
        }
        Ok(tally)
    }

    /// The tally's own row.
    pub(super) fn encode(&self) -> (&'static [u8], [u8; 16]) {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&self.rows.to_le_bytes());
        value[8..].copy_from_slice(&self.bytes.to_le_bytes());
        (KEY, value)
    }

    /// Everything live.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.ledgers
    }

    /// A record more.
    pub(in crate::disk) fn add_record(&mut self, key: usize, value: usize) {
        self.rows += 1;
        self.bytes += weight(key, value);
    }

    fn remove_record(&mut self) {
        self.bytes -= self.bytes.checked_div(self.rows).unwrap_or(0);
        self.rows = self.rows.saturating_sub(1);
    }

    /// Counts what `writes` will do to `generation`.
    pub(super) fn count(
        &mut self,
        generation: &Generation,
        writes: &[Write],
    ) -> Result<(), StorageFault> {
        let mut ledgers: BTreeMap<(Table, &[u8]), u64> = BTreeMap::new();
        for write in writes {
            match (&write.value, write.table) {
                (Some(value), Table::Key) => self.add_record(write.key.len(), value.len()),
                (None, Table::Key) => self.remove_record(),
                (value, table) if is_weighed(table) => {
                    let after = value.as_ref().map_or(0, |v| weight(write.key.len(), v.len()));
                    ledgers.insert((table, &write.key), after);
                }
                _ => {}
            }
        }
        for ((table, key), after) in ledgers {
            let before = generation.table(table).size_of(key);
            let before = before.map_err(|e| generation.read_fault(&e))?;
            let before = before.map_or(0, |value| weight(key.len(), value as usize));
            self.ledgers = (self.ledgers + after).saturating_sub(before);
        }
        Ok(())
    }
}

/// `meta` has a handful of rows, written with each batch.
fn is_weighed(table: Table) -> bool {
    !matches!(table, Table::Key | Table::Meta | Table::Heads)
}

const fn weight(key: usize, value: usize) -> u64 {
    key as u64 + value as u64 + ROW_BYTES
}
