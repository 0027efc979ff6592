//! Numbers with names: one newtype per kind of number, so that no two are ever confused.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// A raft term.
    Term(u64)
);
number!(
    /// A position in the log; the first entry has index 1.
    LogIndex(u64)
);
number!(
    /// The main part of a revision: one per mutation of the store. A fresh store is at 1.
    Revision(i64)
);
number!(
    /// A lease's id; positive.
    LeaseId(i64)
);
number!(
    /// A watch's id, unique within its stream.
    WatchId(i64)
);
number!(
    /// A client's watch stream, unique within one run of a member; the shell draws it.
    StreamId(u64)
);
number!(
    /// A request in flight between the shell and the core; the shell draws it.
    Token(u64)
);
number!(
    /// A proposal's id: it travels in the entry and finds the waiting request when it is applied.
    /// Unique over the life of the cluster.
    RequestId(u64)
);
number!(
    /// One read barrier. A context is never used twice.
    BarrierId(u64)
);

/// A member's id. Prints as etcd prints it: lower-case hex without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// A cluster's id. Prints as lower-case hex without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

macro_rules! hex {
    ($name:ident) => {
        impl $name {
            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:x})", stringify!($name), self.0)
            }
        }
    };
}
hex!(MemberId);
hex!(ClusterId);

/// Bits of a request's id that its member counts with; those above are of the member's own id.
pub(crate) const REQUEST_SUFFIX_BITS: u32 = 48;

impl RequestId {
    /// Whether a member of that id gave it.
    pub const fn is_of(self, member: MemberId) -> bool {
        (self.0 ^ (member.0 << REQUEST_SUFFIX_BITS)) >> REQUEST_SUFFIX_BITS == 0
    }
}

impl LogIndex {
    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Revision {
    /// The revision after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
