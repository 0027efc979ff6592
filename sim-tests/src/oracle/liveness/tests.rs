//! Healing, in time and not.

use quorate_core::ids::{LogIndex, Term};
use quorate_core::{Request, Response};
use quorate_io_sim::world::observe::Operation;
use quorate_proto::etcdserverpb as pb;

use super::*;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);

fn follows(member: MemberId, leader: Option<MemberId>) -> Seen {
    let role = Role { term: Term(2), leader, is_leader: leader == Some(member) };
    Seen::Role { member, role }
}

fn healed() -> Seen {
    Seen::Healed { quorum: vec![A, B] }
}

fn finished() -> Seen {
    Seen::Finished { quorum: vec![A, B] }
}

fn called(call: u64) -> Seen {
    let operation = Operation::Request(Request::Put(pb::PutRequest::default()));
    Seen::Called { client: ClientId(4), call: CallId(call), member: A, operation }
}

fn returned(call: u64, outcome: Outcome) -> Seen {
    Seen::Returned { client: ClientId(4), call: CallId(call), outcome }
}

const fn applied(member: MemberId, index: u64, digest: u64) -> Seen {
    Seen::Applied { member, index: LogIndex(index), digest }
}

/// What the oracle says of events at their seconds.
fn said(all: Vec<(u64, Seen)>) -> String {
    let mut oracle = Liveness::new(Pace::default());
    for (at, seen) in all {
        let at = Time::ZERO + Duration::from_secs(at);
        if let Err(violation) = oracle.observe(at, &seen) {
            assert_eq!(violation.verdict, Verdict::Liveness);
            return violation.what;
        }
    }
    "fine".to_owned()
}

#[test]
fn a_cluster_that_works_again_is_accepted() {
    let put = Outcome::Response(Response::Put(pb::PutResponse::default()));
    assert_eq!(
        said(vec![
            (0, follows(A, None)),
            (1, healed()),
            (5, follows(A, Some(B))),
            (6, follows(B, Some(B))),
            (12, called(1)),
            (13, returned(1, Outcome::Unknown)),
            (14, called(2)),
            (15, returned(2, put)),
            (16, applied(A, 7, 1)),
            (16, applied(B, 7, 1)),
            (20, finished()),
        ]),
        "fine"
    );
}

#[test]
fn no_common_leader_in_time_is_found() {
    assert_eq!(
        said(
            vec![(0, follows(A, Some(B))), (1, healed()), (5, follows(B, None)), (12, called(1)),]
        ),
        "no leader 10 election timeouts after healing: 1 follows 2 in term 2, 2 has none in term 2"
    );
}

#[test]
fn an_unserved_client_is_found() {
    let waiting = |calls, for_each: u64, second| {
        let mut seen = vec![(0, follows(A, Some(B))), (0, follows(B, Some(B))), (1, healed())];
        for call in 1..=calls {
            seen.push((12, called(call)));
            seen.push((12 + for_each, returned(call, Outcome::Unknown)));
        }
        seen.push((second, finished()));
        said(seen)
    };
    let after = |calls, second| waiting(calls, 2, second);
    let ends_at = |second| after(3, second);
    assert_eq!(waiting(3, 1, 25), "fine", "one link was slow for as long (seed 10137)");
    assert_eq!(after(2, 25), "fine", "two calls may be given up by chance");
    assert_eq!(ends_at(25), "client 4 was never served after healing");
    assert_eq!(ends_at(20), "fine", "its next call may have gone to a member that is lost");
}

/// A member that joins after the healing is not of the quorum.
#[test]
fn a_client_that_a_newcomer_serves_is_served() {
    let mut seen = vec![(0, follows(A, Some(B))), (0, follows(B, Some(B))), (1, healed())];
    for call in 1..=4 {
        seen.extend([(12, called(call)), (14, returned(call, Outcome::Unknown))]);
    }
    let Seen::Called { client, operation, .. } = called(5) else { unreachable!() };
    let member = MemberId(9);
    seen.push((15, Seen::Called { client, call: CallId(5), member, operation }));
    let answer = Outcome::Response(Response::Put(pb::PutResponse::default()));
    seen.extend([(16, returned(5, answer)), (30, finished())]);
    assert_eq!(said(seen), "fine");
}

#[test]
fn members_that_differ_at_the_end_are_found() {
    assert_eq!(
        said(vec![(1, applied(A, 7, 1)), (1, applied(B, 6, 2)), (2, finished())]),
        "members differ at the end: 1 at 7 with 0000000000000001, 2 at 6 with 0000000000000002"
    );
}
