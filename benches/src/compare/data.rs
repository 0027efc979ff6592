//! What is asked, and what is there before: requests of the workloads, and filling a server.

use std::sync::Arc;

use bytes::Bytes;
use quorate_io_tokio::bench::work::{Lines, Op, Script};
use quorate_io_tokio::bench::{Keys, Load, Stint, Terms, drive, spread};
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};

use crate::Outcome;
use crate::servers::Group;

/// Keys written by one transaction that fills; etcd's limit is 128.
const BATCH_KEYS: u64 = 100;
/// Bytes written by one, of large values.
const BATCH_BYTES: u64 = 512 << 10;
/// Transactions under way.
const FILLERS: usize = 16;
/// What keys begin with.
pub(crate) const PREFIX: &str = "key/";

/// The keys that most rows read and write.
pub(crate) const fn keys(count: u64) -> Keys {
    Keys::numbered(PREFIX, count)
}

/// All of them, and what lies behind them.
pub(crate) fn all_keys() -> (Bytes, Bytes) {
    (Bytes::from_static(PREFIX.as_bytes()), Bytes::from_static(b"key0"))
}

/// Asks for all of them.
pub(crate) fn everything() -> RangeRequest {
    let (key, range_end) = all_keys();
    RangeRequest { key, range_end, ..RangeRequest::default() }
}

/// A value that does not compress, another for every seed.
pub(crate) fn value(seed: u64, bytes: usize) -> Bytes {
    let words = (0..bytes.div_ceil(8) as u64).flat_map(|at| spread(seed << 20 | at).to_le_bytes());
    words.take(bytes).collect()
}

/// Puts of random keys.
pub(crate) fn puts(keys: Keys, value_bytes: usize) -> Arc<Lines> {
    let value = value(0, value_bytes);
    Arc::new(move |turn| (0, put(keys.at(turn), &value)))
}

/// A put.
pub(crate) fn put(key: Bytes, value: &Bytes) -> Op {
    Op::Put(PutRequest { key, value: value.clone(), ..PutRequest::default() })
}

/// A read of one key, which is there.
pub(crate) fn get(key: Bytes, serializable: bool) -> Op {
    Op::Range(RangeRequest { key, serializable, ..RangeRequest::default() }, Some(1))
}

/// So many keys from a random one on.
pub(crate) fn ranges(keys: Keys, length: u64) -> Arc<Lines> {
    let first = starts(&keys, length);
    Arc::new(move |turn| {
        let number = spread(turn) % first;
        let (key, range_end) = (keys.name(number), keys.name(number + length));
        let request = RangeRequest { key, range_end, ..RangeRequest::default() };
        (0, Op::Range(request, Some(length as usize)))
    })
}

/// How many keys a range of that length can begin with.
const fn starts(keys: &Keys, length: u64) -> u64 {
    let first = keys.count().saturating_sub(length);
    if first == 0 { 1 } else { first }
}

/// A fill of a server: which keys, how large, from which to before which.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    pub(crate) keys: Keys,
    pub(crate) value_bytes: usize,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Fill {
    /// All keys.
    pub(crate) const fn all(keys: Keys, value_bytes: usize) -> Self {
        let last = keys.count();
        Self { keys, value_bytes, first: 0, last }
    }

    /// Puts them, many to a transaction, each value another.
    pub(crate) fn run(self, group: &Group) -> Outcome<()> {
        let batch = (BATCH_BYTES / self.value_bytes as u64).clamp(1, BATCH_KEYS);
        let total = (self.last - self.first).div_ceil(batch);
        let lines: Arc<Lines> = Arc::new(move |turn| {
            let first = self.first + turn * batch;
            let put = |number| {
                let value = value(number, self.value_bytes);
                let put = PutRequest { key: self.keys.name(number), value, ..<_>::default() };
                RequestOp { request: Some(Request::RequestPut(put)) }
            };
            let success = (first..self.last.min(first + batch)).map(put).collect();
            (0, Op::Txn(TxnRequest { success, ..TxnRequest::default() }))
        });
        ask_all(group, total, FILLERS, lines)
    }
}

/// Makes that many revisions by single puts, over a hundredth as many keys.
pub(crate) fn make_revisions(group: &Group, revisions: u64) -> Outcome<()> {
    const CLIENTS: usize = 256;
    let keys = Keys::numbered("history/", (revisions / 100).max(1));
    ask_all(group, revisions, CLIENTS, puts(keys, crate::sizes::VALUE_BYTES))
}

/// Asks so much by so many clients, all of which has to succeed.
pub(crate) fn ask_all(group: &Group, total: u64, clients: usize, lines: Arc<Lines>) -> Outcome<()> {
    let load = Load::new(clients, connection_count(clients, group.client_addrs.len()), 1);
    let stint = Arc::new(Stint::new(Terms { total: Some(total), ..Terms::default() }));
    let seen = drive(&group.target()?, &load, &stint, move |line, _| Script::new(line, &lines))?;
    Ok(seen[0].check()?)
}

/// Most connections of a crowd, unless a row says how many.
const CONNECTIONS_MAX: usize = 8;

/// Connections for so many clients over so many members: one alone goes to the leader, which is
/// the first address; a crowd spreads evenly.
pub(crate) fn connection_count(clients: usize, members: usize) -> usize {
    if clients < 8 {
        return 1;
    }
    let wanted = (clients / 16).clamp(2, CONNECTIONS_MAX).max(members);
    wanted.div_ceil(members) * members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_few_and_even() {
        let counts: Vec<_> = [(1, 1), (64, 1), (512, 1), (1, 3), (64, 3), (512, 3)]
            .map(|(clients, members)| connection_count(clients, members))
            .into();
        assert_eq!(counts, [1, 4, 8, 1, 6, 9]);
    }

    #[test]
    fn ranges_lie_within_the_keys() {
        let lines = ranges(keys(1_500), 1_000);
        for turn in 0..100 {
            let (_, Op::Range(range, Some(1_000))) = lines(turn) else { panic!("a range") };
            assert!(range.range_end <= keys(0).name(1_500), "{range:?}");
        }
    }

    #[test]
    fn values_differ_and_have_their_size() {
        assert_eq!(value(1, 13).len(), 13);
        assert_ne!(value(1, 16), value(2, 16));
    }
}
