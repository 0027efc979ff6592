//! What the loops tell, as log lines and counts.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_core::error::Misbehaviour;
use quorate_core::ids::MemberId;
use quorate_core::input::Role;
use quorate_core::output::Note;
use tracing::{info, warn};

use crate::cli::show_duration;
use crate::driver::Observer;
use crate::metrics::{Metrics, Op, whole};

/// Listens to the loops.
#[derive(Debug)]
pub struct Listener {
    member: MemberId,
    metrics: Arc<Metrics>,
    /// What applying may take before somebody hears of it.
    apply_max: Duration,
}

impl Listener {
    /// A listener to that member's loops, with so much patience for what they apply.
    pub fn new(member: MemberId, metrics: Arc<Metrics>, apply_max: Duration) -> Self {
        Self { member, metrics, apply_max }
    }
}

fn told_removed(own: MemberId, member: MemberId) {
    if member == own {
        warn!(
            "local-member-id" = %own,
            "this member was removed: it ends once another member says so"
        );
    } else {
        info!("removed-remote-peer-id" = %member, "removed member");
    }
}

impl Observer for Listener {
    fn note(&self, note: &Note) {
        let own = self.member;
        let led = |leader: MemberId, term| {
            let role = Role { term, leader: Some(leader), is_leader: leader == own };
            self.metrics.observe_role(role);
        };
        match note {
            Note::BecameLeader { term } => {
                led(own, *term);
                info!("local-member-id" = %own, term = term.get(), "became leader");
            }
            Note::SteppedDown { term, why } => {
                warn!("local-member-id" = %own, term = term.get(), why, "stepped down");
            }
            Note::Follows { leader, term } => {
                led(*leader, *term);
                info!("leader" = %leader, term = term.get(), "elected leader");
            }
            Note::LogStalled { number } => warn!(number, "slow fdatasync"),
            Note::LogLags { by } => {
                warn!("later-by" = ?by, "this leader's log is slower than those of a quorum");
            }
            Note::Published => {
                info!(
                    "local-member-id" = %own,
                    "published local member to cluster through raft"
                );
            }
            Note::ClusterVersion { version } => {
                info!("cluster-version" = version, "set initial cluster version");
            }
            Note::MemberAdded { member } => info!("added-peer-id" = %member, "added member"),
            Note::MemberRemoved { member } => told_removed(own, *member),
            Note::MemberPromoted { member } => {
                info!("promoted-member-id" = %member, "promoted member");
            }
            Note::MemberUpdated { member } => {
                info!("updated-remote-peer-id" = %member, "updated member");
            }
            Note::CompactionFinished { revision } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.metrics.disk.compacted_at.set(whole(now.as_secs()));
                info!("compact-revision" = revision.get(), "finished scheduled compaction");
            }
            Note::SnapshotApplied { index } => {
                info!("incoming-leader-snapshot-index" = index.get(), "applied snapshot");
            }
            Note::Fenced { why } => {
                warn!(
                    "local-member-id" = %own,
                    why,
                    "this member's state is not to be trusted: it serves nothing until a copy of \
                     the leader's has replaced it"
                );
            }
            Note::Repaired => {
                info!(
                    "local-member-id" = %own,
                    "a copy of the leader's state has replaced this member's"
                );
            }
            Note::Alarm { member, kind, raised } => {
                warn!("member" = %member, alarm = kind, raised, "alarm changed");
            }
        }
    }

    fn misbehaved(&self, from: MemberId, how: Misbehaviour) {
        warn!("remote-peer-id" = %from, ?how, "dropped what a peer sent");
    }

    fn log_synced(&self, took: Duration) {
        self.metrics.disk.wal_fsync.observe(took);
    }

    fn defragmenting(&self, took: Option<Duration>) {
        let disk = &self.metrics.disk;
        disk.defragmenting.set(i64::from(took.is_none()));
        if let Some(took) = took {
            disk.defragment.observe(took);
        }
    }

    fn applied(&self, op: Op, is_success: bool, took: Duration) {
        self.metrics.work.note_applied(op, is_success, took);
    }

    fn turn_applied(&self, took: Duration) {
        if took > self.apply_max {
            self.metrics.work.slow_applies.add(1);
            warn!(
                took = show_duration(took),
                "expected-duration" = show_duration(self.apply_max),
                prefix = "",
                "apply request took too long"
            );
        }
    }

    fn store_written(&self, took: Duration) {
        self.metrics.disk.store_commit.observe(took);
    }
}
