//! Heads of records: what a start reads in the place of the records, values and all.
//!
//! A head follows each record, many to a row, some rows behind the records; a start reads the
//! records that have none yet. Compaction removes records one by one all over the store, and says
//! in one row per slice which: heads of those are left where they are until half of all are, and
//! then every row is made anew, a row a slice, and what was said is taken back.
//!
//! ```text
//!  records   2 3 4 5 6 7 8 9 10 11        a compaction removes 3 and 5
//!  heads    [2 3 4][5 6 7][8 9 10]         + gone [3 5]
//!                             '- a start reads record 11
//!  renewed  [2 4]  [6 7]  [8 9 10]         - gone [3 5], after the last row
//! ```
//!
//! Invariants
//! - Those of [`schema::heads`](crate::schema::heads), after every batch.
//! - Rows are stored in the order in which they are made, so that an image with the newest has all.
//! - What is not stored yet does not grow by more than is written: a row leaves as soon as it is
//!   full. Only the first start of a store without heads makes many at once.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::index::Index;
use crate::error::StorageFault;
use crate::limits::HEADS_BYTES_MAX;
use crate::schema::heads::{self, GONE, Head, Sheaf};
use crate::schema::{RevisionKey, RowKey, record};
use crate::storage::{StateRead, Table, Write};

/// Heads of one store, but for those in it.
#[derive(Default)]
pub(super) struct Heads {
    records_max: usize,
    sheaf: Sheaf,
    /// Rows that are full and did not leave yet.
    full: VecDeque<Write>,
    /// The newest row that was made.
    newest: Option<Bytes>,
    /// Heads, of records that are gone too.
    count: u64,
    /// Records that are gone, and have or had heads.
    gone: u64,
    /// Numbers of the rows that say so.
    gone_rows: (u64, u64),
    renewal: Option<Renewal>,
}

/// Rows being made anew, one after the other.
struct Renewal {
    /// The row to go on with, or before it; none after the last.
    cursor: Option<Bytes>,
    /// The last one.
    until: Bytes,
    /// Of what is gone, these rows say nothing new about heads after it.
    gone_rows_until: u64,
    gone: u64,
    /// Heads before it; those kept so far.
    count: u64,
    kept: u64,
    newest: Option<Bytes>,
}

impl Heads {
    /// Heads of a store whose rows have `records_max` each. Shows those of records that are there,
    /// oldest first, and tells the newest change that has a head.
    pub(super) fn load(
        image: &dyn StateRead,
        records_max: usize,
        show: &mut dyn FnMut(&Head<'_>),
    ) -> Result<(Self, Option<RevisionKey>), StorageFault> {
        let mut gone = Gone::load(image)?;
        let (mut count, mut newest, mut covered) = (0, None, None);
        visit_rows(image, &[], GONE, &mut |first, row| {
            newest = Some(Bytes::copy_from_slice(first));
            heads::visit_row(first, row, &mut |head| {
                count += 1;
                if !gone.has(head.row.at) {
                    show(head);
                }
                follows(&mut covered, head)
            })
            .map(drop)
        })?;
        if gone.passed > 0 {
            crate::probe!("start from heads that are gone in part");
        }
        let gone_rows = gone.rows;
        let gone = gone.sorted.len() as u64;
        let this = Self { records_max, newest, count, gone, gone_rows, ..Self::default() };
        Ok((this, covered))
    }

    /// A record more.
    pub(super) fn push(&mut self, head: &Head<'_>) {
        self.sheaf.push(head);
        self.count += 1;
        if self.sheaf.count() >= self.records_max || self.sheaf.bytes() >= HEADS_BYTES_MAX {
            let row = core::mem::take(&mut self.sheaf).into_row();
            self.newest = Some(row.key.clone());
            self.full.push_back(row);
        }
    }

    /// A row to store.
    pub(super) fn poll_row(&mut self) -> Option<Write> {
        self.full.pop_front()
    }

    /// Records are removed in the same batch as the row that comes back.
    pub(super) fn remove(&mut self, rows: &[RowKey]) -> Option<Write> {
        if rows.is_empty() || crate::planted!("heads-stay-when-records-go") {
            return None;
        }
        let mut gone: Vec<_> = rows.iter().map(|row| row.at).collect();
        gone.sort_unstable();
        self.gone += gone.len() as u64;
        let number = self.gone_rows.1;
        self.gone_rows.1 += 1;
        Some(heads::encode_gone(number, gone))
    }

    /// An image with more in it: once it has all rows, they may be made anew. What is gone by then
    /// will not be told any more, so the row in the making must not have it either.
    pub(super) fn on_stored(&mut self, image: &dyn StateRead, index: &Index) {
        let is_due = self.gone > (self.count / 2).max(self.records_max as u64);
        if !is_due || self.renewal.is_some() {
            return;
        }
        let Some(newest) = &self.newest else { return };
        if image.get(Table::Heads, newest).is_ok_and(|row| row.is_some()) {
            self.sheaf.retain(&mut |head| index.has(head.key, head.row.at));
            self.renewal = Some(Renewal {
                cursor: Some(Bytes::new()),
                until: newest.clone(),
                gone_rows_until: self.gone_rows.1,
                gone: self.gone,
                count: self.count,
                kept: 0,
                newest: None,
            });
        }
    }

    /// Whether [`renew`](Self::renew) has anything to do.
    pub(super) const fn is_renewing(&self) -> bool {
        self.renewal.is_some()
    }

    /// Makes the next row anew, of heads that the index knows; after the last, takes back up to
    /// `rows_max` rows of what is gone, for nothing is told of it any more.
    pub(super) fn renew(
        &mut self,
        image: &dyn StateRead,
        index: &Index,
        rows_max: usize,
    ) -> Result<Vec<Write>, StorageFault> {
        let Some(renewal) = &mut self.renewal else { return Ok(Vec::new()) };
        if let Some(cursor) = renewal.cursor.clone() {
            return Ok(renewal.step(&cursor, image, index)?.into_iter().collect());
        }
        let (first, end) = (self.gone_rows.0, renewal.gone_rows_until);
        let until = end.min(first.saturating_add(rows_max as u64));
        self.gone_rows.0 = until;
        if until == end {
            self.finish_renewal();
        }
        Ok((first..until).map(heads::remove_gone).collect())
    }

    fn finish_renewal(&mut self) {
        let Some(renewal) = self.renewal.take() else { return };
        crate::probe!("heads made anew");
        self.gone -= renewal.gone;
        self.count = self.count - renewal.count + renewal.kept;
        if self.newest.as_ref() == Some(&renewal.until) {
            self.newest = renewal.newest;
        }
    }
}

impl Renewal {
    /// The first row from `cursor` on.
    fn step(
        &mut self,
        cursor: &[u8],
        image: &dyn StateRead,
        index: &Index,
    ) -> Result<Option<Write>, StorageFault> {
        let mut found = None;
        image.scan(Table::Heads, cursor, GONE, &mut |first, row| {
            found = Some((Bytes::copy_from_slice(first), row.clone()));
            ControlFlow::Break(())
        })?;
        let Some((first, row)) = found else {
            self.cursor = None;
            return Ok(None);
        };
        let mut is_there = |head: &Head<'_>| index.has(head.key, head.row.at);
        let sheaf = Sheaf::kept(&first, &row, &mut is_there)?;
        self.cursor = (first < self.until).then(|| [&first[..], &[0]].concat().into());
        self.kept += sheaf.count() as u64;
        if sheaf.count() > 0 {
            self.newest = Some(first);
        }
        Ok(Some(sheaf.into_row()))
    }
}

/// Which records are gone.
struct Gone {
    sorted: Vec<RevisionKey>,
    /// How many of them were passed.
    passed: usize,
    /// Numbers of the rows that say so: the first, and the one after the last.
    rows: (u64, u64),
}

impl Gone {
    fn load(image: &dyn StateRead) -> Result<Self, StorageFault> {
        let (mut sorted, mut rows) = (Vec::new(), None);
        visit_rows(image, GONE, &[], &mut |key, value| {
            let number = heads::load_gone(key, value, &mut sorted)?;
            let after = number.saturating_add(1);
            rows = Some((rows.map_or(number, |(first, _)| first), after));
            Ok(())
        })?;
        sorted.sort_unstable();
        Ok(Self { sorted, passed: 0, rows: rows.unwrap_or_default() })
    }

    /// Asked of ascending revisions.
    fn has(&mut self, at: RevisionKey) -> bool {
        let left = &self.sorted[self.passed..];
        self.passed += left.iter().take_while(|gone| **gone < at).count();
        self.sorted.get(self.passed) == Some(&at)
    }
}

/// Holds heads against records: whether they are what a start would read off the records.
pub fn check_heads(image: &dyn StateRead) -> Result<(), StorageFault> {
    let mut gone = Gone::load(image)?;
    let mut covered: Option<RevisionKey> = None;
    visit_rows(image, &[], GONE, &mut |key, row| {
        let from = covered.map_or(RevisionKey::default(), RevisionKey::next);
        let first = RowKey::parse(key)?.at;
        let (mut told, mut there) = (Sheaf::at(first), Sheaf::at(first));
        heads::visit_row(key, row, &mut |head| {
            if !gone.has(head.row.at) {
                told.push(head);
            }
            follows(&mut covered, head)
        })?;
        let until = covered.map_or(from, RevisionKey::next).to_array();
        visit_table(image, Table::Key, &from.to_array(), &until, &mut |row, record| {
            there.push(&record::load_head(RowKey::parse(row)?, record)?);
            Ok(())
        })?;
        if told.into_row() == there.into_row() {
            return Ok(());
        }
        let RevisionKey { main, sub } = first;
        Err(StorageFault::new(format!("heads from {main}.{sub} on are not those of the records")))
    })
}

/// Heads ascend.
fn follows(newest: &mut Option<RevisionKey>, head: &Head<'_>) -> Result<(), StorageFault> {
    let at = head.row.at;
    match newest.replace(at) {
        Some(before) if before >= at => {
            Err(StorageFault::new(format!("heads out of order at {}.{}", at.main, at.sub)))
        }
        _ => Ok(()),
    }
}

type VisitRow<'a> = dyn FnMut(&[u8], &Bytes) -> Result<(), StorageFault> + 'a;

fn visit_rows(
    image: &dyn StateRead,
    from: &[u8],
    until: &[u8],
    visit: &mut VisitRow<'_>,
) -> Result<(), StorageFault> {
    visit_table(image, Table::Heads, from, until, visit)
}

fn visit_table(
    image: &dyn StateRead,
    table: Table,
    from: &[u8],
    until: &[u8],
    visit: &mut VisitRow<'_>,
) -> Result<(), StorageFault> {
    let mut outcome = Ok(());
    image.scan(table, from, until, &mut |key, value| {
        outcome = visit(key, value);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome
}
