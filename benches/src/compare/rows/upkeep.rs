//! W14: compaction of a long history, defragmentation of a large store and a snapshot of it, each
//! while others put.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_io_tokio::bench::work::{Lines, Op};
use quorate_io_tokio::bench::{Keys, Line};
use quorate_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, PutRequest, RangeRequest, SnapshotRequest, StatusRequest,
};

use super::Stage;
use crate::Outcome;
use crate::data::{ask_all, make_revisions, value};
use crate::figure::Metric;
use crate::paced::{Waits, calm, during};
use crate::row::Row;
use crate::servers::Group;

/// Values that make a store large, and keys that have them over and over.
const LARGE_BYTES: usize = 256 << 10;
const LARGE_KEYS: u64 = 64;
/// Those who put them.
const LARGE_CLIENTS: usize = 4;
/// How long a server that defragments in the background may take.
const DEFRAGMENTED_WITHIN: Duration = Duration::from_secs(120);
/// How often it is asked.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let (group, sizes) = (stage.start()?, stage.sizes());
    stage.say("fills");
    fill_large(&group, sizes.store_mib)?;
    make_revisions(&group, sizes.revisions)?;
    stage.say("puts");
    let before = calm(&group, sizes.calm_windows, sizes.measured)?;
    // A disk has moments of its own.
    stage.note(Row::W14, "nothing beside them", Metric::P99, before.p99);
    stage.note(Row::W14, "nothing beside them", Metric::Longest, before.longest);
    let mut disturb = |what: String, work: &(dyn Fn() -> Outcome<()> + Sync)| {
        stage.say(&what);
        let (with, took) = during(&group, sizes.measured, work)?;
        note(stage, &what, (&before, &with), took);
        Outcome::Ok(())
    };
    disturb(format!("snapshot of {} MiB", sizes.store_mib), &|| group.ask(save))?;
    disturb(format!("{} revisions compacted", sizes.revisions), &|| group.ask(compact))?;
    disturb(format!("{} MiB defragmented", sizes.store_mib), &|| defragment(&group))
}

fn note(stage: &mut Stage<'_>, case: &str, (before, with): (&Waits, &Waits), took: Duration) {
    stage.note(Row::W14, case, Metric::P99, with.p99);
    stage.note(Row::W14, case, Metric::Times, with.p99 / before.p99);
    stage.note(Row::W14, case, Metric::Longest, with.longest);
    stage.note(Row::W14, case, Metric::Pause, (with.longest - before.p99) / 1e3);
    stage.note(Row::W14, case, Metric::Seconds, took.as_secs_f64());
}

/// Puts so much into few keys, each many times: what is large is mostly history.
fn fill_large(group: &Group, mib: u64) -> Outcome<()> {
    let keys = Keys::numbered("large/", LARGE_KEYS);
    let lines: Arc<Lines> = Arc::new(move |turn| {
        let (key, value) = (keys.name(turn % LARGE_KEYS), value(turn, LARGE_BYTES));
        (0, Op::Put(PutRequest { key, value, ..PutRequest::default() }))
    });
    ask_all(group, (mib << 20) / LARGE_BYTES as u64, LARGE_CLIENTS, lines)
}

async fn save(line: Line) -> Outcome<()> {
    let mut parts = line.maintenance().snapshot(SnapshotRequest {}).await?.into_inner();
    while parts.message().await?.is_some() {}
    Ok(())
}

/// Everything before the present, and waits until it is done.
pub(super) async fn compact(line: Line) -> Outcome<()> {
    let range = RangeRequest { key: "none".into(), ..RangeRequest::default() };
    let header = line.kv().range(range).await?.into_inner().header.unwrap_or_default();
    let request = CompactionRequest { revision: header.revision, physical: true };
    line.kv().compact(request).await?;
    Ok(())
}

/// Defragments each member and waits until its size shows it.
fn defragment(group: &Group) -> Outcome<()> {
    (0..group.client_addrs.len()).try_for_each(|number| {
        group.ask_at(number, async |line: Line| {
            let mut client = line.maintenance();
            client.defragment(DefragmentRequest {}).await?;
            let begun = Instant::now();
            loop {
                let status = client.status(StatusRequest {}).await?.into_inner();
                if status.db_size <= status.db_size_in_use / 2 * 3 {
                    return Ok(());
                }
                if begun.elapsed() > DEFRAGMENTED_WITHIN {
                    return Err(format!("member {number} has not defragmented: {status:?}").into());
                }
                tokio::time::sleep(STATUS_INTERVAL).await;
            }
        })
    })
}
