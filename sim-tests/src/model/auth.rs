//! Users, roles and rights as etcd means them: what a change makes of them, and who may do what.
//!
//! ```text
//!   alice --roles--> app --permissions--> READ [a, c), WRITE [b, d)
//!   a range is walked: from its first key, each permission carries as far as its own end
//! ```
//!
//! Deliberately absent: passwords, tokens, merging of anything, and any code of the core.
//!
//! Answers to: etcd v3.7.1 `server/auth/store.go`, `server/etcdserver/apply/auth.go`

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_core::error::Refusal;
use quorate_proto::authpb::{Permission, permission::Type};
use quorate_proto::etcdserverpb::{self as pb, InternalRaftRequest, request_op};

const ROOT: &str = "root";

/// In whose name something is asked, and as of which auth revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The user; empty for nobody.
    pub user: String,
    /// The revision; 0 for nobody.
    pub revision: u64,
}

/// Who may do what, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Whether anybody is asked.
    pub is_enabled: bool,
    /// Rises with every change.
    pub revision: u64,
    /// By name, the roles each holds.
    users: BTreeMap<String, BTreeSet<String>>,
    /// By name, what each permits.
    roles: BTreeMap<String, Vec<Permission>>,
}

impl Default for Auth {
    fn default() -> Self {
        let (users, roles) = (BTreeMap::new(), BTreeMap::new());
        Self { is_enabled: false, revision: 1, users, roles }
    }
}

impl Auth {
    /// What a request makes of it; nothing if the request does not change it.
    pub fn change(&self, request: &InternalRaftRequest) -> Option<Result<Self, Refusal>> {
        let mut next = self.clone();
        let changed = next.apply(request)?;
        Some(changed.map(|is_new| {
            next.revision += u64::from(is_new);
            next
        }))
    }

    /// Whether the revision rises.
    fn apply(&mut self, request: &InternalRaftRequest) -> Option<Result<bool, Refusal>> {
        Some(if request.auth_enable.is_some() {
            self.enable()
        } else if request.auth_disable.is_some() {
            Ok(std::mem::take(&mut self.is_enabled))
        } else if let Some(add) = &request.auth_user_add {
            match self.users.contains_key(&add.name) {
                true => Err(Refusal::UserAlreadyExist),
                false => Ok(self.users.insert(add.name.clone(), BTreeSet::new()).is_none()),
            }
        } else if let Some(delete) = &request.auth_user_delete {
            self.users.remove(&delete.name).map(|_| true).ok_or(Refusal::UserNotFound)
        } else if let Some(change) = &request.auth_user_change_password {
            self.users.get(&change.name).map(|_| true).ok_or(Refusal::UserNotFound)
        } else if let Some(grant) = &request.auth_user_grant_role {
            self.grant(&grant.user, &grant.role)
        } else if let Some(revoke) = &request.auth_user_revoke_role {
            match self.users.get_mut(&revoke.name).map(|held| held.remove(&revoke.role)) {
                None => Err(Refusal::UserNotFound),
                Some(true) => Ok(true),
                Some(false) => Err(Refusal::RoleNotGranted),
            }
        } else if let Some(add) = &request.auth_role_add {
            match self.roles.contains_key(&add.name) {
                true => Err(Refusal::RoleAlreadyExist),
                false => Ok(self.roles.insert(add.name.clone(), Vec::new()).is_none()),
            }
        } else if let Some(delete) = &request.auth_role_delete {
            self.users.values_mut().for_each(|held| held.retain(|role| *role != delete.role));
            self.roles.remove(&delete.role).map(|_| true).ok_or(Refusal::RoleNotFound)
        } else if let Some(grant) = &request.auth_role_grant_permission {
            self.permit(grant)
        } else if let Some(revoke) = &request.auth_role_revoke_permission {
            self.forbid(revoke)
        } else {
            return None;
        })
    }

    fn enable(&mut self) -> Result<bool, Refusal> {
        let root = self.users.get(ROOT).ok_or(Refusal::RootUserNotExist)?;
        if !root.contains(ROOT) {
            return Err(Refusal::RootRoleNotExist);
        }
        self.is_enabled = true;
        Ok(false)
    }

    fn grant(&mut self, user: &str, role: &str) -> Result<bool, Refusal> {
        let held = self.users.get_mut(user).ok_or(Refusal::UserNotFound)?;
        if role != ROOT && !self.roles.contains_key(role) {
            return Err(Refusal::RoleNotFound);
        }
        Ok(held.insert(role.to_owned()))
    }

    fn permit(&mut self, grant: &pb::AuthRoleGrantPermissionRequest) -> Result<bool, Refusal> {
        let perm = grant.perm.as_ref().ok_or(Refusal::PermissionNotGiven)?;
        let permitted = self.roles.get_mut(&grant.name).ok_or(Refusal::RoleNotFound)?;
        permitted.retain(|one| one.key != perm.key || one.range_end != perm.range_end);
        permitted.push(perm.clone());
        Ok(true)
    }

    fn forbid(&mut self, revoke: &pb::AuthRoleRevokePermissionRequest) -> Result<bool, Refusal> {
        let permitted = self.roles.get_mut(&revoke.role).ok_or(Refusal::RoleNotFound)?;
        let before = permitted.len();
        permitted.retain(|one| one.key != revoke.key || one.range_end != revoke.range_end);
        let is_changed = permitted.len() < before;
        is_changed.then_some(true).ok_or(Refusal::PermissionNotGranted)
    }

    /// Whether there is such a user.
    pub fn knows(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether the user is somebody, as far as anybody asks.
    pub fn check_somebody(&self, who: &Who) -> Result<(), Refusal> {
        let is_somebody = !self.is_enabled || who.revision != 0;
        is_somebody.then_some(()).ok_or(Refusal::UserEmpty)
    }

    /// Whether the user is root.
    pub fn check_root(&self, who: &Who) -> Result<(), Refusal> {
        match self.users.get(&who.user) {
            _ if !self.is_enabled => Ok(()),
            _ if who.user.is_empty() => Err(Refusal::UserEmpty),
            None => Err(Refusal::UserNotFound),
            Some(held) if held.contains(ROOT) => Ok(()),
            Some(_) => Err(Refusal::PermissionDenied),
        }
    }

    /// Whether the user may read or write all of a range.
    fn check_range(
        &self,
        who: &Who,
        (key, end): (&Bytes, &Bytes),
        kind: Type,
    ) -> Result<(), Refusal> {
        if !self.is_enabled {
            return Ok(());
        }
        self.check_somebody(who)?;
        if who.revision < self.revision {
            return Err(Refusal::AuthOldRevision);
        }
        let held = self.users.get(&who.user).ok_or(Refusal::PermissionDenied)?;
        let is_permitted = held.contains(ROOT) || self.reaches(held, (key, end), kind);
        is_permitted.then_some(()).ok_or(Refusal::PermissionDenied)
    }

    /// Walks from the first key, as far as permissions carry.
    fn reaches(&self, held: &BTreeSet<String>, (key, end): (&Bytes, &Bytes), kind: Type) -> bool {
        let is_of = |one: &&Permission| {
            one.perm_type == kind as i32 || one.perm_type == Type::Readwrite as i32
        };
        let permitted = held.iter().filter_map(|role| self.roles.get(role)).flatten();
        let permitted: Vec<&Permission> = permitted.filter(is_of).collect();
        let goal = end_of(key, end);
        let mut at = key.clone();
        loop {
            let carries = |one: &&Permission| {
                let is_behind = end_of(&one.key, &one.range_end).is_none_or(|end| at < end);
                one.key <= at && is_behind
            };
            let ends = permitted.iter().copied().filter(carries);
            let ends: Vec<_> = ends.map(|one| end_of(&one.key, &one.range_end)).collect();
            let Some(farthest) = ends.iter().flatten().max() else {
                // Nothing carries from here, or something without an end does.
                return !ends.is_empty();
            };
            let is_open = ends.iter().any(Option::is_none);
            if is_open || goal.as_ref().is_some_and(|goal| goal <= farthest) {
                return true;
            }
            at = farthest.clone();
        }
    }

    /// Judges an entry; `lease_keys` tells what hangs on a lease.
    pub fn check(
        &self,
        who: &Who,
        request: &InternalRaftRequest,
        lease_keys: &dyn Fn(i64) -> Vec<Bytes>,
    ) -> Result<(), Refusal> {
        if self.change(request).is_some() {
            return self.check_root(who);
        }
        let by = By { auth: self, who, lease_keys };
        if let Some(put) = &request.put {
            by.check_put(put)
        } else if let Some(delete) = &request.delete_range {
            by.check_delete(delete)
        } else if let Some(txn) = &request.txn {
            by.check_txn(txn)
        } else if let Some(revoke) = &request.lease_revoke {
            by.check_lease(revoke.id)
        } else {
            Ok(())
        }
    }

    /// Judges a range.
    pub fn check_read(&self, who: &Who, range: &pb::RangeRequest) -> Result<(), Refusal> {
        self.check_range(who, (&range.key, &range.range_end), Type::Read)
    }

    /// Judges a transaction that only reads.
    pub fn check_read_txn(&self, who: &Who, txn: &pb::TxnRequest) -> Result<(), Refusal> {
        By { auth: self, who, lease_keys: &|_| Vec::new() }.check_txn(txn)
    }
}

/// One user before one set of rights.
struct By<'a> {
    auth: &'a Auth,
    who: &'a Who,
    lease_keys: &'a dyn Fn(i64) -> Vec<Bytes>,
}

impl By<'_> {
    fn check_key(&self, key: &Bytes, kind: Type) -> Result<(), Refusal> {
        self.auth.check_range(self.who, (key, &Bytes::new()), kind)
    }

    fn check_lease(&self, id: i64) -> Result<(), Refusal> {
        if id == 0 || self.auth.check_root(self.who).is_ok() {
            return Ok(());
        }
        (self.lease_keys)(id).iter().try_for_each(|key| self.check_key(key, Type::Write))
    }

    fn check_put(&self, put: &pb::PutRequest) -> Result<(), Refusal> {
        self.check_key(&put.key, Type::Write)?;
        self.check_lease(put.lease)?;
        if put.prev_kv { self.check_key(&put.key, Type::Read) } else { Ok(()) }
    }

    fn check_delete(&self, delete: &pb::DeleteRangeRequest) -> Result<(), Refusal> {
        let range = (&delete.key, &delete.range_end);
        self.auth.check_range(self.who, range, Type::Write)?;
        if delete.prev_kv { self.auth.check_range(self.who, range, Type::Read) } else { Ok(()) }
    }

    fn check_txn(&self, txn: &pb::TxnRequest) -> Result<(), Refusal> {
        use request_op::Request as Op;
        for compare in &txn.compare {
            self.auth.check_range(self.who, (&compare.key, &compare.range_end), Type::Read)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match &op.request {
                Some(Op::RequestRange(range)) => self.auth.check_read(self.who, range)?,
                Some(Op::RequestPut(put)) => self.check_put(put)?,
                Some(Op::RequestDeleteRange(delete)) => self.check_delete(delete)?,
                Some(Op::RequestTxn(txn)) => self.check_txn(txn)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Where a range ends; nothing: nowhere.
fn end_of(key: &Bytes, end: &Bytes) -> Option<Bytes> {
    match end.as_ref() {
        [] => Some([key.as_ref(), &[0]].concat().into()),
        [0] => None,
        _ => Some(end.clone()),
    }
}
