//! What files and folders hold, as it is and as it was last synced, and what a cut leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use quorate_core::draw::{draw, draw_below};

pub(crate) const PAGE_BYTES: usize = 4096;
pub(crate) const SECTOR_BYTES: usize = 512;

/// Lots that are drawn one after another.
#[derive(Clone, Debug)]
pub(crate) struct Luck {
    seed: u64,
    drawn: u64,
}

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        draw_below(bound.max(1), draw(self.seed, 0, 0, self.drawn))
    }

    /// Whether one of so many draws is ours.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: a process died, and the power stayed. Nothing is any safer than it was.
    None,
    /// All of it is lost.
    All,
    /// What was done after that change is lost, on the whole disk; the rest is safe.
    After(u64),
    /// Every unit of that many bytes fares by itself, as do lengths and, in their order, names.
    /// What never was safe may be garbage.
    Scattered { unit: usize, has_garbage: bool },
}

/// Something on a disk that changes step by step.
pub(crate) trait Content: Clone {
    type Change;

    fn apply(&mut self, change: &Self::Change);

    /// What is left of it: `versions` are the last safe one, one from in between and the newest.
    fn scatter(
        versions: &[Self; 3],
        pending: &[(u64, Self::Change)],
        loss: (usize, bool),
        luck: &mut Luck,
    ) -> Self;
}

/// Content as it is and as it is safe, and what lies between.
pub(crate) struct Held<C: Content> {
    pub(crate) current: C,
    durable: C,
    /// Each with its number among all changes of the disk.
    pending: Vec<(u64, C::Change)>,
}

impl<C: Content + Default> Default for Held<C> {
    fn default() -> Self {
        Self { current: C::default(), durable: C::default(), pending: Vec::new() }
    }
}

impl<C: Content> Held<C> {
    /// Changes it, as change `number`.
    pub(crate) fn change(&mut self, number: u64, change: C::Change) {
        self.current.apply(&change);
        self.pending.push((number, change));
    }

    /// Makes what it is now safe.
    pub(crate) fn sync(&mut self) {
        for (_, change) in self.pending.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// A sync failed: what it was for is still to be read, and never becomes safe.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Cuts the power.
    pub(crate) fn cut(&mut self, loss: Loss, luck: &mut Luck) {
        let left = match loss {
            Loss::None => return,
            Loss::All => self.durable.clone(),
            Loss::After(last) => self.prefix(self.pending.partition_point(|it| it.0 <= last)),
            Loss::Scattered { .. } if self.pending.is_empty() => self.durable.clone(),
            Loss::Scattered { unit, has_garbage } => {
                let between = self.prefix(luck.below(self.pending.len() as u64 + 1) as usize);
                let versions = [self.durable.clone(), between, self.current.clone()];
                C::scatter(&versions, &self.pending, (unit, has_garbage), luck)
            }
        };
        *self = Self { current: left.clone(), durable: left, pending: Vec::new() };
    }

    fn prefix(&self, changes: usize) -> C {
        let mut content = self.durable.clone();
        self.pending[..changes].iter().for_each(|(_, change)| content.apply(change));
        content
    }
}

type Page = Box<[u8; PAGE_BYTES]>;

/// A file's bytes. Pages that are not there are zeros.
#[derive(Clone, Default)]
pub(crate) struct Bytes {
    pub(crate) len: u64,
    pages: BTreeMap<u64, Page>,
}

/// A change of a file.
pub(crate) enum Edit {
    Write { at: u64, bytes: Vec<u8> },
    Resize(u64),
}

/// Which page holds an offset, and where in it.
fn place(at: u64) -> (u64, usize) {
    let page = PAGE_BYTES as u64;
    (at / page, usize::try_from(at % page).expect("less than a page"))
}

impl Bytes {
    /// At most that many bytes from there on.
    pub(crate) fn read(&self, at: u64, size: usize) -> Vec<u8> {
        let end = self.len.min(at.saturating_add(size as u64));
        let mut bytes = Vec::with_capacity(size);
        let mut at = at;
        while at < end {
            let (number, from) = place(at);
            let until = PAGE_BYTES.min(from + usize::try_from(end - at).unwrap_or(PAGE_BYTES));
            match self.pages.get(&number) {
                Some(page) => bytes.extend_from_slice(&page[from..until]),
                None => bytes.resize(bytes.len() + until - from, 0),
            }
            at += (until - from) as u64;
        }
        bytes
    }

    fn page(&mut self, number: u64) -> &mut Page {
        self.pages.entry(number).or_insert_with(|| Box::new([0; PAGE_BYTES]))
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (number, from) = place(at + done as u64);
            let size = (PAGE_BYTES - from).min(bytes.len() - done);
            self.page(number)[from..from + size].copy_from_slice(&bytes[done..done + size]);
            done += size;
        }
        self.len = self.len.max(at + bytes.len() as u64);
    }

    fn resize(&mut self, len: u64) {
        self.len = len;
        let (last, within) = place(len);
        self.pages.split_off(&(last + u64::from(within > 0)));
        if let Some(page) = self.pages.get_mut(&last) {
            page[within..].fill(0);
        }
    }

    fn unit(&self, (page, from): (u64, usize), size: usize) -> &[u8] {
        const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
        match self.pages.get(&page) {
            Some(page) => &page[from..from + size],
            None => &ZEROS[..size],
        }
    }
}

impl Edit {
    /// Pages that may differ after it, of a file that had `len` bytes.
    fn pages(&self, len: u64) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::Write { at, bytes } => place(*at).0..=place(at + bytes.len() as u64).0,
            Self::Resize(to) => place(*to.min(&len)).0..=place(*to.max(&len)).0,
        }
    }
}

impl Content for Bytes {
    type Change = Edit;

    fn apply(&mut self, change: &Edit) {
        match change {
            Edit::Write { at, bytes } => self.write(*at, bytes),
            Edit::Resize(len) => self.resize(*len),
        }
    }

    fn scatter(
        versions: &[Self; 3],
        pending: &[(u64, Edit)],
        (unit, has_garbage): (usize, bool),
        luck: &mut Luck,
    ) -> Self {
        let known: BTreeSet<u64> =
            versions.iter().flat_map(|it| it.pages.keys().copied()).collect();
        let longest = versions.iter().map(|it| it.len).max().unwrap_or(0);
        let touched: BTreeSet<u64> = pending
            .iter()
            .flat_map(|(_, edit)| known.range(edit.pages(longest)).copied())
            .collect();
        let mut left = versions[0].clone();
        left.len = versions[luck.below(3) as usize].len;
        for page in touched {
            let never_was_safe = !versions[0].pages.contains_key(&page);
            for from in (0..PAGE_BYTES).step_by(unit) {
                let chosen = versions[luck.below(3) as usize].unit((page, from), unit);
                let is_garbage = has_garbage && never_was_safe && luck.one_in(4);
                let sector = &mut left.page(page)[from..from + unit];
                sector.copy_from_slice(chosen);
                if is_garbage {
                    sector.iter_mut().for_each(|byte| *byte = luck.below(256) as u8);
                }
            }
        }
        let len = left.len;
        left.resize(len);
        left
    }
}

/// A folder's names and what they lead to.
pub(crate) type Names = BTreeMap<OsString, u64>;

impl Content for Names {
    /// Names that lead somewhere else, or nowhere, all at once.
    type Change = Vec<(OsString, Option<u64>)>;

    fn apply(&mut self, change: &Self::Change) {
        for (name, node) in change {
            match node {
                Some(node) => self.insert(name.clone(), *node),
                None => self.remove(name),
            };
        }
    }

    fn scatter(
        versions: &[Self; 3],
        _pending: &[(u64, Self::Change)],
        _loss: (usize, bool),
        luck: &mut Luck,
    ) -> Self {
        versions[luck.below(3) as usize].clone()
    }
}
