//! A watcher that begins far behind and reads as fast as it can, over and over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use quorate_io_tokio::bench::watch::{Watching, watch_of};
use quorate_proto::etcdserverpb::WatchCreateRequest;

use super::beside;
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::data::make_revisions;
use crate::paced::{Turns, paced};
use crate::servers::Group;

/// A watch of everything since the first revision.
pub(super) fn everything() -> WatchCreateRequest {
    let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    WatchCreateRequest { start_revision: 1, ..watch_of(key, range_end) }
}

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    make_revisions(group, args.revisions)?;
    let target = group.target()?;
    let events = AtomicU64::new(0);
    let lag = async |is_over: &AtomicBool| {
        let line = target.line(0).await?;
        while !is_over.load(Ordering::Relaxed) {
            let mut watching = Watching::open(&line, everything()).await?;
            let mut seen = 0;
            while seen < args.revisions && !is_over.load(Ordering::Relaxed) {
                seen += watching.next().await?.events.len() as u64;
            }
            events.fetch_add(seen, Ordering::Relaxed);
        }
        Ok(())
    };
    let turns = Turns::take(
        args.rounds,
        || paced(group, args.seconds),
        || beside(lag, || paced(group, args.seconds)),
    )?;
    let seconds = args.seconds.as_secs_f64() * f64::from(args.rounds);
    let shown = events.load(Ordering::Relaxed) as f64 / seconds;
    let what = format!("{} revisions behind", args.revisions);
    Ok(vec![format!("{}   {shown:.0} events/s shown", turns.tell(&what))])
}
