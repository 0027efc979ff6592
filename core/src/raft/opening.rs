//! What a member starts from: the crate's settings, and a log that fits the store.

use alloc::format;

use ::raft::Config as RaftConfig;

use crate::config::Config;
use crate::error::StorageFault;
use crate::ids::LogIndex;
use crate::limits;
use crate::pinch::Site;
use crate::storage::{Entry, EntryKind, LogContents, SnapshotMark};

/// Bytes of committed entries taken out at once.
const COMMITTED_BYTES_MAX: u64 = 1 << 20;

/// The crate's settings.
pub(crate) fn crate_config(config: &Config, applied: LogIndex) -> RaftConfig {
    let pinch = config.pinch;
    let append_bytes_max = pinch.bound(Site::AppendBytes, limits::APPEND_BYTES_MAX as usize);
    RaftConfig {
        id: config.member.get(),
        election_tick: config.election_ticks(),
        heartbeat_tick: 1,
        applied: applied.get(),
        max_size_per_msg: append_bytes_max as u64,
        max_inflight_msgs: pinch.bound(Site::AppendsInFlight, limits::APPENDS_IN_FLIGHT_MAX),
        check_quorum: true,
        pre_vote: true,
        max_uncommitted_size: limits::UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_MAX,
        ..RaftConfig::default()
    }
}

/// The last change of the group but one: it is committed, or the last would not be there. A member
/// that did not know would stand for election in a group two changes ago, whose majorities need not
/// meet those of today's.
fn settled_change(entries: &[Entry]) -> LogIndex {
    let mut changes = entries.iter().rev().filter(|entry| entry.kind != EntryKind::Normal);
    changes.nth(1).map_or(LogIndex(0), |entry| entry.index)
}

/// Brings log and store together: the crate asserts what is checked here.
pub(crate) fn load_log(
    stored: &SnapshotMark,
    mut log: LogContents,
) -> Result<LogContents, StorageFault> {
    let fault = |what: &str| Err(StorageFault::new(format!("the log and the store: {what}")));
    if log.mark.index > stored.index {
        return fault("the log begins after the store ends");
    }
    let mut last = log.mark.index;
    let mut term = log.mark.term;
    for entry in &log.entries {
        if entry.index != last.next() || entry.term < term {
            return fault("entries do not follow one another");
        }
        (last, term) = (entry.index, entry.term);
    }
    if last < stored.index {
        if log.hard_state.commit > stored.index {
            return fault("the log ends before what was committed");
        }
        log.mark = stored.clone();
        log.entries.clear();
        (last, term) = (stored.index, stored.term);
    }
    if log.hard_state.commit > last {
        return fault("the log ends before what was committed");
    }
    // The commit index is written without waiting, so the store may be ahead of it.
    let known = stored.index.max(settled_change(&log.entries));
    log.hard_state.commit = log.hard_state.commit.max(known);
    if log.hard_state.term < term {
        log.hard_state.term = term;
        log.hard_state.vote = 0;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::ids::Term;
    use crate::storage::HardState;

    fn log(kinds: &[EntryKind], commit: u64) -> LogContents {
        let entry = |(n, kind): (usize, &EntryKind)| Entry {
            term: Term(2),
            index: LogIndex(n as u64 + 1),
            kind: *kind,
            ..Entry::default()
        };
        let entries = kinds.iter().enumerate().map(entry).collect::<Vec<_>>();
        let hard_state = HardState { commit: LogIndex(commit), ..HardState::default() };
        LogContents { entries, hard_state, ..LogContents::default() }
    }

    fn committed(kinds: &[EntryKind], commit: u64) -> u64 {
        let loaded = load_log(&SnapshotMark::default(), log(kinds, commit)).unwrap();
        loaded.hard_state.commit.get()
    }

    #[test]
    fn a_change_behind_which_another_is_written_is_committed() {
        use EntryKind::{ConfChange, Normal};
        assert_eq!(committed(&[Normal, ConfChange, Normal], 1), 1);
        assert_eq!(committed(&[Normal, ConfChange, Normal, ConfChange], 1), 2);
        assert_eq!(committed(&[ConfChange, ConfChange, ConfChange, Normal], 4), 4);
    }
}
