//! What each member's log holds, as far as the world saw it written: the ground the raft and the
//! durability oracles stand on.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::ids::{MemberId, Term};
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark};
use quorate_io_sim::world::observe::Seen;

/// The terms of a log's entries, without gaps, behind a mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    mark: u64,
    mark_term: u64,
    terms: VecDeque<u64>,
}

impl Terms {
    fn starting(mark: &SnapshotMark) -> Self {
        Self { mark: mark.index.0, mark_term: mark.term.0, terms: VecDeque::new() }
    }

    /// The last index.
    pub(super) fn last(&self) -> u64 {
        self.mark + self.terms.len() as u64
    }

    /// The index everything before which was cut.
    pub(super) const fn mark(&self) -> u64 {
        self.mark
    }

    /// The term at `index`; none if it is beyond the end or was cut.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        if index == self.mark {
            return Some(self.mark_term);
        }
        let place = index.checked_sub(self.mark + 1)?;
        self.terms.get(usize::try_from(place).ok()?).copied()
    }

    /// An entry replaces what stood there and all after it.
    fn append(&mut self, (index, term): (u64, u64)) {
        let Some(place) = index.checked_sub(self.mark + 1) else { return };
        self.terms.truncate(usize::try_from(place).unwrap_or(usize::MAX));
        self.terms.push_back(term);
    }

    fn cut(&mut self, mark: &SnapshotMark) {
        while self.mark < mark.index.0
            && let Some(term) = self.terms.pop_front()
        {
            self.mark += 1;
            self.mark_term = term;
        }
    }
}

/// A batch on its way to the disk.
#[derive(Clone, Debug)]
struct Batch {
    number: u64,
    hard_state: Option<HardState>,
    /// Index and term of each entry.
    entries: Vec<(u64, u64)>,
    snapshot: Option<SnapshotMark>,
}

fn place(entry: &Entry) -> (u64, u64) {
    (entry.index.0, entry.term.0)
}

/// One member's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// What will survive a crash.
    pub(super) durable: Terms,
    /// That, and what is on its way.
    pub(super) accepted: Terms,
    /// Term and vote that will survive a crash.
    pub(super) hard_state: HardState,
    /// How far the durable log went at most, by the term the disk was in.
    reached: BTreeMap<Term, u64>,
    pending: VecDeque<Batch>,
}

impl Log {
    fn found(contents: &LogContents) -> Self {
        let mut durable = Terms::starting(&contents.mark);
        contents.entries.iter().map(place).for_each(|entry| durable.append(entry));
        let (accepted, hard_state) = (durable.clone(), contents.hard_state);
        let reached = BTreeMap::from([(hard_state.term, durable.last())]);
        Self { durable, accepted, hard_state, reached, pending: VecDeque::new() }
    }

    /// How far the durable log went at most while the disk was in `term`. Batches are written
    /// together: one may have been durable for no longer than it took to write the next.
    pub(super) fn reached(&self, term: Term) -> u64 {
        self.reached.get(&term).copied().unwrap_or(0)
    }

    /// Whether an entry like this was on its way to the disk: a newer leader's log may hold older
    /// entries than those it replaces.
    pub(super) fn is_writing(&self, entry: &Entry) -> bool {
        self.pending.iter().any(|batch| batch.entries.contains(&place(entry)))
    }

    fn persisted(&mut self, number: u64) {
        while let Some(batch) = self.pending.pop_front_if(|batch| batch.number <= number) {
            self.hard_state = batch.hard_state.unwrap_or(self.hard_state);
            if let Some(mark) = &batch.snapshot {
                self.durable = Terms::starting(mark);
            }
            batch.entries.iter().for_each(|entry| self.durable.append(*entry));
            let reached = self.reached.entry(self.hard_state.term).or_default();
            *reached = self.durable.last().max(*reached);
        }
    }
}

/// All members' logs.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs {
    members: BTreeMap<MemberId, Log>,
}

impl Logs {
    /// A member's log; empty if it was never seen.
    pub(super) fn of(&mut self, member: MemberId) -> &mut Log {
        self.members.entry(member).or_default()
    }

    /// A member's log, if it was ever seen.
    pub(super) fn get(&self, member: MemberId) -> Option<&Log> {
        self.members.get(&member)
    }

    /// Everyone who was ever seen.
    pub(super) fn ids(&self) -> impl Iterator<Item = MemberId> {
        self.members.keys().copied()
    }

    /// Follows what happens.
    pub(super) fn follow(&mut self, seen: &Seen) {
        match seen {
            Seen::Started { member, log, .. } => {
                self.members.insert(*member, Log::found(log));
            }
            Seen::Persisting { member, number, hard_state, entries, snapshot } => {
                let log = self.of(*member);
                if let Some(mark) = snapshot {
                    log.accepted = Terms::starting(mark);
                }
                entries.iter().map(place).for_each(|entry| log.accepted.append(entry));
                log.pending.push_back(Batch {
                    number: *number,
                    hard_state: *hard_state,
                    entries: entries.iter().map(place).collect(),
                    snapshot: snapshot.clone(),
                });
            }
            Seen::Persisted { member, number } => self.of(*member).persisted(*number),
            Seen::Cut { member, mark } => {
                let log = self.of(*member);
                log.durable.cut(mark);
                log.accepted.cut(mark);
            }
            _ => {}
        }
    }
}
