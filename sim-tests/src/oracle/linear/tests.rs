//! The checker on right histories, on wrong ones, and against a second opinion.

use quorate_core::draw::{draw, draw_below};
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;

use super::*;
use crate::history::{Changes, Logged, Reply};
use crate::model::{Compaction, Model};
use crate::oracle::wgl::is_linearizable;

fn put(key: &str, value: &str) -> Call {
    Call::Put(pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        prev_kv: true,
        ..Default::default()
    })
}

fn get(key: &str, serializable: bool) -> Call {
    let key = key.to_owned().into();
    Call::Range(pb::RangeRequest { key, serializable, ..Default::default() })
}

/// A cluster that does everything right: it applies calls where it is told to, and writes down
/// both forms of the truth.
#[derive(Default)]
struct Right {
    model: Model,
    operations: Vec<Operation>,
    log: Vec<Logged>,
}

impl Right {
    fn call(&mut self, call: Call, called: u64, returned: u64) -> &mut Operation {
        let verdict = self.model.evaluate(&call, Compaction::Checked);
        let id = self.operations.len() as u64;
        if !call.is_read() {
            let index = self.log.len() as u64 + 1;
            self.log.push(Logged { index, operation: Some(id), call: call.clone() });
        }
        self.model.commit(verdict.effect);
        let outcome = match verdict.reply {
            Ok(reply) => Outcome::Ok(reply),
            Err(refusal) => Outcome::from_refusal(refusal),
        };
        let operation = Operation {
            id,
            client: id,
            member: 1,
            called,
            returned: Some(returned),
            call,
            outcome,
        };
        self.operations.push(operation);
        self.operations.last_mut().expect("just pushed")
    }

    fn with_log(&self) -> History {
        let truth = Truth::Log(self.log.clone());
        History { operations: self.operations.clone(), watched: Vec::new(), truth }
    }

    fn with_changes(&self) -> History {
        let changes = (2..=self.model.revision())
            .map(|revision| Changes { revision, events: self.model.events(revision).to_vec() });
        let truth = Truth::Changes(changes.collect());
        History { operations: self.operations.clone(), watched: Vec::new(), truth }
    }
}

fn judge(history: &History) -> Result<(), Violation> {
    check(history, Settings::default())
}

fn said(history: &History) -> String {
    judge(history).map_or_else(|violation| violation.what, |()| "fine".to_owned())
}

/// put a, read it, put a again with the answer lost, read that.
fn sample() -> Right {
    let mut right = Right::default();
    right.call(put("a", "1"), 10, 20);
    right.call(get("a", false), 30, 40);
    right.call(put("a", "2"), 50, 60).outcome = Outcome::Unknown;
    right.call(get("a", false), 70, 80);
    right
}

#[test]
fn a_right_history_is_accepted_with_either_truth() {
    let right = sample();
    assert_eq!(said(&right.with_log()), "fine");
    assert_eq!(said(&right.with_changes()), "fine");
}

#[test]
fn a_wrong_value_is_found() {
    let mut history = sample().with_log();
    let Outcome::Ok(Reply::Range(reply)) = &mut history.operations[1].outcome else { panic!() };
    reply.kvs[0].version = 7;
    let what = said(&history);
    assert!(what.starts_with("operation 1 (Range by client 1 on member 1): kvs[0] is"), "{what}");
}

#[test]
fn a_stale_read_is_found() {
    let mut right = sample();
    right.call(put("a", "3"), 90, 100);
    let mut stale = right.operations[3].clone();
    (stale.id, stale.called, stale.returned) = (9, 110, Some(120));
    right.operations.push(stale);
    let expected = "operation 9 (Range by client 3 on member 1) stands before operation 4 (Put by \
                    client 4 on member 1), which had returned earlier";
    assert_eq!(said(&right.with_log()), expected);
    assert_eq!(said(&right.with_changes()), expected);
}

#[test]
fn a_serializable_read_may_be_stale_but_not_ahead() {
    let mut right = sample();
    let mut old = right.operations[1].clone();
    old.call = get("a", true);
    (old.id, old.called, old.returned) = (9, 110, Some(120));
    right.operations.push(old.clone());
    assert_eq!(said(&right.with_log()), "fine");
    (old.id, old.called, old.returned) = (10, 1, Some(2));
    right.operations.push(old);
    let what = said(&right.with_log());
    assert!(what.starts_with("operation 0 (Put by client 0 on member 1) stands before"), "{what}");
}

#[test]
fn a_lost_write_is_found() {
    let mut history = sample().with_log();
    let Truth::Log(log) = &mut history.truth else { panic!() };
    log.remove(0);
    assert_eq!(
        said(&history),
        "operation 0 (Put by client 0 on member 1) was acknowledged but never took effect"
    );
}

#[test]
fn a_write_applied_twice_is_found() {
    let mut history = sample().with_log();
    let Truth::Log(log) = &mut history.truth else { panic!() };
    let again = Logged { index: 3, ..log[1].clone() };
    log.push(again);
    assert_eq!(
        said(&history),
        "operation 2 (Put by client 2 on member 1) is in the log twice, at 2 and 3"
    );
}

#[test]
fn a_revision_nobody_made_is_found() {
    let mut history = sample().with_changes();
    history.operations.remove(2);
    assert!(said(&history).starts_with("nobody made revision 3: [Event"), "{}", said(&history));
    let mut history = sample().with_log();
    let Truth::Log(log) = &mut history.truth else { panic!() };
    log[1].operation = None;
    assert_eq!(said(&history), "entry 2 is a Put nobody asked for");
}

#[test]
fn one_revision_has_one_maker() {
    let mut history = sample().with_changes();
    let mut twin = history.operations[0].clone();
    twin.id = 9;
    history.operations.push(twin);
    assert_eq!(
        said(&history),
        "operation 9 (Put by client 0 on member 1) and operation 0 (Put by client 0 on member 1) \
         both made revision 2"
    );
}

#[test]
fn returning_before_the_call_is_found() {
    let mut history = sample().with_log();
    history.operations[0].returned = Some(9);
    assert_eq!(
        said(&history),
        "operation 0 (Put by client 0 on member 1) returned at 9, before its call at 10"
    );
}

#[test]
fn refusals_must_have_been_right_at_some_state() {
    let future =
        Call::Range(pb::RangeRequest { key: "a".into(), revision: 3, ..Default::default() });
    let refused = |called, returned| Operation {
        id: 9,
        client: 9,
        member: 1,
        called,
        returned: Some(returned),
        call: future.clone(),
        outcome: Outcome::Refused(Refusal::FutureRev),
    };
    for (called, returned, expected) in [
        (30, 35, "fine"),
        (55, 120, "fine"),
        (
            90,
            120,
            "operation 9 (Range by client 9 on member 1) was refused as FutureRev, which \
            was never right",
        ),
    ] {
        let mut right = sample();
        right.operations.push(refused(called, returned));
        assert_eq!(said(&right.with_log()), expected);
        assert_eq!(said(&right.with_changes()), expected);
    }
}

#[test]
fn the_compacted_past_is_served_only_before_the_compaction() {
    let mut right = sample();
    right.call(put("a", "3"), 90, 100);
    let compact = Call::Compact(pb::CompactionRequest { revision: 3, physical: false });
    right.call(compact, 110, 120);
    let old = Call::Range(pb::RangeRequest { key: "a".into(), revision: 2, ..Default::default() });
    let verdict = right.model.evaluate(&old, Compaction::Ignored);
    let served = Operation {
        id: 9,
        client: 9,
        member: 1,
        called: 115,
        returned: Some(140),
        call: old,
        outcome: Outcome::Ok(verdict.reply.unwrap()),
    };
    right.operations.push(served);
    assert_eq!(said(&right.with_log()), "fine");
    assert_eq!(said(&right.with_changes()), "fine");
    right.operations.last_mut().unwrap().called = 130;
    let expected = "operation 9 (Range by client 9 on member 1) was served revision 2 after 3 was \
                    compacted";
    assert_eq!(said(&right.with_log()), expected);
    assert_eq!(said(&right.with_changes()), expected);
}

#[test]
fn leases_end_with_and_without_being_asked() {
    let mut right = Right::default();
    right.call(Call::LeaseGrant(pb::LeaseGrantRequest { ttl: 60, id: 7 }), 1, 2);
    let Call::Put(attached) = put("a", "1") else { panic!() };
    right.call(Call::Put(pb::PutRequest { lease: 7, ..attached }), 3, 4);
    let revoke = Call::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 });
    right.call(revoke.clone(), 5, 6);
    right.call(revoke, 7, 8);
    assert_eq!(right.operations[3].outcome, Outcome::Refused(Refusal::LeaseNotFound));
    assert_eq!(said(&right.with_log()), "fine");
    assert_eq!(said(&right.with_changes()), "fine");
    right.operations.truncate(2);
    right.log.truncate(3);
    right.log[2].operation = None;
    assert_eq!(said(&right.with_log()), "fine");
    assert_eq!(said(&right.with_changes()), "fine");
}

/// A small history: overlapping calls on two keys, some answers lost; `is_corrupt` spoils one
/// answer or its time.
fn random(seed: u64, is_corrupt: bool) -> Right {
    let lot = |n: u64, bound: u64| draw_below(bound, draw(seed, 77, 0, n));
    let mut right = Right::default();
    let count = 4 + lot(0, 4);
    for n in 1..=count {
        let key = ["a", "b"][lot(n * 10, 2) as usize];
        let call = match lot(n * 10 + 1, 5) {
            0 | 1 => put(key, &n.to_string()),
            2 => Call::DeleteRange(pb::DeleteRangeRequest {
                key: key.to_owned().into(),
                ..Default::default()
            }),
            _ => get(key, false),
        };
        let now = n * 100;
        let (before, after) = (lot(n * 10 + 2, 250), lot(n * 10 + 3, 250));
        let operation = right.call(call, now.saturating_sub(before), now + 1 + after);
        if lot(n * 10 + 4, 5) == 0 {
            operation.outcome = Outcome::Unknown;
        }
    }
    if is_corrupt {
        spoil(&mut right, |n| draw(seed, 78, 0, n));
    }
    right
}

fn spoil(right: &mut Right, lot: impl Fn(u64) -> u64) {
    let count = right.operations.len() as u64;
    let victim = &mut right.operations[draw_below(count, lot(1)) as usize];
    match (draw_below(3, lot(3)), &mut victim.outcome) {
        (1, Outcome::Ok(reply)) => {
            if let Some(header) = reply.header_mut() {
                header.revision += 1;
            }
        }
        (_, Outcome::Ok(Reply::Range(reply))) => {
            reply.kvs.clear();
            reply.count = 0;
        }
        (_, Outcome::Ok(Reply::Put(reply))) => reply.prev_kv = None,
        _ => {
            let shift = 100 + draw_below(300, lot(2));
            victim.called += shift;
            victim.returned = victim.returned.map(|at| at + shift);
        }
    }
}

#[test]
fn a_second_opinion_agrees_on_right_histories() {
    for seed in 0..400 {
        let right = random(seed, false);
        assert!(is_linearizable(&right.operations), "seed {seed}");
        assert_eq!(said(&right.with_log()), "fine", "seed {seed}");
        assert_eq!(said(&right.with_changes()), "fine", "seed {seed}");
    }
}

/// With every answer known both see the same facts and must agree. With answers lost the checker
/// knows more, the truth, so it may object where an order still exists; never the other way round.
#[test]
fn a_second_opinion_agrees_on_spoilt_histories() {
    let (mut rejected, mut accepted) = (0, 0);
    for seed in 0..1_200 {
        let right = random(seed, true);
        let opinion = is_linearizable(&right.operations);
        let verdict = judge(&right.with_changes()).is_ok();
        let knows_all = right.operations.iter().all(|it| it.outcome != Outcome::Unknown);
        assert!(opinion == verdict || opinion && !knows_all, "seed {seed}: {opinion} {verdict}");
        assert!(opinion || judge(&right.with_log()).is_err(), "seed {seed}");
        *(if verdict { &mut accepted } else { &mut rejected }) += 1;
    }
    assert!(rejected > 300 && accepted > 100, "{rejected} rejected, {accepted} accepted");
}

#[test]
fn what_is_said_of_leases_must_have_been_right() {
    let mut right = Right::default();
    right.call(Call::LeaseGrant(pb::LeaseGrantRequest { ttl: 10, id: 7 }), 10, 20);
    let (key, value) = ("a".into(), "1".into());
    right.call(Call::Put(pb::PutRequest { key, value, lease: 7, ..Default::default() }), 30, 40);
    let looked = |called: u64, granted_ttl, keys: &[&'static str]| {
        let keys = keys.iter().map(|key| (*key).into()).collect();
        let answer = pb::LeaseTimeToLiveResponse { id: 7, granted_ttl, keys, ..Default::default() };
        let call = Call::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id: 7, keys: true });
        let (client, member, returned) = (9, 1, Some(called + 1));
        let outcome = Outcome::Ok(Reply::LeaseTimeToLive(answer));
        let operation = Operation { id: 9, client, member, called, returned, call, outcome };
        let mut history = right.with_log();
        history.operations.push(operation);
        said(&history).contains("which was never right")
    };
    assert!(!looked(50, 10, &["a"]), "as it is");
    assert!(!looked(35, 10, &[]), "the put was under way");
    assert!(looked(50, 10, &[]), "a key is missing");
    assert!(looked(50, 9, &["a"]), "granted otherwise");
    assert!(looked(50, 0, &[]), "it is there");
}
