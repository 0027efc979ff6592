//! Defragmenting at a pace that leaves the disk to others.
//!
//! fjall merges a table in one go: it reads and writes as fast as the disk lets it, in files of
//! 64 MB, each synced once at its end. Whatever else is to be synced meanwhile, above all the log,
//! waits behind that. Here the merge is made to sync what it wrote after each piece, and then to
//! rest for a multiple of the time the piece took.
//!
//! What fjall lets others do while it merges is look at each row (a *compaction filter*). It is
//! the merge's own thread that looks.
//!
//! Deliberately absent: merges fjall begins by itself, which are short, and which writes wait for.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fjall::Keyspace;
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

/// Bytes of rows between two rests. A sync of so many takes hardly longer than the shortest there
/// is, and one of eight times as many takes five times as long.
const PIECE_BYTES: usize = 128 << 10;
/// How long a rest is, in times that its piece took.
const REST_FACTOR: u32 = 3;
/// Files that wait to be merged from which on there is no rest: fjall begins no other merge of the
/// table before this one ends, and makes writers wait at 20.
const WAITING_MAX: usize = 12;
/// fjall's folder for the files of a table.
const FILES_FOLDER: &str = "tables";

thread_local! {
    /// The pace of the merge this thread is about to begin.
    static NEXT: RefCell<Option<Pace>> = const { RefCell::new(None) };
}

/// Runs `merge`, which merges `table` on this thread, at a pace until `is_over`.
pub(super) fn give_way<T>(
    table: &Keyspace,
    is_over: &Arc<AtomicBool>,
    merge: impl FnOnce() -> T,
) -> T {
    NEXT.set(Some(Pace::new(table.clone(), Arc::clone(is_over))));
    let outcome = merge();
    // Where there was nothing to merge, nobody took it.
    NEXT.take();
    outcome
}

/// For [`fjall::DatabaseBuilder`]: what looks at rows that are merged.
pub(super) fn lookouts(_table: &str) -> Option<Arc<dyn Factory>> {
    Some(Arc::new(Lookouts))
}

struct Lookouts;

impl Factory for Lookouts {
    fn name(&self) -> &str {
        "pace"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Lookout { pace: NEXT.take() })
    }
}

/// Looks at the rows of one merge; keeps all of them.
struct Lookout {
    pace: Option<Pace>,
}

impl CompactionFilter for Lookout {
    fn filter_item(&mut self, row: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        if let Some(pace) = &mut self.pace {
            pace.pass(row.key().len() + row.value()?.len())?;
        }
        Ok(Verdict::Keep)
    }
}

struct Pace {
    table: Keyspace,
    /// Whether whoever would use the table is gone, and waits for the merge to end.
    is_over: Arc<AtomicBool>,
    /// Bytes since the last rest, and when that ended.
    bytes: usize,
    since: Instant,
    rested: Duration,
}

impl Pace {
    fn new(table: Keyspace, is_over: Arc<AtomicBool>) -> Self {
        Self { table, is_over, bytes: 0, since: Instant::now(), rested: Duration::ZERO }
    }

    /// So much was merged.
    fn pass(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes < PIECE_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(path) = newest_file(&self.table.path().join(FILES_FOLDER))? {
            // It may be complete by now, and gone.
            File::open(path).map_or(Ok(()), |file| file.sync_data())?;
        }
        if self.table.l0_table_count() < WAITING_MAX {
            let rest = self.since.elapsed() * REST_FACTOR;
            std::thread::sleep(rest);
            self.rested += rest;
        }
        self.since = Instant::now();
        Ok(())
    }
}

/// The file being written: they have rising numbers for names.
fn newest_file(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.parse::<u64>().ok());
        newest = newest.max(number.map(|number| (number, path)));
    }
    Ok(newest.map(|(_, path)| path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> (fjall::Database, Keyspace) {
        let builder = fjall::Database::builder(folder);
        let builder = builder.with_compaction_filter_factories(Arc::new(lookouts));
        let database = builder.worker_threads(2).open().unwrap();
        let table = database.keyspace("rows", || {
            // Nothing merges what waits.
            let strategy = Arc::new(fjall::compaction::Leveled::default().with_l0_threshold(100));
            fjall::KeyspaceCreateOptions::default().compaction_strategy(strategy)
        });
        (database, table.unwrap())
    }

    fn add_file(table: &Keyspace) {
        table.insert("key", "value").unwrap();
        table.rotate_memtable_and_wait().unwrap();
    }

    #[test]
    fn a_merge_that_was_asked_to_give_way_takes_the_pace_and_no_other_does() {
        let folder = crate::disk::memory_dir();
        let (_database, table) = open(folder.path());
        let is_left = || NEXT.with_borrow(Option::is_some);
        for _ in 0..2 {
            add_file(&table);
        }
        let is_over = Arc::default();
        give_way(&table, &is_over, || {
            assert!(is_left());
            table.major_compact().unwrap();
            assert!(!is_left(), "the merge has it");
        });
        give_way(&table, &is_over, || ());
        assert!(!is_left(), "the next merge does not get it");
    }

    #[test]
    fn a_merge_rests_after_each_piece_unless_files_wait_or_all_is_over() {
        let folder = crate::disk::memory_dir();
        let (_database, table) = open(folder.path());
        add_file(&table);
        let mut pace = Pace::new(table.clone(), Arc::default());
        pace.pass(PIECE_BYTES - 1).unwrap();
        assert_eq!(pace.rested, Duration::ZERO, "no piece yet");
        pace.pass(1).unwrap();
        let rested = pace.rested;
        assert!(rested > Duration::ZERO);
        pace.is_over.store(true, Ordering::Relaxed);
        pace.pass(PIECE_BYTES).unwrap();
        assert_eq!(pace.rested, rested);
        pace.is_over.store(false, Ordering::Relaxed);
        pace.pass(PIECE_BYTES).unwrap();
        let rested = std::mem::replace(&mut pace.rested, Duration::ZERO) - rested;
        assert!(rested > Duration::ZERO);
        while table.l0_table_count() < WAITING_MAX {
            add_file(&table);
        }
        pace.pass(PIECE_BYTES).unwrap();
        assert_eq!(pace.rested, Duration::ZERO);
    }
}
