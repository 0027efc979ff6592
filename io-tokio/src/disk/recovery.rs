//! Starting: a directory becomes everything the two machines open on.
//!
//! | Found | Done |
//! |---|---|
//! | no log, an empty store or none | [`create`]: a new member |
//! | no log, a store with content | refused: the log was lost |
//! | a store behind the log's end | entries after it are applied again |
//! | a store ahead of the log (an image was installed last) | the log starts over behind it |
//! | a store behind the log's beginning | the same as a damaged one: it lost data |
//! | a damaged store | set aside: [`replace_store`], if there is a log or a peer to fill another |
//! | a damaged log | refused, naming the place: it holds promises nobody else can keep |
//!
//! Another way to make a directory serves the offline tools: [`begin`].
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go`

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_core::error::StorageFault;
use quorate_core::ids::LogIndex;
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, HardState, SnapshotMark, StateRead, Table, Write};

use super::store::Store;
use super::wal::{self, FoundLog, LogWriter};
use super::{DataDir, Identity, LogWrite, StateWrite, fault, sync_folder};

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

/// Where a member begins that is made of another's data.
pub struct Beginning {
    /// Whose data it is.
    pub identity: Identity,
    /// The store's rows.
    pub rows: Arc<dyn StateRead>,
    /// How far they go.
    pub mark: SnapshotMark,
    /// Entries behind the mark.
    pub entries: Vec<Entry>,
    /// Term, vote, commit.
    pub hard_state: HardState,
}

/// Initialises the directory with these rows, and a log that begins behind them. As when an image
/// was installed, who is behind the mark has to be sent one.
pub fn begin(dir: &DataDir, beginning: Beginning) -> Result<(), StorageFault> {
    let Beginning { identity, rows, mark, entries, hard_state } = beginning;
    Store::create(&dir.store(), rows)?;
    let draft = dir.wal().with_extension("draft");
    wal::create(&draft, identity, &wal::Settings::default())?;
    let log = wal::open(&draft, &SnapshotMark::default(), wal::Settings::default());
    let (_, _, mut log) = log?;
    let (snapshot, hard_state) = (Some(mark), Some(hard_state));
    log.append(&[Persist { snapshot, entries, hard_state, must_sync: true, number: 0 }])?;
    // A log appears complete or not at all.
    std::fs::rename(&draft, dir.wal()).map_err(|e| fault("cannot rename", &draft, &e))?;
    sync_folder(dir.wal().parent().unwrap_or(dir.wal()))
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
