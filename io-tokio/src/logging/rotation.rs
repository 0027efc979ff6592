//! A log file that is turned over when it is full.
//!
//! ```text
//! etcd.log  ── full ──> etcd-2026-01-02T15-04-05.000.log ──compress──> ....log.gz
//!    new                            ── too old, or too many ──> gone
//! ```
//!
//! Invariants
//! - A line is never divided between two files.
//! - Whoever writes waits for a rename, never for old files: those are another thread's.
//! - If the file cannot be turned over, writing goes on in it.
//!
//! Answers to: lumberjack v2.2 (`maxsize`, `maxage`, `maxbackups`, `localtime`, `compress`)

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Megabytes of a file when nobody says.
const SIZE_MAX: u64 = 100;
/// What old files are named by.
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]-[minute]-[second].[subsecond digits:3]");
/// A file that was turned over, compressed.
const COMPRESSED: &str = ".gz";
/// One that is just being compressed.
const UNFINISHED: &str = ".gz.part";

/// When a file is turned over, and what becomes of old ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rotation {
    /// Megabytes a file may have; 0 for 100.
    #[serde(rename = "maxsize")]
    pub megabytes_max: u64,
    /// Days an old file is kept; 0 for ever.
    #[serde(rename = "maxage")]
    pub days_max: u64,
    /// Old files that are kept; 0 for all.
    #[serde(rename = "maxbackups")]
    pub backups_max: usize,
    /// Whether names of old files tell this place's time.
    #[serde(rename = "localtime")]
    pub is_local_time: bool,
    /// Whether old files are compressed.
    #[serde(rename = "compress")]
    pub is_compressed: bool,
}

impl Rotation {
    /// Reads `--log-rotation-config-json`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => format!("invalid log rotation config: {error}"),
            _ => format!("improperly formatted log rotation config: {error}"),
        })
    }

    fn bytes_max(&self) -> u64 {
        let megabytes = if self.megabytes_max == 0 { SIZE_MAX } else { self.megabytes_max };
        megabytes.saturating_mul(1 << 20)
    }
}

/// The file, and how much is in it.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    rotation: Rotation,
    offset: UtcOffset,
    file: File,
    bytes: u64,
    /// Wakes whoever looks after old files.
    turned: SyncSender<()>,
}

impl Rotating {
    /// Goes on where the file ends.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        // One call more than is being answered is enough: it is answered for all.
        let (turned, turns) = sync_channel(1);
        // Asked for before there are threads: later it cannot be known.
        let offset = match rotation.is_local_time {
            true => UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC),
            false => UtcOffset::UTC,
        };
        let keeper = Keeper { path: path.to_owned(), rotation, offset };
        std::thread::Builder::new()
            .name("log-files".to_owned())
            .spawn(move || keeper.keep(&turns))?;
        let this = Self { path: path.to_owned(), rotation, offset, file, bytes, turned };
        // What an earlier run left is looked at as well; nobody waits for it.
        let _ = this.turned.try_send(());
        Ok(this)
    }

    /// Writes a line, into a new file if this one is full.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = line.len() as u64;
        if self.bytes > 0 && self.bytes + bytes > self.rotation.bytes_max() {
            // A full disk, or a folder that is gone: what is told still goes where it went.
            let _ = self.turn_over(OffsetDateTime::now_utc().to_offset(self.offset));
        }
        self.file.write_all(line)?;
        self.bytes += bytes;
        Ok(())
    }

    fn turn_over(&mut self, now: OffsetDateTime) -> io::Result<()> {
        let (stem, end) = name_of(&self.path);
        let stamp = now.format(STAMP).map_err(io::Error::other)?;
        fs::rename(&self.path, self.path.with_file_name(format!("{stem}-{stamp}{end}")))?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        let _ = self.turned.try_send(());
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// A file's name up to its last dot, and the rest.
fn name_of(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let end = text(path.extension());
    let end = if end.is_empty() { end } else { format!(".{end}") };
    (text(path.file_stem()), end)
}

/// Looks after old files.
struct Keeper {
    path: PathBuf,
    rotation: Rotation,
    offset: UtcOffset,
}

impl Keeper {
    /// Until the file is not written to any more.
    fn keep(&self, turns: &Receiver<()>) {
        while turns.recv().is_ok() {
            // Whatever fails is tried again with the next turn: nobody could be told here.
            let _ = self.look(SystemTime::now());
        }
    }

    fn look(&self, now: SystemTime) -> io::Result<()> {
        let mut old = self.old()?;
        old.sort_by_key(|(_, stamp)| Reverse(*stamp));
        let age_max = Duration::from_secs(self.rotation.days_max.saturating_mul(24 * 3_600));
        // More days than there have been are for ever.
        let age_max = time::Duration::try_from(age_max).ok();
        let oldest = age_max.and_then(|age| OffsetDateTime::from(now).checked_sub(age));
        for (place, (path, stamp)) in old.iter().enumerate() {
            let is_too_many = self.rotation.backups_max > 0 && place >= self.rotation.backups_max;
            let is_too_old =
                self.rotation.days_max > 0 && oldest.is_some_and(|oldest| *stamp < oldest);
            let is_plain = !path.to_string_lossy().ends_with(COMPRESSED);
            if is_too_many || is_too_old {
                fs::remove_file(path)?;
            } else if self.rotation.is_compressed && is_plain {
                compress(path)?;
            }
        }
        Ok(())
    }

    /// Old files, and when they were turned over.
    fn old(&self) -> io::Result<Vec<(PathBuf, OffsetDateTime)>> {
        let (stem, end) = name_of(&self.path);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = fs::read_dir(folder.unwrap_or(Path::new(".")))?;
        let old = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            let name = name.strip_suffix(COMPRESSED).unwrap_or(&name);
            let stamp = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(end.as_str())?;
            let stamp = PrimitiveDateTime::parse(stamp, STAMP).ok()?.assume_offset(self.offset);
            Some((path, stamp))
        });
        Ok(old.collect())
    }
}

/// Puts a compressed file in the place of a plain one; never half of it.
fn compress(path: &Path) -> io::Result<()> {
    let named = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let mut encoder = GzEncoder::new(File::create(named(UNFINISHED))?, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(named(UNFINISHED), named(COMPRESSED))?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn configs_are_lumberjacks() {
        let json = r#"{"maxsize": 1, "maxage": 2, "maxbackups": 3, "localtime": true,
                       "compress": true, "filename": "elsewhere"}"#;
        let expected = Rotation {
            megabytes_max: 1,
            days_max: 2,
            backups_max: 3,
            is_local_time: true,
            is_compressed: true,
        };
        assert_eq!(Rotation::parse(json), Ok(expected));
        assert_eq!(Rotation::parse("{}").unwrap().bytes_max(), 100 << 20);
        for (json, told) in [
            ("", "improperly formatted log rotation config: "),
            ("{\"maxsize\": 1", "improperly formatted log rotation config: "),
            ("{\"maxsize\": \"1\"}", "invalid log rotation config: "),
        ] {
            let error = Rotation::parse(json).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn a_full_file_is_turned_over_between_two_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etcd.log");
        fs::write(&path, "from before\n").unwrap();
        let rotation = Rotation { megabytes_max: 1, ..Rotation::default() };
        let mut file = Rotating::open(&path, rotation).unwrap();
        let line = [b"x".repeat(99_999), b"\n".to_vec()].concat();
        for _ in 0..11 {
            file.write_line(&line).unwrap();
        }
        let names = names(dir.path());
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].starts_with("etcd-20") && names[0].ends_with(".log"), "{names:?}");
        let old = fs::read_to_string(dir.path().join(&names[0])).unwrap();
        assert!(old.starts_with("from before\n") && old.ends_with("x\n") && old.len() < 1 << 20);
        assert_eq!(fs::read(&path).unwrap(), line);
    }

    #[test]
    fn old_files_are_compressed_and_go_when_they_are_too_many_or_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(dir.path().join(name), name).unwrap();
        for name in [
            "etcd.log",
            "etcd-2026-01-01T00-00-00.000.log.gz",
            "etcd-2026-01-08T00-00-00.000.log",
            "etcd-2026-01-09T00-00-00.000.log.gz",
            "etcd-2026-01-10T00-00-00.000.log",
            "etcd-other.log",
            "peer-2020-01-01T00-00-00.000.log",
        ] {
            put(name);
        }
        let rotation =
            Rotation { days_max: 7, backups_max: 2, is_compressed: true, ..Rotation::default() };
        let keeper = Keeper { path: dir.path().join("etcd.log"), rotation, offset: UtcOffset::UTC };
        let now = time::macros::datetime!(2026-01-10 12:00 UTC);
        keeper.look(now.into()).unwrap();
        let expected = [
            "etcd-2026-01-09T00-00-00.000.log.gz",
            "etcd-2026-01-10T00-00-00.000.log.gz",
            "etcd-other.log",
            "etcd.log",
            "peer-2020-01-01T00-00-00.000.log",
        ];
        assert_eq!(names(dir.path()), expected);
        let file = File::open(dir.path().join(expected[1])).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "etcd-2026-01-10T00-00-00.000.log");
    }
    #[test]
    fn more_days_than_there_have_been_are_for_ever() {
        let dir = tempfile::TempDir::new().unwrap();
        let old = dir.path().join("etcd-2020-01-01T00-00-00.000.log");
        fs::write(&old, "old").unwrap();
        for days_max in [u64::MAX, 100_000_000] {
            let rotation = Rotation { days_max, ..Rotation::default() };
            let path = dir.path().join("etcd.log");
            let keeper = Keeper { path, rotation, offset: UtcOffset::UTC };
            keeper.look(SystemTime::now()).unwrap();
            assert!(old.exists());
        }
    }
}
