//! Refusals to codes and texts: the only place that knows them.
//!
//! Clients recognise errors by their exact text. Two codes differ from the ones etcd's own table
//! names, because that is what its server really sends.
//!
//! Answers to: etcd v3.7.1 `api/v3rpc/rpctypes/error.go`, `server/etcdserver/api/v3rpc/util.go`

use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_core::recipe::Failure;
use tonic::{Code, Status};

macro_rules! table {
    (
        $($refusal:ident: $code:ident $text:literal;)*
        "" { $($bare:ident: $bare_code:ident $whole_text:literal;)* }
    ) => {
        /// A refusal's code and text on the wire.
        pub const fn code_and_text(refusal: Refusal) -> (Code, &'static str) {
            match refusal {
                $(Refusal::$refusal => (Code::$code, concat!("etcdserver: ", $text)),)*
                $(Refusal::$bare => (Code::$bare_code, $whole_text),)*
            }
        }
    };
}

table! {
    EmptyKey: InvalidArgument "key is not provided";
    KeyNotFound: InvalidArgument "key not found";
    ValueProvided: InvalidArgument "value is provided";
    LeaseProvided: InvalidArgument "lease is provided";
    TooManyOps: InvalidArgument "too many operations in txn request";
    DuplicateKey: InvalidArgument "duplicate key given in txn request";
    InvalidClientApiVersion: InvalidArgument "invalid client api version";
    InvalidSortOption: InvalidArgument "invalid sort option";
    Compacted: OutOfRange "mvcc: required revision has been compacted";
    FutureRev: OutOfRange "mvcc: required revision is a future revision";
    NoSpace: ResourceExhausted "mvcc: database space exceeded";
    LeaseNotFound: NotFound "requested lease not found";
    LeaseExist: FailedPrecondition "lease already exists";
    LeaseTtlTooLarge: OutOfRange "too large lease TTL";
    WatchCanceled: Cancelled "watch canceled";
    MemberExist: FailedPrecondition "member ID already exist";
    PeerUrlExist: FailedPrecondition "Peer URLs already exists";
    MemberNotEnoughStarted: Unknown "re-configuration failed due to not enough started members";
    MemberBadUrls: InvalidArgument "given member URLs are invalid";
    MemberNotFound: NotFound "member not found";
    MemberNotLearner: FailedPrecondition "can only promote a learner member";
    LearnerNotReady: FailedPrecondition
        "can only promote a learner member which is in sync with leader";
    TooManyLearners: FailedPrecondition "too many learner members in cluster";
    ClusterIdMismatch: FailedPrecondition "cluster ID mismatch";
    RequestTooLarge: InvalidArgument "request is too large";
    RequestTooManyRequests: Unknown "too many requests";
    RootUserNotExist: FailedPrecondition "root user does not exist";
    RootRoleNotExist: FailedPrecondition "root user does not have root role";
    UserAlreadyExist: FailedPrecondition "user name already exists";
    UserEmpty: InvalidArgument "user name is empty";
    UserNotFound: FailedPrecondition "user name not found";
    RoleAlreadyExist: FailedPrecondition "role name already exists";
    RoleNotFound: FailedPrecondition "role name not found";
    RoleEmpty: InvalidArgument "role name is empty";
    AuthFailed: InvalidArgument "authentication failed, invalid user ID or password";
    PermissionNotGiven: InvalidArgument "permission not given";
    PermissionDenied: PermissionDenied "permission denied";
    RoleNotGranted: FailedPrecondition "role is not granted to the user";
    PermissionNotGranted: FailedPrecondition "permission is not granted to the role";
    AuthNotEnabled: FailedPrecondition "authentication is not enabled";
    InvalidAuthToken: Unauthenticated "invalid auth token";
    InvalidAuthMgmt: InvalidArgument "invalid auth management";
    AuthOldRevision: InvalidArgument "revision of auth store is old";
    NoLeader: Unavailable "no leader";
    NotLeader: FailedPrecondition "not leader";
    LeaderChanged: Unavailable "leader changed";
    NotCapable: FailedPrecondition "not capable";
    Stopped: Unavailable "server stopped";
    Timeout: Unavailable "request timed out";
    TimeoutDueToLeaderFail: Unavailable
        "request timed out, possibly due to previous leader failure";
    TimeoutDueToConnectionLost: Unavailable "request timed out, possibly due to connection lost";
    TimeoutWaitAppliedIndex: Unavailable
        "request timed out, waiting for the applied index took too long";
    Unhealthy: Unavailable "unhealthy cluster";
    Corrupt: DataLoss "corrupt cluster";
    NotSupportedForLearner: FailedPrecondition "rpc not supported for learner";
    BadLeaderTransferee: FailedPrecondition "bad leader transferee";
    TimeoutLeaderTransfer: Unknown "request timed out, leader transfer took too long";
    WrongDowngradeVersionFormat: InvalidArgument "wrong downgrade target version format";
    InvalidDowngradeTargetVersion: InvalidArgument "invalid downgrade target version";
    ClusterVersionUnavailable: FailedPrecondition "cluster version not found during downgrade";
    DowngradeInProcess: FailedPrecondition "cluster has a downgrade job in progress";
    NoInflightDowngrade: FailedPrecondition "no inflight downgrade job";
    "" {
        RangeStreamSorted: Unimplemented "RangeStream does not support custom sort orders";
        NoPasswordUser: Unknown
            "auth: authentication failed, password was given for no password user";
        PasswordTooLong: Unknown "bcrypt: password length exceeds 72 bytes";
        VerifyOnlyKey: Unknown "auth: token signing attempted with verify-only key";
        RangeStreamFiltered: Unimplemented "RangeStream does not support revision filters";
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

/// Why a recipe has nothing to tell, as tonic sends it: etcd's recipes are clients, and of what
/// they were refused only the text is passed on.
pub fn failure_status(failure: Failure<Status>) -> Status {
    let text = match &failure {
        Failure::Refused(status) => status.message(),
        Failure::SessionExpired => "mutex: session is expired",
        Failure::NotLeader => "election: not leader",
        Failure::NoLeader => "election: no leader",
        Failure::MissingLeader => "\"leader\" field must be provided",
        Failure::WatchCanceled(reason) => reason,
        Failure::Abandoned => return Status::cancelled("context canceled"),
        Failure::Misanswered => return Status::internal("the answer is another request's"),
    };
    Status::unknown(text)
}

/// How the transport begins to say that a message is too large.
const TOO_LARGE: &str = "Error, decoded message length too large: ";

/// What the transport says of a client's message; that it is too large in the code and words of
/// etcd's transport.
pub fn message_status(status: Status) -> Status {
    let Some(numbers) = status.message().strip_prefix(TOO_LARGE) else { return status };
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let (Some(found), Some(limit)) = (numbers.next(), numbers.next()) else { return status };
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Status::resource_exhausted(text)
}

#[cfg(test)]
mod tests;
