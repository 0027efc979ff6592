//! W7: a Kubernetes list, page by page.

use quorate_io_tokio::bench::work::Pages;
use quorate_io_tokio::bench::{Load, drive};

use super::Stage;
use crate::Outcome;
use crate::data::{self, Fill};
use crate::measure::window;
use crate::row::Row;
use crate::sizes::{OBJECT_BYTES, PAGE_KEYS};

/// Those who list.
const CLIENTS: usize = 8;

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let (group, keys) = (stage.start()?, stage.sizes().page_keys);
    stage.say("fills");
    Fill::all(data::keys(keys), OBJECT_BYTES).run(&group)?;
    stage.say("is listed");
    let connections = data::connection_count(CLIENTS, group.client_addrs.len());
    let load = Load::new(CLIENTS, connections, stage.args.threads);
    let target = group.target()?;
    let seen = window(&group, stage.timing(), |stint| {
        drive(&target, &load, stint, move |line, _| {
            Pages::new(line, data::all_keys(), keys as usize, PAGE_KEYS)
        })
    })?;
    let case = format!("{keys} keys of 1 KiB, pages/{CLIENTS}");
    stage.note_window(Row::W7, &case, &seen, &seen.tracks[0])?;
    stage.note_rss(Row::W7, &case, &group)
}
