//! A sequence in order of revisions that only grows at its end and is only cut at its front.
//!
//! Persistent: clones share blocks, and changing one clone copies a single path. Blocks form a
//! tree of even height (`BLOCK_MAX` wide, so a million items are four blocks deep): finding an item
//! by revision, appending and cutting all cost O(log n), and dropping it never recurses deeper.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use crate::schema::RevisionKey;

/// Items or children of one block.
const BLOCK_MAX: usize = 32;

/// Something that happened at a revision.
pub(crate) trait Dated: Clone {
    fn at(&self) -> RevisionKey;
}

/// The sequence. See the module.
#[derive(Clone, Debug)]
pub(crate) struct Run<T> {
    root: Option<Arc<Block<T>>>,
}

/// Never empty.
#[derive(Clone, Debug)]
enum Block<T> {
    Items(Vec<T>),
    Blocks(Vec<Child<T>>),
}

#[derive(Debug)]
struct Child<T> {
    first: RevisionKey,
    block: Arc<Block<T>>,
}

impl<T> Clone for Child<T> {
    fn clone(&self) -> Self {
        Self { first: self.first, block: self.block.clone() }
    }
}

impl<T> Default for Run<T> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<T: Dated> Run<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// When the oldest item happened.
    pub(crate) fn first(&self) -> Option<RevisionKey> {
        self.root.as_ref().map(|root| root.first())
    }

    /// Appends an item, later than all before it.
    pub(crate) fn push(&mut self, item: T) {
        let Some(root) = &mut self.root else {
            self.root = Some(Block::tower(0, item).block);
            return;
        };
        if root.is_full() {
            let old = Child { first: root.first(), block: root.clone() };
            let height = root.height();
            *root = Arc::new(Block::Blocks(alloc::vec![old, Block::tower(height, item)]));
        } else {
            Arc::make_mut(root).push(item);
        }
    }

    /// The newest item not after `at`.
    pub(crate) fn floor(&self, at: RevisionKey) -> Option<&T> {
        let mut block = self.root.as_deref()?;
        loop {
            match block {
                Block::Items(items) => {
                    let count = items.partition_point(|item| item.at() <= at);
                    return items.get(count.checked_sub(1)?);
                }
                Block::Blocks(children) => {
                    let count = children.partition_point(|child| child.first <= at);
                    block = &children.get(count.checked_sub(1)?)?.block;
                }
            }
        }
    }

    /// Visits items from `from` on, oldest first.
    pub(crate) fn visit(
        &self,
        from: RevisionKey,
        visit: &mut dyn FnMut(&T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.root {
            Some(root) => root.visit(from, visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// Forgets all items before `keep`.
    pub(crate) fn cut(&mut self, keep: RevisionKey) {
        let Some(root) = &mut self.root else { return };
        if root.first() >= keep {
            return;
        }
        if !Arc::make_mut(root).cut(keep) {
            self.root = None;
            return;
        }
        while let Block::Blocks(children) = &**root
            && let [only] = &children[..]
        {
            *root = only.block.clone();
        }
    }
}

impl<T: Dated> Block<T> {
    /// A block of that height with one item.
    fn tower(height: usize, item: T) -> Child<T> {
        let first = item.at();
        let mut block = Arc::new(Self::Items(alloc::vec![item]));
        for _ in 0..height {
            block = Arc::new(Self::Blocks(alloc::vec![Child { first, block }]));
        }
        Child { first, block }
    }

    fn height(&self) -> usize {
        match self {
            Self::Items(_) => 0,
            Self::Blocks(children) => children.last().map_or(0, |last| 1 + last.block.height()),
        }
    }

    fn first(&self) -> RevisionKey {
        match self {
            Self::Items(items) => items.first().map_or(RevisionKey::default(), Dated::at),
            Self::Blocks(children) => {
                children.first().map_or(RevisionKey::default(), |child| child.first)
            }
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Items(items) => items.len() >= BLOCK_MAX,
            Self::Blocks(children) => {
                children.len() >= BLOCK_MAX
                    && children.last().is_some_and(|last| last.block.is_full())
            }
        }
    }

    /// Appends to a block that is not full.
    fn push(&mut self, item: T) {
        match self {
            Self::Items(items) => {
                // Most sequences stay short: grow 1, 2, 4, ... and not beyond the block.
                if items.len() == items.capacity() {
                    items.reserve_exact(items.len().clamp(1, BLOCK_MAX - items.len()));
                }
                items.push(item);
            }
            Self::Blocks(children) => match children.last_mut() {
                Some(last) if !last.block.is_full() => Arc::make_mut(&mut last.block).push(item),
                last => {
                    let height = last.map_or(0, |last| last.block.height());
                    children.push(Self::tower(height, item));
                }
            },
        }
    }

    fn visit(
        &self,
        from: RevisionKey,
        visit: &mut dyn FnMut(&T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Items(items) => {
                let start = items.partition_point(|item| item.at() < from);
                items[start..].iter().try_for_each(visit)
            }
            Self::Blocks(children) => {
                let start = children.partition_point(|child| child.first < from);
                let start = start.saturating_sub(1);
                children[start..].iter().try_for_each(|child| child.block.visit(from, visit))
            }
        }
    }

    /// Forgets items before `keep`; false if none is left.
    fn cut(&mut self, keep: RevisionKey) -> bool {
        match self {
            Self::Items(items) => {
                let gone = items.partition_point(|item| item.at() < keep);
                items.drain(..gone);
                !items.is_empty()
            }
            Self::Blocks(children) => {
                let begun = children.partition_point(|child| child.first < keep);
                children.drain(..begun.saturating_sub(1));
                if let Some(edge) = children.first_mut()
                    && edge.first < keep
                {
                    if Arc::make_mut(&mut edge.block).cut(keep) {
                        edge.first = edge.block.first();
                    } else {
                        children.remove(0);
                    }
                }
                !children.is_empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct At(i64);

    impl Dated for At {
        fn at(&self) -> RevisionKey {
            RevisionKey { main: self.0 / 3, sub: self.0 % 3 }
        }
    }

    fn items(run: &Run<At>, from: i64) -> Vec<i64> {
        let mut seen = Vec::new();
        let _ = run.visit(At(from).at(), &mut |item| {
            seen.push(item.0);
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn clones_keep_what_they_saw() {
        let mut run = Run::default();
        let mut clones = Vec::new();
        for n in 0..2_500 {
            clones.push(run.clone());
            run.push(At(n));
        }
        for (n, clone) in (0..2_500).zip(&clones).step_by(97) {
            assert_eq!(items(clone, 0), (0..n).collect::<Vec<_>>());
        }
        for n in (0..2_500).step_by(53) {
            assert_eq!(run.floor(At(n).at()), Some(&At(n)));
            assert_eq!(items(&run, n), (n..2_500).collect::<Vec<_>>());
        }
        assert_eq!(run.floor(RevisionKey::last_of(1)), Some(&At(5)));
    }

    #[test]
    fn cutting_leaves_the_end_and_clones_alone() {
        for cut in [0, 1, 31, 32, 33, 1_023, 1_024, 1_025, 1_990, 1_999] {
            let mut run = Run::default();
            (0..2_000).for_each(|n| run.push(At(n)));
            let before = run.clone();
            run.cut(At(cut).at());
            (2_000..2_100).for_each(|n| run.push(At(n)));
            assert_eq!(items(&run, 0), (cut..2_100).collect::<Vec<_>>());
            assert_eq!(run.floor(At(cut).at()), Some(&At(cut)));
            assert_eq!(run.floor(At(cut - 1).at()), None);
            assert_eq!(items(&before, 0), (0..2_000).collect::<Vec<_>>());
            run.cut(At(2_100).at());
            assert!(run.is_empty());
        }
    }
}
