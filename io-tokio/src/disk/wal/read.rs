//! Opening a log: all segments in order, then the tail made ready for writing.

use std::path::{Path, PathBuf};

use prost::Message;
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::storage::{Entry, EntryKind, HardState, LogContents, LogRead, SnapshotMark};
use quorate_proto::{etcdserverpb, raftpb, walpb};

use super::fold::{self, Fold, Folded};
use super::frame::{Kind, Record};
use super::name::{self, Name};
use super::scan::{Next, Scan};
use super::write::{LogWriter, Tail};
use super::{STEP_BYTES_MAX, Settings};
use crate::disk::{Identity, fault, sync_folder};

/// A log as it was found, for the replica that opens on it.
#[derive(Debug)]
pub struct FoundLog {
    stored: SnapshotMark,
    contents: LogContents,
}

impl FoundLog {
    /// Where the entries begin.
    pub fn mark(&self) -> &SnapshotMark {
        &self.contents.mark
    }
}

impl LogRead for FoundLog {
    fn load(&self, stored: &SnapshotMark) -> Result<LogContents, StorageFault> {
        if stored.index != self.stored.index {
            return Err(StorageFault::new(format!(
                "the log was opened for a store at entry {}, not {}",
                self.stored.index, stored.index
            )));
        }
        Ok(self.contents.clone())
    }
}

/// Opens the log in `folder` behind a store that durably holds everything up to `stored`.
///
/// The tail a crash left behind is cut. A log that does not reach `stored` starts over behind it.
pub fn open(
    folder: &Path,
    stored: &SnapshotMark,
    settings: Settings,
) -> Result<(Identity, FoundLog, LogWriter), StorageFault> {
    remove_drafts(folder)?;
    // Who gave a segment its name may have died before that was synced.
    sync_folder(folder)?;
    let Whole { identity, names, tail, folded } = Whole::read(folder, stored)?;
    let mut writer = LogWriter::resume((folder, names), tail, identity, settings)?;
    if folded.starts_over {
        writer.start_over(stored)?;
    }
    Ok((identity, FoundLog { stored: stored.clone(), contents: folded.contents }, writer))
}

/// Reads the log in `folder` as opening it would, and changes nothing. Its segments, oldest first,
/// come with it.
pub fn read(
    folder: &Path,
    stored: &SnapshotMark,
) -> Result<(Identity, FoundLog, Vec<PathBuf>), StorageFault> {
    let Whole { identity, names, folded, .. } = Whole::read(folder, stored)?;
    let segments = names.iter().map(|name| folder.join(name.to_string())).collect();
    Ok((identity, FoundLog { stored: stored.clone(), contents: folded.contents }, segments))
}

/// A log, all of it.
struct Whole {
    identity: Identity,
    names: Names,
    tail: Tail,
    folded: Folded,
}

impl Whole {
    fn read(folder: &Path, stored: &SnapshotMark) -> Result<Self, StorageFault> {
        let mut reading = Reading::new(stored);
        let names = name::list(folder)?;
        let Some(tail_name) = names.last().copied() else {
            return Err(fold::refuse(folder, "it has no segments"));
        };
        let mut tail = None;
        for name in &names {
            tail = Some(reading.segment(folder.join(name.to_string()), *name == tail_name)?);
        }
        let End { crc, offset, last_frame } = tail.unwrap_or_default();
        let Some(metadata) = reading.metadata else {
            return Err(fold::refuse(folder, "it does not say whose it is"));
        };
        let identity = Identity::parse(&metadata);
        let last = reading.fold.last().unwrap_or_default();
        let folded = reading.fold.finish().map_err(|gap| fold::refuse_gap(folder, gap))?;
        let unsure = last_frame.min(offset.saturating_sub(STEP_BYTES_MAX));
        let tail = Tail { crc, offset, unsure, last, hard_state: folded.contents.hard_state };
        Ok(Self { identity, names, tail, folded })
    }
}

/// Reads whose log it is without opening it for writing.
pub fn read_identity(folder: &Path) -> Result<Identity, StorageFault> {
    let names = name::list(folder)?;
    let Some(first) = names.first() else {
        return Err(fold::refuse(folder, "it has no segments"));
    };
    let mut scan = Scan::open(folder.join(first.to_string()), 0, names.len() == 1)?;
    let mut reading = Reading::new(&SnapshotMark::default());
    while reading.metadata.is_none() {
        match scan.next()? {
            Next::Record(record) => reading.take(&scan, record)?,
            Next::End | Next::Torn => return Err(scan.damage("no metadata at the beginning")),
        }
    }
    let metadata = reading.metadata.unwrap_or_default();
    Ok(Identity::parse(&metadata))
}

/// The newest point the log may begin from, without opening it for writing.
pub fn beginning(folder: &Path) -> Result<SnapshotMark, StorageFault> {
    let end = SnapshotMark { index: LogIndex(u64::MAX), ..SnapshotMark::default() };
    let mut reading = Reading::new(&end);
    let names = name::list(folder)?;
    for (place, name) in names.iter().enumerate() {
        reading.segment(folder.join(name.to_string()), place + 1 == names.len())?;
    }
    Ok(reading.fold.into_mark())
}

/// Segments a crash kept from getting their names.
fn remove_drafts(folder: &Path) -> Result<(), StorageFault> {
    let list = std::fs::read_dir(folder).map_err(|e| fault("cannot list", folder, &e))?;
    for entry in list {
        let path = entry.map_err(|e| fault("cannot list", folder, &e))?.path();
        if path.extension().is_some_and(|ext| ext == "tmp") {
            std::fs::remove_file(&path).map_err(|e| fault("cannot remove", &path, &e))?;
        }
    }
    Ok(())
}

/// The end of a segment's records.
#[derive(Clone, Copy, Default)]
struct End {
    crc: u32,
    offset: u64,
    last_frame: u64,
}

struct Reading {
    fold: Fold,
    metadata: Option<etcdserverpb::Metadata>,
    crc: u32,
    /// Records read of the present segment.
    records: u64,
}

impl Reading {
    fn new(stored: &SnapshotMark) -> Self {
        Self { fold: Fold::new(stored), metadata: None, crc: 0, records: 0 }
    }

    /// Reads one segment to its end.
    fn segment(&mut self, path: PathBuf, is_last: bool) -> Result<End, StorageFault> {
        let mut scan = Scan::open(path, self.crc, is_last)?;
        self.records = 0;
        while let Next::Record(record) = scan.next()? {
            self.take(&scan, record)?;
        }
        if self.records < 2 {
            return Err(scan.damage("a segment without its beginning"));
        }
        self.crc = scan.crc;
        Ok(End { crc: scan.crc, offset: scan.offset, last_frame: scan.last })
    }

    fn take(&mut self, scan: &Scan, record: Record) -> Result<(), StorageFault> {
        let place = self.records;
        self.records += 1;
        match record.kind {
            Kind::Crc if place == 0 => Ok(()),
            Kind::Metadata if place == 1 => self.metadata(&record),
            Kind::Crc | Kind::Metadata => Err("a record that only begins a segment"),
            _ if place < 2 => Err("a segment that does not begin as segments do"),
            Kind::Entry => parse_entry(&record).and_then(|entry| self.fold.entry(entry)),
            Kind::HardState => parse_hard_state(&record).map(|it| self.fold.hard_state = it),
            Kind::Marker => parse_marker(&record).map(|mark| self.fold.marker(mark)),
        }
        .map_err(|why| scan.damage(why))
    }

    fn metadata(&mut self, record: &Record) -> Result<(), &'static str> {
        let metadata = etcdserverpb::Metadata::decode(record.data.clone())
            .map_err(|_| "metadata that cannot be read")?;
        match self.metadata.replace(metadata) {
            Some(before) if self.metadata.as_ref() != Some(&before) => {
                Err("metadata that differs from the segment's before it")
            }
            _ => Ok(()),
        }
    }
}

impl Identity {
    fn parse(metadata: &etcdserverpb::Metadata) -> Self {
        Self { member: MemberId(metadata.node_id), cluster: ClusterId(metadata.cluster_id) }
    }
}

fn parse_entry(record: &Record) -> Result<Entry, &'static str> {
    let entry = raftpb::Entry::decode(record.data.clone()).map_err(|_| "an unreadable entry")?;
    let kind = match entry.r#type {
        0 => EntryKind::Normal,
        1 => EntryKind::ConfChange,
        2 => EntryKind::ConfChangeV2,
        _ => return Err("an entry of unknown type"),
    };
    let (term, index) = (Term(entry.term), LogIndex(entry.index));
    Ok(Entry { term, index, kind, data: entry.data })
}

fn parse_hard_state(record: &Record) -> Result<HardState, &'static str> {
    let state =
        raftpb::HardState::decode(record.data.clone()).map_err(|_| "an unreadable hard state")?;
    Ok(HardState { term: Term(state.term), vote: state.vote, commit: LogIndex(state.commit) })
}

fn parse_marker(record: &Record) -> Result<SnapshotMark, &'static str> {
    let mark = walpb::Snapshot::decode(record.data.clone()).map_err(|_| "an unreadable marker")?;
    Ok(SnapshotMark {
        index: LogIndex(mark.index),
        term: Term(mark.term),
        conf_state: mark.conf_state.unwrap_or_default(),
    })
}

/// The names a log consists of.
pub(super) type Names = Vec<Name>;
