//! The second half of a run: faults are over inside a quorum, and what is due must happen.
//!
//! ```text
//!   Faults --Heal--> Electing --one leader--> Serving --all served--> Settling --equal--> Resting
//!            10 election timeouts       60 s                    60 s            longest TTL
//! ```
//!
//! While it rests nobody keeps a lease alive, so none may be left in the end; once none is, the
//! rest is over.
//!
//! What is broken outside the quorum stays broken for good.

use quorate_core::ids::MemberId;

use super::driver::{Event, MILLISECOND, Phase, World};
use super::due;
use super::network::Place;
use super::node::Build;
use super::observe::{Observer, Outcome, Seen, Stop, Verdict};
use super::queue::Class;

/// Between two looks.
const LOOK_EVERY: u64 = 100 * MILLISECOND;

impl<B: Build, O: Observer> World<B, O> {
    fn is_inside(&self, node: usize) -> bool {
        self.lost >> node & 1 == 0
    }

    /// Members of the group whose machines are not lost.
    fn inside(&self) -> impl Iterator<Item = usize> {
        let is_due = |&node: &usize| {
            let id = self.nodes[node].id();
            self.is_inside(node) && self.nodes[node].is_member() && self.roll.contains(id)
        };
        (0..self.nodes.len()).filter(is_due)
    }

    /// Machines outside the plan's quorum are lost, unless the group needs them.
    fn choose_lost(&mut self) {
        for node in 0..self.nodes.len() {
            let is_wanted = self.plan.quorum >> node & 1 == 1;
            if !is_wanted && self.group_survives(self.lost | 1 << node) {
                self.lost |= 1 << node;
            }
        }
    }

    fn quorum(&self) -> Vec<MemberId> {
        self.inside().map(|node| self.nodes[node].id()).collect()
    }

    /// Whether faults are over for a member.
    pub(super) fn is_healed(&self, node: usize) -> bool {
        self.phase != Phase::Faults && self.is_inside(node)
    }

    /// Faults are over inside the quorum.
    pub(super) fn heal(&mut self) {
        let now = self.now();
        self.note(None, || String::from("! heal"));
        self.network.calm_down();
        self.clients.slow_credit = 0;
        self.choose_lost();
        for node in 0..self.nodes.len() {
            if self.is_inside(node) {
                self.heal_member(node);
            } else {
                self.lose_member(node);
            }
        }
        let quorum = self.quorum();
        self.tell(&Seen::Healed { quorum });
        let timeout = self.plan.shape.election_ms * MILLISECOND;
        self.phase = Phase::Electing(now + 10 * timeout);
        self.queue.push(now + LOOK_EVERY, Class::Fault, Event::Look);
    }

    fn heal_member(&mut self, node: usize) {
        let now = self.now();
        let member = &mut self.nodes[node];
        let was_hung = member.pace.is_hung();
        member.pace.heal();
        member.lag = (0, 0);
        member.doom = None;
        member.failing = None;
        // Who stood still goes on at once, not when its pause would have ended.
        for turn in &mut member.turns {
            turn.is_due &= turn.busy_until <= now;
            turn.busy_until = turn.busy_until.min(now);
        }
        if member.is_member() {
            let member = member.id();
            self.tell(&Seen::Resumed { member });
        }
        for other in 0..self.nodes.len() {
            if self.is_inside(other) {
                self.network.heal(Place::Member(node), Place::Member(other));
            }
        }
        for client in 0..self.clients.count() {
            self.network.heal(Place::Member(node), Place::Client(client));
            self.network.heal(Place::Client(client), Place::Member(node));
        }
        if was_hung {
            self.crash(node, 0, Stop::Crash);
        }
        if !self.nodes[node].is_up() {
            self.queue.push(now, Class::Fault, Event::Start(node));
        }
        self.rouse(node);
    }

    /// A member outside: off for good, or alone for good.
    fn lose_member(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.network.cut(Place::Member(node), Place::Member(other), u64::MAX);
            self.network.cut(Place::Member(other), Place::Member(node), u64::MAX);
        }
        // What it said last, late as it may be, would be taken for a leader that is still there.
        self.reset_links(node);
        self.nodes[node].is_lost = true;
        if self.nodes[node].luck.below(2) == 0 {
            self.crash(node, u64::MAX, Stop::Crash);
        }
        self.lose_clients(node);
    }

    /// Looks whether what is due has happened.
    pub(super) fn look(&mut self) {
        let now = self.now();
        self.start_newcomers();
        self.dial_around();
        match self.phase {
            Phase::Electing(until) => match self.check_leader() {
                Ok(()) => self.begin_serving(),
                Err(what) if now >= until => self.object(Verdict::Liveness, "leader", what),
                Err(_) => {}
            },
            Phase::Serving(until) => {
                match due::check_served(self.clients.bells.len(), &self.plan.shape) {
                    Ok(()) => self.phase = Phase::Settling(now + due::PATIENCE),
                    Err(what) if now >= until => self.object(Verdict::Liveness, "served", what),
                    Err(_) => {}
                }
            }
            Phase::Settling(until) => match self.check_settled() {
                Ok(()) => self.phase = Phase::Resting(now + due::longest_life(&self.plan.shape)),
                Err(what) if now >= until => self.object(Verdict::Liveness, "settled", what),
                Err(_) => {}
            },
            Phase::Resting(until) if now < until && self.has_leases() => {}
            // The last leases end now: wait until everybody knows.
            Phase::Resting(until) => match self.check_equal() {
                Ok(()) => self.conclude_all(),
                Err(what) if now >= until + due::PATIENCE => {
                    self.object(Verdict::Liveness, "settled", what);
                }
                Err(_) => {}
            },
            Phase::Faults | Phase::Done => return,
        }
        self.queue.push(now + LOOK_EVERY, Class::Fault, Event::Look);
    }

    fn check_leader(&self) -> Result<(), String> {
        let roles: Vec<_> = self.inside().map(|node| self.nodes[node].role).collect();
        due::check_leader(&roles, &self.quorum())
    }

    /// Every worker puts some keys, all keys in all.
    fn begin_serving(&mut self) {
        let workers = self.clients.workers.len();
        for key in 0..self.plan.shape.keys {
            self.clients.workers[key as usize % workers].owes.push_back(key);
        }
        for worker in 0..workers {
            self.go_on(worker);
        }
        self.phase = Phase::Serving(self.now() + due::PATIENCE);
    }

    /// Whether anybody still knows of a lease.
    fn has_leases(&self) -> bool {
        let views = self.inside().filter_map(|node| self.nodes[node].view.as_ref());
        views.into_iter().any(|view| view.facts.leases > 0)
    }

    /// All members are equal, and who was removed has stopped.
    fn check_equal(&self) -> Result<(), String> {
        let is_ghost = |node: &usize| {
            let member = &self.nodes[*node];
            self.is_inside(*node) && member.is_up() && self.roll.removed.contains(&member.id())
        };
        if let Some(ghost) = (0..self.nodes.len()).find(is_ghost) {
            let id = self.nodes[ghost].id();
            return Err(format!("member {id} was removed and still runs"));
        }
        let applied: Vec<_> = self.inside().map(|node| self.nodes[node].applied).collect();
        due::check_equal(&applied)
    }

    fn check_settled(&self) -> Result<(), String> {
        self.check_equal()?;
        let mut watchers = self.clients.watchers.iter().enumerate();
        watchers.try_for_each(|(n, watcher)| due::check_watcher(n, watcher, &self.clients.bells))
    }

    fn conclude_all(&mut self) {
        while let Some((&call, _)) = self.clients.calls.first_key_value() {
            self.conclude(call, Outcome::Unknown);
        }
        let quorum = self.quorum();
        self.tell(&Seen::Finished { quorum });
        self.phase = Phase::Done;
    }
}
