//! The one way through the house, stage by stage.
//!
//! Log fields, metric labels and trace spans all use these names.

/// Where a request is on its way from the socket and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Bytes become a message; nothing is judged here. (shell)
    Receive,
    /// Parse, permission, quota, size, too many pending. (`door/`)
    Admit,
    /// The leader appends, a follower forwards. (`raft/`)
    Propose,
    /// Entries, vote and term leave as one numbered batch. (`raft/`)
    Persist,
    /// A quorum has it; the commit pointer moves. (`raft/`)
    Commit,
    /// Gates, then the ledger; yields answer, events, writes. (`apply/`)
    Apply,
    /// The waiting request is found by id and answered. (`door/`)
    Respond,
    /// Events fan out in revision order. (`watch/`)
    Watch,
}

impl Stage {
    /// All stages in order. A read takes the same street from `Admit` to `Respond`, with a read
    /// barrier in place of the middle.
    pub const ALL: [Self; 8] = [
        Self::Receive,
        Self::Admit,
        Self::Propose,
        Self::Persist,
        Self::Commit,
        Self::Apply,
        Self::Respond,
        Self::Watch,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Admit => "admit",
            Self::Propose => "propose",
            Self::Persist => "persist",
            Self::Commit => "commit",
            Self::Apply => "apply",
            Self::Respond => "respond",
            Self::Watch => "watch",
        }
    }
}
