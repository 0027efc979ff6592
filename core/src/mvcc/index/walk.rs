//! Reading the tree.

use core::ops::ControlFlow;

use super::history::{History, Version};
use super::tree::{Leaf, Node};
use crate::event::KeyRange;
use crate::schema::RevisionKey;
use crate::storage::RecordsName;

/// Where to begin (at) and to end (before), as far as this part of the tree has to care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<'b> {
    pub(super) from: Option<&'b [u8]>,
    pub(super) until: Option<&'b [u8]>,
}

impl<'b> Bounds<'b> {
    pub(super) fn of(range: &'b KeyRange) -> Self {
        match range {
            // One key is looked up, never walked to; the range from it alone holds nothing else.
            KeyRange::One(key) => Self { from: Some(key), until: Some(key) },
            KeyRange::Between(from, until) => Self { from: Some(from), until: Some(until) },
            KeyRange::From(from) => Self { from: Some(from), until: None },
        }
    }

    const fn is_open(&self) -> bool {
        self.from.is_none() && self.until.is_none()
    }

    /// What of it the child at `place` has to care about.
    pub(super) fn inside(self, place: usize, span: (usize, usize)) -> Self {
        Self {
            from: self.from.filter(|_| place == span.0),
            until: self.until.filter(|_| place == span.1),
        }
    }
}

impl Node {
    /// The first and the last place to look at; nothing if the first is behind the last.
    pub(super) fn span(&self, bounds: Bounds<'_>) -> (usize, usize) {
        match self {
            Self::Leaf(leaf) => {
                let start = bounds.from.map_or(0, |from| leaf.keys.count_below(from));
                let end = bounds.until.map_or(leaf.keys.len(), |key| leaf.keys.count_below(key));
                (start, end)
            }
            Self::Branch(branch) => {
                let keys = &branch.separators;
                let first = bounds.from.map_or(0, |from| keys.count_up_to(from));
                (first, bounds.until.map_or(keys.len(), |until| keys.count_below(until)))
            }
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<&History> {
        self.entry(key).map(|(leaf, place)| &leaf.histories[place])
    }

    /// The leaf with that key, and its place there.
    pub(super) fn entry(&self, key: &[u8]) -> Option<(&Leaf, usize)> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return Some((leaf, leaf.keys.search(key).ok()?)),
                Self::Branch(branch) => {
                    node = &branch.children[branch.separators.count_up_to(key)].node;
                }
            }
        }
    }

    pub(super) fn count(&self, bounds: Bounds<'_>, main: i64) -> u64 {
        let (start, end) = self.span(bounds);
        match self {
            Self::Leaf(leaf) => {
                let live = (start..end).filter(|place| {
                    let version = leaf.histories[*place].as_of(main);
                    version.is_some_and(|version| version.is_live())
                });
                live.count() as u64
            }
            Self::Branch(branch) => (start..=end)
                .map(|place| {
                    let child = &branch.children[place];
                    let inside = bounds.inside(place, (start, end));
                    if inside.is_open() && child.tally.newest <= main {
                        child.tally.live
                    } else {
                        child.node.count(inside, main)
                    }
                })
                .sum(),
        }
    }

    pub(super) fn visit<'a>(
        &'a self,
        bounds: Bounds<'_>,
        main: i64,
        visit: &mut dyn FnMut(Live<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (start, end) = self.span(bounds);
        match self {
            Self::Leaf(leaf) => visit(Live { leaf, places: (start, end), main })?,
            Self::Branch(branch) => {
                for place in start..=end {
                    let child = &branch.children[place];
                    if child.tally.live == 0 && child.tally.newest <= main {
                        continue;
                    }
                    child.node.visit(bounds.inside(place, (start, end)), main, visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// Neighbours: what exists, as of a main revision, of the keys at some places of one leaf.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    pub(super) leaf: &'a Leaf,
    /// From the first, before the second.
    pub(super) places: (usize, usize),
    pub(super) main: i64,
}

impl<'a> Live<'a> {
    /// Keys and what decides them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Version)> + use<'a> {
        let Self { leaf, places: (start, end), main } = *self;
        (start..end).filter_map(move |place| {
            let version = leaf.histories[place].as_of(main)?;
            version.is_live().then(|| (leaf.keys.get(place), version))
        })
    }

    /// What stands for their records, if they are all of a leaf that has not changed since that
    /// revision.
    ///
    /// No others are ever called the same: which keys exist between the first and the last changes
    /// by a change that is newer than the newest here, or by a deletion. The former is then the
    /// newest itself, the latter leaves fewer keys, and neither ends while those it concerns exist.
    pub fn name(&self) -> Option<Named> {
        let Self { leaf, places, main } = *self;
        if places != (0, leaf.histories.len()) {
            return None;
        }
        let (mut first, mut last, mut newest) =
            (None, RevisionKey::default(), RevisionKey::default());
        let mut keys = 0;
        for history in leaf.histories.iter() {
            let version = history.newest();
            if version.at.main > main {
                return None;
            }
            if version.is_live() {
                first.get_or_insert(version.at);
                last = version.at;
                newest = newest.max(version.at);
                keys += 1;
            }
        }
        Some(Named { keys, first: first?, last, newest })
    }
}

/// See [`Live::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// How many there are; one at least.
    pub keys: usize,
    /// When the first was written.
    pub first: RevisionKey,
    /// When the last was written.
    pub last: RevisionKey,
    /// When whichever is the newest was written.
    pub newest: RevisionKey,
}

impl Named {
    /// All of it in one.
    pub fn name(&self) -> RecordsName {
        let Self { keys, first, last, newest } = *self;
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        [keys, first.main, first.sub, last.main, last.sub, newest.main, newest.sub]
    }
}
