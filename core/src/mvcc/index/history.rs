//! What happened to one key.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use crate::mvcc::run::{Dated, Run};
use crate::schema::{RevisionKey, RowKey};

/// One change of one key. A tombstone ends a generation; the put after it begins the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// When.
    pub at: RevisionKey,
    /// Main revision of its generation's first put.
    pub created: i64,
    /// Puts in its generation so far; [`Version::TOMBSTONE`] for a deletion.
    pub number: i64,
}

impl Version {
    /// The number of a deletion.
    pub const TOMBSTONE: i64 = -1;

    /// A deletion.
    pub const fn tombstone(at: RevisionKey) -> Self {
        Self { at, created: 0, number: Self::TOMBSTONE }
    }

    /// The put at `at` after `before`.
    pub const fn put(at: RevisionKey, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.is_live() => {
                Self { at, created: before.created, number: before.number.saturating_add(1) }
            }
            _ => Self { at, created: at.main, number: 1 },
        }
    }

    /// Whether the key exists after it.
    pub const fn is_live(&self) -> bool {
        self.number != Self::TOMBSTONE
    }

    /// The key of its row.
    pub const fn row(&self) -> RowKey {
        RowKey { at: self.at, is_tombstone: !self.is_live() }
    }
}

impl Dated for Version {
    fn at(&self) -> RevisionKey {
        self.at
    }
}

/// All changes of one key since the compacted revision. The newest is held in place, so that a key
/// that never changes costs no more than this.
#[derive(Clone, Debug)]
pub(super) struct History {
    newest: Version,
    older: Run<Version>,
}

/// Nothing: stands where no history is.
impl Default for History {
    fn default() -> Self {
        Self::new(Version::tombstone(RevisionKey::default()))
    }
}

/// What compaction leaves of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// Everything.
    All,
    /// Changes from this one on.
    From(RevisionKey),
    /// Nothing.
    None,
}

impl History {
    pub(super) fn new(first: Version) -> Self {
        Self { newest: first, older: Run::default() }
    }

    pub(super) const fn newest(&self) -> &Version {
        &self.newest
    }

    /// Whether compaction may ever find something to remove.
    pub(super) fn is_worn(&self) -> bool {
        !self.newest.is_live() || !self.older.is_empty()
    }

    pub(super) fn push(&mut self, version: Version) {
        self.older.push(core::mem::replace(&mut self.newest, version));
    }

    /// The change that decides what the key is as of main revision `main`.
    pub(super) fn as_of(&self, main: i64) -> Option<Version> {
        if self.newest.at.main <= main {
            return Some(self.newest);
        }
        self.older.floor(RevisionKey::last_of(main)).copied()
    }

    pub(super) fn has(&self, at: RevisionKey) -> bool {
        self.newest.at == at || self.older.floor(at).is_some_and(|version| version.at == at)
    }

    /// Reads at exactly `compacted` need the change that decides them. A deletion need not be
    /// remembered, but if it happened at `compacted`, watches that start there must hear of it.
    pub(super) fn remains(&self, compacted: i64) -> Remains {
        let Some(decisive) = self.as_of(compacted) else { return Remains::All };
        if !decisive.is_live() && decisive.at.main == compacted {
            crate::probe!("compaction at the revision of a deletion");
        }
        let keep = if decisive.is_live() || decisive.at.main == compacted {
            decisive.at
        } else if decisive.at == self.newest.at {
            return Remains::None;
        } else {
            decisive.at.next()
        };
        let drops = crate::planted!("compaction-drops-live") && decisive.at.main == compacted;
        let keep = if drops { decisive.at.next() } else { keep };
        match self.older.first() {
            Some(oldest) if oldest < keep => Remains::From(keep),
            _ => Remains::All,
        }
    }

    /// Forgets changes before `keep`.
    pub(super) fn cut(&mut self, keep: RevisionKey) {
        self.older.cut(keep);
    }

    /// Tells the rows of changes before `keep`, oldest first, but no more than `rows_max`. Returns
    /// the first change not told.
    pub(super) fn rows_before(
        &self,
        keep: RevisionKey,
        rows_max: usize,
        rows: &mut Vec<RowKey>,
    ) -> Option<RevisionKey> {
        let mut left = rows_max;
        let mut untold = None;
        let mut tell = |version: &Version| {
            if version.at >= keep || left == 0 {
                untold = Some(version.at);
                return ControlFlow::Break(());
            }
            left -= 1;
            rows.push(version.row());
            ControlFlow::Continue(())
        };
        if self.older.visit(RevisionKey::default(), &mut tell).is_continue() {
            let _ = tell(&self.newest);
        }
        untold
    }

    /// The change etcd's hash of history up to `main` counts as needed. It looks at the first
    /// generation that ends at or after `main`, and at nothing if that ends exactly there.
    pub(super) fn hashed_as_of(&self, main: i64) -> Option<Version> {
        let decisive = self.as_of(main)?;
        let ended_before = || {
            let flow = self.older.visit(RevisionKey::first_of(main), &mut |version| {
                if version.at.main == main && !version.is_live() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            flow.is_break()
        };
        let ended = !decisive.is_live() || (decisive.at.main == main && ended_before());
        (!ended).then_some(decisive)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Digits are puts, dots tombstones, at revisions 2, 3, 4, ...; `-` leaves one out.
    fn history(changes: &str) -> History {
        let mut history: Option<History> = None;
        for (main, change) in (2..).zip(changes.chars()) {
            let at = RevisionKey::first_of(main);
            let before = history.as_ref().map(|history| *history.newest());
            let version = match change {
                '-' => continue,
                '.' => Version::tombstone(at),
                _ => Version::put(at, before),
            };
            match &mut history {
                Some(history) => history.push(version),
                None => history = Some(History::new(version)),
            }
        }
        history.unwrap()
    }

    #[test]
    fn generations_begin_after_tombstones() {
        let history = history("pp.p-p");
        let seen: Vec<_> = (1..=8)
            .map(|main| history.as_of(main).map(|v| (v.at.main, v.created, v.number)))
            .collect();
        let tombstone = Some((4, 0, -1));
        assert_eq!(
            seen,
            [
                None,
                Some((2, 2, 1)),
                Some((3, 2, 2)),
                tombstone,
                Some((5, 5, 1)),
                Some((5, 5, 1)),
                Some((7, 5, 2)),
                Some((7, 5, 2))
            ]
        );
    }

    #[test]
    fn it_has_what_changed_it() {
        let history = history("p-p.");
        let has = |main, sub| history.has(RevisionKey { main, sub });
        let seen: Vec<_> = (1..=6).filter(|main| has(*main, 0)).collect();
        assert_eq!(seen, [2, 4, 5]);
        assert!(!has(4, 1));
    }

    #[test]
    fn compaction_keeps_what_reads_at_its_revision_need() {
        let from = |main| Remains::From(RevisionKey::first_of(main));
        for (changes, compacted, remains) in [
            ("p", 2, Remains::All),
            ("p", 9, Remains::All),
            ("pp", 2, Remains::All),
            ("pp", 3, from(3)),
            ("pp--p", 5, from(3)),
            ("pp.", 3, from(3)),
            ("pp.", 4, from(4)),
            ("pp.", 5, Remains::None),
            (".", 2, Remains::All),
            (".", 3, Remains::None),
            ("pp.-p", 4, from(4)),
            ("pp.-p", 5, Remains::From(RevisionKey { main: 4, sub: 1 })),
            ("pp.-p", 6, from(6)),
            ("--p", 3, Remains::All),
        ] {
            assert_eq!(history(changes).remains(compacted), remains, "{changes} at {compacted}");
        }
    }

    #[test]
    fn removed_rows_are_told_oldest_first() {
        let history = history("pp.p");
        let told = |keep: i64, rows_max: usize| {
            let mut rows = Vec::new();
            let untold = history.rows_before(RevisionKey::first_of(keep), rows_max, &mut rows);
            let rows: Vec<_> = rows.iter().map(|row| (row.at.main, row.is_tombstone)).collect();
            (rows, untold.map(|at| at.main))
        };
        assert_eq!(told(5, 9), (vec![(2, false), (3, false), (4, true)], Some(5)));
        assert_eq!(told(5, 2), (vec![(2, false), (3, false)], Some(4)));
        assert_eq!(told(9, 4), (vec![(2, false), (3, false), (4, true), (5, false)], None));
    }

    #[test]
    fn the_hash_leaves_out_what_ends_at_its_revision() {
        let history = history("p.p.");
        let hashed: Vec<_> =
            (1..=6).map(|main| history.hashed_as_of(main).map(|v| v.at.main)).collect();
        assert_eq!(hashed, [None, Some(2), None, Some(4), None, None]);
    }
}
