//! The second half: faults are over inside a quorum, and what is due must happen, as in the world.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use madsim::net::NetSim;
use madsim::time::sleep;
use quorate_core::ids::MemberId;

use super::strikes::cut_link;
use super::{Phase, Trial};
use crate::on_madsim::site::now;
use crate::world::due;
use crate::world::luck::{Luck, Purpose};
use crate::world::observe::{Outcome, Seen, Verdict, Violation};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Somebody objected, or something due did not happen: the trial is over.
struct Over;

/// Waits until the plan heals, and then for everything that is due.
pub(super) async fn conduct(trial: &Arc<Trial>) {
    // Whoever objected has been heard; nothing else is to be done about it.
    let _ = try_conduct(trial).await;
}

async fn try_conduct(trial: &Arc<Trial>) -> Result<(), Over> {
    let heals = trial.plan.healing();
    await_due(trial, u64::MAX, "healing", || {
        (now() >= heals).then_some(()).ok_or_else(String::new)
    })
    .await?;
    heal(trial);
    let timeout = trial.plan.shape.election_ms * 1_000_000;
    await_due(trial, now() + 10 * timeout, "leader", || check_leader(trial)).await?;
    begin_serving(trial);
    await_due(trial, now() + due::PATIENCE, "served", || check_served(trial)).await?;
    await_due(trial, now() + due::PATIENCE, "settled", || check_settled(trial)).await?;
    trial.course().phase = Phase::Resting;
    let until = now() + due::longest_life(&trial.plan.shape);
    let no_leases = || match now() < until && has_leases(trial) {
        true => Err(String::new()),
        false => Ok(()),
    };
    await_due(trial, u64::MAX, "leases", no_leases).await?;
    await_due(trial, now() + due::PATIENCE, "settled", || check_equal(trial)).await?;
    let open: Vec<_> = trial.course().open.keys().copied().collect();
    open.into_iter().for_each(|call| trial.conclude(call, &Outcome::Unknown));
    trial.tap.tell(|| Seen::Finished { quorum: quorum(trial) });
    Ok(())
}

/// Looks again and again whether what is due has happened.
async fn await_due(
    trial: &Trial,
    until: u64,
    oracle: &'static str,
    check: impl Fn() -> Result<(), String>,
) -> Result<(), Over> {
    while !trial.is_over() {
        match check() {
            Ok(()) => return Ok(()),
            Err(what) if now() >= until => {
                trial.tap.object(Violation { verdict: Verdict::Liveness, oracle, what });
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
    Err(Over)
}

fn quorum(trial: &Trial) -> Vec<MemberId> {
    trial.inside().map(|member| MemberId(member as u64 + 1)).collect()
}

/// Faults are over inside the quorum.
fn heal(trial: &Arc<Trial>) {
    trial.course().phase = Phase::Healed;
    let net = NetSim::current();
    net.update_config(|config| config.packet_loss_rate = 0.0);
    let crowd = trial.crowd.id();
    for (one, other) in trial.cluster.pairs() {
        net.unclog_link(trial.cluster.node(one), trial.cluster.node(other));
    }
    for member in 0..trial.cluster.members() {
        let node = trial.cluster.node(member);
        net.unclog_link(node, crowd);
        net.unclog_link(crowd, node);
        if trial.plan.quorum >> member & 1 == 1 {
            heal_member(trial, member);
        } else {
            lose_member(trial, member);
        }
    }
    trial.tap.tell(|| Seen::Healed { quorum: quorum(trial) });
}

fn heal_member(trial: &Trial, member: usize) {
    let (id, must_start) = {
        let site = &mut *trial.cluster.seats[member].ground.lock();
        let was_hung = site.pace.is_hung();
        site.pace.heal();
        (site.lag, site.doom, site.failing, site.resting) = ((0, 0), None, None, None);
        (site.id(), was_hung || !site.is_up())
    };
    trial.tap.tell(|| Seen::Resumed { member: id });
    trial.cluster.resume(member);
    if must_start {
        trial.cluster.restart(member);
    }
}

/// A member outside: off for good, or alone for good.
fn lose_member(trial: &Arc<Trial>, member: usize) {
    let node = trial.cluster.node(member);
    let members = (0..trial.cluster.members()).map(|other| trial.cluster.node(other));
    for other in members.chain([trial.crowd.id()]).filter(|&other| other != node) {
        cut_link(trial, node, other, u64::MAX);
        cut_link(trial, other, node, u64::MAX);
    }
    let mut luck = Luck::new(trial.plan.seed, Purpose::Step, member as u64);
    if luck.below(2) == 0 {
        trial.cluster.kill(member);
    }
}

fn check_leader(trial: &Trial) -> Result<(), String> {
    let role = |member: usize| trial.cluster.seats[member].ground.lock().role;
    let roles: Vec<_> = trial.inside().map(role).collect();
    due::check_leader(&roles, &quorum(trial))
}

/// Every worker puts some keys, all keys in all.
fn begin_serving(trial: &Trial) {
    let mut course = trial.course();
    let workers = course.owed.len();
    for key in 0..trial.plan.shape.keys {
        course.owed[key as usize % workers].push(key);
    }
}

fn check_served(trial: &Trial) -> Result<(), String> {
    due::check_served(trial.course().bells.len(), &trial.plan.shape)
}

fn check_equal(trial: &Trial) -> Result<(), String> {
    let applied = |member: usize| trial.cluster.seats[member].ground.lock().applied;
    due::check_equal(&trial.inside().map(applied).collect::<Vec<_>>())
}

fn check_settled(trial: &Trial) -> Result<(), String> {
    check_equal(trial)?;
    let course = trial.course();
    course.watchers.iter().enumerate().try_for_each(|(number, watcher)| {
        let watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        due::check_watcher(number, &watcher, &course.bells)
    })
}

/// Whether anybody still knows of a lease.
fn has_leases(trial: &Trial) -> bool {
    let leases = |member: usize| {
        let site = trial.cluster.seats[member].ground.lock();
        site.view.as_ref().map_or(0, |view| view.facts.leases)
    };
    trial.inside().any(|member| leases(member) > 0)
}
