use std::collections::BTreeSet;

use super::*;

/// Every error etcd can return: name, code, text. Two codes are not the ones of etcd's table but
/// the ones on its wire; those in brackets lack its prefix.
const EXPECTED: &str = "\
EmptyKey|3|key is not provided
KeyNotFound|3|key not found
ValueProvided|3|value is provided
LeaseProvided|3|lease is provided
TooManyOps|3|too many operations in txn request
DuplicateKey|3|duplicate key given in txn request
InvalidClientApiVersion|3|invalid client api version
InvalidSortOption|3|invalid sort option
RangeStreamSorted|12|(RangeStream does not support custom sort orders)
RangeStreamFiltered|12|(RangeStream does not support revision filters)
Compacted|11|mvcc: required revision has been compacted
FutureRev|11|mvcc: required revision is a future revision
NoSpace|8|mvcc: database space exceeded
LeaseNotFound|5|requested lease not found
LeaseExist|9|lease already exists
LeaseTtlTooLarge|11|too large lease TTL
WatchCanceled|1|watch canceled
MemberExist|9|member ID already exist
PeerUrlExist|9|Peer URLs already exists
MemberNotEnoughStarted|2|re-configuration failed due to not enough started members
MemberBadUrls|3|given member URLs are invalid
MemberNotFound|5|member not found
MemberNotLearner|9|can only promote a learner member
LearnerNotReady|9|can only promote a learner member which is in sync with leader
TooManyLearners|9|too many learner members in cluster
ClusterIdMismatch|9|cluster ID mismatch
RequestTooLarge|3|request is too large
RequestTooManyRequests|2|too many requests
RootUserNotExist|9|root user does not exist
RootRoleNotExist|9|root user does not have root role
UserAlreadyExist|9|user name already exists
UserEmpty|3|user name is empty
UserNotFound|9|user name not found
RoleAlreadyExist|9|role name already exists
RoleNotFound|9|role name not found
RoleEmpty|3|role name is empty
AuthFailed|3|authentication failed, invalid user ID or password
NoPasswordUser|2|(auth: authentication failed, password was given for no password user)
PasswordTooLong|2|(bcrypt: password length exceeds 72 bytes)
VerifyOnlyKey|2|(auth: token signing attempted with verify-only key)
PermissionNotGiven|3|permission not given
PermissionDenied|7|permission denied
RoleNotGranted|9|role is not granted to the user
PermissionNotGranted|9|permission is not granted to the role
AuthNotEnabled|9|authentication is not enabled
InvalidAuthToken|16|invalid auth token
InvalidAuthMgmt|3|invalid auth management
AuthOldRevision|3|revision of auth store is old
NoLeader|14|no leader
NotLeader|9|not leader
LeaderChanged|14|leader changed
NotCapable|9|not capable
Stopped|14|server stopped
Timeout|14|request timed out
TimeoutDueToLeaderFail|14|request timed out, possibly due to previous leader failure
TimeoutDueToConnectionLost|14|request timed out, possibly due to connection lost
TimeoutWaitAppliedIndex|14|request timed out, waiting for the applied index took too long
Unhealthy|14|unhealthy cluster
Corrupt|15|corrupt cluster
NotSupportedForLearner|9|rpc not supported for learner
BadLeaderTransferee|9|bad leader transferee
TimeoutLeaderTransfer|2|request timed out, leader transfer took too long
WrongDowngradeVersionFormat|3|wrong downgrade target version format
InvalidDowngradeTargetVersion|3|invalid downgrade target version
ClusterVersionUnavailable|9|cluster version not found during downgrade
DowngradeInProcess|9|cluster has a downgrade job in progress
NoInflightDowngrade|9|no inflight downgrade job
";

#[test]
fn every_refusal_leaves_with_etcds_code_and_text() {
    let mut sent = String::new();
    for refusal in Refusal::ALL {
        let status = status(*refusal);
        let text = status.message();
        let bare = || format!("({text})");
        let text = text.strip_prefix("etcdserver: ").map_or_else(bare, str::to_owned);
        sent += &format!("{}|{}|{text}\n", refusal.name(), i32::from(status.code()));
    }
    assert_eq!(sent, EXPECTED);
}

#[test]
fn no_two_refusals_share_a_text() {
    let texts: BTreeSet<&str> = Refusal::ALL.iter().map(|r| code_and_text(*r).1).collect();
    assert_eq!(texts.len(), Refusal::ALL.len());
}

#[test]
fn a_fault_leaves_as_unknown_with_its_own_text() {
    let fault = quorate_core::error::StorageFault::new("read of table key failed");
    let status = read_status(ReadError::Fault(fault));
    assert_eq!((status.code(), status.message()), (Code::Unknown, "read of table key failed"));
}
