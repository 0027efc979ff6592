//! The receiving side: rows into a database of their own, ready to be installed.

use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::ids::{LogIndex, Term};
use quorate_core::storage::{SnapshotMark, StateRead, Table};
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::{ImageChunk, ImageEnd, ImageRow};
use quorate_proto::raftpb;

use super::READY_MAX;
use super::send::{ImageChunks, add_row};
use crate::disk::store::{Generation, Tally, store_fault};
use crate::disk::{ImageWrite, sync_tree};

/// Why an image was not received.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Another one is being received.
    #[error("another image is being received")]
    Busy,
    /// The stream ended before the image did.
    #[error("the image was cut off")]
    CutOff,
    /// The sender is wrong; says how.
    #[error("the image is malformed: {0}")]
    Malformed(&'static str),
    /// This member's disk failed.
    #[error(transparent)]
    Fault(#[from] StorageFault),
}

/// Where images arrive: shared by the transport, which fills it, and the store, which takes from
/// it.
#[derive(Debug)]
pub struct Incoming {
    folder: PathBuf,
    /// Held while an image is received.
    receiving: Mutex<()>,
    ready: Mutex<Vec<Staged>>,
}

/// A complete image.
#[derive(Clone, Debug)]
struct Staged {
    index: LogIndex,
    term: Term,
    path: PathBuf,
}

impl ImageWrite for Incoming {
    fn receive(
        &self,
        chunks: &mut dyn Iterator<Item = ImageChunk>,
    ) -> Result<raftpb::Message, ImageError> {
        Self::receive(self, chunks)
    }
}

impl Incoming {
    pub(in crate::disk) fn new(folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        Self { folder, receiving: Mutex::default(), ready: Mutex::default() }
    }

    /// Receives one image, header first: blocking. When it returns, the image is ready to be
    /// installed and its announcement may be delivered to the replica.
    pub fn receive(
        &self,
        mut chunks: impl Iterator<Item = ImageChunk>,
    ) -> Result<raftpb::Message, ImageError> {
        let _only_one = match self.receiving.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(ImageError::Busy),
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
        };
        let Some(Chunk::Header(header)) = chunks.next().and_then(|chunk| chunk.chunk) else {
            return Err(ImageError::Malformed("it does not begin with a header"));
        };
        let announce = header.announce.ok_or(ImageError::Malformed("nothing announces it"))?;
        let Some(about) = announce.snapshot.as_ref().and_then(|it| it.metadata.as_ref()) else {
            return Err(ImageError::Malformed("its announcement carries no snapshot"));
        };
        let (index, term) = (LogIndex(about.index), Term(about.term));
        let path = self.folder.join(format!("{:016x}-{:016x}.incoming", index.get(), term.get()));
        let staged = Staged { index, term, path };
        self.forget(&staged);
        if let Err(error) = fill(&staged.path, chunks) {
            remove(&staged.path);
            return Err(error);
        }
        self.keep(staged);
        Ok(announce)
    }

    /// Takes out the image for `mark`.
    pub(in crate::disk) fn take(&self, mark: &SnapshotMark) -> Result<PathBuf, StorageFault> {
        let mut ready = self.ready();
        let at = ready.iter().position(|it| it.index == mark.index && it.term == mark.term);
        let Some(at) = at else {
            return Err(StorageFault::new(format!(
                "the image for entry {} of term {} is not here any more; start the member again, \
                 and it will be sent anew",
                mark.index, mark.term
            )));
        };
        Ok(ready.swap_remove(at).path)
    }

    fn keep(&self, staged: Staged) {
        let mut ready = self.ready();
        ready.push(staged);
        ready.sort_by_key(|it| (it.index, it.term));
        if ready.len() > READY_MAX {
            remove(&ready.remove(0).path);
        }
    }

    /// An image that is sent again replaces the one that is here.
    fn forget(&self, staged: &Staged) {
        self.ready().retain(|it| it.path != staged.path);
        remove(&staged.path);
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Staged>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes an image nobody will install; the next start would do it too.
fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove an image");
        }
        _ => {}
    }
}

/// Makes a database of these rows in `path`.
pub(in crate::disk) fn copy(path: &Path, rows: Arc<dyn StateRead>) -> Result<(), StorageFault> {
    let mut broken = None;
    let chunks = ImageChunks::of_rows(rows).map_while(|chunk| match chunk {
        Ok(chunk) => Some(chunk),
        Err(fault) => {
            broken = Some(fault);
            None
        }
    });
    let filled = fill(path, chunks);
    match (broken, filled) {
        (Some(fault), _) | (None, Err(ImageError::Fault(fault))) => Err(fault),
        (None, Err(error)) => Err(StorageFault::new(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

/// Makes the database in `path`, from the chunks after the header.
fn fill(path: &Path, chunks: impl Iterator<Item = ImageChunk>) -> Result<(), ImageError> {
    let generation = Generation::open(path)?;
    let mut filling = Filling::default();
    let mut chunks = chunks.filter_map(|chunk| chunk.chunk).peekable();
    let mut before = None;
    while let Some(Chunk::Rows(rows)) = chunks.peek() {
        let table = Table::from_number(rows.table);
        if table.is_none() || table <= before {
            return Err(ImageError::Malformed("tables unknown or out of order"));
        }
        before = table;
        if let Some(table) = table {
            filling.table(&generation, table, &mut chunks)?;
        }
    }
    match chunks.next() {
        Some(Chunk::End(end)) => filling.finish(&generation, &end)?,
        Some(_) => return Err(ImageError::Malformed("a chunk that is neither rows nor end")),
        None => return Err(ImageError::CutOff),
    }
    drop(generation);
    sync_tree(path)?;
    Ok(())
}

/// What was received so far.
#[derive(Default)]
struct Filling {
    rows: u64,
    crc: u32,
    tally: Tally,
}

impl Filling {
    /// Takes all of one table's rows.
    fn table(
        &mut self,
        generation: &Generation,
        table: Table,
        chunks: &mut Peekable<impl Iterator<Item = Chunk>>,
    ) -> Result<(), ImageError> {
        let failed = |e| store_fault("cannot write to", generation.path(), &e);
        let mut rows = generation.table(table).start_ingestion().map_err(failed)?;
        let mut last_key = Bytes::new();
        let is_same = |next: &Chunk| matches!(next, Chunk::Rows(it) if it.table == table as u32);
        while let Some(Chunk::Rows(chunk)) = chunks.next_if(is_same) {
            for row in chunk.rows {
                if row.key <= last_key || generation.check_key(&row.key).is_err() {
                    return Err(ImageError::Malformed("rows out of order, or unusable keys"));
                }
                self.count(table, &row);
                last_key = row.key.clone();
                rows.write(row.key, row.value).map_err(failed)?;
            }
        }
        rows.finish().map_err(failed)?;
        Ok(())
    }

    fn count(&mut self, table: Table, row: &ImageRow) {
        self.crc = add_row(self.crc, &row.key, &row.value);
        self.rows += 1;
        if table == Table::Key {
            self.tally.add_record(row.key.len(), row.value.len());
        }
    }

    fn finish(self, generation: &Generation, end: &ImageEnd) -> Result<(), ImageError> {
        if (end.rows, end.crc) != (self.rows, self.crc) {
            return Err(ImageError::Malformed("its checksum does not match"));
        }
        generation.commit(Vec::new(), &self.tally)?;
        generation.sync()?;
        Ok(())
    }
}
