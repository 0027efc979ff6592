//! A disk of one of three members takes its time over each sync: writes do not need it, and reads
//! need no disk. If it is the leader's, another is to lead: clients go on with that one.

use std::sync::Arc;
use std::time::Duration;

use quorate_io_tokio::bench::work::{Lines, Script};
use quorate_io_tokio::bench::{Load, Target, drive};

use super::Stage;
use crate::Outcome;
use crate::data::{self, Fill};
use crate::figure::Metric;
use crate::measure::{SETTLED_AFTER, Seen, window};
use crate::paced::during;
use crate::platter::Illness;
use crate::row::Row;
use crate::servers::Group;
use crate::sizes::VALUE_BYTES;
use crate::table::median;

const SYNC_DELAY: Duration = Duration::from_millis(50);
const PUT_CLIENTS: usize = 64;
/// Few: what is asked is whether reads wait for a disk, not for each other.
const GET_CLIENTS: usize = 4;
const CONNECTIONS: usize = 4;

pub(super) fn play(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.say("starts");
    let group = Group::start_on_platters(stage.program, stage.members, &stage.args.out_dir())?;
    let keys = data::keys(stage.sizes().keys);
    Fill::all(keys.clone(), VALUE_BYTES).run(&group)?;
    let puts = data::puts(keys.clone(), VALUE_BYTES);
    let gets: Arc<Lines> = Arc::new(move |turn| (0, data::get(keys.at(turn), false)));
    let next_to = |leader: usize| (leader + 1) % group.platters.len();
    keep(stage, &group, next_to(group.leader()?), &puts)?;
    for (whose, is_leaders, delay) in [
        ("nobody's", false, Duration::ZERO),
        ("a follower's", false, SYNC_DELAY),
        ("the leader's", true, SYNC_DELAY),
    ] {
        let case = format!("{whose}: gets");
        stage.say(&case);
        let leader = group.leader()?;
        let number = if is_leaders { leader } else { next_to(leader) };
        set_delay(&group, number, delay);
        let mut seen = None;
        during(&group, stage.sizes().measured, || {
            std::thread::sleep(SETTLED_AFTER);
            seen = Some(ask_leader(stage, &group, GET_CLIENTS, &gets)?);
            Ok(())
        })?;
        set_delay(&group, number, Duration::ZERO);
        let seen = seen.ok_or("nothing was measured")?;
        stage.note_window(Row::Slow, &case, &seen, &seen.tracks[0])?;
    }
    Ok(())
}

/// Puts with and without a slow follower, in turns.
fn keep(stage: &mut Stage<'_>, group: &Group, follower: usize, puts: &Arc<Lines>) -> Outcome<()> {
    let case = "a follower's: puts";
    stage.say(case);
    let [mut without, mut with] = [Vec::new(), Vec::new()];
    for _ in 0..stage.sizes().calm_windows {
        for (delay, rates) in [(Duration::ZERO, &mut without), (SYNC_DELAY, &mut with)] {
            set_delay(group, follower, delay);
            std::thread::sleep(SETTLED_AFTER);
            let seen = ask_leader(stage, group, PUT_CLIENTS, puts)?;
            rates.push(seen.tracks[0].ops() as f64 / seen.seconds);
        }
    }
    set_delay(group, follower, Duration::ZERO);
    let [without, with] = [without, with].map(|rates| median(rates).unwrap_or(f64::NAN));
    stage.note(Row::Slow, case, Metric::Rate, with);
    stage.note(Row::Slow, case, Metric::Kept, with / without);
    Ok(())
}

fn set_delay(group: &Group, member: usize, sync_delay: Duration) {
    group.platters[member].ail(Illness { sync_delay, ..Illness::default() });
}

/// A window of calls that all go to whoever leads now: what a slow follower answers waits for its
/// disk.
fn ask_leader(
    stage: &Stage<'_>,
    group: &Group,
    clients: usize,
    lines: &Arc<Lines>,
) -> Outcome<Seen> {
    let addr = group.client_addrs[group.leader()?];
    let target = Arc::new(Target::of_ports(&[addr])?);
    let load = Load::new(clients, CONNECTIONS, stage.args.threads);
    let lines = Arc::clone(lines);
    window(group, stage.timing(), |stint| {
        drive(&target, &load, stint, move |line: &_, _| Script::new(line, &lines))
    })
}
