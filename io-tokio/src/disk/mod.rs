//! Everything this member keeps: the log it promised by, and the store of what that came to.
//!
//! ```text
//! <data-dir>/member/lock          held while a process runs here
//! <data-dir>/member/wal/          the log: consensus, in etcd's format         -> wal/
//! <data-dir>/member/store/<n>/    the store: records and ledgers, in fjall     -> store/
//! <data-dir>/member/store/<mark>.incoming/  an image being received              -> image/
//! ```
//!
//! The log is the truth; the store can be rebuilt from it or from peers. The store may be behind
//! the log (entries are applied again) and, right after an image was installed, ahead of it (the
//! log starts over). It may never be behind the log's *beginning*: then it lost what was synced,
//! and is as good as damaged.
//!
//! Crash matrix of an installation (`recovery.rs` tells them apart):
//!
//! | Crash | What is found | What happens at the next start |
//! |---|---|---|
//! | while receiving | `<mark>.incoming` | it is removed; the leader sends again |
//! | before the rename | the same, complete | the same: nobody was told it is here |
//! | after the rename | `<n>`, `<n+1>`, an old log | `<n>` is removed; the log starts over |
//! | after the log's marker | `<n>`, `<n+1>`, a log behind it | `<n>` is removed |
//!
//! Invariants:
//! - A failed write or sync ends the process; nothing is retried.
//! - One process at a time: the lock is taken before anything is read.
//!
//! Deliberately absent: any rule of consensus or of what rows mean.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go`, `server/storage/`

pub mod ahead;
pub mod amended;
pub mod dir;
pub mod faults;
pub mod image;
pub mod recovery;
pub mod store;
pub mod wal;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::output::{Batch, Persist};
use quorate_core::storage::{SnapshotMark, StateRead};
use quorate_proto::peer::ImageChunk;
use quorate_proto::raftpb;

pub use dir::DataDir;
use image::ImageError;

/// Whose data this is; fixed when the directory is initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The member.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// What an append cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Time spent in syncs; zero if there was none.
    pub sync_time: Duration,
}

/// The log as its thread sees it. A call that failed once fails for ever.
pub trait LogWrite: Send {
    /// Writes batches in order and, if one of them must be, syncs them all at once. A batch with
    /// a snapshot starts the log over behind it.
    fn append(&mut self, batches: &[Persist]) -> Result<Appended, StorageFault>;

    /// Notes that everything up to the mark is in the store, and lets go of what ends before it.
    fn cut(&mut self, mark: &SnapshotMark) -> Result<(), StorageFault>;

    /// Syncs whatever is not yet.
    fn sync(&mut self) -> Result<(), StorageFault>;
}

/// The store as its thread sees it. A write that failed once fails for ever.
pub trait StateWrite: Send {
    /// Writes the batch as one, unsynced; false if it was dropped, being of an earlier epoch.
    fn write(&mut self, batch: Batch) -> Result<bool, StorageFault>;

    /// Makes all that was written survive a crash.
    fn sync(&mut self) -> Result<(), StorageFault>;

    /// What is stored now.
    fn image(&self) -> Arc<dyn StateRead>;

    /// Replaces the content by the received image for `mark`. Batches of earlier epochs are
    /// dropped from then on.
    fn install(&mut self, mark: &SnapshotMark) -> Result<Arc<dyn StateRead>, StorageFault>;

    /// A piece of work that gives back space nothing needs; it takes long, and may run anywhere.
    fn defragment(&self) -> Defragment;

    /// Lets go of files that were replaced and that no image shows any more. Images of the same
    /// content that are taken later show none of them.
    fn release(&mut self) -> Result<(), StorageFault>;

    /// What did not read since the content was last replaced, if anything.
    fn damage(&self) -> Option<StorageFault>;

    /// How much is stored.
    fn size(&self) -> Size;
}

/// Where images of other members' stores arrive: shared by the transport, which fills it, and the
/// store, which takes from it.
pub trait ImageWrite: Send + Sync {
    /// Receives one image, header first: blocking. When it returns, the image is ready to be
    /// installed and its announcement may be delivered to the replica.
    fn receive(
        &self,
        chunks: &mut dyn Iterator<Item = ImageChunk>,
    ) -> Result<raftpb::Message, ImageError>;
}

/// See [`StateWrite::defragment`].
pub type Defragment = Box<dyn FnOnce(Haste) -> Result<(), StorageFault> + Send>;

/// How work is done that could wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// As fast as the disk lets it: nobody else wants it.
    AtOnce,
    /// With rests, so that others have the disk most of the time.
    GivesWay,
}

/// How much is stored, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Taken up.
    pub allocated: u64,
    /// Of that, by live rows.
    pub in_use: u64,
    /// Whether the disk has so little left that log and store may soon not grow any more.
    pub is_disk_low: bool,
}

/// What a disk keeps free: a segment of the log, a journal of the store's, what is about to be
/// written out.
const DISK_RESERVE_BYTES: u64 = 160 << 20;
/// Of a small disk, this part is kept free instead.
const DISK_RESERVE_PART: u64 = 4;

/// Whether the disk `folder` is on is nearly full; not, if it does not tell.
fn is_disk_low(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let reserve = DISK_RESERVE_BYTES.min(bytes(disk.f_blocks) / DISK_RESERVE_PART);
        bytes(disk.f_bavail) < reserve
    })
}

/// A fault that says what failed, where and how, and what a full disk asks for.
pub(crate) fn fault(what: &str, path: &Path, error: &io::Error) -> StorageFault {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space on this disk, then start the member again: nothing is lost"
        }
        io::ErrorKind::PermissionDenied => "; the process needs to own the data directory",
        _ => "",
    };
    StorageFault::new(format!("{what} {}: {error}{advice}", path.display()))
}

/// Makes names created in or removed from `folder` durable; a name without a folder is in the
/// current one.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StorageFault> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(|e| fault("cannot sync", folder, &e))
}

/// Makes a folder and everything below it durable.
pub(crate) fn sync_tree(folder: &Path) -> Result<(), StorageFault> {
    for entry in std::fs::read_dir(folder).map_err(|e| fault("cannot list", folder, &e))? {
        let path = entry.map_err(|e| fault("cannot list", folder, &e))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|e| fault("cannot sync", &path, &e))?;
        }
    }
    sync_folder(folder)
}

/// Creates a folder only its owner can enter, and makes its name durable. One that exists is
/// left as it is.
pub(crate) fn create_folder(folder: &Path) -> Result<(), StorageFault> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.is_dir() {
        return Ok(());
    }
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(|e| fault("cannot create", folder, &e))?;
    sync_folder(folder.parent().unwrap_or(folder))
}

/// Gives a file blocks up to `bytes`, where the file system can, and that length anywhere.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        outcome => Ok(outcome?),
    }
}

/// A folder for a test's files, in memory where there is one: its syncs cost nothing.
#[cfg(test)]
pub(crate) fn memory_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder for temporary files")
}
