//! Starting: a directory becomes everything the two machines open on.
//!
//! | Found | Done |
//! |---|---|
//! | no log, an empty store or none | [`create`]: a new member |
//! | no log, a store with content | refused: the log was lost |
//! | a store behind the log's end | entries after it are applied again |
//! | a store ahead of the log (an image was installed last) | the log starts over behind it |
//! | a store behind the log's beginning | refused: the store lost data |
//! | a damaged store | set aside: [`replace_store`], if there is a log or a peer to fill another |
//! | a damaged log | refused, naming the place: it holds promises nobody else can keep |
//!
//! Two more ways to make a directory serve the offline tools: [`restore`] and [`adopt`].
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go`

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_core::error::StorageFault;
use quorate_core::ids::LogIndex;
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, HardState, SnapshotMark, StateRead, Table, Write};

use super::store::Store;
use super::wal::{self, FoundLog, LogWriter};
use super::{DataDir, Identity, LogWrite, StateWrite, create_folder, fault, sync_folder};

/// Everything that was found.
pub struct Recovered {
    /// Whose data it is.
    pub identity: Identity,
    /// What the store durably holds.
    pub stored: SnapshotMark,
    /// The store's content, for opening `State`.
    pub image: Arc<dyn StateRead>,
    /// The log's content, for opening `Replica`.
    pub log: FoundLog,
    /// For the log's thread.
    pub log_writer: LogWriter,
    /// For the store's thread.
    pub store: Store,
}

/// Reads how far a store's rows go. The rows' meaning is the core's; hence it is handed in.
pub type MarkOf<'a> = &'a dyn Fn(&dyn StateRead) -> Result<SnapshotMark, StorageFault>;

/// Initialises the directory for a new member. Complete or not at all, whenever it crashes.
pub fn create(dir: &DataDir, identity: Identity) -> Result<(), StorageFault> {
    if !Store::open(&dir.store())?.is_empty()? {
        return Err(StorageFault::new(format!(
            "{} holds a store, but there is no log in {}: put the log back, or move the data \
             directory away and add the member anew",
            dir.member().display(),
            dir.wal().display()
        )));
    }
    wal::create(dir.wal(), identity, &wal::Settings::default())
}

/// Where a restored member begins.
pub struct Beginning {
    /// Whose data it is.
    pub identity: Identity,
    /// The store's rows.
    pub rows: Arc<dyn StateRead>,
    /// How far they go.
    pub mark: SnapshotMark,
}

/// Initialises the directory with restored rows, and a log of the entries that lead to them.
pub fn restore(
    dir: &DataDir,
    begin: &Beginning,
    entries: Vec<Entry>,
    hard_state: HardState,
) -> Result<(), StorageFault> {
    Store::create(&dir.store(), Arc::clone(&begin.rows))?;
    let draft = dir.wal().with_extension("draft");
    wal::create(&draft, begin.identity, &wal::Settings::default())?;
    let log = wal::open(&draft, &SnapshotMark::default(), wal::Settings::default());
    let (_, _, mut log) = log?;
    let hard_state = Some(hard_state);
    log.append(&[Persist { entries, hard_state, must_sync: true, ..Persist::default() }])?;
    log.cut(&begin.mark)?;
    rename(&draft, dir.wal())
}

/// Initialises the directory with these rows and a copy of the log that goes on behind them.
pub fn adopt(dir: &DataDir, begin: &Beginning, segments: &[PathBuf]) -> Result<(), StorageFault> {
    Store::create(&dir.store(), Arc::clone(&begin.rows))?;
    let draft = dir.wal().with_extension("draft");
    create_folder(&draft)?;
    for segment in segments {
        let to = draft.join(segment.file_name().unwrap_or_default());
        let copied = std::fs::copy(segment, &to);
        copied.map_err(|e| fault("cannot copy", segment, &e))?;
        let synced = File::open(&to).and_then(|file| file.sync_all());
        synced.map_err(|e| fault("cannot sync", &to, &e))?;
    }
    sync_folder(&draft)?;
    wal::open(&draft, &begin.mark, wal::Settings::default())?.2.sync()?;
    rename(&draft, dir.wal())
}

/// A log appears complete or not at all.
fn rename(draft: &Path, wal: &Path) -> Result<(), StorageFault> {
    std::fs::rename(draft, wal).map_err(|e| fault("cannot rename", draft, &e))?;
    sync_folder(wal.parent().unwrap_or(wal))
}

/// Whose directory it is, without opening more than the log's beginning.
pub fn read_identity(dir: &DataDir) -> Result<Identity, StorageFault> {
    wal::read_identity(dir.wal())
}

/// Opens an initialised directory.
pub fn open(
    dir: &DataDir,
    expected: Option<Identity>,
    mark_of: MarkOf<'_>,
    settings: wal::Settings,
) -> Result<Recovered, StorageFault> {
    if let Some(expected) = expected {
        check_identity(dir, expected)?;
    }
    let mut store = Store::open(&dir.store())?;
    // What is read now is what the log may have been cut for: it must not get lost again.
    store.sync()?;
    let image = store.image();
    let stored = mark_of(image.as_ref())?;
    let (identity, log, log_writer) = wal::open(dir.wal(), &stored, settings)?;
    Ok(Recovered { identity, stored, image, log, log_writer, store })
}

/// Rows of a store that has nothing of what was before that point of the log.
pub type RowsAwaitingImage<'a> = &'a dyn Fn(&SnapshotMark) -> Vec<Write>;

/// Sets a store aside that does not read. Another takes its place, which is filled from the log, if
/// that goes back to the beginning, or by an image from the leader. Refused, with the fault of the
/// store, where there is neither.
pub fn replace_store(
    dir: &DataDir,
    found: StorageFault,
    rows_for: RowsAwaitingImage<'_>,
) -> Result<(), StorageFault> {
    let mark = wal::beginning(dir.wal())?;
    let mut rows = rows_for(&mark);
    if mark.index > LogIndex(0) {
        // Who the members are now, if that still reads, is better than who they were.
        rows.extend(Store::rescue(&dir.store(), Table::Members).unwrap_or_default());
        let members = rows.iter().filter(|row| row.table == Table::Members).map(|row| &row.key);
        if members.collect::<BTreeSet<_>>().len() < 2 {
            return Err(found);
        }
    }
    let aside = Store::renew(&dir.store(), rows)?;
    tracing::warn!(
        error = found.what,
        set_aside = %aside.display(),
        log_from = mark.index.get(),
        "the store is damaged: it is set aside, and filled again from the log or by the leader"
    );
    Ok(())
}

fn check_identity(dir: &DataDir, expected: Identity) -> Result<(), StorageFault> {
    let found = read_identity(dir)?;
    if found == expected {
        return Ok(());
    }
    Err(StorageFault::new(format!(
        "{} belongs to member {} of cluster {}, not to member {} of cluster {}: point --data-dir \
         at the right place",
        dir.member().display(),
        found.member,
        found.cluster,
        expected.member,
        expected.cluster
    )))
}
