//! The key index: which keys exist, and when each of them changed.
//!
//! An immutable, structurally shared, counted B-tree. A clone is one reference; changing a tree
//! whose nodes a clone still holds copies the nodes on one path, and nothing else is ever copied
//! or locked. Nodes are packed: a leaf is one buffer with its keys and a few arrays with their
//! histories, so that a key costs about 75 bytes beyond itself and scans run over plain memory.
//! Keys, separators and each of those arrays are shared apart from the rest, so that a new revision
//! of a known key copies the array it is in and none of the others.
//!
//! ```text
//!            [ g | p ]          separators: the shortest that tell neighbours apart
//!           /    |    \         each child with its tally: live keys, newest revision, worn
//!   [a c f]   [g h k]  [q z]    keys, packed
//!    . . .     . . .    . .     histories: newest version in place, older ones in a run
//! ```
//!
//! The tallies make three things cheap: counting (a child wholly inside the range, not changed
//! after the revision asked for, is counted by its number), stepping over deleted keys (no live
//! key: not visited), and compaction (a child that is not worn has nothing to remove).
//!
//! Invariants
//! - Keys ascend; a child's keys are at or above the separator before it, below the one after it.
//! - Versions of one key ascend by revision.
//! - A child's tally says what summing up its node would say; `newest` may be too high after a
//!   compaction, `worn` too often true.
//! - No node but the root is empty.
//!
//! Deliberately absent: values (they are records in the store), and removal of a key other than
//! by compaction (a deletion is a version like any other).
//!
//! Answers to: etcd v3.7.1 server/storage/mvcc/index.go, key_index.go

mod histories;
mod history;
mod keys;
mod sweep;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::ops::ControlFlow;

pub use history::Version;
pub(super) use keys::shared;
pub use sweep::Swept;
pub use walk::{Live, Named};

use crate::event::KeyRange;
use crate::schema::RevisionKey;
use tree::{Node, Tally};
use walk::Bounds;

/// The index. See the module.
#[derive(Clone, Debug, Default)]
pub struct Index {
    root: Arc<Node>,
    tally: Tally,
}

impl Index {
    /// An index without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys that exist at the newest revision. O(1).
    pub fn live(&self) -> u64 {
        self.tally.live
    }

    /// The change that decides what `key` is as of main revision `main`, if any; it may be a
    /// tombstone. O(log n).
    pub fn as_of(&self, key: &[u8], main: i64) -> Option<Version> {
        self.root.find(key)?.as_of(main)
    }

    /// Whether `key` has that version. O(log n).
    pub fn has(&self, key: &[u8], at: RevisionKey) -> bool {
        self.root.find(key).is_some_and(|history| history.has(at))
    }

    /// What [`as_of`](Self::as_of) says, as far as etcd's hash of history up to `main` sees it.
    pub fn hashed_as_of(&self, key: &[u8], main: i64) -> Option<Version> {
        self.root.find(key)?.hashed_as_of(main)
    }

    /// Keys of `range` that exist as of `main`. O(log n) where nothing changed after `main`.
    pub fn count(&self, range: &KeyRange, main: i64) -> u64 {
        match range {
            KeyRange::One(key) => {
                self.as_of(key, main).map_or(0, |version| u64::from(version.is_live()))
            }
            _ => self.root.count(Bounds::of(range), main),
        }
    }

    /// Visits the keys of `range` that exist as of `main`, in order, until `visit` breaks.
    pub fn visit<'a>(
        &'a self,
        range: &KeyRange,
        main: i64,
        visit: &mut dyn FnMut(&'a [u8], Version) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.visit_neighbours(range, main, &mut |live| {
            live.iter().try_for_each(|(key, version)| visit(key, version))
        })
    }

    /// The same, a leaf's at a time.
    pub fn visit_neighbours<'a>(
        &'a self,
        range: &KeyRange,
        main: i64,
        visit: &mut dyn FnMut(Live<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let KeyRange::One(key) = range {
            let found = self.root.entry(key);
            let alone = |(leaf, place)| visit(Live { leaf, places: (place, place + 1), main });
            return found.map_or(ControlFlow::Continue(()), alone);
        }
        self.root.visit(Bounds::of(range), main, visit)
    }

    /// Appends a version to the key's history; it must be newer than all versions before.
    pub fn push(&mut self, key: &[u8], version: Version) {
        self.push_sorted(core::iter::once((key, version)));
    }

    /// The same of many, in order of keys, and those of one key by revision: neighbours are found
    /// together.
    pub fn push_sorted<'k>(&mut self, versions: impl Iterator<Item = (&'k [u8], Version)>) {
        let mut versions = versions.peekable();
        while versions.peek().is_some() {
            let pushed = Arc::make_mut(&mut self.root).push(&mut versions, None);
            self.tally.absorb(&pushed);
            if let Some(split) = pushed.split {
                let left = core::mem::take(&mut self.root);
                self.root = Arc::new(Node::join(left, split));
                self.tally = self.root.tally();
            }
        }
    }
}
