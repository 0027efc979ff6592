//! One fjall database: a keyspace for each table, and a tally.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use quorate_core::error::StorageFault;
use quorate_core::storage::{Table, Write};

use super::lately::Lately;
use super::leftovers::Leftovers;
use super::pace::{self, Lookouts};
use super::{Tally, journal};
use crate::background;
use crate::disk::{Haste, fault, sync_tree};

/// Memory for blocks read, at most; used as it fills. Records have a memory of their own.
const CACHE_BYTES: u64 = 32 << 20;
/// Size of the records' write buffer at which it is written out.
const RECORDS_BUFFER_BYTES: u64 = 16 << 20;
/// The same for each of the other tables.
const LEDGER_BUFFER_BYTES: u64 = 2 << 20;
/// fjall's journals, at most.
const JOURNALS_BYTES: u64 = 128 << 20;
/// fjall's workers: flushes must go on while tables are merged.
const WORKERS: usize = 2;
/// How much nicer they are than others: merges can wait for requests, and get on when no processor
/// is ever idle.
const WORKERS_NICENESS: i32 = 5;
/// Open files fjall keeps.
const FILES_MAX: usize = 256;
/// fjall's limit.
pub(super) const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// A database and its folder. Dropping the last handle of a retired one removes the folder.
pub(in crate::disk) struct Generation {
    tables: Vec<Keyspace>,
    pub(super) tally: Keyspace,
    pub(super) lately: Lately,
    pub(super) database: Database,
    /// Whether nobody writes to it any more: work under way makes haste.
    is_over: Arc<AtomicBool>,
    /// The first time something here did not read.
    damage: OnceLock<StorageFault>,
    /// Dropped last: after the database is closed.
    folder: Folder,
}

struct Folder {
    path: PathBuf,
    is_retired: AtomicBool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_retired.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an old store");
        }
    }
}

/// Runs what starts workers on a thread of its own, whose niceness they inherit.
fn below_others<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let body = || {
        background::give_way(WORKERS_NICENESS);
        start()
    };
    let started = std::thread::scope(|scope| scope.spawn(body).join());
    started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Generation {
    /// Opens the database in `path`, or makes it.
    pub(in crate::disk) fn open(path: &Path) -> Result<Self, StorageFault> {
        let failed = |e| store_fault("cannot open", path, &e);
        if path.is_dir() {
            // Who gave files their names may have died before that was synced, and fjall removes
            // what they replaced.
            sync_tree(path)?;
            journal::cut_torn_end(path)?;
        }
        let lookouts = Lookouts::default();
        let factory = lookouts.clone();
        let builder = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNALS_BYTES)
            .max_cached_files(Some(FILES_MAX))
            .manual_journal_persist(true)
            .with_compaction_filter_factories(Arc::new(move |table| Some(factory.of(table))))
            .worker_threads(WORKERS);
        let database = below_others(|| builder.open()).map_err(failed)?;
        let keyspace = |name: &str, bytes| {
            let options = || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(bytes)
                    .manual_journal_persist(true)
            };
            let keyspace = database.keyspace(name, options).map_err(failed)?;
            lookouts.know(&keyspace);
            Ok(keyspace)
        };
        let table = |table: &Table| {
            let is_records = *table == Table::Key;
            let bytes = if is_records { RECORDS_BUFFER_BYTES } else { LEDGER_BUFFER_BYTES };
            keyspace(table.name(), bytes)
        };
        let tables = Table::ALL.iter().map(table).collect::<Result<_, _>>()?;
        let tally = keyspace("quorate_tally", LEDGER_BUFFER_BYTES)?;
        let folder = Folder { path: path.to_path_buf(), is_retired: AtomicBool::new(false) };
        let (is_over, damage) = (Arc::default(), OnceLock::new());
        Ok(Self { tables, tally, lately: Lately::new(), database, is_over, damage, folder })
    }

    /// A table's keyspace.
    pub(in crate::disk) fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table as usize]
    }

    /// Where it is.
    pub(in crate::disk) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Writes rows, whose keys were checked, and the tally after them as one.
    pub(in crate::disk) fn commit(
        &self,
        writes: Vec<Write>,
        tally: &Tally,
    ) -> Result<(), StorageFault> {
        let mut batch = self.database.batch();
        for write in writes {
            let table = self.table(write.table);
            match write.value {
                Some(value) => batch.insert(table, write.key, value),
                None => batch.remove(table, write.key),
            }
        }
        let (key, value) = tally.encode();
        batch.insert(&self.tally, key, value);
        batch.commit().map_err(|e| store_fault("cannot write to", self.path(), &e))
    }

    /// Refuses keys fjall would panic on.
    pub(in crate::disk) fn check_key(&self, key: &[u8]) -> Result<(), StorageFault> {
        if (1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Ok(());
        }
        Err(StorageFault::new(format!(
            "the store in {} cannot hold a row whose key has {} bytes",
            self.path().display(),
            key.len()
        )))
    }

    /// Makes all that was written survive a crash.
    pub(in crate::disk) fn sync(&self) -> Result<(), StorageFault> {
        let synced = self.database.persist(PersistMode::SyncAll);
        synced.map_err(|e| store_fault("cannot sync", self.path(), &e))
    }

    pub(super) fn is_empty(&self) -> Result<bool, StorageFault> {
        let snapshot = self.database.snapshot();
        for table in &self.tables {
            if !snapshot.is_empty(table).map_err(|e| self.read_fault(&e))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Merges every table with what was removed from it. The tally's too: a journal goes only when
    /// nothing needs it any more.
    pub(super) fn compact(&self, haste: Haste) -> Result<(), StorageFault> {
        let mut leftovers = Leftovers::default();
        let mut merge = |table: &Keyspace| match haste {
            Haste::AtOnce => table.major_compact(),
            Haste::GivesWay => {
                leftovers.hold(&pace::files_folder(table));
                pace::give_way(table, &self.is_over, || table.major_compact())
            }
        };
        for table in self.tables.iter().chain([&self.tally]) {
            let merged = table.rotate_memtable_and_wait().and_then(|()| merge(table));
            merged.map_err(|e| match store_fault("cannot defragment", self.path(), &e) {
                fault if fault.is_damage => self.read_fault(&e),
                fault => fault,
            })?;
        }
        if haste == Haste::GivesWay {
            leftovers.give_back(Arc::clone(&self.is_over));
        }
        Ok(())
    }

    /// Lets go of tables that were merged and that no snapshot shows. fjall looks for them when a
    /// write buffer is written out, and only among what is older than the last write.
    pub(super) fn release(&self, tally: &Tally) -> Result<(), StorageFault> {
        self.commit(Vec::new(), tally)?;
        let rotated = self.tally.rotate_memtable();
        rotated.map(|_| ()).map_err(|e| store_fault("cannot write to", self.path(), &e))
    }

    /// Bytes of tables and write buffers. Journals are left out: they are preallocated; and heads,
    /// which nobody asked to keep.
    pub(super) fn bytes_occupied(&self) -> u64 {
        let told = Table::ALL.iter().filter(|table| **table != Table::Heads);
        let tables: u64 = told.map(|table| self.table(*table).disk_space()).sum();
        tables + self.database.write_buffer_size()
    }

    /// Nothing is written to it any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Its folder goes with its last reader.
    pub(super) fn retire(self: Arc<Self>) {
        self.end();
        self.folder.is_retired.store(true, Ordering::Release);
    }

    /// What does not read is damaged, whatever the reason; it is remembered for whoever can do
    /// something about it.
    pub(super) fn read_fault(&self, error: &fjall::Error) -> StorageFault {
        let fault = store_fault("cannot read from", self.path(), error);
        self.damage.get_or_init(|| StorageFault { is_damage: true, ..fault }).clone()
    }

    /// What did not read, if anything.
    pub(super) fn damage(&self) -> Option<&StorageFault> {
        self.damage.get()
    }
}

/// A fault of fjall's, in words that say what to do.
pub(in crate::disk) fn store_fault(what: &str, path: &Path, error: &fjall::Error) -> StorageFault {
    use fjall::{Error, LsmError};
    let what = format!("{what} the store in");
    match error {
        Error::Io(io) | Error::Storage(LsmError::Io(io)) => fault(&what, path, io),
        Error::Poisoned => StorageFault::new(format!(
            "{what} {}: an earlier write failed, so it takes no more; look for that failure above, \
             mend the disk or free space, then start the member again: nothing is lost",
            path.display()
        )),
        Error::Locked => {
            StorageFault::new(format!("{what} {}: another process holds it", path.display()))
        }
        error => StorageFault::damage(format!(
            "{what} {}: {error:?}; move the member's data directory away and add the member \
             anew, its peers send it everything",
            path.display()
        )),
    }
}
