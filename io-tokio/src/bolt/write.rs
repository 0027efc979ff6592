//! A store's rows as a bbolt database, piece by piece.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quorate_core::CLUSTER_VERSION;
use quorate_core::error::StorageFault;
use quorate_core::schema;
use quorate_core::storage::{StateRead, Table, Write};

use super::format::{KEY_BYTES_MAX, Meta, PAGE_BYTES};
use super::tree::{Pages, Tree};
use crate::disk::amended::Amended;

/// Bytes of a piece; the last one may be shorter.
pub const PIECE_BYTES: usize = 32 << 10;
/// Bytes of rows read at a time.
const STEP_BYTES: usize = 256 << 10;
/// The first page after the two metas.
const PAGES_FIRST: u64 = 2;
/// Even, so that etcd's first change of the file overwrites the second meta, and a crash in it
/// leaves the first.
const TXID: u64 = 2;

/// A database in the making: an iterator over its bytes, in pieces. Reading rows blocks.
pub struct BoltImage {
    pass: Pass,
    bytes: u64,
    is_done: bool,
}

impl BoltImage {
    /// Of what `rows` holds, as etcd would hold it. Reads all of it to know how much it is.
    pub fn measure(rows: &Arc<dyn StateRead>) -> Result<Self, StorageFault> {
        let rows: Arc<dyn StateRead> = Arc::new(as_etcds(rows)?);
        let mut measuring = Pass::new(Arc::clone(&rows));
        let root = loop {
            if let Some(root) = measuring.step()? {
                break root;
            }
            measuring.pages.out.clear();
        };
        let pages = measuring.pages.next;
        let mut pass = Pass::new(rows);
        for id in [0, 1] {
            let page_bytes = PAGE_BYTES as u64;
            let meta = Meta { page_bytes, root, freelist: None, pages, txid: TXID - id };
            pass.pages.out.extend_from_slice(&meta.encode(id));
        }
        Ok(Self { pass, bytes: pages * PAGE_BYTES as u64, is_done: false })
    }

    /// The version of the rows' layout.
    pub fn version(&self) -> Result<String, StorageFault> {
        let version = self.pass.rows.get(Table::Meta, schema::meta::STORAGE_VERSION.as_bytes())?;
        Ok(String::from_utf8_lossy(&version.unwrap_or_default()).into_owned())
    }

    /// Bytes of memory it takes for what it writes.
    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        let Pass { tree, buckets, pages, .. } = &self.pass;
        tree.bytes_held() + buckets.bytes_held() + pages.out.capacity()
    }

    /// Bytes of the whole database.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Iterator for BoltImage {
    type Item = Result<Bytes, StorageFault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done && self.pass.pages.out.len() < PIECE_BYTES {
            match self.pass.step() {
                Ok(root) => self.is_done = root.is_some(),
                Err(fault) => {
                    self.is_done = true;
                    self.pass.pages.out.clear();
                    return Some(Err(fault));
                }
            }
        }
        let out = &mut self.pass.pages.out;
        let piece = out.split_to(out.len().min(PIECE_BYTES)).freeze();
        (!piece.is_empty()).then_some(Ok(piece))
    }
}

/// The rows etcd would have: without those of our own, with the layout's version.
fn as_etcds(rows: &Arc<dyn StateRead>) -> Result<Amended, StorageFault> {
    let own = schema::OWN_META.map(|name| (name, None));
    let name = schema::meta::STORAGE_VERSION;
    let stored = rows.get(Table::Meta, name.as_bytes())?;
    // It follows the cluster's, which is not decided yet in a store that has just begun.
    let clusters = || rows.get(Table::Cluster, b"clusterVersion");
    let version = match stored {
        Some(version) => version,
        None => clusters()?.unwrap_or(Bytes::from_static(CLUSTER_VERSION.as_bytes())),
    };
    let changed = own.into_iter().chain([(name, Some(version))]);
    let write = |(name, value): (&'static str, _)| Write {
        table: Table::Meta,
        key: Bytes::from_static(name.as_bytes()),
        value,
    };
    Ok(Amended::new(Arc::clone(rows), changed.map(write)))
}

/// One walk over all rows.
struct Pass {
    rows: Arc<dyn StateRead>,
    /// Index of the table being read.
    table: usize,
    /// Where to go on in it.
    from: Vec<u8>,
    tree: Tree,
    /// Finished buckets, by name.
    buckets: Tree,
    pages: Pages,
}

impl Pass {
    fn new(rows: Arc<dyn StateRead>) -> Self {
        let pages = Pages { next: PAGES_FIRST, out: BytesMut::new() };
        let (tree, buckets) = (Tree::default(), Tree::default());
        Self { rows, table: 0, from: Vec::new(), tree, buckets, pages }
    }

    /// Goes on a bit; the root's page once everything is written.
    fn step(&mut self) -> Result<Option<u64>, StorageFault> {
        let Some(table) = Table::OF_ETCD.get(self.table) else {
            let buckets = std::mem::take(&mut self.buckets);
            return Ok(Some(buckets.finish_pages(&mut self.pages)));
        };
        if self.read(*table)? {
            let value = std::mem::take(&mut self.tree).finish(&mut self.pages);
            self.buckets.push((1, table.name().as_bytes(), &value), &mut self.pages);
            self.table += 1;
            self.from.clear();
        }
        Ok(None)
    }

    /// Takes in the next rows; true if there are no more in this table.
    fn read(&mut self, table: Table) -> Result<bool, StorageFault> {
        let (mut bytes, mut next, mut too_long) = (0, None, None);
        let (tree, pages) = (&mut self.tree, &mut self.pages);
        self.rows.scan(table, &self.from, &[], &mut |key, value| {
            if bytes >= STEP_BYTES {
                next = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            if key.len() > KEY_BYTES_MAX {
                too_long = Some(key.len());
                return ControlFlow::Break(());
            }
            bytes += key.len() + value.len();
            tree.push((0, key, value), pages);
            ControlFlow::Continue(())
        })?;
        if let Some(bytes) = too_long {
            return Err(StorageFault::new(format!(
                "a row of {} whose key has {bytes} bytes does not fit into etcd's format",
                table.name()
            )));
        }
        let is_end = next.is_none();
        self.from = next.unwrap_or_default();
        Ok(is_end)
    }
}
