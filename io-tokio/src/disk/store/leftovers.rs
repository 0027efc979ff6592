//! Files that were merged: what they occupied is given back a little at a time.
//!
//! A disk that is told which space is free (`discard`) does little else meanwhile: removing files
//! of 64 MB makes whoever syncs wait 40 ms and more, time and again. A file that is held open
//! outlives its name: once fjall has removed that, nobody else has the file, and it is cut shorter
//! by small steps. A crash needs nothing: files without a name go with the process.
//!
//! Deliberately absent: files of merges fjall begins by itself.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Files held at most; further ones go at once.
const FILES_MAX: usize = 256;
/// What a file is cut shorter by, and how often.
const STEP_BYTES: u64 = 1 << 20;
const STEP_INTERVAL: Duration = Duration::from_millis(5);
/// How often it is looked which names are gone, and for how long: fjall removes them when it is
/// asked to let go of them, and nobody reads them any more.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOKED_FOR: Duration = Duration::from_secs(120);

/// Files that will be merged.
#[derive(Default)]
pub(super) struct Leftovers {
    files: Vec<File>,
}

impl Leftovers {
    /// Holds the files of a folder as well.
    pub(super) fn hold(&mut self, folder: &Path) {
        // Those that cannot be held go at once.
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let open = |path| File::options().write(true).open(path).ok();
        let room = FILES_MAX.saturating_sub(self.files.len());
        self.files.extend(entries.filter_map(|entry| open(entry.path())).take(room));
    }

    /// They have been merged: gives back, on a thread of its own, what loses its name.
    pub(super) fn give_back(self, is_over: Arc<AtomicBool>) {
        let work = move || self.shorten_all(&is_over);
        // Without a thread all of it goes at once.
        let _ = thread::Builder::new().name("leftovers".into()).spawn(work);
    }

    fn shorten_all(mut self, is_over: &AtomicBool) {
        let until = Instant::now() + LOOKED_FOR;
        let is_time = || !is_over.load(Ordering::Relaxed);
        while is_time() && !self.files.is_empty() && Instant::now() < until {
            let has_name = |file: &File| file.metadata().is_ok_and(|it| it.nlink() > 0);
            let (named, nameless) = self.files.into_iter().partition(has_name);
            self.files = named;
            nameless.iter().for_each(|file| shorten(file, is_time));
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// Cuts a file down to nothing as long as there is time.
fn shorten(file: &File, is_time: impl Fn() -> bool) {
    let mut left = file.metadata().as_ref().map_or(0, Metadata::len);
    while left > 0 && is_time() {
        left = left.saturating_sub(STEP_BYTES);
        if file.set_len(left).is_err() {
            return;
        }
        thread::sleep(STEP_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(folder: &Path, name: &str, bytes: u64) -> File {
        let file = File::create(folder.join(name)).unwrap();
        file.set_len(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_without_a_name_is_cut_down_and_one_with_a_name_is_left_alone() {
        let folder = crate::disk::memory_dir();
        let merged = file_of(folder.path(), "1", 3 * STEP_BYTES + 5);
        let kept = file_of(folder.path(), "2", 7);
        let mut leftovers = Leftovers::default();
        leftovers.hold(folder.path());
        assert_eq!(leftovers.files.len(), 2);
        std::fs::remove_file(folder.path().join("1")).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let work = scope.spawn(|| leftovers.shorten_all(&is_over));
            while merged.metadata().unwrap().len() > 0 {
                thread::sleep(STEP_INTERVAL);
            }
            assert!(!work.is_finished(), "it waits for the other's name to go");
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(kept.metadata().unwrap().len(), 7);
    }

    #[test]
    fn so_many_files_are_held_at_most() {
        let folder = crate::disk::memory_dir();
        for number in 0..FILES_MAX + 3 {
            file_of(folder.path(), &number.to_string(), 1);
        }
        let mut leftovers = Leftovers::default();
        leftovers.hold(folder.path());
        leftovers.hold(folder.path());
        assert_eq!(leftovers.files.len(), FILES_MAX);
    }
}
