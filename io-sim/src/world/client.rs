//! Clients: they call, they watch, they keep leases alive, and they give up.
//!
//! ```text
//!   worker   does its errands one by one, the last worker up to eight at once
//!   watcher  follows some keys on a stream, and goes on elsewhere after a loss
//!   keeper   keeps one lease alive
//! ```
//!
//! The last client is the operator, who has a room of their own.
//!
//! Invariants: a call has one outcome; a retry is a new call with a new value; a watcher asks
//! for the revision after the last one it has seen completely.

pub(crate) mod request;
pub(crate) mod watcher;
pub(crate) mod worker;

use std::collections::BTreeMap;

use quorate_core::auth::Identity;
use quorate_core::event::ReadError;
use quorate_core::ids::{StreamId, Token};
use quorate_core::{Request, Response, StateInput, View};
use quorate_proto::etcdserverpb as pb;

use super::describe::Describe;
use super::driver::{Event, MILLISECOND, SECOND, World};
use super::luck::{Luck, Purpose};
use super::network::{Fate, Place};
use super::node::Build;
use super::observe::{CallId, ClientId, Observer, Operation, Outcome, Seen, Shown, Stop};
use super::operator::Operator;
use super::plan::{Shape, Weather};
use super::queue::Class;
use super::steward::{Steward, check_read, user_name};
pub(super) use watcher::Watcher;
pub(super) use worker::{Keeper, Worker};

/// Encoded bytes of a frame a client takes.
const FRAME_BYTES_MAX: usize = 1_500_000;

/// From a client to a member.
pub(super) enum Upward {
    /// A call.
    Call(CallId, Operation),
    /// A new watch stream, and how large its frames may be.
    Open(StreamId, usize),
    /// A message on a stream.
    Watch(StreamId, pb::WatchRequest),
    /// The end of a stream.
    Close(StreamId),
}

/// From a member to a client.
pub(super) enum Downward {
    /// How a call ended.
    Answer(CallId, Outcome),
    /// A watch frame.
    Frame { stream: StreamId, frame: pb::WatchResponse },
    /// A stream broke.
    Broken(StreamId),
}

/// A call without an outcome.
pub(super) struct OpenCall {
    pub(super) client: usize,
    pub(super) node: usize,
    /// Where the answer goes: what the client was doing.
    pub(super) purpose: Purposed,
    /// What only reads waits here for its view.
    read: Option<Operation>,
    /// What the client shows of itself.
    pub(super) shown: Shown,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purposed {
    /// An errand of the plan, and how often it was tried before.
    Errand(usize, u32),
    /// The last put on a key, after healing.
    Bell(u64),
    /// A keeper's lease.
    Lease,
    /// The operator's wish.
    Chore,
    /// The steward's order.
    Order,
    /// A token for a worker.
    LogIn,
}

/// A watch stream that is open as far as its client knows.
pub(super) struct Stream {
    client: usize,
    node: usize,
    /// The connections it is on, once something was sent: it does not outlive them.
    up: Option<u32>,
    down: Option<u32>,
    /// Something was lost: nothing more may arrive.
    is_broken: bool,
}

/// All clients. Numbers: workers, then watchers, then keepers, then the operator, then the steward
/// if there are users.
pub(super) struct Clients {
    pub(super) workers: Vec<Worker>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) keepers: Vec<Keeper>,
    pub(super) operator: Operator,
    pub(super) steward: Steward,
    has_steward: bool,
    pub(super) luck: Vec<Luck>,
    pub(super) calls: BTreeMap<CallId, OpenCall>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) last_call: u64,
    last_stream: u64,
    pub(super) slow_credit: u64,
    /// Calls that got an answer.
    pub(super) answered: u64,
    /// The revisions of the last puts, by key.
    pub(super) bells: BTreeMap<u64, i64>,
}

impl Clients {
    pub(super) fn new(seed: u64, shape: &Shape, weather: &Weather) -> Self {
        let (workers, watchers) = (shape.workers as usize, shape.watchers as usize);
        let keepers = shape.keepers as usize;
        let total = workers + watchers + keepers + 1;
        let has_steward = shape.users > 0;
        let mut luck: Vec<_> = (0..total + usize::from(has_steward))
            .map(|n| Luck::new(seed, Purpose::Choice, n as u64))
            .collect();
        let nodes = shape.nodes;
        let watchers = luck[workers..workers + watchers]
            .iter_mut()
            .map(|luck| Watcher::new(luck, shape.keys, nodes))
            .collect();
        let keepers = luck[total - 1 - keepers..total - 1]
            .iter_mut()
            .enumerate()
            .map(|(n, luck)| Keeper::new(luck, n, shape))
            .collect();
        Self {
            workers: (0..workers).map(|n| Worker::new(n, shape)).collect(),
            watchers,
            keepers,
            operator: Operator::default(),
            steward: Steward::default(),
            has_steward,
            luck,
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            last_call: 0,
            last_stream: 0,
            slow_credit: weather.credit_ms * MILLISECOND,
            answered: 0,
            bells: BTreeMap::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.luck.len()
    }

    /// Clients that act without errands.
    pub(super) fn restless(&self) -> std::ops::Range<usize> {
        self.workers.len()..self.luck.len()
    }

    fn watcher_of(&self, client: usize) -> Option<usize> {
        let number = client.checked_sub(self.workers.len())?;
        (number < self.watchers.len()).then_some(number)
    }

    fn keeper_of(&self, client: usize) -> Option<usize> {
        let number = client.checked_sub(self.workers.len() + self.watchers.len())?;
        (number < self.keepers.len()).then_some(number)
    }

    /// The operator's number.
    pub(super) fn operator_number(&self) -> usize {
        self.luck.len() - 1 - usize::from(self.has_steward)
    }

    /// The steward's number.
    pub(super) fn steward_number(&self) -> Option<usize> {
        self.has_steward.then(|| self.luck.len() - 1)
    }
}

impl<B: Build, O: Observer> World<B, O> {
    pub(super) fn wake_client(&mut self, client: usize) {
        if let Some(watcher) = self.clients.watcher_of(client) {
            self.wake_watcher(client, watcher);
        } else if let Some(keeper) = self.clients.keeper_of(client) {
            self.wake_keeper(client, keeper);
        } else if client == self.clients.operator_number() {
            self.wake_operator();
        } else if Some(client) == self.clients.steward_number() {
            self.go_on_ordering();
        } else {
            self.go_on(client);
        }
    }

    /// The next machine that is a member.
    pub(super) fn next_node(&self, node: usize) -> usize {
        let count = self.nodes.len();
        let mut others = (1..=count).map(|n| (node + n) % count);
        others.find(|&n| self.nodes[n].is_member()).unwrap_or(node)
    }

    /// Sends a call on its way.
    pub(super) fn call(
        &mut self,
        client: usize,
        node: usize,
        purpose: Purposed,
        operation: Operation,
    ) {
        let call = CallId(self.clients.last_call);
        let read = operation.is_serializable().map(|_| operation.clone());
        let shown = self.shown(client, purpose, &operation);
        self.clients.calls.insert(call, OpenCall { client, node, purpose, read, shown });
        self.note(None, || format!("c{client} #{} {}", call.0, operation.describe()));
        let seen = Seen::Called {
            client: ClientId(client as u32),
            call,
            member: self.nodes[node].id(),
            operation: operation.clone(),
        };
        self.tell(&seen);
        let patience = *self.clients.luck[client].pick(&[SECOND, 3 * SECOND, 8 * SECOND]);
        let at = self.now() + patience;
        self.queue.push(at, Class::Client, Event::GiveUp(call.0));
        self.send_up(client, node, Upward::Call(call, operation));
    }

    /// The number of the call that is made next.
    pub(super) fn next_call(&mut self) -> u64 {
        self.clients.last_call += 1;
        self.clients.last_call
    }

    pub(super) fn give_up(&mut self, call: u64) {
        self.conclude(CallId(call), Outcome::Unknown);
    }

    /// A call has its outcome, unless it had one before.
    pub(super) fn conclude(&mut self, call: CallId, outcome: Outcome) {
        let Some(open) = self.clients.calls.remove(&call) else { return };
        let client = open.client;
        self.note(None, || format!("c{client} #{} = {}", call.0, outcome.describe()));
        self.clients.answered += u64::from(outcome != Outcome::Unknown);
        let seen =
            Seen::Returned { client: ClientId(client as u32), call, outcome: outcome.clone() };
        self.tell(&seen);
        match open.purpose {
            Purposed::Lease => self.lease_concluded(client, &outcome),
            Purposed::Chore => self.chore_concluded(&outcome),
            Purposed::Order => self.order_concluded(client, &outcome),
            Purposed::LogIn => self.log_in_concluded(client, &outcome),
            purpose => self.worker_concluded(client, open.node, purpose, &outcome),
        }
    }

    /// Over which connection it is on its way, if it is.
    fn send_up(&mut self, client: usize, node: usize, message: Upward) -> Option<u32> {
        let (a, b) = (Place::Client(client), Place::Member(node));
        let Fate::Arrives { at, connection, .. } = self.network.send(self.now(), a, b, 1) else {
            return None;
        };
        let event = Event::Up(client, node, connection, message);
        self.queue.push(at, Class::Network, event);
        Some(connection)
    }

    /// Sends a client's message on its stream; one that is lost ends the stream.
    fn send_up_stream(&mut self, stream: StreamId, message: Upward) {
        let Some(open) = self.clients.streams.get(&stream).filter(|open| !open.is_broken) else {
            return;
        };
        let (client, node, before) = (open.client, open.node, open.up);
        let sent = self.send_up(client, node, message);
        if let Some(open) = self.clients.streams.get_mut(&stream) {
            open.up = sent;
        }
        if sent.is_none() || before.is_some() && before != sent {
            self.break_stream(stream);
        }
    }

    /// Over which connection it is on its way, if it is.
    fn send_down(&mut self, node: usize, client: usize, message: Downward) -> Option<u32> {
        let (a, b) = (Place::Member(node), Place::Client(client));
        let Fate::Arrives { at, connection, .. } = self.network.send(self.now(), a, b, 1) else {
            return None;
        };
        let event = Event::Down(node, client, connection, message);
        self.queue.push(at, Class::Network, event);
        Some(connection)
    }

    pub(super) fn arrive_up(&mut self, client: usize, node: usize, over: u32, message: Upward) {
        let (a, b) = (Place::Client(client), Place::Member(node));
        if !self.network.arrive(a, b, over) {
            if let Upward::Open(stream, _) | Upward::Watch(stream, _) = message {
                self.break_stream(stream);
            }
            return;
        }
        if !self.nodes[node].is_up() {
            return self.refuse_connection(node, client, &message);
        }
        match message {
            Upward::Call(call, operation) if operation.is_serializable().is_some() => {
                self.take_read(node, call, &operation);
            }
            Upward::Call(_, Operation::Range(_)) => {}
            Upward::Call(call, Operation::Request(request)) => {
                let view = self.nodes[node].view.clone();
                match self.identify(node, call, view.as_ref()) {
                    Some(who) => {
                        let token = Token(call.0);
                        self.give_state(node, StateInput::Request { token, who, request });
                    }
                    None => self.answer(node, call, Outcome::Unknown),
                }
            }
            // What a broken stream had on its way finds nobody.
            Upward::Watch(stream, _) | Upward::Open(stream, _) if !self.is_whole(stream) => {}
            Upward::Open(stream, frame_bytes_max) => {
                self.give_state(node, StateInput::StreamOpened { stream, frame_bytes_max });
            }
            Upward::Watch(stream, message) => {
                let who = Ok(self.watchers_name());
                self.give_state(node, StateInput::StreamMessage { stream, who, message });
            }
            Upward::Close(stream) => self.give_state(node, StateInput::StreamClosed { stream }),
        }
    }

    /// Root, by a token that was signed as of the far future: no order makes it old.
    fn watchers_name(&self) -> Identity {
        match self.plan.shape.users {
            0 => Identity::default(),
            _ => Identity { user: user_name(0).into(), revision: u64::MAX },
        }
    }

    fn refuse_connection(&mut self, node: usize, client: usize, message: &Upward) {
        match message {
            Upward::Call(call, _) => {
                self.send_down(node, client, Downward::Answer(*call, Outcome::Unknown));
            }
            Upward::Open(stream, _) | Upward::Watch(stream, _) => self.break_stream(*stream),
            Upward::Close(_) => {}
        }
    }

    fn is_whole(&self, stream: StreamId) -> bool {
        self.clients.streams.get(&stream).is_some_and(|open| !open.is_broken)
    }

    /// Before it shows anything a member answers nothing that needs no barrier.
    fn take_read(&mut self, node: usize, call: CallId, operation: &Operation) {
        let is_serializable = operation.is_serializable() != Some(false);
        match self.nodes[node].view.clone() {
            Some(view) if view.suffices(is_serializable) => self.read(node, call, &view),
            None if is_serializable => {}
            _ => self.give_state(node, StateInput::Read { token: Token(call.0) }),
        }
    }

    pub(super) fn read(&mut self, node: usize, call: CallId, view: &View) {
        let read = self.clients.calls.get(&call).and_then(|open| open.read.clone());
        let Some(read) = read else { return };
        let Some(who) = self.identify(node, call, Some(view)) else {
            return self.answer(node, call, Outcome::Unknown);
        };
        let checked = who.and_then(|who| check_read(view, &who, &read));
        let outcome = match (checked, &read) {
            (Err(refusal), _) => Err(ReadError::Refused(refusal)),
            (Ok(()), Operation::Range(range)) => self.build.range(view, range).map(Outcome::Range),
            (Ok(()), Operation::Request(Request::Txn(txn))) => {
                let response = self.build.read_txn(view, txn);
                response.map(|response| Outcome::Response(Response::Txn(response)))
            }
            (Ok(()), Operation::Request(_)) => return,
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(ReadError::Refused(refusal)) => Outcome::Refused(refusal),
            Err(ReadError::Fault(fault)) => {
                return self.crash(node, u64::MAX, Stop::Halt(fault.what));
            }
        };
        self.answer(node, call, outcome);
    }

    /// Sends an answer on its way, if anyone still waits for it.
    pub(super) fn answer(&mut self, node: usize, call: CallId, outcome: Outcome) {
        if let Some(open) = self.clients.calls.get(&call) {
            let client = open.client;
            self.send_down(node, client, Downward::Answer(call, outcome));
        }
    }

    /// Sends a frame on its way. A lost frame ends the stream: order is all it has.
    pub(super) fn pass_on(&mut self, node: usize, stream: StreamId, message: Downward) {
        let Some(open) = self.clients.streams.get(&stream) else { return };
        let (client, is_broken) = (open.client, open.is_broken);
        self.owe_credit(node, client, stream);
        if is_broken {
            return;
        }
        let sent = self.send_down(node, client, message);
        let Some(open) = self.clients.streams.get_mut(&stream) else { return };
        let is_whole = sent.is_some() && open.down.is_none_or(|old| Some(old) == sent);
        open.down = sent;
        if !is_whole {
            self.break_stream(stream);
        }
    }

    fn owe_credit(&mut self, node: usize, client: usize, stream: StreamId) {
        let watcher = self.clients.watcher_of(client).map(|n| &self.clients.watchers[n]);
        let is_slow = watcher.is_some_and(|watcher| watcher.is_slow);
        let rest = if is_slow { self.clients.slow_credit } else { 0 };
        let member = &mut self.nodes[node];
        let credit = &mut member.credit[usize::from(is_slow)];
        if credit.is_empty() {
            let event = Event::Credit(node, member.boot, is_slow);
            self.queue.push(self.queue.now() + rest.max(MILLISECOND), Class::Client, event);
        }
        match credit.iter_mut().find(|(owed, _)| *owed == stream.0) {
            Some((_, frames)) => *frames += 1,
            None => credit.push((stream.0, 1)),
        }
    }

    /// Both ends learn, one after the other, that a stream is no more.
    fn break_stream(&mut self, stream: StreamId) {
        let Some(open) = self.clients.streams.get_mut(&stream) else { return };
        if std::mem::replace(&mut open.is_broken, true) {
            return;
        }
        let (node, client) = (open.node, open.client);
        let rest = self.clients.luck[client].between(1, 500) * MILLISECOND;
        let event = Event::Down(node, client, u32::MAX, Downward::Broken(stream));
        self.queue.push(self.now() + rest, Class::Network, event);
        if self.nodes[node].is_up() {
            self.give_state(node, StateInput::StreamClosed { stream });
        }
    }

    /// A member is gone: its clients' connections break.
    pub(super) fn break_clients(&mut self, node: usize) {
        self.break_streams(node);
        let on_it = |open: &(&CallId, &OpenCall)| open.1.node == node;
        let calls: Vec<_> = self.clients.calls.iter().filter(on_it).map(|c| *c.0).collect();
        for call in calls {
            self.answer(node, call, Outcome::Unknown);
        }
    }

    /// Clients can never reach a member again.
    pub(super) fn lose_clients(&mut self, node: usize) {
        for client in 0..self.clients.count() {
            self.network.cut(Place::Client(client), Place::Member(node), u64::MAX);
            self.network.cut(Place::Member(node), Place::Client(client), u64::MAX);
        }
        self.break_streams(node);
    }

    fn break_streams(&mut self, node: usize) {
        let on_it = |open: &(&StreamId, &Stream)| open.1.node == node;
        let streams: Vec<_> = self.clients.streams.iter().filter(on_it).map(|s| *s.0).collect();
        for stream in streams {
            self.break_stream(stream);
        }
    }

    pub(super) fn arrive_down(&mut self, node: usize, client: usize, over: u32, down: Downward) {
        let (a, b) = (Place::Member(node), Place::Client(client));
        let is_here = over == u32::MAX || self.network.arrive(a, b, over);
        match down {
            Downward::Answer(call, outcome) if is_here => self.conclude(call, outcome),
            Downward::Answer(..) => {}
            Downward::Frame { stream, .. } if !is_here => self.break_stream(stream),
            Downward::Frame { stream, frame } => {
                let is_open = self.clients.streams.get(&stream).is_some_and(|s| !s.is_broken);
                if is_open && let Some(watcher) = self.clients.watcher_of(client) {
                    self.take_frame(client, watcher, stream, frame);
                }
            }
            Downward::Broken(stream) => self.stream_broke(client, stream),
        }
    }
}
