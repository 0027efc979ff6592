//! What the process under test says, and what it writes: entries and rows follow from their index
//! and term alone.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use quorate_core::draw::{draw, draw_below};
use quorate_core::ids::{LogIndex, Term};
use quorate_core::storage::{Entry, EntryKind, SnapshotMark, Table, Write};
use serde::{Deserialize, Serialize};

/// In front of each word, on its line.
pub(crate) const SIGN: &str = "@ ";
/// Records are removed that many entries after they came, most of them.
const RECORDS_KEPT: u64 = 40;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

impl Mark {
    pub(crate) fn to_snapshot(self) -> SnapshotMark {
        let (index, term) = (LogIndex(self.index), Term(self.term));
        SnapshotMark { index, term, ..SnapshotMark::default() }
    }
}

/// Term, vote and commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hard {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) commit: u64,
}

/// A log: where it begins, the terms of its entries, and the last hard state.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) mark: Mark,
    pub(crate) terms: Vec<u64>,
    pub(crate) hard: Hard,
}

/// Terms as so many entries each: thousands of them are read by people.
impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log behind {:?}, terms", self.mark)?;
        for run in self.terms.chunk_by(|a, b| a == b) {
            write!(f, " {}x{}", run.len(), run[0])?;
        }
        write!(f, ", {:?}", self.hard)
    }
}

impl Log {
    /// Index of its last entry.
    pub(crate) fn last(&self) -> u64 {
        self.mark.index + self.terms.len() as u64
    }

    /// The term of an entry, if the log knows it.
    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.mark.index {
            return Some(self.mark.term);
        }
        let place = index.checked_sub(self.mark.index + 1)?;
        self.terms.get(usize::try_from(place).ok()?).copied()
    }

    /// Puts an entry where it belongs: what is there, and all behind it, goes.
    pub(crate) fn put(&mut self, entry: Mark) {
        let keep = entry.index.saturating_sub(self.mark.index + 1);
        self.terms.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.terms.push(entry.term);
    }

    /// Lets it begin at `mark`.
    pub(crate) fn cut(&mut self, mark: Mark) {
        let gone = usize::try_from(mark.index - self.mark.index).unwrap_or(usize::MAX);
        self.terms.drain(..gone.min(self.terms.len()));
        self.mark = mark;
    }
}

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) log: Log,
    pub(crate) stored: Mark,
    /// Of all rows.
    pub(crate) digest: u32,
}

/// One batch for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Append {
    /// An image's, behind which the log starts over.
    pub(crate) image: Option<Mark>,
    pub(crate) entries: Vec<Mark>,
    pub(crate) hard: Option<Hard>,
    pub(crate) must_sync: bool,
}

/// What is done to log and store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Append(Vec<Append>),
    Cut(Mark),
    SyncLog,
    /// Rows of these entries, as one batch.
    Write(Vec<Mark>),
    SyncStore,
    /// Rows of these entries come as part of an image.
    Install(Vec<Mark>),
    /// Nothing that could be seen.
    Tidy,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    Found(Found),
    /// It does not open; why.
    Refused(String),
    Begins(Step),
    Done,
    /// A step failed; why.
    Failed(String),
}

fn luck(mark: Mark, n: u64) -> u64 {
    draw(mark.index, mark.term, 0, n)
}

fn blob(mark: Mark, size: u64) -> Bytes {
    let words = (0..size.div_ceil(8)).flat_map(|n| luck(mark, 100 + n).to_le_bytes());
    words.take(usize::try_from(size).unwrap_or(0)).collect()
}

/// The entry at a place.
pub(crate) fn entry(mark: Mark) -> Entry {
    let size = match draw_below(40, luck(mark, 0)) {
        0 => 0,
        1 => 9_000,
        _ => draw_below(700, luck(mark, 1)),
    };
    let (index, term) = (LogIndex(mark.index), Term(mark.term));
    Entry { index, term, kind: EntryKind::Normal, data: blob(mark, size) }
}

/// All rows by table and key.
pub(crate) type Rows = BTreeMap<(Table, Bytes), Bytes>;

/// The key of the row that says how far the rows go.
pub(crate) const MARK_KEY: &[u8] = b"mark";

/// That row's value, read.
pub(crate) fn parse_mark(value: &[u8]) -> Option<Mark> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    Some(Mark { index: number(value.get(..8)?)?, term: number(value.get(8..)?)? })
}

fn record_key(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

/// What an entry does to the rows.
pub(crate) fn writes(mark: Mark) -> Vec<Write> {
    let row = |table, key, value| Write { table, key, value };
    let numbers = [mark.index.to_be_bytes(), mark.term.to_be_bytes()].concat();
    let size = if draw_below(30, luck(mark, 2)) == 0 { 30_000 } else { luck(mark, 3) % 500 };
    let mut writes = vec![
        row(Table::Meta, Bytes::from_static(MARK_KEY), Some(numbers.into())),
        row(Table::Key, record_key(mark.index), Some(blob(mark, size))),
    ];
    if let Some(old) = mark.index.checked_sub(RECORDS_KEPT).filter(|old| old % 50 != 0) {
        writes.push(row(Table::Key, record_key(old), None));
    }
    let tables = [Table::Lease, Table::AuthUsers, Table::Members, Table::Cluster, Table::Alarm];
    let table = tables[draw_below(tables.len() as u64, luck(mark, 4)) as usize];
    let key = Bytes::from(format!("row/{}", draw_below(6, luck(mark, 5))));
    let is_there = draw_below(3, luck(mark, 6)) > 0;
    writes.push(row(table, key, is_there.then(|| blob(mark, luck(mark, 7) % 300))));
    writes
}

/// The same of several entries: of several writes to one row the last counts.
pub(crate) fn writes_of_all(marks: &[Mark]) -> Vec<Write> {
    marks.iter().flat_map(|mark| writes(*mark)).collect()
}

/// Does them.
pub(crate) fn apply(rows: &mut Rows, writes: Vec<Write>) {
    for write in writes {
        match write.value {
            Some(value) => rows.insert((write.table, write.key), value),
            None => rows.remove(&(write.table, write.key)),
        };
    }
}

/// A checksum of rows.
pub(crate) fn digest<'a>(rows: impl Iterator<Item = (Table, &'a [u8], &'a [u8])>) -> u32 {
    rows.fold(0, |crc, (table, key, value)| {
        let lengths = [key.len() as u64, value.len() as u64].map(u64::to_le_bytes).concat();
        let parts = [&[table as u8], &lengths[..], key, value];
        parts.iter().fold(crc, |crc, part| crc32c::crc32c_append(crc, part))
    })
}
