//! A disk of a test's own: a folder whose every byte passes through the test, which remembers what
//! was synced and, when the power goes, forgets the rest.
//!
//! ```text
//!   a process under test                      the test
//!   write  fsync  rename ..  --- kernel --->  serve.rs   one call after another
//!                             (FUSE)             |
//!                                             disk.rs    files and folders, each held twice:
//!                                                        as it is, and as it was last synced
//! ```
//!
//! What a cut of the power leaves is drawn from a [`Loss`]. Before that the disk can stand still at
//! exactly the n-th change that reaches it, so that whoever wrote is killed in the middle of it.
//! A disk can also be ill: syncs that fail, no room left, syncs that take their time.
//!
//! - Only a completed sync of a file makes its bytes safe; only a completed sync of a folder makes
//!   names in it safe. This is less than any file system gives that journals its names, and all
//!   that POSIX promises.
//! - A sync that failed has lost what it was for, though it is still read: the next one does not
//!   make it safe.
//! - A sector of 512 bytes that was safe is old or new, never torn. One that never was may be
//!   anything, if the loss says so.
//! - Needs root and `/dev/fuse`. Without them [`Platter::mount`] says so. A test that is killed
//!   leaves a mount without a server in the folder for temporary files.
//!
//! Deliberately absent: links, renames from folder to folder, and damage to what was safe.
#![allow(dead_code, reason = "each test binary compiles this room for itself and uses a part")]

mod content;
mod disk;
mod serve;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption};

pub(crate) use content::{Loss, Luck};
use disk::Disk;
use serve::Server;

/// Calls served at once: more than a member has threads that touch its disk.
const CALLS_MAX: usize = 16;

/// How a disk is ill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Illness {
    /// Every sync fails.
    pub(crate) fails_syncs: bool,
    /// What needs more room than it has fails.
    pub(crate) is_full: bool,
    /// Every change and every sync waits.
    pub(crate) hangs: bool,
    /// Syncs of these say that they are done, and do nothing.
    pub(crate) lies_about: Option<Synced>,
    /// Every sync takes so much longer.
    pub(crate) sync_delay: Duration,
}

/// What a sync can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    File,
    Folder,
}

/// When a disk stands still: at that change of those that reach it from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Counting all of them.
    Change(u64),
    /// Counting syncs of folders, without which names are not safe.
    FolderSync(u64),
}

/// See the module.
pub(crate) struct Platter {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
}

/// What the test and the threads that serve know.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    disk: Disk,
    illness: Illness,
    /// When the disk will stand still.
    moment: Option<Moment>,
    /// Whether it does: nothing is answered until whoever asked is dead.
    stands_still: bool,
}

impl Platter {
    /// An empty disk in that folder; none where there can be no such thing, which is said loudly.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let state = State {
            disk: Disk::new(),
            illness: Illness::default(),
            moment: None,
            stands_still: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        match serve(&shared, folder) {
            Ok(session) => Some(Self { shared, session: Some(session) }),
            Err(error) => {
                eprintln!("SKIPPED: no disk of its own for this test: {error}");
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no thread panics holding it")
    }

    /// Makes the disk ill, or well.
    pub(crate) fn ail(&self, illness: Illness) {
        self.state().illness = illness;
        self.shared.changed.notify_all();
    }

    /// Lets the disk stand still at that moment, and what reached it then is not done.
    pub(crate) fn stand_still_at(&self, moment: Moment) {
        self.state().moment = Some(moment);
    }

    /// Waits until it stands still; false if it does not within that time.
    pub(crate) fn wait_for_standstill(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        while !state.stands_still {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.expect("no thread panics holding it").0;
        }
        true
    }

    /// Lets it go on. What waited fails: its processes must be dead, or about to be.
    pub(crate) fn go_on(&self) {
        let mut state = self.state();
        (state.moment, state.stands_still) = (None, false);
        self.shared.changed.notify_all();
    }

    /// Cuts the power: what was not synced fares as drawn. Nothing may have a file open.
    pub(crate) fn cut(&self, loss: Loss, luck: &mut Luck) {
        self.state().disk.cut(loss, luck);
    }

    /// Changes that reached the disk so far.
    pub(crate) fn changes(&self) -> u64 {
        self.state().disk.changes()
    }
}

impl Drop for Platter {
    fn drop(&mut self) {
        self.ail(Illness::default());
        self.go_on();
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("a disk cannot be unmounted: {error}");
        }
    }
}

fn serve(shared: &Arc<Shared>, folder: &Path) -> std::io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("platter".into())];
    config.n_threads = Some(CALLS_MAX);
    fuser::spawn_mount(Server::new(Arc::clone(shared)), folder, &config)
}
