//! The consistency check: every page against every other.

use bytes::Bytes;
use quorate_core::error::StorageFault;

use super::format::{Kind, Page, Root};
use super::read::{BoltFile, LEVELS_MAX};

/// The keys a page may hold: from the first on, and before the second.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    from: &'a [u8],
    until: Option<&'a [u8]>,
}

const EVERY_KEY: Bounds<'_> = Bounds { from: &[], until: None };

/// Reads every page in use: each must be whole, of the kind its place wants, used once, and its
/// keys in order and within what the branch above says. As bbolt's own check, it takes pages nobody
/// refers to for free, since the list of those is not stored. All buckets are returned, by name.
pub(super) fn check(file: &BoltFile) -> Result<Vec<(Bytes, Root)>, StorageFault> {
    let mut check = Check { file, used: Used::new(file.meta.pages) };
    if let Some(freelist) = file.meta.freelist {
        check.take(freelist)?;
    }
    let mut buckets = Vec::new();
    check.subtree((file.meta.root, LEVELS_MAX), EVERY_KEY, &mut |page| {
        for at in 0..page.len() {
            if !page.is_bucket(at) {
                return Err("a row outside of all buckets");
            }
            let name = Bytes::copy_from_slice(page.key(at));
            buckets.push((name, Root::parse(&page.value(at))?));
        }
        Ok(())
    })?;
    for (_, root) in &buckets {
        match root {
            Root::Inline(page) => {
                let sound = check_keys(page, EVERY_KEY).and_then(|()| check_rows(page));
                sound.map_err(|why| file.unsound_page(file.meta.root, why))?;
            }
            Root::Page(page) => {
                check.subtree((*page, LEVELS_MAX), EVERY_KEY, &mut check_rows)?;
            }
        }
    }
    Ok(buckets)
}

/// What is done with each leaf.
type VisitLeaf<'a> = dyn FnMut(&Page) -> Result<(), &'static str> + 'a;

struct Check<'a> {
    file: &'a BoltFile,
    used: Used,
}

impl Check<'_> {
    fn subtree(
        &mut self,
        (id, levels): (u64, usize),
        bounds: Bounds<'_>,
        visit: &mut VisitLeaf<'_>,
    ) -> Result<(), StorageFault> {
        self.take(id)?;
        let page = self.file.page(id, levels)?;
        let told = |why| self.file.unsound_page(id, why);
        check_keys(&page, bounds).map_err(told)?;
        if page.kind == Kind::Leaf {
            return visit(&page).map_err(told);
        }
        if page.len() == 0 {
            return Err(told("a branch that leads nowhere"));
        }
        for at in 0..page.len() {
            let next = at + 1;
            let until = if next < page.len() { Some(page.key(next)) } else { bounds.until };
            let below = Bounds { from: page.key(at), until };
            self.subtree((page.child(at), levels - 1), below, visit)?;
        }
        Ok(())
    }

    /// Notes that a page and its overflow are in use.
    fn take(&mut self, id: u64) -> Result<(), StorageFault> {
        let overflow = self.file.page_header(id)?.overflow;
        for page in id..=id + u64::from(overflow) {
            if !self.used.insert(page) {
                return Err(self.file.unsound_page(page, "a page that is used twice"));
            }
        }
        Ok(())
    }
}

fn check_keys(page: &Page, bounds: Bounds<'_>) -> Result<(), &'static str> {
    for at in 0..page.len() {
        if at > 0 && page.key(at - 1) >= page.key(at) {
            return Err("keys out of order");
        }
    }
    let Some(last) = page.len().checked_sub(1) else { return Ok(()) };
    let is_within =
        bounds.from <= page.key(0) && bounds.until.is_none_or(|until| page.key(last) < until);
    if is_within { Ok(()) } else { Err("keys that belong elsewhere") }
}

fn check_rows(leaf: &Page) -> Result<(), &'static str> {
    match (0..leaf.len()).any(|at| leaf.is_bucket(at)) {
        true => Err("a bucket within a bucket, which etcd does not have"),
        false => Ok(()),
    }
}

/// Pages in use, a bit for each.
struct Used(Vec<u64>);

impl Used {
    fn new(pages: u64) -> Self {
        Self(vec![0; (pages / 64 + 1) as usize])
    }

    /// False if it was in already.
    fn insert(&mut self, page: u64) -> bool {
        let (word, bit) = ((page / 64) as usize, 1 << (page % 64));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}
