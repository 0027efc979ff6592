//! Rows of the table `meta`.

use alloc::format;

use bytes::Bytes;

use super::revision::{RevisionKey, RowKey};
use crate::error::StorageFault;
use crate::storage::{StateRead, Table, Write};

/// The last applied entry's index, as a number.
pub const CONSISTENT_INDEX: &str = "consistent_index";
/// That entry's term, as a number.
pub const TERM: &str = "term";
/// The raft group as of that entry.
pub const CONF_STATE: &str = "confState";
/// The version whose layout the store has.
pub const STORAGE_VERSION: &str = "storageVersion";
/// The revision compaction was last asked for.
pub const SCHEDULED_COMPACT: &str = "scheduledCompactRev";
/// The revision compaction last came to its end for.
pub const FINISHED_COMPACT: &str = "finishedCompactRev";

/// Ours alone: the entry after which this member's state is known to be wrong; 0 if it was damaged.
pub const FENCED: &str = "quorate.fenced";

/// Encodes a number as 8 bytes, big endian.
pub fn encode_number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Reads the number at `name`, if there is one.
pub fn load_number(image: &dyn StateRead, name: &str) -> Result<Option<u64>, StorageFault> {
    load_number_of(image, Table::Meta, name)
}

/// The same of another table.
pub(crate) fn load_number_of(
    image: &dyn StateRead,
    table: Table,
    name: &str,
) -> Result<Option<u64>, StorageFault> {
    let Some(row) = image.get(table, name.as_bytes())? else { return Ok(None) };
    let bytes = <[u8; 8]>::try_from(row.as_ref()).map_err(|_| {
        StorageFault::new(format!("row {name} of {} has {} bytes", table.name(), row.len()))
    })?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

/// The row that notes main revision `main` under `name`.
pub fn encode_revision(name: &'static str, main: i64) -> Write {
    Write {
        table: Table::Meta,
        key: Bytes::from_static(name.as_bytes()),
        value: Some(RevisionKey { main, sub: 0 }.encode()),
    }
}

/// Reads the main revision at `name`, if there is one.
pub fn load_revision(image: &dyn StateRead, name: &str) -> Result<Option<i64>, StorageFault> {
    let Some(row) = image.get(Table::Meta, name.as_bytes())? else { return Ok(None) };
    Ok(Some(RowKey::parse(&row)?.at.main))
}
