//! Of W15: what watches cost that nothing happens to.

use std::time::Duration;

use quorate_io_tokio::bench::Keys;
use quorate_io_tokio::bench::watch::{Watching, watch_of};

use super::Stage;
use crate::Outcome;
use crate::figure::Metric;
use crate::measure::{SETTLED_AFTER, mib};
use crate::row::Row;

/// Watches on one stream.
const STREAM_WATCHES: usize = 1_000;

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let (group, watches) = (stage.start()?, stage.sizes().idle_watchers);
    std::thread::sleep(SETTLED_AFTER);
    let before = group.rss_kib()?;
    stage.say("is watched");
    let after = group.ask(async |line| {
        let keys = Keys::numbered("idle/", watches as u64);
        let request = |number: usize| watch_of(keys.name(number as u64), bytes::Bytes::new());
        let mut streams = Vec::new();
        for first in (0..watches).step_by(STREAM_WATCHES) {
            let mut stream = Watching::open(&line, request(first)).await?;
            for number in first + 1..watches.min(first + STREAM_WATCHES) {
                stream.add(request(number)).await?;
            }
            streams.push(stream);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        group.rss_kib()
    })?;
    let case = format!("{watches} watches");
    stage.note(Row::W15, &case, Metric::Growth, mib(after.saturating_sub(before)));
    Ok(())
}
