//! What a command means: which work, by how many, until when.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use bytes::Bytes;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};

use super::Outcome;
use super::cli::{
    Amount, Command, Mixed, Pairs, Put, Range, Size, TxnMixed, TxnPut, Watch, WatchLatency,
};
use super::drive::{Load, drive};
use super::keys::Keys;
use super::stint::{Stint, Terms};
use super::tally::Tally;
use super::target::Target;
use super::watch::{EVENTS, Fan, MADE, PUTS, Unsynced, Watched};
use super::work::{KeepAlive, Lines, Op, Script, is_read};
use crate::tool::Failure;

/// How long a lease lives that is kept alive, in seconds; etcd's tool has the same.
const LEASE_TTL_SECONDS: i64 = 100;
/// A key before all others, or an end behind them.
const EDGE: &[u8] = b"\0";
/// Bytes of the values of `watch`, which hold when they were put.
const WATCH_VALUE_BYTES: usize = 32;

/// What to do.
#[derive(Clone)]
pub(super) enum Job {
    /// Requests that follow from the turn.
    Ask(Arc<Lines>),
    /// Leases are kept alive.
    KeepAlive,
    /// Puts, and watches of them.
    Fan(Fan),
    /// Watches of the past, and reads.
    Unsynced(Unsynced),
}

/// What to do, what its tracks are called, and for how long.
pub(super) struct Plan {
    pub(super) job: Job,
    pub(super) tracks: &'static [&'static str],
    pub(super) terms: Terms,
}

impl Plan {
    /// What a command means.
    pub(super) fn of(command: &Command, size: &Size) -> Result<Self, Failure> {
        let (job, tracks, (total, rate)): (Job, &[&str], _) = match command {
            Command::Put(words) => (put(words)?, &["put"], words.amount.of()),
            Command::Range(words) => (range(words)?, &["range"], words.amount.of()),
            Command::TxnPut(words) => (txn_put(words)?, &["txn-put"], words.amount.of()),
            Command::TxnMixed(words) => (txn_mixed(words)?, &MIXED, words.mixed.amount.of()),
            Command::Mixed(words) => (mixed(words)?, &MIXED, words.amount.of()),
            Command::LeaseKeepalive(words) => {
                check_none(&words.words)?;
                (Job::KeepAlive, &["keep-alive"], words.amount.of())
            }
            Command::Watch(words) => (watch(words)?, &FAN, (words.put_total, words.put_rate)),
            Command::WatchLatency(words) => {
                (watch_latency(words)?, &FAN, (words.put_total, words.put_rate))
            }
            Command::WatchGet(words) => {
                check_none(&words.words)?;
                check_some("watchers", words.watchers)?;
                check_some("streams", words.streams)?;
                let (watches, streams) = (words.watchers as usize, words.streams as usize);
                let job = Job::Unsynced(Unsynced { watches, streams, events: words.events });
                (job, &["get"], (0, 0))
            }
            Command::Options(_) | Command::Help(_) => return Err(Failure::told()),
        };
        let some = |number: u64| (number > 0).then_some(number);
        let lasts = Some(size.duration).filter(|duration| !duration.is_zero());
        Ok(Self {
            job,
            tracks,
            terms: Terms { total: some(total), lasts, rate: some(rate), ..Terms::default() },
        })
    }
}

/// The tracks of reads and writes.
const MIXED: [&str; 2] = ["read", "write"];
/// The tracks of a fan-out, by their numbers.
const FAN: [&str; 3] = {
    let mut names = [""; 3];
    names[MADE] = "watch creation";
    names[PUTS] = "put";
    names[EVENTS] = "event";
    names
};

impl Job {
    /// Does it; what each track saw.
    pub(super) fn run(
        &self,
        target: &Arc<Target>,
        load: &Load,
        stint: &Arc<Stint>,
    ) -> Outcome<Vec<Tally>> {
        match self {
            Self::Ask(lines) => {
                let lines = lines.clone();
                drive(target, load, stint, move |line, _| Script::new(line, &lines))
            }
            Self::KeepAlive => {
                drive(target, load, stint, |line, _| KeepAlive::new(line, 1, LEASE_TTL_SECONDS))
            }
            Self::Fan(fan) => fan.drive(target, load, stint),
            Self::Unsynced(unsynced) => {
                unsynced.drive(target, load, stint).map(|(tally, _)| vec![tally])
            }
        }
    }
}

impl Plan {
    /// How many at a time.
    pub(super) fn load(&self, size: &Size) -> Result<Load, Failure> {
        check_some("clients", size.clients)?;
        check_some("conns", size.conns)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if size.threads == 0 { processors } else { size.threads as usize };
        let connections = match self.job {
            // They are for streams of watches, whatever the writers.
            Job::Fan(_) | Job::Unsynced(_) => size.conns,
            // Without a client they would only be there.
            Job::Ask(_) | Job::KeepAlive => size.conns.min(size.clients),
        };
        let (clients, connections) = (size.clients as usize, connections as usize);
        Ok(Load { clients, connections, threads, tracks: self.tracks.len() })
    }
}

impl Amount {
    fn of(&self) -> (u64, u64) {
        (self.total, self.rate)
    }
}

impl Pairs {
    fn keys(&self) -> Result<Keys, Failure> {
        check_some("key-space-size", self.key_space_size)?;
        keys(self.key_size, self.key_space_size, self.sequential_keys)
    }

    fn value(&self) -> Bytes {
        filled(self.val_size as usize)
    }
}

fn keys(key_size: u64, count: u64, is_sequential: bool) -> Result<Keys, Failure> {
    let keys = Keys::varint(key_size as usize, count).map_err(Failure::words)?;
    Ok(keys.sequential(is_sequential))
}

/// Bytes that a compression would make nothing of.
fn filled(bytes: usize) -> Bytes {
    let words = (0..bytes.div_ceil(8) as u64).flat_map(|at| super::spread(at).to_le_bytes());
    words.take(bytes).collect()
}

fn put(words: &Put) -> Result<Job, Failure> {
    check_none(&words.words)?;
    let (keys, value) = (words.pairs.keys()?, words.pairs.value());
    Ok(Job::Ask(Arc::new(move |turn| (0, Op::Put(put_of(keys.at(turn), &value))))))
}

fn put_of(key: Bytes, value: &Bytes) -> PutRequest {
    PutRequest { key, value: value.clone(), ..PutRequest::default() }
}

fn range(words: &Range) -> Result<Job, Failure> {
    let bytes = |word: &OsString| Bytes::copy_from_slice(OsStr::as_bytes(word));
    let (key, range_end) = match words.words.as_slice() {
        [key] => (bytes(key), Bytes::new()),
        [key, end] => (bytes(key), bytes(end)),
        _ => return Err(Failure::words("range takes a key and at most an end")),
    };
    let request = RangeRequest {
        key,
        range_end,
        limit: words.limit,
        serializable: is_serializable(&words.consistency)?,
        count_only: words.count_only,
        ..RangeRequest::default()
    };
    Ok(Job::Ask(Arc::new(move |_| (0, Op::Range(request.clone(), None)))))
}

fn is_serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "l" => Ok(false),
        "s" => Ok(true),
        other => Err(Failure::words(format!("--consistency is l or s, not {other}"))),
    }
}

fn txn_put(words: &TxnPut) -> Result<Job, Failure> {
    check_none(&words.words)?;
    check_some("txn-ops", words.txn_ops)?;
    if words.txn_ops > words.pairs.key_space_size {
        return Err(Failure::words(
            "a transaction puts a key once: --txn-ops is at most \
            --key-space-size",
        ));
    }
    // A key of its own for each put of a transaction, as etcd's tool has it.
    let (keys, value, ops) = (words.pairs.keys()?, words.pairs.value(), words.txn_ops);
    Ok(Job::Ask(Arc::new(move |turn| {
        let key = |op| keys.name((turn * ops + op) % keys.count());
        let put = |op| Request::RequestPut(put_of(key(op), &value));
        (0, Op::Txn(all_of((0..ops).map(put))))
    })))
}

fn all_of(requests: impl Iterator<Item = Request>) -> TxnRequest {
    let success = requests.map(|request| RequestOp { request: Some(request) }).collect();
    TxnRequest { success, ..TxnRequest::default() }
}

/// Reads of one key, and puts.
fn mixed(words: &Mixed) -> Result<Job, Failure> {
    let keys = words.pairs.keys()?;
    let serializable = is_serializable(&words.consistency)?;
    let read = move |turn| {
        let request = RangeRequest { key: keys.at(turn), serializable, ..RangeRequest::default() };
        Op::Range(request, None)
    };
    mix(words, read, Op::Put)
}

/// Ranges from the first key on, and puts, each in a transaction.
fn txn_mixed(words: &TxnMixed) -> Result<Job, Failure> {
    let range_end = match words.end_key.as_str() {
        "" => Bytes::from_static(EDGE),
        end => Bytes::copy_from_slice(end.as_bytes()),
    };
    let (key, limit) = (Bytes::from_static(EDGE), words.limit);
    let serializable = is_serializable(&words.mixed.consistency)?;
    let range = RangeRequest { key, range_end, limit, serializable, ..RangeRequest::default() };
    let once = |request| Op::Txn(all_of(std::iter::once(request)));
    let read = move |_| once(Request::RequestRange(range.clone()));
    mix(&words.mixed, read, move |put| once(Request::RequestPut(put)))
}

/// So many reads for each put, in a random order.
fn mix(
    words: &Mixed,
    read: impl Fn(u64) -> Op + Send + Sync + 'static,
    write: impl Fn(PutRequest) -> Op + Send + Sync + 'static,
) -> Result<Job, Failure> {
    check_none(&words.words)?;
    let (keys, value, ratio) = (words.pairs.keys()?, words.pairs.value(), words.rw_ratio);
    Ok(Job::Ask(Arc::new(move |turn| match is_read(turn, ratio) {
        true => (0, read(turn)),
        false => (1, write(put_of(keys.at(turn), &value))),
    })))
}

fn watch(words: &Watch) -> Result<Job, Failure> {
    check_none(&words.words)?;
    check_some("watched-key-total", words.watched_key_total)?;
    fan(Fan {
        streams: words.streams as usize,
        watches: words.watch_per_stream as usize,
        watched: Watched::Each,
        keys: keys(words.key_size, words.watched_key_total, words.sequential_keys)?,
        prev_kv: false,
        value_bytes: WATCH_VALUE_BYTES,
        is_closed: false,
    })
}

fn watch_latency(words: &WatchLatency) -> Result<Job, Failure> {
    check_none(&words.words)?;
    fan(Fan {
        streams: words.streams as usize,
        watches: words.watchers_per_stream as usize,
        watched: Watched::Each,
        keys: keys(words.key_size, 1, true)?,
        prev_kv: words.prevkv,
        value_bytes: words.val_size as usize,
        is_closed: false,
    })
}

fn fan(fan: Fan) -> Result<Job, Failure> {
    check_some("streams", fan.streams as u64)?;
    check_some("watches on each", fan.watches as u64)?;
    fan.check().map_err(Failure::words)?;
    Ok(Job::Fan(fan))
}

fn check_some(flag: &str, number: u64) -> Result<(), Failure> {
    if number > 0 { Ok(()) } else { Err(Failure::words(format!("--{flag} is at least 1"))) }
}

fn check_none(words: &[OsString]) -> Result<(), Failure> {
    match words.first() {
        None => Ok(()),
        Some(word) => Err(Failure::words(format!("{} is no flag", word.to_string_lossy()))),
    }
}
