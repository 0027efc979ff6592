//! Reads beside many watches that begin in the past: each has events to be shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use tokio::task::JoinSet;

use super::stream::{Watching, watch_of};
use crate::bench::drive::{Load, all_of, on_threads};
use crate::bench::stint::{Meeting, Stint};
use crate::bench::tally::Tally;
use crate::bench::target::Target;
use crate::bench::{Line, Outcome};
use crate::client::told;

/// The key that is watched, and one that is read and not there.
const WATCHED: &[u8] = b"watchkey";
const READ: &[u8] = b"abc";

/// So many watches of the past.
#[derive(Clone, Copy, Debug)]
pub struct Unsynced {
    /// Watches in all.
    pub watches: usize,
    /// Streams they share.
    pub streams: usize,
    /// Events that each is shown.
    pub events: u64,
}

impl Unsynced {
    /// Reads serializably until all watches have seen their events; how the reads went, and how
    /// many events were seen.
    ///
    /// # Errors
    /// A server cannot be reached, or says no to what comes before.
    pub fn drive(
        &self,
        target: &Arc<Target>,
        load: &Load,
        stint: &Arc<Stint>,
    ) -> Outcome<(Tally, u64)> {
        let seen = Arc::new(AtomicU64::new(0));
        let mut tallies = on_threads(1, stint, async |_| {
            let mut lines = Vec::new();
            for number in 0..load.connections {
                lines.push(target.line(number).await?);
            }
            let reading = target.line(0).await?;
            let start_revision = self.write(&reading).await?;
            stint.meet(Meeting::Ready, 1).await;
            let mut watchers = JoinSet::new();
            for stream in 0..self.streams {
                let (line, seen) = (lines[stream % lines.len()].clone(), seen.clone());
                let watches =
                    self.watches / self.streams + usize::from(stream < self.watches % self.streams);
                let wanted = watches as u64 * self.events;
                watchers.spawn_local(async move {
                    watch(&line, (start_revision, watches, wanted), &seen).await
                });
            }
            let mut tally = Tally::default();
            let shown = async {
                tokio::select! {
                    biased;
                    ended = all_of(&mut watchers) => ended,
                    () = read(&reading, stint, &mut tally) => Ok(()),
                }
            };
            stint.unless_stopped(shown).await.unwrap_or(Ok(()))?;
            Ok(tally)
        })?;
        Ok((tallies.pop().unwrap_or_default(), seen.load(Ordering::Relaxed)))
    }

    /// Puts what is to be shown; the first revision of it.
    async fn write(&self, line: &Line) -> Outcome<i64> {
        let mut first = 0;
        for number in 0..self.events {
            let (key, value) = (Bytes::from_static(WATCHED), Bytes::from(number.to_string()));
            let put = line.kv().put(PutRequest { key, value, ..PutRequest::default() }).await;
            let header = put.map_err(|status| told(&status))?.into_inner().header;
            if number == 0 {
                first = header.map_or(0, |header| header.revision);
            }
        }
        Ok(first)
    }
}

async fn watch(
    line: &Line,
    (start_revision, watches, wanted): (i64, usize, u64),
    all_seen: &AtomicU64,
) -> Outcome<()> {
    let key = Bytes::from_static(WATCHED);
    let request = || WatchCreateRequest { start_revision, ..watch_of(key.clone(), Bytes::new()) };
    if watches == 0 {
        return Ok(());
    }
    let told = |status| told(&status);
    let mut watching = Watching::open(line, request()).await.map_err(told)?;
    for _ in 1..watches {
        watching.add(request()).await.map_err(told)?;
    }
    let mut seen = 0;
    while seen < wanted {
        let events = watching.next().await.map_err(told)?.events.len() as u64;
        all_seen.fetch_add(events, Ordering::Relaxed);
        seen += events;
    }
    Ok(())
}

async fn read(line: &Line, stint: &Stint, tally: &mut Tally) {
    let mut kv = line.kv();
    while stint.turn().await.is_some() {
        let (key, called) = (Bytes::from_static(READ), Instant::now());
        let request = RangeRequest { key, serializable: true, ..RangeRequest::default() };
        let answer = kv.range(request).await;
        let now = Instant::now();
        match (answer, stint.counted(now)) {
            (Ok(_), Some(since_begin)) => tally.succeed(now - called, since_begin),
            (Ok(_), None) => {}
            (Err(status), _) => tally.fail(&status),
        }
    }
}
