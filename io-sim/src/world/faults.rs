//! Faults strike and end.

use quorate_core::ReplicaInput;

use super::disk::Medium;
use super::driver::{Ending, Event, Phase, World};
use super::network::Place;
use super::node::{Build, Doom};
use super::observe::{Observer, Seen, Stop};
use super::plan::Fault;
use super::queue::Class;

impl<B: Build, O: Observer> World<B, O> {
    /// The plan's next fault strikes.
    pub(super) fn strike(&mut self, number: usize) {
        if let Some(next) = self.plan.strikes.get(number + 1) {
            self.queue.push(next.at, Class::Fault, Event::Strike(number + 1));
        }
        if self.phase != Phase::Faults {
            return;
        }
        let fault = self.plan.strikes[number].fault;
        self.note(None, || {
            let mut text = String::from("! ");
            fault.write(&mut text);
            text
        });
        if self.inflict(fault) {
            self.count_fired(fault.word());
        }
    }

    /// Notes that a fault of that kind struck.
    pub(super) fn count_fired(&mut self, word: &'static str) {
        *self.fired.entry(word).or_default() += 1;
    }

    /// False if there was nothing to hit.
    fn inflict(&mut self, fault: Fault) -> bool {
        let now = self.now();
        let nodes = self.nodes.len() as u64;
        let number = |node: u64| (node % nodes) as usize;
        match fault {
            Fault::Crash { node, outputs, rest } => self.doom(Some(number(node)), outputs, rest),
            Fault::CrashLeader { outputs, rest } => self.doom(self.leader(), outputs, rest),
            Fault::CrashAll { rest } => {
                (0..self.nodes.len()).filter(|&n| self.doom(Some(n), 0, rest)).count() > 0
            }
            Fault::Pause { node, rest, frozen } => self.pause(Some(number(node)), rest, frozen),
            Fault::PauseLeader { rest, frozen } => self.pause(self.leader(), rest, frozen),
            Fault::Cut { from, to, both, rest } => self.cut(from, to, both == 1, rest),
            Fault::IsolateLeader { way, rest } => {
                let Some(leader) = self.leader() else { return false };
                let (one, others) = (1 << leader, !(1 << leader));
                match way {
                    0 => self.cut(one, others, true, rest),
                    1 => self.cut(others, one, false, rest),
                    _ => self.cut(one, others, false, rest),
                }
            }
            Fault::Clog { from, to, rest } => {
                let (a, b) = (Place::Member(number(from)), Place::Member(number(to)));
                self.network.clog(a, b, now.saturating_add(rest));
                true
            }
            Fault::Reset { from, to } => {
                self.network.reset(Place::Member(number(from)), Place::Member(number(to)));
                true
            }
            Fault::Misroute { from, to, at, rest } => {
                let (a, b) = (Place::Member(number(from)), Place::Member(number(to)));
                self.network.misroute(a, b, number(at), now.saturating_add(rest));
                true
            }
            Fault::CutClients { node, way, rest } => self.cut_clients(number(node), way, rest),
            Fault::LagApply { node, step, rest } => {
                self.nodes[number(node)].lag = (step, now.saturating_add(rest));
                true
            }
            Fault::TurnClock { node, pace } => {
                let drift = pace as i64 - 1_000_000;
                self.nodes[number(node)].clock.turn(now, drift.clamp(-500_000, 500_000) as i32);
                self.note_clock(number(node));
                self.rouse(number(node));
                true
            }
            Fault::MoveLeader { node } => {
                let Some(leader) = self.leader() else { return false };
                let to = Some(self.nodes[number(node)].id());
                self.give_replica(leader, ReplicaInput::TransferLeader { to });
                true
            }
            Fault::SlowDisk { node, .. }
            | Fault::StallDisk { node, .. }
            | Fault::StallStore { node, .. }
            | Fault::HangDisk { node, .. }
            | Fault::FailSync { node, .. } => self.harm_disk(number(node), fault),
        }
    }

    /// The member that leads in the highest term, of those that are up.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |n: &usize| self.nodes[*n].is_up() && self.nodes[*n].role.is_leader;
        (0..self.nodes.len()).filter(leads).max_by_key(|&n| self.nodes[n].role.term)
    }

    fn doom(&mut self, node: Option<usize>, outputs: u64, rest: u64) -> bool {
        let Some(node) = node.filter(|&n| self.nodes[n].is_up()) else { return false };
        if outputs == 0 {
            self.crash(node, rest, Stop::Crash);
        } else {
            self.nodes[node].doom = Some(Doom { outputs, rest });
        }
        true
    }

    fn pause(&mut self, node: Option<usize>, rest: u64, frozen: u64) -> bool {
        let Some(node) = node.filter(|&n| self.nodes[n].is_up()) else { return false };
        let until = self.now().saturating_add(rest);
        for turn in &mut self.nodes[node].turns {
            turn.busy_until = turn.busy_until.max(until);
        }
        let member = self.nodes[node].id();
        self.tell(&Seen::Paused { member, is_frozen: frozen == 1 });
        let still = if frozen == 1 { rest } else { 0 };
        let ends = Event::Ends(node, self.nodes[node].boot, Ending::Pause(still));
        self.queue.push(until, Class::Fault, ends);
        true
    }

    fn cut(&mut self, from: u64, to: u64, both: bool, rest: u64) -> bool {
        let until = self.now().saturating_add(rest);
        let nodes = self.nodes.len();
        let has = |set: u64, node: usize| set >> node & 1 == 1;
        let mut is_any = false;
        for (a, b) in (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))) {
            if a == b || !has(from, a) || !has(to, b) {
                continue;
            }
            is_any = true;
            self.network.cut(Place::Member(a), Place::Member(b), until);
            if both {
                self.network.cut(Place::Member(b), Place::Member(a), until);
            }
        }
        is_any
    }

    fn cut_clients(&mut self, node: usize, way: u64, rest: u64) -> bool {
        let until = self.now().saturating_add(rest);
        for client in 0..self.clients.count() {
            let (client, member) = (Place::Client(client), Place::Member(node));
            if way != 2 {
                self.network.cut(client, member, until);
            }
            if way != 1 {
                self.network.cut(member, client, until);
            }
        }
        true
    }

    fn harm_disk(&mut self, node: usize, fault: Fault) -> bool {
        let now = self.now();
        // What a stall holds up is due at its end, which healing does not bring forward.
        let heals = self.plan.healing();
        let member = &mut self.nodes[node];
        if member.machines.is_none() {
            return false;
        }
        let boot = member.boot;
        match fault {
            Fault::SlowDisk { percent, rest, .. } => {
                member.pace.slow_down(percent.max(100));
                let ends = Event::Ends(node, boot, Ending::SlowDisk);
                self.queue.push(now.saturating_add(rest), Class::Fault, ends);
            }
            Fault::StallDisk { rest, .. } => {
                let until = now.saturating_add(rest).min(heals);
                member.pace.stall(Medium::Log, until);
                member.pace.stall(Medium::Store, until);
            }
            Fault::StallStore { rest, .. } => {
                member.pace.stall(Medium::Store, now.saturating_add(rest).min(heals));
            }
            Fault::HangDisk { rest, .. } => {
                member.pace.hang();
                let ends = Event::Ends(node, boot, Ending::HungDisk(rest));
                self.queue.push(now.saturating_add(rest), Class::Fault, ends);
            }
            Fault::FailSync { rest, .. } => {
                member.pace.fail_next_sync();
                member.failing = Some(rest);
            }
            _ => return false,
        }
        true
    }

    /// Something lasting ends.
    pub(super) fn end(&mut self, node: usize, boot: u64, ending: Ending) {
        let now = self.now();
        let is_same_run = self.nodes[node].boot == boot && self.nodes[node].is_up();
        match ending {
            Ending::SlowDisk => self.nodes[node].pace.slow_down(100),
            Ending::Pause(still) if is_same_run && !self.is_healed(node) => {
                self.nodes[node].clock.stood_still(now, still);
                self.note_clock(node);
                let member = self.nodes[node].id();
                self.tell(&Seen::Resumed { member });
                self.rouse(node);
            }
            // Even if the member was restarted meanwhile: what hung in this run stays lost, too.
            Ending::HungDisk(rest) => {
                let was_hung = self.nodes[node].pace.is_hung();
                self.nodes[node].pace.heal();
                if was_hung {
                    self.crash(node, rest / 10, Stop::Crash);
                }
            }
            Ending::Pause(_) => {}
        }
    }
}
