//! One run of a member: the task that drives both machines from when power comes until it goes.
//!
//! ```text
//!   arrivals --take--> inboxes --turn--> machines --outputs, in order--> disk, network, clients
//!                         ^                                               |
//!                         `------------ disk and timers, when due --------'
//! ```
//!
//! Invariants:
//! - whoever drops this drops what was not synced, too: madsim kills by dropping tasks;
//! - within a turn nothing awaits, so power goes between turns, or between two outputs if it is
//!   doomed to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use madsim::net::{Endpoint, NetSim};
use quorate_core::ids::{LogIndex, MemberId, StreamId, Token};
use quorate_core::output::Note;
use quorate_core::storage::{SnapshotMark, StateRead};
use quorate_core::time::{Time, Wake};
use quorate_core::{Machine, Replica, ReplicaInput, State, StateInput};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::{mpsc, oneshot};

use super::site::{Ground, Opened, Tap, now};
use super::wire::{ARRIVALS_MAX, Answer, Arrival, Ask, listen};
use crate::world::observe::{CallId, Operation, Seen, Stop, Verdict, Violation};
use crate::world::proposals::Proposals;
use crate::world::table::Content;

/// Inputs a machine takes in one turn.
const TURN_INPUTS_MAX: usize = 32;
/// Arrivals that are taken in at once.
const ARRIVALS_AT_ONCE_MAX: usize = 256;
/// Messages from peers that wait for one machine; more are lost.
const INBOX_MAX: usize = 8_192;

/// What a node of madsim's is told to run.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) ground: Ground,
    /// Where each member listens to the others.
    pub(super) peers: Arc<BTreeMap<MemberId, SocketAddr>>,
    pub(super) tap: Tap,
}

/// A client's call that is not answered yet.
pub(super) struct Waiting {
    pub(super) call: CallId,
    pub(super) reply: oneshot::Sender<Answer>,
    /// What is to be read once there is a view for it.
    pub(super) read: Option<Reading>,
}

/// What is read from a view.
pub(super) enum Reading {
    Keys(Operation),
    Members,
}

/// When the disk is done with what it does.
#[derive(Default)]
pub(super) struct Due {
    pub(super) log: Option<u64>,
    pub(super) store: Option<u64>,
    pub(super) sync: Option<u64>,
}

/// See the module.
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) ground: Ground,
    pub(super) peers: Arc<BTreeMap<MemberId, SocketAddr>>,
    pub(super) tap: Tap,
    run: u64,
    pub(super) endpoint: Endpoint,
    pub(super) replica: Replica,
    pub(super) state: State,
    pub(super) replica_inbox: VecDeque<ReplicaInput>,
    pub(super) state_inbox: VecDeque<StateInput>,
    /// The state takes its time, until then.
    state_rests_until: u64,
    pub(super) due: Due,
    /// The newest image taken here.
    pub(super) pinned: Option<(SnapshotMark, Arc<dyn StateRead>)>,
    /// Images received and not installed yet.
    pub(super) staged: BTreeMap<LogIndex, Content>,
    /// Images on their way, and when they are taken for lost.
    pub(super) images: BTreeMap<MemberId, u64>,
    pub(super) calls: BTreeMap<Token, Waiting>,
    pub(super) streams: BTreeMap<StreamId, mpsc::Sender<pb::WatchResponse>>,
    last_number: u64,
    /// Which calls are in which proposals.
    pub(super) proposals: Proposals,
    /// The entry as of which the replica has its group, and whether that is news.
    pub(super) group: LogIndex,
    pub(super) is_group_news: bool,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.ground.lock().lose_power(self.run, Stop::Crash);
    }
}

/// Runs a member until power goes, or until it stops by itself.
pub(super) async fn run(post: Post) {
    let (sender, mut arrivals) = mpsc::channel(ARRIVALS_MAX);
    // madsim restarts a node that is up without closing what it listened on.
    NetSim::current().reset_node(madsim::plugin::node());
    let endpoint = listen(&sender).await.expect("a member's ports are free when it starts");
    let Some(mut member) = Member::open(post, endpoint) else { return };
    loop {
        if let Err(ending) = member.settle() {
            return member.stop(ending);
        }
        let rest = Duration::from_nanos(member.next_instant().saturating_sub(now()));
        let first = tokio::select! {
            biased;
            arrival = arrivals.recv() => arrival,
            () = madsim::time::sleep(rest) => None,
        };
        let more = std::iter::from_fn(|| arrivals.try_recv().ok());
        for arrival in first.into_iter().chain(more.take(ARRIVALS_AT_ONCE_MAX)) {
            if let Err(ending) = member.take(arrival) {
                return member.stop(ending);
            }
        }
    }
}

/// Why a run ends from within.
pub(super) enum Ending {
    /// Power goes, and comes back after a rest.
    Crash(u64),
    /// Storage failed as it was told to; it is replaced after a rest.
    Halt(String, u64),
    /// Removed from the group.
    Removed,
    /// What should not happen.
    Wrong(Violation),
}

impl Member {
    fn open(post: Post, endpoint: Endpoint) -> Option<Self> {
        let Post { ground, peers, tap } = post;
        let opened = ground.lock().open(now());
        let id = ground.lock().id();
        let Opened { replica, state, log, stored, run } = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                let what = format!("member {id} does not start: {}", fault.what);
                tap.object(Violation { verdict: Verdict::Crash, oracle: "start", what });
                return None;
            }
        };
        let group = stored.index;
        tap.tell(|| Seen::Started { member: id, boot: run - 1, log, stored });
        Some(Self {
            id,
            ground,
            peers,
            tap,
            run,
            endpoint,
            replica,
            state,
            replica_inbox: VecDeque::new(),
            state_inbox: VecDeque::new(),
            state_rests_until: 0,
            due: Due::default(),
            pinned: None,
            staged: BTreeMap::new(),
            images: BTreeMap::new(),
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            last_number: 0,
            proposals: Proposals::default(),
            group,
            is_group_news: true,
        })
    }

    /// The run ends from within; dropping the member does the rest.
    fn stop(self, ending: Ending) {
        let (why, rest) = match ending {
            Ending::Crash(rest) => (Stop::Crash, Some(rest)),
            Ending::Halt(what, rest) => (Stop::Halt(what), Some(rest)),
            Ending::Removed => (Stop::Removed, None),
            Ending::Wrong(violation) => {
                let what = violation.what.clone();
                self.tap.object(violation);
                (Stop::Halt(what), None)
            }
        };
        let mut site = self.ground.lock();
        site.lose_power(self.run, why);
        site.resting = rest;
    }

    /// A number that no call and no stream of this run had before.
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn give_replica(&mut self, input: ReplicaInput) {
        let is_spare = matches!(input, ReplicaInput::Peer { .. });
        if !is_spare || self.replica_inbox.len() < INBOX_MAX {
            self.replica_inbox.push_back(input);
        }
    }

    pub(super) fn give_state(&mut self, input: StateInput) {
        self.state_inbox.push_back(input);
    }

    /// Does all there is to do now.
    fn settle(&mut self) -> Result<(), Ending> {
        self.settle_disk()?;
        let wishes = std::mem::take(&mut self.ground.lock().wishes);
        self.replica_inbox.extend(wishes);
        self.forget_images();
        let mut is_first = true;
        while self.turn_replica(is_first)? | self.turn_state(is_first)? {
            is_first = false;
        }
        Ok(())
    }

    /// False if there was nothing to do. Timers that are due only count once: time stands still
    /// in here.
    fn turn_replica(&mut self, is_first: bool) -> Result<bool, Ending> {
        let local = self.ground.lock().local(now());
        let is_due = is_first && is_over(self.replica.poll_timeout(), local);
        if self.replica_inbox.is_empty() && !is_due {
            return Ok(false);
        }
        for _ in 0..TURN_INPUTS_MAX {
            let Some(input) = self.replica_inbox.pop_front() else { break };
            if let ReplicaInput::Changed { index, .. } = input {
                self.note_group(index);
            }
            self.replica.handle(local, input);
        }
        if is_due {
            self.replica.handle_timeout(local);
        }
        while let Some(output) = self.replica.poll_output() {
            self.survive()?;
            self.execute_replica(output)?;
        }
        self.tell_group();
        Ok(true)
    }

    fn turn_state(&mut self, is_first: bool) -> Result<bool, Ending> {
        let now = now();
        let (local, lag) = {
            let site = self.ground.lock();
            (site.local(now), site.lag)
        };
        let is_due = is_first && is_over(self.state.poll_timeout(), local);
        if now < self.state_rests_until || self.state_inbox.is_empty() && !is_due {
            return Ok(false);
        }
        for _ in 0..TURN_INPUTS_MAX {
            let Some(input) = self.state_inbox.pop_front() else { break };
            if let StateInput::Request { token, request, .. } = &input
                && let Some(waiting) = self.calls.get(token)
            {
                self.proposals.note(waiting.call, request.clone());
            }
            self.state.handle(local, input);
        }
        if is_due {
            self.state.handle_timeout(local);
        }
        while let Some(output) = self.state.poll_output() {
            self.survive()?;
            self.execute_state(output)?;
        }
        if now < lag.1 {
            self.state_rests_until = now + lag.0;
        }
        Ok(true)
    }

    /// Whether power holds for one more output.
    fn survive(&mut self) -> Result<(), Ending> {
        match &mut self.ground.lock().doom {
            Some(doom) if doom.outputs == 0 => return Err(Ending::Crash(doom.rest)),
            Some(doom) => doom.outputs -= 1,
            None => {}
        }
        Ok(())
    }

    /// When there is something to do again, if nothing arrives before.
    fn next_instant(&self) -> u64 {
        let site = self.ground.lock();
        let wakes = [self.replica.poll_timeout(), self.state.poll_timeout()];
        let wakes = wakes.into_iter().flatten().map(|wake| site.clock.world(wake.at));
        let disk = [self.due.log, self.due.store, self.due.sync];
        let rest = (!self.state_inbox.is_empty()).then_some(self.state_rests_until);
        let others = disk.into_iter().flatten().chain(rest).chain(self.images.values().copied());
        wakes.chain(others).min().unwrap_or(now() + 1_000_000_000)
    }

    fn take(&mut self, arrival: Arrival) -> Result<(), Ending> {
        match arrival {
            Arrival::Parcel(parcel) => self.take_parcel(parcel),
            Arrival::Ask(ask, reply) => self.take_ask(ask, reply)?,
            Arrival::Opened(frame_bytes_max, frames, reply) => {
                let stream = StreamId(self.next_number());
                if reply.send(stream).is_ok() {
                    self.streams.insert(stream, frames);
                    self.give_state(StateInput::StreamOpened { stream, frame_bytes_max });
                }
            }
            Arrival::Request(stream, message) => {
                let who = Ok(<_>::default());
                self.give_state(StateInput::StreamMessage { stream, who, message });
            }
            Arrival::Passed(stream) => {
                self.give_state(StateInput::StreamReady { stream, frames: 1 });
            }
            Arrival::Closed(stream) => {
                self.streams.remove(&stream);
                self.give_state(StateInput::StreamClosed { stream });
            }
        }
        Ok(())
    }

    fn take_ask(&mut self, ask: Ask, reply: oneshot::Sender<Answer>) -> Result<(), Ending> {
        let (call, read, is_now) = match ask {
            Ask::Call(call, operation) => match (operation.is_serializable(), operation) {
                (Some(is_now), operation) => (call, Reading::Keys(operation), is_now),
                (None, Operation::Request(request)) => {
                    let token = Token(self.next_number());
                    self.calls.insert(token, Waiting { call, reply, read: None });
                    let who = Ok(<_>::default());
                    self.give_state(StateInput::Request { token, who, request });
                    return Ok(());
                }
                (None, Operation::Range(_)) => return Ok(()),
            },
            Ask::Members { is_linearizable } => (CallId(0), Reading::Members, !is_linearizable),
            Ask::Status => {
                self.tell_status(reply);
                return Ok(());
            }
            // A stream is no question.
            Ask::Watch { .. } => return Ok(()),
        };
        let token = Token(self.next_number());
        self.calls.insert(token, Waiting { call, reply, read: Some(read) });
        let view = self.ground.lock().view.clone();
        match view {
            Some(view) if view.suffices(is_now) => return self.read(token, &view),
            // Before it shows anything a member has nothing to say.
            None if is_now => {
                self.calls.remove(&token);
            }
            _ => self.give_state(StateInput::Read { token }),
        }
        Ok(())
    }

    /// A line for the operator.
    pub(super) fn note(&self, note: Note) {
        self.tap.tell(|| Seen::Noted { member: self.id, note });
    }
}

fn is_over(wake: Option<Wake>, local: Time) -> bool {
    wake.is_some_and(|wake| wake.at <= local)
}
