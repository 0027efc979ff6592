//! Situations of authentication and authorization, each put to a real etcd and to ours: whatever
//! is asked, both say the same, word for word.
//!
//! A scenario is a text in `auth_table/`, one line a call; both servers begin it empty.
//!
//! ```text
//! alice> put a/1 v prev        by alice's token: OK PutResponse { prev_kv: .. } @5
//! ```

mod accept;
#[allow(dead_code, reason = "another test uses the rest")]
mod auth_table;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "compat/judge.rs"]
mod judge;

use auth_table::Side;

/// So many situations there are at least, over all scenarios.
const ROWS_MIN: usize = 450;

const SCENARIOS: [(&str, &str); 11] = [
    ("users", include_str!("auth_table/users.txt")),
    ("enable", include_str!("auth_table/enable.txt")),
    ("keys", include_str!("auth_table/keys.txt")),
    ("txn", include_str!("auth_table/txn.txt")),
    ("leases", include_str!("auth_table/leases.txt")),
    ("admin", include_str!("auth_table/admin.txt")),
    ("watches", include_str!("auth_table/watches.txt")),
    ("tokens", include_str!("auth_table/tokens.txt")),
    ("expiry", include_str!("auth_table/expiry.txt")),
    ("recipes", include_str!("auth_table/recipes.txt")),
    ("gateway", include_str!("auth_table/gateway.txt")),
];

fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Runs a scenario; every row that both do not answer alike.
fn differences(judge: &std::path::Path, name: &str, text: &str) -> Vec<String> {
    let mut flags = vec!["--bcrypt-cost=4".to_owned()];
    if name == "expiry" {
        flags.push("--auth-token-ttl=2".to_owned());
    }
    let both = judge::start_both(judge, &flags);
    let mut sides = both.each_ref().map(|cluster| Side::new(cluster.members[0].client));
    let mut found = Vec::new();
    for (number, row) in rows(text).enumerate() {
        let said = sides.each_mut().map(|side| side.answer(row));
        if std::env::var_os("QUORATE_AUTH_TABLE_TELL").is_some() {
            eprintln!("{name}: {row}\n    {}", said[0]);
        }
        if said[0] != said[1] {
            let [etcd, ours] = said;
            found.push(format!("{name}, row {number}: {row}\n  etcd: {etcd}\n  ours: {ours}"));
        }
    }
    found
}

#[test]
fn etcd_and_ours_judge_alike() {
    let Some(judge) = judge::find() else { return };
    let count: usize = SCENARIOS.iter().map(|(_, text)| rows(text).count()).sum();
    assert!(count >= ROWS_MIN, "{count} rows");
    let only = std::env::var("QUORATE_AUTH_TABLE_ONLY").ok();
    let chosen = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let all: Vec<String> = SCENARIOS
        .iter()
        .filter(|(name, _)| chosen(name))
        .flat_map(|(name, text)| differences(&judge, name, text))
        .collect();
    assert!(all.is_empty(), "{} of {count} rows:\n{}", all.len(), all.join("\n"));
}
