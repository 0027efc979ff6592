//! From a seed to a plan: the swarm.
//!
//! Each seed first draws which families of faults are on at all, and how strong; most bugs need
//! a few kinds of fault often, not all kinds a little.

use super::{Deed, Errand, Fault, Plan, Shape, Strike, Weather};
use crate::world::luck::{Luck, Purpose, per_mille};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, shape: Shape) -> Self {
        let mut swarm = Luck::new(seed, Purpose::Swarm, 0);
        let weather = draw_weather(&mut swarm);
        let families = Families::draw(&mut swarm, &shape);
        let quorum = draw_quorum(shape.nodes, &mut swarm);
        let strikes = families.strikes(seed, &shape);
        Self { seed, shape, weather, quorum, strikes, errands: draw_errands(seed, &shape) }
    }

    /// The same plan in a world without faults, for measuring.
    pub fn calm(seed: u64, shape: Shape) -> Self {
        let weather = Weather { peer_us: 200, client_us: 200, ..Weather::default() };
        let quorum = (1 << shape.nodes) - 1;
        let errands = draw_errands(seed, &shape);
        Self { seed, shape, weather, quorum, strikes: Vec::new(), errands }
    }
}

/// A strength that is 0 in half of all seeds.
fn maybe(luck: &mut Luck, table: &[u64]) -> u64 {
    if luck.below(2) == 0 { 0 } else { *luck.pick(table) }
}

fn draw_weather(luck: &mut Luck) -> Weather {
    let chances = [1, 5, 20, 100].map(|n| u64::from(per_mille(n)));
    let rare = [1, 3].map(|n| u64::from(per_mille(n)));
    Weather {
        peer_us: *luck.pick(&[100, 250, 1_000, 10_000, 40_000]),
        client_us: *luck.pick(&[100, 250, 1_000, 10_000]),
        drop: maybe(luck, &chances),
        duplicate: maybe(luck, &chances),
        reorder: maybe(luck, &chances),
        slow: maybe(luck, &chances),
        misdeliver: maybe(luck, &rare),
        request_lost: maybe(luck, &chances[..3]),
        reply_lost: maybe(luck, &chances[..3]),
        reset: maybe(luck, &rare),
        image_cut: maybe(luck, &[100, 300, 600].map(|n| u64::from(per_mille(n)))),
        drift_ppm: *luck.pick(&[0, 50, 50, 50, 500, 50_000]),
        step_us: *luck.pick(&[0, 0, 50, 1_000]),
        credit_ms: *luck.pick(&[0, 10, 500, 5_000]),
    }
}

/// A random majority.
fn draw_quorum(nodes: u64, luck: &mut Luck) -> u64 {
    let least = nodes / 2 + 1;
    let size = luck.between(least, nodes);
    let mut quorum = 0_u64;
    while u64::from(quorum.count_ones()) < size {
        quorum |= 1 << luck.below(nodes);
    }
    quorum
}

/// For each word of a fault, the mean time between two; 0 is never.
struct Families {
    mean_ns: Vec<u64>,
}

impl Families {
    fn draw(luck: &mut Luck, shape: &Shape) -> Self {
        let draw = |word: &&str| {
            let mean = maybe(luck, &[3, 8, 20, 60]) * SECOND;
            let is_pointless = shape.nodes == 1
                && matches!(*word, "cut" | "isolate-leader" | "clog" | "reset" | "move-leader");
            if is_pointless { 0 } else { mean }
        };
        Self { mean_ns: Fault::WORDS.iter().map(draw).collect() }
    }

    fn strikes(&self, seed: u64, shape: &Shape) -> Vec<Strike> {
        let mut all = Vec::new();
        for (place, (&word, &mean)) in Fault::WORDS.iter().zip(&self.mean_ns).enumerate() {
            if mean == 0 {
                continue;
            }
            let mut luck = Luck::new(seed, Purpose::Fault, place as u64);
            let mut at = luck.below(2 * mean);
            while at < shape.seconds * SECOND {
                draw_fault(word, at, shape.nodes, &mut luck, &mut all);
                at += 1 + luck.below(2 * mean);
            }
        }
        all.sort_by_key(|strike| strike.at);
        all
    }
}

/// How long something lasts: mostly short, sometimes long enough for anything.
fn draw_rest(luck: &mut Luck) -> u64 {
    let most = *luck.pick(&[10, 100, 500, 2_000, 2_000, 5_000, 15_000]);
    luck.between(1, most) * MILLISECOND
}

fn draw_fault(word: &str, at: u64, nodes: u64, luck: &mut Luck, all: &mut Vec<Strike>) {
    let node = luck.below(nodes);
    let rest = draw_rest(luck);
    let outputs_max = 1 << luck.below(6);
    let outputs = luck.below(outputs_max);
    let frozen = luck.below(2);
    let (from, to) = (node, (node + 1 + luck.below(nodes.max(2) - 1)) % nodes);
    let fault = match word {
        "crash" => Fault::Crash { node, outputs, rest },
        "crash-leader" => Fault::CrashLeader { outputs, rest },
        "crash-all" => Fault::CrashAll { rest: rest.min(3 * SECOND) },
        "pause" => Fault::Pause { node, rest, frozen },
        "pause-leader" => Fault::PauseLeader { rest, frozen },
        "cut" => return draw_cut(at, nodes, luck, all),
        "isolate-leader" => Fault::IsolateLeader { way: luck.below(3), rest },
        "clog" => Fault::Clog { from, to, rest },
        "reset" => Fault::Reset { from, to },
        "cut-clients" => Fault::CutClients { node, way: luck.below(3), rest },
        "slow-disk" => Fault::SlowDisk { node, percent: luck.between(200, 10_000), rest },
        "stall-disk" => Fault::StallDisk { node, rest },
        "hang-disk" => Fault::HangDisk { node, rest },
        "fail-sync" => Fault::FailSync { node, rest },
        "lag-apply" => Fault::LagApply { node, step: luck.between(1, 200) * MILLISECOND, rest },
        "turn-clock" => {
            let most = *luck.pick(&[50, 500, 50_000]);
            Fault::TurnClock { node, pace: 1_000_000 - most + luck.below(2 * most + 1) }
        }
        _ => Fault::MoveLeader { node },
    };
    all.push(Strike { at, fault });
}

/// A partition of some shape.
fn draw_cut(at: u64, nodes: u64, luck: &mut Luck, all: &mut Vec<Strike>) {
    let rest = draw_rest(luck);
    let everyone = (1_u64 << nodes) - 1;
    let one = 1 << luck.below(nodes);
    let half = luck.below(everyone);
    let mut cut = |at, from, to, both, rest| {
        all.push(Strike { at, fault: Fault::Cut { from, to, both, rest } });
    };
    match luck.below(6) {
        0 => cut(at, one, everyone & !one, 1, rest),
        1 => cut(at, one, everyone & !one, 0, rest),
        2 => cut(at, everyone & !one, one, 0, rest),
        3 => cut(at, half, everyone & !half, 1, rest),
        4 => cut(at, half & !one, everyone & !half & !one, 1, rest),
        _ => {
            let flap = (rest / 10).max(MILLISECOND);
            for n in 0..5 {
                cut(at + 2 * n * flap, one, everyone & !one, 1, flap);
            }
        }
    }
}

fn draw_errands(seed: u64, shape: &Shape) -> Vec<Errand> {
    let mut luck = Luck::new(seed, Purpose::Client, 0);
    let mut errands = Vec::new();
    let end = shape.seconds * SECOND;
    let gap = SECOND / shape.rate.max(1);
    let mut at = 0;
    while at < end {
        let worker = luck.below(shape.workers);
        errands.push(Errand { at, worker, deed: draw_deed(shape, &mut luck) });
        at += 1 + luck.below(2 * gap);
    }
    let every = shape.compact_every_ms * MILLISECOND;
    let mut at = every;
    while every > 0 && at < end {
        let deed = Deed::Compact { back: luck.below(100), physical: luck.below(2) };
        errands.push(Errand { at, worker: luck.below(shape.workers), deed });
        at += every;
    }
    errands.sort_by_key(|errand| errand.at);
    errands
}

fn draw_deed(shape: &Shape, luck: &mut Luck) -> Deed {
    let key = luck.below(shape.keys);
    let span = if luck.below(2) == 0 { 1 } else { luck.between(2, 10) };
    let lease = if luck.below(4) == 0 { luck.below(shape.keepers + 1) } else { 0 };
    if luck.below(1_000) < shape.txn_per_mille {
        let (guard, other) = (luck.below(5), luck.below(shape.keys));
        return Deed::Txn { key, guard, other, flags: luck.below(8) };
    }
    match luck.below(100) {
        0..45 => Deed::Put { key, lease, prev: luck.below(2) },
        45..55 => Deed::Delete { key, span: luck.between(1, span), prev: luck.below(2) },
        55..95 => {
            let limit = if luck.below(3) == 0 { luck.between(1, 5) } else { 0 };
            let back = if luck.below(4) == 0 { luck.below(50) } else { 0 };
            let flags = if luck.below(2) == 0 { 0 } else { luck.below(16) };
            Deed::Range { key, span, limit, back, flags }
        }
        95 => Deed::Grant { ttl: luck.between(1, 10) },
        96 => Deed::Revoke {},
        97 | 98 => Deed::TimeToLive { lease: luck.below(shape.keepers) + 1 },
        _ => Deed::Leases {},
    }
}
