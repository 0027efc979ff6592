//! The tree against a plain map, and its shape.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use alloc::{format, vec};

use bytes::Bytes;

use super::tree::Tally;
use super::*;
use crate::draw::{Domain, draw, draw_below};
use crate::schema::RevisionKey;

/// Checks order, tallies and shape below a node; returns its height.
fn check_node(node: &Node, is_root: bool, low: Option<&[u8]>, high: Option<&[u8]>) -> usize {
    assert!(is_root || node.width() > 0);
    match node {
        Node::Leaf(leaf) => {
            assert_eq!(leaf.keys.len(), leaf.histories.len());
            let keys: Vec<_> = (0..leaf.keys.len()).map(|place| leaf.keys.get(place)).collect();
            assert!(keys.is_sorted_by(|a, b| a < b));
            assert!(low.is_none_or(|low| keys.iter().all(|key| low <= *key)));
            assert!(high.is_none_or(|high| keys.iter().all(|key| *key < high)));
            1
        }
        Node::Branch(branch) => {
            assert_eq!(branch.separators.len() + 1, branch.children.len());
            let mut heights = Vec::new();
            for (place, child) in branch.children.iter().enumerate() {
                let last = place == branch.separators.len();
                let low = place.checked_sub(1).map(|below| branch.separators.get(below)).or(low);
                let high = if last { high } else { Some(branch.separators.get(place)) };
                heights.push(check_node(&child.node, false, low, high));
                check_tally(child.tally, child.node.tally());
            }
            assert!(heights.windows(2).all(|pair| pair[0] == pair[1]));
            heights[0] + 1
        }
    }
}

fn check_tally(kept: Tally, summed: Tally) {
    assert_eq!(kept.live, summed.live);
    assert!(kept.newest >= summed.newest);
    assert!(kept.is_worn || !summed.is_worn);
}

fn check(index: &Index) -> usize {
    check_tally(index.tally, index.root.tally());
    check_node(&index.root, true, None, None)
}

fn put(index: &mut Index, key: &[u8], main: i64) {
    let at = RevisionKey::first_of(main);
    index.push(key, Version::put(at, index.as_of(key, i64::MAX)));
}

fn delete(index: &mut Index, key: &[u8], main: i64) {
    index.push(key, Version::tombstone(RevisionKey::first_of(main)));
}

fn live(index: &Index, range: &KeyRange, main: i64) -> Vec<(Vec<u8>, i64)> {
    let mut live = Vec::new();
    let _ = index.visit(range, main, &mut |key, version| {
        live.push((key.to_vec(), version.at.main));
        ControlFlow::Continue(())
    });
    assert_eq!(index.count(range, main), live.len() as u64);
    live
}

#[test]
fn a_thousand_mutations_read_back_at_every_revision() {
    let mut index = Index::new();
    let mut state: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut past = vec![(index.clone(), state.clone()); 2];
    for main in 2..5_000_i64 {
        let lot = |n| draw(3, Domain::Shell as u64, main as u64, n);
        // Three families of keys: dense, with a long prefix, and long enough to split leaves.
        let number = draw_below(2_000, lot(0));
        let key = match number % 3 {
            0 => format!("k{number}").into_bytes(),
            1 => format!("/registry/pods/default/{number:05}").into_bytes(),
            _ => [&[b'x'; 300][..], &number.to_be_bytes()].concat(),
        };
        if draw_below(4, lot(1)) == 0 && state.remove(&key).is_some() {
            delete(&mut index, &key, main);
        } else {
            put(&mut index, &key, main);
            state.insert(key, main);
        }
        past.push((index.clone(), state.clone()));
    }
    assert_eq!(check(&index), 3);
    for (main, (then, state)) in past.iter().enumerate().step_by(61) {
        check(then);
        assert_eq!(then.live(), state.len() as u64);
        let lot = |n| draw(4, Domain::Shell as u64, main as u64, n);
        let bound = |n| Bytes::from(format!("k{}", draw_below(2_000, lot(n))));
        let tree = KeyRange::From(Bytes::from_static(b"/registry/"));
        for range in [tree, KeyRange::Between(bound(0), bound(1)), KeyRange::One(bound(2))] {
            let expected: Vec<_> = state
                .iter()
                .filter(|(key, _)| range.contains(key))
                .map(|(key, main)| (key.clone(), *main))
                .collect();
            assert_eq!(live(then, &range, i64::MAX), expected);
            assert_eq!(live(&index, &range, main as i64), expected);
        }
    }
}

#[test]
fn versions_pushed_together_are_as_if_pushed_one_by_one() {
    let (mut one_by_one, mut together) = (Index::new(), Index::new());
    for lot in 0..40 {
        let chosen = |below, n| draw_below(below, draw(5, Domain::Shell as u64, lot, n));
        // Few keys and many, near each other and far apart.
        let many = chosen(if lot % 4 == 0 { 2_000 } else { 30 }, 9_999);
        let mut lot: Vec<_> = (0..many)
            .map(|n| {
                let at = RevisionKey { main: 2 + lot as i64, sub: n as i64 };
                let number = chosen(if lot % 3 == 0 { 200 } else { 4_000 }, n);
                let key = match number % 2 {
                    0 => format!("{number:05}").into_bytes(),
                    _ => [&[b'x'; 300][..], &number.to_be_bytes()].concat(),
                };
                (key, if n % 5 == 0 { Version::tombstone(at) } else { Version::put(at, None) })
            })
            .collect();
        lot.sort_by(|(a, _), (b, _)| a.cmp(b));
        let sorted = lot.iter().map(|(key, version)| (&key[..], *version));
        sorted.clone().for_each(|(key, version)| one_by_one.push(key, version));
        together.push_sorted(sorted);
        check(&together);
        let all = KeyRange::From(Bytes::new());
        for main in [lot_main(&lot), i64::MAX] {
            assert_eq!(live(&together, &all, main), live(&one_by_one, &all, main));
        }
    }
    assert!(together.live() > 1_000);
    let swept = |mut index: Index| index.sweep(b"", i64::MAX, usize::MAX).removed;
    assert_eq!(swept(together), swept(one_by_one));
}

fn lot_main(lot: &[(Vec<u8>, Version)]) -> i64 {
    lot.first().map_or(0, |(_, version)| version.at.main - 1)
}

#[test]
fn sweeping_in_slices_equals_sweeping_at_once_and_shrinks_the_tree() {
    let mut index = Index::new();
    let key = |n: u64| format!("{n:04}").into_bytes();
    for n in 0..3_000 {
        put(&mut index, &key(n), 2 + n as i64);
    }
    for n in (0..3_000).filter(|n| n % 50 != 0) {
        delete(&mut index, &key(n), 4_000 + n as i64);
    }
    let before = index.clone();
    let mut whole = index.clone();
    let at_once = whole.sweep(b"", 7_000, usize::MAX);
    let (mut from, mut removed, mut slices) = (Vec::new(), Vec::new(), 0);
    loop {
        let swept = index.sweep(&from, 7_000, 100);
        assert!(swept.removed.len() < 100);
        removed.extend(swept.removed);
        check(&index);
        slices += 1;
        match swept.next {
            Some(next) => from = next,
            None => break,
        }
    }
    // 2,940 deleted keys cost a step for each of their two rows and one to look at them.
    assert_eq!((at_once.next, slices), (None, 90));
    assert_eq!(removed, at_once.removed);
    assert_eq!(removed.len(), 2 * 2_940);
    assert_eq!((index.live(), before.live(), whole.live()), (60, 60, 60));
    assert!(check(&before) > check(&index));
    let all = KeyRange::From(Bytes::new());
    assert_eq!(live(&index, &all, i64::MAX), live(&before, &all, i64::MAX));
    assert_eq!(index.sweep(b"", 9_000, 1), Swept::default());
}

#[test]
fn an_index_swept_empty_is_as_new() {
    let mut index = Index::new();
    for n in 0..500_i64 {
        put(&mut index, &n.to_be_bytes(), 2 + n);
        delete(&mut index, &n.to_be_bytes(), 2 + n + 1_000);
    }
    assert_eq!(index.sweep(b"", 5_000, usize::MAX).removed.len(), 1_000);
    assert_eq!((check(&index), index.live()), (1, 0));
    put(&mut index, b"again", 6_000);
    assert_eq!(live(&index, &KeyRange::From(Bytes::new()), 6_000), [(b"again".to_vec(), 6_000)]);
}

#[test]
fn ascending_keys_fill_their_leaves() {
    let mut index = Index::new();
    for n in 0..10_000_u64 {
        put(&mut index, &n.to_be_bytes(), 2 + n as i64);
    }
    fn leaves(node: &Node) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Branch(branch) => branch.children.iter().map(|child| leaves(&child.node)).sum(),
        }
    }
    check(&index);
    assert_eq!(leaves(&index.root), 167);
}
