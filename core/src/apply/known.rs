//! What an entry must be to mean something here: asked of a log that another server wrote, before
//! its entries are applied. Applying itself passes over what it does not know, as it must.

use prost::Message;
use quorate_proto::etcdserverpb::InternalRaftRequest;
use quorate_proto::raftpb::{ConfChange, ConfChangeV2};

use crate::auth;
use crate::membership::Change;
use crate::storage::{Entry, EntryKind};

/// Whether applying the entry does all that its writer meant; if not, what it is.
pub fn check_known(entry: &Entry) -> Result<(), &'static str> {
    match entry.kind {
        EntryKind::Normal if entry.data.is_empty() => Ok(()),
        EntryKind::Normal => match InternalRaftRequest::decode(entry.data.clone()) {
            Ok(request) if has_clear_password(&request) => {
                Err("a password in clear, as only etcd before 3.5 writes it")
            }
            // What does not come out again was dropped: the envelope's fields are canonical.
            Ok(request) if request.encoded_len() != entry.data.len() => {
                Err("a request with parts that are not known here")
            }
            Ok(request) if is_known(&request) => Ok(()),
            Ok(_) => Err("a request of a kind that is not served here"),
            Err(_) => Err("a request that cannot be read"),
        },
        EntryKind::ConfChange => match ConfChange::decode(entry.data.clone()) {
            Ok(change) if Change::load(&change).is_some() => Ok(()),
            _ => Err("a change of members that cannot be read"),
        },
        EntryKind::ConfChangeV2 => match ConfChangeV2::decode(entry.data.clone()) {
            Ok(change) if change.changes.is_empty() => Ok(()),
            _ => Err("several changes of members at once"),
        },
    }
}

/// Whoever applies such an entry hashes the password itself, each member to another hash.
fn has_clear_password(request: &InternalRaftRequest) -> bool {
    let added = request.auth_user_add.as_ref().map(|add| &add.password);
    let changed = request.auth_user_change_password.as_ref().map(|change| &change.password);
    added.or(changed).is_some_and(|password| !password.is_empty())
}

/// The kinds that `dispatch` has a branch for, and questions, which change nothing: etcd asks its
/// log where others read.
fn is_known(request: &InternalRaftRequest) -> bool {
    request.put.is_some()
        || request.delete_range.is_some()
        || request.txn.is_some()
        || request.compaction.is_some()
        || request.lease_grant.is_some()
        || request.lease_revoke.is_some()
        || request.lease_checkpoint.is_some()
        || request.alarm.is_some()
        || request.cluster_version_set.is_some()
        || request.cluster_member_attr_set.is_some()
        || request.authenticate.is_some()
        || auth::is_change(request)
        || request.auth_status.is_some()
        || request.auth_user_get.is_some()
        || request.auth_user_list.is_some()
        || request.auth_role_get.is_some()
        || request.auth_role_list.is_some()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use bytes::Bytes;
    use quorate_proto::etcdserverpb::{AuthEnableRequest, AuthUserAddRequest, PutRequest};
    use quorate_proto::membershippb::DowngradeInfoSetRequest;

    use super::*;

    fn entry(kind: EntryKind, data: Vec<u8>) -> Entry {
        Entry { kind, data: data.into(), ..Entry::default() }
    }

    fn put() -> InternalRaftRequest {
        let put = PutRequest { key: Bytes::from_static(b"k"), ..PutRequest::default() };
        InternalRaftRequest { id: 7, put: Some(put), ..InternalRaftRequest::default() }
    }

    #[test]
    fn what_is_applied_in_full_is_known() {
        assert_eq!(check_known(&entry(EntryKind::Normal, Vec::new())), Ok(()));
        assert_eq!(check_known(&entry(EntryKind::Normal, put().encode_to_vec())), Ok(()));
        let enable = InternalRaftRequest {
            auth_enable: Some(AuthEnableRequest {}.into()),
            ..InternalRaftRequest::default()
        };
        assert_eq!(check_known(&entry(EntryKind::Normal, enable.encode_to_vec())), Ok(()));
        let context = br#"{"id":5,"peerURLs":["http://a:1"],"name":"a"}"#;
        let change = ConfChange {
            node_id: 5,
            context: Bytes::from_static(context),
            ..ConfChange::default()
        };
        assert_eq!(check_known(&entry(EntryKind::ConfChange, change.encode_to_vec())), Ok(()));
    }

    #[test]
    fn what_would_be_passed_over_is_not() {
        let downgrade = InternalRaftRequest {
            downgrade_info_set: Some(DowngradeInfoSetRequest::default().into()),
            ..InternalRaftRequest::default()
        };
        let (name, password) = ("alice".to_string(), "apw".to_string());
        let add = AuthUserAddRequest { name, password, ..AuthUserAddRequest::default() };
        let clear = InternalRaftRequest {
            auth_user_add: Some(add.into()),
            ..InternalRaftRequest::default()
        };
        // Field 2 is a request of etcd's old API.
        let mut old = put().encode_to_vec();
        old.extend_from_slice(b"\x12\x02\x08\x01");
        for (kind, data, why) in [
            (
                EntryKind::Normal,
                downgrade.encode_to_vec(),
                "a request of a kind that is not served here",
            ),
            (
                EntryKind::Normal,
                clear.encode_to_vec(),
                "a password in clear, as only etcd before 3.5 writes it",
            ),
            (EntryKind::Normal, old, "a request with parts that are not known here"),
            (EntryKind::Normal, alloc::vec![0xff], "a request that cannot be read"),
            (EntryKind::ConfChange, alloc::vec![1], "a change of members that cannot be read"),
        ] {
            assert_eq!(check_known(&entry(kind, data)), Err(why));
        }
    }
}
