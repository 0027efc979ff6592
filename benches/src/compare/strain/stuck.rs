//! Watchers that begin far behind and never read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_io_tokio::bench::Target;
use quorate_io_tokio::bench::watch::Watching;

use super::behind::everything;
use super::{beside, until};
use crate::Outcome;
use crate::cli::StrainArgs;
use crate::data::make_revisions;
use crate::paced::{Turns, paced};
use crate::servers::Group;

/// How long streams have to fill before puts are measured.
const SETTLING: Duration = Duration::from_secs(2);
/// Streams on one connection.
const STREAMS: usize = 10;

pub(super) fn run(group: &Group, args: &StrainArgs) -> Outcome<Vec<String>> {
    make_revisions(group, args.revisions)?;
    let target = group.target()?;
    let are_stuck = AtomicBool::new(false);
    let stay = async |is_over: &AtomicBool| {
        let opened = open_all(&target, args.watchers).await;
        // What is held for each of them is read and sent by then.
        tokio::time::sleep(SETTLING).await;
        are_stuck.store(true, Ordering::Relaxed);
        let _held = opened?;
        until(is_over).await;
        Ok(())
    };
    let (turns, before, more) = Turns::take_with_memory(
        group,
        args.rounds,
        || paced(group, args.seconds),
        || {
            are_stuck.store(false, Ordering::Relaxed);
            beside(stay, || {
                while !are_stuck.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                paced(group, args.seconds)
            })
        },
    )?;
    let each = more * 1024.0 / args.watchers as f64;
    let what = format!("{} stuck watchers", args.watchers);
    let memory = format!("memory {before:.0} MiB and {more:.0} more, {each:.0} KiB each");
    Ok(vec![format!("{}   {memory}", turns.tell(&what))])
}

async fn open_all(target: &Target, watchers: usize) -> Outcome<Vec<Watching>> {
    let mut opened = Vec::new();
    let mut line = target.line(0).await?;
    for number in 0..watchers {
        if number % STREAMS == STREAMS - 1 {
            line = target.line(0).await?;
        }
        // Others on the connection may have filled it: not even the answer is waited for.
        opened.push(Watching::open_unread(&line, everything()).await?);
    }
    Ok(opened)
}
