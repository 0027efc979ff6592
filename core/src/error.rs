//! The three kinds of error, which never mix.
//!
//! - [`Refusal`]: an answer to a client. Closed: one variant for each error etcd can return. Only
//!   the shell's `grpc/status.rs` knows codes and texts.
//! - [`Misbehaviour`]: what a peer sent wrong. Counted and dropped.
//! - [`StorageFault`]: storage or an invariant is broken. The process ends.
//!
//! Answers to: etcd v3.7.1 `api/v3rpc/rpctypes/error.go`

use alloc::string::String;
use core::fmt;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a request was not served. Named as etcd names its errors (without `ErrGRPC`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every refusal there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The variant's name, as members send it to each other.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

refusals! {
    /// A request without a key.
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that does not exist; an unset operation.
    KeyNotFound,
    /// `ignore_value` together with a value.
    ValueProvided,
    /// `ignore_lease` together with a lease.
    LeaseProvided,
    /// A transaction with more operations than allowed.
    TooManyOps,
    /// One branch writes a key twice.
    DuplicateKey,
    /// Client API version metadata that is not UTF-8.
    InvalidClientApiVersion,
    /// Sort order or target outside its enum.
    InvalidSortOption,
    /// A range stream that is to be sorted.
    RangeStreamSorted,
    /// A range stream that is to be filtered by revisions.
    RangeStreamFiltered,
    /// The revision was compacted.
    Compacted,
    /// The revision lies in the future.
    FutureRev,
    /// The backend quota is used up.
    NoSpace,
    /// No such lease.
    LeaseNotFound,
    /// A lease of that id exists.
    LeaseExist,
    /// TTL above 9,000,000,000 seconds.
    LeaseTtlTooLarge,
    /// The watch stream was cancelled.
    WatchCanceled,
    /// A member of that id exists.
    MemberExist,
    /// Another member has one of these peer URLs.
    PeerUrlExist,
    /// Too few started members for the change.
    MemberNotEnoughStarted,
    /// Unusable peer URLs.
    MemberBadUrls,
    /// No such member.
    MemberNotFound,
    /// Promotion of a voter.
    MemberNotLearner,
    /// Promotion of a learner that lags.
    LearnerNotReady,
    /// The cluster has its fill of learners.
    TooManyLearners,
    /// Another cluster's id.
    ClusterIdMismatch,
    /// Larger than `max-request-bytes`.
    RequestTooLarge,
    /// Too much is committed and not yet applied, or too many requests wait.
    RequestTooManyRequests,
    /// Auth cannot be enabled without a root user.
    RootUserNotExist,
    /// Auth cannot be enabled unless root has the root role.
    RootRoleNotExist,
    /// A user of that name exists.
    UserAlreadyExist,
    /// No user name given.
    UserEmpty,
    /// No such user.
    UserNotFound,
    /// A role of that name exists.
    RoleAlreadyExist,
    /// No such role.
    RoleNotFound,
    /// No role name given.
    RoleEmpty,
    /// Wrong user or password.
    AuthFailed,
    /// A password for a user that has none, or one that is unusable.
    NoPasswordUser,
    /// A password longer than its hash can be of.
    PasswordTooLong,
    /// A token wanted of a member that can only verify them.
    VerifyOnlyKey,
    /// A grant without a permission.
    PermissionNotGiven,
    /// Not allowed.
    PermissionDenied,
    /// The user does not hold the role.
    RoleNotGranted,
    /// The role does not have the permission.
    PermissionNotGranted,
    /// Authentication while auth is off.
    AuthNotEnabled,
    /// Unknown or expired token.
    InvalidAuthToken,
    /// A change that would make auth unusable.
    InvalidAuthMgmt,
    /// The auth store moved on since the token was issued.
    AuthOldRevision,
    /// No leader is known.
    NoLeader,
    /// Only the leader does this.
    NotLeader,
    /// The leader changed while the request waited.
    LeaderChanged,
    /// The cluster's version is not decided yet.
    NotCapable,
    /// The server is stopping.
    Stopped,
    /// No answer within the request timeout.
    Timeout,
    /// The same, right after a leader was lost.
    TimeoutDueToLeaderFail,
    /// The same, while the connection to the leader was lost.
    TimeoutDueToConnectionLost,
    /// The applied index did not catch up in time.
    TimeoutWaitAppliedIndex,
    /// Too few members are connected.
    Unhealthy,
    /// The CORRUPT alarm is raised.
    Corrupt,
    /// Learners do not serve this.
    NotSupportedForLearner,
    /// Leadership cannot go there.
    BadLeaderTransferee,
    /// Leadership did not go there in time.
    TimeoutLeaderTransfer,
    /// Downgrade target that is no version.
    WrongDowngradeVersionFormat,
    /// Downgrade target other than one minor below.
    InvalidDowngradeTargetVersion,
    /// A downgrade while the cluster version is undecided.
    ClusterVersionUnavailable,
    /// A downgrade is under way.
    DowngradeInProcess,
    /// No downgrade is under way.
    NoInflightDowngrade,
}

/// What a peer sent that no correct peer sends; counted by kind, then dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misbehaviour {
    /// Message kinds that never travel, unknown kinds, or missing parts.
    Malformed,
    /// Addressed to another member.
    Misdelivered,
    /// Sent by nobody we know in a role that requires it.
    Stranger,
    /// Numbers that contradict each other (an entry out of order, a commit beyond the log).
    Inconsistent,
}

/// Storage failed, or holds what it never should. No member can go on from here: it halts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageFault {
    /// What was being done, where, and what came back.
    pub what: String,
    /// Whether what is stored is not what was once written: another copy of it would do.
    pub is_damage: bool,
}

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl core::error::Error for StorageFault {}

impl StorageFault {
    /// A fault, told in one sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_damage: false }
    }

    /// The same of something stored that is not what was written.
    pub fn damage(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_damage: true }
    }
}
