//! Bounds that a simulator makes tiny, so that what happens at them happens all the time.
//!
//! ```text
//!   config.pinch.bound(Site::CompactedKeys, COMPACT_KEYS_MAX)
//!                                            '-- as it is, or tiny where the site is pinched
//! ```
//!
//! A queue of 128 frames is full once in a million seeds, one of two in every second. Nothing that
//! clients are promised may depend on where such a bound lies, so every oracle stays on.
//!
//! Deliberately absent: bounds that clients see, such as the size of a request: those are part of
//! what is promised.

/// A bound that can be tiny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Frames of a watch stream that were made and not passed on.
    StreamFrames,
    /// Bytes of them.
    StreamBytes,
    /// Revisions the watch hub keeps in memory.
    RecentRevisions,
    /// What a step of catching up reads.
    CatchUp,
    /// Slices of history kept for others.
    Windows,
    /// Keys in a slice of a compaction, and heads of records in a row.
    CompactedKeys,
    /// Leases revoked in one pass.
    Revokes,
    /// Leases in one checkpoint entry.
    Checkpoints,
    /// Bytes of entries in one append message.
    AppendBytes,
    /// Append messages in flight to one member.
    AppendsInFlight,
    /// Bytes of committed entries handed to be applied.
    ApplyBytes,
    /// Entries of them.
    ApplyGap,
    /// Requests waiting for their entries.
    PendingRequests,
    /// Bytes of proposals kept to be proposed again.
    PendingBytes,
}

impl Site {
    /// How many sites there are: a pinch is a number below two to this power.
    pub const COUNT: u32 = Self::PendingBytes as u32 + 1;

    /// What the bound is when it is tiny: as low as everything still gets on.
    const fn tiny(self) -> usize {
        match self {
            // A stream's first two answers come at once; and so do those who wait for each other.
            Self::StreamFrames => 2,
            // Leases that end together must still end in time; their revokes are requests, too.
            Self::Revokes | Self::PendingRequests => 64,
            // Applied one by one, an entry a turn, a burst would take longer than clients wait.
            Self::ApplyGap => 8,
            _ => 1,
        }
    }
}

/// Which sites are pinched, a bit each; usually none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinch(pub u64);

impl Pinch {
    /// A bound: `usual`, or tiny.
    pub const fn bound(self, site: Site, usual: usize) -> usize {
        if self.0 >> (site as u32) & 1 == 0 { usual } else { site.tiny() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_a_site() {
        let pinch = Pinch(1 << Site::Revokes as u32 | 1 << Site::PendingBytes as u32);
        assert_eq!(pinch.bound(Site::Revokes, 500), 64);
        assert_eq!(pinch.bound(Site::PendingBytes, 500), 1);
        assert_eq!(pinch.bound(Site::Checkpoints, 500), 500);
        assert_eq!(Pinch::default().bound(Site::Revokes, 500), 500);
    }
}
