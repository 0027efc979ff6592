//! An etcd member's data becomes Quorate's: same cluster, same member, same revisions.
//!
//! ```text
//! DIR/member/snap/db   rows up to the consistent index  -->  member/store
//! DIR/member/wal       the entries after it             -->  member/wal
//! ```
//!
//! etcd's database is always somewhat behind its log. The entries between are applied when
//! Quorate starts; if one of them would not be applied in full, nothing is adopted.
//!
//! In place, the new directory is made beside the old one and takes its name in one step; the old
//! one stays as `member.etcd`, whole, and etcd runs on it again once it has its name back.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go`, `server/storage/backend.go`

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::schema::{adopted_row, stored_mark};
use quorate_core::storage::{LogContents, LogRead as _, SnapshotMark, StateRead};
use quorate_core::{Config, check_known};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Failure, source};
use crate::disk::amended::Amended;
use crate::disk::recovery::{self, Beginning};
use crate::disk::{DataDir, Identity, fault, sync_folder, wal};

/// Where the new directory is made before it takes the old one's place.
const DRAFT: &str = "member.adopting";
/// What the old one is called from then on.
const KEPT: &str = "member.etcd";

/// Adopts `etcd_dir`, in place or to another directory.
pub(super) fn adopt(
    (etcd_dir, wal_dir): (&Path, &Path),
    data_dir: Option<&Path>,
    patience: Duration,
) -> Result<String, Failure> {
    let about = |failure: Failure| Failure {
        text: format!("cannot adopt {}: {}", etcd_dir.display(), failure.text),
        ..failure
    };
    let found = read(&etcd_dir.join("member"), wal_dir, patience).map_err(about)?;
    let told = format!(
        "adopted member {} of cluster {}: entries up to {} are in the store, {} more in the log",
        found.identity.member,
        found.identity.cluster,
        found.mark.index,
        found.entries.len()
    );
    match data_dir {
        Some(data_dir) if data_dir.join("member").exists() => {
            let text = format!("{} holds a member already", data_dir.display());
            return Err(about(Failure::new(text)));
        }
        Some(data_dir) => recovery::begin(&DataDir::open(data_dir)?, found)?,
        None => in_place(etcd_dir, found)?,
    }
    eprintln!("{told}");
    Ok(String::new())
}

/// Reads all there is, and judges it.
fn read(member: &Path, wal_dir: &Path, patience: Duration) -> Result<Beginning, Failure> {
    if member.join("store").exists() {
        return Err(Failure::new("it is Quorate's already"));
    }
    let file = source::open(&member.join("snap").join("db"), patience)?;
    source::check_known(&file)?;
    let mark = stored_mark(&file)?;
    if mark.index.get() == 0 || mark.conf_state.voters.is_empty() {
        return Err(Failure::new(
            "its database does not say how far it is, or with whom; start it once more with an \
             etcd from 3.5 on, stop that, and try again",
        ));
    }
    check_snapshots(&member.join("snap"), &mark)?;
    let rows: Arc<dyn StateRead> = Arc::new(Amended::new(Arc::new(file), [adopted_row()]));
    let (identity, log, _) = wal::read(wal_dir, &mark)?;
    let LogContents { hard_state, mut entries, .. } = log.load(&mark)?;
    entries.retain(|entry| entry.index > mark.index);
    for entry in &entries {
        check_known(entry).map_err(|what| {
            Failure::new(format!(
                "entry {} of its log, not yet in its database, is {what}; start etcd once more \
                 and stop it without killing it, so that the entry gets there, and try again",
                entry.index
            ))
        })?;
    }
    let Identity { member, cluster } = identity;
    source::check_rows(&Config { member, cluster, ..Config::default() }, &rows)?;
    Ok(Beginning { identity, rows, mark, entries, hard_state })
}

/// A member that received its leader's state keeps it as a file of its own until it is applied.
fn check_snapshots(folder: &Path, mark: &SnapshotMark) -> Result<(), Failure> {
    let list = fs::read_dir(folder).map_err(|e| fault("cannot list", folder, &e))?;
    for entry in list {
        let path = entry.map_err(|e| fault("cannot list", folder, &e))?.path();
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index = match file.strip_suffix(".snap") {
            Some(name) => name.split_once('-').map(|(_, index)| index),
            None => file.strip_suffix(".snap.db"),
        };
        let index = index.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        if index.is_some_and(|index| index > mark.index.get()) {
            return Err(Failure::new(format!(
                "{file} is ahead of its database: a state it was sent is not applied yet; start \
                 etcd once more, stop it, and try again"
            )));
        }
    }
    Ok(())
}

fn in_place(etcd_dir: &Path, found: Beginning) -> Result<(), Failure> {
    let (member, kept) = (etcd_dir.join("member"), etcd_dir.join(KEPT));
    if kept.exists() {
        return Err(Failure::new(format!("{} is in the way", kept.display())));
    }
    let draft = etcd_dir.join(DRAFT);
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|e| fault("cannot remove", &draft, &e))?;
    }
    let dir = DataDir::open(&draft)?;
    recovery::begin(&dir, found)?;
    let made = dir.member();
    let swap = || -> std::io::Result<()> {
        renameat_with(CWD, made, CWD, &member, RenameFlags::EXCHANGE)?;
        fs::rename(made, &kept)?;
        fs::remove_dir(&draft)
    };
    swap().map_err(|e| fault("cannot put the new directory in the place of", &member, &e))?;
    Ok(sync_folder(etcd_dir)?)
}
