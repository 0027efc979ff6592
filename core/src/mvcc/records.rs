//! Where records are read from: the store's image, and memory for what is not in it yet.

use alloc::format;
use alloc::sync::Arc;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::index::Named;
use super::run::{Dated, Run};
use crate::error::StorageFault;
use crate::schema::{RevisionKey, RowKey};
use crate::storage::{StateRead, Table};

/// Records by revision. Clones share everything.
#[derive(Clone)]
pub(super) struct Records {
    image: Arc<dyn StateRead>,
    /// Main revisions up to here are in the image.
    stored: i64,
    recent: Run<Recent>,
}

#[derive(Clone, Debug)]
struct Recent {
    row: RowKey,
    record: Bytes,
}

impl Dated for Recent {
    fn at(&self) -> RevisionKey {
        self.row.at
    }
}

/// What a scan does with each record; a fault ends it.
pub(super) type VisitRecord<'a> =
    dyn FnMut(RowKey, &Bytes) -> Result<ControlFlow<()>, StorageFault> + 'a;

impl Records {
    pub(super) fn new(image: Arc<dyn StateRead>, stored: i64) -> Self {
        Self { image, stored, recent: Run::default() }
    }

    pub(super) fn image(&self) -> Arc<dyn StateRead> {
        Arc::clone(&self.image)
    }

    /// The same image, known to hold main revisions up to `stored`.
    pub(super) fn with_stored(self, stored: i64) -> Self {
        Self { stored, ..self }
    }

    pub(super) fn push(&mut self, row: RowKey, record: Bytes) {
        self.recent.push(Recent { row, record });
    }

    /// From now on, everything up to main revision `stored` is read from `image`.
    pub(super) fn on_stored(&mut self, stored: i64, image: Arc<dyn StateRead>) {
        self.image = image;
        self.stored = self.stored.max(stored);
        self.recent.cut(RevisionKey::first_of(self.stored.saturating_add(1)));
    }

    /// The record of a put.
    pub(super) fn get(&self, at: RevisionKey) -> Result<Bytes, StorageFault> {
        let found = if at.main > self.stored {
            let recent = self.recent.floor(at).filter(|recent| recent.row.at == at);
            recent.map(|recent| recent.record.clone())
        } else {
            self.image.get(Table::Key, &at.to_array())?
        };
        found.ok_or_else(|| StorageFault::new(format!("no record at {}.{}", at.main, at.sub)))
    }

    /// What is made of several records, once for as long as the image remembers it. Of those that
    /// are not in the image yet it is made each time.
    pub(super) fn remembered(
        &self,
        named: &Named,
        make: &mut dyn FnMut() -> Result<Option<Bytes>, StorageFault>,
    ) -> Result<Option<Bytes>, StorageFault> {
        match named.newest.main > self.stored {
            true => make(),
            false => self.image.remembered(&named.name(), make),
        }
    }

    /// Visits every row of a table, as the image has it.
    pub(super) fn scan_table(
        &self,
        table: Table,
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        self.image.scan(table, &[], &[], visit)
    }

    /// Visits records from `from` up to main revision `until` in order until `visit` breaks.
    pub(super) fn scan(
        &self,
        from: RevisionKey,
        until: i64,
        visit: &mut VisitRecord<'_>,
    ) -> Result<(), StorageFault> {
        let mut fault = None;
        let mut step = |row: Result<RowKey, StorageFault>, record: &Bytes| {
            row.and_then(|row| visit(row, record)).unwrap_or_else(|broken| {
                fault = Some(broken);
                ControlFlow::Break(())
            })
        };
        let in_image = until.min(self.stored);
        let mut flow = ControlFlow::Continue(());
        if from.main <= in_image {
            let end = RevisionKey::first_of(in_image.saturating_add(1)).to_array();
            self.image.scan(Table::Key, &from.to_array(), &end, &mut |row, record| {
                flow = step(RowKey::parse(row), record);
                flow
            })?;
        }
        if flow.is_continue() && until > self.stored {
            let _ = self.recent.visit(from, &mut |recent| {
                if recent.row.at.main > until {
                    return ControlFlow::Break(());
                }
                step(Ok(recent.row), &recent.record)
            });
        }
        fault.map_or(Ok(()), Err)
    }
}
