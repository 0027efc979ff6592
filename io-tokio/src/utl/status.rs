//! What a snapshot holds, and the hash of its history.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::error::StorageFault;
use quorate_core::event::ReadError;
use quorate_core::mvcc::{Mvcc, RowKey};
use quorate_core::schema::{meta, record};
use quorate_core::storage::{StateRead, Table};
use serde::Serialize;

use super::print::Report;
use super::{Failure, directory, source};
use crate::bolt::BoltFile;
use crate::grpc::status::code_and_text;
use crate::tool::format::show_bytes;

/// What is told about a snapshot.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Status {
    hash: u32,
    revision: i64,
    #[serde(rename = "totalKey")]
    keys: usize,
    #[serde(rename = "totalSize")]
    bytes: u64,
    version: String,
}

impl Report for Status {
    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![
            ("hash", format!("{:x}", self.hash)),
            ("revision", self.revision.to_string()),
            ("total keys", self.keys.to_string()),
            ("total size", show_bytes(self.bytes)),
            ("version", self.version.clone()),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Hash", self.hash.to_string()),
            ("Revision", self.revision.to_string()),
            ("Keys", self.keys.to_string()),
            ("Size", self.bytes.to_string()),
            ("Version", self.version.clone()),
        ]
    }
}

/// Reads a snapshot, and holds it against its checksum if it has one.
pub(super) fn status(path: &Path, patience: Duration) -> Result<Status, Failure> {
    let file = source::open(path, patience)?;
    if file.has_hash() {
        file.verify_hash()?;
    }
    let version = file.get(Table::Meta, meta::STORAGE_VERSION.as_bytes())?.unwrap_or_default();
    let mut records = Records::default();
    let mut crc = 0;
    for name in file.bucket_names() {
        crc = crc32c::crc32c_append(crc, name);
        crc = hash_bucket(&file, name, crc, &mut records)?;
    }
    Ok(Status {
        hash: crc,
        revision: records.revision,
        keys: records.live.len(),
        bytes: file.bytes_paged(),
        version: String::from_utf8_lossy(&version).into_owned(),
    })
}

/// What the records say.
#[derive(Default)]
struct Records {
    revision: i64,
    live: BTreeSet<Vec<u8>>,
}

impl Records {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageFault> {
        let row = RowKey::parse(key)?;
        self.revision = row.at.main;
        let key = record::load_key(value)?;
        if row.is_tombstone {
            self.live.remove(key);
        } else if !self.live.contains(key) {
            self.live.insert(key.to_vec());
        }
        Ok(())
    }
}

fn hash_bucket(
    file: &BoltFile,
    name: &[u8],
    mut crc: u32,
    records: &mut Records,
) -> Result<u32, StorageFault> {
    let is_records = name == Table::Key.name().as_bytes();
    let mut broken = None;
    file.scan_bucket(name, &[], &mut |key, value| {
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value);
        if is_records && let Err(fault) = records.take(key, value) {
            broken = Some(fault);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    broken.map_or(Ok(crc), Err)
}

/// The hash of history.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HashKv {
    hash: u32,
    hash_revision: i64,
    compact_revision: i64,
}

impl Report for HashKv {
    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![
            ("hash", self.hash.to_string()),
            ("hash revision", self.hash_revision.to_string()),
            ("compact revision", self.compact_revision.to_string()),
        ]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Hash", self.hash.to_string()),
            ("Hash revision", self.hash_revision.to_string()),
            ("Compact revision", self.compact_revision.to_string()),
        ]
    }
}

impl HashKv {
    /// As a sentence.
    pub(super) fn words(&self) -> String {
        let Self { hash, hash_revision, compact_revision } = self;
        format!("revision {hash_revision}, compacted {compact_revision}, hash of keys {hash}")
    }
}

/// Of a snapshot, a database, or a stopped member's data.
pub(super) fn hash_kv(path: &Path, revision: i64, patience: Duration) -> Result<HashKv, Failure> {
    if path.is_dir() {
        let opened = directory::Opened::open(path, patience)?;
        return hash_rows(opened.image(), revision);
    }
    let file = source::open(path, patience)?;
    if file.has_hash() {
        file.verify_hash()?;
    }
    hash_rows(Arc::new(file), revision)
}

/// Of these rows.
pub(super) fn hash_rows(rows: Arc<dyn StateRead>, revision: i64) -> Result<HashKv, Failure> {
    let hash = Mvcc::open(rows)?.view().hash(revision).map_err(|error| match error {
        ReadError::Refused(refusal) => Failure::new(code_and_text(refusal).1),
        ReadError::Fault(fault) => fault.into(),
    })?;
    Ok(HashKv {
        hash: hash.hash,
        hash_revision: hash.hash_revision.get(),
        compact_revision: hash.compact_revision.get(),
    })
}
