//! The end of fjall's journal, as a crash can leave it.
//!
//! ```text
//! batch   01 items(4) seqno(8)   item ..   03 checksum(8) "FJL" 03
//! item    02 kind(1) compression(1) table(8) key(2) value(4) stored(4)  key  stored value
//!         04 table(8)                                   numbers are little endian
//! ```
//!
//! What was not synced reaches a disk in any order: of a long batch the end may be there and the
//! middle not. fjall cuts a batch without an end, but does not open on one whose checksum is
//! wrong. Such a batch is cut here, and all after it. If it had been synced, the log tells: the
//! store does not reach its beginning (`recovery.rs`).
//!
//! Deliberately absent: journals before the newest, which are synced before the next one begins.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use quorate_core::error::StorageFault;
use xxhash_rust::xxh3::Xxh3;

use crate::disk::fault;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8] = b"FJL\x03";

/// Cuts what follows the last whole batch of a database's newest journal, unless that is zeros,
/// which a journal is made of.
pub(super) fn cut_torn_end(database: &Path) -> Result<(), StorageFault> {
    let Some(path) = newest(database).map_err(|e| fault("cannot list", database, &e))? else {
        return Ok(());
    };
    let work = || {
        let file = File::options().read(true).write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        let mut journal = Journal { file: BufReader::new(&file), left: bytes };
        let mut whole = 0;
        while journal.take_batch()? {
            whole = bytes - journal.left;
        }
        let mut next = [0];
        if file.read_at(&mut next, whole)? == 1 && next != [0] {
            tracing::warn!(
                path = %path.display(),
                offset = whole,
                "a crash tore the end of the store's journal: it is cut behind the last whole batch"
            );
            file.set_len(whole)?;
            file.sync_all()?;
        }
        Ok(())
    };
    work().map_err(|e| fault("cannot mend", &path, &e))
}

fn newest(database: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(database)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".jnl").and_then(|number| number.parse().ok());
        newest = newest.max(number.map(|number| (number, path)));
    }
    Ok(newest.map(|(_, path)| path))
}

struct Journal<R> {
    file: R,
    /// Bytes not yet read.
    left: u64,
}

impl<R: Read> Journal<R> {
    /// The next bytes; none if there are not so many.
    fn take(&mut self, bytes: u64) -> io::Result<Option<Vec<u8>>> {
        if bytes > self.left {
            return Ok(None);
        }
        let mut block = vec![0; bytes as usize];
        self.file.read_exact(&mut block)?;
        self.left -= bytes;
        Ok(Some(block))
    }

    /// Reads a batch; whether it is whole.
    fn take_batch(&mut self) -> io::Result<bool> {
        let Some(start) = self.take(13)?.filter(|start| start[0] == START) else {
            return Ok(false);
        };
        let mut checksum = Xxh3::new();
        for _ in 0..number(&start[1..5]) {
            let Some(item) = self.take_item()? else { return Ok(false) };
            checksum.update(&item);
        }
        let end = self.take(13)?;
        Ok(end.is_some_and(|end| {
            end[0] == END && number(&end[1..9]) == checksum.digest() && &end[9..] == MAGIC
        }))
    }

    fn take_item(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(mut item) = self.take(1)? else { return Ok(None) };
        let head_bytes = match item[0] {
            ITEM => 20,
            CLEAR => 8,
            _ => return Ok(None),
        };
        let Some(head) = self.take(head_bytes)? else { return Ok(None) };
        let body_bytes = match item[0] {
            ITEM => number(&head[10..12]) + number(&head[16..20]),
            _ => 0,
        };
        let Some(body) = self.take(body_bytes)? else { return Ok(None) };
        item.extend_from_slice(&head);
        item.extend_from_slice(&body);
        Ok(Some(item))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
