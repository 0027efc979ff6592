//! How a member is: what it tells the others, and what the console shows of each.

use quorate_core::View;
use quorate_core::view::Facts;
use serde_json::{Value, json};

use crate::grpc::reads;
use crate::metrics::Metrics;
use crate::version;

/// A member's vitals. Ids are text, since JSON's readers keep no more than 53 bits of a number.
pub(crate) fn vitals(view: &View, metrics: &Metrics) -> Value {
    let (facts, tally) = (&view.facts, &view.facts.tally);
    let sync = &metrics.disk.wal_fsync;
    json!({
        "member": facts.member.to_string(),
        "version": version::QUORATE,
        "etcdVersion": version::ETCD,
        "role": role(facts),
        "leader": facts.role.leader.map(|leader| leader.to_string()),
        "term": facts.role.term.get(),
        "committed": facts.committed.get(),
        "applied": facts.applied.get(),
        "revision": reads::revision(view).get(),
        "compacted": view.kv.compacted().get(),
        "keys": view.kv.keys_live(),
        "dbSize": facts.db_size,
        "dbSizeInUse": facts.db_size_in_use,
        "pending": facts.pending,
        "leases": facts.leases,
        "watchers": facts.watchers,
        "watchersBehind": facts.watchers_behind,
        "streams": facts.streams,
        "writes": tally.puts + tally.deletes,
        "reads": metrics.ranges.get(),
        "events": tally.events,
        "syncs": sync.count(),
        "syncSeconds": sync.sum().as_secs_f64(),
        "slowApplies": metrics.work.slow_applies.get(),
    })
}

fn role(facts: &Facts) -> &'static str {
    let is_learner = facts.members.iter().any(|m| m.id == facts.member.get() && m.is_learner);
    match facts.role.leader {
        _ if facts.is_fenced => "fenced",
        _ if facts.role.is_leader => "leader",
        _ if is_learner => "learner",
        Some(_) => "follower",
        None => "without leader",
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::ids::{LogIndex, MemberId, Term};
    use quorate_core::input::Role;
    use quorate_proto::etcdserverpb as pb;

    use super::*;

    #[test]
    fn a_member_tells_who_it_is_and_how_far() {
        let own = MemberId(u64::MAX);
        let facts = Facts {
            member: own,
            applied: LogIndex(7),
            committed: LogIndex(9),
            role: Role { term: Term(2), leader: Some(own), is_leader: true },
            ..Facts::default()
        };
        let metrics = Metrics::new(0);
        metrics.ranges.add(3);
        let told = vitals(&reads::view_of(facts), &metrics);
        for (name, expected) in [
            ("member", json!("ffffffffffffffff")),
            ("leader", json!("ffffffffffffffff")),
            ("role", json!("leader")),
            ("applied", json!(7)),
            ("committed", json!(9)),
            ("reads", json!(3)),
        ] {
            assert_eq!(told[name], expected, "{name}");
        }
    }

    #[test]
    fn a_role_is_the_first_thing_that_matters() {
        let own = pb::Member { id: 5, is_learner: true, ..Default::default() };
        let leader = Role { leader: Some(MemberId(6)), ..Role::default() };
        let mut facts = Facts { member: MemberId(5), ..Facts::default() };
        assert_eq!(role(&facts), "without leader");
        facts.role = leader;
        assert_eq!(role(&facts), "follower");
        facts.members = [own].into();
        assert_eq!(role(&facts), "learner");
        facts.is_fenced = true;
        assert_eq!(role(&facts), "fenced");
    }
}
