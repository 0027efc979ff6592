//! Those who call, keep leases and watch: the world's own clients, a task each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use madsim::net::{Endpoint, Receiver, Sender};
use madsim::task::spawn;
use madsim::time::sleep;
use quorate_core::Response;
use quorate_core::ids::{MemberId, StreamId};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::Semaphore;

use super::{Phase, Trial};
use crate::on_madsim::client::ask_once;
use crate::on_madsim::site::now;
use crate::on_madsim::wire::{Answer, Ask};
use crate::world::client::request::bell;
use crate::world::client::watcher::{Look, Watcher, cancel};
use crate::world::client::worker::{Keeper, TRIES_MAX, Worker, is_worth_a_retry};
use crate::world::luck::{Luck, Purpose};
use crate::world::observe::{CallId, ClientId, Operation, Outcome, Seen};
use crate::world::plan::{Deed, Errand};

const MILLISECOND: u64 = 1_000_000;
/// How long a client waits for an answer, in seconds: even odds for each.
const PATIENCE_S: [u64; 3] = [1, 3, 8];
/// Between two looks of a worker that has nothing to do.
const IDLE: Duration = Duration::from_millis(50);

/// Starts all clients. Numbers: workers, then watchers, then keepers.
pub(super) fn start(trial: &Arc<Trial>) {
    let shape = trial.plan.shape;
    let (workers, watchers) = (shape.workers as usize, shape.watchers as usize);
    let keepers = shape.keepers as usize;
    let luck = |client: usize| Luck::new(trial.plan.seed, Purpose::Choice, client as u64);
    trial.course().owed = vec![Vec::new(); workers];
    trial.course().leases = vec![0; keepers];
    for number in 0..workers {
        let caller = Caller { trial: trial.clone(), client: number, luck: luck(number) };
        trial.crowd.spawn(work(caller, Worker::new(number, &shape)));
    }
    for number in 0..watchers {
        let mut caller =
            Caller { trial: trial.clone(), client: workers + number, luck: luck(workers + number) };
        let watcher = Watcher::new(&mut caller.luck, shape.keys, shape.nodes);
        let watcher = Arc::new(Mutex::new(watcher));
        trial.course().watchers.push(watcher.clone());
        trial.crowd.spawn(watch(caller, watcher));
    }
    for number in 0..keepers {
        let client = workers + watchers + number;
        let mut caller = Caller { trial: trial.clone(), client, luck: luck(client) };
        let keeper = Keeper::new(&mut caller.luck, number, &shape);
        trial.crowd.spawn(keep(caller, keeper, number));
    }
}

/// A client at its calls.
#[derive(Clone)]
struct Caller {
    trial: Arc<Trial>,
    client: usize,
    luck: Luck,
}

impl Caller {
    fn id(&self) -> ClientId {
        ClientId(self.client as u32)
    }

    fn next_member(&self, member: usize) -> usize {
        (member + 1) % self.trial.cluster.members()
    }

    async fn rest(&mut self, least: u64, most: u64) {
        sleep(Duration::from_millis(self.luck.between(least, most))).await;
    }

    /// A call from its beginning to its end.
    async fn call(&mut self, member: usize, call: CallId, operation: Operation) -> Outcome {
        let (trial, client) = (self.trial.clone(), self.id());
        let patience = Duration::from_secs(*self.luck.pick(&PATIENCE_S));
        trial.course().open.insert(call, client);
        trial.tap.tell(|| Seen::Called {
            client,
            call,
            member: MemberId(member as u64 + 1),
            operation: operation.clone(),
        });
        let asked = ask_once(trial.address(member), Ask::Call(call, operation), patience);
        let outcome = match asked.await {
            Ok(Answer::Outcome(outcome)) => outcome,
            _ => Outcome::Unknown,
        };
        trial.conclude(call, &outcome);
        outcome
    }
}

/// A worker that several of its calls share.
type Shared = Arc<Mutex<Worker>>;

fn with<T>(worker: &Shared, look: impl FnOnce(&mut Worker) -> T) -> T {
    look(&mut worker.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does a worker's errands when they are due, and what it owes before any other.
async fn work(mut caller: Caller, worker: Worker) {
    let trial = caller.trial.clone();
    let places = worker.in_flight_max;
    let (room, worker) = (Arc::new(Semaphore::new(places)), Arc::new(Mutex::new(worker)));
    let own = |errand: &&Errand| errand.worker % trial.plan.shape.workers == caller.client as u64;
    let mut errands: Vec<_> = trial.plan.errands.iter().filter(own).copied().collect();
    errands.reverse();
    loop {
        let owed = trial.course().owed[caller.client].pop();
        let due = errands.last().is_some_and(|errand| errand.at <= now());
        if let Some(key) = owed {
            ring(&mut caller, &worker, key).await;
        } else if let (true, Some(errand)) = (due, errands.pop()) {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let (mut caller, worker) = (caller.clone(), worker.clone());
            caller.luck = Luck::new(caller.luck.bits(), Purpose::Choice, errand.at);
            spawn(async move {
                run_errand(&mut caller, &worker, errand.deed).await;
                drop(place);
            });
        } else {
            let next = errands.last().map(|errand| errand.at.saturating_sub(now()));
            sleep(next.map_or(IDLE, |rest| Duration::from_nanos(rest).min(IDLE))).await;
        }
    }
}

/// The last put on a key, until it is answered.
async fn ring(caller: &mut Caller, worker: &Shared, key: u64) {
    let call = caller.trial.next_call();
    let member = with(worker, |worker| worker.node);
    let outcome = caller.call(member, call, bell(key, call.0)).await;
    conclude(caller, worker, member, &outcome).await;
    let mut course = caller.trial.course();
    match outcome {
        Outcome::Response(Response::Put(put)) => {
            let revision = put.header.map_or(0, |header| header.revision);
            course.bells.insert(key, revision);
        }
        _ => course.owed[caller.client].push(key),
    }
}

async fn run_errand(caller: &mut Caller, worker: &Shared, deed: Deed) {
    for _ in 0..=TRIES_MAX {
        let call = caller.trial.next_call();
        let leases = caller.trial.course().leases.clone();
        let asked =
            with(worker, |it| it.resolve(call.0, &leases, deed).map(|what| (it.node, what)));
        let Some((member, operation)) = asked else { return };
        let outcome = caller.call(member, call, operation).await;
        conclude(caller, worker, member, &outcome).await;
        match outcome {
            Outcome::Refused(refusal) if is_worth_a_retry(refusal) => {}
            _ => return,
        }
    }
}

/// A worker learns from an answer; without one it rests, and goes on with another member.
async fn conclude(caller: &mut Caller, worker: &Shared, member: usize, outcome: &Outcome) {
    let next = caller.next_member(member);
    let is_served = matches!(outcome, Outcome::Range(_) | Outcome::Response(_));
    with(worker, |worker| {
        worker.learn(outcome);
        if !is_served && worker.node == member {
            worker.node = next;
        }
    });
    if !is_served {
        caller.rest(1, 300).await;
    }
}

/// Keeps one lease alive until everybody rests.
async fn keep(mut caller: Caller, mut keeper: Keeper, number: usize) {
    let trial = caller.trial.clone();
    sleep(Duration::from_secs(1)).await;
    while trial.course().phase != Phase::Resting {
        let (rest, request) = keeper.choose(now(), &mut caller.luck);
        let until = now() + rest;
        if let Some(request) = request {
            let (call, member) = (trial.next_call(), keeper.node);
            let outcome = caller.call(member, call, Operation::Request(request)).await;
            if !keeper.learn(&outcome) {
                keeper.node = caller.next_member(member);
            }
            trial.course().leases[number] = keeper.lease;
        }
        sleep(Duration::from_nanos(until.saturating_sub(now()))).await;
    }
}

/// A watcher's end of a stream, to send on.
struct Stream {
    id: StreamId,
    member: usize,
    sender: Sender,
}

impl Stream {
    async fn send(&self, caller: &Caller, request: RequestUnion) -> bool {
        let (client, stream) = (caller.id(), self.id);
        let message = pb::WatchRequest { request_union: Some(request) };
        let told = || Seen::StreamSent { client, stream, message: message.clone() };
        caller.trial.tap.tell(told);
        self.sender.send(Box::new(message)).await.is_ok()
    }
}

type Watching = Arc<Mutex<Watcher>>;

fn peek<T>(watcher: &Watching, look: impl FnOnce(&mut Watcher) -> T) -> T {
    look(&mut watcher.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Opens one stream after the other.
async fn watch(mut caller: Caller, watcher: Watching) {
    loop {
        caller.rest(500, 3_000).await;
        let trial = caller.trial.clone();
        let id = {
            let mut course = trial.course();
            course.last_stream += 1;
            StreamId(course.last_stream)
        };
        let (client, member) = (caller.id(), peek(&watcher, |watcher| watcher.node));
        let told = MemberId(member as u64 + 1);
        trial.tap.tell(|| Seen::StreamOpened { client, stream: id, member: told });
        let size = peek(&watcher, |watcher| watcher.frame_bytes_max);
        if let Ok((sender, receiver)) = open(&caller, member, size).await {
            follow(&mut caller, &watcher, Stream { id, member, sender }, receiver).await;
        }
        trial.tap.tell(|| Seen::StreamEnded { client, stream: id });
        let next = caller.next_member(member);
        peek(&watcher, |watcher| watcher.end(next));
    }
}

async fn open(
    caller: &Caller,
    member: usize,
    frame_bytes_max: usize,
) -> std::io::Result<(Sender, Receiver)> {
    let endpoint = Endpoint::bind("0.0.0.0:0").await?;
    let (sender, receiver) = endpoint.connect1(caller.trial.address(member)).await?;
    sender.send(Box::new(Ask::Watch { frame_bytes_max })).await?;
    Ok((sender, receiver))
}

/// Follows a stream until it breaks or is left.
async fn follow(caller: &mut Caller, watcher: &Watching, stream: Stream, mut receiver: Receiver) {
    let begin = peek(watcher, Watcher::begin);
    let mut is_open = stream.send(caller, begin).await;
    let mut look_at = now() + caller.luck.between(500, 3_000) * MILLISECOND;
    while is_open {
        let rest = Duration::from_nanos(look_at.saturating_sub(now()));
        let received = tokio::select! {
            biased;
            received = receiver.recv() => Some(received),
            () = sleep(rest) => None,
        };
        is_open = match received {
            Some(Ok(frame)) => match frame.downcast::<pb::WatchResponse>() {
                Ok(frame) => take_frame(caller, watcher, &stream, *frame).await,
                Err(_) => false,
            },
            Some(Err(_)) => false,
            None => {
                look_at = now() + caller.luck.between(500, 3_000) * MILLISECOND;
                look(caller, watcher, &stream).await
            }
        };
    }
}

/// False if the stream is of no use any more.
async fn take_frame(
    caller: &Caller,
    watcher: &Watching,
    stream: &Stream,
    frame: pb::WatchResponse,
) -> bool {
    let is_of_no_use = peek(watcher, |watcher| watcher.learn(&frame));
    let behind = (frame.compact_revision > 0).then_some(frame.watch_id);
    let (client, stream_id) = (caller.id(), stream.id);
    caller.trial.tap.tell(|| Seen::Frame { client, stream: stream_id, frame });
    match behind {
        _ if is_of_no_use => false,
        // Until it is let go of, a watch that was cancelled keeps its id.
        Some(id) => stream.send(caller, cancel(id)).await,
        None => true,
    }
}

/// A watcher looks after its stream. False if it leaves it.
async fn look(caller: &mut Caller, watcher: &Watching, stream: &Stream) -> bool {
    // A live connection would tell; madsim's wait for ever.
    if caller.trial.is_lost(stream.member) {
        return false;
    }
    let keys = caller.trial.plan.shape.keys;
    let is_winding_up = caller.trial.course().phase != Phase::Faults;
    let luck = &mut caller.luck;
    let requests = match peek(watcher, |it| it.look(luck, keys, is_winding_up)) {
        Look::Leave => return false,
        Look::Send(requests) => requests,
        Look::Replace(cancel) => {
            let aside = peek(watcher, |it| it.watch_aside(luck, keys));
            std::iter::once(cancel).chain(aside).collect()
        }
    };
    for request in requests {
        if !stream.send(caller, request).await {
            return false;
        }
    }
    true
}
