//! The loop, and the way of every event and output.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use quorate_core::config::Peer;
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, MemberId, StreamId};
use quorate_core::pinch::Pinch;
use quorate_core::time::{Duration, Time};
use quorate_core::{Config, Machine, ReplicaInput, StateInput};

use super::client::{Clients, Downward, Upward};
use super::clock::Clock;
use super::describe::Describe;
use super::disk::Pace;
use super::group::Roll;
use super::luck::{Luck, Purpose};
use super::network::{Network, Place};
use super::node::{Build, Node, Part};
use super::observe::{CallId, Observer, Seen, Stop, Verdict, Violation};
use super::plan::Plan;
use super::post::Transit;
use super::queue::{Class, Queue};
use super::table::Content;
use super::trace::{Line, Trace, Wanted};

pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MILLISECOND;
/// Inputs a machine takes in one turn.
const TURN_INPUTS_MAX: usize = 32;
/// Messages from peers that wait for one machine; more are lost.
const INBOX_MAX: usize = 8_192;
/// What will happen.
pub(super) enum Event {
    /// The next fault of the plan.
    Strike(usize),
    /// The next call of the plan.
    Errand(usize),
    /// A member goes on after standing still, or a disk after being slow, ...
    Ends(usize, u64, Ending),
    /// A member is started.
    Start(usize),
    /// The log's step is complete.
    LogDone(usize, u64),
    /// The store executed its group.
    StoreDone(usize, u64),
    /// The store's sync is complete.
    StoreSynced(usize, u64),
    /// A message between members arrives.
    Arrive(Transit),
    /// An image, complete.
    ArriveImage(Box<(Transit, Content)>),
    /// A member learns that messages are being lost, or how sending an image ended.
    Learn(usize, u64, ReplicaInput),
    /// A client's message arrives at a member.
    Up(usize, usize, u32, Upward),
    /// A member's message arrives at a client.
    Down(usize, usize, u32, Downward),
    /// A machine's turn.
    Turn(usize, u64, Part),
    /// A machine's timer.
    Timer(usize, u64, Part),
    /// The shell returns credit for frames.
    Credit(usize, u64, bool),
    /// A client acts by itself.
    Wake(usize),
    /// The next chore of the plan.
    Chore(usize),
    /// The steward's next order.
    Order(usize),
    /// A member is told that it was removed.
    Removed(usize, u64),
    /// A client gives a call up.
    GiveUp(u64),
    /// Faults are over inside the quorum.
    Heal,
    /// Time to look whether what is due has happened.
    Look,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A pause; with how long the clock stood still.
    Pause(u64),
    /// Slowness of a disk.
    SlowDisk,
    /// The life of a member with a hung disk.
    HungDisk(u64),
}

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Anything may go wrong.
    Faults,
    /// Healed; a leader is due by then.
    Electing(u64),
    /// All clients are due to be served by then.
    Serving(u64),
    /// All members and watchers are due to be equal by then.
    Settling(u64),
    /// Nobody does anything; until then every lease ends.
    Resting(u64),
    /// Over.
    Done,
}

impl Phase {
    /// Whether clients have nothing left to do.
    pub(super) fn is_last_wait(self) -> bool {
        matches!(self, Self::Resting(_) | Self::Done)
    }
}

/// The world. See the module above.
pub struct World<B: Build, O> {
    pub(super) build: B,
    pub(super) plan: Plan,
    pub(super) observer: O,
    pub(super) queue: Queue<Event>,
    /// Machines whose turn is now.
    ready: VecDeque<(usize, Part)>,
    pub(super) nodes: Vec<Node<B>>,
    pub(super) network: Network,
    pub(super) clients: Clients,
    pub(super) trace: Trace,
    pub(super) phase: Phase,
    /// Who is in the group.
    pub(super) roll: Roll,
    /// Machines that are lost for good, as a bit mask.
    pub(super) lost: u64,
    pub(super) violation: Option<Violation>,
    /// Faults that struck, by word.
    pub(super) fired: BTreeMap<&'static str, u64>,
    events: u64,
    /// The member whose machine had the last turn.
    current: usize,
}

impl<B: Build, O: Observer> World<B, O> {
    /// A world at its beginning, with all members about to start.
    pub fn new(plan: Plan, build: B, observer: O, wanted: Wanted) -> Self {
        let shape = plan.shape;
        let machines = plan.machines();
        let clients = Clients::new(plan.seed, &shape, &plan.weather);
        let network = Network::new(plan.seed, machines, clients.count(), plan.weather);
        let nodes: Vec<_> = (0..machines).map(|n| new_node(&plan, n)).collect();
        let roll = Roll::of((1..=shape.nodes).map(MemberId));
        let mut world = Self {
            build,
            observer,
            queue: Queue::default(),
            ready: VecDeque::new(),
            nodes,
            network,
            clients,
            trace: Trace::new(wanted),
            phase: Phase::Faults,
            roll,
            lost: 0,
            violation: None,
            fired: BTreeMap::new(),
            events: 0,
            current: 0,
            plan,
        };
        world.schedule_all();
        world
    }

    fn schedule_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.queue.push(0, Class::Machine, Event::Start(node));
        }
        if let Some(first) = self.plan.strikes.first() {
            self.queue.push(first.at, Class::Fault, Event::Strike(0));
        }
        if let Some(first) = self.plan.duties.first() {
            self.queue.push(first.at, Class::Client, Event::Chore(0));
        }
        if let Some(first) = self.plan.decrees.first() {
            self.queue.push(first.at, Class::Client, Event::Order(0));
        }
        if let Some(first) = self.plan.errands.first() {
            self.queue.push(first.at, Class::Client, Event::Errand(0));
        }
        for client in self.clients.restless() {
            self.queue.push(SECOND, Class::Client, Event::Wake(client));
        }
        self.queue.push(self.plan.healing(), Class::Fault, Event::Heal);
    }

    /// Runs to the end, or to the first broken promise.
    pub fn run(&mut self) -> Result<(), Violation> {
        loop {
            while let Some((node, part)) = self.ready.pop_front() {
                self.take_turn(node, part);
            }
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if self.phase == Phase::Done {
                return Ok(());
            }
            let Some(event) = self.queue.pop(u64::MAX) else { return Ok(()) };
            self.events += 1;
            self.dispatch(event);
        }
    }

    /// Whether the event belongs to a run of the member that is over.
    fn is_stale(&self, node: usize, boot: u64) -> bool {
        self.nodes[node].boot != boot || !self.nodes[node].is_up()
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Strike(n) => self.strike(n),
            Event::Errand(n) => self.begin_errand(n),
            Event::Ends(node, boot, ending) => self.end(node, boot, ending),
            Event::Start(node) => self.start(node),
            Event::LogDone(node, boot) if !self.is_stale(node, boot) => self.log_done(node),
            Event::StoreDone(node, boot) if !self.is_stale(node, boot) => self.store_done(node),
            Event::StoreSynced(node, boot) if !self.is_stale(node, boot) => {
                self.store_synced(node);
            }
            Event::Arrive(transit) => self.arrive(transit, None),
            Event::ArriveImage(image) => self.arrive(image.0, Some(image.1)),
            Event::Learn(node, boot, input) if !self.is_stale(node, boot) => {
                self.give_replica(node, input);
            }
            Event::Up(client, node, connection, message) => {
                self.arrive_up(client, node, connection, message);
            }
            Event::Down(node, client, connection, message) => {
                self.arrive_down(node, client, connection, message);
            }
            Event::Turn(node, boot, part) if !self.is_stale(node, boot) => {
                self.nodes[node].turns[part as usize].is_due = false;
                self.wake(node, part);
            }
            Event::Timer(node, boot, part) if !self.is_stale(node, boot) => {
                self.nodes[node].turns[part as usize].armed = 0;
                self.wake(node, part);
            }
            Event::Credit(node, boot, slow) if !self.is_stale(node, boot) => {
                self.return_credit(node, slow);
            }
            Event::Wake(client) => self.wake_client(client),
            Event::Chore(n) => self.begin_chore(n),
            Event::Order(n) => self.begin_order(n),
            Event::Removed(node, boot) if !self.is_stale(node, boot) => {
                self.give_replica(node, ReplicaInput::Removed);
            }
            Event::GiveUp(call) => self.give_up(call),
            Event::Heal => self.heal(),
            Event::Look => self.look(),
            // What belonged to a run that is over.
            _ => {}
        }
    }

    /// Now, in nanoseconds of the world.
    pub fn now(&self) -> u64 {
        self.queue.now()
    }

    /// The member whose machine had the last turn.
    pub(super) fn current(&self) -> MemberId {
        self.nodes[self.current].id()
    }

    /// Tells the observer.
    pub(super) fn tell(&mut self, seen: &Seen) {
        if self.violation.is_none()
            && let Err(violation) = self.observer.observe(Time(self.queue.now()), seen)
        {
            self.violation = Some(violation);
        }
    }

    /// Ends the run for a reason of the world's own.
    pub(super) fn object(&mut self, verdict: Verdict, oracle: &'static str, what: String) {
        self.violation.get_or_insert(Violation { verdict, oracle, what });
    }

    /// Writes a line down, if lines are wanted.
    pub(super) fn note(&mut self, node: Option<usize>, text: impl FnOnce() -> String) {
        if self.trace.wants_lines() {
            self.trace.note(Line { at: self.queue.now(), node, text: text() });
        }
    }

    /// Writes down what a member's clock shows and how it runs from now on.
    pub(super) fn note_clock(&mut self, node: usize) {
        let now = self.queue.now();
        let clock = self.nodes[node].clock.clone();
        self.note(Some(node), || format!("= clock {} {:+}", clock.local(now).0, clock.drift_ppm()));
    }

    /// Puts an input in the replica's inbox.
    pub(super) fn give_replica(&mut self, node: usize, input: ReplicaInput) {
        let inbox = &mut self.nodes[node].replica_inbox;
        if inbox.len() < INBOX_MAX || !matches!(input, ReplicaInput::Peer { .. }) {
            inbox.push_back(input);
        }
        self.wake(node, Part::Replica);
    }

    /// Puts an input in the state's inbox.
    pub(super) fn give_state(&mut self, node: usize, input: StateInput) {
        self.nodes[node].state_inbox.push_back(input);
        self.wake(node, Part::State);
    }

    /// Gives a machine its turn as soon as it can take it.
    fn wake(&mut self, node: usize, part: Part) {
        let now = self.queue.now();
        let member = &mut self.nodes[node];
        let turn = &mut member.turns[part as usize];
        if turn.is_due || member.machines.is_none() {
            return;
        }
        turn.is_due = true;
        if turn.busy_until <= now {
            self.ready.push_back((node, part));
        } else {
            let event = Event::Turn(node, member.boot, part);
            self.queue.push(turn.busy_until, Class::Machine, event);
        }
    }

    fn take_turn(&mut self, node: usize, part: Part) {
        if !self.nodes[node].is_up() || self.violation.is_some() {
            return;
        }
        let now = self.queue.now();
        self.current = node;
        let busy = self.nodes[node].draw_turn(now, part, self.plan.weather.step_us);
        let turn = &mut self.nodes[node].turns[part as usize];
        turn.is_due = false;
        turn.busy_until = turn.busy_until.max(now + busy);
        match part {
            Part::Replica => self.turn_replica(node),
            Part::State => self.turn_state(node),
        }
        self.arm(node, part);
    }

    fn turn_replica(&mut self, node: usize) {
        let now = self.queue.now();
        let local = self.nodes[node].clock.local(now);
        self.trace.begin(now, node, Part::Replica as u8);
        for _ in 0..TURN_INPUTS_MAX {
            let Some(input) = self.nodes[node].replica_inbox.pop_front() else { break };
            self.trace.take(&input);
            self.note(Some(node), || input.describe());
            if let ReplicaInput::Changed { index, .. } = input {
                self.nodes[node].note_group(index);
            }
            let Some(machines) = &mut self.nodes[node].machines else { return };
            machines.replica.handle(local, input);
        }
        if let Some(machines) = &mut self.nodes[node].machines
            && machines.replica.poll_timeout().is_some_and(|wake| wake.at <= local)
        {
            self.trace.take(&u8::MAX);
            machines.replica.handle_timeout(local);
        }
        while let Some(machines) = &mut self.nodes[node].machines
            && let Some(output) = machines.replica.poll_output()
        {
            self.trace.take(&output);
            self.note(Some(node), || output.describe());
            if !self.survives(node) {
                break;
            }
            self.execute_replica(node, output);
        }
        self.tell_group(node);
        self.trace.end();
    }

    fn turn_state(&mut self, node: usize) {
        let now = self.queue.now();
        let local = self.nodes[node].clock.local(now);
        self.trace.begin(now, node, Part::State as u8);
        for _ in 0..TURN_INPUTS_MAX {
            let Some(input) = self.nodes[node].state_inbox.pop_front() else { break };
            self.trace.take(&input);
            self.note(Some(node), || input.describe());
            let member = &mut self.nodes[node];
            if let StateInput::Request { token, request, .. } = &input {
                member.proposals.note(CallId(token.get()), request.clone());
            }
            let Some(machines) = &mut member.machines else { return };
            machines.state.handle(local, input);
        }
        if let Some(machines) = &mut self.nodes[node].machines
            && machines.state.poll_timeout().is_some_and(|wake| wake.at <= local)
        {
            self.trace.take(&u8::MAX);
            machines.state.handle_timeout(local);
        }
        while let Some(machines) = &mut self.nodes[node].machines
            && let Some(output) = machines.state.poll_output()
        {
            self.trace.take(&output);
            self.note(Some(node), || output.describe());
            if !self.survives(node) {
                break;
            }
            self.execute_state(node, output);
        }
        self.trace.end();
    }

    /// Whether the next output is executed: false if power went, now or since the last one.
    fn survives(&mut self, node: usize) -> bool {
        match &mut self.nodes[node].doom {
            Some(doom) if doom.outputs == 0 => {
                let rest = doom.rest;
                self.crash(node, rest, Stop::Crash);
            }
            Some(doom) => doom.outputs -= 1,
            None => {}
        }
        self.nodes[node].is_up()
    }

    /// After a turn: what is left in the inbox, and the next timer.
    fn arm(&mut self, node: usize, part: Part) {
        let member = &self.nodes[node];
        let Some(machines) = &member.machines else { return };
        let (wish, is_left) = match part {
            Part::Replica => (machines.replica.poll_timeout(), !member.replica_inbox.is_empty()),
            Part::State => (machines.state.poll_timeout(), !member.state_inbox.is_empty()),
        };
        if is_left {
            self.wake(node, part);
        }
        let Some(wish) = wish else { return };
        self.arm_at(node, part, wish.at);
    }

    fn arm_at(&mut self, node: usize, part: Part, local: Time) {
        let now = self.queue.now();
        let member = &mut self.nodes[node];
        let at = member.clock.world(local).max(now + 1);
        let turn = &mut member.turns[part as usize];
        if turn.armed == 0 || at < turn.armed {
            turn.armed = at;
            let event = Event::Timer(node, member.boot, part);
            self.queue.push(at, Class::Machine, event);
        }
    }

    /// Wakes both machines, whatever they wait for: their clock was touched.
    pub(super) fn rouse(&mut self, node: usize) {
        self.wake(node, Part::Replica);
        self.wake(node, Part::State);
    }

    fn start(&mut self, node: usize) {
        let now = self.queue.now();
        if self.nodes[node].is_up() || self.nodes[node].is_lost || !self.nodes[node].is_member() {
            return;
        }
        self.nodes[node].failing = None;
        let opened = self.nodes[node].open(&self.build, now);
        let (member, boot) = (self.nodes[node].id(), self.nodes[node].boot);
        self.note(Some(node), || format!("= start as {member}"));
        self.note_clock(node);
        match opened {
            Ok((log, stored)) => {
                self.nodes[node].note_group(stored.index);
                self.tell(&Seen::Started { member, boot, log, stored });
                self.tell_group(node);
                self.rouse(node);
            }
            Err(StorageFault { what, .. }) => {
                let what = format!("member {member} does not start: {what}");
                self.object(Verdict::Crash, "start", what);
            }
        }
    }

    /// Power goes: now.
    pub(super) fn crash(&mut self, node: usize, rest: u64, why: Stop) {
        if !self.nodes[node].is_up() {
            return;
        }
        self.note(Some(node), || format!("= stop {why:?}"));
        let member = self.nodes[node].id();
        self.nodes[node].lose_power();
        self.reset_links(node);
        self.break_clients(node);
        self.tell(&Seen::Stopped { member, why });
        let at = self.queue.now().saturating_add(rest);
        self.queue.push(at, Class::Fault, Event::Start(node));
    }

    /// What is under way between a member and others is lost.
    pub(super) fn reset_links(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.network.reset(Place::Member(node), Place::Member(other));
            self.network.reset(Place::Member(other), Place::Member(node));
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> (u64, &Network) {
        (self.events, &self.network)
    }

    /// Credits all frames that were passed on.
    fn return_credit(&mut self, node: usize, slow: bool) {
        let credit = &mut self.nodes[node].credit[usize::from(slow)];
        for (stream, frames) in std::mem::take(credit) {
            let input = StateInput::StreamReady { stream: StreamId(stream), frames };
            self.give_state(node, input);
        }
    }
}

fn new_node<B: Build>(plan: &Plan, number: usize) -> Node<B> {
    let mut luck = Luck::new(plan.seed, Purpose::Clock, number as u64);
    let most = plan.weather.drift_ppm;
    let drift = luck.below(2 * most + 1) as i64 - most as i64;
    let clock = Clock::new(luck.below(3_600 * SECOND), drift as i32);
    let pace = Pace::new(plan.seed, number as u64);
    let luck = Luck::new(plan.seed, Purpose::Step, number as u64);
    Node::new(new_config(plan, number), clock, pace, luck)
}

/// What member number `number` is told.
pub(crate) fn new_config(plan: &Plan, number: usize) -> Config {
    let (shape, weather) = (&plan.shape, &plan.weather);
    let snapshot_count = match weather.snapshot_count {
        0 => shape.snapshot_count,
        count => count,
    };
    let catchup_entries = weather.catchup_entries.checked_sub(1).unwrap_or(shape.catchup_entries);
    let peer = |n: u64| Peer {
        id: MemberId(n + 1),
        name: format!("m{}", n + 1),
        peer_urls: vec![format!("http://m{}:2380", n + 1)],
    };
    let own = peer(number as u64);
    let is_spare = number as u64 >= shape.nodes;
    Config {
        member: if is_spare { MemberId(0) } else { own.id },
        cluster: ClusterId(0xc1),
        client_urls: vec![format!("http://{}:2379", own.name)],
        name: own.name,
        bootstrap: (0..shape.nodes).map(peer).collect(),
        seed: plan.seed,
        heartbeat_interval: Duration::from_millis(shape.heartbeat_ms),
        election_timeout: Duration::from_millis(shape.election_ms),
        snapshot_count,
        snapshot_catchup_entries: catchup_entries,
        lease_checkpoint_interval: Duration::from_millis(weather.checkpoint_ms.max(1)),
        watch_progress_interval: Duration::from_millis(weather.progress_ms),
        pinch: Pinch(weather.pinch),
        ..Config::default()
    }
}

/// An image as readers see it.
pub(super) fn shared(content: Content) -> Arc<dyn quorate_core::storage::StateRead> {
    Arc::new(content)
}
