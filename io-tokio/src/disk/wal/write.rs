//! Writing the log: steps, syncs, new segments, old ones away.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use prost::encoding::encode_varint;
use quorate_core::error::StorageFault;
use quorate_core::ids::LogIndex;
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, EntryKind, HardState, SnapshotMark};
use quorate_proto::{etcdserverpb, walpb};

use super::frame::{self, Kind, frame_bytes_max};
use super::name::Name;
use super::read::Names;
use super::{STEP_BYTES_MAX, Settings, ZEROS_AHEAD_BYTES};
use crate::disk::{Appended, Identity, LogWrite, allocate, fault, sync_folder};

/// The log, open for writing.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    /// All segments, oldest first; the last one is being written.
    names: Names,
    file: File,
    /// Size the file was allocated with.
    size: u64,
    /// Where the next write goes.
    offset: u64,
    /// Zeros were written up to here.
    zeroed: u64,
    /// Bytes written and not yet synced.
    unsynced: u64,
    crc: u32,
    last: LogIndex,
    hard_state: HardState,
    metadata: Vec<u8>,
    /// Frames not yet written.
    frames: Vec<u8>,
    /// The data of the record being encoded.
    data: Vec<u8>,
    sync_time: Duration,
    settings: Settings,
    /// The failure after which nothing is written any more.
    broken: Option<StorageFault>,
}

/// How far a log that is opened again was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) crc: u32,
    pub(super) offset: u64,
    /// Where the last step before `offset` begins at the earliest: its sync may have failed.
    pub(super) unsure: u64,
    pub(super) last: LogIndex,
    pub(super) hard_state: HardState,
}

/// Creates the log of a new member in `folder`, which must not exist. It appears there complete,
/// or not at all.
pub fn create(folder: &Path, identity: Identity, settings: &Settings) -> Result<(), StorageFault> {
    let draft = folder.with_extension("tmp");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(|e| fault("cannot remove", &draft, &e))?;
    }
    crate::disk::create_folder(&draft)?;
    let name = Name { sequence: 0, first: LogIndex(0) };
    let mut crc = 0;
    let metadata = encode_metadata(identity);
    let start = SnapshotMark::default();
    let begin = begin(&mut crc, &metadata, &HardState::default(), Some(&start));
    make_segment(&draft, name, (&begin, settings.segment_bytes))?;
    std::fs::rename(&draft, folder).map_err(|e| fault("cannot rename", &draft, &e))?;
    sync_folder(folder.parent().unwrap_or(folder))
}

impl LogWriter {
    pub(super) fn resume(
        (folder, names): (&Path, Names),
        tail: Tail,
        identity: Identity,
        settings: Settings,
    ) -> Result<Self, StorageFault> {
        let name = names.last().map(Name::to_string).unwrap_or_default();
        let path = folder.join(name);
        let file = open_segment(&path)?;
        let size = clean_tail(&file, &path, &tail, settings.segment_bytes)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            names,
            file,
            size,
            offset: tail.offset,
            zeroed: tail.offset,
            unsynced: 0,
            crc: tail.crc,
            last: tail.last,
            hard_state: tail.hard_state,
            metadata: encode_metadata(identity),
            frames: Vec::new(),
            data: Vec::new(),
            sync_time: Duration::ZERO,
            settings,
            broken: None,
        })
    }

    /// Index of the last entry.
    pub fn last(&self) -> LogIndex {
        self.last
    }

    /// Starts over behind an image: a new segment that begins with its marker; all others go.
    pub(super) fn start_over(&mut self, mark: &SnapshotMark) -> Result<(), StorageFault> {
        self.sync()?;
        self.hard_state.commit = self.hard_state.commit.max(mark.index);
        let first = self.last.next().min(mark.index);
        self.begin_segment(first, Some(mark))?;
        self.last = mark.index;
        self.drop_segments(self.names.len() - 1)
    }

    fn append_batch(&mut self, batch: &Persist) -> Result<(), StorageFault> {
        if let Some(mark) = &batch.snapshot {
            self.start_over(mark)?;
        }
        for entry in &batch.entries {
            self.append_entry(entry)?;
        }
        if let Some(state) = batch.hard_state {
            self.hard_state = state;
            self.data.clear();
            encode_hard_state(&mut self.data, &state);
            self.append_record(Kind::HardState)?;
        }
        Ok(())
    }

    fn append_entry(&mut self, entry: &Entry) -> Result<(), StorageFault> {
        if entry.index > self.last.next() {
            return Err(StorageFault::new(format!(
                "entry {} was to be appended to a log that ends at entry {}",
                entry.index, self.last
            )));
        }
        self.last = entry.index;
        self.data.clear();
        encode_entry(&mut self.data, entry);
        self.append_record(Kind::Entry)
    }

    /// Adds the record whose data is in `self.data`; makes room for it first.
    fn append_record(&mut self, kind: Kind) -> Result<(), StorageFault> {
        let bytes = frame_bytes_max(self.data.len());
        let pending = self.unsynced + self.frames.len() as u64;
        if pending > 0 && pending + bytes > STEP_BYTES_MAX {
            self.sync()?;
        }
        if self.offset + self.frames.len() as u64 + bytes > self.size {
            self.make_room(bytes)?;
        }
        self.crc = crc32c::crc32c_append(self.crc, &self.data);
        frame::encode(&mut self.frames, kind, self.crc, &self.data);
        Ok(())
    }

    /// A new segment; one large enough if the record is longer than a segment.
    fn make_room(&mut self, bytes: u64) -> Result<(), StorageFault> {
        self.sync()?;
        self.begin_segment(self.last.max(LogIndex(1)), None)?;
        if self.offset + bytes > self.size {
            self.size = self.offset + bytes;
            allocate(&self.file, self.size)
                .map_err(|e| fault("cannot extend", &self.path(), &e))?;
            self.sync_file()?;
        }
        Ok(())
    }

    /// Ends the present segment and goes on in a new one.
    fn begin_segment(
        &mut self,
        first: LogIndex,
        mark: Option<&SnapshotMark>,
    ) -> Result<(), StorageFault> {
        self.file.set_len(self.offset).map_err(|e| fault("cannot cut", &self.path(), &e))?;
        self.sync_file()?;
        let sequence = self.names.last().map_or(0, |name| name.sequence + 1);
        let name = Name { sequence, first };
        let begin = begin(&mut self.crc, &self.metadata, &self.hard_state, mark);
        self.file = make_segment(&self.folder, name, (&begin, self.settings.segment_bytes))?;
        self.names.push(name);
        self.size = self.settings.segment_bytes;
        self.offset = begin.len() as u64;
        self.zeroed = self.offset;
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), StorageFault> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let end = self.offset + self.frames.len() as u64;
        if end > self.zeroed {
            self.write_zeros(end)?;
        }
        let outcome = self.file.write_all_at(&self.frames, self.offset);
        outcome.map_err(|e| fault("cannot write", &self.path(), &e))?;
        self.offset = end;
        self.unsynced += self.frames.len() as u64;
        self.frames.clear();
        if self.frames.capacity() > STEP_BYTES_MAX as usize {
            self.frames.shrink_to(STEP_BYTES_MAX as usize);
        }
        Ok(())
    }

    /// The blocks ahead are written once with zeros, so that later syncs find them allocated.
    fn write_zeros(&mut self, end: u64) -> Result<(), StorageFault> {
        let until = (end + ZEROS_AHEAD_BYTES).min(self.size);
        let zeros = vec![0; until.saturating_sub(end.max(self.zeroed)) as usize];
        let outcome = self.file.write_all_at(&zeros, end.max(self.zeroed));
        outcome.map_err(|e| fault("cannot write", &self.path(), &e))?;
        self.zeroed = until.max(end);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        self.write_out()?;
        if self.unsynced > 0 {
            self.sync_file()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), StorageFault> {
        let start = Instant::now();
        let outcome = self.settings.faults.before_sync().and_then(|()| self.file.sync_data());
        self.sync_time += start.elapsed();
        outcome.map_err(|e| fault("cannot sync", &self.path(), &e))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.names.last().map(Name::to_string).unwrap_or_default())
    }

    /// Removes the oldest `count` segments.
    fn drop_segments(&mut self, count: usize) -> Result<(), StorageFault> {
        for name in self.names.drain(..count) {
            let path = self.folder.join(name.to_string());
            std::fs::remove_file(&path).map_err(|e| fault("cannot remove", &path, &e))?;
        }
        if count > 0 { sync_folder(&self.folder) } else { Ok(()) }
    }

    /// Runs `work` unless something failed before; remembers if it fails.
    fn guard<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StorageFault>,
    ) -> Result<T, StorageFault> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        let outcome = work(self);
        self.broken = outcome.as_ref().err().cloned();
        outcome
    }
}

impl LogWrite for LogWriter {
    fn append(&mut self, batches: &[Persist]) -> Result<Appended, StorageFault> {
        self.guard(|log| {
            log.sync_time = Duration::ZERO;
            for batch in batches {
                log.append_batch(batch)?;
            }
            if batches.iter().any(|batch| batch.must_sync || batch.snapshot.is_some()) {
                log.sync()?;
            } else {
                log.write_out()?;
            }
            Ok(Appended { sync_time: log.sync_time })
        })
    }

    /// Writes the marker, then removes the segments that end before it. The segment the marker's
    /// own index falls into stays: etcd's tools look for the mark by the names of files.
    fn cut(&mut self, mark: &SnapshotMark) -> Result<(), StorageFault> {
        self.guard(|log| {
            log.data = encode_marker(mark);
            log.append_record(Kind::Marker)?;
            log.sync()?;
            let kept = log.names.iter().rposition(|name| name.first <= mark.index);
            log.drop_segments(kept.unwrap_or(0))
        })
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        self.guard(Self::sync)
    }
}

fn open_segment(path: &Path) -> Result<File, StorageFault> {
    let opened = OpenOptions::new().write(true).read(true).open(path);
    opened.map_err(|e| fault("cannot open", path, &e))
}

/// Makes everything from the tail on zero and the file as long as a segment: what a crash left
/// behind must not shine through what is written next. The last step is written once more: a sync
/// that failed leaves it to be read from the system's buffers, and no later sync writes it.
fn clean_tail(file: &File, path: &Path, tail: &Tail, least: u64) -> Result<u64, StorageFault> {
    let work = || {
        let size = file.metadata()?.len().max(least);
        let mut step = vec![0; (tail.offset - tail.unsure) as usize];
        file.read_exact_at(&mut step, tail.unsure)?;
        file.write_all_at(&step, tail.unsure)?;
        file.set_len(tail.offset)?;
        allocate(file, size)?;
        file.sync_all()?;
        Ok(size)
    };
    work().map_err(|e| fault("cannot prepare", path, &e))
}

/// Makes a segment under a draft's name, syncs it, then gives it its own.
fn make_segment(
    folder: &Path,
    name: Name,
    (begin, bytes): (&[u8], u64),
) -> Result<File, StorageFault> {
    let path = folder.join(name.to_string());
    let draft = folder.join(format!("{name}.tmp"));
    let mut options = OpenOptions::new();
    options.write(true).read(true).create(true).truncate(true).mode(0o600);
    let work = || {
        let file = options.open(&draft)?;
        allocate(&file, bytes.max(begin.len() as u64))?;
        file.write_all_at(begin, 0)?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        Ok(file)
    };
    let file = work().map_err(|e| fault("cannot create", &path, &e))?;
    sync_folder(folder)?;
    Ok(file)
}

/// The records every segment begins with, and a marker if it starts the log over.
fn begin(
    crc: &mut u32,
    metadata: &[u8],
    state: &HardState,
    mark: Option<&SnapshotMark>,
) -> Vec<u8> {
    let mut frames = Vec::new();
    frame::encode(&mut frames, Kind::Crc, *crc, &[]);
    let mut add = |kind, data: &[u8]| {
        *crc = crc32c::crc32c_append(*crc, data);
        frame::encode(&mut frames, kind, *crc, data);
    };
    add(Kind::Metadata, metadata);
    if *state != HardState::default() {
        let mut data = Vec::new();
        encode_hard_state(&mut data, state);
        add(Kind::HardState, &data);
    }
    if let Some(mark) = mark {
        add(Kind::Marker, &encode_marker(mark));
    }
    frames
}

fn encode_metadata(identity: Identity) -> Vec<u8> {
    let (node_id, cluster_id) = (identity.member.get(), identity.cluster.get());
    etcdserverpb::Metadata { node_id, cluster_id }.encode_to_vec()
}

fn encode_marker(mark: &SnapshotMark) -> Vec<u8> {
    let conf_state = Some(mark.conf_state.clone());
    walpb::Snapshot { index: mark.index.get(), term: mark.term.get(), conf_state }.encode_to_vec()
}

/// All three fields are written even if zero, as etcd does.
fn encode_hard_state(out: &mut Vec<u8>, state: &HardState) {
    for (key, number) in [(0x08, state.term.get()), (0x10, state.vote), (0x18, state.commit.get())]
    {
        out.push(key);
        encode_varint(number, out);
    }
}

/// All four fields are written even if zero or empty: the data's presence tells an entry from a
/// hard state.
fn encode_entry(out: &mut Vec<u8>, entry: &Entry) {
    let kind = match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::ConfChange => 1,
        EntryKind::ConfChangeV2 => 2,
    };
    for (key, number) in [(0x08, kind), (0x10, entry.term.get()), (0x18, entry.index.get())] {
        out.push(key);
        encode_varint(number, out);
    }
    out.push(0x22);
    encode_varint(entry.data.len() as u64, out);
    out.extend_from_slice(&entry.data);
}
