//! Reading the tree.

use core::ops::ControlFlow;

use super::history::{History, Version};
use super::tree::Node;
use crate::event::KeyRange;

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
        self.entry(key).map(|(_, history)| history)
    }

    pub(super) fn entry(&self, key: &[u8]) -> Option<(&[u8], &History)> {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => {
                    let place = leaf.keys.search(key).ok()?;
                    return Some((leaf.keys.get(place), &leaf.histories[place]));
                }
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
                let histories = leaf.histories.get(start..end).unwrap_or_default();
                let live = histories
                    .iter()
                    .filter(|history| history.as_of(main).is_some_and(|version| version.is_live()));
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
        visit: &mut dyn FnMut(&'a [u8], Version) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (start, end) = self.span(bounds);
        match self {
            Self::Leaf(leaf) => {
                for place in start..end {
                    if let Some(version) = leaf.histories[place].as_of(main)
                        && version.is_live()
                    {
                        visit(leaf.keys.get(place), version)?;
                    }
                }
            }
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
