//! The store: records and ledgers, in fjall.
//!
//! ```text
//! member/store/0000000000000001/    a generation: one database, one keyspace for each table
//! member/store/0000000000000002/    the next one: an image that replaced it
//! member/store/damaged/             one that did not read at a start, set aside
//! ```
//!
//! One thread writes ([`StateWrite`]); anyone reads, from images ([`StateRead`]) that never
//! change. A batch is one atomic write of fjall's, and the applied index is one of its rows. It
//! reaches the disk when the core asks for it: what a crash loses is applied again from the log.
//!
//! An installed image becomes a new generation in a folder of its own, because images of the old
//! content may still be read. The old folder goes when the last of them is dropped, or at the
//! next start. The newest generation counts.
//!
//! Sizes: see `size.rs`.
//!
//! Invariants:
//! - Batches of an epoch before the last installation are dropped.
//! - After a failed write nothing is written any more.
//! - fjall gets at least two workers: with one it can block itself for ever.
//!
//! Deliberately absent: what the rows mean.
//!
//! Answers to: etcd v3.7.1 `server/storage/backend/`

mod generation;
mod image;
mod journal;
mod lately;
mod leftovers;
mod pace;
mod size;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::output::Batch;
use quorate_core::storage::{SnapshotMark, StateRead, Table, Write};

pub(super) use generation::{Generation, store_fault};
pub(super) use size::Tally;

use super::image::{Incoming, copy};
use super::{
    Defragment, Size, StateWrite, create_folder, fault, is_disk_low, sync_folder, sync_tree,
};
use image::Image;

/// The store, open for writing.
pub struct Store {
    folder: PathBuf,
    number: u64,
    generation: Arc<Generation>,
    tally: Tally,
    /// Images installed in this run.
    epoch: u64,
    incoming: Arc<Incoming>,
    broken: Option<StorageFault>,
}

impl Store {
    /// Opens the newest generation in `folder`, or makes the first. Removes what is left of
    /// others and of images half received.
    pub fn open(folder: &Path) -> Result<Self, StorageFault> {
        create_folder(folder)?;
        // Who gave a generation its name may have died before that was synced.
        sync_folder(folder)?;
        let number = tidy(folder)?;
        let path = folder.join(name(number));
        if !path.is_dir() {
            let draft = folder.join("first.incoming");
            drop(Generation::open(&draft)?);
            // fjall leaves the names of its tables' folders unsynced.
            sync_tree(&draft)?;
            rename(&draft, &path, folder)?;
        }
        let generation = Arc::new(open_guarded(&path)?);
        let tally = Tally::load(&generation)?;
        let incoming = Arc::new(Incoming::new(folder));
        let folder = folder.to_path_buf();
        Ok(Self { folder, number, generation, tally, epoch: 0, incoming, broken: None })
    }

    /// Makes a first generation of these rows in `folder`, which has none. It is there complete or
    /// not at all.
    pub fn create(folder: &Path, rows: Arc<dyn StateRead>) -> Result<(), StorageFault> {
        create_folder(folder)?;
        let number = tidy(folder)?;
        let path = folder.join(name(number));
        if path.exists() {
            return Err(StorageFault::new(format!("{} holds a store already", folder.display())));
        }
        let draft = folder.join("first.incoming");
        copy(&draft, rows)?;
        rename(&draft, &path, folder)
    }

    /// Puts a store of these rows in the place of one that is damaged, which is set aside; where.
    /// Complete or not at all, whenever it crashes.
    pub fn renew(folder: &Path, writes: Vec<Write>) -> Result<PathBuf, StorageFault> {
        let number = tidy(folder)?;
        let (damaged, draft) = (folder.join(name(number)), folder.join("renewed.incoming"));
        let generation = Generation::open(&draft)?;
        generation.commit(writes, &Tally::default())?;
        generation.sync()?;
        drop(generation);
        sync_tree(&draft)?;
        rename(&draft, &folder.join(name(number + 1)), folder)?;
        let aside = folder.join("damaged");
        if aside.is_dir() {
            std::fs::remove_dir_all(&aside).map_err(|e| fault("cannot remove", &aside, &e))?;
        }
        rename(&damaged, &aside, folder)?;
        Ok(aside)
    }

    /// The rows of one table of a store that may be damaged elsewhere.
    pub fn rescue(folder: &Path, table: Table) -> Result<Vec<Write>, StorageFault> {
        let generation = Arc::new(open_guarded(&folder.join(name(tidy(folder)?)))?);
        let mut rows = Vec::new();
        Image::take(&generation).scan(table, &[], &[], &mut |key, value| {
            let key = Bytes::copy_from_slice(key);
            rows.push(Write { table, key, value: Some(value.clone()) });
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// Where received images wait to be installed.
    pub fn incoming(&self) -> Arc<Incoming> {
        Arc::clone(&self.incoming)
    }

    /// Whether nothing was ever stored.
    pub fn is_empty(&self) -> Result<bool, StorageFault> {
        self.generation.is_empty()
    }

    fn guard<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StorageFault>,
    ) -> Result<T, StorageFault> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        let outcome = work(self);
        self.broken = outcome.as_ref().err().cloned();
        outcome
    }

    fn swap_in(&mut self, mark: &SnapshotMark) -> Result<(), StorageFault> {
        let staged = self.incoming.take(mark)?;
        let path = self.folder.join(name(self.number + 1));
        rename(&staged, &path, &self.folder)?;
        let generation = Arc::new(Generation::open(&path)?);
        self.tally = Tally::load(&generation)?;
        std::mem::replace(&mut self.generation, generation).retire();
        self.number += 1;
        self.epoch += 1;
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.generation.end();
    }
}

impl StateWrite for Store {
    fn write(&mut self, batch: Batch) -> Result<bool, StorageFault> {
        if batch.epoch < self.epoch {
            return Ok(false);
        }
        self.guard(|store| {
            for write in &batch.writes {
                store.generation.check_key(&write.key)?;
            }
            store.tally.count(&store.generation, &batch.writes)?;
            store.generation.commit(batch.writes, &store.tally)?;
            Ok(true)
        })
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        self.guard(|store| store.generation.sync())
    }

    fn image(&self) -> Arc<dyn StateRead> {
        Arc::new(Image::take(&self.generation))
    }

    fn install(&mut self, mark: &SnapshotMark) -> Result<Arc<dyn StateRead>, StorageFault> {
        self.guard(|store| store.swap_in(mark))?;
        Ok(self.image())
    }

    fn defragment(&self) -> Defragment {
        let generation = Arc::clone(&self.generation);
        Box::new(move |haste| generation.compact(haste))
    }

    fn release(&mut self) -> Result<(), StorageFault> {
        self.guard(|store| store.generation.release(&store.tally))
    }

    fn damage(&self) -> Option<StorageFault> {
        self.generation.damage().cloned()
    }

    fn size(&self) -> Size {
        let in_use = self.tally.bytes();
        let allocated = self.generation.bytes_occupied().max(in_use);
        Size { allocated, in_use, is_disk_low: is_disk_low(&self.folder) }
    }
}

/// Opens a generation that may be damaged: fjall trusts some of what it finds, and panics.
fn open_guarded(path: &Path) -> Result<Generation, StorageFault> {
    std::panic::catch_unwind(|| Generation::open(path)).unwrap_or_else(|_| {
        let what = format!("the store in {} cannot be opened: it is damaged", path.display());
        Err(StorageFault::damage(what))
    })
}

/// A generation's folder name.
fn name(number: u64) -> String {
    format!("{number:016x}")
}

/// Removes all but the newest generation; its number, or 1 if there is none.
fn tidy(folder: &Path) -> Result<u64, StorageFault> {
    let (mut numbers, mut leftovers) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(|e| fault("cannot list", folder, &e))? {
        let path = entry.map_err(|e| fault("cannot list", folder, &e))?.path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match u64::from_str_radix(file, 16) {
            Ok(number) if file.len() == 16 => numbers.push(number),
            _ if file.ends_with(".incoming") => leftovers.push(path),
            _ => {}
        }
    }
    let newest = numbers.iter().copied().max().unwrap_or(1);
    let older = numbers.into_iter().filter(|number| *number < newest);
    leftovers.extend(older.map(|number| folder.join(name(number))));
    for path in leftovers {
        std::fs::remove_dir_all(&path).map_err(|e| fault("cannot remove", &path, &e))?;
    }
    Ok(newest)
}

fn rename(from: &Path, to: &Path, folder: &Path) -> Result<(), StorageFault> {
    std::fs::rename(from, to).map_err(|e| fault("cannot rename", from, &e))?;
    sync_folder(folder)
}
