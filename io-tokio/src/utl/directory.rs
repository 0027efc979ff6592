//! Work on a stopped member's data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate_core::CLUSTER_VERSION;
use quorate_core::schema::meta;
use quorate_core::storage::{StateRead, Table};

use super::Failure;
use crate::disk::store::Store;
use crate::disk::{DataDir, Haste, StateWrite};
use crate::tool::format::show_bytes;
use crate::version;

/// A directory, locked, and its store.
pub(super) struct Opened {
    store: Store,
    /// Let go of last.
    _dir: DataDir,
}

impl Opened {
    /// Opens a directory of ours.
    pub(super) fn open(data_dir: &Path, patience: Duration) -> Result<Self, Failure> {
        let dir = lock(data_dir, None, patience)?;
        Ok(Self { store: Store::open(&dir.store())?, _dir: dir })
    }

    /// What is stored.
    pub(super) fn image(&self) -> Arc<dyn StateRead> {
        self.store.image()
    }
}

/// Locks a directory that must be ours.
pub(super) fn lock(
    data_dir: &Path,
    wal_dir: Option<&Path>,
    patience: Duration,
) -> Result<DataDir, Failure> {
    let member = data_dir.join("member");
    let wal = wal_dir.map_or_else(|| member.join("wal"), PathBuf::from);
    let dir = DataDir::open_stopped(data_dir, &wal, patience)?;
    if !dir.store().is_dir() {
        return Err(Failure::new(format!(
            "{} is no member's data: there is no {}",
            data_dir.display(),
            dir.store().display()
        )));
    }
    Ok(dir)
}

/// Merges everything with what was removed from it.
pub(super) fn defragment(data_dir: &Path, patience: Duration) -> Result<String, Failure> {
    let opened = Opened::open(data_dir, patience)?;
    let before = opened.store.size().allocated;
    opened.store.defragment()(Haste::AtOnce)?;
    let after = opened.store.size().allocated;
    eprintln!("defragmented: {} before, {} now", show_bytes(before), show_bytes(after));
    Ok(String::new())
}

/// Our layout is that of one version of etcd's: it is there already, or cannot be had.
pub(super) fn migrate(
    data_dir: &Path,
    (target, is_forced): (&str, bool),
    patience: Duration,
) -> Result<String, Failure> {
    let numbers: Option<Vec<u32>> = target.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([major, minor]) if (*major, *minor) >= (3, 5) => {}
        Some([_, _]) => {
            let text = format!("target version \"{target}\" not supported. Minimal \"3.5\"");
            return Err(Failure::words(text));
        }
        _ => {
            return Err(Failure::words(format!(
                "wrong target version format, expected \"X.Y\", got \"{target}\""
            )));
        }
    }
    let opened = Opened::open(data_dir, patience)?;
    let row = opened.image().get(Table::Meta, meta::STORAGE_VERSION.as_bytes())?;
    let found = row.map(|row| String::from_utf8_lossy(&row).into_owned());
    let found = found.unwrap_or_else(|| CLUSTER_VERSION.to_owned());
    if version::minor(&found) == target {
        eprintln!("storage version up-to-date: {target}");
        return Ok(String::new());
    }
    let forced = if is_forced { ", --force or not" } else { "" };
    Err(Failure::new(format!(
        "{} has the layout of version {}, which cannot be changed to {target}{forced}; to go to an \
         etcd of that version, save a snapshot of the running member and restore it there",
        data_dir.display(),
        version::minor(&found)
    )))
}
