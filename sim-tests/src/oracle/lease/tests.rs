//! One lease told event by event: renewed and let go of in time, then wrong in every way.

use bytes::Bytes;
use quorate_core::ids::RequestId;
use quorate_io_sim::world::observe::ClientId;

use super::*;

const LEADER: MemberId = MemberId(1);
const OTHER: MemberId = MemberId(2);
const CLIENT: ClientId = ClientId(0);
const LEASE: i64 = 7;

/// A run of a cluster with a lease of 10 s, in milliseconds.
struct Run {
    oracle: Lease,
    entries: u64,
    calls: u64,
    said: Option<String>,
}

impl Run {
    /// The leader leads in term 2 and grants the lease at 1 s.
    fn new(drift_ppm: u64) -> Self {
        let pace = Pace { drift_ppm, ..Pace::default() };
        let mut run = Self { oracle: Lease::new(pace), entries: 0, calls: 0, said: None };
        run.lead(0, LEADER, 2);
        run.see(900, &Seen::Applied { member: LEADER, index: LogIndex(1), digest: 0 });
        let grant = pb::LeaseGrantRequest { ttl: 10, id: LEASE };
        let call = run.call(1_000, Request::LeaseGrant(grant));
        run.commit(1_010, RequestId(100), Some(call), |entry| {
            entry.lease_grant = Some(grant.into())
        });
        let answer = pb::LeaseGrantResponse { id: LEASE, ttl: 10, ..Default::default() };
        run.answer(1_020, call, Outcome::Response(Response::LeaseGrant(answer)));
        run
    }

    fn see(&mut self, ms: u64, seen: &Seen) {
        let at = Time(ms * MILLION);
        if let Err(violation) = self.oracle.observe(at, seen) {
            self.said.get_or_insert(violation.what);
        }
    }

    /// A member leads, and its term has an entry.
    fn lead(&mut self, ms: u64, member: MemberId, term: u64) {
        let role = Role { term: Term(term), leader: Some(member), is_leader: true };
        self.see(ms, &Seen::Role { member, role });
        self.entries += 1;
        let (term, index) = (Term(term), LogIndex(self.entries));
        let entries = vec![Entry { term, index, ..Entry::default() }];
        self.see(ms, &Seen::Committed { member, entries });
    }

    fn call(&mut self, ms: u64, request: Request) -> CallId {
        self.call_at(ms, LEADER, request)
    }

    fn call_at(&mut self, ms: u64, member: MemberId, request: Request) -> CallId {
        self.calls += 1;
        let (call, operation) = (CallId(self.calls), Operation::Request(request));
        self.see(ms, &Seen::Called { client: CLIENT, call, member, operation });
        call
    }

    fn answer(&mut self, ms: u64, call: CallId, outcome: Outcome) {
        self.see(ms, &Seen::Returned { client: CLIENT, call, outcome });
    }

    fn renew(&mut self, called: u64, returned: u64) {
        self.renew_at(called, returned, LEADER);
    }

    fn renew_at(&mut self, called: u64, returned: u64, member: MemberId) {
        let request = Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: LEASE });
        let call = self.call_at(called, member, request);
        let answer = pb::LeaseKeepAliveResponse { header: None, id: LEASE, ttl: 10 };
        self.answer(returned, call, Outcome::Response(Response::LeaseKeepAlive(answer)));
    }

    fn look(&mut self, ms: u64, ttl: i64) {
        let ask = pb::LeaseTimeToLiveRequest { id: LEASE, keys: false };
        let call = self.call(ms, Request::LeaseTimeToLive(ask));
        let (id, granted_ttl) = (LEASE, 10);
        let answer = pb::LeaseTimeToLiveResponse { id, ttl, granted_ttl, ..Default::default() };
        self.answer(ms + 1, call, Outcome::Response(Response::LeaseTimeToLive(answer)));
    }

    /// The leader proposes something, and it is committed in `term`.
    fn commit(
        &mut self,
        ms: u64,
        id: RequestId,
        call: Option<CallId>,
        fill: impl FnOnce(&mut pb::InternalRaftRequest),
    ) {
        self.commit_in(2, ms, (id, call), fill);
    }

    fn commit_in(
        &mut self,
        term: u64,
        ms: u64,
        (id, call): (RequestId, Option<CallId>),
        fill: impl FnOnce(&mut pb::InternalRaftRequest),
    ) {
        let header = Some(pb::RequestHeader { id: id.0, ..Default::default() });
        let mut request = pb::InternalRaftRequest { header, ..Default::default() };
        fill(&mut request);
        let data = Bytes::from(request.encode_to_vec());
        let (member, term) = (LEADER, Term(term));
        self.see(ms, &Seen::Proposed { member, id, term, call, data: data.clone() });
        self.entries += 1;
        let (index, kind) = (LogIndex(self.entries), EntryKind::Normal);
        let entries = vec![Entry { term, index, kind, data }];
        self.see(ms + 5, &Seen::Committed { member: LEADER, entries });
    }

    fn expire(&mut self, ms: u64) {
        let revoke = pb::LeaseRevokeRequest { id: LEASE };
        self.commit(ms, RequestId(200), None, |entry| entry.lease_revoke = Some(revoke.into()));
    }

    fn finish(mut self, ms: u64) -> String {
        self.see(ms, &Seen::Finished { quorum: vec![LEADER] });
        self.said.unwrap_or_else(|| "fine".to_owned())
    }
}

#[test]
fn a_lease_that_ends_in_time_is_accepted() {
    let mut run = Run::new(0);
    run.look(2_000, 9);
    run.renew(5_000, 5_100);
    run.look(6_000, 9);
    run.look(14_000, 1);
    run.expire(15_100);
    assert_eq!(run.finish(40_000), "fine");
}

#[test]
fn an_early_death_is_found_in_either_order() {
    let mut run = Run::new(0);
    run.renew(5_000, 5_100);
    run.expire(14_999);
    let expected = "lease 7 of 10 s ended 9999 ms after its last renewal's call";
    assert_eq!(run.finish(40_000), expected);

    let mut run = Run::new(0);
    let ask = pb::LeaseKeepAliveRequest { id: LEASE };
    let call = run.call(10_000, Request::LeaseKeepAlive(ask));
    run.expire(11_100);
    let answer = pb::LeaseKeepAliveResponse { header: None, id: LEASE, ttl: 10 };
    run.answer(11_200, call, Outcome::Response(Response::LeaseKeepAlive(answer)));
    let expected = "lease 7 of 10 s ended 1100 ms after its last renewal's call";
    assert_eq!(run.finish(40_000), expected);
}

#[test]
fn clocks_may_be_as_fast_as_they_drift() {
    let early = |drift_ppm| {
        let mut run = Run::new(drift_ppm);
        run.renew(5_000, 5_100);
        run.expire(14_600);
        run.finish(40_000)
    };
    assert_eq!(early(50_000), "fine");
    let expected = "lease 7 of 10 s ended 9600 ms after its last renewal's call";
    assert_eq!(early(500), expected);
}

#[test]
fn a_promise_of_a_clock_that_stood_still_does_not_count() {
    let mut run = Run::new(0);
    run.see(5_000, &Seen::Paused { member: LEADER, is_frozen: true });
    run.see(9_000, &Seen::Resumed { member: LEADER });
    run.renew(9_100, 9_200);
    run.expire(15_000);
    assert_eq!(run.finish(40_000), "fine");
}

#[test]
fn immortality_is_found_at_the_end_and_before() {
    let run = Run::new(0);
    assert_eq!(run.finish(13_000), "fine");
    let run = Run::new(0);
    let expected = "lease 7 of 10 s lives 28985 ms after all renewals";
    assert_eq!(run.finish(30_000), expected);

    let mut run = Run::new(0);
    run.commit(30_000, RequestId(300), None, |_| ());
    let expected = "lease 7 of 10 s lives 28985 ms after all renewals";
    assert_eq!(run.finish(30_000), expected);
}

#[test]
fn an_expiry_of_a_member_that_does_not_lead_is_found() {
    let mut run = Run::new(0);
    run.lead(12_000, OTHER, 3);
    let revoke = pb::LeaseRevokeRequest { id: LEASE };
    let fill = |entry: &mut pb::InternalRaftRequest| entry.lease_revoke = Some(revoke.into());
    run.commit_in(3, 12_500, (RequestId(200), None), fill);
    let expected = "lease 7 expired in term 3 by a member that led in term 2";
    assert_eq!(run.finish(40_000), expected);
}

#[test]
fn times_to_live_are_plausible() {
    let said = |ms, ttl| {
        let mut run = Run::new(0);
        run.look(ms, ttl);
        run.expire(11_100);
        run.finish(40_000)
    };
    assert_eq!(said(2_000, 12), "lease 7 of 10 s has 12 s left");
    assert_eq!(said(2_000, 7), "lease 7 has 7 s left, renewed for 8999 ms");
    assert_eq!(said(9_000, 9), "lease 7 has 9 s left, 3015 ms after all renewals");
    assert_eq!(said(9_000, 1), "fine");
}

/// A member's question to the leader may arrive once more after its answer; a client's may not.
#[test]
fn a_question_passed_on_may_renew_once_more() {
    let said = |member, looked| {
        let mut run = Run::new(0);
        run.renew_at(2_000, 2_010, member);
        run.look(looked, 9);
        run.expire(looked + 10_000);
        run.finish(60_000)
    };
    assert_eq!(said(OTHER, 6_000), "fine");
    assert_eq!(said(LEADER, 6_000), "lease 7 has 9 s left, 7010 ms after all renewals");
    assert_eq!(said(OTHER, 18_000), "lease 7 has 9 s left, 7010 ms after all renewals");
}

/// Then a lease of that id still lives, whoever is told that it is granted again.
#[test]
fn an_end_that_rights_forbid_is_none() {
    let mut run = Run::new(0);
    let options = Some(quorate_proto::authpb::UserAddOptions { no_password: true });
    let root = pb::AuthUserAddRequest { name: "root".into(), options, ..Default::default() };
    let role = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    let put = pb::PutRequest { key: Bytes::from_static(b"k"), lease: LEASE, ..Default::default() };
    run.commit(1_050, RequestId(106), None, |it| it.put = Some(put));
    run.commit(1_100, RequestId(101), None, |it| it.auth_user_add = Some(root.into()));
    run.commit(1_200, RequestId(102), None, |it| it.auth_user_grant_role = Some(role.into()));
    let enable = Some(pb::AuthEnableRequest {}.into());
    run.commit(1_300, RequestId(103), None, |it| it.auth_enable = enable);
    let revoke = pb::LeaseRevokeRequest { id: LEASE };
    run.commit(2_000, RequestId(104), None, |it| it.lease_revoke = Some(revoke.into()));
    let again = pb::LeaseGrantRequest { ttl: 5, id: LEASE };
    run.commit(2_100, RequestId(105), None, |it| it.lease_grant = Some(again.into()));
    run.renew(3_000, 3_010);
    assert_eq!(run.finish(5_000), "fine");
}
