//! A bbolt file as an image.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table};
use sha2::{Digest, Sha256};

use super::check::check;
use super::format::{HEADER_BYTES, Kind, META_BYTES, Meta, PAGE_SIZES, Page, PageHeader, Root};
use super::{HASH_BYTES, SECTOR_BYTES};
use crate::disk::fault;

/// No tree is higher: each level at least doubles what is below it.
pub(super) const LEVELS_MAX: usize = 64;
/// How often a locked file is looked at again.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Bytes hashed at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// A database in a file, with or without a snapshot's checksum behind it.
pub struct BoltFile {
    pub(super) file: File,
    path: PathBuf,
    pub(super) meta: Meta,
    /// Bytes of the database.
    bytes: u64,
    has_hash: bool,
    /// All buckets, by name.
    pub(super) buckets: Vec<(Bytes, Root)>,
}

impl BoltFile {
    /// Opens a file nobody writes to; waits so long for whoever does, without end if that is zero.
    /// Reads every page once, to hold them against each other (see `check.rs`).
    pub fn open(path: &Path, patience: Duration) -> Result<Self, StorageFault> {
        let file = File::open(path).map_err(|e| fault("cannot open", path, &e))?;
        lock(&file, path, patience)?;
        let length = file.metadata().map_err(|e| fault("cannot read", path, &e))?.len();
        let has_hash = length % SECTOR_BYTES == HASH_BYTES as u64;
        let bytes = if has_hash { length - HASH_BYTES as u64 } else { length };
        let meta = find_meta(&file, bytes).map_err(|e| fault("cannot read", path, &e))?;
        let path = path.to_path_buf();
        let Some(meta) = meta else {
            return Err(unsound(&path, "neither of its first two pages says what it is"));
        };
        let end = meta.pages.checked_mul(meta.page_bytes);
        if end.is_none_or(|end| end > bytes) {
            return Err(unsound(&path, "it was cut off: pages are missing at its end"));
        }
        let mut this = Self { file, path, meta, bytes, has_hash, buckets: Vec::new() };
        this.buckets = check(&this)?;
        Ok(this)
    }

    /// Whether the length says that a snapshot's checksum is there.
    pub fn has_hash(&self) -> bool {
        self.has_hash
    }

    /// Bytes of the database.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the database up to its last page.
    pub fn bytes_paged(&self) -> u64 {
        self.meta.pages * self.meta.page_bytes
    }

    /// Holds the database against the checksum behind it.
    pub fn verify_hash(&self) -> Result<(), StorageFault> {
        let failed = |e| fault("cannot read", &self.path, &e);
        let (mut hash, mut block, mut at) = (Sha256::new(), vec![0; BLOCK_BYTES], 0);
        while at < self.bytes {
            let some = (self.bytes - at).min(BLOCK_BYTES as u64) as usize;
            self.file.read_exact_at(&mut block[..some], at).map_err(failed)?;
            hash.update(&block[..some]);
            at += some as u64;
        }
        let mut expected = [0; HASH_BYTES];
        self.file.read_exact_at(&mut expected, self.bytes).map_err(failed)?;
        let found = hash.finalize();
        if found[..] == expected {
            return Ok(());
        }
        Err(StorageFault::new(format!(
            "expected sha256 {}, got {}: {} is not what was saved; take another snapshot",
            hex(&expected),
            hex(&found),
            self.path.display()
        )))
    }

    /// Names of all buckets.
    pub fn bucket_names(&self) -> impl Iterator<Item = &Bytes> {
        self.buckets.iter().map(|(name, _)| name)
    }

    /// Visits the rows of a bucket from `from` on, in order.
    pub fn scan_bucket(
        &self,
        name: &[u8],
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        let Some((_, root)) = self.buckets.iter().find(|(bucket, _)| bucket == name) else {
            return Ok(());
        };
        let _ = match root {
            Root::Inline(page) => visit_rows(page, from, visit),
            Root::Page(page) => self.subtree((*page, LEVELS_MAX), from, visit)?,
        };
        Ok(())
    }

    /// Visits the rows below a page from `from` on.
    fn subtree(
        &self,
        (id, levels): (u64, usize),
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageFault> {
        let page = self.page(id, levels)?;
        if page.kind == Kind::Leaf {
            return Ok(visit_rows(&page, from, visit));
        }
        let first = page.seek(from);
        let is_exact = first < page.len() && page.key(first) == from;
        let first = if is_exact { first } else { first.saturating_sub(1) };
        for at in first..page.len() {
            if self.subtree((page.child(at), levels - 1), from, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads a page with its overflow; refuses one that is `levels` below the root or deeper.
    pub(super) fn page(&self, id: u64, levels: usize) -> Result<Page, StorageFault> {
        if levels == 0 {
            return Err(self.unsound_page(id, "a tree that is too high"));
        }
        let header = self.page_header(id)?;
        let bytes = (u64::from(header.overflow) + 1) * self.meta.page_bytes;
        let mut page = vec![0; bytes as usize];
        let read = self.file.read_exact_at(&mut page, id * self.meta.page_bytes);
        read.map_err(|e| fault("cannot read", &self.path, &e))?;
        Page::parse(id, page.into()).map_err(|why| self.unsound_page(id, why))
    }

    /// Reads what stands in front of a page; refuses one that does not lie within the file.
    pub(super) fn page_header(&self, id: u64) -> Result<PageHeader, StorageFault> {
        if id < 2 || id >= self.meta.pages {
            return Err(self.unsound_page(id, "a page that cannot be there"));
        }
        let mut header = [0; HEADER_BYTES];
        let read = self.file.read_exact_at(&mut header, id * self.meta.page_bytes);
        read.map_err(|e| fault("cannot read", &self.path, &e))?;
        let header = PageHeader::parse(&header);
        let header = header.ok_or_else(|| self.unsound_page(id, "a page that is cut off"))?;
        if u64::from(header.overflow) >= self.meta.pages - id {
            return Err(self.unsound_page(id, "an overflow that reaches past the end"));
        }
        Ok(header)
    }

    pub(super) fn unsound_page(&self, id: u64, why: &str) -> StorageFault {
        unsound(&self.path, &format!("page {id}: {why}"))
    }
}

impl StateRead for BoltFile {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        let mut found = None;
        self.scan_bucket(table.name().as_bytes(), key, &mut |at, value| {
            found = (at == key).then(|| value.clone());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        self.scan_bucket(table.name().as_bytes(), from, &mut |key, value| {
            if !until.is_empty() && key >= until {
                return ControlFlow::Break(());
            }
            visit(key, value)
        })
    }
}

fn visit_rows(
    page: &Page,
    from: &[u8],
    visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
) -> ControlFlow<()> {
    (page.seek(from)..page.len()).try_for_each(|at| visit(page.key(at), &page.value(at)))
}

/// The newer of the metas that are whole. The second one is where the first says pages begin, or,
/// if the first is damaged, wherever there is one.
fn find_meta(file: &File, bytes: u64) -> io::Result<Option<Meta>> {
    let read = |at: u64| {
        let mut page = [0; META_BYTES];
        if at.checked_add(META_BYTES as u64).is_none_or(|end| end > bytes) {
            return Ok(None);
        }
        file.read_exact_at(&mut page, at)?;
        Ok::<_, io::Error>(Meta::parse(&page))
    };
    let first = read(0)?;
    let mut newest = first;
    let mut size = *PAGE_SIZES.start();
    while PAGE_SIZES.contains(&size) {
        let second = read(size)?.filter(|meta| meta.page_bytes == size);
        let is_newer = |meta: &Meta| newest.is_none_or(|newest| newest.txid < meta.txid);
        if first.is_none_or(|first| first.page_bytes == size) {
            newest = second.filter(is_newer).or(newest);
        }
        size *= 2;
    }
    Ok(newest)
}

fn lock(file: &File, path: &Path, patience: Duration) -> Result<(), StorageFault> {
    let start = Instant::now();
    loop {
        match file.try_lock_shared() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(fault("cannot lock", path, &e)),
            Err(TryLockError::WouldBlock) => {}
        }
        if !patience.is_zero() && start.elapsed() >= patience {
            return Err(StorageFault::new(format!(
                "{} is in use by another process; stop the server that runs on it first",
                path.display()
            )));
        }
        std::thread::sleep(LOCK_POLL);
    }
}

pub(super) fn unsound(path: &Path, why: &str) -> StorageFault {
    StorageFault::new(format!(
        "{} is no sound bbolt file: {why}; use another copy, or take another snapshot",
        path.display()
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
