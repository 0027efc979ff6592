//! Compaction of the index, in slices.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::Index;
use super::history::{History, Remains};
use super::tree::Node;
use super::walk::Bounds;
use crate::schema::{RevisionKey, RowKey};

/// What a slice of compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows nobody needs any more, key by key.
    pub removed: Vec<RowKey>,
    /// The key to go on from; none at the end.
    pub next: Option<Vec<u8>>,
}

/// A key something is to be removed from, and what remains (nothing if `None`).
struct Cut {
    key: Vec<u8>,
    keep: Option<RevisionKey>,
}

/// A walk over keys that may have something to remove.
struct Search {
    compacted: i64,
    work_left: usize,
    rows: Vec<RowKey>,
    cuts: Vec<Cut>,
    next: Option<Vec<u8>>,
}

impl Index {
    /// Forgets what reads at `compacted` and later do not need, from key `from` on. Keys looked at
    /// and rows removed are no more than `work_max` together; keys that did not change since they
    /// were last swept cost nothing.
    pub fn sweep(&mut self, from: &[u8], compacted: i64, work_max: usize) -> Swept {
        let (rows, cuts) = (Vec::new(), Vec::new());
        let work_left = work_max.max(2);
        let mut search = Search { compacted, work_left, rows, cuts, next: None };
        if self.tally.is_worn {
            let bounds = Bounds { from: Some(from), until: None };
            let _ = self.root.search(bounds, &mut search);
        }
        for cut in &search.cuts {
            Arc::make_mut(&mut self.root).cut(&cut.key, cut.keep);
        }
        if !search.cuts.is_empty() {
            self.settle();
        }
        Swept { removed: search.rows, next: search.next }
    }

    /// Takes off roots with a single child, and sums up anew.
    fn settle(&mut self) {
        while let Node::Branch(branch) = &*self.root {
            let below = match &branch.children[..] {
                [] => Arc::default(),
                [only] => only.node.clone(),
                _ => break,
            };
            self.root = below;
        }
        self.tally = self.root.tally();
    }
}

impl Node {
    fn search(&self, bounds: Bounds<'_>, search: &mut Search) -> ControlFlow<()> {
        let (start, end) = self.span(bounds);
        match self {
            Self::Leaf(leaf) => {
                for place in start..end {
                    search.look_at(leaf.keys.get(place), &leaf.histories[place])?;
                }
            }
            Self::Branch(branch) => {
                for place in start..=end {
                    let child = &branch.children[place];
                    if child.tally.is_worn {
                        child.node.search(bounds.inside(place, (start, end)), search)?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Search {
    fn look_at(&mut self, key: &[u8], history: &History) -> ControlFlow<()> {
        if !history.is_worn() {
            return ControlFlow::Continue(());
        }
        // One for the key; a row, if there are any, must be within reach too, or nothing moves.
        if self.work_left < 2 {
            self.next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        self.work_left -= 1;
        let keep = match history.remains(self.compacted) {
            Remains::All => return ControlFlow::Continue(()),
            Remains::From(keep) => keep,
            Remains::None => RevisionKey::last_of(i64::MAX),
        };
        let rows_before = self.rows.len();
        let untold = history.rows_before(keep, self.work_left, &mut self.rows);
        self.work_left -= self.rows.len() - rows_before;
        self.cuts.push(Cut { key: key.to_vec(), keep: untold });
        if untold.is_some_and(|untold| untold < keep) {
            self.next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
