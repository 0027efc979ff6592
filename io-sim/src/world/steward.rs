//! The steward: orders about users and roles, one at a time, and whoever calls in a user's name.
//!
//! ```text
//!   order --asked--> answered, or refused for good: next
//!            ^  '--no answer, or not now--.
//!            '----------------------------'
//! ```
//!
//! An order without an answer may be carried out at any later time; asked for again it may be
//! refused, because it was.
//!
//! Members are told who calls by what the client shows, as the shell tells them: by a token that an
//! entry issued, or by a name that stands for a certificate.

use std::collections::VecDeque;

use quorate_core::auth::{Credential, Identified, Identity, gate};
use quorate_core::error::Refusal;
use quorate_core::{Request, StateInput, View};
use quorate_proto::authpb::{Permission, permission::Type};
use quorate_proto::etcdserverpb as pb;

use super::client::{Purposed, request};
use super::driver::{Event, MILLISECOND, Phase, World};
use super::node::Build;
use super::observe::{CallId, Observer, Operation, Outcome, Seen, Shown};
use super::plan::Order;
use super::queue::Class;

/// See the module.
#[derive(Default)]
pub(super) struct Steward {
    orders: VecDeque<Order>,
    is_waiting: bool,
    node: usize,
}

/// The name of a user, or of a role.
fn name(kind: char, number: u64) -> String {
    if number == 0 { String::from("root") } else { format!("{kind}{number}") }
}

pub(super) fn user_name(number: u64) -> String {
    name('u', number)
}

impl Order {
    fn request(self, call: u64) -> pb::InternalRaftRequest {
        let mut request = pb::InternalRaftRequest::default();
        let hashed_password = format!("{call:04}");
        match self {
            Self::Enable {} => request.auth_enable = Some(pb::AuthEnableRequest {}.into()),
            Self::Disable {} => request.auth_disable = Some(pb::AuthDisableRequest {}.into()),
            Self::AddUser { user } => {
                let name = user_name(user);
                let add = pb::AuthUserAddRequest { name, hashed_password, ..<_>::default() };
                request.auth_user_add = Some(add.into());
            }
            Self::DeleteUser { user } => {
                let delete = pb::AuthUserDeleteRequest { name: user_name(user) };
                request.auth_user_delete = Some(delete.into());
            }
            Self::ChangePassword { user } => {
                let (name, password) = (user_name(user), String::new());
                let change = pb::AuthUserChangePasswordRequest { name, password, hashed_password };
                request.auth_user_change_password = Some(change.into());
            }
            Self::Grant { user, role } => {
                let (user, role) = (user_name(user), name('r', role));
                let grant = pb::AuthUserGrantRoleRequest { user, role };
                request.auth_user_grant_role = Some(grant.into());
            }
            Self::Withdraw { user, role } => {
                let (name, role) = (user_name(user), name('r', role));
                let revoke = pb::AuthUserRevokeRoleRequest { name, role };
                request.auth_user_revoke_role = Some(revoke.into());
            }
            other => other.fill_role(&mut request),
        }
        request
    }

    fn fill_role(self, request: &mut pb::InternalRaftRequest) {
        match self {
            Self::AddRole { role } => {
                let add = pb::AuthRoleAddRequest { name: name('r', role) };
                request.auth_role_add = Some(add.into());
            }
            Self::DeleteRole { role } => {
                let delete = pb::AuthRoleDeleteRequest { role: name('r', role) };
                request.auth_role_delete = Some(delete.into());
            }
            Self::Permit { role, key, span, kind } => {
                let kinds = [Type::Read, Type::Write, Type::Readwrite];
                let perm_type = kinds[kind.min(2) as usize].into();
                let (key, range_end) = (request::key(key), request::end(key, span));
                let perm = Some(Permission { perm_type, key, range_end });
                let grant = pb::AuthRoleGrantPermissionRequest { name: name('r', role), perm };
                request.auth_role_grant_permission = Some(grant.into());
            }
            Self::Forbid { role, key, span } => {
                let (key, range_end) = (request::key(key), request::end(key, span));
                let role = name('r', role);
                let revoke = pb::AuthRoleRevokePermissionRequest { role, key, range_end };
                request.auth_role_revoke_permission = Some(revoke.into());
            }
            _ => {}
        }
    }
}

impl<B: Build, O: Observer> World<B, O> {
    /// The next order of the plan is due.
    pub(super) fn begin_order(&mut self, number: usize) {
        if let Some(next) = self.plan.decrees.get(number + 1) {
            self.queue.push(next.at, Class::Client, Event::Order(number + 1));
        }
        let order = self.plan.decrees[number].order;
        self.clients.steward.orders.push_back(order);
        self.go_on_ordering();
    }

    pub(super) fn go_on_ordering(&mut self) {
        if self.phase != Phase::Faults || self.clients.steward.is_waiting {
            return;
        }
        let Some(order) = self.clients.steward.orders.front().copied() else { return };
        let Some(client) = self.clients.steward_number() else { return };
        self.clients.steward.is_waiting = true;
        let node = self.clients.steward.node;
        let call = self.next_call();
        let operation = Operation::Request(Request::Auth(Box::new(order.request(call))));
        self.call(client, node, Purposed::Order, operation);
    }

    pub(super) fn order_concluded(&mut self, client: usize, outcome: &Outcome) {
        let node = self.next_node(self.clients.steward.node);
        let steward = &mut self.clients.steward;
        steward.is_waiting = false;
        let is_settled = match outcome {
            Outcome::Refused(refusal) => is_about_auth(*refusal),
            Outcome::Range(_) | Outcome::Response(_) => true,
            Outcome::Unknown => false,
        };
        if is_settled {
            let order = steward.orders.pop_front();
            let word = order.filter(|_| matches!(outcome, Outcome::Response(_)));
            word.iter().for_each(|order| self.count_fired(order.word()));
        } else {
            self.clients.steward.node = node;
        }
        let rest = if is_settled { 0 } else { self.clients.luck[client].between(50, 500) };
        self.queue.push(self.now() + rest * MILLISECOND, Class::Client, Event::Wake(client));
    }

    /// What a client shows with a call. Whoever keeps the world going does so as root.
    pub(super) fn shown(&self, client: usize, purpose: Purposed, what: &Operation) -> Shown {
        let root = || Shown::CommonName(user_name(0));
        match purpose {
            _ if self.plan.shape.users == 0 => Shown::Nothing,
            Purposed::LogIn => Shown::Nothing,
            Purposed::Errand(..) if is_about_keys(what) => match &self.clients.workers[client] {
                worker if worker.shows_token => {
                    worker.token.clone().map_or(Shown::Nothing, Shown::Token)
                }
                worker => Shown::CommonName(user_name(worker.user)),
            },
            _ => root(),
        }
    }

    /// Who makes a call, by what a member has applied; nothing if it cannot tell yet.
    pub(super) fn identify(
        &mut self,
        node: usize,
        call: CallId,
        view: Option<&View>,
    ) -> Option<Result<Identity, Refusal>> {
        if self.plan.shape.users == 0 {
            return Some(Ok(Identity::default()));
        }
        let (view, open) = (view?, self.clients.calls.get(&call)?);
        let shown = open.shown.clone();
        let credential = match &shown {
            Shown::Nothing => Credential::Nothing,
            Shown::Token(token) => Credential::Token(token),
            Shown::CommonName(name) => Credential::CommonName(name),
        };
        let (index, now) = (view.facts.applied, self.nodes[node].clock.local(self.now()));
        let who = match view.facts.auth.identify(credential, index, now) {
            Ok(Identified::NotYet(_)) => return None,
            Ok(Identified::As { who, is_renewal_due }) => {
                if let (true, Credential::Token(token)) = (is_renewal_due, credential) {
                    self.give_state(node, StateInput::TokenUsed { token: token.to_owned() });
                }
                Ok(who)
            }
            Err(refusal) => Err(refusal),
        };
        let member = self.nodes[node].id();
        self.tell(&Seen::Identified { member, call, index, shown, who: who.clone() });
        Some(who)
    }
}

/// Whether whoever asks may read that, as the shell asks.
pub(super) fn check_read(view: &View, who: &Identity, what: &Operation) -> Result<(), Refusal> {
    let book = &view.facts.auth.book;
    match what {
        Operation::Range(range) => gate::check_range(book, who, range),
        Operation::Request(Request::Txn(txn)) => gate::check_read_txn(book, who, txn),
        Operation::Request(_) => Ok(()),
    }
}

/// Leases and compactions are the world's upkeep.
fn is_about_keys(what: &Operation) -> bool {
    matches!(
        what,
        Operation::Range(_)
            | Operation::Request(Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_))
    )
}

/// Whether asking again would be answered alike.
fn is_about_auth(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::RootUserNotExist
            | Refusal::RootRoleNotExist
            | Refusal::UserAlreadyExist
            | Refusal::UserNotFound
            | Refusal::RoleAlreadyExist
            | Refusal::RoleNotFound
            | Refusal::RoleNotGranted
            | Refusal::PermissionNotGranted
            | Refusal::InvalidAuthMgmt
    )
}
