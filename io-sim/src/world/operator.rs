//! The operator: changes the group, one change at a time, and knows only what members say.
//!
//! ```text
//!   chore --resolved--> wish --asked--> answered: done
//!                         ^  '--refused, or no answer--.
//!                         '-- not in the list yet <-- looks at a member's list --> there: done
//! ```
//!
//! A wish without an answer may come true at any later time: it stays in doubt until the list
//! shows it. An addition is asked for again with the same URL, never twice with two; the machine
//! is started when the list has it.

use std::collections::{BTreeSet, VecDeque};

use quorate_core::error::Refusal;
use quorate_core::ids::MemberId;
use quorate_core::input::MemberAddition;
use quorate_core::{Request, View};
use quorate_proto::etcdserverpb as pb;

use super::client::Purposed;
use super::driver::{Event, MILLISECOND, Phase, World};
use super::group::Roll;
use super::node::Build;
use super::observe::{Observer, Operation, Outcome};
use super::plan::Chore;
use super::queue::Class;

/// How often a wish is repeated.
const TRIES_MAX: u32 = 8;
/// A group is not made smaller than this.
const MEMBERS_MIN: usize = 1;

/// The URL of a machine that joins; `given` counts all URLs, so that none is used twice.
fn url_of(machine: usize, given: u64) -> String {
    format!("http://s{machine}-{given}:2380")
}

/// The machine that joins, or joined, at that URL.
pub(super) fn machine_at(url: &str) -> Option<usize> {
    url.strip_prefix("http://s")?.split_once('-')?.0.parse().ok()
}

/// A change somebody may have asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// A machine joins.
    Add { id: MemberId, machine: usize, url: String, is_learner: bool },
    /// A learner gets its vote.
    Promote(MemberId),
    /// A member goes.
    Remove(MemberId),
    /// A member has another URL.
    Update(MemberId, String),
    /// Leadership goes to a member.
    MoveLeader(MemberId),
}

impl Wanted {
    /// Whether a list of members shows it.
    pub(super) fn is_done(&self, roll: &Roll) -> bool {
        let find = |id: &MemberId| roll.members.iter().find(|member| member.id == id.get());
        match self {
            Self::Add { id, url, .. } => roll.has_url(url) || roll.removed.contains(id),
            Self::Promote(id) => find(id).is_none_or(|member| !member.is_learner),
            Self::Remove(id) => find(id).is_none(),
            Self::Update(id, url) => find(id).is_none_or(|it| it.peer_ur_ls.contains(url)),
            Self::MoveLeader(_) => true,
        }
    }

    /// What it does to the voters.
    pub(super) fn change(&self, voters: &mut BTreeSet<MemberId>) {
        match self {
            Self::Add { id, is_learner: false, .. } | Self::Promote(id) => {
                voters.insert(*id);
            }
            Self::Remove(id) => {
                voters.remove(id);
            }
            Self::Add { .. } | Self::Update(..) | Self::MoveLeader(_) => {}
        }
    }

    /// What has happened when it is done, for the count.
    fn word(&self) -> &'static str {
        match self {
            Self::Add { .. } => "member-added",
            Self::Promote(_) => "member-promoted",
            Self::Remove(_) => "member-removed",
            Self::Update(..) => "member-updated",
            Self::MoveLeader(_) => "leader-moved",
        }
    }

    fn request(&self) -> Request {
        match self.clone() {
            Self::Add { id, url, is_learner, .. } => {
                let peer_ur_ls = vec![url];
                let request = pb::MemberAddRequest { peer_ur_ls, is_learner };
                Request::MemberAdd(MemberAddition { id, request })
            }
            Self::Promote(id) => Request::MemberPromote(pb::MemberPromoteRequest { id: id.get() }),
            Self::Remove(id) => Request::MemberRemove(pb::MemberRemoveRequest { id: id.get() }),
            Self::Update(id, url) => {
                let (id, peer_ur_ls) = (id.get(), vec![url]);
                Request::MemberUpdate(pb::MemberUpdateRequest { id, peer_ur_ls })
            }
            Self::MoveLeader(to) => {
                Request::MoveLeader(pb::MoveLeaderRequest { target_id: to.get() })
            }
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Operator {
    chores: VecDeque<Chore>,
    wish: Option<Wanted>,
    tries: u32,
    is_waiting: bool,
    node: usize,
    /// Ids and URLs given so far.
    given: u64,
    /// Wishes that were asked for, may come true, and are in no list yet.
    pub(super) doubts: Vec<Wanted>,
}

impl Operator {
    fn drop_wish(&mut self) {
        (self.wish, self.tries) = (None, 0);
    }
}

/// What says nothing about whether the change will be made.
fn is_in_doubt(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Unknown => true,
        Outcome::Refused(refusal) => matches!(
            refusal,
            Refusal::NoLeader
                | Refusal::NotLeader
                | Refusal::LeaderChanged
                | Refusal::Stopped
                | Refusal::Timeout
                | Refusal::TimeoutDueToLeaderFail
                | Refusal::TimeoutDueToConnectionLost
        ),
        Outcome::Range(_) | Outcome::Response(_) => true,
    }
}

impl<B: Build, O: Observer> World<B, O> {
    /// The next chore of the plan is due.
    pub(super) fn begin_chore(&mut self, number: usize) {
        if let Some(next) = self.plan.duties.get(number + 1) {
            self.queue.push(next.at, Class::Client, Event::Chore(number + 1));
        }
        let chore = self.plan.duties[number].chore;
        self.clients.operator.chores.push_back(chore);
    }

    /// The operator looks around, and asks for what it wants next.
    pub(super) fn wake_operator(&mut self) {
        if self.phase != Phase::Faults || self.plan.duties.is_empty() {
            return;
        }
        let client = self.clients.operator_number();
        let rest = self.clients.luck[client].between(100, 1_500) * MILLISECOND;
        self.queue.push(self.now() + rest, Class::Client, Event::Wake(client));
        self.start_newcomers();
        self.dial_around();
        if self.clients.operator.is_waiting {
            return;
        }
        let Some(view) = self.ask_around() else { return };
        self.settle_wish(&view);
        if self.clients.operator.wish.is_none()
            && let Some(chore) = self.clients.operator.chores.pop_front()
        {
            self.clients.operator.wish = self.resolve(chore, &view);
        }
        self.ask_for_wish(client);
    }

    /// What a list shows needs no asking; nor does what was asked for in vain often enough.
    fn settle_wish(&mut self, view: &View) {
        let operator = &mut self.clients.operator;
        let Some(wish) = &operator.wish else { return };
        let is_shown = match wish {
            Wanted::MoveLeader(to) => view.facts.role.leader == Some(*to),
            other => other.is_done(&Roll::shown(view)),
        };
        if is_shown || operator.tries >= TRIES_MAX {
            operator.drop_wish();
        }
    }

    fn ask_for_wish(&mut self, client: usize) {
        let operator = &mut self.clients.operator;
        let Some(wish) = &mut operator.wish else { return };
        operator.tries += 1;
        if let Wanted::Add { id, .. } = wish {
            operator.given += 1;
            *id = MemberId(self.plan.shape.nodes + 10 + operator.given);
        }
        let wish = wish.clone();
        let changes_voters = !matches!(wish, Wanted::MoveLeader(_) | Wanted::Update(..));
        if changes_voters && !operator.doubts.contains(&wish) {
            operator.doubts.push(wish.clone());
        }
        operator.is_waiting = true;
        let node = operator.node;
        self.next_call();
        let operation = Operation::Request(wish.request());
        self.call(client, node, Purposed::Chore, operation);
    }

    pub(super) fn chore_concluded(&mut self, outcome: &Outcome) {
        let node = self.next_node(self.clients.operator.node);
        let operator = &mut self.clients.operator;
        operator.is_waiting = false;
        let is_answered = matches!(outcome, Outcome::Response(_));
        if !is_answered {
            operator.node = node;
        }
        if !is_in_doubt(outcome)
            && let Some(wish) = &operator.wish
        {
            operator.doubts.retain(|doubt| doubt != wish);
        }
        if is_answered {
            let word = operator.wish.as_ref().map_or("no-wish", Wanted::word);
            operator.drop_wish();
            self.count_fired(word);
        }
    }

    /// From a chore to a wish, if there is anything to wish for.
    fn resolve(&mut self, chore: Chore, view: &View) -> Option<Wanted> {
        let members = &view.facts.members;
        let pick = |place: u64| {
            let count = members.len().max(1) as u64;
            members.get((place % count) as usize).map(|member| MemberId(member.id))
        };
        let may_shrink = members.len() > MEMBERS_MIN;
        match chore {
            Chore::Add { learner } => self.resolve_addition(learner == 1),
            Chore::Promote {} => {
                let learner = members.iter().find(|member| member.is_learner)?;
                Some(Wanted::Promote(MemberId(learner.id)))
            }
            Chore::Remove { place } if may_shrink => pick(place).map(Wanted::Remove),
            Chore::RemoveLeader {} if may_shrink => view.facts.role.leader.map(Wanted::Remove),
            Chore::RemoveSilent {} if may_shrink => {
                let is_down = |id: &MemberId| {
                    self.machine_of(*id).is_none_or(|node| !self.nodes[node].is_up())
                };
                let mut ids = members.iter().map(|member| MemberId(member.id));
                ids.find(is_down).map(Wanted::Remove)
            }
            Chore::Replace { place } => pick(place).and_then(|id| self.replace(id)),
            Chore::Update { place } => {
                self.clients.operator.given += 1;
                let url = format!("http://moved-{}:2380", self.clients.operator.given);
                // Who has not been started yet would not find itself in the list any more.
                let is_living = |id: &MemberId| self.nodes.iter().any(|node| node.id() == *id);
                pick(place).filter(is_living).map(|id| Wanted::Update(id, url))
            }
            Chore::MoveLeader { place } => pick(place).map(Wanted::MoveLeader),
            Chore::Remove { .. } | Chore::RemoveLeader {} | Chore::RemoveSilent {} => None,
        }
    }

    fn resolve_addition(&mut self, is_learner: bool) -> Option<Wanted> {
        let (roll, doubts) = (&self.roll, &self.clients.operator.doubts);
        let may_come = |url: &String| {
            let is_it = |doubt: &Wanted| matches!(doubt, Wanted::Add { url: it, .. } if it == url);
            roll.has_url(url) || doubts.iter().any(is_it)
        };
        for node in &mut self.nodes {
            node.awaits = node.awaits.take().filter(may_come);
        }
        let machine = self.nodes.iter().position(|node| node.is_free())?;
        let operator = &mut self.clients.operator;
        operator.given += 1;
        let url = url_of(machine, operator.given);
        self.nodes[machine].awaits = Some(url.clone());
        Some(Wanted::Add { id: MemberId(0), machine, url, is_learner })
    }

    /// A machine and its disk are lost, if the group can bear it. Its member goes; then another
    /// comes.
    fn replace(&mut self, id: MemberId) -> Option<Wanted> {
        let node = self.nodes.iter().position(|node| node.id() == id)?;
        if !self.group_survives(1 << node) {
            return None;
        }
        self.note(None, || format!("! {id} is lost with its disk"));
        self.count_fired("replaced");
        self.wipe(node);
        self.clients.operator.chores.push_front(Chore::Add { learner: 0 });
        Some(Wanted::Remove(id))
    }
}
