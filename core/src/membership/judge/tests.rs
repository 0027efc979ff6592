use alloc::vec::Vec;

use super::*;

/// Voters 1..=`voters`, of which the first `started` have a name; learner 9 if `has_learner`.
fn group(voters: u64, started: u64, has_learner: bool) -> Members {
    let mut members = Members::default();
    let learner = has_learner.then_some(9);
    for id in (1..=voters).chain(learner) {
        let name = if id <= started { alloc::format!("m{id}") } else { Default::default() };
        let is_learner = id == 9;
        let record = MemberRecord { id, name, is_learner, ..MemberRecord::default() };
        members.apply_change(&Change::Add(record)).unwrap();
    }
    members
}

fn judged(members: &Members, change: &Change, active: &[u64]) -> Result<(), Refusal> {
    let active: Vec<MemberId> = active.iter().copied().map(MemberId).collect();
    let followers = Followers { in_sync: active.clone(), active };
    let on = Circumstances {
        leader: MemberId(1),
        followers: &followers,
        learners_max: 1,
        is_strict: true,
    };
    members.judge(change, &on)
}

fn add(is_learner: bool) -> Change {
    Change::Add(MemberRecord { id: 20, is_learner, ..MemberRecord::default() })
}

fn remove(id: u64) -> Change {
    Change::Remove(MemberId(id))
}

#[test]
fn a_new_voter_must_not_cost_the_quorum() {
    use Refusal::{MemberNotEnoughStarted, Unhealthy};
    let cases = [
        (1, 1, &[1][..], Ok(())),
        (2, 1, &[1, 2], Err(MemberNotEnoughStarted)),
        (2, 2, &[1, 2], Ok(())),
        (2, 2, &[1], Err(Unhealthy)),
        (3, 3, &[1, 2], Err(Unhealthy)),
        (3, 3, &[1, 2, 3], Ok(())),
    ];
    for (voters, started, active, expected) in cases {
        let members = group(voters, started, false);
        assert_eq!(
            judged(&members, &add(false), active),
            expected,
            "{voters} {started} {active:?}"
        );
    }
}

#[test]
fn learners_are_limited_and_need_no_started_quorum() {
    assert_eq!(judged(&group(2, 1, false), &add(true), &[1, 2]), Ok(()));
    assert_eq!(judged(&group(2, 2, false), &add(true), &[1]), Err(Refusal::Unhealthy));
    assert_eq!(judged(&group(2, 2, true), &add(true), &[1, 2]), Err(Refusal::TooManyLearners));
}

#[test]
fn promotion_needs_a_learner_that_keeps_up() {
    let promote = Change::Promote(MemberId(9));
    let members = group(2, 2, true);
    assert_eq!(judged(&members, &promote, &[1, 2]), Err(Refusal::LearnerNotReady));
    assert_eq!(judged(&members, &promote, &[1, 2, 9]), Ok(()));
    let members = group(4, 1, true);
    assert_eq!(judged(&members, &promote, &[1, 9]), Err(Refusal::MemberNotEnoughStarted));
}

#[test]
fn a_removal_must_leave_a_quorum() {
    let three = group(3, 3, false);
    assert_eq!(judged(&three, &remove(2), &[1, 2, 3]), Ok(()));
    assert_eq!(judged(&three, &remove(2), &[1, 3]), Ok(()), "who is not there takes nothing away");
    assert_eq!(judged(&three, &remove(2), &[1, 2]), Err(Refusal::Unhealthy));
    // It could have voted for this leader, which has heard nobody since.
    assert_eq!(judged(&three, &remove(2), &[1]), Err(Refusal::Unhealthy), "just elected");
    assert_eq!(judged(&group(1, 1, false), &remove(1), &[1]), Err(Refusal::MemberNotEnoughStarted));
    assert_eq!(judged(&group(2, 1, false), &remove(2), &[1]), Ok(()), "it never started");
    assert_eq!(judged(&group(2, 2, true), &remove(9), &[1]), Ok(()), "a learner has no vote");
}

#[test]
fn who_is_not_strict_may_do_everything() {
    let members = group(3, 1, false);
    let followers = Followers::default();
    let on = Circumstances {
        leader: MemberId(1),
        followers: &followers,
        learners_max: 1,
        is_strict: false,
    };
    assert_eq!(members.judge(&add(false), &on), Ok(()));
    assert_eq!(members.judge(&remove(1), &on), Ok(()));
}
