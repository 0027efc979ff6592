//! Who is in the group, as the world knows it: which machines are which members, and who may be
//! lost without the group being lost with them.
//!
//! ```text
//!   newest list any member showed  --+--> possible groups: with and without each change that
//!   changes asked for, in doubt    --'    may yet come to be    --majority left in each?--> spare
//! ```
//!
//! A change whose answer was lost may be applied at any later time, so whoever is to be lost for
//! good must be superfluous either way. And a change counts from when a member applies it: one that
//! has not yet is still of the group before, and finds its leader there.

use std::collections::BTreeSet;

use quorate_core::View;
use quorate_core::ids::{LogIndex, MemberId};
use quorate_proto::etcdserverpb as pb;

use super::driver::{Event, World};
use super::network::Place;
use super::node::Build;
use super::observe::{Observer, Seen, Stop};
use super::operator::{Wanted, machine_at};
use super::queue::Class;

/// Changes in doubt at the same time, more than which nobody is lost any more.
const DOUBTS_MAX: usize = 6;
/// Former groups that somebody may still be in.
const FORMER_MAX: usize = 2;

/// The newest list of members that anybody showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Roll {
    applied: LogIndex,
    pub(super) members: Vec<pb::Member>,
    pub(super) removed: Vec<MemberId>,
    /// The voters before, newest last.
    before: Vec<BTreeSet<MemberId>>,
}

impl Roll {
    /// The members a new group begins with.
    pub(super) fn of(ids: impl Iterator<Item = MemberId>) -> Self {
        let member = |id: MemberId| pb::Member { id: id.get(), ..pb::Member::default() };
        Self { members: ids.map(member).collect(), ..Self::default() }
    }

    /// What a member shows.
    pub(super) fn shown(view: &View) -> Self {
        let facts = &view.facts;
        Self {
            applied: facts.applied,
            members: facts.members.to_vec(),
            removed: facts.removed.to_vec(),
            before: Vec::new(),
        }
    }

    /// A newer one takes its place.
    fn renew(&mut self, newer: Self) {
        let mut before = std::mem::take(&mut self.before);
        let voters = self.voters();
        *self = newer;
        if voters != self.voters() {
            before.push(voters);
            before.drain(..before.len().saturating_sub(FORMER_MAX));
        }
        self.before = before;
    }

    pub(super) fn contains(&self, id: MemberId) -> bool {
        self.members.iter().any(|member| member.id == id.get())
    }

    pub(super) fn has_url(&self, url: &String) -> bool {
        self.members.iter().any(|member| member.peer_ur_ls.contains(url))
    }

    fn voters(&self) -> BTreeSet<MemberId> {
        let voters = self.members.iter().filter(|member| !member.is_learner);
        voters.map(|member| MemberId(member.id)).collect()
    }
}

impl<B: Build, O: Observer> World<B, O> {
    /// A member shows what it knows: the world learns who is in the group.
    pub(super) fn publish(&mut self, node: usize, view: View) {
        let facts = &view.facts;
        let before = self.nodes[node].view.as_ref();
        let is_new = before.is_none_or(|before| before.facts.members != facts.members);
        if is_new && !facts.members.is_empty() {
            let list = facts.members.iter().map(|it| (MemberId(it.id), it.is_learner)).collect();
            let (member, index) = (self.nodes[node].id(), facts.applied);
            self.tell(&Seen::Members { member, index, list });
            if index >= self.roll.applied {
                self.roll.renew(Roll::shown(&view));
                let roll = &self.roll;
                self.clients.operator.doubts.retain(|doubt| !doubt.is_done(roll));
                self.expect_newcomers();
            }
        }
        self.nodes[node].view = Some(view);
    }

    /// Members that were added are started on their machines: also those whose addition came true
    /// when nobody waited for it any more, and the machine had been given to another.
    fn expect_newcomers(&mut self) {
        for member in &self.roll.members {
            let urls = member.peer_ur_ls.iter();
            for (machine, url) in urls.filter_map(|url| Some((machine_at(url)?, url))) {
                if let Some(node) = self.nodes.get_mut(machine) {
                    node.expect(MemberId(member.id), url);
                }
            }
        }
    }

    /// Tells whom raft counts on a member, if that may have changed.
    pub(super) fn tell_group(&mut self, node: usize) {
        let Some(index) = self.nodes[node].take_group_news() else { return };
        let Some(machines) = &self.nodes[node].machines else { return };
        let group = self.build.group(&machines.replica);
        let member = self.nodes[node].id();
        self.tell(&Seen::Group { member, index, group });
    }

    /// The machine that is, or will be, this member.
    pub(super) fn machine_of(&self, id: MemberId) -> Option<usize> {
        let is_it = |node: &super::node::Node<B>| node.id() == id;
        let awaits = |doubt: &Wanted| match doubt {
            Wanted::Add { id: wanted, machine, .. } if *wanted == id => Some(*machine),
            _ => None,
        };
        let living = self.nodes.iter().position(is_it);
        living.or_else(|| self.clients.operator.doubts.iter().find_map(awaits))
    }

    /// Whether the group, whichever it will be, works without the machines of a bit mask.
    pub(super) fn group_survives(&self, lost: u64) -> bool {
        let doubts = &self.clients.operator.doubts;
        let has = |id: &&MemberId| self.machine_of(**id).is_some_and(|at| lost >> at & 1 == 0);
        let works =
            |voters: &BTreeSet<MemberId>| 2 * voters.iter().filter(has).count() > voters.len();
        let subsets = 0..1_u64 << doubts.len().min(DOUBTS_MAX);
        let groups = subsets.map(|subset| {
            let mut voters = self.roll.voters();
            let chosen = doubts.iter().enumerate().filter(|(n, _)| subset >> n & 1 == 1);
            chosen.for_each(|(_, doubt)| doubt.change(&mut voters));
            voters
        });
        let is_settled = self.all_know_the_group(lost);
        doubts.len() <= DOUBTS_MAX
            && groups.into_iter().all(|voters| works(&voters))
            && (is_settled || self.roll.before.iter().all(works))
    }

    /// Whether every member that is left has applied what made the group what it is.
    fn all_know_the_group(&self, lost: u64) -> bool {
        let left = self.nodes.iter().enumerate().filter(|(at, _)| lost >> at & 1 == 0);
        left.map(|(_, node)| node).filter(|node| self.roll.contains(node.id())).all(|node| {
            let applied = node.view.as_ref().map(|view| view.facts.applied);
            node.is_up() && applied >= Some(self.roll.applied)
        })
    }

    /// A member that is not in the group any more stops for good; its machine is free.
    pub(super) fn retire(&mut self, node: usize) {
        self.crash(node, u64::MAX, Stop::Removed);
        self.wipe(node);
    }

    /// A machine loses its disk, and is nobody any more.
    pub(super) fn wipe(&mut self, node: usize) {
        self.crash(node, u64::MAX, Stop::Crash);
        self.reset_links(node);
        self.nodes[node].wipe();
    }

    /// Members tell one that was removed that it was, and listen to it no longer. True if so,
    /// whether or not their word gets there.
    pub(super) fn turns_away(&mut self, at: usize, from: usize) -> bool {
        let id = self.nodes[from].id();
        let view = self.nodes[at].view.as_ref();
        let is_removed = view.is_some_and(|view| view.facts.removed.contains(&id));
        let now = self.queue.now();
        if is_removed && !self.network.is_cut(now, Place::Member(at), Place::Member(from)) {
            let event = Event::Removed(from, self.nodes[from].boot);
            self.queue.push(now + 1_000_000, Class::Network, event);
        }
        is_removed
    }

    /// Members keep connections to all others, also when they have nothing to say: one that was
    /// removed hears of it from anyone it reaches.
    pub(super) fn dial_around(&mut self) {
        let now = self.queue.now();
        let count = self.nodes.len();
        for (from, at) in (0..count).flat_map(|from| (0..count).map(move |at| (from, at))) {
            let (a, b) = (Place::Member(from), Place::Member(at));
            let is_cut = self.network.is_cut(now, a, b) || self.network.is_cut(now, b, a);
            if from != at && self.nodes[from].is_up() && self.nodes[at].is_up() && !is_cut {
                self.turns_away(at, from);
            }
        }
    }

    /// Machines whose new member has entered the list that some member shows are started. One that
    /// was removed before it heard of the group is turned off.
    pub(super) fn start_newcomers(&mut self) {
        let Some(view) = self.ask_around() else { return };
        for node in 0..self.nodes.len() {
            let is_late = self.nodes[node].applied.0 == LogIndex(0);
            if is_late && view.facts.removed.contains(&self.nodes[node].id()) {
                self.retire(node);
            }
            let machine = &self.nodes[node];
            let Some(url) = &machine.awaits else { continue };
            // An old list may show whom the machine was before, and whose disk is gone.
            let is_new = |it: &&pb::Member| !machine.has_been(MemberId(it.id));
            let at_url = |it: &&pb::Member| it.peer_ur_ls.contains(url);
            let listed = view.facts.members.iter().filter(is_new).find(at_url);
            if let Some(member) = listed
                && self.lost >> node & 1 == 0
            {
                let (id, name) = (MemberId(member.id), format!("m{}", member.id));
                self.nodes[node].become_member(id, name);
                self.queue.push(self.queue.now(), Class::Machine, Event::Start(node));
            }
        }
    }

    /// What some member that clients reach shows, not always the newest.
    pub(super) fn ask_around(&mut self) -> Option<View> {
        let (operator, now) = (self.clients.operator_number(), self.queue.now());
        let reaches = |node: &usize| {
            let (client, member) = (Place::Client(operator), Place::Member(*node));
            self.nodes[*node].is_up() && !self.network.is_cut(now, client, member)
        };
        let there: Vec<usize> = (0..self.nodes.len()).filter(reaches).collect();
        let luck = &mut self.clients.luck[operator];
        let chosen = there.get(luck.below(there.len() as u64) as usize)?;
        self.nodes[*chosen].view.clone()
    }
}
