//! Nodes, and how they grow and shrink.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter::Peekable;

use super::histories::Histories;
use super::history::{History, Version};
use super::keys::{Keys, separator};
use crate::schema::RevisionKey;

/// Keys of one leaf.
const LEAF_KEYS_MAX: usize = 64;
/// Bytes of a leaf's keys above which it splits, if it has several.
const LEAF_BYTES_MAX: usize = 8 << 10;
/// Children of one branch.
const BRANCH_MAX: usize = 16;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    pub(super) keys: Arc<Keys>,
    pub(super) histories: Histories,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// One less than children.
    pub(super) separators: Arc<Keys>,
    pub(super) children: Vec<Child>,
}

#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) node: Arc<Node>,
    pub(super) tally: Tally,
}

/// What is below a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Keys that exist at the newest revision.
    pub(super) live: u64,
    /// No version is newer than this main revision.
    pub(super) newest: i64,
    /// Whether there may be something to compact.
    pub(super) is_worn: bool,
}

/// Versions in order of keys; those of one key by revision.
pub(super) type Sorted<I> = Peekable<I>;

/// How pushing changed a node.
#[derive(Default)]
pub(super) struct Pushed {
    live: i64,
    newest: i64,
    is_worn: bool,
    pub(super) split: Option<Split>,
}

/// The upper part of a node that became too large, and what separates it from the lower part.
pub(super) struct Split {
    separator: Vec<u8>,
    right: Node,
}

impl Default for Node {
    fn default() -> Self {
        Self::Leaf(Leaf::default())
    }
}

impl Tally {
    pub(super) fn absorb(&mut self, pushed: &Pushed) {
        self.live = self.live.saturating_add_signed(pushed.live);
        self.newest = self.newest.max(pushed.newest);
        self.is_worn |= pushed.is_worn;
    }

    fn sum(self, other: Self) -> Self {
        Self {
            live: self.live + other.live,
            newest: self.newest.max(other.newest),
            is_worn: self.is_worn || other.is_worn,
        }
    }
}

impl Child {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let tally = node.tally();
        Self { node, tally }
    }
}

impl Node {
    /// A root above two nodes.
    pub(super) fn join(left: Arc<Self>, split: Split) -> Self {
        let mut separators = Keys::default();
        separators.push(&split.separator);
        let children = alloc::vec![Child::new(left), Child::new(Arc::new(split.right))];
        Self::Branch(Branch { separators: Arc::new(separators), children })
    }

    pub(super) fn tally(&self) -> Tally {
        match self {
            Self::Leaf(leaf) => leaf.histories.iter().fold(Tally::default(), |tally, history| {
                tally.sum(Tally {
                    live: u64::from(history.newest().is_live()),
                    newest: history.newest().at.main,
                    is_worn: history.is_worn(),
                })
            }),
            Self::Branch(branch) => {
                branch.children.iter().fold(Tally::default(), |tally, child| tally.sum(child.tally))
            }
        }
    }

    /// Entries of a leaf, children of a branch.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.histories.len(),
            Self::Branch(branch) => branch.children.len(),
        }
    }

    /// Takes versions of keys before `until`, as far as it can without splitting twice.
    pub(super) fn push<'k>(
        &mut self,
        versions: &mut Sorted<impl Iterator<Item = (&'k [u8], Version)>>,
        until: Option<&[u8]>,
    ) -> Pushed {
        match self {
            Self::Leaf(leaf) => leaf.push(versions, until),
            Self::Branch(branch) => branch.push(versions, until),
        }
    }

    /// Forgets the key's versions before `keep`, or all of them. The key must be there.
    pub(super) fn cut(&mut self, key: &[u8], keep: Option<RevisionKey>) {
        match self {
            Self::Leaf(leaf) => leaf.cut(key, keep),
            Self::Branch(branch) => branch.cut(key, keep),
        }
    }

    /// Whether the two, neighbours of one height, would make one node with room to grow.
    fn fits_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => {
                a.histories.len() + b.histories.len() <= LEAF_KEYS_MAX * 3 / 4
                    && a.keys.bytes_len() + b.keys.bytes_len() <= LEAF_BYTES_MAX / 2
            }
            (Self::Branch(a), Self::Branch(b)) => {
                a.children.len() + b.children.len() <= BRANCH_MAX * 3 / 4
            }
            _ => false,
        }
    }

    /// Takes in the neighbour above; `between` separated them.
    fn merge(&mut self, other: &Self, between: &[u8]) {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => {
                Arc::make_mut(&mut a.keys).append(&b.keys);
                a.histories.append(&b.histories);
            }
            (Self::Branch(a), Self::Branch(b)) => {
                let separators = Arc::make_mut(&mut a.separators);
                separators.push(between);
                separators.append(&b.separators);
                a.children.extend_from_slice(&b.children);
            }
            _ => {}
        }
    }
}

impl Pushed {
    fn absorb(&mut self, other: &Self) {
        self.live += other.live;
        self.newest = self.newest.max(other.newest);
        self.is_worn |= other.is_worn;
    }
}

/// Whether a key is before the end, if there is one.
fn is_before(key: &[u8], until: Option<&[u8]>) -> bool {
    until.is_none_or(|until| key < until)
}

impl Leaf {
    fn push<'k>(
        &mut self,
        versions: &mut Sorted<impl Iterator<Item = (&'k [u8], Version)>>,
        until: Option<&[u8]>,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        let mut from = None;
        while pushed.split.is_none()
            && let Some((key, version)) = versions.next_if(|(key, _)| is_before(key, until))
        {
            from = Some(self.push_one(key, version, from, &mut pushed));
        }
        pushed
    }

    /// The key is at `from` or after it, if that is known. Returns its place.
    fn push_one(
        &mut self,
        key: &[u8],
        version: Version,
        from: Option<usize>,
        pushed: &mut Pushed,
    ) -> usize {
        pushed.live += i64::from(version.is_live());
        pushed.newest = pushed.newest.max(version.at.main);
        pushed.is_worn |= !version.is_live();
        let found = match from {
            Some(from) => self.keys.search_from(from, key),
            None => self.keys.search(key),
        };
        match found {
            Ok(place) => {
                let history = self.histories.get_mut(place);
                pushed.live -= i64::from(history.newest().is_live());
                pushed.is_worn = true;
                history.push(version);
                place
            }
            Err(place) => {
                Arc::make_mut(&mut self.keys).insert(place, key);
                self.histories.insert(place, History::new(version));
                pushed.split = self.split(place);
                place
            }
        }
    }

    /// Splits a leaf that became too large with the insertion at `place`: in the middle, but near
    /// the end if that is where it grows, so that ascending keys fill their leaves.
    fn split(&mut self, place: usize) -> Option<Split> {
        let len = self.histories.len();
        let is_large = self.keys.bytes_len() > LEAF_BYTES_MAX && len > 1;
        if len <= LEAF_KEYS_MAX && !is_large {
            return None;
        }
        let middle = if place + 1 == len { len - len.div_ceil(16) } else { len / 2 };
        let separator = separator(self.keys.get(middle - 1), self.keys.get(middle)).to_vec();
        let right = Self {
            keys: Arc::new(self.keys.slice(middle..len)),
            histories: self.histories.slice(middle..len),
        };
        self.keys = Arc::new(self.keys.slice(0..middle));
        self.histories = self.histories.slice(0..middle);
        Some(Split { separator, right: Node::Leaf(right) })
    }

    fn cut(&mut self, key: &[u8], keep: Option<RevisionKey>) {
        let Ok(place) = self.keys.search(key) else { return };
        match keep {
            Some(keep) => self.histories.get_mut(place).cut(keep),
            None => {
                Arc::make_mut(&mut self.keys).remove(place);
                self.histories.remove(place);
            }
        }
    }
}

impl Branch {
    fn push<'k>(
        &mut self,
        versions: &mut Sorted<impl Iterator<Item = (&'k [u8], Version)>>,
        until: Option<&[u8]>,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        while pushed.split.is_none()
            && let Some((key, _)) = versions.peek()
            && is_before(key, until)
        {
            let place = self.separators.count_up_to(key);
            let is_last = place == self.separators.len();
            let end = if is_last { until } else { Some(self.separators.get(place)) };
            let child = &mut self.children[place];
            let mut below = Arc::make_mut(&mut child.node).push(versions, end);
            child.tally.absorb(&below);
            pushed.absorb(&below);
            if let Some(split) = below.split.take() {
                child.tally = child.node.tally();
                self.children.insert(place + 1, Child::new(Arc::new(split.right)));
                Arc::make_mut(&mut self.separators).insert(place, &split.separator);
                pushed.split = self.split(place + 1);
            }
        }
        pushed
    }

    fn split(&mut self, place: usize) -> Option<Split> {
        let len = self.children.len();
        if len <= BRANCH_MAX {
            return None;
        }
        let middle = if place + 1 == len { len - len.div_ceil(8) } else { len / 2 };
        let separator = self.separators.get(middle - 1).to_vec();
        let right = Self {
            separators: Arc::new(self.separators.slice(middle..len - 1)),
            children: self.children.drain(middle..).collect(),
        };
        self.separators = Arc::new(self.separators.slice(0..middle - 1));
        self.children.shrink_to_fit();
        Some(Split { separator, right: Node::Branch(right) })
    }

    fn cut(&mut self, key: &[u8], keep: Option<RevisionKey>) {
        let place = self.separators.count_up_to(key);
        let child = &mut self.children[place];
        Arc::make_mut(&mut child.node).cut(key, keep);
        child.tally = child.node.tally();
        if child.node.width() == 0 {
            self.children.remove(place);
            if self.separators.len() > 0 {
                Arc::make_mut(&mut self.separators).remove(place.saturating_sub(1));
            }
        } else if keep.is_none() {
            self.merge_around(place);
        }
    }

    /// Merges the child with a neighbour if the two fit into one.
    fn merge_around(&mut self, place: usize) {
        let fits = |left: usize| {
            let pair = self.children.get(left..left + 2);
            pair.is_some_and(|pair| pair[0].node.fits_with(&pair[1].node))
        };
        let left = match place.checked_sub(1) {
            Some(before) if fits(before) => before,
            _ if fits(place) => place,
            _ => return,
        };
        let right = self.children.remove(left + 1);
        let child = &mut self.children[left];
        Arc::make_mut(&mut child.node).merge(&right.node, self.separators.get(left));
        child.tally = child.tally.sum(right.tally);
        Arc::make_mut(&mut self.separators).remove(left);
    }
}
