//! What the disk owes: batches on their way to it, and messages that may not leave before them.
//!
//! ```text
//! batch 7 (sync) ---- batch 8 (commit only) ---- batch 9 (sync) ---->  not yet written
//!   |                                              |
//!   held: vote to 2                                held: append response to 3, removal of 4
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use quorate_proto::raftpb::{self, MessageType as Kind};

use crate::storage::{Entry, EntryKind, SnapshotMark};
use crate::time::{Duration, Time, Wake};

/// Most messages that wait for the disk; the oldest are dropped.
const HELD_MAX: usize = 8_192;

/// Batches emitted and not yet persisted.
pub(crate) struct Disk {
    emitted: u64,
    owed: VecDeque<Batch>,
    held: VecDeque<Held>,
    /// Committed entries from a change of the group on, and the batch they wait for.
    unsettled: VecDeque<(u64, Vec<Entry>)>,
    /// The last batch that carries a new term or vote, or the commit of a change of the group.
    binding_number: u64,
    patience: Duration,
    stall: Stall,
}

/// One batch, as far as it matters after it was emitted.
pub(crate) struct Batch {
    /// Its number, raised by one from batch to batch.
    pub(crate) number: u64,
    /// Raft's own count of what it covers.
    pub(crate) ready: u64,
    pub(crate) must_sync: bool,
    /// Whether a leader's messages wait for it.
    pub(crate) is_binding: bool,
    pub(crate) snapshot: Option<SnapshotMark>,
    pub(crate) emitted_at: Time,
}

struct Held {
    behind: u64,
    message: raftpb::Message,
}

/// How far the disk's silence has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stall {
    None,
    Noted { at: Time },
    Final,
}

/// What a silent disk calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StallStep {
    /// Say so, and hand leadership over. The batch that is owed.
    HandOver { number: u64 },
    /// It was not taken: lead no longer.
    StepDown,
}

impl Disk {
    /// A disk that may be silent for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            emitted: 0,
            owed: VecDeque::new(),
            held: VecDeque::new(),
            unsettled: VecDeque::new(),
            binding_number: 0,
            patience,
            stall: Stall::None,
        }
    }

    /// The number of the next batch.
    pub(crate) fn next_number(&self) -> u64 {
        self.emitted + 1
    }

    /// A batch is emitted.
    pub(crate) fn note_emitted(&mut self, batch: Batch) {
        self.emitted = batch.number;
        if batch.is_binding {
            self.binding_number = batch.number;
        }
        if batch.snapshot.is_some() {
            // The image that is to be installed has what they led to.
            self.unsettled.clear();
        }
        self.owed.push_back(batch);
    }

    /// Raft moved on without anything to persist. Returns what it may be told is persisted.
    pub(crate) fn note_empty(&mut self, ready: u64) -> Option<u64> {
        match self.owed.back_mut() {
            Some(batch) => {
                batch.ready = ready;
                None
            }
            None => Some(ready),
        }
    }

    /// Takes a message: gives it back if it may leave now, holds it otherwise.
    pub(crate) fn hold(&mut self, message: raftpb::Message) -> Option<raftpb::Message> {
        let behind = match message.r#type() {
            Kind::MsgVote | Kind::MsgVoteResp if crate::planted!("vote-before-persist") => 0,
            Kind::MsgAppResp if crate::planted!("ack-before-sync") => 0,
            // Promises: what they say must survive a crash of this member.
            Kind::MsgVote | Kind::MsgVoteResp | Kind::MsgAppResp => {
                let synced = self.owed.iter().rev().find(|batch| batch.must_sync);
                synced.map_or(0, |batch| batch.number)
            }
            // No promises. A heartbeat's answer says which term this member is in now, and that
            // it has seen no later one: a leader deposed by later votes cannot gather a quorum of
            // them, since those votes were durable before they counted. Forwarded proposals and
            // reads are someone else's; pre-votes bind nobody.
            Kind::MsgHeartbeatResp
            | Kind::MsgReadIndex
            | Kind::MsgProp
            | Kind::MsgPreVote
            | Kind::MsgPreVoteResp => 0,
            // A leader's: its term must be its own for ever before anyone hears it, and that a
            // change of the group is committed. Only a sole voter leads before its vote is durable.
            _ => self.binding_number,
        };
        if self.is_written(behind) {
            return Some(message);
        }
        crate::probe!("promise held back for the disk");
        // Raft repeats what is lost; only a peer that floods a silent disk gets here.
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(Held { behind, message });
        None
    }

    /// Takes committed entries: gives them back if they may be applied now, holds them otherwise.
    /// A change of the group takes effect when this member cannot forget any more that it was
    /// committed: it is then that others hear of it, and that who was removed goes for good. At
    /// most `limits::APPLY_GAP_MAX` entries are handed out and not applied.
    pub(crate) fn hold_committed(&mut self, entries: Vec<Entry>) -> Option<Vec<Entry>> {
        let is_change = |entry: &Entry| entry.kind != EntryKind::Normal;
        let is_early = crate::planted!("change-before-commit-synced");
        let behind = if entries.iter().any(is_change) && !is_early {
            self.emitted
        } else {
            self.unsettled.back().map_or(0, |(behind, _)| *behind)
        };
        if self.is_written(behind) {
            return Some(entries);
        }
        crate::probe!("change of the group held back for the disk");
        self.unsettled.push_back((behind, entries));
        None
    }

    /// Whether everything up to the batch `number` is on disk.
    fn is_written(&self, number: u64) -> bool {
        self.owed.front().is_none_or(|batch| batch.number > number)
    }

    /// The oldest committed entries that were held and need be no longer.
    pub(crate) fn take_settled(&mut self) -> Option<Vec<Entry>> {
        let (behind, _) = self.unsettled.front()?;
        if !self.is_written(*behind) {
            return None;
        }
        self.unsettled.pop_front().map(|(_, entries)| entries)
    }

    /// Batches up to `number` are on disk. Returns them, and the messages that may leave.
    pub(crate) fn handle_persisted(&mut self, number: u64) -> (Vec<Batch>, Vec<raftpb::Message>) {
        let written = self.owed.partition_point(|batch| batch.number <= number);
        let batches: Vec<Batch> = self.owed.drain(..written).collect();
        let mut free = Vec::new();
        let mut still = VecDeque::with_capacity(self.held.len());
        for held in self.held.drain(..) {
            if held.behind <= number {
                free.push(held.message);
            } else {
                still.push_back(held);
            }
        }
        self.held = still;
        (batches, free)
    }

    /// The last batch emitted.
    pub(crate) fn emitted(&self) -> u64 {
        self.emitted
    }

    /// Whether nothing is owed that a crash could lose.
    pub(crate) fn is_clear(&self) -> bool {
        self.owed.iter().all(|batch| !batch.must_sync)
    }

    /// Whether an image is being installed.
    pub(crate) fn is_installing(&self) -> bool {
        self.owed.iter().any(|batch| batch.snapshot.is_some())
    }

    /// Whether the disk has been silent for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stall != Stall::None
    }

    /// Looks at the clock. `None`: nothing to do.
    pub(crate) fn poll_stall(&mut self, now: Time) -> Option<StallStep> {
        let Some((number, since)) = self.oldest() else {
            self.stall = Stall::None;
            return None;
        };
        if now.since(since) < self.patience {
            self.stall = Stall::None;
            return None;
        }
        match self.stall {
            Stall::None => {
                self.stall = Stall::Noted { at: now };
                Some(StallStep::HandOver { number })
            }
            Stall::Noted { at } if now.since(at) >= self.patience => {
                self.stall = Stall::Final;
                Some(StallStep::StepDown)
            }
            _ => None,
        }
    }

    /// This member itself was paused for `gap`: the disk's silence in it proves nothing.
    pub(crate) fn note_pause(&mut self, gap: Duration) {
        self.owed.iter_mut().for_each(|batch| batch.emitted_at += gap);
        if let Stall::Noted { at } = &mut self.stall {
            *at += gap;
        }
    }

    /// When to look next.
    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        let (_, since) = self.oldest()?;
        let from = match self.stall {
            Stall::None => since,
            Stall::Noted { at } => at,
            Stall::Final => return None,
        };
        Some(Wake { at: from + self.patience, timer: "log stall" })
    }

    fn oldest(&self) -> Option<(u64, Time)> {
        let oldest = self.owed.iter().find(|batch| batch.must_sync)?;
        Some((oldest.number, oldest.emitted_at))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::{LogIndex, Term};

    fn batch(number: u64, must_sync: bool, at: u64) -> Batch {
        Batch {
            number,
            ready: number,
            must_sync,
            is_binding: number == 1,
            snapshot: None,
            emitted_at: Time(at),
        }
    }

    fn message(kind: Kind) -> raftpb::Message {
        raftpb::Message { r#type: kind as i32, ..raftpb::Message::default() }
    }

    #[test]
    fn promises_wait_for_their_batch_and_all_before() {
        let mut disk = Disk::new(Duration::from_nanos(10));
        disk.note_emitted(batch(1, true, 0));
        disk.note_emitted(batch(2, false, 0));
        assert_eq!(disk.hold(message(Kind::MsgAppResp)), None);
        assert_eq!(disk.hold(message(Kind::MsgApp)), None);
        assert!(disk.hold(message(Kind::MsgHeartbeatResp)).is_some());
        disk.note_emitted(batch(3, true, 0));
        assert_eq!(disk.hold(message(Kind::MsgVoteResp)), None);
        let free = |disk: &mut Disk, number| {
            let (_, free) = disk.handle_persisted(number);
            free.iter().map(|message| message.r#type()).collect::<Vec<_>>()
        };
        assert_eq!(free(&mut disk, 2), [Kind::MsgAppResp, Kind::MsgApp]);
        assert!(disk.hold(message(Kind::MsgApp)).is_some());
        assert_eq!(free(&mut disk, 3), [Kind::MsgVoteResp]);
        assert!(disk.hold(message(Kind::MsgVote)).is_some());
    }

    #[test]
    fn a_change_of_the_group_and_all_behind_it_wait_for_the_disk() {
        let mut disk = Disk::new(Duration::from_nanos(10));
        let entry = |index, kind| {
            Vec::from([Entry { term: Term(1), index: LogIndex(index), kind, data: Bytes::new() }])
        };
        disk.note_emitted(batch(1, false, 0));
        assert!(disk.hold_committed(entry(1, EntryKind::Normal)).is_some());
        disk.note_emitted(batch(2, true, 0));
        assert_eq!(disk.hold_committed(entry(2, EntryKind::ConfChange)), None);
        assert_eq!(disk.hold_committed(entry(3, EntryKind::Normal)), None);
        disk.handle_persisted(1);
        assert_eq!(disk.take_settled(), None);
        disk.handle_persisted(2);
        assert_eq!(disk.take_settled(), Some(entry(2, EntryKind::ConfChange)));
        assert_eq!(disk.take_settled(), Some(entry(3, EntryKind::Normal)));
        assert_eq!(disk.take_settled(), None);
        assert!(disk.hold_committed(entry(4, EntryKind::Normal)).is_some());
    }

    #[test]
    fn an_image_stands_in_for_what_was_held() {
        let mut disk = Disk::new(Duration::from_nanos(10));
        let kind = EntryKind::ConfChange;
        let change = Entry { term: Term(1), index: LogIndex(2), kind, data: Bytes::new() };
        disk.note_emitted(batch(1, true, 0));
        assert_eq!(disk.hold_committed(Vec::from([change])), None);
        disk.note_emitted(Batch { snapshot: Some(SnapshotMark::default()), ..batch(2, true, 0) });
        disk.handle_persisted(2);
        assert_eq!(disk.take_settled(), None);
    }

    #[test]
    fn a_batch_without_sync_holds_nothing() {
        let mut disk = Disk::new(Duration::from_nanos(10));
        disk.note_emitted(batch(5, false, 0));
        assert!(disk.hold(message(Kind::MsgAppResp)).is_some());
        assert!(disk.is_clear());
        assert_eq!(disk.poll_timeout(), None);
    }

    #[test]
    fn silence_is_noted_then_final() {
        let mut disk = Disk::new(Duration::from_nanos(10));
        disk.note_emitted(batch(1, true, 100));
        assert_eq!(disk.poll_stall(Time(109)), None);
        assert_eq!(disk.poll_timeout().map(|wake| wake.at), Some(Time(110)));
        assert_eq!(disk.poll_stall(Time(110)), Some(StallStep::HandOver { number: 1 }));
        assert_eq!(disk.poll_stall(Time(119)), None);
        assert_eq!(disk.poll_timeout().map(|wake| wake.at), Some(Time(120)));
        assert_eq!(disk.poll_stall(Time(120)), Some(StallStep::StepDown));
        assert_eq!(disk.poll_timeout(), None);
        disk.handle_persisted(1);
        assert_eq!(disk.poll_stall(Time(130)), None);
        assert!(!disk.is_stalled());
    }
}
