//! The key ledger by example: etcd's hashes, every option of a range, compaction, history.
#![allow(clippy::unwrap_used)]

mod mvcc_image;

use mvcc_image::{Ledger, bytes};
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::event::{History, KeyRange, ReadError, Span};
use quorate_core::ids::{LeaseId, Revision};
use quorate_core::mvcc::{KvView, Mvcc, check_heads};
use quorate_core::storage::{Rows, Table, Write};
use quorate_proto::etcdserverpb::RangeRequest;
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::mvccpb::KeyValue;
use std::sync::Arc;

fn hash(ledger: &Ledger, revision: i64) -> Result<(u32, i64), ReadError> {
    ledger.mvcc.view().hash(revision).map(|hash| (hash.hash, hash.compact_revision.get()))
}

/// The history etcd's published hashes were taken from, up to `a=3` at revision 6.
fn hashed_history(mut check: impl FnMut(&Ledger, i64)) -> Ledger {
    let mut ledger = Ledger::new();
    check(&ledger, 1);
    ledger.put("foo", "bar");
    check(&ledger, 2);
    ledger.put("foo", "baz");
    check(&ledger, 3);
    ledger.delete("foo");
    check(&ledger, 4);
    ledger.mutate(|writer| {
        writer.put(&bytes("a"), &bytes("1"), LeaseId(0));
        writer.put(&bytes("b"), &bytes("2"), LeaseId(0));
    });
    check(&ledger, 5);
    ledger.put("a", "3");
    ledger
}

#[test]
fn hashes_equal_those_of_etcd() {
    let known = [1_084_519_789, 3_305_255_506, 2_020_292_994, 3_153_096_970, 2_130_390_800];
    let mut ledger = hashed_history(|ledger, revision| {
        assert_eq!(ledger.mvcc.revision(), Revision(revision));
        assert_eq!(hash(ledger, 0), Ok((known[revision as usize - 1], -1)));
    });
    assert_eq!(hash(&ledger, 3), Ok((2_020_292_994, -1)));
    assert_eq!(hash(&ledger, 7), Err(Refusal::FutureRev.into()));
    ledger.compact(4);
    assert_eq!(hash(&ledger, 0), Ok((4_092_737_569, 4)));
    assert_eq!(hash(&ledger, 5), Ok((4_141_605_018, 4)));
    assert_eq!(hash(&ledger, 4), Ok((3_153_096_970, -1)));
    assert_eq!(hash(&ledger, 3), Err(Refusal::Compacted.into()));
    ledger.reopen();
    assert_eq!(hash(&ledger, 0), Ok((4_092_737_569, 4)));
    assert_eq!(hash(&ledger, 5), Ok((4_141_605_018, 4)));
    assert_eq!(hash(&ledger, 4), Ok((1_084_519_789, 4)));
    assert_eq!(ledger.rows(), ["4.0t", "5.0", "5.1", "6.0"]);
}

#[test]
fn a_compaction_leaves_the_hash_of_what_was_there_before_it() {
    let mut ledger = Ledger::new();
    for main in 2..40 {
        ledger.put(&format!("k{}", main % 5), &format!("v{main}"));
    }
    let mut left = Vec::new();
    for target in (3..39).step_by(3) {
        left.push(ledger.mvcc.view().hash(target).unwrap());
        ledger.compact(target);
    }
    let view = ledger.mvcc.view();
    for hash in &left[2..] {
        assert_eq!(view.hash(hash.hash_revision.get()), Ok(*hash));
    }
    assert_eq!(left[5].compact_revision, Revision(15));
    for hash in &left[..2] {
        let refused = view.hash(hash.hash_revision.get());
        assert_eq!(refused, Err(Refusal::Compacted.into()));
    }
}

#[test]
fn before_all_history_there_is_a_hash_of_nothing() {
    let mut ledger = Ledger::new();
    let nothing = hash(&ledger, 0).unwrap().0;
    ledger.put("k", "v");
    ledger.compact(2);
    for revision in [-1, -2, i64::MIN] {
        let found = ledger.mvcc.view().hash(revision).unwrap();
        assert_eq!((found.hash, found.compact_revision), (nothing, Revision(2)));
        assert_eq!(found.hash_revision, Revision(revision));
    }
    assert_eq!(hash(&ledger, 1), Err(Refusal::Compacted.into()));
}

#[test]
fn an_interrupted_compaction_leaves_no_hash() {
    let mut ledger = Ledger::new();
    for main in 2..12 {
        ledger.put("k", &main.to_string());
    }
    ledger.schedule(5);
    ledger.reopen();
    let later = ledger.mvcc.view().hash(8).unwrap();
    assert_eq!(later.compact_revision, Revision(5));
    ledger.schedule(8);
    while ledger.mvcc.is_compacting() {
        ledger.slice(2);
    }
    let taken_anew = ledger.mvcc.view().hash(8).unwrap();
    assert_eq!(taken_anew.compact_revision, Revision(8));
    ledger.reopen();
    assert_eq!(ledger.mvcc.view().hash(8), Ok(taken_anew));
}

/// a (2, lease 7), b (3), c (4), a again (5), d (6) and e (6) deleted (7).
fn letters() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.mutate(|writer| writer.put(&bytes("a"), &bytes("z"), LeaseId(7)));
    ledger.put("b", "y");
    ledger.put("c", "x");
    ledger.mutate(|writer| writer.put(&bytes("a"), &bytes("w"), LeaseId(7)));
    ledger.mutate(|writer| {
        writer.put(&bytes("d"), &bytes("v"), LeaseId(0));
        writer.put(&bytes("e"), &bytes("u"), LeaseId(0));
    });
    ledger.delete("e");
    ledger
}

fn all() -> RangeRequest {
    RangeRequest { key: bytes("\0"), range_end: bytes("\0"), ..RangeRequest::default() }
}

/// Keys as one word, then the count, then `+` if there is more.
fn told(view: &KvView, request: &RangeRequest) -> String {
    let result = view.range(request).unwrap();
    let keys: Vec<_> = result.kvs.iter().map(|kv| str::from_utf8(&kv.key).unwrap()).collect();
    format!("{} {}{}", keys.concat(), result.count, if result.more { "+" } else { "" })
}

#[test]
fn ranges_name_keys_as_etcd_names_them() {
    let view = letters().mvcc.view();
    for (key, end, expected) in [
        ("a", "", "a 1"),
        ("e", "", " 0"),
        ("b", "\0", "bcd 3"),
        ("\0", "\0", "abcd 4"),
        ("b", "d", "bc 2"),
        ("d", "b", " 0"),
        ("b", "b", " 0"),
        ("bb", "cc", "c 1"),
    ] {
        let request = RangeRequest { key: bytes(key), range_end: bytes(end), ..all() };
        assert_eq!(told(&view, &request), expected, "{key:?}..{end:?}");
    }
}

#[test]
fn old_revisions_read_as_they_were() {
    let mut ledger = letters();
    for (revision, expected) in
        [(1, " 0"), (2, "a 1"), (4, "abc 3"), (6, "abcde 5"), (7, "abcd 4"), (-3, "abcd 4")]
    {
        let request = RangeRequest { revision, ..all() };
        assert_eq!(told(&ledger.mvcc.view(), &request), expected, "{revision}");
        let request = RangeRequest { count_only: true, limit: 1, ..request };
        let count = expected.split(' ').next_back().unwrap();
        assert_eq!(told(&ledger.mvcc.view(), &request), format!(" {count}"), "{revision}");
    }
    ledger.compact(4);
    let at = |revision| ledger.mvcc.view().range(&RangeRequest { revision, ..all() });
    assert_eq!(at(8), Err(Refusal::FutureRev.into()));
    assert_eq!(at(3), Err(Refusal::Compacted.into()));
    assert_eq!(at(4).unwrap().count, 3);
}

#[test]
fn limits_filters_and_orders_combine_as_in_etcd() {
    use SortOrder::{Ascend, Descend, None as Unordered};
    use SortTarget::{Create, Key, Mod, Value, Version};
    let view = letters().mvcc.view();
    let sorted = |order: SortOrder, target: SortTarget, limit| RangeRequest {
        sort_order: order as i32,
        sort_target: target as i32,
        limit,
        ..all()
    };
    for (request, expected) in [
        (sorted(Unordered, Key, 2), "ab 4+"),
        (sorted(Ascend, Key, 4), "abcd 4"),
        (sorted(Unordered, Key, -1), "abcd 4"),
        (sorted(Descend, Key, 3), "dcb 4+"),
        (sorted(Ascend, Mod, 0), "bcad 4"),
        (sorted(Descend, Mod, 2), "da 4+"),
        (sorted(Descend, Create, 0), "dcba 4"),
        (sorted(Descend, Version, 1), "a 4+"),
        (sorted(Ascend, Value, 0), "dacb 4"),
        (sorted(Ascend, Value, 1), "d 4+"),
        (sorted(Descend, Value, 2), "bc 4+"),
        // Without an order the limit cuts by key (to one more than asked) before the sorting.
        (sorted(Unordered, Mod, 2), "bc 4+"),
        (sorted(Unordered, Value, 1), "a 4+"),
        (RangeRequest { min_mod_revision: 4, ..all() }, "acd 4"),
        (RangeRequest { max_mod_revision: 4, ..all() }, "bc 4"),
        (RangeRequest { min_create_revision: 3, max_create_revision: 4, ..all() }, "bc 4"),
        (RangeRequest { min_mod_revision: 4, limit: 2, ..all() }, "ac 4+"),
        (RangeRequest { min_mod_revision: 4, limit: 3, ..all() }, "acd 4"),
        // With a filter nothing is cut before the sorting.
        (RangeRequest { min_mod_revision: 3, ..sorted(Unordered, Value, 1) }, "d 4+"),
        (RangeRequest { min_mod_revision: 9, count_only: true, ..all() }, " 4"),
    ] {
        assert_eq!(told(&view, &request), expected, "{request:?}");
    }
}

#[test]
fn keys_only_leaves_out_values_and_leases_too_unless_sorted_by_value() {
    let view = letters().mvcc.view();
    let request = RangeRequest { key: bytes("a"), ..RangeRequest::default() };
    let whole = KeyValue {
        key: bytes("a"),
        create_revision: 2,
        mod_revision: 5,
        version: 2,
        value: bytes("w"),
        lease: 7,
    };
    assert_eq!(view.range(&request).unwrap().kvs, std::slice::from_ref(&whole));
    let request = RangeRequest { keys_only: true, ..request };
    let keyed = KeyValue { value: bytes(""), lease: 0, ..whole.clone() };
    assert_eq!(view.range(&request).unwrap().kvs, [keyed]);
    let request = RangeRequest { sort_target: SortTarget::Value as i32, ..request };
    let valued = KeyValue { value: bytes(""), ..whole };
    assert_eq!(view.range(&request).unwrap().kvs, [valued]);
}

#[test]
fn a_mutation_without_effect_takes_no_revision() {
    let mut ledger = letters();
    let (deleted, outcome) =
        ledger.mutate(|writer| writer.delete_range(&KeyRange::One(bytes("e"))));
    assert_eq!((deleted, outcome.revision, outcome.changes), (0, Revision(7), None));
    assert!(outcome.writes.is_empty());
    assert_eq!((ledger.mvcc.revision(), ledger.mvcc.keys_live()), (Revision(7), 4));
}

#[test]
fn rows_are_etcds() {
    let mut ledger = Ledger::new();
    let (_, outcome) = ledger.mutate(|writer| {
        writer.put(&bytes("k"), &bytes("v"), LeaseId(300));
        writer.delete_range(&KeyRange::From(bytes("a")));
    });
    let rows: Vec<_> =
        outcome.writes.iter().map(|row| (row.key.as_ref(), row.value.as_deref())).collect();
    let put: &[u8] = b"\x0a\x01k\x10\x02\x18\x02\x20\x01\x2a\x01v\x30\xac\x02";
    let first: &[u8] = b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0";
    let second: &[u8] = b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\x01t";
    assert_eq!(rows, [(first, Some(put)), (second, Some(&b"\x0a\x01k"[..]))]);
    let events = outcome.changes.unwrap().events;
    let deletion = KeyValue { key: bytes("k"), mod_revision: 2, ..KeyValue::default() };
    assert_eq!(events[0].kv.as_ref().unwrap().lease, 300);
    assert_eq!((events[1].r#type, events[1].kv.clone()), (1, Some(deletion)));
}

#[test]
fn compaction_bounds_are_etcds() {
    let mut ledger = letters();
    let mut compact = |revision| ledger.mvcc.compact(Revision(revision)).map(|writes| writes.len());
    assert_eq!(compact(-1), Err(Refusal::Compacted));
    assert_eq!(compact(8), Err(Refusal::FutureRev));
    assert_eq!(compact(0), Ok(1));
    assert_eq!(compact(0), Err(Refusal::Compacted));
    assert_eq!(compact(7), Ok(1));
    assert_eq!(compact(6), Err(Refusal::Compacted));
}

#[test]
fn a_tombstone_survives_compaction_at_its_own_revision_only() {
    let mut ledger = letters();
    ledger.compact(7);
    assert_eq!(ledger.rows(), ["3.0", "4.0", "5.0", "6.0", "7.0t"]);
    ledger.put("f", "t");
    ledger.compact(8);
    assert_eq!(ledger.rows(), ["3.0", "4.0", "5.0", "6.0", "8.0"]);
}

#[test]
fn a_compaction_goes_on_after_a_restart() {
    let mut ledger = Ledger::new();
    for n in 0..60 {
        ledger.put(&format!("k{}", n % 6), "v");
    }
    ledger.schedule(50);
    for _ in 0..20 {
        assert_eq!(ledger.slice(4), None);
    }
    ledger.reopen();
    assert_eq!(ledger.mvcc.compacted(), Revision(50));
    assert!(ledger.mvcc.is_compacting());
    let mut finished = Vec::new();
    while ledger.mvcc.is_compacting() {
        finished.extend(ledger.slice(4));
    }
    assert_eq!(finished, [Revision(50)]);
    let kept: Vec<_> = (45..=61).map(|main| format!("{main}.0")).collect();
    assert_eq!(ledger.rows(), kept);
    ledger.reopen();
    assert!(!ledger.mvcc.is_compacting());
}

#[test]
fn compactions_asked_for_meanwhile_wait_and_the_newest_stands_for_all() {
    let mut ledger = Ledger::new();
    for n in 0..60 {
        ledger.put(&format!("k{}", n % 6), "v");
    }
    ledger.schedule(20);
    ledger.slice(4);
    ledger.schedule(30);
    ledger.schedule(40);
    let mut finished = Vec::new();
    while ledger.mvcc.is_compacting() {
        finished.extend(ledger.slice(4));
    }
    assert_eq!(finished, [Revision(20), Revision(40)]);
    assert_eq!(ledger.rows().len(), 61 - 40 + 6);
}

#[test]
fn a_hot_keys_history_goes_in_slices_too() {
    let mut ledger = Ledger::new();
    for n in 0..500 {
        ledger.put("hot", &n.to_string());
    }
    ledger.delete("hot");
    ledger.put("cold", "");
    ledger.store(usize::MAX);
    ledger.mvcc.compact(Revision(503)).unwrap();
    let mut sizes = Vec::new();
    while let Some(slice) = ledger.mvcc.compact_slice(100).unwrap() {
        assert_eq!(ledger.mvcc.view().range(&all()).unwrap().count, 1);
        sizes.push(slice.writes.len());
    }
    // Six slices hash; each of the others says which heads are gone, the last the end as well.
    assert_eq!(sizes, [0, 0, 0, 0, 0, 0, 100, 100, 100, 100, 100, 8]);
}

/// Rows of heads, and those that say which are gone.
fn head_rows(ledger: &Ledger) -> (usize, usize) {
    let keys = || ledger.image.0.keys().filter(|(table, _)| *table == Table::Heads);
    let gone = keys().filter(|(_, key)| key.starts_with(&[0xff])).count();
    (keys().count() - gone, gone)
}

fn drain_heads(ledger: &mut Ledger) -> Vec<Write> {
    std::iter::from_fn(|| ledger.mvcc.poll_heads()).collect()
}

#[test]
fn heads_are_made_anew_once_half_are_gone() {
    let mut ledger = Ledger::new();
    for (key, value) in (0..40).map(|n| (n, "v")).chain((0..38).map(|n| (n, "again"))) {
        ledger.put(&format!("k{key:02}"), value);
    }
    ledger.delete("k38");
    ledger.delete("k39");
    ledger.put("last", "");
    ledger.store(usize::MAX);
    assert_eq!(head_rows(&ledger), (26, 0), "81 are 27 rows of three, and the last waits");
    ledger.compact(60);
    ledger.store(usize::MAX);
    // Of 81 heads 19 are gone: too few.
    assert_eq!((head_rows(&ledger).0, ledger.mvcc.is_compacting()), (26, false));
    assert!(head_rows(&ledger).1 > 5);
    ledger.compact(82);
    ledger.put("meanwhile", "");
    ledger.put("and again", "");
    ledger.store(usize::MAX);
    assert!(ledger.mvcc.is_compacting(), "19 more, and what was deleted");
    while ledger.mvcc.is_compacting() {
        ledger.slice(3);
        ledger.store(usize::MAX);
    }
    // Nothing is left of the first thirteen rows.
    assert_eq!(head_rows(&ledger), (14, 0));
    assert_eq!(ledger.rows().len(), 38 + 3);
    let before = ledger.mvcc.view().hash(0);
    ledger.reopen();
    assert_eq!(ledger.mvcc.view().hash(0), before);
}

#[test]
fn a_row_in_the_making_is_made_anew_too() {
    let mut ledger = Ledger::new();
    // Nine rows of heads, which are stored, and two heads in the making, of which one is gone soon.
    (0..27).for_each(|n| assert!(ledger.put(&format!("k{}", n % 9), "v").get() > 1));
    ledger.put("twice", "v");
    ledger.put("twice", "again");
    ledger.store(usize::MAX);
    assert_eq!(head_rows(&ledger), (9, 0));
    ledger.compact(30);
    ledger.store(usize::MAX);
    assert!(ledger.mvcc.is_compacting());
    while ledger.mvcc.is_compacting() {
        ledger.slice(3);
        ledger.store(usize::MAX);
    }
    // Storing holds heads against records.
    (0..9).for_each(|n| assert!(ledger.put(&format!("more{n}"), "v").get() > 1));
    ledger.store(usize::MAX);
    ledger.reopen();
    assert_eq!(ledger.mvcc.keys_live(), 9 + 1 + 9);
}

#[test]
fn a_store_without_heads_gets_them_when_it_opens() {
    let mut ledger = letters();
    ledger.store(usize::MAX);
    let rows = ledger.image.0.iter().filter(|((table, _), _)| *table != Table::Heads);
    let bare = Rows(rows.map(|(key, value)| (key.clone(), value.clone())).collect());
    let told = told(&ledger.mvcc.view(), &all());
    let mut ledger = Ledger::open(bare);
    assert_eq!(self::told(&ledger.mvcc.view(), &all()), told);
    let rows = drain_heads(&mut ledger);
    assert!(!rows.is_empty());
    ledger.image.write(&rows);
    check_heads(&ledger.image).unwrap();
    ledger.reopen();
    assert!(drain_heads(&mut ledger).is_empty(), "they have them");
}

#[test]
fn heads_that_are_not_those_of_the_records_are_found() {
    let mut ledger = letters();
    let rows = drain_heads(&mut ledger);
    ledger.store(usize::MAX);
    ledger.image.write(&rows);
    check_heads(&ledger.image).unwrap();
    let mut records = ledger.image.0.keys().filter(|(table, _)| *table == Table::Key);
    let row = records.next().unwrap().clone();
    let mut lost = ledger.image.clone();
    lost.0.remove(&row);
    assert_eq!(
        check_heads(&lost).unwrap_err().what,
        "heads from 2.0 on are not those of the records"
    );
    let mut disordered = ledger.image.clone();
    let mut heads = disordered.0.iter().filter(|((table, _), _)| *table == Table::Heads);
    let (key, value) = heads.next().map(|(key, value)| (key.clone(), value.clone())).unwrap();
    disordered.0.insert(key, [&value[..], &value[..]].concat().into());
    let fault = Mvcc::open(Arc::new(disordered)).err().unwrap();
    assert!(fault.what.starts_with("heads out of order at"), "{fault}");
}

#[test]
fn what_is_large_is_hashed_in_more_slices() {
    let mut ledger = Ledger::new();
    let large = "x".repeat(256 << 10);
    for n in 0..8 {
        ledger.put(&n.to_string(), &large);
    }
    ledger.store(usize::MAX);
    ledger.mvcc.compact(Revision(9)).unwrap();
    let slices = std::iter::from_fn(|| ledger.mvcc.compact_slice(600).unwrap()).count();
    assert_eq!(slices, 3 + 1, "three records hashed in each, then nothing to remove");
}

#[test]
fn history_is_told_revision_by_revision() {
    let mut ledger = letters();
    ledger.store(3);
    let view = ledger.mvcc.view();
    let span = |from, until, records_max| Span {
        from: Revision(from),
        until: Revision(until),
        records_max,
        bytes_max: usize::MAX,
    };
    let tell = |span, keys: &KeyRange| {
        let mut told = String::new();
        let next = view.changes(span, keys, &mut |revision, event| {
            let mark = if event.r#type == 1 { "-" } else { "" };
            let key = event.kv.unwrap().key;
            told += &format!("{revision}{mark}{} ", str::from_utf8(&key).unwrap());
        });
        next.map(|next| format!("{told}{next}"))
    };
    let any = KeyRange::From(bytes("\0"));
    assert_eq!(tell(span(0, 99, 99), &any).unwrap(), "2a 3b 4c 5a 6d 6e 7-e 8");
    assert_eq!(tell(span(3, 5, 99), &any).unwrap(), "3b 4c 5a 6");
    assert_eq!(tell(span(4, 99, 3), &any).unwrap(), "4c 5a 6d 6e 7");
    assert_eq!(tell(span(4, 99, 0), &any).unwrap(), "4c 5");
    assert_eq!(tell(span(2, 99, 99), &KeyRange::One(bytes("e"))).unwrap(), "6e 7-e 8");
    assert_eq!(tell(span(8, 99, 99), &any).unwrap(), "8");
    assert_eq!(tell(span(20, 99, 99), &any).unwrap(), "20");
    let at = |key: &str, at| view.kv_at(key.as_bytes(), Revision(at)).unwrap().map(|kv| kv.value);
    assert_eq!(at("a", 4), Some(bytes("z")));
    assert_eq!(at("a", 99), Some(bytes("w")));
    assert_eq!((at("a", 1), at("e", 7)), (None, None));
}

#[test]
fn compacted_history_is_refused_and_its_last_revision_served() {
    let mut ledger = letters();
    ledger.compact(5);
    let view = ledger.mvcc.view();
    let mut seen = Vec::new();
    let mut tell = |from| {
        let (records_max, bytes_max) = (9, usize::MAX);
        let span = Span { from: Revision(from), until: Revision(6), records_max, bytes_max };
        view.changes(span, &KeyRange::From(bytes("a")), &mut |revision, _| seen.push(revision))
    };
    assert_eq!(tell(4), Err(Refusal::Compacted.into()));
    assert_eq!(tell(5), Ok(Revision(7)));
    assert_eq!(seen, [Revision(5), Revision(6), Revision(6)]);
    assert_eq!(view.kv_at(b"b", Revision(4)), Ok(None));
}

#[test]
fn a_revision_lifted_by_an_empty_record_counts() {
    let mut image = letters();
    image.store(usize::MAX);
    let mut image = image.image.clone();
    let lifted = quorate_core::mvcc::RevisionKey { main: 1_000, sub: 0 };
    image.0.insert((Table::Key, lifted.to_array().to_vec().into()), bytes(""));
    let row = lifted.encode();
    image.0.insert((Table::Meta, b"scheduledCompactRev"[..].into()), row);
    let mut ledger = Ledger::open(image);
    assert_eq!(ledger.mvcc.revision(), Revision(1_000));
    assert_eq!(ledger.mvcc.compacted(), Revision(1_000));
    while ledger.mvcc.is_compacting() {
        ledger.slice(2);
    }
    assert_eq!(ledger.put("f", ""), Revision(1_001));
    assert_eq!(told(&ledger.mvcc.view(), &all()), "abcdf 5");
}

#[test]
fn damaged_rows_are_faults() {
    let open = |key: &[u8], value: &'static [u8]| {
        let mut image = Rows::default();
        image.0.insert((Table::Key, key.to_vec().into()), bytes::Bytes::from_static(value));
        Mvcc::open(Arc::new(image)).err().map(|fault| fault.what)
    };
    let key = b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0";
    assert_eq!(open(key, b"\x0a\x01k"), None);
    assert!(open(&key[..9], b"").unwrap().starts_with("not the key of a record"));
    assert!(open(key, b"\x0a\x05k").unwrap().starts_with("a record does not decode"));
}

#[test]
fn a_lost_row_is_a_fault_of_the_read_that_needs_it() {
    let mut ledger = letters();
    ledger.store(usize::MAX);
    ledger.image.0.retain(|(_, key), _| key[7] != 3);
    ledger.mvcc.on_stored(Revision(7), Arc::new(ledger.image.clone()));
    let view = ledger.mvcc.view();
    assert_eq!(view.get(b"b"), Err(StorageFault::new("no record at 3.0")));
    assert_eq!(view.get(b"c").unwrap().unwrap().value, bytes("x"));
}
