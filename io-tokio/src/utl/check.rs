//! Reading every byte of a stopped member's data: would it start, and is it whole?
//!
//! | Part | What is held against what |
//! |---|---|
//! | store | every row is read, and the store checks its blocks; every ledger is loaded; heads |
//! | | are held against the records that they are of |
//! | log | every record against the checksums through all segments, entries against each other |
//! | both | the log reaches what is stored and what was committed; the group is one that can be |
//!
//! Nothing is changed but what every start changes: leftovers of a crash are put in order.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_core::ids::LogIndex;
use quorate_core::mvcc::check_heads;
use quorate_core::schema::stored_mark;
use quorate_core::storage::{LogRead as _, SnapshotMark, StateRead, Table};
use quorate_core::time::Time;
use quorate_core::{Config, Replica};

use super::status::hash_rows;
use super::{Failure, directory, source};
use crate::disk::store::Store;
use crate::disk::{DataDir, Identity, StateWrite as _, wal};
use crate::tool::format::show_bytes;

/// How often it is said how far the work is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Checks a directory.
pub(super) fn check(
    data_dir: &Path,
    wal_dir: Option<&Path>,
    patience: Duration,
) -> Result<String, Failure> {
    let dir = directory::lock(data_dir, wal_dir, patience)?;
    let mut found = Vec::new();
    let stored = check_store(&dir).map_err(|failure| found.push(failure.text)).ok();
    if let Err(failure) = check_log(&dir, stored) {
        found.push(failure.text);
    }
    if found.is_empty() {
        return Ok(format!("{} is sound\n", data_dir.display()));
    }
    let (count, found) = (found.len(), found.join("\n  "));
    Err(Failure::new(format!("{}: {count} found wrong:\n  {found}", data_dir.display())))
}

fn check_store(dir: &DataDir) -> Result<(SnapshotMark, Arc<dyn StateRead>), Failure> {
    let store = Store::open(&dir.store())?;
    let rows = store.image();
    for table in Table::ALL {
        check_table(&*rows, table)?;
    }
    check_heads(&*rows)?;
    let mark = stored_mark(&*rows)?;
    eprintln!("store: everything up to entry {} of term {}", mark.index, mark.term);
    let hash = hash_rows(Arc::clone(&rows), 0)?;
    eprintln!("store: {}", hash.words());
    Ok((mark, rows))
}

fn check_table(rows: &dyn StateRead, table: Table) -> Result<(), Failure> {
    let (mut count, mut bytes, mut told) = (0_u64, 0_u64, Instant::now());
    rows.scan(table, &[], &[], &mut |key, value| {
        count += 1;
        bytes += (key.len() + value.len()) as u64;
        if told.elapsed() > PROGRESS_INTERVAL {
            eprintln!("store: {} {count} rows, {} ...", table.name(), show_bytes(bytes));
            told = Instant::now();
        }
        ControlFlow::Continue(())
    })?;
    eprintln!("store: {} {count} rows, {}", table.name(), show_bytes(bytes));
    Ok(())
}

/// Reads the log; if it is known what is stored, opens both machines as a start would.
fn check_log(
    dir: &DataDir,
    stored: Option<(SnapshotMark, Arc<dyn StateRead>)>,
) -> Result<(), Failure> {
    if !dir.is_initialised() {
        return Err(Failure::new(format!(
            "there is no log in {}: say --wal-dir if it lies elsewhere",
            dir.wal().display()
        )));
    }
    let Some((mark, rows)) = stored else {
        // Every record is read; that the log does not reach so far is no fault of its own.
        let beyond = SnapshotMark { index: LogIndex(u64::MAX), ..SnapshotMark::default() };
        wal::read(dir.wal(), &beyond)?;
        eprintln!("log: every record is whole");
        return Ok(());
    };
    let (Identity { member, cluster }, log, segments) = wal::read(dir.wal(), &mark)?;
    let contents = log.load(&mark)?;
    let last = contents.entries.last().map_or(contents.mark.index, |entry| entry.index);
    eprintln!(
        "log: of member {member} of cluster {cluster}, {} segments, entries after {} up to {last}, \
         committed up to {}",
        segments.len(),
        contents.mark.index,
        contents.hard_state.commit
    );
    let config = Config { member, cluster, ..Config::default() };
    source::check_rows(&config, &rows)?;
    Replica::open(&config, mark, contents, Time::default())?;
    Ok(())
}
