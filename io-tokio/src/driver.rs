//! The loops: four around the two machines, three of them threads.
//!
//! ```text
//!   clients, peers            peers, transport
//!        |                        |
//!        v        Committed       v        Persist
//!   [ state ] <------------- [ replica ] ----------> [ log ]
//!        | --- Propose, ... ----> ^  <--- Persisted ---  |
//!        v Store                                         | install
//!   [ store ] <------------------------------------------+
//! ```
//!
//! Every loop is the same: wait for something or for the machine's next timer, take whatever
//! else has arrived, feed it all, run the timer if it is due, then carry out what the machine
//! wants, one message for each receiver. So proposals that arrive while the log is syncing leave
//! in one batch (group commit), and a busy loop is woken once a turn. The replica's loop is a task
//! on the thread of the streams to other members: a heartbeat and its answer cross no further
//! thread.
//!
//! Invariants:
//! - Elections and heartbeats never wait for a sync, the store or an apply: nothing on the
//!   replica's thread ever blocks.
//! - No loop waits for another, but the log for the store while an image is installed. The store
//!   waits for nobody.
//! - `State` hears of an installed image before `Replica` hears that it is persisted.
//! - A fault or panic in any loop is told once, through [`Running::fatal`]; the process ends.
//!
//! Deliberately absent: rules of the protocol; sockets.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/raft.go`, `server/etcdserver/server.go`

mod entry;
mod log;
mod office;
mod post;
mod replica;
mod scrub;
mod state;
mod store;
mod stream;
mod sweep;
mod turns;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use quorate_core::error::{Misbehaviour, StorageFault};
use quorate_core::ids::MemberId;
use quorate_core::output::Note;
use quorate_core::peer::PeerMessage;
use quorate_core::storage::StateRead;
use quorate_core::{Machine, ReplicaInput, ReplicaOutput, StateInput, StateOutput};
use quorate_proto::raftpb;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use entry::Core;
pub use stream::{StreamEntry, WatchStream};
pub use turns::{Looped, Next};

use crate::clock::Clock;
use crate::disk::{ImageWrite, LogWrite, StateWrite};
use crate::metrics::Op;
use post::{LogWork, Shares, ToReplica, ToState, ToStore};
use turns::{Loop, Started};

/// The way to other members. Never waits: what cannot be queued is dropped.
pub trait Transport: Send + Sync {
    /// Sends a message.
    fn send(&self, to: MemberId, message: PeerMessage);

    /// Sends an image and then its announcement; reports with
    /// [`Core::snapshot_sent`].
    fn send_image(&self, to: MemberId, announce: raftpb::Message, image: Arc<dyn StateRead>);
}

/// Who wants to hear what the loops do: the log file, the metrics. Called from the loops: quick.
pub trait Observer: Send + Sync {
    /// Something an operator should know.
    fn note(&self, _note: &Note) {}
    /// A peer sent what no correct peer sends.
    fn misbehaved(&self, _from: MemberId, _how: Misbehaviour) {}
    /// The log was synced.
    fn log_synced(&self, _took: Duration) {}
    /// The store took a turn's batches.
    fn store_written(&self, _took: Duration) {}
    /// The store was synced.
    fn store_synced(&self, _took: Duration) {}
    /// A defragmentation begins, or has taken so long.
    fn defragmenting(&self, _took: Option<Duration>) {}
    /// An entry of this member's client was applied, so long after its turn began to apply.
    fn applied(&self, _op: Op, _is_success: bool, _took: Duration) {}
    /// A turn's entries took so long to apply.
    fn turn_applied(&self, _took: Duration) {}
    /// A loop's turn fed that many messages to a machine.
    fn turned(&self, _thread: &'static str, _messages: usize) {}
}

/// Nobody wants to hear.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// What the loops are made of.
pub struct Parts<R, S> {
    /// Consensus.
    pub replica: R,
    /// What entries mean.
    pub state: S,
    /// The log.
    pub log: Box<dyn LogWrite>,
    /// The store.
    pub store: Box<dyn StateWrite>,
    /// Where images arrive for that store.
    pub incoming: Arc<dyn ImageWrite>,
    /// The way to other members.
    pub transport: Arc<dyn Transport>,
    /// Who hears of it.
    pub observer: Arc<dyn Observer>,
    /// How often everything stored is read.
    pub scrub_interval: Duration,
    /// The clock the machines were opened with.
    pub clock: Clock,
}

/// Why the process must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// A machine or a disk cannot go on.
    Halted(StorageFault),
    /// This member was removed from the group.
    Removed,
    /// A loop panicked.
    Panicked(&'static str),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted(fault) => fault.fmt(f),
            Self::Removed => {
                f.write_str("the member has been permanently removed from the cluster")
            }
            Self::Panicked(thread) => write!(f, "the {thread} loop panicked"),
        }
    }
}

/// What all loops have.
#[derive(Clone)]
struct Outfit {
    clock: Clock,
    transport: Arc<dyn Transport>,
    observer: Arc<dyn Observer>,
    shares: Arc<Shares>,
    fatal: watch::Sender<Option<Fatal>>,
}

impl Outfit {
    /// The first one counts.
    fn tell(&self, fatal: Fatal) {
        self.fatal.send_if_modified(|told| {
            let is_first = told.is_none();
            told.get_or_insert(fatal);
            is_first
        });
    }
}

/// The loops, running.
pub struct Running {
    /// The way in; clone it freely.
    pub core: Core,
    fatal: watch::Receiver<Option<Fatal>>,
    loops: Vec<RunningLoop>,
}

/// Makes the loops around two opened machines, and starts none.
pub fn prepare<R, S>(parts: Parts<R, S>) -> Result<Prepared, StorageFault>
where
    R: Machine<Input = ReplicaInput, Output = ReplicaOutput> + Send + 'static,
    S: Machine<Input = StateInput, Output = StateOutput> + Send + 'static,
{
    let (to_replica, replica_inbox) = tokio::sync::mpsc::unbounded_channel();
    let (to_state, state_inbox) = mpsc::channel();
    let (to_log, log_inbox) = mpsc::channel();
    let (to_store, store_inbox) = mpsc::channel();
    let (fatal_sender, fatal) = watch::channel(None);
    let common = Outfit {
        clock: parts.clock,
        transport: parts.transport,
        observer: parts.observer,
        shares: Arc::default(),
        fatal: fatal_sender,
    };
    let queues = Queues { to_replica, to_state, to_log, to_store };

    let state = state::StateLoop::new(parts.state, &queues, &common)?;
    let replica = replica::ReplicaLoop::new(parts.replica, &queues, &common);
    let log = log::LogLoop::new(parts.log, &queues, &common);
    let scrub = scrub::Scrub::new(parts.scrub_interval);
    let store = store::StoreLoop::new(parts.store, scrub, &queues, &common);
    let core = Core::new(&queues, &common, parts.incoming, state.view());
    let loops: [Box<dyn Looped>; 4] = [
        Box::new(Loop::new("replica", replica, replica_inbox)),
        Box::new(Loop::new("log", log, log_inbox)),
        Box::new(Loop::new("state", state, state_inbox)),
        Box::new(Loop::new("store", store, store_inbox)),
    ];
    Ok(Prepared { core, fatal, loops, queues, common })
}

/// Starts the loops around two opened machines: the replica's as a task of that runtime, which
/// should have one thread, that of the transport's streams; the others on threads of their own.
pub fn start<R, S>(parts: Parts<R, S>, streams: &Handle) -> Result<Running, StorageFault>
where
    R: Machine<Input = ReplicaInput, Output = ReplicaOutput> + Send + 'static,
    S: Machine<Input = StateInput, Output = StateOutput> + Send + 'static,
{
    prepare(parts)?.start(streams)
}

/// The loops, not running yet.
pub struct Prepared {
    core: Core,
    fatal: watch::Receiver<Option<Fatal>>,
    /// In the order in which they are stopped.
    loops: [Box<dyn Looped>; 4],
    queues: Queues,
    common: Outfit,
}

impl Prepared {
    fn start(self, streams: &Handle) -> Result<Running, StorageFault> {
        let Queues { to_replica, to_state, to_log, to_store } = self.queues;
        let stops: [Box<dyn Fn() + Send>; 4] = [
            Box::new(move || drop(to_replica.send(ToReplica::Stop))),
            Box::new(move || drop(to_log.send(vec![LogWork::Stop]))),
            Box::new(move || drop(to_state.send(ToState::Stop))),
            Box::new(move || drop(to_store.send(ToStore::Stop))),
        ];
        let started = self.loops.into_iter().zip(stops).map(|(looped, stop)| {
            let name = looped.name();
            let guard = Box::new(PanicGuard { name, common: self.common.clone() });
            let started = looped.start(streams, guard);
            let fault = |e| StorageFault::new(format!("cannot start the {name} thread: {e}"));
            Ok(RunningLoop { name, started: started.map_err(fault)?, stop })
        });
        let loops = started.collect::<Result<_, StorageFault>>()?;
        Ok(Running { core: self.core, fatal: self.fatal, loops })
    }

    /// Leaves it to the caller to give the loops their turns, from one thread if it likes, in any
    /// order: with the way in, and why the process must end if it must. Images cannot be installed
    /// then: the log's loop would wait for the store's.
    pub fn step_by_step(self) -> (Core, [Box<dyn Looped>; 4], impl Future<Output = Fatal> + Send) {
        (self.core, self.loops, told(self.fatal))
    }
}

/// The sending ends of all queues.
struct Queues {
    to_replica: tokio::sync::mpsc::UnboundedSender<ToReplica>,
    to_state: mpsc::Sender<ToState>,
    to_log: mpsc::Sender<Vec<LogWork>>,
    to_store: mpsc::Sender<ToStore>,
}

/// A loop, and how it is told to stop.
struct RunningLoop {
    name: &'static str,
    started: Started,
    stop: Box<dyn Fn() + Send>,
}

/// Tells of a panic on its thread.
struct PanicGuard {
    name: &'static str,
    common: Outfit,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.common.tell(Fatal::Panicked(self.name));
        }
    }
}

impl Running {
    /// Waits until the process must end; tells why.
    pub fn fatal(&self) -> impl Future<Output = Fatal> + Send + use<> {
        told(self.fatal.clone())
    }

    /// Stops the loops one after the other, upstream first: what was accepted is synced in the
    /// log, what was applied is synced in the store, and calls still waiting are answered that
    /// the server is stopping. Blocking. Gives up on a loop that does not end in time (its disk
    /// hangs) and names it.
    pub fn stop(self, patience: Duration) -> Result<(), &'static str> {
        let deadline = Instant::now() + patience;
        for RunningLoop { name, started, stop } in self.loops {
            stop();
            while !started.is_finished() {
                if Instant::now() >= deadline {
                    return Err(name);
                }
                thread::sleep(Duration::from_millis(1));
            }
            started.join().ok_or(name)?;
        }
        Ok(())
    }
}

/// Waits until something is told.
async fn told(mut fatal: watch::Receiver<Option<Fatal>>) -> Fatal {
    match fatal.wait_for(Option::is_some).await.map(|told| told.clone()) {
        Ok(Some(told)) => told,
        _ => std::future::pending().await,
    }
}
