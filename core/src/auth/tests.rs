use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_proto::authpb::{Permission, UserAddOptions, permission::Type};
use quorate_proto::etcdserverpb as pb;

use super::gate::{Gate, LeaseKeys, check_range, check_watch};
use super::*;
use crate::draw::draw;
use crate::ids::LeaseId;
use crate::storage::Rows;
use crate::time::Duration;

/// A ledger, its rows, and the log it is fed from.
struct Desk {
    auth: AuthView,
    rows: Rows,
    index: u64,
}

type Fields = pb::InternalRaftRequest;

impl Desk {
    fn new() -> Self {
        let auth = AuthView::load(&Rows::default(), Duration::from_secs(300)).unwrap();
        Self { auth, rows: Rows::default(), index: 0 }
    }

    /// One with root, and alice, who may do everything in `[a, b)`, read `shared` and write `in`.
    fn set_up() -> Self {
        let mut desk = Self::new();
        for change in [
            add_user("root"),
            grant_role("root", "root"),
            add_user("alice"),
            add_role("app"),
            permit("app", Type::Readwrite, "a", "b"),
            permit("app", Type::Read, "shared", ""),
            permit("app", Type::Write, "in", ""),
            grant_role("alice", "app"),
            enable(),
        ] {
            desk.ask(change).unwrap();
        }
        desk
    }

    fn ask(&mut self, request: Fields) -> Result<Done, Refusal> {
        self.index += 1;
        let done = self.auth.apply((&request, LogIndex(self.index)), Time::ZERO);
        let done = done.expect("it is about auth")?;
        self.rows.write(&done.writes);
        Ok(done)
    }

    /// The refusal of a change that must not change anything.
    fn refused(&mut self, request: Fields) -> Refusal {
        let before = self.auth.clone();
        let refusal = self.ask(request).unwrap_err();
        assert_eq!(self.auth, before);
        refusal
    }

    fn revision(&self) -> u64 {
        self.auth.book.revision()
    }

    fn who(&self, user: &str) -> Identity {
        Identity { user: user.into(), revision: self.revision() }
    }

    fn log_in(&mut self, user: &str) -> alloc::string::String {
        let (name, simple_token) = (user.to_string(), "abc".to_string());
        let ask = pb::InternalAuthenticateRequest { name, simple_token, ..Default::default() };
        self.ask(Fields { authenticate: Some(ask.into()), ..Fields::default() }).unwrap().token
    }

    fn identify(&self, shown: Credential<'_>) -> Result<Identity, Refusal> {
        match self.auth.identify(shown, LogIndex(self.index), Time::ZERO)? {
            Identified::As { who, .. } => Ok(who),
            Identified::NotYet(index) => panic!("{index} is not applied"),
        }
    }

    /// What `user` is told about an entry, with these keys on lease 7.
    fn judge(&self, user: &str, request: &Fields, leased: &[&'static str]) -> Result<(), Refusal> {
        struct Keys(Vec<Bytes>);
        impl LeaseKeys for Keys {
            fn check_each(
                &self,
                lease: LeaseId,
                check: &mut dyn FnMut(&Bytes) -> Result<(), Refusal>,
            ) -> Result<(), Refusal> {
                assert_eq!(lease, LeaseId(7));
                self.0.iter().try_for_each(check)
            }
        }
        let leases = Keys(leased.iter().map(|key| Bytes::from_static(key.as_bytes())).collect());
        let (book, who) = (&*self.auth.book, &self.who(user));
        Gate { book, who, leases: &leases }.check(request)
    }
}

fn enable() -> Fields {
    Fields { auth_enable: Some(pb::AuthEnableRequest {}.into()), ..Fields::default() }
}

fn disable() -> Fields {
    Fields { auth_disable: Some(pb::AuthDisableRequest {}.into()), ..Fields::default() }
}

fn add_user_with(name: &str, hash: &str, no_password: bool) -> Fields {
    let add = pb::AuthUserAddRequest {
        name: name.to_string(),
        hashed_password: hash.to_string(),
        options: Some(UserAddOptions { no_password }),
        ..Default::default()
    };
    Fields { auth_user_add: Some(add.into()), ..Fields::default() }
}

fn add_user(name: &str) -> Fields {
    add_user_with(name, &STANDARD.encode("a hash"), false)
}

fn delete_user(name: &str) -> Fields {
    let delete = pb::AuthUserDeleteRequest { name: name.to_string() };
    Fields { auth_user_delete: Some(delete.into()), ..Fields::default() }
}

fn change_password(name: &str, hash: &str) -> Fields {
    let (name, hashed_password) = (name.to_string(), hash.to_string());
    let change = pb::AuthUserChangePasswordRequest { name, hashed_password, ..Default::default() };
    Fields { auth_user_change_password: Some(change.into()), ..Fields::default() }
}

fn grant_role(user: &str, role: &str) -> Fields {
    let grant = pb::AuthUserGrantRoleRequest { user: user.to_string(), role: role.to_string() };
    Fields { auth_user_grant_role: Some(grant.into()), ..Fields::default() }
}

fn revoke_role(name: &str, role: &str) -> Fields {
    let revoke = pb::AuthUserRevokeRoleRequest { name: name.to_string(), role: role.to_string() };
    Fields { auth_user_revoke_role: Some(revoke.into()), ..Fields::default() }
}

fn add_role(name: &str) -> Fields {
    let add = pb::AuthRoleAddRequest { name: name.to_string() };
    Fields { auth_role_add: Some(add.into()), ..Fields::default() }
}

fn delete_role(role: &str) -> Fields {
    let delete = pb::AuthRoleDeleteRequest { role: role.to_string() };
    Fields { auth_role_delete: Some(delete.into()), ..Fields::default() }
}

fn permit(role: &str, kind: Type, key: &'static str, range_end: &'static str) -> Fields {
    let perm_type = kind.into();
    let perm = Some(Permission { perm_type, key: key.into(), range_end: range_end.into() });
    let grant = pb::AuthRoleGrantPermissionRequest { name: role.to_string(), perm };
    Fields { auth_role_grant_permission: Some(grant.into()), ..Fields::default() }
}

fn forbid(role: &str, key: &'static str, range_end: &'static str) -> Fields {
    let (key, range_end) = (key.into(), range_end.into());
    let revoke = pb::AuthRoleRevokePermissionRequest { role: role.to_string(), key, range_end };
    Fields { auth_role_revoke_permission: Some(revoke.into()), ..Fields::default() }
}

#[test]
fn auth_begins_with_a_root_that_is_root() {
    let mut desk = Desk::new();
    assert_eq!(desk.revision(), 1);
    assert_eq!(desk.refused(enable()), Refusal::RootUserNotExist);
    desk.ask(add_user("root")).unwrap();
    assert_eq!(desk.refused(enable()), Refusal::RootRoleNotExist);
    desk.ask(grant_role("root", "root")).unwrap();
    assert_eq!(desk.revision(), 3);
    desk.ask(enable()).unwrap();
    assert!(desk.ask(enable()).unwrap().writes.is_empty());
    assert!(desk.auth.book.is_enabled() && desk.revision() == 3);
    desk.ask(disable()).unwrap();
    assert!(desk.ask(disable()).unwrap().writes.is_empty());
    assert!(!desk.auth.book.is_enabled() && desk.revision() == 4);
}

#[test]
fn what_would_lock_everybody_out_is_refused_while_it_could() {
    let mut desk = Desk::set_up();
    desk.ask(add_role("root")).unwrap();
    let locks = || [delete_user("root"), delete_role("root"), revoke_role("root", "root")];
    for change in locks() {
        assert_eq!(desk.refused(change), Refusal::InvalidAuthMgmt);
    }
    desk.ask(disable()).unwrap();
    // The role goes from its user with itself, so the user goes last.
    let [user, role, _] = locks();
    desk.ask(role).unwrap();
    desk.ask(user).unwrap();
}

#[test]
fn every_change_has_its_refusals() {
    let mut desk = Desk::set_up();
    for (change, refusal) in [
        (add_user(""), Refusal::UserEmpty),
        (add_user("alice"), Refusal::UserAlreadyExist),
        (add_user_with("bob", "no base64", false), Refusal::NoPasswordUser),
        (delete_user("bob"), Refusal::UserNotFound),
        (change_password("bob", ""), Refusal::UserNotFound),
        (change_password("alice", "no base64"), Refusal::NoPasswordUser),
        (grant_role("bob", "app"), Refusal::UserNotFound),
        (grant_role("alice", "none"), Refusal::RoleNotFound),
        (revoke_role("bob", "app"), Refusal::UserNotFound),
        (revoke_role("alice", "root"), Refusal::RoleNotGranted),
        (add_role(""), Refusal::RoleEmpty),
        (add_role("app"), Refusal::RoleAlreadyExist),
        (delete_role("none"), Refusal::RoleNotFound),
        (permit("none", Type::Read, "k", ""), Refusal::RoleNotFound),
        (permit("app", Type::Read, "", ""), Refusal::InvalidAuthMgmt),
        (permit("app", Type::Read, "b", "a"), Refusal::InvalidAuthMgmt),
        (permit("app", Type::Read, "b", "b"), Refusal::InvalidAuthMgmt),
        (forbid("none", "k", ""), Refusal::RoleNotFound),
        (forbid("app", "shared", "t"), Refusal::PermissionNotGranted),
    ] {
        assert_eq!(desk.refused(change.clone()), refusal, "{change:?}");
    }
    let grant = pb::AuthRoleGrantPermissionRequest { name: "app".to_string(), perm: None };
    let nothing = Fields { auth_role_grant_permission: Some(grant.into()), ..Fields::default() };
    assert_eq!(desk.refused(nothing), Refusal::PermissionNotGiven);
}

#[test]
fn a_permission_given_again_replaces_its_kind() {
    let mut desk = Desk::set_up();
    desk.ask(permit("app", Type::Read, "a", "c")).unwrap();
    desk.ask(permit("app", Type::Write, "a", "c")).unwrap();
    let held = desk.auth.book.permissions_of("app").unwrap();
    let held: Vec<_> = held.iter().map(|one| (&one.key[..], &one.range_end[..])).collect();
    assert_eq!(held, [(&b"a"[..], &b"b"[..]), (b"a", b"c"), (b"in", b""), (b"shared", b"")]);
    assert_eq!(desk.revision(), Desk::set_up().revision() + 2);
    // A role that is held already changes nothing.
    assert!(desk.ask(grant_role("alice", "app")).unwrap().writes.is_empty());
}

/// Random changes, and what must hold after each.
#[test]
fn the_book_is_its_rows_and_moves_by_one() {
    for seed in 0..40 {
        let mut desk = Desk::new();
        desk.ask(add_user("root")).unwrap();
        desk.ask(grant_role("root", "root")).unwrap();
        for n in 0..150 {
            let pick = |place: u64, of: u64| draw(seed, 7, place, n) % of;
            let user = ["root", "alice", "bob"][pick(1, 3) as usize];
            let role = ["root", "app", "ops"][pick(2, 3) as usize];
            let (key, end) = [("a", ""), ("a", "c"), ("b", "\0"), ("c", "d")][pick(3, 4) as usize];
            let kind = [Type::Read, Type::Write, Type::Readwrite][pick(4, 3) as usize];
            let change = match pick(5, 12) {
                0 => enable(),
                1 => disable(),
                2 => add_user(user),
                3 => delete_user(user),
                4 => change_password(user, &STANDARD.encode([n as u8])),
                5 | 6 => grant_role(user, role),
                7 => revoke_role(user, role),
                8 => add_role(role),
                9 => delete_role(role),
                10 => forbid(role, key, end),
                _ => permit(role, kind, key, end),
            };
            let before = desk.auth.clone();
            let enables = change.auth_enable.is_some();
            match desk.ask(change) {
                Ok(done) if done.writes.is_empty() => assert_eq!(desk.auth, before),
                Ok(_) => {
                    let step = u64::from(!enables);
                    assert_eq!(desk.revision(), before.book.revision() + step);
                }
                Err(_) => assert_eq!(desk.auth, before),
            }
            assert_eq!(Book::load(&desk.rows).unwrap(), *desk.auth.book, "seed {seed}, step {n}");
        }
    }
}

#[test]
fn credentials_are_somebody_while_auth_is_on() {
    let mut desk = Desk::set_up();
    let token = desk.log_in("alice");
    let now = desk.who("alice");
    assert_eq!(desk.identify(Credential::Token(&token)), Ok(now.clone()));
    assert_eq!(desk.identify(Credential::CommonName("alice")), Ok(now.clone()));
    assert_eq!(desk.identify(Credential::Nothing), Ok(Identity::default()));
    let old = Identity { user: "alice".into(), revision: 2 };
    assert_eq!(desk.identify(Credential::Claims(&old)), Ok(old));
    for nonsense in ["", "abc", "abc.x", "abc.1.2", "xyz.10"] {
        let said = desk.identify(Credential::Token(nonsense));
        assert_eq!(said, Err(Refusal::InvalidAuthToken), "{nonsense}");
    }
    let early = desk.auth.identify(Credential::Token("abc.99"), LogIndex(50), Time::ZERO);
    assert_eq!(early, Ok(Identified::NotYet(LogIndex(99))));
    // A token counts as of the revision of now.
    desk.ask(add_user("bob")).unwrap();
    assert_eq!(desk.identify(Credential::Token(&token)).unwrap().revision, now.revision + 1);
    desk.ask(disable()).unwrap();
    assert_eq!(desk.identify(Credential::Token("nonsense")), Ok(Identity::default()));
    assert_eq!(desk.identify(Credential::CommonName("alice")), Ok(Identity::default()));
    desk.ask(enable()).unwrap();
    assert_eq!(desk.identify(Credential::Token(&token)), Err(Refusal::InvalidAuthToken));
}

#[test]
fn tokens_end_with_their_users_password() {
    let mut desk = Desk::set_up();
    let (alice, root) = (desk.log_in("alice"), desk.log_in("root"));
    desk.ask(change_password("alice", &STANDARD.encode("new"))).unwrap();
    assert_eq!(desk.identify(Credential::Token(&alice)), Err(Refusal::InvalidAuthToken));
    let again = desk.log_in("alice");
    desk.ask(delete_user("alice")).unwrap();
    assert_eq!(desk.identify(Credential::Token(&again)), Err(Refusal::InvalidAuthToken));
    assert_eq!(*desk.identify(Credential::Token(&root)).unwrap().user, *"root");
}

#[test]
fn passwords_are_asked_for_where_there_is_one() {
    let mut desk = Desk::set_up();
    desk.ask(add_user_with("cert", "", true)).unwrap();
    let book = &desk.auth.book;
    assert_eq!(book.password_hash("alice"), Ok(Bytes::from_static(b"a hash")));
    assert_eq!(book.password_hash("nobody"), Err(Refusal::AuthFailed));
    assert_eq!(book.password_hash("cert"), Err(Refusal::NoPasswordUser));
    // A password does not make one of a user without.
    desk.ask(change_password("cert", &STANDARD.encode("new"))).unwrap();
    assert_eq!(desk.auth.book.password_hash("cert"), Err(Refusal::NoPasswordUser));
    desk.ask(disable()).unwrap();
    assert_eq!(desk.auth.book.password_hash("alice"), Err(Refusal::AuthNotEnabled));
}

fn put(key: &'static str, lease: i64, prev_kv: bool) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), lease, prev_kv, ..Default::default() }
}

fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn txn(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> Fields {
    let txn = pb::TxnRequest { compare: Vec::new(), success, failure };
    Fields { txn: Some(txn.into()), ..Fields::default() }
}

#[test]
fn keys_are_judged_by_what_is_done_to_them() {
    let desk = Desk::set_up();
    let judge = |put: pb::PutRequest, leased: &[&'static str]| {
        let request = Fields { put: Some(put), ..Fields::default() };
        desk.judge("alice", &request, leased)
    };
    let denied = Err(Refusal::PermissionDenied);
    assert_eq!(judge(put("a", 0, true), &[]), Ok(()));
    assert_eq!(judge(put("b", 0, false), &[]), denied);
    assert_eq!(judge(put("shared", 0, false), &[]), denied);
    assert_eq!(judge(put("in", 0, false), &[]), Ok(()));
    assert_eq!(judge(put("in", 0, true), &[]), denied);
    assert_eq!(judge(put("a", 7, false), &["ab", "in"]), Ok(()));
    assert_eq!(judge(put("a", 7, false), &["ab", "other"]), denied);
    let delete = |key: &'static str, range_end: &'static str, prev_kv| {
        let delete =
            pb::DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv };
        let request = Fields { delete_range: Some(delete.into()), ..Fields::default() };
        desk.judge("alice", &request, &[])
    };
    assert_eq!(delete("a", "b", true), Ok(()));
    assert_eq!(delete("a", "c", false), denied);
    assert_eq!(delete("a", "\0", false), denied);
    assert_eq!(delete("in", "", false), Ok(()));
    assert_eq!(delete("in", "", true), denied);
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    let revoke = Fields { lease_revoke: Some(revoke.into()), ..Fields::default() };
    assert_eq!(desk.judge("alice", &revoke, &["a"]), Ok(()));
    assert_eq!(desk.judge("alice", &revoke, &["a", "shared"]), denied);
    assert_eq!(desk.judge("root", &revoke, &["a", "shared"]), Ok(()));
    assert_eq!(desk.judge("nobody", &revoke, &[]), Ok(()));
    assert_eq!(desk.judge("nobody", &revoke, &["a"]), denied);
}

#[test]
fn a_transaction_is_judged_with_both_branches_and_all_that_is_nested() {
    use pb::request_op::Request::{RequestDeleteRange, RequestPut, RequestRange, RequestTxn};
    let desk = Desk::set_up();
    let good = || op(RequestPut(put("a", 0, false)));
    let read = pb::RangeRequest { key: "other".into(), ..Default::default() };
    let delete = pb::DeleteRangeRequest { key: "in".into(), prev_kv: true, ..Default::default() };
    let inner =
        pb::TxnRequest { failure: vec![op(RequestPut(put("b", 0, false)))], ..<_>::default() };
    let compare = pb::Compare { key: "other".into(), ..Default::default() };
    let compared = pb::TxnRequest { compare: vec![compare], ..Default::default() };
    let bads = [
        RequestRange(read),
        RequestPut(put("in", 0, true)),
        RequestDeleteRange(delete),
        RequestTxn(inner),
        RequestTxn(compared),
    ];
    assert_eq!(desk.judge("alice", &txn(vec![good()], vec![good()]), &[]), Ok(()));
    for bad in bads {
        let deep = pb::TxnRequest { success: vec![op(bad.clone())], ..Default::default() };
        for request in [
            txn(vec![good(), op(bad.clone())], vec![]),
            txn(vec![good()], vec![op(bad.clone())]),
            txn(vec![op(RequestTxn(deep))], vec![]),
        ] {
            let denied = Err(Refusal::PermissionDenied);
            assert_eq!(desk.judge("alice", &request, &[]), denied, "{request:?}");
            assert_eq!(desk.judge("root", &request, &[]), Ok(()));
        }
    }
}

#[test]
fn only_root_changes_users_and_only_of_today() {
    let mut desk = Desk::set_up();
    assert_eq!(desk.judge("root", &add_role("x"), &[]), Ok(()));
    assert_eq!(desk.judge("alice", &add_role("x"), &[]), Err(Refusal::PermissionDenied));
    assert_eq!(desk.judge("nobody", &add_role("x"), &[]), Err(Refusal::UserNotFound));
    assert_eq!(desk.judge("", &add_role("x"), &[]), Err(Refusal::UserEmpty));
    let book = |desk: &Desk| desk.auth.book.clone();
    let (old, keys) = (desk.who("root"), (&Bytes::from("a"), &Bytes::new()));
    desk.ask(add_user("bob")).unwrap();
    for (who, user, role) in [
        ("root", Ok(()), Ok(())),
        ("alice", Ok(()), Ok(())),
        ("bob", Err(Refusal::PermissionDenied), Err(Refusal::PermissionDenied)),
        ("nobody", Err(Refusal::UserNotFound), Err(Refusal::UserNotFound)),
        ("", Err(Refusal::UserEmpty), Err(Refusal::UserEmpty)),
    ] {
        assert_eq!(book(&desk).check_user_seen(&desk.who(who), "alice"), user, "{who}");
        assert_eq!(book(&desk).check_role_seen(&desk.who(who), "app"), role, "{who}");
    }
    // Root's changes count whenever root was identified; its reads and writes do not.
    assert_eq!(book(&desk).check_root(&old), Ok(()));
    assert_eq!(check_watch(&book(&desk), &old, keys), Err(Refusal::AuthOldRevision));
    let nobody = Identity::default();
    assert_eq!(check_watch(&book(&desk), &nobody, keys), Err(Refusal::UserEmpty));
    assert_eq!(check_watch(&book(&desk), &desk.who("bob"), keys), Err(Refusal::PermissionDenied));
    assert_eq!(check_watch(&book(&desk), &desk.who("alice"), keys), Ok(()));
    // A member that is behind may not be asked by those who know more of rights than it does.
    let range = pb::RangeRequest { key: "a".into(), ..Default::default() };
    let ahead = Identity { revision: desk.revision() + 1, ..desk.who("alice") };
    assert_eq!(check_range(&book(&desk), &ahead, &range), Err(Refusal::AuthOldRevision));
    assert_eq!(check_range(&book(&desk), &desk.who("alice"), &range), Ok(()));
    desk.ask(disable()).unwrap();
    assert_eq!(check_range(&book(&desk), &ahead, &range), Ok(()));
    assert_eq!(check_watch(&book(&desk), &nobody, keys), Ok(()));
    assert_eq!(book(&desk).check_root(&nobody), Ok(()));
}
