//! Faults, by madsim's means where it has any.

use std::sync::Arc;
use std::time::Duration;

use madsim::net::NetSim;
use madsim::runtime::Handle;
use madsim::task::{NodeId, spawn};
use madsim::time::sleep;
use quorate_core::ReplicaInput;
use quorate_core::ids::MemberId;

use super::{Phase, Trial};
use crate::on_madsim::site::{Doom, now};
use crate::world::disk::Medium;
use crate::world::observe::Seen;
use crate::world::plan::Fault;

/// Between two looks for members that stopped by themselves.
const REVIVE_EVERY: Duration = Duration::from_millis(5);

/// Starts whoever inflicts the plan's faults, and whoever starts members again.
pub(super) fn start(trial: &Arc<Trial>) {
    spawn(strike_all(trial.clone()));
    spawn(revive(trial.clone()));
}

async fn strike_all(trial: Arc<Trial>) {
    for strike in trial.plan.strikes.clone() {
        sleep_until(strike.at).await;
        if trial.course().phase != Phase::Faults || trial.is_over() {
            return;
        }
        if inflict(&trial, strike.fault) {
            *trial.course().fired.entry(strike.fault.word()).or_default() += 1;
        }
    }
}

async fn sleep_until(at: u64) {
    let rest = at.saturating_sub(now());
    if rest > 0 {
        sleep(Duration::from_nanos(rest)).await;
    }
}

/// Starts members again that stopped by themselves.
async fn revive(trial: Arc<Trial>) {
    loop {
        for member in 0..trial.cluster.members() {
            let rest = trial.cluster.seats[member].ground.lock().resting.take();
            if let Some(rest) = rest {
                start_after(&trial, member, rest);
            }
        }
        sleep(REVIVE_EVERY).await;
    }
}

/// Starts a member again, unless that is done by then or not to be.
fn start_after(trial: &Arc<Trial>, member: usize, rest: u64) {
    let trial = trial.clone();
    spawn(async move {
        sleep(Duration::from_nanos(rest)).await;
        let is_up = trial.cluster.seats[member].ground.lock().is_up();
        if !is_up && !trial.is_lost(member) {
            trial.cluster.restart(member);
        }
    });
}

/// False if there was nothing to hit, or if it has no meaning here.
fn inflict(trial: &Arc<Trial>, fault: Fault) -> bool {
    let members = trial.cluster.members();
    let number = |node: u64| (node % members as u64) as usize;
    match fault {
        Fault::Crash { node, outputs, rest } => doom(trial, Some(number(node)), outputs, rest),
        Fault::CrashLeader { outputs, rest } => doom(trial, trial.cluster.leader(), outputs, rest),
        Fault::CrashAll { rest } => {
            (0..members).filter(|&member| doom(trial, Some(member), 0, rest)).count() > 0
        }
        Fault::Pause { node, rest, frozen } => pause(trial, Some(number(node)), rest, frozen),
        Fault::PauseLeader { rest, frozen } => pause(trial, trial.cluster.leader(), rest, frozen),
        Fault::Cut { from, to, both, rest } => cut(trial, (from, to), both == 1, rest),
        Fault::IsolateLeader { way, rest } => {
            let Some(leader) = trial.cluster.leader() else { return false };
            let (one, others) = (1 << leader, !(1 << leader));
            let sets = if way == 1 { (others, one) } else { (one, others) };
            cut(trial, sets, way == 0, rest)
        }
        Fault::Clog { from, to, rest } => {
            cut(trial, (1 << number(from), 1 << number(to)), false, rest)
        }
        Fault::CutClients { node, way, rest } => {
            let (crowd, member) = (trial.crowd.id(), trial.cluster.node(number(node)));
            if way != 2 {
                cut_link(trial, crowd, member, rest);
            }
            if way != 1 {
                cut_link(trial, member, crowd, rest);
            }
            true
        }
        Fault::Reset { .. } | Fault::Misroute { .. } => false,
        Fault::LagApply { node, step, rest } => {
            let site = &mut *trial.cluster.seats[number(node)].ground.lock();
            site.lag = (step, now().saturating_add(rest));
            true
        }
        Fault::TurnClock { node, pace } => {
            let drift = (pace as i64 - 1_000_000).clamp(-500_000, 500_000);
            let site = &mut *trial.cluster.seats[number(node)].ground.lock();
            site.clock.turn(now(), drift as i32);
            true
        }
        Fault::MoveLeader { node } => {
            let Some(leader) = trial.cluster.leader() else { return false };
            let to = Some(MemberId(number(node) as u64 + 1));
            let site = &mut *trial.cluster.seats[leader].ground.lock();
            site.wishes.push(ReplicaInput::TransferLeader { to });
            true
        }
        Fault::SlowDisk { node, .. }
        | Fault::StallDisk { node, .. }
        | Fault::StallStore { node, .. }
        | Fault::HangDisk { node, .. }
        | Fault::FailSync { node, .. } => harm_disk(trial, number(node), fault),
    }
}

fn doom(trial: &Arc<Trial>, member: Option<usize>, outputs: u64, rest: u64) -> bool {
    let is_up = |member: &usize| trial.cluster.seats[*member].ground.lock().is_up();
    let Some(member) = member.filter(is_up) else { return false };
    if outputs > 0 {
        trial.cluster.seats[member].ground.lock().doom = Some(Doom { outputs, rest });
        return true;
    }
    trial.cluster.kill(member);
    start_after(trial, member, rest);
    true
}

fn pause(trial: &Arc<Trial>, member: Option<usize>, rest: u64, frozen: u64) -> bool {
    let Some(number) = member else { return false };
    let (id, run) = {
        let site = trial.cluster.seats[number].ground.lock();
        if !site.is_up() {
            return false;
        }
        (site.id(), site.run())
    };
    trial.tap.tell(|| Seen::Paused { member: id, is_frozen: frozen == 1 });
    trial.cluster.pause(number);
    let trial = trial.clone();
    spawn(async move {
        sleep(Duration::from_nanos(rest)).await;
        let site = &mut *trial.cluster.seats[number].ground.lock();
        if site.is_up() && site.run() == run && trial.course().phase == Phase::Faults {
            let still = if frozen == 1 { rest } else { 0 };
            site.clock.stood_still(now(), still);
            trial.tap.tell(|| Seen::Resumed { member: id });
            trial.cluster.resume(number);
        }
    });
    true
}

fn cut(trial: &Arc<Trial>, (from, to): (u64, u64), both: bool, rest: u64) -> bool {
    let has = |set: u64, member: usize| set >> member & 1 == 1;
    let mut is_any = false;
    for (a, b) in trial.cluster.pairs().filter(|&(a, b)| a != b && has(from, a) && has(to, b)) {
        is_any = true;
        let (a, b) = (trial.cluster.node(a), trial.cluster.node(b));
        cut_link(trial, a, b, rest);
        if both {
            cut_link(trial, b, a, rest);
        }
    }
    is_any
}

/// Cuts a link one way for a while; the longest of several cuts counts.
pub(super) fn cut_link(trial: &Arc<Trial>, from: NodeId, to: NodeId, rest: u64) {
    let until = now().saturating_add(rest);
    let mut course = trial.course();
    let before = course.cuts.entry((from, to)).or_default();
    *before = until.max(*before);
    drop(course);
    NetSim::current().clog_link(from, to);
    if rest == u64::MAX {
        return;
    }
    let trial = trial.clone();
    spawn(async move {
        sleep(Duration::from_nanos(rest)).await;
        let course = trial.course();
        if course.phase == Phase::Faults && course.cuts.get(&(from, to)) <= Some(&now()) {
            NetSim::current().unclog_link(from, to);
        }
    });
}

fn harm_disk(trial: &Arc<Trial>, member: usize, fault: Fault) -> bool {
    let now = now();
    // What a stall holds up is due at its end, which healing does not bring forward.
    let heals = trial.plan.healing();
    let ground = trial.cluster.seats[member].ground.clone();
    let mut site = ground.lock();
    if !site.is_up() {
        return false;
    }
    match fault {
        Fault::SlowDisk { percent, rest, .. } => {
            site.pace.slow_down(percent.max(100));
            let ground = ground.clone();
            spawn(async move {
                sleep(Duration::from_nanos(rest)).await;
                ground.lock().pace.slow_down(100);
            });
        }
        Fault::StallDisk { rest, .. } => {
            let until = now.saturating_add(rest).min(heals);
            site.pace.stall(Medium::Log, until);
            site.pace.stall(Medium::Store, until);
        }
        Fault::StallStore { rest, .. } => {
            site.pace.stall(Medium::Store, now.saturating_add(rest).min(heals));
        }
        Fault::HangDisk { rest, .. } => {
            site.pace.hang();
            spawn(replace_disk(trial.clone(), member, rest));
        }
        Fault::FailSync { rest, .. } => {
            site.pace.fail_next_sync();
            site.failing = Some(rest);
        }
        _ => return false,
    }
    true
}

/// A disk that hangs is given another cable: what hung is lost.
async fn replace_disk(trial: Arc<Trial>, member: usize, rest: u64) {
    sleep(Duration::from_nanos(rest)).await;
    let was_hung = {
        let pace = &mut trial.cluster.seats[member].ground.lock().pace;
        let was_hung = pace.is_hung();
        pace.heal();
        was_hung
    };
    if was_hung && !trial.is_lost(member) {
        Handle::current().kill(trial.cluster.node(member));
        start_after(&trial, member, rest / 10);
    }
}
