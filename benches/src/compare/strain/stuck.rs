//! Watchers that begin far behind and never read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::behind::watch_all;
use super::puts::{Turns, fill, paced};
use super::{beside, mib, peak_rss};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::dial::Connection;
use crate::servers::Group;

/// Streams on one connection.
const STREAMS: usize = 10;

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    let addrs = &group.client_addrs;
    fill(addrs, args.revisions)?;
    let stay = async |is_over: &AtomicBool| {
        let mut held = Vec::new();
        let mut connection = Connection::open(addrs[0]).await?;
        for number in 0..args.watchers {
            if number % STREAMS == 0 {
                connection = Connection::open(addrs[0]).await?;
            }
            held.push(watch_all(connection.clone()).await?);
        }
        while !is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    let (mut least, mut most) = (u64::MAX, 0);
    let turns = Turns::take(
        args.rounds,
        || {
            let (waits, peak) = peak_rss(group, || paced(addrs, args.window()))?;
            least = least.min(peak);
            Ok(waits)
        },
        || {
            let work = || beside(stay, || paced(addrs, args.window()));
            let (waits, peak) = peak_rss(group, work)?;
            most = most.max(peak);
            Ok(waits)
        },
    )?;
    let (before, more) = (mib(least), mib(most.saturating_sub(least)));
    let each = more * 1024.0 / args.watchers as f64;
    let what = format!("{} stuck watchers", args.watchers);
    let memory = format!("memory {before:.0} MiB and {more:.0} more, {each:.0} KiB each");
    Ok(vec![format!("{}   {memory}", turns.tell(&what))])
}
