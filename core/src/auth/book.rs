//! Users and roles, and what they add up to.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;
use quorate_proto::authpb::{Permission, Role, User, permission::Type};
use quorate_proto::etcdserverpb as pb;

use super::ranges::{Ranges, Span};
use super::{Identity, ROOT};
use crate::error::{Refusal, StorageFault};
use crate::schema::meta;
use crate::storage::{StateRead, Table};

/// The row that says whether auth is on: one byte.
pub(super) const ENABLED: &str = "authEnabled";
/// The row of the auth revision: 8 bytes, big endian.
pub(super) const REVISION: &str = "authRevision";

/// Users and roles of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    pub(super) is_enabled: bool,
    /// 0 only in a store nobody ever wrote to.
    pub(super) revision: u64,
    pub(super) users: BTreeMap<String, User>,
    pub(super) roles: BTreeMap<String, Role>,
    /// What each user may do, merged over the user's roles.
    rights: BTreeMap<String, Rights>,
}

/// The keys a user may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rights {
    reads: Ranges,
    writes: Ranges,
}

/// How a request uses keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

impl Book {
    /// Reads the tables `auth`, `authUsers` and `authRoles`.
    pub(super) fn load(image: &dyn StateRead) -> Result<Self, StorageFault> {
        let mut this = Self {
            is_enabled: image.get(Table::Auth, ENABLED.as_bytes())?.as_deref() == Some(&[1]),
            revision: meta::load_number_of(image, Table::Auth, REVISION)?.unwrap_or(0),
            users: load_named(image, Table::AuthUsers)?,
            roles: load_named(image, Table::AuthRoles)?,
            rights: BTreeMap::new(),
        };
        if !crate::planted!("rights-empty-after-load") {
            this.merge_rights();
        }
        Ok(this)
    }

    /// Whether anybody is asked who they are.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Rises with every change of a user or a role. A store without one is at 1, as etcd writes it
    /// when it makes a store.
    pub fn revision(&self) -> u64 {
        self.revision.max(1)
    }

    /// The stored hash of a user's password, for whoever compares it.
    ///
    /// # Errors
    /// Auth is off, there is no such user, or a user that has no password.
    pub fn password_hash(&self, name: &str) -> Result<Bytes, Refusal> {
        if !self.is_enabled {
            return Err(Refusal::AuthNotEnabled);
        }
        let user = self.users.get(name).ok_or(Refusal::AuthFailed)?;
        if has_no_password(user) {
            return Err(Refusal::NoPasswordUser);
        }
        Ok(user.password.clone())
    }

    /// All users' names, in order.
    pub fn user_names(&self) -> Vec<String> {
        self.users.keys().cloned().collect()
    }

    /// All roles' names, in order.
    pub fn role_names(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    /// A user's roles, in order.
    pub fn roles_of(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let user = self.users.get(name).ok_or(Refusal::UserNotFound)?;
        Ok(user.roles.clone())
    }

    /// What a role grants. The role of root grants everything, whatever it was given.
    pub fn permissions_of(&self, name: &str) -> Result<Vec<Permission>, Refusal> {
        let role = self.roles.get(name).ok_or(Refusal::RoleNotFound)?;
        if name == ROOT {
            let range_end = Bytes::from_static(&[0]);
            let perm_type = Type::Readwrite.into();
            return Ok(alloc::vec![Permission { perm_type, key: Bytes::new(), range_end }]);
        }
        Ok(role.key_permission.clone())
    }

    /// Whether the user is root: by its role.
    pub fn check_root(&self, who: &Identity) -> Result<(), Refusal> {
        if !self.is_enabled {
            return Ok(());
        }
        if who.user.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        let user = self.users.get(&*who.user).ok_or(Refusal::UserNotFound)?;
        if is_root(user) { Ok(()) } else { Err(Refusal::PermissionDenied) }
    }

    /// Whether somebody asks whose name is known.
    pub fn check_somebody(&self, who: &Identity) -> Result<(), Refusal> {
        let is_known = !self.is_enabled || who.revision != 0;
        if is_known { Ok(()) } else { Err(Refusal::UserEmpty) }
    }

    /// Whether somebody may see a user: root, and the user itself.
    pub fn check_user_seen(&self, who: &Identity, name: &str) -> Result<(), Refusal> {
        self.check_root(who).or_else(|refusal| {
            let is_own = *who.user == *name;
            is_own.then_some(()).ok_or(refusal)
        })
    }

    /// Whether somebody may see a role: root, and whoever holds it.
    pub fn check_role_seen(&self, who: &Identity, role: &str) -> Result<(), Refusal> {
        self.check_root(who).or_else(|refusal| {
            let user = self.users.get(&*who.user);
            let is_held = user.is_some_and(|user| user.roles.iter().any(|held| held == role));
            is_held.then_some(()).ok_or(refusal)
        })
    }

    /// Whether the keys of a range may be used like that.
    pub(crate) fn check_keys(
        &self,
        who: &Identity,
        (key, range_end): (&Bytes, &Bytes),
        way: Use,
    ) -> Result<(), Refusal> {
        if !self.is_enabled {
            return Ok(());
        }
        self.check_somebody(who)?;
        if who.revision < self.revision() && !crate::planted!("old-rights-count") {
            crate::probe!("rights changed while a call was under way");
            return Err(Refusal::AuthOldRevision);
        }
        let user = self.users.get(&*who.user).ok_or(Refusal::PermissionDenied)?;
        let rights = self.rights.get(&*who.user).ok_or(Refusal::PermissionDenied)?;
        let ranges = match way {
            Use::Read => &rights.reads,
            Use::Write => &rights.writes,
        };
        let is_allowed = is_root(user) || ranges.contain(&Span::parse(key, range_end));
        if is_allowed { Ok(()) } else { Err(Refusal::PermissionDenied) }
    }

    /// Whether somebody was identified as of this very book: who shows a signed token may come from
    /// a member that knows a newer one.
    pub(crate) fn check_moment(&self, who: &Identity) -> Result<(), Refusal> {
        let is_of_now = who.revision == 0 || who.revision == self.revision();
        let is_right = !self.is_enabled || is_of_now;
        is_right.then_some(()).ok_or(Refusal::AuthOldRevision)
    }

    /// The answer to whoever asks about auth.
    pub fn status(&self) -> pb::AuthStatusResponse {
        let auth_revision = self.revision();
        pb::AuthStatusResponse { header: None, enabled: self.is_enabled, auth_revision }
    }

    /// To be called after every change.
    pub(super) fn merge_rights(&mut self) {
        self.rights =
            self.users.iter().map(|(name, user)| (name.clone(), self.rights_of(user))).collect();
    }

    fn rights_of(&self, user: &User) -> Rights {
        let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
        let granted: Vec<&Permission> = roles.flat_map(|role| &role.key_permission).collect();
        let of = |other: Type| {
            let is_of = |one: &&&Permission| {
                [Type::Readwrite, other].into_iter().any(|kind| one.perm_type == kind as i32)
            };
            let spans = granted.iter().filter(is_of);
            Ranges::merge(spans.map(|one| Span::parse(&one.key, &one.range_end)).collect())
        };
        Rights { reads: of(Type::Read), writes: of(Type::Write) }
    }
}

pub(super) fn is_root(user: &User) -> bool {
    user.roles.iter().any(|role| role == ROOT)
}

pub(super) fn has_no_password(user: &User) -> bool {
    user.options.as_ref().is_some_and(|options| options.no_password)
}

/// Rows whose keys are names.
fn load_named<M: Message + Default>(
    image: &dyn StateRead,
    table: Table,
) -> Result<BTreeMap<String, M>, StorageFault> {
    let (mut named, mut broken) = (BTreeMap::new(), None);
    image.scan(table, &[], &[], &mut |key, value| {
        let name = String::from_utf8_lossy(key).to_string();
        match M::decode(value.clone()) {
            Ok(message) => {
                named.insert(name, message);
                ControlFlow::Continue(())
            }
            Err(error) => {
                broken = Some(format!("row {name:?} of {}: {error}", table.name()));
                ControlFlow::Break(())
            }
        }
    })?;
    broken.map_or(Ok(named), |what| Err(StorageFault::new(what)))
}
