//! Merging at a pace that leaves the disk to others.
//!
//! fjall merges a table in one go: it reads and writes as fast as the disk lets it, in files of
//! 64 MB, each synced once at its end. Whatever else is to be synced meanwhile, above all the log,
//! waits behind that. Here a merge is made to sync what it wrote after each piece; one that can
//! wait then rests for a multiple of the time the piece took.
//!
//! What fjall lets others do while it merges is look at each row (a *compaction filter*). It is
//! the merge's own thread that looks.
//!
//! Deliberately absent: write buffers that are written out, whose rows nobody can look at.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{DirEntry, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fjall::Keyspace;
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

/// Least bytes of rows in a piece. A sync of so many takes hardly longer than the shortest there
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
    /// Whom the merge this thread is about to begin gives way to.
    static NEXT: RefCell<Option<Rests>> = const { RefCell::new(None) };
}

/// Runs `merge`, which merges `table` on this thread, with rests until `is_over`.
pub(super) fn give_way<T>(
    table: &Keyspace,
    is_over: &Arc<AtomicBool>,
    merge: impl FnOnce() -> T,
) -> T {
    NEXT.set(Some(Rests { table: table.clone(), is_over: Arc::clone(is_over) }));
    let outcome = merge();
    // Where there was nothing to merge, nobody took it.
    NEXT.take();
    outcome
}

/// Where a table's files are.
pub(super) fn files_folder(table: &Keyspace) -> PathBuf {
    table.path().join(FILES_FOLDER)
}

/// Where the files of tables are, by the tables' names, as far as they were opened.
#[derive(Clone, Default)]
pub(super) struct Lookouts(Arc<Mutex<BTreeMap<String, PathBuf>>>);

impl Lookouts {
    /// For [`fjall::DatabaseBuilder`]: what looks at rows of a table that are merged.
    pub(super) fn of(&self, table: &str) -> Arc<dyn Factory> {
        Arc::new(Lookout { table: table.to_owned(), known: self.clone() })
    }

    /// A table was opened.
    pub(super) fn know(&self, table: &Keyspace) {
        let folder = files_folder(table);
        self.folders().insert(table.name().to_string(), folder);
    }

    fn folders(&self) -> MutexGuard<'_, BTreeMap<String, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lookout {
    table: String,
    known: Lookouts,
}

impl Factory for Lookout {
    fn name(&self) -> &str {
        "pace"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let files = self.known.folders().get(&self.table).cloned().map(NewFiles::of);
        Box::new(Pace::new(files, NEXT.take()))
    }
}

/// Looks at the rows of one merge, and keeps all of them.
struct Pace {
    /// Nothing while a database opens.
    files: Option<NewFiles>,
    /// Nothing for a merge that must get on.
    rests: Option<Rests>,
    /// Bytes of the present piece, and since when.
    bytes: usize,
    since: Instant,
    /// How long the last sync took. A merge syncs for half of its time at most: on a slow disk it
    /// has to get on as well.
    synced_in: Duration,
}

/// When a merge rests.
struct Rests {
    table: Keyspace,
    /// Whether whoever would use the table is gone, and waits for the merge to end.
    is_over: Arc<AtomicBool>,
}

impl CompactionFilter for Pace {
    fn filter_item(&mut self, row: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        self.bytes += row.key().len() + row.value()?.len();
        if self.is_piece() {
            self.end_piece()?;
        }
        Ok(Verdict::Keep)
    }
}

impl Pace {
    fn new(files: Option<NewFiles>, rests: Option<Rests>) -> Self {
        Self { files, rests, bytes: 0, since: Instant::now(), synced_in: Duration::ZERO }
    }

    fn is_piece(&self) -> bool {
        self.bytes >= PIECE_BYTES && self.since.elapsed() >= self.synced_in
    }

    fn end_piece(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        if let Some(files) = &mut self.files {
            files.sync()?;
        }
        self.synced_in = begun.elapsed();
        if self.rests.as_ref().is_some_and(Rests::is_due) {
            std::thread::sleep(self.since.elapsed() * REST_FACTOR);
        }
        (self.bytes, self.since) = (0, Instant::now());
        Ok(())
    }
}

impl Rests {
    fn is_due(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed) && self.table.l0_table_count() < WAITING_MAX
    }
}

/// Files of a table that came since a merge began: its own, and those of write buffers.
struct NewFiles {
    folder: PathBuf,
    /// The highest number there was. Files have rising numbers for names.
    last_before: u64,
    /// How long each was when it was synced.
    lengths: BTreeMap<u64, u64>,
}

impl NewFiles {
    fn of(folder: PathBuf) -> Self {
        let mut files = Self { folder, last_before: 0, lengths: BTreeMap::new() };
        // Where it cannot be told, all of them are looked at.
        files.last_before = files.numbers().into_iter().flatten().max().unwrap_or(0);
        files
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let number = |entry: io::Result<DirEntry>| {
            let name = entry.map(|entry| entry.file_name());
            name.map(|name| name.to_str().and_then(|name| name.parse().ok())).transpose()
        };
        std::fs::read_dir(&self.folder)?.filter_map(number).collect()
    }

    /// Syncs those that have grown.
    fn sync(&mut self) -> io::Result<()> {
        // What cannot be looked at, with no descriptor left for it, is synced by fjall at its end.
        let Ok(numbers) = self.numbers() else { return Ok(()) };
        for number in numbers.into_iter().filter(|number| *number > self.last_before) {
            // It may be gone, too: merged by now.
            let Ok(file) = File::open(self.folder.join(number.to_string())) else { continue };
            let length = file.metadata()?.len();
            if self.lengths.insert(number, length) != Some(length) {
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn open(folder: &Path) -> (fjall::Database, Keyspace) {
        let lookouts = Lookouts::default();
        let factory = lookouts.clone();
        let builder = fjall::Database::builder(folder);
        let builder = builder
            .with_compaction_filter_factories(Arc::new(move |table: &str| Some(factory.of(table))));
        let database = builder.worker_threads(2).open().unwrap();
        let table = database.keyspace("rows", || {
            // Nothing merges what waits.
            let strategy = Arc::new(fjall::compaction::Leveled::default().with_l0_threshold(100));
            fjall::KeyspaceCreateOptions::default().compaction_strategy(strategy)
        });
        let table = table.unwrap();
        lookouts.know(&table);
        (database, table)
    }

    fn add_file(table: &Keyspace) {
        table.insert("key", "value").unwrap();
        table.rotate_memtable_and_wait().unwrap();
    }

    #[test]
    fn a_merge_that_was_asked_to_give_way_does_and_no_other() {
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
    fn a_merge_rests_unless_files_wait_or_all_is_over() {
        let folder = crate::disk::memory_dir();
        let (_database, table) = open(folder.path());
        let rests = Rests { table: table.clone(), is_over: Arc::default() };
        assert!(rests.is_due());
        while table.l0_table_count() < WAITING_MAX {
            assert!(rests.is_due());
            add_file(&table);
        }
        assert!(!rests.is_due(), "files wait");
        table.major_compact().unwrap();
        assert!(rests.is_due());
        rests.is_over.store(true, Ordering::Relaxed);
        assert!(!rests.is_due());
    }

    #[test]
    fn a_merge_that_has_just_waited_for_a_sync_works_as_long_before_the_next() {
        let mut pace = Pace::new(None, None);
        assert!(!pace.is_piece());
        pace.bytes = PIECE_BYTES;
        assert!(pace.is_piece());
        pace.synced_in = Duration::from_secs(3_600);
        assert!(!pace.is_piece());
        pace.end_piece().unwrap();
        assert_eq!(pace.bytes, 0);
        assert!(pace.synced_in < Duration::from_secs(3_600), "of the last sync, not the longest");
    }

    /// Looks as the real one does, and counts pieces.
    struct Counting(Pace, Arc<AtomicUsize>);

    impl CompactionFilter for Counting {
        fn filter_item(&mut self, row: ItemAccessor<'_>, on: &Context) -> CompactionFilterResult {
            let before = self.0.bytes;
            let verdict = self.0.filter_item(row, on);
            self.1.fetch_add(usize::from(self.0.bytes < before), Ordering::Relaxed);
            verdict
        }
    }

    struct Counter(Arc<AtomicUsize>);

    impl Factory for Counter {
        fn name(&self) -> &str {
            "counter"
        }

        fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
            Box::new(Counting(Pace::new(None, None), Arc::clone(&self.0)))
        }
    }

    #[test]
    fn a_merge_of_many_rows_has_pieces_and_keeps_every_row() {
        let folder = crate::disk::memory_dir();
        let pieces = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&pieces);
        let builder = fjall::Database::builder(folder.path()).worker_threads(2);
        let builder = builder.with_compaction_filter_factories(Arc::new(move |_: &str| {
            Some(Arc::new(Counter(Arc::clone(&counter))) as Arc<dyn Factory>)
        }));
        let database = builder.open().unwrap();
        let table = database.keyspace("rows", fjall::KeyspaceCreateOptions::default).unwrap();
        let value = vec![7; PIECE_BYTES / 16];
        for key in 0..64_u64 {
            table.insert(key.to_be_bytes(), &value).unwrap();
        }
        table.rotate_memtable_and_wait().unwrap();
        table.major_compact().unwrap();
        assert!((1..=4).contains(&pieces.load(Ordering::Relaxed)), "{pieces:?}");
        assert_eq!(table.len().unwrap(), 64);
    }

    #[test]
    fn files_that_came_since_are_synced_once_for_each_length() {
        let folder = crate::disk::memory_dir();
        let write = |name: &str, text| std::fs::write(folder.path().join(name), text).unwrap();
        for name in ["9", "10", "current"] {
            write(name, "before");
        }
        let mut files = NewFiles::of(folder.path().to_path_buf());
        files.sync().unwrap();
        assert_eq!(files.lengths, BTreeMap::new());
        write("11", "a");
        write("12", "ab");
        files.sync().unwrap();
        assert_eq!(files.lengths, BTreeMap::from([(11, 1), (12, 2)]));
        write("11", "abc");
        std::fs::remove_file(folder.path().join("12")).unwrap();
        files.sync().unwrap();
        assert_eq!(files.lengths, BTreeMap::from([(11, 3), (12, 2)]));
    }
}
