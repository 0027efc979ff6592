//! The mistakes.

/// One mistake. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// Its name, and the value of the cfg.
    pub name: &'static str,
    /// Where it was made for real, or the family it stands for.
    pub from: &'static str,
    /// What it breaks.
    pub breaks: &'static str,
    /// The branch: file, and what the planted line does.
    pub place: &'static str,
    /// The oracle expected to object first.
    pub oracle: &'static str,
}

/// All of them.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "vote-before-persist",
        from: "raft: a vote answered before it is persisted",
        breaks: "after a crash a member votes twice in one term; two leaders",
        place: "core/src/raft/disk.rs hold(): MsgVote and MsgVoteResp count as behind batch 0",
        oracle: "durability",
    },
    Bug {
        name: "ack-before-sync",
        from: "etcd 14370: a write acknowledged before the log is synced",
        breaks: "an acknowledged write is gone after a crash",
        place: "core/src/raft/disk.rs hold(): MsgAppResp counts as behind batch 0",
        oracle: "durability",
    },
    Bug {
        name: "applied-index-ahead",
        from: "etcd 13766: the applied index stored ahead of its data",
        breaks: "a crash between the two skips entries; members differ",
        place: "core/src/schema/progress.rs encode(): writes the index after the mark's",
        oracle: "agreement",
    },
    Bug {
        name: "entry-reapplied",
        from: "etcd 14685: entries replayed twice after a restart",
        breaks: "a revision is made twice; members differ",
        place: "core/src/schema/progress.rs encode(): writes the index before the mark's",
        oracle: "agreement",
    },
    Bug {
        name: "read-barrier-skipped",
        from: "etcd 7331: a read answered before the first commit of the term",
        breaks: "a deposed leader serves the past to linearizable reads",
        place: "core/src/replica.rs handle_barrier(): \
                a leader answers at once with its commit index",
        oracle: "linear",
    },
    Bug {
        name: "alone-unasked",
        from: "ours: a member left over answers reads before its own group confirmed that it leads",
        breaks: "it may have voted for the other, whose last writes it does not have",
        place: "core/src/state/solitude.rs is_alone(): no barrier has to be reached",
        oracle: "linear",
    },
    Bug {
        name: "alone-with-learners",
        from: "ours: a sole voter takes itself for the whole cluster",
        breaks: "a learner acknowledges a write that the voter has not applied yet",
        place: "core/src/state/solitude.rs is_alone(): learners are not counted",
        oracle: "linear",
    },
    Bug {
        name: "compaction-drops-live",
        from: "etcd 18089: compaction at exactly the tombstone's revision",
        breaks: "reads and watches at the compacted revision miss a change",
        place: "core/src/mvcc/index/history.rs remains(): \
                the version at the revision itself goes too",
        oracle: "linear",
    },
    Bug {
        name: "watch-progress-overtakes",
        from: "etcd 15220: watch progress overtakes events",
        breaks: "a client resumes behind events it never got",
        place: "core/src/watch/progress.rs notify(), answer_wish(): \
                do not ask whether it is synced",
        oracle: "watch",
    },
    Bug {
        name: "watch-splits-revision",
        from: "the rest: a transaction split over two watch responses",
        breaks: "watchers see half a transaction",
        place: "core/src/watch/hub.rs push_response(): one event a response, none marked",
        oracle: "watch",
    },
    Bug {
        name: "install-overwritten",
        from: "etcd 13922: a snapshot overwritten by an older commit",
        breaks: "rows of the past come back behind an installed image",
        place: "io-sim/src/world/disk/store.rs complete(), crash(): \
                batches of an earlier epoch are executed",
        oracle: "agreement",
    },
    Bug {
        name: "torn-tail-accepted",
        from: "etcd 15069: torn last log record",
        breaks: "garbage is read as an entry",
        place: "io-sim/src/world/disk/log.rs crash(): \
                a torn last entry stays, with half of its data",
        oracle: "raft",
    },
    Bug {
        name: "revision-differs-after-restart",
        from: "the rest: revision reused after a restart",
        breaks: "two writes share a revision",
        place: "core/src/mvcc/store.rs open(): \
                the newest live key's revision, not the last record's",
        oracle: "agreement",
    },
    Bug {
        name: "heads-stay-when-records-go",
        from: "ours: what a start reads in the place of records tells of some that are gone",
        breaks: "keys that were deleted are there again after a restart, without a value",
        place: "core/src/mvcc/heads.rs remove(): it is not said what is gone",
        oracle: "panic",
    },
    Bug {
        name: "head-without-lease",
        from: "ours: what a start reads in the place of records leaves out the lease",
        breaks: "keys outlive their lease after a restart",
        place: "core/src/mvcc/changes.rs head(): no lease",
        oracle: "panic",
    },
    Bug {
        name: "expired-lease-forgotten",
        from: "etcd 10686: an expired lease forgotten when its revoke failed once",
        breaks: "a lease lives for ever",
        place: "core/src/lease/expiry.rs take_expired(): never due again",
        oracle: "lease",
    },
    Bug {
        name: "message-for-another",
        from: "etcd 17813: a message for another member accepted",
        breaks: "votes and acknowledgements count for the wrong member",
        place: "core/src/raft/message.rs check_address(): the receiver's id is not looked at",
        oracle: "raft",
    },
    Bug {
        name: "stale-proposal-taken",
        from: "ours: a forwarded proposal taken by the leader of a later term",
        breaks: "a write that was proposed anew is applied twice",
        place: "core/src/raft/message.rs ignores(): the proposal's term is not looked at",
        oracle: "linear",
    },
    Bug {
        name: "repeated-too-early",
        from: "ours: a proposal repeated before the new leader's log is applied",
        breaks: "a write the old leader had replicated is applied twice",
        place: "core/src/state.rs handle_role(): what is in flight counts as lost \
                as soon as the term changes",
        oracle: "linear",
    },
    Bug {
        name: "watch-goes-back",
        from: "etcd 15271: a watch goes back in time after a snapshot",
        breaks: "a client sees revisions again that it has seen",
        place: "core/src/watch/fan_out.rs on_installed(): \
                watchers begin again five revisions before what they missed",
        oracle: "watch",
    },
    Bug {
        name: "watchers-lost-at-install",
        from: "etcd 8427: watchers not restored after a snapshot",
        breaks: "what an image brought is never told to those who watch",
        place: "core/src/watch/fan_out.rs on_installed(): synced watchers stay synced",
        oracle: "watch",
    },
    Bug {
        name: "watch-event-repeated",
        from: "etcd 17247: an event twice out of a write buffer",
        breaks: "a client without room for a frame sees the one before again",
        place: "core/src/watch/fan_out.rs tell(): falls behind from one revision earlier",
        oracle: "watch",
    },
    Bug {
        name: "previous-value-is-new",
        from: "ours: the previous value read at the event's own revision",
        breaks: "prev_kv is the new value",
        place: "core/src/watch/fan_out.rs read_previous(): not one revision before",
        oracle: "watch",
    },
    Bug {
        name: "future-watch-told-progress",
        from: "etcd 20221: a watch from a future revision gets progress",
        breaks: "a client resumes from before its start",
        place: "core/src/watch/progress.rs notify(): does not ask whether it has begun",
        oracle: "watch",
    },
    Bug {
        name: "canceled-id-reused",
        from: "the rest: the id of a cancelled watch given away early",
        breaks: "late frames of one watch are taken for another's",
        place: "core/src/watch/stream.rs assign_id(): the lowest id that is free",
        oracle: "watch",
    },
    Bug {
        name: "compact-revision-wrong",
        from: "ours: a cancel for compaction names what was wanted, not what is left",
        breaks: "a client that goes on from there is cancelled again and again",
        place: "core/src/watch/catch_up.rs cancel_compacted(): the watcher's own revision",
        oracle: "liveness",
    },
    Bug {
        name: "deposed-leader-revokes",
        from: "etcd 12528, 15247: a deposed or stalled leader revokes leases",
        breaks: "a lease that was renewed with the new leader ends",
        place: "core/src/door/pending.rs is_leaders_own(): \
                expiries are forwarded and repeated like anything else",
        oracle: "lease",
    },
    Bug {
        name: "renewed-by-deposed",
        from: "ours, and etcd's fast keep-alive: contact counted from when messages arrive",
        breaks: "a deposed leader renews leases that its successor lets expire",
        place: "core/src/state/reads.rs led_lately(): always",
        oracle: "lease",
    },
    Bug {
        name: "checkpoint-repeated",
        from: "ours: a deposed leader's checkpoint of a lease proposed again to its successor",
        breaks: "a lease that was renewed since has less time left",
        place: "core/src/door/pending.rs is_leaders_own(): checkpoints are not",
        oracle: "lease",
    },
    Bug {
        name: "lease-time-lost",
        from: "etcd 17132: time of a lease lost after leader changes",
        breaks: "a renewed lease ends when a checkpoint from before says so",
        place: "core/src/lease/expiry.rs renew(): does not clear the checkpoint first",
        oracle: "lease",
    },
    Bug {
        name: "revoke-spread",
        from: "the rest: the end of a lease spread over several revisions",
        breaks: "readers see some of a lease's keys without the others",
        place: "core/src/apply/dispatch.rs revoke(): each key in a revision of its own",
        oracle: "panic",
    },
    Bug {
        name: "key-dies-with-old-lease",
        from: "ours: a key put with another lease stays attached to the one before",
        breaks: "a key is deleted though its lease lives",
        place: "core/src/lease/book.rs attach(): does not detach first",
        oracle: "agreement",
    },
    Bug {
        name: "deleted-key-stays-attached",
        from: "ours: a deleted key, or one put without a lease, stays attached",
        breaks: "a key made anew dies with a lease it never had",
        place: "core/src/apply/dispatch.rs carry_to_leases(): nothing is detached",
        oracle: "agreement",
    },
    Bug {
        name: "attachments-lost-at-restart",
        from: "ours: a restarted member forgets which keys hang on which lease",
        breaks: "members differ when a lease ends",
        place: "core/src/apply/mod.rs open(): keys are not attached again",
        oracle: "agreement",
    },
    Bug {
        name: "compare-after-writes",
        from: "the rest: a compare evaluated after writes",
        breaks: "a nested transaction decides by what the outer one has just put",
        place: "core/src/txn/execute.rs execute(): nested branches are chosen when met",
        oracle: "linear",
    },
    Bug {
        name: "read-txn-error-swallowed",
        from: "etcd 14110: the error path of transactions that only read",
        breaks: "a read of a compacted or future revision is answered as empty",
        place: "core/src/txn/execute.rs read_txn(): revisions are not looked at",
        oracle: "linear",
    },
    Bug {
        name: "txn-lease-unchecked",
        from: "ours: a put in a transaction does not ask whether its lease exists",
        breaks: "keys hang on leases that nobody ends",
        place: "core/src/txn/execute.rs check_put(): without check_lease()",
        oracle: "linear",
    },
    Bug {
        name: "compacted-revision-refused",
        from: "ours: a transaction may not read the compacted revision itself",
        breaks: "a read that must be served is refused",
        place: "core/src/txn/execute.rs check_revision(): at, not below",
        oracle: "linear",
    },
    Bug {
        name: "ignore-lease-ignored",
        from: "ours: a put that keeps its lease loses it",
        breaks: "a key outlives its lease",
        place: "core/src/txn/execute.rs parts(): the lease is the request's",
        oracle: "linear",
    },
    Bug {
        name: "promote-half-stored",
        from: "etcd 19557: a promotion stored in one place of two",
        breaks: "after a restart a voter is listed as a learner",
        place: "core/src/membership/change.rs apply_change(): the member's row is not written",
        oracle: "membership",
    },
    Bug {
        name: "second-change-pending",
        from: "raft: a second membership change while one is pending",
        breaks: "two majorities that share nobody",
        place: "core/src/state/changes.rs propose_change(), \
                core/src/raft/driver/group.rs: nobody asks whether one is under way",
        oracle: "raft",
    },
    Bug {
        name: "learner-votes",
        from: "raft: a learner counted as voter",
        breaks: "a quorum is larger than the members that can make it",
        place: "core/src/raft/confchange.rs parse_single(): a learner is added as voter",
        oracle: "membership",
    },
    Bug {
        name: "group-of-log-mark",
        from: "raft: quorum of the wrong set",
        breaks: "a restarted member counts the voters of long ago",
        place: "core/src/raft/driver.rs open(): the group of the log's mark, not the store's",
        oracle: "membership",
    },
    Bug {
        name: "cut-mark-newest-group",
        from: "ours: the mark of a cut bears the group of today",
        breaks: "changes behind the mark are applied twice after a restart",
        place: "core/src/raft/confchange.rs known_at(): the newest group whatever the index",
        oracle: "membership",
    },
    Bug {
        name: "removed-leader-stays",
        from: "ours: a leader that was removed goes on leading",
        breaks: "the raft crate looks for it among the members",
        place: "core/src/raft/driver/group.rs apply_change(): does not step down",
        oracle: "panic",
    },
    Bug {
        name: "two-images-in-a-row",
        from: "etcd 18055: two snapshots in a row",
        breaks: "what the second image covers counts as not applied",
        place: "core/src/replica.rs handle_persisted(): one image a report",
        oracle: "halt",
    },
    Bug {
        name: "image-visible-half",
        from: "disk: a snapshot visible before it is complete",
        breaks: "after a crash half of an image is taken for all of it",
        place: "io-sim/src/world/disk/log.rs crash(): half of the records are in place",
        oracle: "agreement",
    },
    Bug {
        name: "fsync-error-retried",
        from: "disk: an fsync error retried",
        breaks: "what the failed sync covered is gone, and was acknowledged",
        place: "io-sim/src/world/outputs.rs log_done(): the next sync speaks for it",
        oracle: "durability",
    },
    Bug {
        name: "peer-url-shared",
        from: "ours: two members share a peer URL",
        breaks: "a machine is two members",
        place: "core/src/membership/change.rs check_urls(): others are not asked",
        oracle: "membership",
    },
    Bug {
        name: "removed-leaves-at-once",
        from: "ours: a member ends when its own log says that it was removed",
        breaks: "those who do not know yet that it was wait for its vote for ever",
        place: "core/src/replica.rs handle_changed(): waits for nobody's word",
        oracle: "liveness",
    },
    Bug {
        name: "change-before-commit-synced",
        from: "ours: a change of the group takes effect before its commit is durable",
        breaks: "a member crashes, forgets whom it sent away, and waits for its vote for ever",
        place: "core/src/raft/disk.rs hold_committed(): hands out at once",
        oracle: "liveness",
    },
    Bug {
        name: "stale-wish-taken",
        from: "ours: a wish to change the group taken by the leader of a later term",
        breaks: "a change that was made is answered as refused",
        place: "core/src/state/changes.rs handle_wish(): the wish's term is not looked at",
        oracle: "raft",
    },
    Bug {
        name: "rights-empty-after-load",
        from: "etcd 14571: a member's permission cache is empty after a snapshot",
        breaks: "a member that was restarted, or got an image, refuses what is permitted",
        place: "core/src/auth/book.rs load(): does not merge what users' roles permit",
        oracle: "agreement",
    },
    Bug {
        name: "auth-index-unsaved",
        from: "etcd 11651: auth writes do not save the applied index",
        breaks: "a member that is restarted applies changes of users again; members differ",
        place: "core/src/schema/progress.rs encode(): nothing for a batch with rows of auth",
        oracle: "durability",
    },
    Bug {
        name: "old-rights-count",
        from: "ours: the auth revision of an entry is not looked at",
        breaks: "a write is carried out for whoever was somebody else when it was asked for",
        place: "core/src/auth/book.rs check_keys(): an older revision will do",
        oracle: "auth",
    },
    Bug {
        name: "else-branch-unjudged",
        from: "ours: of a transaction only the branch that is hoped for is judged",
        breaks: "who makes a condition fail reads and writes everything",
        place: "core/src/auth/gate.rs check_txn(): passes over the failure branch",
        oracle: "auth",
    },
    Bug {
        name: "previous-value-unjudged",
        from: "ours: a put shows a previous value that may not be read",
        breaks: "who may only write reads",
        place: "core/src/auth/gate.rs check_put(): does not ask for the right to read",
        oracle: "auth",
    },
    Bug {
        name: "lease-of-others",
        from: "ours: a key may be put on a lease with keys of others",
        breaks: "a key hangs on a lease its writer may not end",
        place: "core/src/auth/gate.rs check_put(): does not look at the lease's keys",
        oracle: "auth",
    },
    Bug {
        name: "token-outlives-password",
        from: "ours: a new password leaves old tokens good",
        breaks: "who was locked out stays in",
        place: "core/src/auth/change.rs end_tokens(): not for a changed password",
        oracle: "auth",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_words_and_all_is_told() {
        let names: BTreeSet<&str> = BUGS.iter().map(|bug| bug.name).collect();
        assert_eq!(names.len(), BUGS.len());
        for bug in BUGS {
            let is_plain = bug.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            assert!(is_plain, "{}", bug.name);
            assert!(bug.place.starts_with("core/src/") || bug.place.starts_with("io-sim/src/"));
            let oracles = [
                "linear",
                "watch",
                "agreement",
                "durability",
                "raft",
                "lease",
                "bounds",
                "liveness",
                "membership",
                "auth",
                "halt",
                "panic",
            ];
            assert!(oracles.contains(&bug.oracle), "{}", bug.oracle);
        }
    }
}
