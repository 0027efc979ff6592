//! `check`: how fast a cluster is, and how much memory keys take.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures_util::stream::{self, StreamExt as _};
use quorate_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest,
};
use rand::RngExt as _;

use super::client::{Client, Line, Repeat};
use super::get::prefix_range;
use super::{Session, metrics, signals};
use crate::tool::quote::quote;
use crate::tool::{self, Failure};

/// How long the speed is tried.
const PERF_SECONDS: u32 = 60;
/// How long cleaning up may take.
const CLEANUP_MAX: Duration = Duration::from_secs(30);
/// Seconds the slowest request may take, and by which times may differ.
const SLOWEST_SECONDS_MAX: f64 = 0.5;
const DEVIATION_SECONDS_MAX: f64 = 0.1;
/// The part of the requests that must be done in time.
const THROUGHPUT_MIN: f64 = 0.9;

/// What to try.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Tries for a minute how fast the cluster is
    Perf {
        /// how much to ask for: s(mall), m(edium), l(arge), xl(arge)
        #[arg(long, default_value = "s")]
        load: String,
        /// what the keys begin with that are written
        #[arg(long, default_value = "/etcdctl-check-perf/")]
        prefix: String,
        #[command(flatten)]
        after: After,
        #[arg(value_name = "[options]")]
        words: Vec<OsString>,
    },
    /// Tries how much memory keys take on an endpoint
    ///
    /// If there are several endpoints, the first one is asked.
    Datascale {
        /// how much to write: s(mall), m(edium), l(arge), xl(arge)
        #[arg(long, default_value = "s")]
        load: String,
        /// what the keys begin with that are written
        #[arg(long, default_value = "/etcdctl-check-datascale/")]
        prefix: String,
        #[command(flatten)]
        after: After,
        #[arg(value_name = "[options]")]
        words: Vec<OsString>,
    },
}

/// What to do when the keys are deleted again.
#[derive(Args, Debug)]
pub(super) struct After {
    /// forget their history
    #[arg(long)]
    auto_compact: bool,
    /// give their space back
    #[arg(long)]
    auto_defrag: bool,
}

/// Does it.
pub(super) async fn run(words: Words, session: &Session) -> Result<(), Failure> {
    match words {
        Words::Perf { load, prefix, after, .. } => perf(&load, &prefix, &after, session).await,
        Words::Datascale { load, prefix, after, .. } => {
            datascale(&load, &prefix, &after, session).await
        }
    }
}

/// One of four sizes.
fn sized<T>(load: &str, sizes: [T; 4]) -> Result<T, Failure> {
    let size = match load {
        "s" | "small" => 0,
        "m" | "medium" => 1,
        "l" | "large" => 2,
        "xl" | "xLarge" => 3,
        _ => return Err(Failure::feature(format!("unknown load option {load}"))),
    };
    let mut sizes = sizes.into_iter();
    sizes.nth(size).ok_or_else(|| Failure::feature("unknown load option"))
}

/// Many connections to one cluster, and the keys below a prefix.
struct Trial {
    clients: Vec<Client>,
    prefix: String,
}

impl Trial {
    async fn start(count: usize, prefix: &str, session: &Session) -> Result<Self, Failure> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(session.client().await?);
        }
        let (key, range_end) = prefix_range(Bytes::copy_from_slice(prefix.as_bytes()));
        let request = RangeRequest { key, range_end, limit: 1, ..RangeRequest::default() };
        let asked = async |line: Line| line.kv().range(request.clone()).await;
        let found = clients[0].call(None, Repeat::IfLost, asked).await?;
        if !found.kvs.is_empty() {
            return Err(Failure::input(format!(
                "prefix {} has keys. Delete with 'etcdctl del --prefix {prefix}' first",
                quote(prefix.as_bytes())
            )));
        }
        Ok(Self { clients, prefix: prefix.to_owned() })
    }

    /// Puts one key after the other on each connection, as they come.
    async fn put_all(
        &self,
        keys: impl stream::Stream<Item = ()>,
        (key_bytes, value_bytes): (usize, usize),
    ) -> Results {
        let started = Instant::now();
        let value = Bytes::from(vec![0; value_bytes]);
        let free = std::cell::RefCell::new((0..self.clients.len()).collect::<Vec<_>>());
        let results = std::cell::RefCell::new(Results::default());
        keys.for_each_concurrent(self.clients.len(), async |()| {
            let place = free.borrow_mut().pop().unwrap_or(0);
            let mut key = self.prefix.clone().into_bytes();
            let filled = key.len() + key_bytes;
            key.extend(rand::rng().random::<u64>().to_be_bytes());
            key.resize(filled, 0);
            let request =
                PutRequest { key: key.into(), value: value.clone(), ..Default::default() };
            let began = Instant::now();
            let asked = async |line: Line| line.kv().put(request.clone()).await;
            let answer = self.clients[place].call(None, Repeat::Never, asked).await;
            free.borrow_mut().push(place);
            let mut results = results.borrow_mut();
            match answer {
                Ok(_) => results.seconds.push(began.elapsed().as_secs_f64()),
                Err(trouble) => *results.errors.entry(trouble.to_string()).or_default() += 1,
            }
        })
        .await;
        Results { took: started.elapsed().as_secs_f64(), ..results.into_inner() }
    }

    /// Deletes the keys; at which revision.
    async fn delete_all(&self) -> Result<i64, Failure> {
        let (key, range_end) = prefix_range(Bytes::copy_from_slice(self.prefix.as_bytes()));
        let request = DeleteRangeRequest { key, range_end, prev_kv: false };
        let asked = async |line: Line| line.kv().delete_range(request.clone()).await;
        let deleted = self.clients[0].call(Some(CLEANUP_MAX), Repeat::Never, asked).await?;
        Ok(deleted.header.map_or(0, |header| header.revision))
    }

    /// What is to be done when they are deleted.
    async fn finish(&self, revision: i64, after: &After) -> Result<(), Failure> {
        if after.auto_compact {
            tool::print(format!("Compacting with revision {revision}\n").as_bytes())?;
            let request = CompactionRequest { revision, physical: true };
            let asked = async |line: Line| line.kv().compact(request).await;
            self.clients[0].call(Some(CLEANUP_MAX), Repeat::Never, asked).await?;
            tool::print(format!("Compacted with revision {revision}\n").as_bytes())?;
        }
        if !after.auto_defrag {
            return Ok(());
        }
        for endpoint in self.clients[0].endpoints() {
            let shown = quote(endpoint.as_bytes());
            tool::print(format!("Defragmenting {shown}\n").as_bytes())?;
            let client = self.clients[0].at(endpoint);
            let asked =
                async |line: Line| line.maintenance().defragment(DefragmentRequest {}).await;
            client.call(Some(CLEANUP_MAX), Repeat::Never, asked).await?;
            tool::print(format!("Defragmented {shown}\n").as_bytes())?;
        }
        Ok(())
    }
}

/// How it went.
#[derive(Debug, Default)]
struct Results {
    seconds: Vec<f64>,
    errors: BTreeMap<String, u64>,
    took: f64,
}

impl Results {
    /// Errors, each a line.
    fn errors(&self) -> String {
        let line = |(text, count): (&String, &u64)| format!("FAIL: ERROR({text}) -> {count}\n");
        let lines: String = self.errors.iter().map(line).collect();
        if lines.is_empty() { lines } else { format!("FAIL: too many errors\n{lines}") }
    }

    /// What is said about the speed, and whether it is enough.
    fn judge(&self, limit: u32) -> (String, bool) {
        let count = self.seconds.len() as f64;
        let rate = if self.took > 0.0 { count / self.took } else { 0.0 };
        let slowest = self.seconds.iter().copied().fold(0.0, f64::max);
        let average = self.seconds.iter().sum::<f64>() / count.max(1.0);
        let squares = self.seconds.iter().map(|it| (it - average) * (it - average));
        let deviation = (squares.sum::<f64>() / count.max(1.0)).sqrt();
        let whole = rate as u64 + 1;
        let is_fast = rate / f64::from(limit) > THROUGHPUT_MIN;
        let is_steady = slowest <= SLOWEST_SECONDS_MAX;
        let is_even = deviation <= DEVIATION_SECONDS_MAX;
        let either = |is_well, well: String, ill: String| if is_well { well } else { ill };
        let mut text = self.errors();
        text += &either(
            is_fast,
            format!("PASS: Throughput is {whole} writes/s\n"),
            format!("FAIL: Throughput too low: {whole} writes/s\n"),
        );
        text += &either(
            is_steady,
            format!("PASS: Slowest request took {slowest:.6}s\n"),
            format!("Slowest request took too long: {slowest:.6}s\n"),
        );
        text += &either(
            is_even,
            format!("PASS: Stddev is {deviation:.6}s\n"),
            format!("Stddev too high: {deviation:.6}s\n"),
        );
        let is_well = self.errors.is_empty() && is_fast && is_steady && is_even;
        (text + if is_well { "PASS\n" } else { "FAIL\n" }, is_well)
    }
}

async fn perf(load: &str, prefix: &str, after: &After, session: &Session) -> Result<(), Failure> {
    let (limit, clients) = sized(load, [(150, 50), (1_000, 200), (8_000, 500), (15_000, 1_000)])?;
    let trial = Trial::start(clients, prefix, session).await?;
    let mut ended = signals::ended()?;
    eprintln!("writing {limit} keys a second for {PERF_SECONDS} seconds");
    let ticks = tokio::time::interval(Duration::from_secs(1) / limit);
    let ticks = stream::unfold(ticks, async |mut ticks| {
        ticks.tick().await;
        Some(((), ticks))
    });
    let until = tokio::time::sleep(Duration::from_secs(u64::from(PERF_SECONDS)));
    let tried = tokio::select! {
        biased;
        () = ended.wait() => None,
        results = trial.put_all(ticks.take_until(until), (256, 1_024)) => Some(results),
    };
    match trial.delete_all().await {
        Ok(revision) => trial.finish(revision, after).await?,
        Err(failure) => {
            let text =
                format!("FAIL: Cleanup failed during key deletion: ERROR({})\n", failure.text);
            tool::print(text.as_bytes())?;
        }
    }
    let Some(results) = tried else { return Err(Failure::interrupted("interrupted")) };
    let (text, is_well) = results.judge(limit);
    tool::print(text.as_bytes())?;
    if is_well { Ok(()) } else { Err(Failure::told()) }
}

async fn datascale(
    load: &str,
    prefix: &str,
    after: &After,
    session: &Session,
) -> Result<(), Failure> {
    let sizes = [(10_000, 50), (100_000, 200), (1_000_000, 500), (3_000_000, 1_000)];
    let (keys, clients) = sized(load, sizes)?;
    let trial = Trial::start(clients, prefix, session).await?;
    let client = &trial.clients[0];
    let endpoint = client.endpoints().next().unwrap_or_default();
    let resident = async |when: &str| {
        let page = metrics::fetch(client.way(), endpoint, session.globals.command_timeout).await;
        let bytes = page.map(|page| page.sum("process_resident_memory_bytes"));
        bytes.ok().filter(|bytes| *bytes > 0.0).ok_or_else(|| {
            // As etcdctl has it: on standard output.
            let _ = tool::print(
                format!(
                    "FAIL: Could not read process_resident_memory_bytes {when} the put \
                     operations.\n"
                )
                .as_bytes(),
            );
            Failure::told()
        })
    };
    let before = resident("before").await?;
    tool::print(
        format!(
            "Start data scale check for work load [{keys} key-value pairs, 1024 bytes per \
             key-value, {clients} concurrent clients].\n"
        )
        .as_bytes(),
    )?;
    let results = trial.put_all(stream::iter((0..keys).map(|_| ())), (512, 512)).await;
    let used = resident("after").await? - before;
    let revision = trial.delete_all().await?;
    trial.finish(revision, after).await?;
    let errors = results.errors();
    if !errors.is_empty() {
        tool::print(errors.as_bytes())?;
        return Err(Failure::told());
    }
    let megabytes = used / (1024.0 * 1024.0);
    let text = format!("PASS: Approximate system memory used : {megabytes:.2} MB.\n");
    tool::print(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_judged_by_rate_slowest_and_deviation() {
        let results = Results { seconds: vec![0.01; 600], errors: BTreeMap::new(), took: 4.0 };
        let (text, is_well) = results.judge(150);
        assert!(is_well);
        assert_eq!(
            text,
            "PASS: Throughput is 151 writes/s\nPASS: Slowest request took 0.010000s\n\
             PASS: Stddev is 0.000000s\nPASS\n"
        );
        let errors = BTreeMap::from([("no".to_owned(), 2)]);
        let results = Results { seconds: vec![0.0, 0.7], errors, took: 1.0 };
        let (text, is_well) = results.judge(150);
        assert!(!is_well);
        assert_eq!(
            text,
            "FAIL: too many errors\nFAIL: ERROR(no) -> 2\nFAIL: Throughput too low: 3 writes/s\n\
             Slowest request took too long: 0.700000s\nStddev too high: 0.350000s\nFAIL\n"
        );
    }
}
