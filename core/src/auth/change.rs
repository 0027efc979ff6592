//! Changes of users and roles, as their entries are applied.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use quorate_proto::authpb::{Role, User, UserAddOptions};
use quorate_proto::etcdserverpb::{self as pb, InternalRaftRequest};

use super::book::{Book, ENABLED, REVISION, has_no_password, is_root};
use super::ranges::Span;
use super::{AuthView, ROOT, Tokens};
use crate::error::{Refusal, StorageFault};
use crate::ids::LogIndex;
use crate::schema::meta;
use crate::storage::{StateRead, Table, Write};
use crate::time::{Duration, Time};

/// The rows an entry changed, and the token it issued.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) writes: Vec<Write>,
    pub(crate) token: String,
}

impl AuthView {
    /// Reads the book; of tokens nothing is left after a restart.
    pub(crate) fn load(image: &dyn StateRead, token_ttl: Duration) -> Result<Self, StorageFault> {
        Ok(Self { book: Arc::new(Book::load(image)?), tokens: Tokens::new(token_ttl) })
    }

    /// Applies the entry at `index` if it is about auth. Whether its author may is judged before.
    pub(crate) fn apply(
        &mut self,
        (request, index): (&InternalRaftRequest, LogIndex),
        now: Time,
    ) -> Option<Result<Done, Refusal>> {
        if let Some(request) = &request.authenticate {
            return Some(self.authenticate(request, index, now));
        }
        let change = Change::parse(request)?;
        let mut book = Book::clone(&self.book);
        let changed = book.change(&change);
        if let Ok(writes) = &changed
            && !writes.is_empty()
        {
            book.merge_rights();
            self.book = Arc::new(book);
            self.end_tokens(&change);
        }
        Some(changed.map(|writes| Done { writes, token: String::new() }))
    }

    /// Forgets the tokens that a change of the book makes void.
    fn end_tokens(&mut self, change: &Change<'_>) {
        match *change {
            Change::Disable => self.tokens.forget_all(),
            Change::DeleteUser(name) => self.tokens.forget_user(name),
            Change::NewPassword(change) if !crate::planted!("token-outlives-password") => {
                self.tokens.forget_user(&change.name);
            }
            _ => {}
        }
    }

    /// The password was compared before the entry was proposed; that it is still the user's, the
    /// proposer sees from the revision afterwards.
    fn authenticate(
        &mut self,
        request: &pb::InternalAuthenticateRequest,
        index: LogIndex,
        now: Time,
    ) -> Result<Done, Refusal> {
        if !self.book.is_enabled() {
            return Err(Refusal::AuthNotEnabled);
        }
        let user = self.book.users.get(&request.name).ok_or(Refusal::AuthFailed)?;
        if has_no_password(user) {
            return Err(Refusal::AuthFailed);
        }
        let token = match request.simple_token.as_str() {
            // Whoever asks signs one itself.
            "" => String::new(),
            prefix => self.tokens.issue(&request.name, (prefix, index), now),
        };
        Ok(Done { writes: Vec::new(), token })
    }
}

/// A change of users and roles, or of whether anybody asks for them.
pub(super) enum Change<'a> {
    Enable,
    Disable,
    AddUser(&'a pb::AuthUserAddRequest),
    DeleteUser(&'a str),
    NewPassword(&'a pb::AuthUserChangePasswordRequest),
    GrantRole { user: &'a str, role: &'a str },
    RevokeRole { user: &'a str, role: &'a str },
    AddRole(&'a str),
    DeleteRole(&'a str),
    GrantPermission(&'a pb::AuthRoleGrantPermissionRequest),
    RevokePermission(&'a pb::AuthRoleRevokePermissionRequest),
}

impl<'a> Change<'a> {
    /// The change a request asks for, if it asks for one.
    pub(super) fn parse(request: &'a InternalRaftRequest) -> Option<Self> {
        Some(if request.auth_enable.is_some() {
            Self::Enable
        } else if request.auth_disable.is_some() {
            Self::Disable
        } else if let Some(add) = &request.auth_user_add {
            Self::AddUser(add)
        } else if let Some(delete) = &request.auth_user_delete {
            Self::DeleteUser(&delete.name)
        } else if let Some(change) = &request.auth_user_change_password {
            Self::NewPassword(change)
        } else if let Some(grant) = &request.auth_user_grant_role {
            Self::GrantRole { user: &grant.user, role: &grant.role }
        } else if let Some(revoke) = &request.auth_user_revoke_role {
            Self::RevokeRole { user: &revoke.name, role: &revoke.role }
        } else if let Some(add) = &request.auth_role_add {
            Self::AddRole(&add.name)
        } else if let Some(delete) = &request.auth_role_delete {
            Self::DeleteRole(&delete.role)
        } else if let Some(grant) = &request.auth_role_grant_permission {
            Self::GrantPermission(grant)
        } else if let Some(revoke) = &request.auth_role_revoke_permission {
            Self::RevokePermission(revoke)
        } else {
            return None;
        })
    }
}

type Outcome = Result<Vec<Write>, Refusal>;

impl Book {
    /// Carries a change out, or refuses it. No rows: nothing changed.
    fn change(&mut self, change: &Change<'_>) -> Outcome {
        match *change {
            Change::Enable => self.enable(),
            Change::Disable => self.disable(),
            Change::AddUser(add) => self.add_user(add),
            Change::DeleteUser(name) => self.delete_user(name),
            Change::NewPassword(change) => self.change_password(change),
            Change::GrantRole { user, role } => self.grant_role(user, role),
            Change::RevokeRole { user, role } => self.revoke_role(user, role),
            Change::AddRole(name) => self.add_role(name),
            Change::DeleteRole(name) => self.delete_role(name),
            Change::GrantPermission(grant) => self.grant_permission(grant),
            Change::RevokePermission(revoke) => self.revoke_permission(revoke),
        }
    }

    fn enable(&mut self) -> Outcome {
        if self.is_enabled {
            return Ok(Vec::new());
        }
        let root = self.users.get(ROOT).ok_or(Refusal::RootUserNotExist)?;
        if !is_root(root) {
            return Err(Refusal::RootRoleNotExist);
        }
        self.is_enabled = true;
        Ok(alloc::vec![enabled_row(true)])
    }

    fn disable(&mut self) -> Outcome {
        if !self.is_enabled {
            return Ok(Vec::new());
        }
        self.is_enabled = false;
        Ok(alloc::vec![enabled_row(false), self.raise()])
    }

    fn add_user(&mut self, add: &pb::AuthUserAddRequest) -> Outcome {
        if add.name.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        if self.users.contains_key(&add.name) {
            return Err(Refusal::UserAlreadyExist);
        }
        let options = add.options.unwrap_or(UserAddOptions { no_password: false });
        let password = match options.no_password {
            true => Bytes::new(),
            false => load_hash(&add.hashed_password)?,
        };
        let name = Bytes::copy_from_slice(add.name.as_bytes());
        self.put_user(User { name, password, roles: Vec::new(), options: Some(options) })
    }

    fn delete_user(&mut self, name: &str) -> Outcome {
        if self.is_enabled && name == ROOT {
            return Err(Refusal::InvalidAuthMgmt);
        }
        self.users.remove(name).ok_or(Refusal::UserNotFound)?;
        Ok(alloc::vec![gone(Table::AuthUsers, name), self.raise()])
    }

    fn change_password(&mut self, change: &pb::AuthUserChangePasswordRequest) -> Outcome {
        let mut user = self.user(&change.name)?;
        user.password = match has_no_password(&user) {
            true => Bytes::new(),
            false => load_hash(&change.hashed_password)?,
        };
        self.put_user(user)
    }

    fn grant_role(&mut self, name: &str, role: &str) -> Outcome {
        let mut user = self.user(name)?;
        if role != ROOT && !self.roles.contains_key(role) {
            return Err(Refusal::RoleNotFound);
        }
        if user.roles.iter().any(|held| held == role) {
            return Ok(Vec::new());
        }
        user.roles.push(role.to_string());
        user.roles.sort();
        self.put_user(user)
    }

    fn revoke_role(&mut self, name: &str, role: &str) -> Outcome {
        if self.is_enabled && name == ROOT && role == ROOT {
            return Err(Refusal::InvalidAuthMgmt);
        }
        let mut user = self.user(name)?;
        let before = user.roles.len();
        user.roles.retain(|held| held != role);
        if user.roles.len() == before {
            return Err(Refusal::RoleNotGranted);
        }
        self.put_user(user)
    }

    fn add_role(&mut self, name: &str) -> Outcome {
        if name.is_empty() {
            return Err(Refusal::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Refusal::RoleAlreadyExist);
        }
        let name = Bytes::copy_from_slice(name.as_bytes());
        self.put_role(Role { name, key_permission: Vec::new() })
    }

    fn delete_role(&mut self, name: &str) -> Outcome {
        if self.is_enabled && name == ROOT {
            return Err(Refusal::InvalidAuthMgmt);
        }
        self.roles.remove(name).ok_or(Refusal::RoleNotFound)?;
        let mut writes = alloc::vec![gone(Table::AuthRoles, name)];
        for (user_name, user) in &mut self.users {
            let before = user.roles.len();
            user.roles.retain(|held| held != name);
            if user.roles.len() != before {
                writes.push(row(Table::AuthUsers, user_name, user));
            }
        }
        writes.push(self.raise());
        Ok(writes)
    }

    fn grant_permission(&mut self, grant: &pb::AuthRoleGrantPermissionRequest) -> Outcome {
        let wanted = grant.perm.clone().ok_or(Refusal::PermissionNotGiven)?;
        if wanted.key.is_empty() || Span::parse(&wanted.key, &wanted.range_end).is_empty() {
            return Err(Refusal::InvalidAuthMgmt);
        }
        let mut role = self.role(&grant.name)?;
        let known = role
            .key_permission
            .iter_mut()
            .find(|one| one.key == wanted.key && one.range_end == wanted.range_end);
        match known {
            Some(known) => known.perm_type = wanted.perm_type,
            None => {
                role.key_permission.push(wanted);
                role.key_permission.sort_by(|one, two| one.key.cmp(&two.key));
            }
        }
        self.put_role(role)
    }

    fn revoke_permission(&mut self, revoke: &pb::AuthRoleRevokePermissionRequest) -> Outcome {
        let mut role = self.role(&revoke.role)?;
        let before = role.key_permission.len();
        role.key_permission
            .retain(|one| one.key != revoke.key || one.range_end != revoke.range_end);
        if role.key_permission.len() == before {
            return Err(Refusal::PermissionNotGranted);
        }
        self.put_role(role)
    }

    fn user(&self, name: &str) -> Result<User, Refusal> {
        self.users.get(name).cloned().ok_or(Refusal::UserNotFound)
    }

    fn role(&self, name: &str) -> Result<Role, Refusal> {
        self.roles.get(name).cloned().ok_or(Refusal::RoleNotFound)
    }

    fn put_user(&mut self, user: User) -> Outcome {
        let name = String::from_utf8_lossy(&user.name).into_owned();
        let writes = alloc::vec![row(Table::AuthUsers, &name, &user), self.raise()];
        self.users.insert(name, user);
        Ok(writes)
    }

    fn put_role(&mut self, role: Role) -> Outcome {
        let name = String::from_utf8_lossy(&role.name).into_owned();
        let writes = alloc::vec![row(Table::AuthRoles, &name, &role), self.raise()];
        self.roles.insert(name, role);
        Ok(writes)
    }

    /// The next revision, and its row.
    fn raise(&mut self) -> Write {
        self.revision = self.revision() + 1;
        let value = Some(meta::encode_number(self.revision));
        Write { table: Table::Auth, key: Bytes::from_static(REVISION.as_bytes()), value }
    }
}

/// A password's hash as it travels. What is no base64 is no password, as etcd has it.
fn load_hash(hashed: &str) -> Result<Bytes, Refusal> {
    STANDARD.decode(hashed).map(Bytes::from).map_err(|_| Refusal::NoPasswordUser)
}

fn enabled_row(is_enabled: bool) -> Write {
    let value = Some(Bytes::copy_from_slice(&[u8::from(is_enabled)]));
    Write { table: Table::Auth, key: Bytes::from_static(ENABLED.as_bytes()), value }
}

fn row(table: Table, name: &str, value: &impl Message) -> Write {
    let key = Bytes::copy_from_slice(name.as_bytes());
    Write { table, key, value: Some(value.encode_to_vec().into()) }
}

fn gone(table: Table, name: &str) -> Write {
    Write { table, key: Bytes::copy_from_slice(name.as_bytes()), value: None }
}
