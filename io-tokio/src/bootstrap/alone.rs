//! Going on alone: what `--force-new-cluster` makes of a member's log when the others are lost.
//!
//! ```text
//! log     ... committed | the rest          others that are members then
//!                       '--> kept, counts    '--> removed by entries behind it
//! ```
//!
//! What the survivor has in its log and does not know to be committed may have been acknowledged
//! to a client by the quorum that is gone: it is kept, where etcd throws it away.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go` (bootstrapConfigFromWAL)

use std::sync::Arc;

use quorate_core::error::StorageFault;
use quorate_core::ids::{LogIndex, MemberId, Term};
use quorate_core::membership::leave_alone;
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark, StateRead};
use quorate_core::time::Time;
use quorate_core::{Config, Machine, State, StateInput, StateOutput, View};
use quorate_proto::etcdserverpb as pb;

use crate::disk::LogWrite;

/// Entries handed to the state at once.
const ENTRIES_AT_ONCE: usize = 1_000;

/// What will be done, and to what.
#[derive(Debug)]
pub struct Plan {
    /// The newest entry of the log.
    pub last: LogIndex,
    /// Entries before it that were not known to be committed: they are kept.
    pub kept: u64,
    /// The revision the keys then have.
    pub revision: i64,
    /// The members that will be removed.
    pub removed: Vec<pb::Member>,
    entries: Vec<Entry>,
    hard_state: HardState,
}

/// Looks what the state would be if the whole log counted, and who would be a member then.
///
/// # Errors
/// A store or log that cannot be used, or a member that was removed from its cluster.
pub fn plan(
    config: &Config,
    (stored, image): (&SnapshotMark, Arc<dyn StateRead>),
    log: &LogContents,
) -> Result<Plan, String> {
    let view = view_after(config, image, log, stored.index)?;
    let members: &[pb::Member] = &view.facts.members;
    let (index, term) = match log.entries.last() {
        Some(entry) => (entry.index, entry.term),
        None => (log.mark.index, log.mark.term),
    };
    let term = term.max(log.hard_state.term);
    let entries = leave_alone(config.member, members, (index, term)).ok_or_else(|| {
        let member = config.member;
        format!(
            "member {member} is not among the members its log knows: it was removed, or never \
             heard from its cluster; force a member that `member list` showed last"
        )
    })?;
    Ok(Plan {
        last: index,
        kept: index.get().saturating_sub(log.hard_state.commit.max(stored.index).get()),
        revision: view.kv.revision().get(),
        removed: members.iter().filter(|one| one.id != config.member.get()).cloned().collect(),
        hard_state: new_hard_state(log.hard_state, (index, term), entries.len() as u64),
        entries,
    })
}

/// The group's vote is not needed: all of the log is committed. A vote is for one term only.
fn new_hard_state(old: HardState, (index, term): (LogIndex, Term), more: u64) -> HardState {
    let vote = if old.term == term { old.vote } else { 0 };
    HardState { term, vote, commit: LogIndex(index.get() + more) }
}

/// The picture once every entry of the log is applied to what is stored. Nothing is written.
fn view_after(
    config: &Config,
    image: Arc<dyn StateRead>,
    log: &LogContents,
    stored: LogIndex,
) -> Result<View, String> {
    let mut state = State::open(config, image, Time::ZERO).map_err(|fault| fault.what)?;
    let missing: Vec<Entry> =
        log.entries.iter().filter(|entry| entry.index > stored).cloned().collect();
    let mut view = None;
    let mut drain = |state: &mut State| {
        while let Some(output) = state.poll_output() {
            match output {
                StateOutput::Publish(newer) => view = Some(newer),
                StateOutput::Halt(fault) => return Err(fault.what),
                _ => {}
            }
        }
        Ok(())
    };
    drain(&mut state)?;
    for entries in missing.chunks(ENTRIES_AT_ONCE) {
        state.handle(Time::ZERO, StateInput::Committed { entries: entries.to_vec() });
        drain(&mut state)?;
    }
    view.ok_or_else(|| "the store shows nothing".to_owned())
}

impl Plan {
    /// Does it: durable when this returns. `log` is what a replica then opens on.
    pub fn carry_out(
        self,
        writer: &mut dyn LogWrite,
        log: &mut LogContents,
    ) -> Result<(), StorageFault> {
        let batch = Persist {
            number: 0,
            hard_state: Some(self.hard_state),
            entries: self.entries.clone(),
            snapshot: None,
            must_sync: true,
        };
        writer.append(&[batch])?;
        writer.sync()?;
        log.hard_state = self.hard_state;
        log.entries.extend(self.entries);
        Ok(())
    }

    /// In words, for whoever decides.
    pub fn describe(&self, member: MemberId) -> String {
        let names: Vec<String> = self
            .removed
            .iter()
            .map(|one| format!("{:x} ({})", one.id, one.peer_ur_ls.join(",")))
            .collect();
        let removed = match names.as_slice() {
            [] => "no other member is left to be removed".to_owned(),
            names => format!("removes {} for ever", names.join(", ")),
        };
        format!(
            "member {member} goes on alone from entry {} (revision {}; {} entries of it were not \
             known to be committed and are kept); {removed}",
            self.last, self.revision, self.kept
        )
    }
}
