//! The process that is killed: it opens the real log and store, then does to them what a member
//! does, as drawn, and says so.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::output::{Batch, Persist};
use quorate_core::storage::{HardState, LogContents, LogRead as _, SnapshotMark, StateRead, Table};
use quorate_io_tokio::disk::amended::Amended;
use quorate_io_tokio::disk::image::{ImageChunks, ImageError};
use quorate_io_tokio::disk::recovery::{self, Recovered};
use quorate_io_tokio::disk::store::Store;
use quorate_io_tokio::disk::wal::{self, LogWriter, Settings};
use quorate_io_tokio::disk::{DataDir, Haste, Identity, LogWrite as _, StateWrite as _};
use quorate_proto::peer::ImageHeader;
use quorate_proto::raftpb;

use super::story::{
    Append, Found, Hard, Log, MARK_KEY, Mark, Rows, SIGN, Step, Word, digest, entry, parse_mark,
    writes_of_all,
};
use crate::platter::Luck;

const ME: Identity = Identity { member: MemberId(1), cluster: ClusterId(2) };

fn say(word: &Word) {
    let line = serde_json::to_string(word).expect("words are JSON");
    let mut out = std::io::stdout().lock();
    // Whoever listens is about to kill this process if it does not listen any more.
    let _ = writeln!(out, "{SIGN}{line}").and_then(|()| out.flush());
}

/// Lives in that folder until it is killed, or something fails.
pub(crate) fn live(folder: &Path, seed: u64, segment_bytes: u64) {
    // What the frame of tests has written ends without a line break.
    let _ = writeln!(std::io::stdout());
    let settings = Settings { segment_bytes, ..Settings::default() };
    let mut member = match Member::open(folder, seed, settings) {
        Ok(member) => member,
        Err(fault) => return say(&Word::Refused(fault.what)),
    };
    let mut go_ahead = String::new();
    if std::io::stdin().read_line(&mut go_ahead).is_err() {
        return;
    }
    loop {
        let Some(step) = member.draw() else { continue };
        say(&Word::Begins(step.clone()));
        match member.perform(step) {
            Ok(()) => say(&Word::Done),
            Err(fault) => return say(&Word::Failed(fault.what)),
        }
    }
}

struct Member {
    _dir: DataDir,
    log_writer: LogWriter,
    store: Store,
    luck: Luck,
    /// As it is in memory.
    log: Log,
    /// Last entry known to be safe.
    persisted: u64,
    stored: Mark,
    /// Last entry whose rows are known to be safe.
    stored_safely: Mark,
    installed: u64,
}

fn snapshot_of(image: &dyn StateRead) -> Result<SnapshotMark, StorageFault> {
    let row = image.get(Table::Meta, MARK_KEY)?;
    Ok(row.and_then(|row| parse_mark(&row)).unwrap_or_default().to_snapshot())
}

fn mark_of(mark: &SnapshotMark) -> Mark {
    Mark { index: mark.index.get(), term: mark.term.get() }
}

fn digest_of(image: &dyn StateRead) -> Result<u32, StorageFault> {
    let mut rows = Rows::new();
    for table in Table::ALL {
        image.scan(table, &[], &[], &mut |key, value| {
            rows.insert((table, Bytes::copy_from_slice(key)), value.clone());
            ControlFlow::Continue(())
        })?;
    }
    Ok(digest(rows.iter().map(|((table, key), value)| (*table, &key[..], &value[..]))))
}

/// Terms of entries that are what they should be.
fn read_log(contents: LogContents) -> Result<Log, StorageFault> {
    let mut log = Log { mark: mark_of(&contents.mark), ..Log::default() };
    for found in contents.entries {
        let mark = Mark { index: found.index.get(), term: found.term.get() };
        if mark.index != log.last() + 1 || found != entry(mark) {
            return Err(StorageFault::new(format!("an entry that never was: {found:?}")));
        }
        log.terms.push(mark.term);
    }
    let HardState { term, vote, commit } = contents.hard_state;
    log.hard = Hard { term: term.get(), vote, commit: commit.get() };
    Ok(log)
}

/// As [`recovery::create`], with segments that are soon full.
fn create(dir: &DataDir, settings: &Settings) -> Result<(), StorageFault> {
    if !Store::open(&dir.store())?.is_empty()? {
        return Err(StorageFault::new("the log was lost"));
    }
    wal::create(dir.wal(), ME, settings)
}

impl Member {
    fn open(folder: &Path, seed: u64, settings: Settings) -> Result<Self, StorageFault> {
        let dir = DataDir::open(folder)?;
        if !dir.is_initialised() {
            create(&dir, &settings)?;
        }
        let recovered = recovery::open(&dir, Some(ME), &snapshot_of, settings)?;
        let Recovered { stored, image, log, log_writer, store, .. } = recovered;
        let (log, digest) = (read_log(log.load(&stored)?)?, digest_of(image.as_ref())?);
        let stored = mark_of(&stored);
        say(&Word::Found(Found { log: log.clone(), stored, digest }));
        let (persisted, stored_safely, luck) = (log.last(), stored, Luck::new(seed));
        let _dir = dir;
        Ok(Self {
            _dir,
            log_writer,
            store,
            luck,
            log,
            persisted,
            stored,
            stored_safely,
            installed: 0,
        })
    }

    /// What to do next, if that can be done now.
    fn draw(&mut self) -> Option<Step> {
        match self.luck.below(100) {
            0..50 => Some(Step::Append(self.draw_batches())),
            50..78 => self.draw_write(),
            78..87 => Some(Step::SyncStore),
            87..92 => self.draw_cut(),
            92..94 => Some(self.draw_install()),
            94..97 => Some(Step::SyncLog),
            _ => Some(Step::Tidy),
        }
    }

    fn draw_batches(&mut self) -> Vec<Append> {
        let count = 1 + self.luck.below(3);
        let mut after = self.log.clone();
        (0..count).map(|_| self.draw_batch(&mut after)).collect()
    }

    /// A batch as consensus makes them; `log` is what it is appended to.
    fn draw_batch(&mut self, log: &mut Log) -> Append {
        let before = log.hard;
        let has_new_term = self.luck.one_in(12);
        if has_new_term {
            log.hard = Hard { term: before.term + 1, vote: self.luck.below(4), ..before };
        }
        log.hard.term = log.hard.term.max(1);
        let may_go = log.hard.commit.max(log.mark.index).max(self.stored.index);
        let from = match has_new_term && self.luck.one_in(2) {
            true => may_go + self.luck.below(log.last() - may_go + 1),
            false => log.last(),
        };
        let count = if self.luck.one_in(30) { 60 } else { self.luck.below(5) };
        let entries: Vec<_> =
            (1..=count).map(|n| Mark { index: from + n, term: log.hard.term }).collect();
        entries.iter().for_each(|entry| log.put(*entry));
        if self.luck.one_in(2) {
            log.hard.commit = may_go + self.luck.below(log.last() - may_go + 1);
        }
        let hard = (log.hard != before).then_some(log.hard);
        let has_promised = (before.term, before.vote) != (log.hard.term, log.hard.vote);
        let must_sync = !entries.is_empty() || has_promised;
        Append { image: None, entries, hard, must_sync }
    }

    fn draw_write(&mut self) -> Option<Step> {
        let until = self.log.hard.commit.min(self.persisted);
        let count = until.checked_sub(self.stored.index).filter(|count| *count > 0)?;
        let count = 1 + self.luck.below(count.min(6));
        let mark = |n| {
            let index = self.stored.index + n;
            self.log.term_at(index).map(|term| Mark { index, term })
        };
        Some(Step::Write((1..=count).filter_map(mark).collect()))
    }

    fn draw_cut(&mut self) -> Option<Step> {
        let span = self.stored_safely.index.checked_sub(self.log.mark.index + 1)?;
        let index = self.log.mark.index + 1 + self.luck.below(span + 1);
        self.log.term_at(index).map(|term| Step::Cut(Mark { index, term }))
    }

    /// An image of what a leader of a new term has, behind what this member knows as committed.
    fn draw_install(&mut self) -> Step {
        let term = self.log.hard.term + 1;
        let known = self.log.hard.commit.max(self.stored.index);
        let until = known + 1 + self.luck.below(30);
        let rows = self.stored.index + 1..=until;
        Step::Install(rows.map(|index| Mark { index, term }).collect())
    }

    fn perform(&mut self, step: Step) -> Result<(), StorageFault> {
        match step {
            Step::Append(batches) => self.append(&batches),
            Step::Cut(mark) => {
                self.log_writer.cut(&mark.to_snapshot())?;
                self.log.cut(mark);
                self.persisted = self.log.last();
                Ok(())
            }
            Step::SyncLog => {
                self.log_writer.sync()?;
                self.persisted = self.log.last();
                Ok(())
            }
            Step::Write(marks) => self.write(&marks),
            Step::SyncStore => {
                self.store.sync()?;
                self.stored_safely = self.stored;
                Ok(())
            }
            Step::Install(marks) => self.install(&marks),
            Step::Tidy => self.tidy(),
        }
    }

    fn append(&mut self, batches: &[Append]) -> Result<(), StorageFault> {
        let persists: Vec<Persist> = batches.iter().map(persist).collect();
        self.log_writer.append(&persists)?;
        for batch in batches {
            if let Some(mark) = batch.image {
                (self.log.mark, self.log.terms) = (mark, Vec::new());
            }
            batch.entries.iter().for_each(|entry| self.log.put(*entry));
            self.persisted = self.persisted.min(self.log.last());
            self.log.hard = batch.hard.unwrap_or(self.log.hard);
        }
        if batches.iter().any(|batch| batch.must_sync) {
            self.persisted = self.log.last();
        }
        Ok(())
    }

    fn write(&mut self, marks: &[Mark]) -> Result<(), StorageFault> {
        let last = marks.last().copied().unwrap_or(self.stored);
        let writes = writes_of_all(marks);
        let (epoch, index) = (self.installed, LogIndex(last.index));
        self.store.write(Batch { epoch, index, writes, sync: false })?;
        self.stored = last;
        Ok(())
    }

    /// As the driver does it: the store takes the image first, then the log starts over behind it.
    fn install(&mut self, marks: &[Mark]) -> Result<(), StorageFault> {
        let mark = marks.last().copied().unwrap_or_default();
        let rows = Amended::new(self.store.image(), writes_of_all(marks));
        let chunks = ImageChunks::new(announcement(mark), Arc::new(rows));
        let received = self.store.incoming().receive(chunks.map_while(Result::ok));
        received.map_err(|error| match error {
            ImageError::Fault(fault) => fault,
            other => StorageFault::new(other.to_string()),
        })?;
        self.store.install(&mark.to_snapshot())?;
        self.installed += 1;
        (self.stored, self.stored_safely) = (mark, mark);
        say(&Word::Done);
        let hard = Hard { term: mark.term, vote: 0, commit: mark.index };
        let start =
            Append { image: Some(mark), entries: Vec::new(), hard: Some(hard), must_sync: true };
        say(&Word::Begins(Step::Append(vec![start.clone()])));
        self.append(&[start])
    }

    /// What moves files and leaves rows as they are.
    fn tidy(&mut self) -> Result<(), StorageFault> {
        match self.luck.below(6) {
            0 => self.store.defragment()(Haste::AtOnce),
            1 => self.store.defragment()(Haste::GivesWay),
            _ => self.store.release(),
        }
    }
}

fn persist(batch: &Append) -> Persist {
    let hard =
        |it: Hard| HardState { term: Term(it.term), vote: it.vote, commit: LogIndex(it.commit) };
    Persist {
        number: 0,
        hard_state: batch.hard.map(hard),
        entries: batch.entries.iter().map(|mark| entry(*mark)).collect(),
        snapshot: batch.image.map(Mark::to_snapshot),
        must_sync: batch.must_sync,
    }
}

fn announcement(mark: Mark) -> ImageHeader {
    let (index, term) = (mark.index, mark.term);
    let metadata = raftpb::SnapshotMetadata { index, term, conf_state: None };
    let snapshot = raftpb::Snapshot { metadata: Some(metadata), ..Default::default() };
    let announce = raftpb::Message { snapshot: Some(snapshot), ..Default::default() };
    ImageHeader { announce: Some(announce), ..Default::default() }
}
