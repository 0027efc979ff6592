//! `/debug/vars`: what Go's programs tell of themselves, as far as there is something to tell.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/etcdhttp/debug.go`, `server/etcdserver/raft.go`,
//! `server/etcdserver/server.go`; raft v3.7 `status.go`

use std::collections::BTreeMap;

use quorate_core::view::Facts;
use serde_json::{Value, json};

use super::debug::words;
use crate::metrics::{files_max, memory};

/// The page. Memory is what this process has resident: its allocator keeps no account of objects,
/// and nothing is collected.
pub(super) fn vars(facts: &Facts) -> String {
    let (reserved, resident) = memory();
    let [reserved, resident, files] =
        [reserved, resident, files_max()].map(|value| value.unwrap_or(0.0) as u64);
    let vars: BTreeMap<&str, Value> = [
        ("cmdline", json!(words())),
        ("file_descriptor_limit", json!(files)),
        (
            "memstats",
            json!({
                "Alloc": resident, "HeapAlloc": resident, "HeapInuse": resident,
                "HeapSys": resident, "Sys": reserved, "HeapIdle": 0, "HeapReleased": 0, "NumGC": 0,
                "PauseTotalNs": 0, "EnableGC": false,
            }),
        ),
        ("raft.status", raft_status(facts)),
    ]
    .into();
    let lines: Vec<String> =
        vars.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// How consensus stands, with ids in hex. Whom this member voted for, and how far each follower is,
/// no view tells.
fn raft_status(facts: &Facts) -> Value {
    let role = &facts.role;
    let state = match role.leader {
        _ if role.is_leader => "StateLeader",
        Some(_) => "StateFollower",
        None => "StateCandidate",
    };
    json!({
        "id": facts.member.to_string(),
        "term": role.term.get(),
        "commit": facts.committed.get(),
        "lead": role.leader.map_or_else(|| "0".to_owned(), |leader| leader.to_string()),
        "raftState": state,
        "applied": facts.applied.get(),
        "progress": {},
        "leadtransferee": "0",
    })
}

#[cfg(test)]
mod tests {
    use quorate_core::ids::{LogIndex, MemberId, Term};
    use quorate_core::input::Role;

    use super::*;

    #[test]
    fn what_tools_read_is_there() {
        let facts = Facts {
            member: MemberId(0xab),
            applied: LogIndex(7),
            committed: LogIndex(9),
            role: Role { term: Term(2), leader: Some(MemberId(0xcd)), is_leader: false },
            ..Facts::default()
        };
        let text = vars(&facts);
        assert!(text.starts_with("{\n\"cmdline\": ["), "{text}");
        let told: Value = serde_json::from_str(&text).unwrap();
        assert!(told["memstats"]["Alloc"].as_u64() > Some(1 << 20), "{text}");
        assert!(told["file_descriptor_limit"].as_u64() > Some(2), "{text}");
        let raft = &told["raft.status"];
        assert_eq!((&raft["id"], &raft["lead"]), (&json!("ab"), &json!("cd")));
        assert_eq!((&raft["commit"], &raft["applied"]), (&json!(9), &json!(7)));
        assert_eq!(raft["raftState"], "StateFollower");
    }
}
