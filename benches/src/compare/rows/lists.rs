//! W8: a list of everything, in chunks and by several at once in one piece: how much memory.

use quorate_io_tokio::bench::Line;
use quorate_io_tokio::bench::work::Unread;
use tokio::task::JoinSet;

use super::Stage;
use crate::Outcome;
use crate::data::{self, Fill};
use crate::figure::Metric;
use crate::measure::{mib, peak_rss};
use crate::row::Row;
use crate::servers::Group;

/// Bytes of a value.
const VALUE_BYTES: usize = 4 << 10;
/// Lists in one piece at once.
const UNARY: usize = 5;

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let (group, list_mib) = (stage.start()?, stage.sizes().list_mib);
    stage.say("fills");
    let keys = (list_mib << 20) / VALUE_BYTES as u64;
    Fill::all(data::keys(keys), VALUE_BYTES).run(&group)?;
    // Caches fill with the first reading: what they are for everybody is not the reader's.
    group.ask(async |line| stream(&line, keys).await)?;
    let before = group.rss_kib()?;
    stage.say("is streamed");
    let streamed = peak_rss(&group, || group.ask(async |line| stream(&line, keys).await))?.1;
    let unary = peak_rss(&group, || list(&group, list_mib << 20))?.1;
    for (case, peak) in [("streamed", streamed), ("five unary at once", unary)] {
        let case = format!("{list_mib} MiB {case}");
        stage.note(Row::W8, &case, Metric::Growth, mib(peak.saturating_sub(before)));
    }
    Ok(())
}

async fn stream(line: &Line, keys: u64) -> Outcome<()> {
    let mut chunks = line.kv().range_stream(data::everything()).await?.into_inner();
    let mut seen = 0;
    while let Some(chunk) = chunks.message().await? {
        seen += chunk.range_response.map_or(0, |response| response.kvs.len() as u64);
    }
    if seen == keys { Ok(()) } else { Err(format!("{seen} keys of {keys}").into()) }
}

/// Several lists at once, of at least so many bytes each.
fn list(group: &Group, bytes_min: u64) -> Outcome<()> {
    group.ask(async |line| {
        let list = Unread::new("/etcdserverpb.KV/Range", &data::everything());
        let mut lists = JoinSet::new();
        for _ in 0..UNARY {
            let (list, line) = (list.clone(), line.clone());
            lists.spawn(async move { list.call(&line).await });
        }
        while let Some(list) = lists.join_next().await {
            let bytes = list??;
            if bytes < bytes_min {
                return Err(format!("a list had {bytes} bytes of {bytes_min}").into());
            }
        }
        Ok(())
    })
}
