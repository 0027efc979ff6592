//! Where a member runs: its disk, its clock, its identity. All of it outlives a loss of power; what
//! does not is the member itself.
//!
//! ```text
//!   madsim node --init--> Member --Arc--> Site: log, store, clock
//!        `--kill--> the member's tasks are dropped; the site loses what was not synced
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_core::error::StorageFault;
use quorate_core::ids::{LogIndex, MemberId};
use quorate_core::storage::{LogContents, SnapshotMark};
use quorate_core::time::Time;
use quorate_core::{Config, Replica, ReplicaInput, Role, State, View};

use crate::world::clock::Clock;
use crate::world::disk::{Log, Pace, Store};
use crate::world::observe::{Observer, Seen, Stop, Violation};

/// Time since the simulation began, in nanoseconds: the same for all.
pub(super) fn now() -> u64 {
    madsim::time::TimeHandle::current().elapsed().as_nanos() as u64
}

/// Both machines, and what they found.
pub(super) struct Opened {
    pub(super) replica: Replica,
    pub(super) state: State,
    pub(super) log: LogContents,
    pub(super) stored: SnapshotMark,
    /// Which run of the member this is.
    pub(super) run: u64,
}

/// Power goes after so many more outputs, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doom {
    pub(super) outputs: u64,
    pub(super) rest: u64,
}

/// See the module.
pub(super) struct Site {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) log: Log,
    pub(super) store: Store,
    pub(super) pace: Pace,
    pub(super) doom: Option<Doom>,
    /// A failed sync is the simulation's doing; the member is then down for so long.
    pub(super) failing: Option<u64>,
    /// A step of the state takes so long, until then.
    pub(super) lag: (u64, u64),
    /// What somebody outside wants of the replica.
    pub(super) wishes: Vec<ReplicaInput>,
    /// A member that stopped by itself is started again after so long, by whoever looks.
    pub(super) resting: Option<u64>,
    /// Starts so far.
    run: u64,
    is_up: bool,
    /// What the store is known to hold safely.
    pub(super) stored: LogIndex,
    pub(super) role: Role,
    pub(super) applied: (LogIndex, u64),
    pub(super) view: Option<View>,
    tap: Tap,
}

/// A site, shared by a cluster and the runs of one member.
#[derive(Clone)]
pub(super) struct Ground(Arc<Mutex<Site>>);

impl Ground {
    pub(super) fn new(config: Config, clock: Clock, pace: Pace, tap: Tap) -> Self {
        Self(Arc::new(Mutex::new(Site {
            config,
            clock,
            log: Log::default(),
            store: Store::default(),
            pace,
            doom: None,
            failing: None,
            lag: (0, 0),
            wishes: Vec::new(),
            resting: None,
            run: 0,
            is_up: false,
            stored: LogIndex(0),
            role: Role::default(),
            applied: (LogIndex(0), 0),
            view: None,
            tap,
        })))
    }

    /// Nobody holds it across a pause of the executor. A panic elsewhere does not make it wrong.
    pub(super) fn lock(&self) -> MutexGuard<'_, Site> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site {
    pub(super) fn id(&self) -> MemberId {
        self.config.member
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Which run of the member is under way, or was the last.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// What the member's clock shows.
    pub(super) fn local(&self, now: u64) -> Time {
        self.clock.local(now)
    }

    /// Opens both machines on what the disk holds. A run before this one that was killed in this
    /// very instant may not know it yet.
    pub(super) fn open(&mut self, now: u64) -> Result<Opened, StorageFault> {
        self.lose_power(self.run, Stop::Crash);
        let local = self.clock.local(now);
        self.config.boot = (self.config.boot + 1).max(now / 1_000_000);
        let state = State::open(&self.config, Arc::new(self.store.image()), local)?;
        let stored = state.mark();
        let log = self.log.load(&stored).map_err(StorageFault::new)?;
        let replica = Replica::open(&self.config, stored.clone(), log.clone(), local)?;
        self.stored = stored.index;
        self.run += 1;
        self.is_up = true;
        let run = self.run;
        Ok(Opened { replica, state, log, stored, run })
    }

    /// Power is gone for that run of the member: the disk loses what it may lose.
    pub(super) fn lose_power(&mut self, run: u64, why: Stop) {
        if !self.is_up || self.run != run {
            return;
        }
        self.is_up = false;
        (self.doom, self.role, self.view) = (None, Role::default(), None);
        self.wishes.clear();
        let installed = self.log.crash(self.pace.luck());
        self.store.crash(self.pace.luck(), installed);
        let member = self.id();
        self.tap.tell(|| Seen::Stopped { member, why });
    }
}

/// Whoever is told what happens, if anybody is.
#[derive(Clone, Default)]
pub(super) struct Tap(Option<Arc<Mutex<Told>>>);

struct Told {
    observer: Box<dyn Observer + Send>,
    violation: Option<Violation>,
    is_closed: bool,
}

impl Tap {
    /// Tells that observer.
    pub(super) fn to(observer: Box<dyn Observer + Send>) -> Self {
        Self(Some(Arc::new(Mutex::new(Told { observer, violation: None, is_closed: false }))))
    }

    /// Tells what happened now.
    pub(super) fn tell(&self, seen: impl FnOnce() -> Seen) {
        let Some(told) = &self.0 else { return };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.violation.is_none() && !told.is_closed {
            told.violation = told.observer.observe(Time(now()), &seen()).err();
        }
    }

    /// Ends the run for another reason.
    pub(super) fn object(&self, violation: Violation) {
        let Some(told) = &self.0 else { panic!("{}: {}", violation.oracle, violation.what) };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.violation.get_or_insert(violation);
    }

    /// Tells nothing more.
    pub(super) fn close(&self) {
        if let Some(told) = &self.0 {
            told.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        }
    }

    /// The first objection.
    pub(super) fn violation(&self) -> Option<Violation> {
        let told = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        told.violation.clone()
    }
}
