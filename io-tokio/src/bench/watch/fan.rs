//! Watch fan-out: few writers, many watchers.
//!
//! ```text
//! writer w: put a key, stamped with w and the time ──> all who watch it have seen it ──> next put
//! ```
//!
//! Where writers wait for their slowest watcher, events under way are bounded, and the lag of each
//! means something. Lag is from the call of the put to the event's arrival. Connections that break
//! are not replaced: events would be missing all the same.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchResponse};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::Status;

use super::stream::{Watching, watch_of};
use crate::bench::drive::{Load, all_of, on_threads};
use crate::bench::keys::Keys;
use crate::bench::stint::{Meeting, Stint};
use crate::bench::tally::{Tally, sum_tracks};
use crate::bench::target::Target;
use crate::bench::{Line, Outcome};
use crate::client::told;

/// The track of watches that were made.
pub const MADE: usize = 0;
/// The track of puts.
pub const PUTS: usize = 1;
/// The track of events.
pub const EVENTS: usize = 2;
const TRACKS: usize = 3;

/// How long events may be under way.
const DELIVERY_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether all have come.
const DELIVERY_INTERVAL: Duration = Duration::from_millis(10);
/// How long a writer rests when a put failed.
const FAILURE_INTERVAL: Duration = Duration::from_millis(100);
/// What a stamp takes of a value.
const STAMP_BYTES: usize = 16;

/// What watches are of.
#[derive(Clone, Debug)]
pub enum Watched {
    /// Each of all keys before that end.
    Range(Bytes, Bytes),
    /// The first of the first key, and so on, and then of the first again.
    Each,
}

/// Watchers and writers.
#[derive(Clone, Debug)]
pub struct Fan {
    /// Streams.
    pub streams: usize,
    /// Watches on each.
    pub watches: usize,
    /// What they are of.
    pub watched: Watched,
    /// The keys that writers put, and that watches are of.
    pub keys: Keys,
    /// Whether events shall have the value before.
    pub prev_kv: bool,
    /// Bytes of every value.
    pub value_bytes: usize,
    /// Whether writers wait until their event has come to all.
    pub is_closed: bool,
}

/// What all tasks of one run share.
struct Shared {
    fan: Fan,
    stint: Arc<Stint>,
    epoch: Instant,
    writers: Vec<Writer>,
    /// Events that have to come, and that came.
    expected: AtomicU64,
    seen: AtomicU64,
}

/// What a writer's last put still lacks.
#[derive(Default)]
struct Writer {
    missing: AtomicU64,
    done: Notify,
}

impl Fan {
    /// Whether it can be run.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Outcome<()> {
        if self.value_bytes < STAMP_BYTES {
            let least = format!("at least {STAMP_BYTES} bytes");
            return Err(format!("values hold the time of their put: {least} of them are needed"));
        }
        Ok(())
    }

    /// How many watches there are of a key.
    fn watches_of(&self, number: u64) -> u64 {
        let all = (self.streams * self.watches) as u64;
        match self.watched {
            Watched::Range(..) => all,
            Watched::Each => all / self.keys.count() + u64::from(number < all % self.keys.count()),
        }
    }

    fn request(&self, number: u64) -> WatchCreateRequest {
        let (key, range_end) = match &self.watched {
            Watched::Range(key, range_end) => (key.clone(), range_end.clone()),
            Watched::Each => (self.keys.name(number % self.keys.count()), Bytes::new()),
        };
        WatchCreateRequest { prev_kv: self.prev_kv, ..watch_of(key, range_end) }
    }

    /// Runs watchers and writers, which are the load's clients, until the stint is over; what each
    /// track saw.
    ///
    /// # Errors
    /// A server cannot be reached.
    pub fn drive(
        &self,
        target: &Arc<Target>,
        load: &Load,
        stint: &Arc<Stint>,
    ) -> Outcome<Vec<Tally>> {
        self.check()?;
        let shared = Arc::new(Shared {
            fan: self.clone(),
            stint: stint.clone(),
            epoch: Instant::now(),
            writers: (0..load.clients).map(|_| Writer::default()).collect(),
            expected: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        });
        let threads = load.busy_threads();
        let seen = on_threads(threads, stint, async |thread| {
            let tallies = Rc::new(RefCell::new(vec![Tally::default(); TRACKS]));
            let part = Part { thread, threads, shared: shared.clone(), tallies: tallies.clone() };
            let running = part.run(target, load);
            stint.unless_stopped(running).await.unwrap_or(Ok(()))?;
            Ok(tallies.take())
        })?;
        Ok(sum_tracks(TRACKS, seen))
    }
}

/// One thread's part of it.
#[derive(Clone)]
struct Part {
    thread: usize,
    threads: usize,
    shared: Arc<Shared>,
    tallies: Rc<RefCell<Vec<Tally>>>,
}

impl Part {
    async fn run(&self, target: &Target, load: &Load) -> Outcome<()> {
        let numbers = |all: usize| (self.thread..all).step_by(self.threads);
        let mut lines = Vec::new();
        for number in numbers(load.connections) {
            lines.push(target.line(number).await?);
        }
        // Puts do not queue up behind events.
        let writing = target.line(self.thread).await?;
        let mut watchers = JoinSet::new();
        for (number, stream) in numbers(self.shared.fan.streams).enumerate() {
            let (part, line) = (self.clone(), lines[number % lines.len()].clone());
            watchers.spawn_local(async move { part.watch(&line, stream).await });
        }
        let mut writers = JoinSet::new();
        for number in numbers(load.clients) {
            let (part, line) = (self.clone(), writing.clone());
            writers.spawn_local(async move {
                part.meet(Meeting::Ready).await;
                part.write(&line, number).await;
                Ok(())
            });
        }
        let delivered = async {
            all_of(&mut writers).await?;
            self.meet(Meeting::Sent).await;
            Ok::<_, String>(self.shared.wait_for_events().await)
        };
        tokio::select! {
            biased;
            // A watcher ends only where the server refuses it, or shows what nobody put.
            ended = all_of(&mut watchers), if !watchers.is_empty() => ended,
            missing = delivered => {
                let missing = missing?;
                if missing > 0 && self.thread == 0 {
                    let kind = format!("events did not come within {DELIVERY_MAX:?}");
                    self.tallies.borrow_mut()[EVENTS].fail_as(&kind, missing);
                }
                Ok(())
            }
        }
    }

    /// Waits for all others: streams and writers at first, threads when they have sent everything.
    async fn meet(&self, at: Meeting) {
        let count = match at {
            Meeting::Ready => self.shared.fan.streams + self.shared.writers.len(),
            Meeting::Sent => self.threads,
        };
        self.shared.stint.meet(at, count).await;
    }

    /// Makes a stream's watches, and then notes what comes.
    async fn watch(&self, line: &Line, stream: usize) -> Outcome<()> {
        let fan = &self.shared.fan;
        let mut watching = None;
        for watch in 0..fan.watches {
            let number = (stream * fan.watches + watch) as u64;
            let called = Instant::now();
            let request = fan.request(number);
            match &mut watching {
                None => watching = Some(Watching::open(line, request).await.map_err(text)?),
                Some(watching) => watching.add(request).await.map_err(text)?,
            }
            let now = Instant::now();
            let since_begin = now - self.shared.epoch;
            self.tallies.borrow_mut()[MADE].succeed(now - called, since_begin);
        }
        self.meet(Meeting::Ready).await;
        let Some(mut watching) = watching else { return std::future::pending().await };
        loop {
            match watching.next().await {
                Ok(answer) => self.note(&answer)?,
                Err(status) => {
                    self.tallies.borrow_mut()[EVENTS].fail(&status);
                    // Others go on; that events are missing is noted in the end.
                    return std::future::pending().await;
                }
            }
        }
    }

    fn note(&self, answer: &WatchResponse) -> Outcome<()> {
        for event in &answer.events {
            let stamp = event.kv.as_ref().and_then(|kv| parse_stamp(&kv.value));
            let (writer, called) = stamp.ok_or("an event without a stamp")?;
            let now = Instant::now();
            if let Some(since_begin) = self.shared.stint.counted(now) {
                let lag = (now - self.shared.epoch).saturating_sub(called);
                self.tallies.borrow_mut()[EVENTS].succeed(lag, since_begin);
            }
            self.shared.seen.fetch_add(1, Ordering::Relaxed);
            let writer = self.shared.writers.get(writer).ok_or("an event of nobody's")?;
            if writer.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
                writer.done.notify_one();
            }
        }
        Ok(())
    }

    async fn write(&self, line: &Line, number: usize) {
        let Shared { fan, stint, epoch, .. } = &*self.shared;
        let mut kv = line.kv();
        while let Some(turn) = stint.turn().await {
            let key_number = fan.keys.number_at(turn);
            let watches = fan.watches_of(key_number);
            self.shared.expected.fetch_add(watches, Ordering::Relaxed);
            self.shared.writers[number].missing.store(watches, Ordering::Relaxed);
            let called = Instant::now();
            let value = stamp(number, called - *epoch, fan.value_bytes);
            let key = fan.keys.name(key_number);
            let put = kv.put(PutRequest { key, value, ..PutRequest::default() }).await;
            let answered = Instant::now();
            let since_begin = stint.counted(answered);
            match put {
                Ok(_) => {
                    if let Some(since_begin) = since_begin {
                        let tally = &mut self.tallies.borrow_mut()[PUTS];
                        tally.succeed(answered - called, since_begin);
                    }
                    if fan.is_closed && watches > 0 {
                        self.wait_for_all(number).await;
                    }
                }
                Err(status) => {
                    self.tallies.borrow_mut()[PUTS].fail(&status);
                    self.shared.expected.fetch_sub(watches, Ordering::Relaxed);
                    tokio::time::sleep(FAILURE_INTERVAL).await;
                }
            }
        }
    }

    async fn wait_for_all(&self, number: usize) {
        let done = self.shared.writers[number].done.notified();
        if tokio::time::timeout(DELIVERY_MAX, done).await.is_err() {
            let missing = self.shared.writers[number].missing.swap(0, Ordering::Relaxed);
            self.shared.expected.fetch_sub(missing, Ordering::Relaxed);
            let kind = format!("events did not come within {DELIVERY_MAX:?}");
            self.tallies.borrow_mut()[EVENTS].fail_as(&kind, missing);
        }
    }
}

impl Shared {
    /// Waits for events, as long as some come; how many are missing in the end.
    async fn wait_for_events(&self) -> u64 {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let seen = self.seen.load(Ordering::Relaxed);
            let missing = self.expected.load(Ordering::Relaxed).saturating_sub(seen);
            if seen != last {
                (last, since) = (seen, Instant::now());
            }
            if missing == 0 || since.elapsed() > DELIVERY_MAX {
                return missing;
            }
            tokio::time::sleep(DELIVERY_INTERVAL).await;
        }
    }
}

fn text(status: Status) -> String {
    told(&status)
}

fn stamp(writer: usize, called: Duration, bytes: usize) -> Bytes {
    let mut value = vec![b'v'; bytes.max(STAMP_BYTES)];
    value[..8].copy_from_slice(&(writer as u64).to_be_bytes());
    value[8..STAMP_BYTES].copy_from_slice(&(called.as_nanos() as u64).to_be_bytes());
    value.into()
}

fn parse_stamp(value: &[u8]) -> Option<(usize, Duration)> {
    let (writer, rest) = value.split_first_chunk()?;
    let (nanos, _) = rest.split_first_chunk()?;
    let writer = usize::try_from(u64::from_be_bytes(*writer)).ok()?;
    Some((writer, Duration::from_nanos(u64::from_be_bytes(*nanos))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back() {
        let value = stamp(3, Duration::from_nanos(123_456_789), 256);
        assert_eq!(value.len(), 256);
        assert_eq!(parse_stamp(&value), Some((3, Duration::from_nanos(123_456_789))));
        assert_eq!(parse_stamp(b"short"), None);
    }

    #[test]
    fn every_watch_is_counted_with_its_key() {
        let fan = Fan {
            streams: 2,
            watches: 5,
            watched: Watched::Each,
            keys: Keys::numbered("k", 4),
            prev_kv: false,
            value_bytes: 32,
            is_closed: true,
        };
        let counts: Vec<u64> = (0..4).map(|number| fan.watches_of(number)).collect();
        assert_eq!(counts, [3, 3, 2, 2]);
        assert_eq!(fan.request(5).key, "k0000000001");
        assert!(Fan { value_bytes: 8, ..fan }.check().is_err());
    }
}
