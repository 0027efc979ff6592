//! W9, and what of W15 and W16 is about many keys: counting them, holding them, starting with them.

use std::sync::Arc;

use quorate_io_tokio::bench::work::{Op, Script};
use quorate_io_tokio::bench::{Load, drive};
use quorate_proto::etcdserverpb::RangeRequest;

use super::Stage;
use crate::Outcome;
use crate::data::{self, Fill};
use crate::figure::Metric;
use crate::measure::{SETTLED_AFTER, mib, window};
use crate::row::Row;
use crate::servers::Group;
use crate::sizes::{OBJECT_BYTES, VALUE_BYTES};

/// How often memory is noted while keys come.
const STEPS: u64 = 4;

/// Keys, and how large their values are.
#[derive(Clone, Copy)]
struct Hold {
    keys: u64,
    value_bytes: usize,
    size: &'static str,
}

/// With a million keys.
pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let keys = stage.sizes().many_keys;
    let hold = Hold { keys, value_bytes: VALUE_BYTES, size: "256 B" };
    let mut group = hold.fill(stage)?;
    if stage.args.wants(Row::W9) {
        count(stage, &group, keys)?;
    }
    hold.restart(stage, &mut group)
}

/// With ten.
pub(super) fn play_most(stage: &mut Stage<'_>) -> Outcome<()> {
    let keys = stage.sizes().most_keys.unwrap_or_default();
    let hold = Hold { keys, value_bytes: OBJECT_BYTES, size: "1 KiB" };
    let mut group = hold.fill(stage)?;
    hold.restart(stage, &mut group)
}

impl Hold {
    fn name(self, keys: u64) -> String {
        format!("{keys} keys of {}", self.size)
    }

    fn fill(self, stage: &mut Stage<'_>) -> Outcome<Group> {
        let group = stage.start()?;
        let all = Fill::all(data::keys(self.keys), self.value_bytes);
        for step in 0..STEPS {
            let (first, last) = (self.keys * step / STEPS, self.keys * (step + 1) / STEPS);
            stage.say(&format!("fills {}", self.name(last)));
            Fill { first, last, ..all.clone() }.run(&group)?;
            std::thread::sleep(SETTLED_AFTER);
            // Those on the way have no must: their names end otherwise.
            let way = if last < self.keys { " on the way" } else { "" };
            let case = format!("{}{way}", self.name(last));
            stage.note_rss(Row::W15, &case, &group)?;
        }
        let disk = mib(group.disk_bytes()? >> 10);
        stage.note(Row::W15, &self.name(self.keys), Metric::DiskMib, disk);
        Ok(group)
    }

    fn restart(self, stage: &mut Stage<'_>, group: &mut Group) -> Outcome<()> {
        if !stage.args.wants(Row::W16) {
            return Ok(());
        }
        stage.say("starts again");
        let seconds = group.restart()?.as_secs_f64();
        let case = format!("start with {}", self.name(self.keys));
        stage.note(Row::W16, &case, Metric::Seconds, seconds);
        std::thread::sleep(SETTLED_AFTER);
        stage.note_rss(Row::W16, &case, group)
    }
}

fn count(stage: &mut Stage<'_>, group: &Group, keys: u64) -> Outcome<()> {
    stage.say("counts");
    let request = RangeRequest { count_only: true, ..data::everything() };
    let target = group.target()?;
    let load = Load::new(1, 1, 1);
    let seen = window(group, stage.timing(), |stint| {
        let lines = Arc::new(move |_| (0, Op::Range(request.clone(), Some(keys as usize))));
        let lines: Arc<quorate_io_tokio::bench::work::Lines> = lines;
        drive(&target, &load, stint, move |line, _| Script::new(line, &lines))
    })?;
    stage.note_window(Row::W9, &format!("count of {keys} keys"), &seen, &seen.tracks[0])
}
