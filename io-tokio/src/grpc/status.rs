//! Refusals to codes and texts: the only place that knows them.
//!
//! Clients recognise errors by their exact text. Two codes differ from the ones etcd's own table
//! names, because that is what its server really sends.
//!
//! Answers to: etcd v3.7.1 `api/v3rpc/rpctypes/error.go`, `server/etcdserver/api/v3rpc/util.go`

use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use tonic::{Code, Status};

/// A refusal's code and text on the wire.
pub const fn code_and_text(refusal: Refusal) -> (Code, &'static str) {
    use Code::{
        Cancelled, DataLoss, FailedPrecondition, InvalidArgument, NotFound, OutOfRange,
        PermissionDenied as Denied, ResourceExhausted, Unauthenticated, Unavailable, Unknown,
    };
    use Refusal as R;
    match refusal {
        R::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
        R::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
        R::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
        R::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
        R::TooManyOps => (InvalidArgument, "etcdserver: too many operations in txn request"),
        R::DuplicateKey => (InvalidArgument, "etcdserver: duplicate key given in txn request"),
        R::InvalidClientApiVersion => (InvalidArgument, "etcdserver: invalid client api version"),
        R::InvalidSortOption => (InvalidArgument, "etcdserver: invalid sort option"),
        R::Compacted => (OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        R::FutureRev => (OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
        R::NoSpace => (ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        R::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
        R::LeaseExist => (FailedPrecondition, "etcdserver: lease already exists"),
        R::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
        R::WatchCanceled => (Cancelled, "etcdserver: watch canceled"),
        R::ClusterIdMismatch => (FailedPrecondition, "etcdserver: cluster ID mismatch"),
        R::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
        R::RequestTooManyRequests => (Unknown, "etcdserver: too many requests"),
        R::PermissionDenied => (Denied, "etcdserver: permission denied"),
        R::InvalidAuthToken => (Unauthenticated, "etcdserver: invalid auth token"),
        R::NoLeader => (Unavailable, "etcdserver: no leader"),
        R::NotLeader => (FailedPrecondition, "etcdserver: not leader"),
        R::LeaderChanged => (Unavailable, "etcdserver: leader changed"),
        R::NotCapable => (FailedPrecondition, "etcdserver: not capable"),
        R::Stopped => (Unavailable, "etcdserver: server stopped"),
        R::Timeout => (Unavailable, "etcdserver: request timed out"),
        R::TimeoutDueToLeaderFail => {
            (Unavailable, "etcdserver: request timed out, possibly due to previous leader failure")
        }
        R::TimeoutDueToConnectionLost => {
            (Unavailable, "etcdserver: request timed out, possibly due to connection lost")
        }
        R::TimeoutWaitAppliedIndex => (
            Unavailable,
            "etcdserver: request timed out, waiting for the applied index took too long",
        ),
        R::Unhealthy => (Unavailable, "etcdserver: unhealthy cluster"),
        R::Corrupt => (DataLoss, "etcdserver: corrupt cluster"),
        R::NotSupportedForLearner => {
            (FailedPrecondition, "etcdserver: rpc not supported for learner")
        }
        R::BadLeaderTransferee => (FailedPrecondition, "etcdserver: bad leader transferee"),
        rare => of_cluster_or_auth(rare),
    }
}

/// Refusals around members, users and versions.
const fn of_cluster_or_auth(refusal: Refusal) -> (Code, &'static str) {
    use Code::{FailedPrecondition, InvalidArgument, NotFound, Unknown};
    use Refusal as R;
    match refusal {
        R::MemberExist => (FailedPrecondition, "etcdserver: member ID already exist"),
        R::PeerUrlExist => (FailedPrecondition, "etcdserver: Peer URLs already exists"),
        R::MemberNotEnoughStarted => {
            (Unknown, "etcdserver: re-configuration failed due to not enough started members")
        }
        R::MemberBadUrls => (InvalidArgument, "etcdserver: given member URLs are invalid"),
        R::MemberNotFound => (NotFound, "etcdserver: member not found"),
        R::MemberNotLearner => {
            (FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        R::LearnerNotReady => (
            FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        R::TooManyLearners => {
            (FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        R::RootUserNotExist => (FailedPrecondition, "etcdserver: root user does not exist"),
        R::RootRoleNotExist => {
            (FailedPrecondition, "etcdserver: root user does not have root role")
        }
        R::UserAlreadyExist => (FailedPrecondition, "etcdserver: user name already exists"),
        R::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
        R::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
        R::RoleAlreadyExist => (FailedPrecondition, "etcdserver: role name already exists"),
        R::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
        R::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
        R::AuthFailed => {
            (InvalidArgument, "etcdserver: authentication failed, invalid user ID or password")
        }
        R::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
        R::RoleNotGranted => (FailedPrecondition, "etcdserver: role is not granted to the user"),
        R::PermissionNotGranted => {
            (FailedPrecondition, "etcdserver: permission is not granted to the role")
        }
        R::AuthNotEnabled => (FailedPrecondition, "etcdserver: authentication is not enabled"),
        R::InvalidAuthMgmt => (InvalidArgument, "etcdserver: invalid auth management"),
        R::AuthOldRevision => (InvalidArgument, "etcdserver: revision of auth store is old"),
        R::WrongDowngradeVersionFormat => {
            (InvalidArgument, "etcdserver: wrong downgrade target version format")
        }
        R::InvalidDowngradeTargetVersion => {
            (InvalidArgument, "etcdserver: invalid downgrade target version")
        }
        R::ClusterVersionUnavailable => {
            (FailedPrecondition, "etcdserver: cluster version not found during downgrade")
        }
        R::DowngradeInProcess => {
            (FailedPrecondition, "etcdserver: cluster has a downgrade job in progress")
        }
        R::NoInflightDowngrade => (FailedPrecondition, "etcdserver: no inflight downgrade job"),
        // All others are in the table above.
        _ => (Unknown, "etcdserver: unknown error"),
    }
}

/// A refusal as tonic sends it.
pub fn status(refusal: Refusal) -> Status {
    let (code, text) = code_and_text(refusal);
    Status::new(code, text)
}

/// A failed read as tonic sends it.
pub fn read_status(error: ReadError) -> Status {
    match error {
        ReadError::Refused(refusal) => status(refusal),
        ReadError::Fault(fault) => Status::unknown(fault.what),
    }
}

/// What a call that is not served answers.
pub fn unserved<T>(call: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("{call} is not served by this server")))
}

#[cfg(test)]
mod tests;
