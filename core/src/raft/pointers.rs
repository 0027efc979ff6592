//! The positions in one member's log, and the order they must always stand in.

use alloc::format;

use crate::error::StorageFault;
use crate::ids::LogIndex;

/// Positions in the log; each is the last entry of which its name is true.
///
/// ```text
/// purged <= snapshot <= stored <= applied <= committed <= accepted
///                                 applied <= persisted <= accepted
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pointers {
    /// Gone from memory.
    pub(crate) purged: LogIndex,
    /// The point the log on disk may start from.
    pub(crate) snapshot: LogIndex,
    /// Durable in the store.
    pub(crate) stored: LogIndex,
    /// Applied in memory by `State`.
    pub(crate) applied: LogIndex,
    /// On a quorum, as far as this member knows.
    pub(crate) committed: LogIndex,
    /// Durable in this member's log.
    pub(crate) persisted: LogIndex,
    /// In this member's log.
    pub(crate) accepted: LogIndex,
}

impl Pointers {
    /// Whether they stand in order; a member whose positions do not cannot go on.
    pub(crate) fn check_order(&self) -> Result<(), StorageFault> {
        let main =
            [self.purged, self.snapshot, self.stored, self.applied, self.committed, self.accepted];
        let local = [self.applied, self.persisted, self.accepted];
        if main.is_sorted() && local.is_sorted() {
            return Ok(());
        }
        Err(StorageFault::new(format!("log positions out of order: {self:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_required() {
        let good = Pointers {
            purged: LogIndex(1),
            snapshot: LogIndex(1),
            stored: LogIndex(2),
            applied: LogIndex(3),
            committed: LogIndex(5),
            persisted: LogIndex(4),
            accepted: LogIndex(6),
        };
        assert_eq!(good.check_order(), Ok(()));
        assert!(Pointers { purged: LogIndex(2), ..good }.check_order().is_err());
        assert!(Pointers { applied: LogIndex(5), ..good }.check_order().is_err());
        assert!(Pointers { committed: LogIndex(7), ..good }.check_order().is_err());
        assert!(Pointers { persisted: LogIndex(7), ..good }.check_order().is_err());
    }
}
