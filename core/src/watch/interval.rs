//! Which ranges contain a key: a height-balanced tree of ranges, each node knowing how far its
//! subtree reaches. A lookup skips every subtree that ends before the key or starts after it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::cmp::Ordering;

use bytes::Bytes;

use super::watcher::Slot;

/// Where a range ends; ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < end.as_ref(),
            Self::Never => true,
        }
    }
}

/// Ranges and who watches them. Equal ranges share a node.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    root: Link,
}

type Link = Option<Box<Node>>;

#[derive(Debug)]
struct Node {
    start: Bytes,
    end: End,
    /// The furthest end in this subtree.
    reach: End,
    height: u32,
    slots: BTreeSet<Slot>,
    left: Link,
    right: Link,
}

impl Intervals {
    /// Adds a watcher of `start..end`.
    pub(super) fn insert(&mut self, start: Bytes, end: End, slot: Slot) {
        self.root = Some(insert(self.root.take(), start, end, slot));
    }

    /// Removes a watcher of `start..end`.
    pub(super) fn remove(&mut self, start: &Bytes, end: &End, slot: Slot) {
        self.root = remove(self.root.take(), start, end, slot);
    }

    /// Visits the watchers of all ranges that contain `key`.
    pub(super) fn visit(&self, key: &[u8], visit: &mut impl FnMut(Slot)) {
        descend(self.root.as_deref(), key, visit);
    }

    /// Height of the tree; at most 1.44 times the logarithm of the number of distinct ranges.
    #[cfg(test)]
    pub(super) fn height(&self) -> u32 {
        height(&self.root)
    }
}

fn descend(node: Option<&Node>, key: &[u8], visit: &mut impl FnMut(Slot)) {
    let Some(node) = node.filter(|node| node.reach.is_after(key)) else { return };
    descend(node.left.as_deref(), key, visit);
    if key < node.start.as_ref() {
        return;
    }
    if node.end.is_after(key) {
        node.slots.iter().copied().for_each(&mut *visit);
    }
    descend(node.right.as_deref(), key, visit);
}

fn insert(link: Link, start: Bytes, end: End, slot: Slot) -> Box<Node> {
    let Some(mut node) = link else {
        let slots = BTreeSet::from([slot]);
        let reach = end.clone();
        return Box::new(Node { start, end, reach, height: 1, slots, left: None, right: None });
    };
    match (&start, &end).cmp(&(&node.start, &node.end)) {
        Ordering::Less => node.left = Some(insert(node.left.take(), start, end, slot)),
        Ordering::Greater => node.right = Some(insert(node.right.take(), start, end, slot)),
        Ordering::Equal => {
            node.slots.insert(slot);
        }
    }
    balance(node)
}

fn remove(link: Link, start: &Bytes, end: &End, slot: Slot) -> Link {
    let mut node = link?;
    match (start, end).cmp(&(&node.start, &node.end)) {
        Ordering::Less => node.left = remove(node.left.take(), start, end, slot),
        Ordering::Greater => node.right = remove(node.right.take(), start, end, slot),
        Ordering::Equal => {
            node.slots.remove(&slot);
            if node.slots.is_empty() {
                return join(node.left.take(), node.right.take());
            }
        }
    }
    Some(balance(node))
}

/// One tree of two whose heights differ by at most one, all of `left` before all of `right`.
fn join(left: Link, right: Link) -> Link {
    let Some(right) = right else { return left };
    let (mut first, rest) = take_first(right);
    first.left = left;
    first.right = rest;
    Some(balance(first))
}

fn take_first(mut node: Box<Node>) -> (Box<Node>, Link) {
    match node.left.take() {
        None => {
            let rest = node.right.take();
            (node, rest)
        }
        Some(left) => {
            let (first, rest) = take_first(left);
            node.left = rest;
            (first, Some(balance(node)))
        }
    }
}

fn height(link: &Link) -> u32 {
    link.as_ref().map_or(0, |node| node.height)
}

/// Restores what a node knows about its children, and their balance, after one of them changed
/// height by one.
fn balance(mut node: Box<Node>) -> Box<Node> {
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        node.left = node.left.take().map(|child| {
            if height(&child.right) > height(&child.left) { turn_left(child) } else { child }
        });
        return turn_right(node);
    }
    if right > left + 1 {
        node.right = node.right.take().map(|child| {
            if height(&child.left) > height(&child.right) { turn_right(child) } else { child }
        });
        return turn_left(node);
    }
    refresh(&mut node);
    node
}

fn turn_right(mut node: Box<Node>) -> Box<Node> {
    let Some(mut top) = node.left.take() else { return node };
    node.left = top.right.take();
    refresh(&mut node);
    top.right = Some(node);
    refresh(&mut top);
    top
}

fn turn_left(mut node: Box<Node>) -> Box<Node> {
    let Some(mut top) = node.right.take() else { return node };
    node.right = top.left.take();
    refresh(&mut node);
    top.left = Some(node);
    refresh(&mut top);
    top
}

fn refresh(node: &mut Node) {
    node.height = 1 + height(&node.left).max(height(&node.right));
    let children = [&node.left, &node.right];
    let reach = children.into_iter().flatten().map(|child| &child.reach).max();
    node.reach = reach.map_or(&node.end, |reach| reach.max(&node.end)).clone();
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::draw::{draw, draw_below};

    fn key(n: u64) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    fn lot(n: u64, bound: u64) -> u64 {
        draw_below(bound, draw(1, 1, 1, n))
    }

    fn random_range(n: u64) -> (Bytes, End) {
        let start = lot(3 * n, 100);
        let length = lot(3 * n + 1, 30);
        let end = if length == 0 { End::Never } else { End::Before(key(start + length)) };
        (key(start), end)
    }

    fn found(tree: &Intervals, at: u64) -> Vec<Slot> {
        let mut slots = Vec::new();
        tree.visit(&key(at), &mut |slot| slots.push(slot));
        slots.sort();
        slots
    }

    #[test]
    fn finds_exactly_the_ranges_that_contain_the_key_while_they_come_and_go() {
        let mut tree = Intervals::default();
        let mut alive: Vec<(Bytes, End, Slot)> = Vec::new();
        for n in 0..600 {
            if lot(3 * n + 2, 3) == 0 && !alive.is_empty() {
                let victim = usize::try_from(lot(n, alive.len() as u64)).unwrap();
                let (start, end, slot) = alive.swap_remove(victim);
                tree.remove(&start, &end, slot);
            } else {
                let (start, end) = random_range(n);
                tree.insert(start.clone(), end.clone(), Slot(n as u32));
                alive.push((start, end, Slot(n as u32)));
            }
            let at = lot(7 * n, 140);
            let mut expected: Vec<Slot> = alive
                .iter()
                .filter(|(start, end, _)| *start <= key(at) && end.is_after(&key(at)))
                .map(|(_, _, slot)| *slot)
                .collect();
            expected.sort();
            assert_eq!(found(&tree, at), expected, "after step {n}");
        }
        for (start, end, slot) in alive {
            tree.remove(&start, &end, slot);
        }
        assert_eq!(tree.height(), 0);
    }

    #[test]
    fn stays_low_whatever_the_order_of_arrival() {
        let mut tree = Intervals::default();
        for n in 0..4_096 {
            tree.insert(key(n), End::Before(key(n + 1)), Slot(n as u32));
        }
        assert!(tree.height() <= 17, "height {}", tree.height());
        for n in (0..4_096).rev().filter(|n| n % 64 != 0) {
            tree.remove(&key(n), &End::Before(key(n + 1)), Slot(n as u32));
        }
        assert!(tree.height() <= 8, "height {}", tree.height());
    }
}
