//! The load generator: a few threads, a runtime each, clients in closed loops on few connections.
//!
//! ```text
//! thread 0 ── connection 0 ── clients 0, 4, 8 ...
//!          └─ connection 2 ── clients 2, 6, 10 ...
//! thread 1 ── connection 1 ── clients 1, 5, 9 ...
//!          └─ connection 3 ── clients 3, 7, 11 ...
//! ```
//!
//! Threads share the number of the next turn; everything else they sum up at the end. A connection
//! that breaks is replaced: calls on it fail, and are counted.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};
use tonic::Status;

use super::stint::{Meeting, Stint};
use super::tally::{Tally, sum_tracks};
use super::target::Target;
use super::{Line, Outcome};
use crate::client::told;

/// How long to rest before a connection is replaced.
const REDIAL_INTERVAL: Duration = Duration::from_millis(100);

/// How an operation ended, and which track it belongs to.
pub type Step = (usize, Result<(), Status>);

/// What a client does, over and over.
pub trait Work: 'static {
    /// What it needs first, which is not measured.
    fn prepare(&mut self) -> impl Future<Output = Result<(), Status>> {
        async { Ok(()) }
    }

    /// One operation: a call and its answer.
    fn step(&mut self, turn: u64) -> impl Future<Output = Step>;
}

/// How many at a time.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients, each with one operation at a time.
    pub clients: usize,
    /// Connections they share.
    pub connections: usize,
    /// Threads that drive them.
    pub threads: usize,
    /// Kinds of operations told apart.
    pub tracks: usize,
}

impl Load {
    /// So many clients on so many connections, of one kind.
    pub const fn new(clients: usize, connections: usize, threads: usize) -> Self {
        Self { clients, connections, threads, tracks: 1 }
    }

    /// Threads that have a connection to drive.
    pub(super) fn busy_threads(&self) -> usize {
        self.threads.min(self.connections).max(1)
    }
}

/// Runs closed loops until the stint is over; what each track saw.
///
/// # Errors
/// A server cannot be reached, or says no to what clients need first.
pub fn drive<W: Work>(
    target: &Arc<Target>,
    load: &Load,
    stint: &Arc<Stint>,
    make: impl Fn(&Line, u64) -> W + Send + Sync + 'static,
) -> Outcome<Vec<Tally>> {
    let (threads, make) = (load.busy_threads(), Arc::new(make));
    let seen = on_threads(threads, stint, async |thread| {
        let tallies = Rc::new(RefCell::new(vec![Tally::default(); load.tracks]));
        let mut clients = JoinSet::new();
        for number in (thread..load.connections).step_by(threads) {
            let wire = Rc::new(Wire::open(target, number).await?);
            for client in (number..load.clients).step_by(load.connections) {
                let (stint, tallies) = (stint.clone(), tallies.clone());
                let begin = Begin { wire: wire.clone(), make: make.clone(), client: client as u64 };
                let clients_all = load.clients;
                clients.spawn_local(async move {
                    let client = begin.client().await.map_err(|status| told(&status))?;
                    stint.meet(Meeting::Ready, clients_all).await;
                    repeat(&stint, &tallies, client, &begin).await;
                    Ok::<_, String>(())
                });
            }
        }
        stint.unless_stopped(all_of(&mut clients)).await.unwrap_or(Ok(()))?;
        Ok(tallies.take())
    })?;
    Ok(sum_tracks(load.tracks, seen))
}

/// Waits until all tasks have ended well, or one has not.
pub(super) async fn all_of(tasks: &mut JoinSet<Outcome<()>>) -> Outcome<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// How a client begins, at first and after its connection broke.
struct Begin<M> {
    wire: Rc<Wire>,
    make: Arc<M>,
    client: u64,
}

/// A client, and the connection it has: others on it may already have another.
struct Client<W> {
    line: Line,
    work: W,
}

impl<W: Work, M: Fn(&Line, u64) -> W> Begin<M> {
    async fn client(&self) -> Result<Client<W>, Status> {
        let line = self.wire.line();
        let mut work = (self.make)(&line, self.client);
        work.prepare().await?;
        Ok(Client { line, work })
    }

    /// The same on a connection that is not broken, after some rest.
    async fn again(&self) -> Result<Client<W>, Status> {
        tokio::time::sleep(REDIAL_INTERVAL).await;
        self.wire.renew().await.map_err(Status::unavailable)?;
        self.client().await
    }
}

async fn repeat<W: Work, M: Fn(&Line, u64) -> W>(
    stint: &Stint,
    tallies: &RefCell<Vec<Tally>>,
    client: Client<W>,
    begin: &Begin<M>,
) {
    let mut client = Ok(client);
    while let Some(turn) = stint.turn().await {
        let called = Instant::now();
        let (track, outcome) = match &mut client {
            Ok(client) => client.work.step(turn).await,
            Err(status) => (0, Err(Status::clone(status))),
        };
        let answered = Instant::now();
        if let Some(since_begin) = stint.counted(answered) {
            let tally = &mut tallies.borrow_mut()[track];
            match &outcome {
                Ok(()) => tally.succeed(answered - called, since_begin),
                Err(status) => tally.fail(status),
            }
        }
        let is_gone = |client: &Client<W>| client.line.is_closed();
        if outcome.is_err() && client.as_ref().map_or(true, is_gone) {
            client = begin.again().await;
        }
    }
}

/// A connection, and what it takes to have it again.
struct Wire {
    target: Arc<Target>,
    number: usize,
    line: RefCell<Line>,
    /// Held by who dials.
    dialing: tokio::sync::Mutex<()>,
}

impl Wire {
    async fn open(target: &Arc<Target>, number: usize) -> Outcome<Self> {
        let line = RefCell::new(target.line(number).await?);
        Ok(Self { target: target.clone(), number, line, dialing: tokio::sync::Mutex::default() })
    }

    fn line(&self) -> Line {
        self.line.borrow().clone()
    }

    /// Dials unless somebody else has.
    async fn renew(&self) -> Outcome<()> {
        let _dialing = self.dialing.lock().await;
        if self.line.borrow().is_closed() {
            let line = self.target.line(self.number).await?;
            self.line.replace(line);
        }
        Ok(())
    }
}

/// Runs the same on several threads, each with a runtime of its own, which may spawn locally. When
/// one fails, all stop.
///
/// # Errors
/// Why the first one failed.
pub fn on_threads<T: Send>(
    threads: usize,
    stint: &Stint,
    body: impl AsyncFn(usize) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    std::thread::scope(|scope| {
        let body = &body;
        let run = move |thread| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
            LocalSet::new().block_on(&runtime, body(thread)).inspect_err(|_| stint.stop())
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let joined = running.into_iter().map(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => Err("a load thread panicked".to_owned()),
        });
        joined.collect()
    })
}
