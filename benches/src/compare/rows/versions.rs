//! Of W16: what is on disk after every key was written several times, and history compacted.

use std::time::{Duration, Instant};

use super::Stage;
use super::upkeep::compact;
use crate::Outcome;
use crate::data::{self, Fill};
use crate::figure::Metric;
use crate::measure::mib;
use crate::row::Row;
use crate::servers::Group;
use crate::sizes::VALUE_BYTES;

const VERSIONS: usize = 5;
/// How long the size has to stay what it is, and how long that is waited for.
const STEADY: Duration = Duration::from_secs(5);
const STEADY_WITHIN: Duration = Duration::from_secs(120);

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    let (group, keys) = (stage.start()?, stage.sizes().version_keys);
    for version in 1..=VERSIONS {
        stage.say(&format!("fills version {version}"));
        Fill::all(data::keys(keys), VALUE_BYTES).run(&group)?;
    }
    stage.say("compacts");
    group.ask(compact)?;
    let disk = mib(steady_disk_bytes(&group)? >> 10);
    let case = format!("{VERSIONS} versions of {keys} keys, compacted");
    stage.note(Row::W16, &case, Metric::DiskMib, disk);
    Ok(())
}

/// The size on disk when it does not change any more, or when that was waited for long enough.
fn steady_disk_bytes(group: &Group) -> Outcome<u64> {
    let begun = Instant::now();
    let (mut last, mut since) = (group.disk_bytes()?, Instant::now());
    while since.elapsed() < STEADY && begun.elapsed() < STEADY_WITHIN {
        std::thread::sleep(Duration::from_millis(250));
        let bytes = group.disk_bytes()?;
        if bytes != last {
            (last, since) = (bytes, Instant::now());
        }
    }
    Ok(last)
}
