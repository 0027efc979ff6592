//! A run, written down: what is there, what the weather is like, which faults strike when, and
//! what the clients do.
//!
//! ```text
//!   seed --draw--> Plan <--read, write--> text
//!                    `--> World
//! ```
//!
//! The world takes a plan, never a seed alone: a failure replays from its text even after the
//! generator has changed, and a shrinker just leaves lines out. What happens to a single message
//! or write is drawn while the world runs, from the plan's seed and the weather.

use super::words::{worded_enum, worded_struct};

mod draw;
mod text;

pub use text::PlanError;

worded_struct! {
    /// How large the world is. Times in milliseconds.
    Shape {
        /// Members.
        nodes,
        /// Seconds under faults.
        seconds,
        /// Clients that call; the last of them does not wait for answers.
        workers,
        /// Clients that watch.
        watchers,
        /// Clients that keep one lease alive each.
        keepers,
        /// Calls per second, over all workers.
        rate,
        /// Keys.
        keys,
        /// Of a thousand calls, so many are transactions.
        txn_per_mille,
        /// Between two compactions.
        compact_every_ms,
        /// Between two bursts of leases that end together; 0: none.
        burst_every_ms,
        /// Applied entries between two snapshots.
        snapshot_count,
        /// Entries kept for slow followers.
        catchup_entries,
        /// TTL of kept leases, in seconds; no other lease is longer.
        lease_ttl,
        /// The group's heartbeat interval.
        heartbeat_ms,
        /// The group's election timeout.
        election_ms,
        /// Machines beside the members', which may join.
        spares,
        /// Users beside root, in whose names workers call; 0: nobody is ever asked.
        users,
    }
}

worded_struct! {
    /// What may happen to anything at any time. Chances are of 2^32.
    Weather {
        /// Base latency between members, in microseconds.
        peer_us,
        /// Base latency between clients and members.
        client_us,
        /// A message between members is lost.
        drop,
        /// It arrives twice.
        duplicate,
        /// It overtakes others.
        reorder,
        /// It takes a hundred times as long.
        slow,
        /// It arrives at another member.
        misdeliver,
        /// A client's request is lost.
        request_lost,
        /// An answer to a client is lost.
        reply_lost,
        /// A connection breaks, and what is on it is lost.
        reset,
        /// The transfer of an image breaks off.
        image_cut,
        /// Clocks drift by at most so many parts in a million.
        drift_ppm,
        /// A machine's step takes up to so many microseconds longer.
        step_us,
        /// A slow watcher returns credit after so many milliseconds.
        credit_ms,
        /// Between two checkpoints of a lease.
        checkpoint_ms,
        /// Between two progress notifications of an idle watch.
        progress_ms,
        /// A proposal is refused, as by a leader that has too much to do.
        refuse,
        /// An image is sent twice.
        image_twice,
        /// It takes many seconds.
        image_late,
        /// Applied entries between two snapshots; 0: as the shape says.
        snapshot_count,
        /// Entries kept for slow followers, plus one; 0: as the shape says.
        catchup_entries,
        /// Bounds in the members that are tiny, a bit for each.
        pinch,
    }
}

worded_enum! {
    /// Something goes wrong. Members by number from 0; `rest` in nanoseconds.
    Fault {
        /// A member loses power after so many more outputs, and comes back after a rest.
        Crash "crash" {
            /// Which.
            node,
            /// Outputs still executed.
            outputs,
            /// How long it is down.
            rest,
        }
        /// The same for whoever leads.
        CrashLeader "crash-leader" {
            /// Outputs still executed.
            outputs,
            /// How long it is down.
            rest,
        }
        /// All members at once.
        CrashAll "crash-all" {
            /// How long they are down.
            rest,
        }
        /// A member stands still; its clock too, if `frozen`.
        Pause "pause" {
            /// Which.
            node,
            /// How long.
            rest,
            /// 1: it does not notice.
            frozen,
        }
        /// The same for whoever leads.
        PauseLeader "pause-leader" {
            /// How long.
            rest,
            /// 1: it does not notice.
            frozen,
        }
        /// Nothing gets from members in one set to members in another. Sets are bit masks.
        Cut "cut" {
            /// Senders.
            from,
            /// Receivers.
            to,
            /// 1: nor the other way.
            both,
            /// How long.
            rest,
        }
        /// The leader is cut off from other members.
        IsolateLeader "isolate-leader" {
            /// 0: both ways, 1: it hears nothing, 2: nobody hears it.
            way,
            /// How long.
            rest,
        }
        /// Messages wait at one link and arrive late, in order.
        Clog "clog" {
            /// Sender.
            from,
            /// Receiver.
            to,
            /// How long.
            rest,
        }
        /// Connections between two members break.
        Reset "reset" {
            /// Sender.
            from,
            /// Receiver.
            to,
        }
        /// A member's clients cannot reach it.
        CutClients "cut-clients" {
            /// The member.
            node,
            /// 0: neither way, 1: requests are lost, 2: answers are.
            way,
            /// How long.
            rest,
        }
        /// A disk takes longer for everything.
        SlowDisk "slow-disk" {
            /// Whose.
            node,
            /// Hundredths of the normal time.
            percent,
            /// How long.
            rest,
        }
        /// A disk completes nothing for a while.
        StallDisk "stall-disk" {
            /// Whose.
            node,
            /// How long.
            rest,
        }
        /// A disk never completes anything again, until the member is restarted with another
        /// cable.
        HangDisk "hang-disk" {
            /// Whose.
            node,
            /// Until then.
            rest,
        }
        /// The next sync fails; the member halts, and is restarted after a rest.
        FailSync "fail-sync" {
            /// Whose.
            node,
            /// How long it is down.
            rest,
        }
        /// Applying lags behind.
        LagApply "lag-apply" {
            /// Whose.
            node,
            /// How long each step takes, in nanoseconds.
            step,
            /// How long.
            rest,
        }
        /// A clock changes its pace.
        TurnClock "turn-clock" {
            /// Whose.
            node,
            /// Parts in a million, plus a million.
            pace,
        }
        /// An operator moves leadership.
        MoveLeader "move-leader" {
            /// To whom.
            node,
        }
        /// The store completes nothing for a while; the log does.
        StallStore "stall-store" {
            /// Whose.
            node,
            /// How long.
            rest,
        }
        /// What is sent to one member arrives at another: an address was given away again.
        Misroute "misroute" {
            /// Sender.
            from,
            /// Receiver.
            to,
            /// Where it arrives.
            at,
            /// How long.
            rest,
        }
    }
}

worded_enum! {
    /// What a worker does. Keys by number. Leases by number as well: 0 is none, then come the
    /// keepers', then the worker's own newest one, then one that does not exist. A span counts
    /// keys: 0 or 1 is just the first, 1000 all from it on, 999 none. Revisions count back from
    /// the newest one the client knows; those of a million and more are yet to come.
    Deed {
        /// A put of a value never used before.
        Put "put" {
            /// The key.
            key,
            /// The lease it is attached to.
            lease,
            /// Bits: 1 the answer shows the previous value, 2 keep the old value, 4 keep the old
            /// lease, 8 send what is to be ignored.
            flags,
        }
        /// A deletion.
        Delete "delete" {
            /// The first key.
            key,
            /// Keys.
            span,
            /// 1: the answer shows the previous values.
            prev,
        }
        /// A read.
        Range "range" {
            /// The first key.
            key,
            /// Keys.
            span,
            /// Most keys wanted; 0: all.
            limit,
            /// At which revision; 0: now.
            back,
            /// Bits: 1 serializable, 2 count only, 4 keys only.
            flags,
            /// Five times the order and the target; 15 and more do not exist.
            sort,
            /// Bits: 1 least, 2 greatest modification, 4 least, 8 greatest creation revision.
            bounds,
        }
        /// A transaction: if `guard` holds for `key`, put it and read; else read, or delete.
        Txn "txn" {
            /// The key.
            key,
            /// The condition.
            guard,
            /// Another key.
            other,
            /// Bits: 1 puts the other key too, 2 deletes a range if the guard fails, 4 nests,
            /// 8 nests deeper, 16 puts a key twice, 32 reads the past.
            flags,
            /// The lease the keys are attached to.
            lease,
            /// Bits as of a put.
            put_flags,
        }
        /// A transaction that only reads.
        Read "read" {
            /// The key.
            key,
            /// The condition.
            guard,
            /// Another key.
            other,
            /// At which revision one of its reads looks; 0: now.
            back,
            /// 1: serializable.
            flags,
        }
        /// A compaction.
        Compact "compact" {
            /// At which revision.
            back,
            /// 1: answered when it is done.
            physical,
        }
        /// A lease of the worker's own, never kept alive.
        Grant "grant" {
            /// TTL in seconds.
            ttl,
            /// The id: 0 a new one, 1 the member's choice, else the lease of this number less one.
            id,
        }
        /// The end of a lease.
        Revoke "revoke" {
            /// Which.
            lease,
        }
        /// A look at a lease.
        TimeToLive "time-to-live" {
            /// Which.
            lease,
            /// 1: with its keys.
            keys,
        }
        /// A look at all leases.
        Leases "leases" {}
    }
}

worded_enum! {
    /// What the operator does to the group. Members by place in the list of members there are.
    Chore {
        /// A spare machine joins.
        Add "add" {
            /// 1: without a vote.
            learner,
        }
        /// A learner gets its vote.
        Promote "promote" {}
        /// A member goes.
        Remove "remove" {
            /// Which.
            place,
        }
        /// Whoever leads goes.
        RemoveLeader "remove-leader" {}
        /// A member that is down goes.
        RemoveSilent "remove-silent" {}
        /// A machine is lost with its disk; its member goes, and another comes.
        Replace "replace" {
            /// Whose.
            place,
        }
        /// A member gets other peer URLs.
        Update "update" {
            /// Which.
            place,
        }
        /// Leadership moves.
        MoveLeader "move" {
            /// To whom.
            place,
        }
    }
}

worded_enum! {
    /// What the steward orders about users and roles. Both by number; 0 is root, user and role.
    /// A span counts keys from the first one on, as a deed's does.
    Order {
        /// From now on everybody is asked.
        Enable "enable" {}
        /// Nobody is any more.
        Disable "disable" {}
        /// There is a new user.
        AddUser "add-user" {
            /// Who.
            user,
        }
        /// A user goes.
        DeleteUser "delete-user" {
            /// Who.
            user,
        }
        /// A user gets another password, and so other tokens.
        ChangePassword "change-password" {
            /// Who.
            user,
        }
        /// There is a new role.
        AddRole "add-role" {
            /// Which.
            role,
        }
        /// A role goes.
        DeleteRole "delete-role" {
            /// Which.
            role,
        }
        /// A user gets a role.
        Grant "grant-role" {
            /// Who.
            user,
            /// Which.
            role,
        }
        /// A user loses a role.
        Withdraw "withdraw-role" {
            /// Who.
            user,
            /// Which.
            role,
        }
        /// A role permits something.
        Permit "permit" {
            /// Which.
            role,
            /// The first key.
            key,
            /// Keys.
            span,
            /// 0 to read, 1 to write, 2 both.
            kind,
        }
        /// A role does not permit it any more.
        Forbid "forbid" {
            /// Which.
            role,
            /// The first key.
            key,
            /// Keys.
            span,
        }
    }
}

/// An order and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decree {
    /// When at the earliest, in nanoseconds.
    pub at: u64,
    /// What.
    pub order: Order,
}

/// A chore and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// When at the earliest, in nanoseconds.
    pub at: u64,
    /// What.
    pub chore: Chore,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When, in nanoseconds.
    pub at: u64,
    /// What.
    pub fault: Fault,
}

/// An operation, who does it, and when at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// When, in nanoseconds.
    pub at: u64,
    /// The worker.
    pub worker: u64,
    /// What.
    pub deed: Deed,
}

/// A run. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of all luck while the world runs.
    pub seed: u64,
    /// How large.
    pub shape: Shape,
    /// What the weather is like.
    pub weather: Weather,
    /// Machines, as a bit mask, that must serve in the end; others as well if the group that is
    /// there by then needs them.
    pub quorum: u64,
    /// What goes wrong, by time.
    pub strikes: Vec<Strike>,
    /// What clients do, by time.
    pub errands: Vec<Errand>,
    /// What the operator does, by time.
    pub duties: Vec<Duty>,
    /// What the steward orders, by time.
    pub decrees: Vec<Decree>,
}

impl Plan {
    /// When faults end inside the quorum, in nanoseconds.
    pub(crate) fn healing(&self) -> u64 {
        self.shape.seconds * 1_000_000_000
    }

    /// All machines there are.
    pub(crate) fn machines(&self) -> usize {
        (self.shape.nodes + self.shape.spares) as usize
    }
}

impl Shape {
    /// The reference scenario: three members, 100 calls per second, watchers, leases.
    pub const R3: Self = Self {
        nodes: 3,
        seconds: 60,
        workers: 8,
        watchers: 20,
        keepers: 10,
        rate: 100,
        keys: 40,
        txn_per_mille: 100,
        compact_every_ms: 10_000,
        burst_every_ms: 15_000,
        snapshot_count: 500,
        catchup_entries: 100,
        lease_ttl: 10,
        heartbeat_ms: 100,
        election_ms: 1_000,
        spares: 0,
        users: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_text() {
        for seed in 0..20 {
            let shape = Shape { seconds: 10, nodes: 3 + 2 * (seed % 2), ..Shape::R3 };
            let plan = Plan::draw(seed, shape);
            assert!(!plan.errands.is_empty());
            assert_eq!(Plan::read(&plan.write()), Ok(plan));
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let text = Plan::draw(1, Shape { seconds: 1, ..Shape::R3 }).write();
        let wrong = format!("{text}fault 5 meteor 1\n");
        let line = wrong.lines().count();
        let error = PlanError { line, what: String::from("unknown fault: meteor 1") };
        assert_eq!(Plan::read(&wrong), Err(error));
    }

    #[test]
    fn another_seed_is_another_plan_and_faults_are_in_order() {
        let plans: Vec<_> = (0..30).map(|seed| Plan::draw(seed, Shape::R3)).collect();
        let mut words = std::collections::BTreeSet::new();
        let mut chores = std::collections::BTreeSet::new();
        for plan in &plans {
            assert!(plan.strikes.is_sorted_by_key(|strike| strike.at));
            assert!(plan.errands.is_sorted_by_key(|errand| errand.at));
            assert!(plan.duties.is_sorted_by_key(|duty| duty.at));
            chores.extend(plan.duties.iter().map(|duty| duty.chore.word()));
            words.extend(plan.strikes.iter().map(|strike| strike.fault.word()));
        }
        assert_ne!(plans[0].weather, plans[1].weather);
        assert_eq!(words.len(), Fault::WORDS.len(), "some seed draws each fault");
        assert_eq!(chores.len(), Chore::WORDS.len(), "some seed draws each chore");
    }
}
