//! One user told event by event: rights that come and go, then answers that are wrong.

use bytes::Bytes;
use quorate_core::Response;
use quorate_core::auth::Identity;
use quorate_core::ids::{LogIndex, RequestId, Term};
use quorate_core::storage::SnapshotMark;
use quorate_io_sim::world::observe::ClientId;
use quorate_proto::authpb::{Permission, permission::Type};
use quorate_proto::etcdserverpb as pb;

use super::*;

const MEMBER: MemberId = MemberId(1);
const CLIENT: ClientId = ClientId(0);

/// A cluster with root, and u1, who may read and write `[a, b)` from the start.
struct Run {
    oracle: Rights,
    index: u64,
    calls: u64,
    said: Option<String>,
}

impl Run {
    fn new() -> Self {
        let mut run = Self { oracle: Rights::default(), index: 0, calls: 0, said: None };
        let add = |name: &str| pb::AuthUserAddRequest { name: name.into(), ..<_>::default() };
        let grant = |user: &str, role: &str| pb::AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        };
        run.order(|it| it.auth_user_add = Some(add("root").into()));
        run.order(|it| it.auth_user_grant_role = Some(grant("root", "root").into()));
        run.order(|it| it.auth_user_add = Some(add("u1").into()));
        let role = pb::AuthRoleAddRequest { name: "r1".into() };
        run.order(|it| it.auth_role_add = Some(role.into()));
        run.permit("a", "b", Type::Readwrite);
        run.order(|it| it.auth_user_grant_role = Some(grant("u1", "r1").into()));
        run.order(|it| it.auth_enable = Some(pb::AuthEnableRequest {}.into()));
        run
    }

    fn see(&mut self, seen: &Seen) {
        if let Err(violation) = self.oracle.observe(Time(0), seen) {
            self.said.get_or_insert(violation.what);
        }
    }

    fn revision(&self) -> u64 {
        self.oracle.judged.auth().revision
    }

    fn order(&mut self, fill: impl FnOnce(&mut InternalRaftRequest)) {
        self.commit(&self.who("root"), None, fill);
    }

    fn permit(&mut self, key: &'static str, end: &'static str, kind: Type) {
        let (key, range_end) = (key.into(), end.into());
        let perm = Some(Permission { perm_type: kind.into(), key, range_end });
        let grant = pb::AuthRoleGrantPermissionRequest { name: "r1".into(), perm };
        self.order(|it| it.auth_role_grant_permission = Some(grant.into()));
    }

    /// Somebody as of now.
    fn who(&self, user: &str) -> Identity {
        Identity { user: user.into(), revision: self.revision() }
    }

    fn commit(
        &mut self,
        who: &Identity,
        call: Option<CallId>,
        fill: impl FnOnce(&mut InternalRaftRequest),
    ) {
        self.index += 1;
        let id = RequestId(self.index);
        let (username, auth_revision) = (who.user.to_string(), who.revision);
        let header = Some(pb::RequestHeader { id: id.0, username, auth_revision });
        let mut request = InternalRaftRequest { header, ..<_>::default() };
        fill(&mut request);
        let data = Bytes::from(request.encode_to_vec());
        let (member, term) = (MEMBER, Term(1));
        self.see(&Seen::Proposed { member, id, term, call, data: data.clone() });
        let (index, kind) = (LogIndex(self.index), EntryKind::Normal);
        let entries = vec![Entry { term, index, kind, data }];
        self.see(&Seen::Committed { member: MEMBER, entries });
    }

    /// A call of u1's, looked at as of `index`.
    fn call(&mut self, operation: Operation, index: u64) -> CallId {
        let shown = Shown::CommonName("u1".into());
        let who = Identity { user: "u1".into(), revision: self.oracle.at(index).revision };
        self.call_as(operation, (shown, index), Ok(who))
    }

    fn call_as(
        &mut self,
        operation: Operation,
        (shown, index): (Shown, u64),
        who: Result<Identity, Refusal>,
    ) -> CallId {
        self.calls += 1;
        let (call, member, index) = (CallId(self.calls), MEMBER, LogIndex(index));
        self.see(&Seen::Called { client: CLIENT, call, member, operation });
        self.see(&Seen::Identified { member, call, index, shown, who });
        call
    }

    fn end(mut self, call: CallId, outcome: Outcome) -> String {
        self.see(&Seen::Returned { client: CLIENT, call, outcome });
        self.said.unwrap_or_else(|| "fine".to_owned())
    }
}

fn range(key: &'static str) -> Operation {
    Operation::Range(pb::RangeRequest { key: key.into(), ..<_>::default() })
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), ..<_>::default() }
}

fn found() -> Outcome {
    Outcome::Range(pb::RangeResponse::default())
}

fn denied() -> Outcome {
    Outcome::Refused(Refusal::PermissionDenied)
}

#[test]
fn reads_are_as_their_rights_are() {
    for (key, outcome, is_fine) in [
        ("a1", found(), true),
        ("c1", denied(), true),
        ("c1", Outcome::Unknown, true),
        ("c1", found(), false),
        ("a1", denied(), false),
        ("c1", Outcome::Refused(Refusal::AuthOldRevision), false),
    ] {
        let mut run = Run::new();
        let call = run.call(range(key), run.index);
        let said = run.end(call, outcome.clone());
        assert_eq!(said == "fine", is_fine, "{key} {outcome:?}: {said}");
    }
}

#[test]
fn a_read_is_judged_as_of_what_it_is_read_from() {
    for (outcome, is_fine) in [(found(), false), (denied(), true)] {
        let mut run = Run::new();
        let before = run.index;
        run.permit("c", "d", Type::Read);
        let call = run.call(range("c1"), before);
        assert_eq!(run.end(call, outcome) == "fine", is_fine);
    }
}

#[test]
fn writes_are_as_the_rights_of_their_entry_are() {
    let answered = || Outcome::Response(Response::Put(pb::PutResponse::default()));
    for (key, outcome, is_fine) in [
        ("a1", answered(), true),
        ("c1", denied(), true),
        ("c1", answered(), false),
        ("a1", denied(), false),
    ] {
        let mut run = Run::new();
        let who = run.who("u1");
        let call = run.call(Operation::Request(Request::Put(put(key))), run.index);
        run.commit(&who, Some(call), |it| it.put = Some(put(key)));
        let said = run.end(call, outcome.clone());
        assert_eq!(said == "fine", is_fine, "{key} {outcome:?}: {said}");
    }
    // The rights moved on before the entry came.
    for (outcome, is_fine) in
        [(Outcome::Refused(Refusal::AuthOldRevision), true), (answered(), false)]
    {
        let mut run = Run::new();
        let who = run.who("u1");
        let call = run.call(Operation::Request(Request::Put(put("a1"))), run.index);
        run.permit("c", "d", Type::Read);
        run.commit(&who, Some(call), |it| it.put = Some(put("a1")));
        assert_eq!(run.end(call, outcome) == "fine", is_fine);
    }
}

#[test]
fn a_refusal_at_the_door_has_a_reason() {
    let compact = Request::Compact(pb::CompactionRequest { revision: 1, physical: false });
    let mut run = Run::new();
    let call = run.call(Operation::Request(compact.clone()), run.index);
    assert_eq!(run.end(call, denied()), "fine");
    let mut run = Run::new();
    let root = (Shown::CommonName("root".into()), run.index);
    let call = run.call_as(Operation::Request(compact), root, Ok(run.who("root")));
    assert!(run.end(call, denied()).contains("PermissionDenied"));
}

/// A run in which u1 has the token `t.9`.
fn with_token() -> Run {
    let mut run = Run::new();
    run.index = 8;
    let (name, simple_token) = ("u1".to_owned(), "t".to_owned());
    let ask = pb::InternalAuthenticateRequest { name, simple_token, ..<_>::default() };
    run.commit(&Identity::default(), None, |it| it.authenticate = Some(ask.into()));
    run
}

#[test]
fn a_token_is_its_users_as_long_as_it_is_good() {
    let shown = || Shown::Token("t.9".into());
    let invalid = Err(Refusal::InvalidAuthToken);
    let said = |mut run: Run, index: u64, who| {
        let call = run.call_as(range("a1"), (shown(), index), who);
        run.end(call, Outcome::Unknown)
    };
    let u1 = |run: &Run| Ok(run.who("u1"));
    let run = with_token();
    assert_eq!(said(run, 9, Ok(Run::new().who("u1"))), "fine");
    let run = with_token();
    let root = Ok(run.who("root"));
    assert!(said(run, 9, root).contains("should be"), "another user's");
    assert!(said(with_token(), 9, invalid.clone()).contains("should be"), "refused while good");
    assert_eq!(said(with_token(), 8, invalid.clone()), "fine");
    // A member that starts knows no tokens of before.
    let mut run = with_token();
    let stored = SnapshotMark { index: LogIndex(9), ..<_>::default() };
    let log = Default::default();
    run.see(&Seen::Started { member: MEMBER, boot: 1, log, stored });
    assert_eq!(said(run, 9, invalid.clone()), "fine");
    // Another password ends it.
    let changed = || {
        let mut run = with_token();
        let change = pb::AuthUserChangePasswordRequest { name: "u1".into(), ..<_>::default() };
        run.order(|it| it.auth_user_change_password = Some(change.into()));
        run
    };
    assert_eq!(said(changed(), 10, invalid), "fine");
    let run = changed();
    let who = u1(&run);
    assert!(said(run, 10, who).contains("should be"), "shown after its end");
}

#[test]
fn nobody_is_asked_while_auth_is_off() {
    let mut run = Run::new();
    run.order(|it| it.auth_disable = Some(pb::AuthDisableRequest {}.into()));
    let shown = (Shown::CommonName("u1".into()), run.index);
    let call = run.call_as(range("c1"), shown, Ok(Identity::default()));
    assert_eq!(run.end(call, found()), "fine");
    let mut run = Run::new();
    let call = run.call_as(range("a1"), (Shown::Nothing, run.index), Ok(Identity::default()));
    assert!(run.end(call, found()).starts_with("call 1: Who"), "nobody reads while it is on");
}
