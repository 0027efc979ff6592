//! One member: two machines with an inbox each, a clock, a disk, and the power switch.
//!
//! ```text
//!   arrivals -> inbox --take turns--> machine --outputs, in order--> disk, network, the other
//!                                        ^ power may go between any two outputs
//! ```
//!
//! A machine takes in what has gathered since its last turn, then its outputs are executed one
//! by one. How long a turn takes, and so how much gathers, is drawn; a lag of applying or a pause
//! is nothing but a very long turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quorate_core::error::StorageFault;
use quorate_core::event::ReadError;
use quorate_core::ids::{LogIndex, MemberId};
use quorate_core::storage::{LogContents, SnapshotMark, StateRead};
use quorate_core::time::Time;
use quorate_core::{
    Config, Machine, ReplicaInput, ReplicaOutput, Role, StateInput, StateOutput, View,
};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::raftpb::ConfState;

use super::clock::Clock;
use super::disk::{Log, Pace, Store};
use super::luck::Luck;
use super::proposals::Proposals;
use super::table::Content;

/// The two machines under test, and how to open and read them: the one seam between the world
/// and what it tests.
pub trait Build {
    /// Consensus over bytes.
    type Replica: Machine<Input = ReplicaInput, Output = ReplicaOutput>;
    /// What committed entries mean.
    type State: Machine<Input = StateInput, Output = StateOutput>;

    /// Opens the state on what the store holds.
    fn open_state(
        &self,
        config: &Config,
        image: Arc<dyn StateRead>,
        now: Time,
    ) -> Result<Self::State, StorageFault>;

    /// What a just opened state's image durably holds.
    fn mark(&self, state: &Self::State) -> SnapshotMark;

    /// Opens the replica on what the log holds.
    fn open_replica(
        &self,
        config: &Config,
        stored: SnapshotMark,
        log: LogContents,
        now: Time,
    ) -> Result<Self::Replica, StorageFault>;

    /// Whom raft counts.
    fn group(&self, replica: &Self::Replica) -> ConfState;

    /// Answers a range from a view.
    fn range(
        &self,
        view: &View,
        request: &pb::RangeRequest,
    ) -> Result<pb::RangeResponse, ReadError>;

    /// Answers a transaction that only reads from a view.
    fn read_txn(&self, view: &View, request: &pb::TxnRequest)
    -> Result<pb::TxnResponse, ReadError>;
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The replica.
    Replica = 0,
    /// The state.
    State = 1,
}

/// When a machine has its turn.
#[derive(Clone, Copy, Default)]
pub(super) struct Turn {
    /// A turn is on its way.
    pub(super) is_due: bool,
    /// It cannot begin before.
    pub(super) busy_until: u64,
    /// The world's instant of the earliest timer under way; 0 if none is.
    pub(super) armed: u64,
}

/// The machines of a member that is up.
pub(super) struct Machines<B: Build> {
    pub(super) replica: B::Replica,
    pub(super) state: B::State,
}

/// Why and how long a member will be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doom {
    /// Outputs it still executes.
    pub(super) outputs: u64,
    /// How long it is down.
    pub(super) rest: u64,
}

/// See the module.
pub(super) struct Node<B: Build> {
    pub(super) config: Config,
    pub(super) machines: Option<Machines<B>>,
    pub(super) boot: u64,
    pub(super) clock: Clock,
    pub(super) log: Log,
    pub(super) store: Store,
    pub(super) pace: Pace,
    pub(super) luck: Luck,
    pub(super) replica_inbox: VecDeque<ReplicaInput>,
    pub(super) state_inbox: VecDeque<StateInput>,
    pub(super) turns: [Turn; 2],
    /// A step of the state takes so long, until then.
    pub(super) lag: (u64, u64),
    pub(super) doom: Option<Doom>,
    /// Halts for a reason that the world knows, and rests so long.
    pub(super) failing: Option<u64>,
    /// Stays as it is, whatever it is.
    pub(super) is_lost: bool,
    /// A machine that is no member yet, or no longer, has none; it may wait to become the one with
    /// this peer URL.
    pub(super) awaits: Option<String>,
    /// The same for the member that comes when the one that is here is gone.
    awaits_next: Option<String>,
    /// The members it has been since the beginning, but for the first.
    been: BTreeSet<MemberId>,
    pub(super) role: Role,
    pub(super) applied: (LogIndex, u64),
    pub(super) view: Option<View>,
    /// The newest image taken here.
    pub(super) pinned: Option<(SnapshotMark, Arc<dyn StateRead>)>,
    /// Images received here and not installed yet, by index.
    pub(super) staged: BTreeMap<LogIndex, Content>,
    /// Which calls of this run are in which proposals.
    pub(super) proposals: Proposals,
    /// Frames passed on and not yet credited, by stream: to quick clients, to slow ones.
    pub(super) credit: [Vec<(u64, usize)>; 2],
    /// What the store is known to hold safely.
    pub(super) stored: LogIndex,
    /// The entry as of which the replica has its group, and whether that is news.
    group: (LogIndex, bool),
}

impl<B: Build> Node<B> {
    /// A member that was never started.
    pub(super) fn new(config: Config, clock: Clock, pace: Pace, luck: Luck) -> Self {
        Self {
            config,
            machines: None,
            boot: 0,
            clock,
            log: Log::default(),
            store: Store::default(),
            pace,
            luck,
            replica_inbox: VecDeque::new(),
            state_inbox: VecDeque::new(),
            turns: [Turn::default(); 2],
            lag: (0, 0),
            doom: None,
            failing: None,
            is_lost: false,
            awaits: None,
            awaits_next: None,
            been: BTreeSet::new(),
            role: Role::default(),
            applied: (LogIndex(0), 0),
            view: None,
            pinned: None,
            staged: BTreeMap::new(),
            proposals: Proposals::default(),
            credit: [Vec::new(), Vec::new()],
            stored: LogIndex(0),
            group: (LogIndex(0), false),
        }
    }

    /// The replica has the group as of that entry, or of a later one.
    pub(super) fn note_group(&mut self, index: LogIndex) {
        self.group = (self.group.0.max(index), true);
    }

    /// As of which entry the replica has its group, if that is news.
    pub(super) fn take_group_news(&mut self) -> Option<LogIndex> {
        std::mem::take(&mut self.group.1).then_some(self.group.0)
    }

    /// Its id.
    pub(super) fn id(&self) -> MemberId {
        self.config.member
    }

    /// Whether it is a member, running or not.
    pub(super) fn is_member(&self) -> bool {
        self.config.member != MemberId(0)
    }

    /// Whether it may join.
    pub(super) fn is_free(&self) -> bool {
        !self.is_member() && self.awaits.is_none()
    }

    /// Whether it is, or was, that member, which had joined.
    pub(super) fn has_been(&self, id: MemberId) -> bool {
        self.been.contains(&id)
    }

    /// The list shows a member at that URL, which is this machine's.
    pub(super) fn expect(&mut self, id: MemberId, url: &str) {
        if self.has_been(id) {
            return;
        }
        if self.is_free() {
            self.awaits = Some(url.to_owned());
        } else if self.is_member() {
            self.awaits_next = Some(url.to_owned());
        }
    }

    /// From now on it is that member, and has yet to learn everything.
    pub(super) fn become_member(&mut self, id: MemberId, name: String) {
        self.awaits = None;
        self.been.insert(id);
        self.config.member = id;
        self.config.client_urls = vec![format!("http://{name}:2379")];
        self.config.name = name;
        self.config.bootstrap.clear();
    }

    /// The disk is lost, and with it who it was. It does not run.
    pub(super) fn wipe(&mut self) {
        self.config.member = MemberId(0);
        self.awaits = self.awaits_next.take();
        (self.log, self.store) = (Log::default(), Store::default());
        self.pace.heal();
        (self.applied, self.stored) = ((LogIndex(0), 0), LogIndex(0));
        self.failing = None;
    }

    /// Whether it runs.
    pub(super) fn is_up(&self) -> bool {
        self.machines.is_some()
    }

    /// Opens both machines on what the disk holds. Returns what was found.
    pub(super) fn open(
        &mut self,
        build: &B,
        now: u64,
    ) -> Result<(LogContents, SnapshotMark), StorageFault> {
        let local = self.clock.local(now);
        self.config.boot = (self.config.boot + 1).max(now / 1_000_000);
        let state = build.open_state(&self.config, Arc::new(self.store.image()), local)?;
        let stored = build.mark(&state);
        let log = self.log.load(&stored).map_err(StorageFault::new)?;
        let replica = build.open_replica(&self.config, stored.clone(), log.clone(), local)?;
        self.machines = Some(Machines { replica, state });
        self.stored = stored.index;
        Ok((log, stored))
    }

    /// Power is gone: memory is lost, and what the disk may lose.
    pub(super) fn lose_power(&mut self) {
        self.machines = None;
        self.boot += 1;
        self.replica_inbox.clear();
        self.state_inbox.clear();
        self.turns = [Turn::default(); 2];
        self.doom = None;
        self.role = Role::default();
        self.view = None;
        self.pinned = None;
        self.staged.clear();
        self.proposals = Proposals::default();
        self.credit = [Vec::new(), Vec::new()];
        self.group = (LogIndex(0), false);
        let installed = self.log.crash(self.pace.luck());
        self.store.crash(self.pace.luck(), installed);
    }

    /// How long a turn keeps a machine busy.
    pub(super) fn draw_turn(&mut self, now: u64, part: Part, step_us: u64) -> u64 {
        let (lag, until) = self.lag;
        if part == Part::State && now < until {
            return lag;
        }
        5_000 + self.luck.below(20_000) + self.luck.below(step_us * 1_000 + 1)
    }
}
