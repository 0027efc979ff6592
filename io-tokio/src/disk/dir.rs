//! The data directory: where things are, and that nobody else is there.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_core::error::StorageFault;

use super::{create_folder, fault, sync_folder};

/// How long to wait for another process before saying so.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often to look meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A data directory, locked for this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    member: PathBuf,
    wal: PathBuf,
    /// Held, never read.
    _lock: File,
}

impl DataDir {
    /// Creates what is missing and takes the lock. While another process holds it, waits; after
    /// 10 seconds logs that, and goes on waiting. Content that is not ours is left alone.
    pub fn open(path: &Path) -> Result<Self, StorageFault> {
        let wal = path.join("member").join("wal");
        Self::open_with_wal(path, &wal)
    }

    /// The same with the log in a place of its own (`--wal-dir`).
    pub fn open_with_wal(path: &Path, wal: &Path) -> Result<Self, StorageFault> {
        refuse_etcds(path)?;
        create_folder(path)?;
        let member = path.join("member");
        create_folder(&member)?;
        let lock = lock(&member.join("lock"), None)?;
        if let Some(parent) = wal.parent() {
            create_folder(parent)?;
            sync_folder(parent)?;
        }
        // Who made a folder that is there may have died before its name was synced.
        sync_folder(&member)?;
        sync_folder(path)?;
        sync_parent(path)?;
        Ok(Self { member, wal: wal.to_path_buf(), _lock: lock })
    }

    /// A directory that is there, for as long as nobody else uses it; waits so long for whoever
    /// does, without end if that is zero. Creates nothing but the lock.
    pub fn open_stopped(path: &Path, wal: &Path, patience: Duration) -> Result<Self, StorageFault> {
        refuse_etcds(path)?;
        let member = path.join("member");
        if !member.is_dir() {
            let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(fault("cannot open", &member, &absent));
        }
        let patience = Some(patience).filter(|patience| !patience.is_zero());
        let lock = lock(&member.join("lock"), patience)?;
        Ok(Self { member, wal: wal.to_path_buf(), _lock: lock })
    }

    /// Whether a member lives here already: its log appears complete or not at all.
    pub fn is_initialised(&self) -> bool {
        self.wal.is_dir()
    }

    /// `member/`.
    pub fn member(&self) -> &Path {
        &self.member
    }

    /// The log's folder.
    pub fn wal(&self) -> &Path {
        &self.wal
    }

    /// The store's folder; it holds one folder for each generation.
    pub fn store(&self) -> PathBuf {
        self.member.join("store")
    }
}

/// Makes the name of the data directory durable, unless it is in a folder only others may read.
fn sync_parent(path: &Path) -> Result<(), StorageFault> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|file| file.sync_all());
    match synced {
        Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
            Err(fault("cannot sync", parent, &error))
        }
        _ => Ok(()),
    }
}

/// etcd's log has our format, but what it came to is in etcd's database.
fn refuse_etcds(path: &Path) -> Result<(), StorageFault> {
    let member = path.join("member");
    if !member.join("snap").join("db").exists() || member.join("store").exists() {
        return Ok(());
    }
    Err(StorageFault::new(format!(
        "{} is an etcd member's data; `quorate utl adopt` makes it Quorate's",
        path.display()
    )))
}

/// Takes the lock; gives up after `patience`, if there is one.
fn lock(path: &Path, patience: Option<Duration>) -> Result<File, StorageFault> {
    let mut options = File::options();
    let opened = options.create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|e| fault("cannot open", path, &e))?;
    let start = Instant::now();
    while start.elapsed() < patience.unwrap_or(LOCK_PATIENCE) {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::Error(e)) => return Err(fault("cannot lock", path, &e)),
        }
    }
    if patience.is_some() {
        return Err(StorageFault::new(format!(
            "{} is held by another process; stop the server that runs here first",
            path.display()
        )));
    }
    tracing::warn!(
        path = %path.display(),
        "the data directory is in use by another process; waiting until it is free"
    );
    file.lock().map_err(|e| fault("cannot lock", path, &e))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_waits_for_the_first() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("somebody-elses"), b"x").unwrap();
        let first = DataDir::open(root.path()).unwrap();
        assert!(!first.is_initialised());
        let path = root.path().to_path_buf();
        let second = std::thread::spawn(move || {
            DataDir::open(&path).unwrap();
            Instant::now()
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(!second.is_finished());
        let freed = Instant::now();
        drop(first);
        assert!(second.join().unwrap() >= freed);
        assert!(root.path().join("somebody-elses").exists());
    }

    #[test]
    fn an_etcd_members_data_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let member = root.path().join("member");
        std::fs::create_dir_all(member.join("snap")).unwrap();
        std::fs::write(member.join("snap").join("db"), b"").unwrap();
        let wal = member.join("wal");
        for refused in [
            DataDir::open(root.path()),
            DataDir::open_stopped(root.path(), &wal, Duration::from_millis(1)),
        ] {
            assert!(refused.unwrap_err().what.contains("quorate utl adopt"));
        }
        assert_eq!(std::fs::read_dir(&member).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new");
        let dir = DataDir::open(&path).unwrap();
        for folder in [&path, dir.member()] {
            let mode = std::fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
