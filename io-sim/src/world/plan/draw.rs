//! From a seed to a plan: the swarm.
//!
//! Each seed first draws which families of faults are on at all, and how strong; most bugs need
//! a few kinds of fault often, not all kinds a little.

use quorate_core::pinch::Site;

use super::{Chore, Decree, Deed, Duty, Errand, Fault, Order, Plan, Shape, Strike, Weather};
use crate::world::luck::{Luck, Purpose, per_mille};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, shape: Shape) -> Self {
        let mut swarm = Luck::new(seed, Purpose::Swarm, 0);
        let mut later = Luck::new(seed, Purpose::Swarm, 1);
        let weather = draw_more_weather(draw_weather(&mut swarm), &mut later);
        let families = Families::draw(&mut swarm, &mut later, &shape);
        let quorum = draw_quorum(shape.nodes, &mut swarm);
        let strikes = families.strikes(seed, &shape);
        let errands = draw_errands(seed, &shape);
        let plan = Self { seed, shape, weather, quorum, strikes, errands, ..Self::default() };
        plan.with_duties().with_decrees().with_pinch()
    }

    /// In a quarter of all seeds there are users, and a steward who changes what they may.
    fn with_decrees(self) -> Self {
        let mut luck = Luck::new(self.seed, Purpose::Swarm, 3);
        if luck.below(4) > 0 {
            return self;
        }
        let shape = Shape { users: luck.between(1, 3), ..self.shape };
        let decrees = draw_decrees(self.seed, &shape, &mut luck);
        Self { shape, decrees, ..self }
    }

    /// In half of all seeds every fourth bound of the members is tiny.
    fn with_pinch(self) -> Self {
        let mut luck = Luck::new(self.seed, Purpose::Swarm, 4);
        if luck.below(2) > 0 {
            return self;
        }
        let pinch = luck.bits() & luck.bits() & ((1 << Site::COUNT) - 1);
        Self { weather: Weather { pinch, ..self.weather }, ..self }
    }

    /// In half of all seeds there are spare machines, and an operator who changes the group.
    fn with_duties(self) -> Self {
        let mut luck = Luck::new(self.seed, Purpose::Swarm, 2);
        let spares = maybe(&mut luck, &[1, 2, 3, 4]);
        if spares == 0 {
            return self;
        }
        let shape = Shape { spares, ..self.shape };
        let more = luck.below(1 << spares) << shape.nodes;
        let duties = draw_duties(self.seed, &shape, &mut luck);
        Self { shape, quorum: self.quorum | more, duties, ..self }
    }

    /// The same plan in a world without faults, for measuring.
    pub fn calm(seed: u64, shape: Shape) -> Self {
        let weather = Weather {
            peer_us: 200,
            client_us: 200,
            checkpoint_ms: 300_000,
            progress_ms: 600_000,
            ..Weather::default()
        };
        let quorum = (1 << shape.nodes) - 1;
        let errands = draw_errands(seed, &shape);
        Self { seed, shape, weather, quorum, errands, ..Self::default() }
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
        misdeliver: maybe(luck, &[rare[0], rare[1], u64::from(per_mille(20))]),
        request_lost: maybe(luck, &chances[..3]),
        reply_lost: maybe(luck, &chances[..3]),
        reset: maybe(luck, &rare),
        image_cut: maybe(luck, &[100, 300, 600].map(|n| u64::from(per_mille(n)))),
        drift_ppm: *luck.pick(&[0, 50, 50, 50, 500, 50_000]),
        step_us: *luck.pick(&[0, 0, 50, 1_000]),
        credit_ms: *luck.pick(&[0, 10, 500, 5_000, 20_000]),
        checkpoint_ms: *luck.pick(&[300_000, 300_000, 2_000, 4_000]),
        progress_ms: *luck.pick(&[600_000, 600_000, 10_000, 1_000]),
        ..Weather::default()
    }
}

/// What was thought of later: drawn apart, so that old seeds keep the rest of their meaning.
fn draw_more_weather(weather: Weather, luck: &mut Luck) -> Weather {
    let chances = [20, 100, 300].map(|n| u64::from(per_mille(n)));
    Weather {
        refuse: maybe(luck, &[1, 10, 50].map(|n| u64::from(per_mille(n)))),
        image_twice: maybe(luck, &chances),
        image_late: maybe(luck, &chances),
        snapshot_count: *luck.pick(&[0, 0, 0, 100, 20, 5]),
        catchup_entries: *luck.pick(&[0, 0, 0, 21, 4, 1]),
        ..weather
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

/// Each chore at a pace of its own, additions always among them.
fn draw_duties(seed: u64, shape: &Shape, swarm: &mut Luck) -> Vec<Duty> {
    let mut all = Vec::new();
    for (place, &word) in Chore::WORDS.iter().enumerate() {
        let paces = [4, 10, 25];
        let mean = match word {
            "add" => *swarm.pick(&paces) * SECOND,
            _ => maybe(swarm, &paces) * SECOND,
        };
        let mut luck = Luck::new(seed, Purpose::Operator, place as u64);
        let mut at = luck.below(2 * mean);
        while mean > 0 && at < shape.seconds * SECOND {
            all.push(Duty { at, chore: draw_chore(word, &mut luck) });
            at += 1 + luck.below(2 * mean);
        }
    }
    all.sort_by_key(|duty| duty.at);
    all
}

fn draw_chore(word: &str, luck: &mut Luck) -> Chore {
    let place = luck.below(16);
    match word {
        "add" => Chore::Add { learner: luck.below(2) },
        "promote" => Chore::Promote {},
        "remove" => Chore::Remove { place },
        "remove-leader" => Chore::RemoveLeader {},
        "remove-silent" => Chore::RemoveSilent {},
        "replace" => Chore::Replace { place },
        "update" => Chore::Update { place },
        _ => Chore::MoveLeader { place },
    }
}

/// Roles there may be, beside root's.
const ROLES: u64 = 3;

/// First everybody and everything that is needed to begin with, then each order at a pace of its
/// own.
fn draw_decrees(seed: u64, shape: &Shape, swarm: &mut Luck) -> Vec<Decree> {
    let mut luck = Luck::new(seed, Purpose::Operator, u64::from(u32::MAX));
    let mut orders = vec![Order::AddUser { user: 0 }, Order::Grant { user: 0, role: 0 }];
    orders.extend((1..=shape.users).map(|user| Order::AddUser { user }));
    for role in 1..=ROLES {
        orders.push(Order::AddRole { role });
        orders.extend((0..3).map(|_| draw_order("permit", shape, &mut luck)));
    }
    orders.extend((1..=shape.users).map(|user| Order::Grant { user, role: 1 + user % ROLES }));
    orders.push(Order::Enable {});
    let mut all: Vec<_> = orders.into_iter().map(|order| Decree { at: 0, order }).collect();
    for (place, &word) in Order::WORDS.iter().enumerate() {
        let mean = maybe(swarm, &[2, 5, 15]) * SECOND;
        let mut luck = Luck::new(seed, Purpose::Operator, (1 << 32) + place as u64);
        let mut at = luck.below(2 * mean);
        while mean > 0 && at < shape.seconds * SECOND {
            all.push(Decree { at, order: draw_order(word, shape, &mut luck) });
            // What ends for all, or for one, begins again soon.
            let again = match all.last().map(|decree| decree.order) {
                Some(Order::Disable {}) => Some(Order::Enable {}),
                Some(Order::DeleteUser { user }) => Some(Order::AddUser { user }),
                Some(Order::DeleteRole { role }) => Some(Order::AddRole { role }),
                _ => None,
            };
            let rest = luck.below(2 * SECOND);
            all.extend(again.map(|order| Decree { at: at + rest, order }));
            at += 1 + luck.below(2 * mean);
        }
    }
    all.sort_by_key(|decree| decree.at);
    all
}

fn draw_order(word: &str, shape: &Shape, luck: &mut Luck) -> Order {
    let (user, role) = (1 + luck.below(shape.users), 1 + luck.below(ROLES));
    // Few, so that what is forbidden was often permitted before, and side by side.
    let (key, span) = (10 * luck.below(shape.keys.div_ceil(10)), *luck.pick(&[10, 10, 20, 1_000]));
    match word {
        "enable" => Order::Enable {},
        "disable" => Order::Disable {},
        "add-user" => Order::AddUser { user },
        "delete-user" => Order::DeleteUser { user },
        "change-password" => Order::ChangePassword { user },
        "add-role" => Order::AddRole { role },
        "delete-role" => Order::DeleteRole { role },
        "grant-role" => Order::Grant { user, role },
        "withdraw-role" => Order::Withdraw { user, role },
        "permit" => Order::Permit { role, key, span, kind: luck.below(3) },
        _ => Order::Forbid { role, key, span },
    }
}

/// Words of faults there were in the beginning.
const FIRST_WORDS: usize = 17;

/// For each word of a fault, the mean time between two; 0 is never.
struct Families {
    mean_ns: Vec<u64>,
}

impl Families {
    fn draw(luck: &mut Luck, later: &mut Luck, shape: &Shape) -> Self {
        let draw = |(place, word): (usize, &&str)| {
            let luck = if place < FIRST_WORDS { &mut *luck } else { &mut *later };
            let mean = maybe(luck, &[3, 8, 20, 60]) * SECOND;
            let needs_others =
                ["cut", "isolate-leader", "clog", "reset", "move-leader", "misroute"];
            let is_pointless = shape.nodes == 1 && needs_others.contains(word);
            if is_pointless { 0 } else { mean }
        };
        Self { mean_ns: Fault::WORDS.iter().enumerate().map(draw).collect() }
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
        "stall-store" => Fault::StallStore { node, rest },
        "misroute" => {
            let at = (0..nodes).filter(|at| ![from, to].contains(at)).max().unwrap_or(from);
            Fault::Misroute { from, to, at, rest }
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
    for at in every(shape.compact_every_ms, end) {
        let back = if luck.below(10) == 0 { YET_TO_COME } else { luck.below(100) };
        let deed = Deed::Compact { back, physical: luck.below(2) };
        errands.push(Errand { at, worker: luck.below(shape.workers), deed });
    }
    for at in every(shape.burst_every_ms, end) {
        draw_burst(at, shape, &mut luck, &mut errands);
    }
    let mut luck = Luck::new(seed, Purpose::Client, 1);
    for at in every(shape.compact_every_ms, end) {
        draw_close_compactions(at, shape, &mut luck, &mut errands);
    }
    errands.sort_by_key(|errand| errand.at);
    errands
}

/// The revision of a deed that lies in the future.
const YET_TO_COME: u64 = 1_000_001;

fn every(ms: u64, end: u64) -> impl Iterator<Item = u64> {
    let step = ms * MILLISECOND;
    (1..).map(move |n| n * step).take_while(move |at| step > 0 && *at < end)
}

/// Compactions at exactly the newest revision, which a deletion or a put has just made, several in
/// a row.
fn draw_close_compactions(at: u64, shape: &Shape, luck: &mut Luck, errands: &mut Vec<Errand>) {
    let at = at - luck.below(shape.compact_every_ms * MILLISECOND);
    let worker = luck.below(shape.workers);
    for _ in 0..luck.below(4) {
        let key = luck.below(shape.keys);
        let deed = match luck.below(3) {
            0 => Deed::Put { key, lease: 0, flags: 0 },
            _ => Deed::Delete { key, span: 1, prev: 0 },
        };
        let compact = Deed::Compact { back: 0, physical: luck.below(2) };
        errands.extend([deed, compact].map(|deed| Errand { at, worker, deed }));
    }
}

/// Leases that begin together, with a key or two each, and so end together.
fn draw_burst(at: u64, shape: &Shape, luck: &mut Luck, errands: &mut Vec<Errand>) {
    let ttl = luck.between(1, shape.lease_ttl.min(4));
    for _ in 0..luck.between(5, 30) {
        let worker = luck.below(shape.workers);
        let mut add = |deed| errands.push(Errand { at, worker, deed });
        add(Deed::Grant { ttl, id: 0 });
        for _ in 0..luck.between(1, 3) {
            add(Deed::Put { key: luck.below(shape.keys), lease: shape.keepers + 1, flags: 0 });
        }
    }
}

fn draw_span(luck: &mut Luck) -> u64 {
    match luck.below(24) {
        0..12 => 1,
        12..22 => luck.between(2, 10),
        22 => 999,
        _ => 1_000,
    }
}

/// Mostly none, mostly one that is kept alive.
fn draw_lease(shape: &Shape, luck: &mut Luck) -> u64 {
    match luck.below(40) {
        0..28 => 0,
        28..34 => luck.below(shape.keepers) + 1,
        34..39 => shape.keepers + 1,
        _ => shape.keepers + 2,
    }
}

/// Mostly the present, sometimes the past, rarely the future.
fn draw_back(luck: &mut Luck) -> u64 {
    match luck.below(40) {
        0..28 => 0,
        28..36 => luck.below(50),
        36..39 => luck.below(400),
        _ => YET_TO_COME,
    }
}

fn draw_put_flags(luck: &mut Luck) -> u64 {
    let ignored = [0, 0, 0, 0, 0, 2, 4, 6];
    luck.below(2) + luck.pick(&ignored) + if luck.below(30) == 0 { 8 } else { 0 }
}

fn draw_txn(shape: &Shape, luck: &mut Luck) -> Deed {
    let (key, other) = (luck.below(shape.keys), luck.below(shape.keys));
    let guard = luck.below(10);
    if luck.below(4) == 0 {
        return Deed::Read { key, guard, other, back: draw_back(luck), flags: luck.below(2) };
    }
    let flags = luck.below(16)
        + if luck.below(20) == 0 { 16 } else { 0 }
        + if luck.below(8) == 0 { 32 } else { 0 };
    let lease = draw_lease(shape, luck);
    let put_flags = if luck.below(4) == 0 { draw_put_flags(luck) } else { 0 };
    Deed::Txn { key, guard, other, flags, lease, put_flags }
}

fn draw_range(shape: &Shape, luck: &mut Luck) -> Deed {
    let flags = if luck.below(2) == 0 { 0 } else { luck.below(8) };
    let sort = if luck.below(2) == 0 { 0 } else { luck.below(16) };
    Deed::Range {
        key: luck.below(shape.keys),
        span: draw_span(luck),
        limit: if luck.below(3) == 0 { luck.between(1, 5) } else { 0 },
        back: draw_back(luck),
        flags,
        sort,
        bounds: if luck.below(5) == 0 { luck.below(16) } else { 0 },
    }
}

fn draw_deed(shape: &Shape, luck: &mut Luck) -> Deed {
    let key = luck.below(shape.keys);
    if luck.below(1_000) < shape.txn_per_mille {
        return draw_txn(shape, luck);
    }
    match luck.below(100) {
        0..43 => {
            let lease = draw_lease(shape, luck);
            Deed::Put { key, lease, flags: draw_put_flags(luck) }
        }
        43..53 => {
            let most = draw_span(luck);
            let span = if most < 999 { luck.between(1, most) } else { most };
            // All keys at once only now and then: there would be little left to test.
            let span = if span == 1_000 && luck.below(4) > 0 { 1 } else { span };
            Deed::Delete { key, span, prev: luck.below(2) }
        }
        53..91 => draw_range(shape, luck),
        91 | 92 => {
            let taken = 2 + luck.below(shape.keepers + 2);
            let id = *luck.pick(&[0, 0, 0, 1, 1, taken]);
            Deed::Grant { ttl: luck.below(shape.lease_ttl + 1), id }
        }
        93 => Deed::Revoke { lease: shape.keepers + 1 },
        94 => Deed::Revoke { lease: luck.between(1, shape.keepers + 2) },
        95..99 => {
            Deed::TimeToLive { lease: luck.between(1, shape.keepers + 2), keys: luck.below(2) }
        }
        _ => Deed::Leases {},
    }
}
