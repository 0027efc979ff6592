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
#[path = "accept/pairs.rs"]
mod pairs;

use std::path::Path;

use auth_table::{Side, answer_both};

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
fn differences(judge: &Path, name: &str, text: &str) -> Vec<String> {
    let mut flags = vec!["--bcrypt-cost=4".to_owned()];
    if name == "expiry" {
        flags.push("--auth-token-ttl=6".to_owned());
    }
    let both = judge::start_both(judge, &flags);
    let mut sides = both.each_ref().map(|cluster| Side::new(cluster.members[0].client));
    let mut found = Vec::new();
    for (number, row) in rows(text).enumerate() {
        let said = answer_both(&mut sides, row);
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

/// What is asked of both servers whose tokens are signed with the same keys. `others` is a token
/// that the other server signed.
const SIGNED: &str = "\
-> auth status
-> login alice no
alice> put a/1 v
alice> get a/1
alice> get other
wrong> get a/1
others> put a/1 v
others> get a/1
others> user get alice
root> user add carol cpw
alice> put a/1 v
alice> get a/1
alice> get a/1 serial
alice> txn then get a/1
alice> watch a/1
alice> lease grant 7 60
alice> user get alice
root> put a/1 v
root> get a/1
root> user list
root> role permit app READ other
-> login alice apw
alice> get other
root> user passwd alice npw
alice> get other
-> login alice npw
alice> get other
root> user delete alice
alice> get other
alice> user get alice
root> auth disable
alice> get other
wrong> get other
-> login alice npw";

/// Both servers with tokens as the flag says, asked the same; where they differ.
fn compare_signed(judge: &Path, flag: &str, script: &str) -> Vec<String> {
    let flags = ["--bcrypt-cost=4".to_owned(), format!("--auth-token={flag}")];
    let both = judge::start_both(judge, &flags);
    let mut sides = both.each_ref().map(|cluster| Side::new(cluster.members[0].client));
    let mut found = Vec::new();
    let mut compare = |sides: &mut [Side; 2], row: &str| {
        let [etcd, ours] = answer_both(sides, row);
        if etcd != ours {
            found.push(format!("{flag}: {row}\n  etcd: {etcd}\n  ours: {ours}"));
        }
    };
    for row in script.lines() {
        compare(&mut sides, row);
        if row == "setup" {
            let tokens = sides.each_ref().map(|side| side.tokens["alice"].clone());
            for (side, token) in sides.iter_mut().zip(tokens.iter().rev()) {
                side.tokens.insert("others".to_owned(), token.clone());
            }
        }
    }
    found
}

#[test]
fn signed_tokens_are_good_at_both() {
    let Some(judge) = judge::find() else { return };
    let dir = tempfile::TempDir::new().expect("a directory");
    pairs::write_all(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let methods = [
        "RS256", "ES512", "EdDSA", "PS384",
        "HS256", // These first: the others are their like.
        "RS384", "RS512", "PS256", "PS512", "ES256", "ES384", "HS384", "HS512",
    ];
    let count = if accept::is_quick() { 5 } else { methods.len() };
    let mut all = Vec::new();
    for method in &methods[..count] {
        let name = pairs::file_of(method);
        let public = match name {
            "secret" => String::new(),
            name => format!(",pub-key={}", file(&format!("{name}.pub"))),
        };
        let flag = format!("jwt,sign-method={method},priv-key={}{public},ttl=10m", file(name));
        all.extend(compare_signed(&judge, &flag, &format!("setup\n{SIGNED}")));
    }
    // One that lives for seconds; one that is verified only; none at all.
    let short = format!("jwt,sign-method=ES256,priv-key={},ttl=6s", file("p256"));
    let script = "setup\nalice> put a/1 v\npause 8\nalice> put a/1 v\nalice> watch a/1";
    all.extend(compare_signed(&judge, &short, script));
    let verified = format!("jwt,sign-method=ES256,pub-key={}", file("p256.pub"));
    let script = "-> user add root rpw\n-> user grant root root\n-> auth enable\n\
                  -> login root no\n-> login root rpw\nwrong> put a/1 v";
    all.extend(compare_signed(&judge, &verified, script));
    all.extend(compare_signed(&judge, "", script));
    assert!(all.is_empty(), "{} rows:\n{}", all.len(), all.join("\n"));
}
