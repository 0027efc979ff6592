//! Ranges in chunks: their sizes, their revision, and that together they are the whole answer.
#![allow(clippy::unwrap_used)]

mod mvcc_image;

use mvcc_image::{Ledger, bytes};
use prost::Message;
use quorate_core::draw::{Domain, draw, draw_below};
use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_core::ids::LeaseId;
use quorate_core::limits::CHUNK_STEP_KEYS_MAX;
use quorate_core::mvcc::{Chunk, Chunks, KvView, Step};
use quorate_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};

/// Keys `k0000` and on, one revision for all, with values of these sizes.
fn put_all(ledger: &mut Ledger, sizes: impl IntoIterator<Item = usize>) {
    ledger.mutate(|writer| {
        for (n, size) in sizes.into_iter().enumerate() {
            writer.put(&bytes(&format!("k{n:04}")), &bytes(&"v".repeat(size)), LeaseId(7));
        }
    });
}

fn ledger_of(sizes: impl IntoIterator<Item = usize>) -> Ledger {
    let mut ledger = Ledger::new();
    put_all(&mut ledger, sizes);
    ledger.store(usize::MAX);
    ledger
}

fn all() -> RangeRequest {
    RangeRequest { key: bytes("\0"), range_end: bytes("\0"), ..RangeRequest::default() }
}

/// Chunks to the last one, or to the first refusal.
fn drain<C: Chunk>(chunks: &mut Chunks<C>, view: &KvView) -> Result<Vec<C>, ReadError> {
    let mut drained = Vec::new();
    loop {
        match chunks.step(view)? {
            Step::Reading => {}
            Step::Chunk(chunk) => drained.push(chunk),
            Step::Last(last) => {
                drained.push(last);
                return Ok(drained);
            }
        }
    }
}

fn answer(view: &KvView, request: &RangeRequest, bytes_aim: usize) -> Vec<RangeResponse> {
    drain(&mut Chunks::begin(view, request, bytes_aim).unwrap(), view).unwrap()
}

fn sizes(chunks: &[RangeResponse]) -> Vec<usize> {
    chunks.iter().map(|chunk| chunk.kvs.len()).collect()
}

#[test]
fn chunks_double_while_they_are_small_and_halve_when_they_are_large() {
    let view = ledger_of([100; 300]).mvcc.view();
    // A key takes 119 bytes.
    for (bytes_aim, expected) in [
        (1 << 20, vec![10, 20, 40, 80, 150]),
        (9_000, [&[10, 20][..], &[40; 6], &[30]].concat()),
        (2_382, [&[10][..], &[20; 14], &[10]].concat()),
        (2_381, vec![10; 30]),
        (595, vec![10; 30]),
        (594, [&[10][..], &[5; 58]].concat()),
    ] {
        assert_eq!(sizes(&answer(&view, &all(), bytes_aim)), expected, "{bytes_aim}");
    }
}

#[test]
fn a_chunk_of_large_values_ends_when_it_is_twice_as_large_as_aimed_at() {
    let small_then_large = [[1; 310], [5_000; 310]].concat();
    let chunks = answer(&ledger_of(small_then_large).mvcc.view(), &all(), 10_000);
    assert_eq!(sizes(&chunks)[..6], [10, 20, 40, 80, 160, 4]);
    assert!(sizes(&chunks)[6..].iter().all(|&size| size <= 4), "{:?}", sizes(&chunks));
    assert_eq!(sizes(&chunks).iter().sum::<usize>(), 620);
    let chunks = answer(&ledger_of([30_000; 3]).mvcc.view(), &all(), 10_000);
    assert_eq!(sizes(&chunks), [1, 1, 1]);
}

#[test]
fn together_they_are_the_whole_answer() {
    let mut ledger = ledger_of([9; 250]);
    put_all(&mut ledger, [3; 120]);
    ledger.mutate(|writer| writer.put(&bytes("k0005x"), &bytes("new"), LeaseId(0)));
    ledger.delete("k0007");
    let view = ledger.mvcc.view();
    let one = RangeRequest { range_end: bytes(""), key: bytes("k0030"), ..all() };
    let some = RangeRequest { key: bytes("k0003"), range_end: bytes("k0101"), ..all() };
    let none = RangeRequest { key: bytes("x"), range_end: bytes("a"), ..all() };
    for request in [all(), one, some, none] {
        for (limit, revision) in [0, -1, 1, 9, 10, 11, 30, 31, 250, 251, i64::MAX]
            .into_iter()
            .flat_map(|limit| [0, 1, 2, 3, 5].map(|revision| (limit, revision)))
        {
            for (keys_only, count_only) in [(false, false), (true, false), (false, true)] {
                let request =
                    RangeRequest { limit, revision, keys_only, count_only, ..request.clone() };
                check_whole(&view, &request);
            }
        }
    }
}

fn check_whole(view: &KvView, request: &RangeRequest) {
    let expected = view.range(request).unwrap();
    let mut chunks = answer(view, request, 2_000);
    let last = chunks.last().unwrap();
    let told = last.header.as_ref().unwrap().revision;
    assert_eq!((last.count, last.more, told), (expected.count, expected.more, 5), "{request:?}");
    for chunk in &chunks[..chunks.len() - 1] {
        assert_eq!((&chunk.header, chunk.count, chunk.more), (&None, 0, false));
        assert!(!chunk.kvs.is_empty());
    }
    if request.count_only || expected.kvs.len() <= 10 {
        assert_eq!(chunks.len(), 1, "{request:?}");
    }
    let kvs: Vec<_> = chunks.drain(..).flat_map(|chunk| chunk.kvs).collect();
    assert_eq!(kvs, expected.kvs, "{request:?}");
    let whole = RangeResponse {
        header: Some(ResponseHeader { revision: told, ..ResponseHeader::default() }),
        kvs,
        more: expected.more,
        count: expected.count,
    };
    check_encoded(view, request, &whole);
}

/// As it is sent, in pieces of any number of keys: joined they are one answer.
fn check_encoded(view: &KvView, request: &RangeRequest, whole: &RangeResponse) {
    let mut chunks = Chunks::begin_encoded(view, request, 2_000).unwrap();
    let chunks = drain(&mut chunks, view).unwrap();
    let joined: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| [chunk.fields.clone(), chunk.end.encode_to_vec()].concat())
        .collect();
    assert_eq!(&RangeResponse::decode(&joined[..]).unwrap(), whole, "{request:?}");
    let decoded = chunks.into_iter().flat_map(|chunk| chunk.decode().unwrap().kvs);
    assert_eq!(decoded.collect::<Vec<_>>(), whole.kvs);
}

/// What stands for several records stands for no others, however they come and go: leaves split,
/// are cut by compactions and are packed anew at a start.
#[test]
fn what_is_remembered_is_what_would_be_read() {
    let (mut all_made, mut all_given) = (0, 0);
    for seed in 0..24 {
        let mut draws = 0..;
        let mut below =
            |bound| draw_below(bound, draw(seed, Domain::Shell as u64, 1, draws.next().unwrap()));
        let mut ledger = Ledger::new();
        put_all(&mut ledger, (0..below(300) as usize).map(|n| n % 50));
        for turn in 0..600 {
            let key = format!("k{:04}", below(300));
            match below(20) {
                0..9 => drop(ledger.put(&key, &format!("{turn}"))),
                9..15 => drop(ledger.delete(&key)),
                15 => {
                    let revision = ledger.mvcc.revision().get() - below(3) as i64;
                    if revision > ledger.mvcc.view().compacted().get().max(0) {
                        ledger.compact(revision);
                    }
                }
                16 if below(10) == 0 => ledger.reopen(),
                _ => ledger.store(below(20) as usize),
            }
            let view = ledger.mvcc.view();
            let compacted = view.compacted().get().max(1);
            let newest = view.revision().get();
            let revision = newest - below(8).min((newest - compacted) as u64) as i64;
            let request = RangeRequest { revision, ..all() };
            let mut chunks = Chunks::begin_encoded(&view, &request, 1 << 20).unwrap();
            let chunks = drain(&mut chunks, &view).unwrap();
            let read = chunks.into_iter().flat_map(|chunk| chunk.decode().unwrap().kvs);
            let read: Vec<_> = read.collect();
            assert_eq!(read, view.range(&request).unwrap().kvs, "seed {seed}, turn {turn}");
        }
        let (made, given) = ledger.memory.counts();
        (all_made, all_given) = (all_made + made, all_given + given);
    }
    assert!(all_made > 500 && all_given > 1_000, "{all_made} made, {all_given} given again");
}

#[test]
fn a_step_reads_a_few_keys_only() {
    let view = ledger_of([1; 600]).mvcc.view();
    let mut chunks = Chunks::begin(&view, &all(), 1 << 20).unwrap();
    let mut steps = Vec::new();
    loop {
        match chunks.step(&view).unwrap() {
            Step::Reading => steps.push(0),
            Step::Chunk(chunk) => steps.push(chunk.kvs.len()),
            Step::Last(last) => break steps.push(last.kvs.len()),
        }
    }
    assert_eq!(CHUNK_STEP_KEYS_MAX, 128);
    assert_eq!(steps, [10, 20, 40, 80, 0, 160, 0, 0, 290]);
}

#[test]
fn what_happens_meanwhile_is_not_seen() {
    let mut ledger = ledger_of([100; 40]);
    let expected = ledger.mvcc.view().range(&all()).unwrap();
    let mut chunks = Chunks::begin(&ledger.mvcc.view(), &all(), 100).unwrap();
    let Step::Chunk(first) = chunks.step(&ledger.mvcc.view()).unwrap() else { panic!() };
    put_all(&mut ledger, [1; 60]);
    ledger.delete("k0039");
    ledger.store(usize::MAX);
    // Up to that revision history may go, and the records of others with it.
    ledger.compact(2);
    ledger.store(usize::MAX);
    let rest = drain(&mut chunks, &ledger.mvcc.view()).unwrap();
    let last = rest.last().unwrap();
    assert_eq!((last.count, last.header.as_ref().unwrap().revision), (40, 2));
    let kvs: Vec<_> = [first].into_iter().chain(rest).flat_map(|chunk| chunk.kvs).collect();
    assert_eq!(kvs, expected.kvs);
}

#[test]
fn a_compaction_meanwhile_ends_it() {
    let mut ledger = ledger_of([100; 40]);
    ledger.put("k", "v");
    let request = RangeRequest { revision: 2, ..all() };
    let mut chunks = Chunks::begin(&ledger.mvcc.view(), &request, 100).unwrap();
    assert!(matches!(chunks.step(&ledger.mvcc.view()), Ok(Step::Chunk(_))));
    ledger.schedule(3);
    let refused = chunks.step(&ledger.mvcc.view());
    assert_eq!(refused, Err(Refusal::Compacted.into()));
    let begin = |revision| {
        let request = RangeRequest { revision, ..all() };
        Chunks::begin(&ledger.mvcc.view(), &request, 100).map(|_| ())
    };
    assert_eq!((begin(2), begin(4)), (Err(Refusal::Compacted), Err(Refusal::FutureRev)));
}

/// The other way: whoever keeps a view reads on, whatever is compacted and stored meanwhile.
#[test]
fn a_view_that_is_kept_keeps_its_history() {
    let mut ledger = ledger_of([100; 40]);
    let view = ledger.mvcc.view();
    let expected = view.range(&all()).unwrap();
    let mut chunks = Chunks::begin(&view, &all(), 100).unwrap();
    put_all(&mut ledger, [1; 60]);
    ledger.compact(3);
    ledger.store(usize::MAX);
    let kvs: Vec<_> =
        drain(&mut chunks, &view).unwrap().into_iter().flat_map(|chunk| chunk.kvs).collect();
    assert_eq!(kvs, expected.kvs);
}
