//! Those who call: workers with errands, keepers with a lease.

use std::collections::VecDeque;

use quorate_core::error::Refusal;
use quorate_core::{Request, Response};
use quorate_proto::etcdserverpb as pb;

use super::request::{Known, bell};
use super::{
    Class, Event, Luck, MILLISECOND, Observer, Operation, Outcome, Purposed, Shape, World,
};
use crate::world::node::Build;
use crate::world::plan::Deed;
use crate::world::steward::user_name;

/// How often a refused call is tried again.
pub(crate) const TRIES_MAX: u32 = 3;

/// Does errands.
pub(crate) struct Worker {
    queue: VecDeque<Purposed>,
    /// Keys it must put before the run may end.
    pub(in crate::world) owes: VecDeque<u64>,
    in_flight: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) node: usize,
    revision: i64,
    /// What it has seen of each key: the lease and the modification revision.
    keys: Vec<(i64, i64)>,
    lease: i64,
    /// In whose name it asks for keys: a user, or 0 for root.
    pub(in crate::world) user: u64,
    /// By a token, and not by name.
    pub(in crate::world) shows_token: bool,
    pub(in crate::world) token: Option<String>,
    is_logging_in: bool,
}

impl Worker {
    pub(crate) fn new(number: usize, shape: &Shape) -> Self {
        // Of three, one is root, one shows a name, and one a token.
        let part = number % 3;
        let user = if part == 0 { 0 } else { 1 + (number / 3) as u64 % shape.users.max(1) };
        let is_open_loop = number + 1 == shape.workers as usize;
        Self {
            queue: VecDeque::new(),
            owes: VecDeque::new(),
            in_flight: 0,
            in_flight_max: if is_open_loop { 8 } else { 1 },
            node: number % shape.nodes as usize,
            revision: 0,
            keys: vec![(0, 0); shape.keys as usize],
            lease: 0,
            user,
            shows_token: shape.users > 0 && part == 2,
            token: None,
            is_logging_in: false,
        }
    }

    /// The request of a deed, if there is anything to ask for.
    pub(crate) fn resolve(&mut self, call: u64, leases: &[i64], deed: Deed) -> Option<Operation> {
        let (revision, lease) = (self.revision, self.lease);
        let known = Known { call, revision, keys: &self.keys, leases, lease };
        let operation = known.resolve(deed)?;
        if let Operation::Request(Request::LeaseRevoke(revoke)) = &operation
            && revoke.id == self.lease
        {
            self.lease = 0;
        }
        Some(operation)
    }

    /// Learns from an answer's header and keys.
    pub(crate) fn learn(&mut self, outcome: &Outcome) {
        let header = match outcome {
            Outcome::Range(range) => range.header.as_ref(),
            Outcome::Response(response) => header(response),
            _ => None,
        };
        if let Some(header) = header {
            self.revision = self.revision.max(header.revision);
        }
        if let Outcome::Response(Response::LeaseGrant(grant)) = outcome {
            self.lease = grant.id;
        }
        let Outcome::Range(range) = outcome else { return };
        for kv in &range.kvs {
            let known = super::request::number_of(&kv.key).and_then(|n| self.keys.get_mut(n));
            if let Some(known) = known.filter(|known| known.1 < kv.mod_revision) {
                *known = (kv.lease, kv.mod_revision);
            }
        }
    }
}

/// Keeps one lease alive.
pub(crate) struct Keeper {
    pub(crate) lease: i64,
    ttl: i64,
    pub(crate) node: usize,
    granted: i64,
    is_waiting: bool,
    /// It forgets its lease until then.
    idle_until: u64,
}

impl Keeper {
    pub(crate) fn new(luck: &mut Luck, number: usize, shape: &Shape) -> Self {
        let node = number % shape.nodes as usize;
        let granted = 1_000 * (number as i64 + 1);
        let ttls = [shape.lease_ttl, shape.lease_ttl, shape.lease_ttl / 2, 2, 3];
        let ttl = (*luck.pick(&ttls)).clamp(1, shape.lease_ttl) as i64;
        Self { lease: 0, ttl, node, granted, is_waiting: false, idle_until: 0 }
    }

    /// How long until it looks after its lease again, and what it asks for now, if anything.
    pub(crate) fn choose(&mut self, now: u64, luck: &mut Luck) -> (u64, Option<Request>) {
        let third = self.ttl as u64 * 1_000 / 3;
        let rest = luck.between(third / 2, third) * MILLISECOND;
        if luck.below(40) == 0 {
            self.idle_until = now + luck.below(3 * self.ttl as u64 * 1_000) * MILLISECOND;
        }
        if now < self.idle_until || std::mem::replace(&mut self.is_waiting, true) {
            return (rest, None);
        }
        let request = if self.lease == 0 {
            self.granted += 1;
            let (ttl, id) = (self.ttl, self.granted);
            Request::LeaseGrant(pb::LeaseGrantRequest { ttl, id })
        } else {
            Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: self.lease })
        };
        (rest, Some(request))
    }

    /// Learns how it ended. False if another member had better be asked.
    pub(crate) fn learn(&mut self, outcome: &Outcome) -> bool {
        self.is_waiting = false;
        match outcome {
            Outcome::Response(Response::LeaseGrant(grant)) => self.lease = grant.id,
            Outcome::Response(Response::LeaseKeepAlive(alive)) if alive.ttl <= 0 => {
                self.lease = 0;
            }
            Outcome::Response(_) => {}
            Outcome::Refused(Refusal::LeaseNotFound) => self.lease = 0,
            _ => return false,
        }
        true
    }
}

fn header(response: &Response) -> Option<&pb::ResponseHeader> {
    match response {
        Response::Put(r) => r.header.as_ref(),
        Response::DeleteRange(r) => r.header.as_ref(),
        Response::Txn(r) => r.header.as_ref(),
        Response::Compact(r) => r.header.as_ref(),
        Response::LeaseGrant(r) => r.header.as_ref(),
        Response::LeaseRevoke(r) => r.header.as_ref(),
        Response::LeaseKeepAlive(r) => r.header.as_ref(),
        Response::LeaseTimeToLive(r) => r.header.as_ref(),
        Response::LeaseLeases(r) => r.header.as_ref(),
        Response::Alarm(r) => r.header.as_ref(),
        Response::MoveLeader(r) => r.header.as_ref(),
        Response::Downgrade(r) => r.header.as_ref(),
        Response::Auth(r) => r.header.as_ref(),
        Response::MemberAdd(r) => r.header.as_ref(),
        Response::MemberRemove(r) => r.header.as_ref(),
        Response::MemberUpdate(r) => r.header.as_ref(),
        Response::MemberPromote(r) => r.header.as_ref(),
    }
}

/// Whether asking again can help, and cannot do anything twice.
pub(crate) fn is_worth_a_retry(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::NoLeader | Refusal::NotLeader | Refusal::RequestTooManyRequests)
}

impl<B: Build, O: Observer> World<B, O> {
    /// The next errand of the plan is due.
    pub(in crate::world) fn begin_errand(&mut self, number: usize) {
        if let Some(next) = self.plan.errands.get(number + 1) {
            self.queue.push(next.at, Class::Client, Event::Errand(number + 1));
        }
        let client = (self.plan.errands[number].worker % self.plan.shape.workers) as usize;
        self.clients.workers[client].queue.push_back(Purposed::Errand(number, 0));
        self.go_on(client);
    }

    /// A worker makes as many calls as it may.
    pub(in crate::world) fn go_on(&mut self, client: usize) {
        loop {
            let worker = &mut self.clients.workers[client];
            if worker.in_flight >= worker.in_flight_max || worker.is_logging_in {
                return;
            }
            if worker.shows_token && worker.token.is_none() && worker.owes.is_empty() {
                return self.log_in(client);
            }
            let owed = worker.owes.front().map(|&key| Purposed::Bell(key));
            let Some(next) = owed.or_else(|| worker.queue.pop_front()) else { return };
            if matches!(next, Purposed::Bell(_)) {
                if worker.in_flight > 0 {
                    return;
                }
                worker.owes.pop_front();
            }
            self.make_call(client, next);
        }
    }

    fn make_call(&mut self, client: usize, purpose: Purposed) {
        let call = self.next_call();
        let operation = match purpose {
            Purposed::Errand(number, _) => {
                let leases: Vec<_> = self.clients.keepers.iter().map(|k| k.lease).collect();
                let deed = self.plan.errands[number].deed;
                self.clients.workers[client].resolve(call, &leases, deed)
            }
            Purposed::Bell(key) => Some(bell(key, call)),
            Purposed::Lease | Purposed::Chore | Purposed::Order | Purposed::LogIn => None,
        };
        let Some(operation) = operation else { return };
        let worker = &mut self.clients.workers[client];
        worker.in_flight += 1;
        let node = worker.node;
        self.call(client, node, purpose, operation);
    }

    /// A shell would have compared the password.
    fn log_in(&mut self, client: usize) {
        let call = self.next_call();
        let worker = &mut self.clients.workers[client];
        worker.is_logging_in = true;
        let (name, simple_token) = (user_name(worker.user), format!("t{call}"));
        let ask = pb::InternalAuthenticateRequest { name, simple_token, ..<_>::default() };
        let request = pb::InternalRaftRequest { authenticate: Some(ask.into()), ..<_>::default() };
        let node = worker.node;
        self.call(
            client,
            node,
            Purposed::LogIn,
            Operation::Request(Request::Auth(Box::new(request))),
        );
    }

    pub(super) fn log_in_concluded(&mut self, client: usize, outcome: &Outcome) {
        let next = self.next_node(self.clients.workers[client].node);
        let worker = &mut self.clients.workers[client];
        worker.is_logging_in = false;
        // Who gets none shows one that is wrong.
        worker.token = match outcome {
            Outcome::Response(Response::Auth(answer)) => Some(answer.token.clone()),
            Outcome::Refused(_) => Some(String::from("none.1")),
            _ => None,
        };
        match &worker.token {
            None => worker.node = next,
            Some(_) => self.count_fired("logged-in"),
        }
        let rest = self.clients.luck[client].between(1, 300) * MILLISECOND;
        self.queue.push(self.now() + rest, Class::Client, Event::Wake(client));
    }

    pub(super) fn worker_concluded(
        &mut self,
        client: usize,
        node: usize,
        purpose: Purposed,
        outcome: &Outcome,
    ) {
        let next = self.next_node(node);
        let rest = self.clients.luck[client].between(1, 300) * MILLISECOND;
        let worker = &mut self.clients.workers[client];
        worker.in_flight -= 1;
        worker.learn(outcome);
        if matches!(outcome, Outcome::Refused(Refusal::InvalidAuthToken)) {
            worker.token = None;
        }
        let is_served = matches!(outcome, Outcome::Range(_) | Outcome::Response(_));
        if !is_served && worker.node == node {
            worker.node = next;
        }
        match (purpose, outcome) {
            (Purposed::Bell(key), Outcome::Response(Response::Put(put))) => {
                let revision = put.header.as_ref().map_or(0, |header| header.revision);
                self.clients.bells.insert(key, revision);
            }
            (Purposed::Bell(key), _) => worker.owes.push_back(key),
            (Purposed::Errand(number, tries), Outcome::Refused(refusal))
                if is_worth_a_retry(*refusal) && tries < TRIES_MAX =>
            {
                worker.queue.push_front(Purposed::Errand(number, tries + 1));
            }
            _ => {}
        }
        let rest = if is_served { 0 } else { rest };
        self.queue.push(self.now() + rest, Class::Client, Event::Wake(client));
    }

    pub(super) fn wake_keeper(&mut self, client: usize, number: usize) {
        if self.phase.is_last_wait() {
            return;
        }
        let now = self.now();
        let luck = &mut self.clients.luck[client];
        let keeper = &mut self.clients.keepers[number];
        let (rest, request) = keeper.choose(now, luck);
        self.queue.push(now + rest, Class::Client, Event::Wake(client));
        let Some(request) = request else { return };
        let node = keeper.node;
        self.next_call();
        self.call(client, node, Purposed::Lease, Operation::Request(request));
    }

    pub(super) fn lease_concluded(&mut self, client: usize, outcome: &Outcome) {
        let Some(number) = self.clients.keeper_of(client) else { return };
        let next = self.next_node(self.clients.keepers[number].node);
        let keeper = &mut self.clients.keepers[number];
        if !keeper.learn(outcome) {
            keeper.node = next;
        }
    }
}
