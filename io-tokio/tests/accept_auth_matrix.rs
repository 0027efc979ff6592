//! Every call of every service, by everybody, put to a real etcd and to ours: both say the same.
//!
//! What is asked stands in `auth_matrix/rows.txt`; who asks, in [`SHAPES`] and [`Kind::others`].
//! The product of both is asked, in the same order, of two servers that began empty.
//!
//! ```text
//! [etcdserverpb.Lease/LeaseRevoke]        reader> lease revoke 8     both refuse, in these words
//! before root> put other v lease=8        rooted> lease revoke 8     both do it
//! lease revoke 8                          -> lease revoke 8          ...
//! ```
//!
//! No call can be forgotten: the brackets are compared with the services in `proto/`.

mod accept;
#[allow(dead_code, reason = "another test uses the rest")]
mod auth_table;
#[allow(dead_code, reason = "another test uses the rest")]
#[path = "compat/judge.rs"]
mod judge;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth_table::{Side, answer_both};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use prost_reflect::DescriptorPool;

const ROWS: &str = include_str!("auth_matrix/rows.txt");
/// Services that no client is meant to call.
const BETWEEN_MEMBERS: &str = "quoratepeer.";
/// What signs tokens at both.
const SECRET: &[u8] = b"thirty-two bytes of no importance";

/// Users with a role of their own name, and what it permits. `other` hangs on lease 8, as do keys
/// below `k/`: whoever may write those need not have a right to the lease.
const SHAPES: [(&str, &[&str]); 8] = [
    ("bare", &[]),
    ("reader", &["READ k/1"]),
    ("prefixer", &["READ k/ k0"]),
    ("opener", &["READ k/ \\0"]),
    ("writer", &["WRITE k/1"]),
    ("keeper", &["READWRITE k/ k0"]),
    ("mixed", &["READ k/ k0", "WRITE k/1", "READWRITE other"]),
    ("all", &["READWRITE \\0 \\0"]),
];

/// How tokens are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Simple,
    Signed,
}

impl Kind {
    /// Who asks beside [`SHAPES`]: without a token, with a wrong one, as root, as one who has
    /// root's role; with the token of a user who is gone, or whose password has changed.
    const fn others(self) -> &'static [&'static str] {
        match self {
            Self::Simple => &["-", "wrong", "gone", "ended", "rooted", "root"],
            // And of root, from before the last change of rights; and one that has expired.
            Self::Signed => &["-", "wrong", "gone", "ended", "old", "expired", "rooted", "root"],
        }
    }

    /// Whether a caller's token is made anew before each call.
    fn is_fresh(who: &str) -> bool {
        !["-", "wrong", "gone", "ended", "old", "expired"].contains(&who)
    }

    fn callers(self) -> Vec<&'static str> {
        let shapes = SHAPES.iter().map(|(name, _)| *name);
        // Root comes last: it leaves the most behind.
        shapes.chain(self.others().iter().copied()).collect()
    }
}

/// One line of the table, and what is done before it.
struct Row {
    call: &'static str,
    before: Vec<&'static str>,
    asks: &'static str,
}

fn rows() -> Vec<Row> {
    let (mut call, mut before, mut rows) = ("", Vec::new(), Vec::new());
    let mut is_open = false;
    for line in ROWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            call = name;
            before.clear();
        } else if let Some(step) = line.strip_prefix("before ") {
            if !is_open {
                before.clear();
            }
            before.push(step);
        } else {
            rows.push(Row { call, before: before.clone(), asks: line });
        }
        is_open = line.starts_with("before ") || line.starts_with('[');
    }
    rows
}

#[test]
fn no_call_is_forgotten() {
    let pool = DescriptorPool::decode(quorate_proto::DESCRIPTORS).expect("our own messages");
    let services = pool.services().filter(|it| !it.full_name().starts_with(BETWEEN_MEMBERS));
    let offered: BTreeSet<String> = services
        .flat_map(|it| it.methods().collect::<Vec<_>>())
        .map(|it| format!("{}/{}", it.parent_service().full_name(), it.name()))
        .collect();
    let asked: BTreeSet<String> = rows().iter().map(|row| row.call.to_owned()).collect();
    assert_eq!(asked, offered);
}

/// Users and roles, some of whom lose what they had.
fn begin() -> Vec<String> {
    let line = |words: &str| format!("-> {words}");
    let mut lines: Vec<String> = ["user add root pw", "user grant root root"].map(line).into();
    for name in ["rooted", "gone", "ended"] {
        lines.push(line(&format!("user add {name} pw")));
    }
    lines.extend(
        ["user grant rooted root", "role add lost", "role permit lost READWRITE k/ k0"].map(line),
    );
    lines.extend(["user grant gone lost", "user grant ended lost"].map(line));
    for (name, rights) in SHAPES {
        lines.push(line(&format!("user add {name} pw")));
        lines.push(line(&format!("role add {name}")));
        lines.extend(rights.iter().map(|right| line(&format!("role permit {name} {right}"))));
        if !rights.is_empty() {
            lines.push(line(&format!("user grant {name} {name}")));
        }
    }
    lines.extend([7, 8, 9].map(|id| line(&format!("lease grant {id} 3600"))));
    lines.extend(["put k/1 v", "put k/2 v lease=7", "put other v lease=8"].map(line));
    lines.extend(["auth enable", "login root pw", "login root pw as old"].map(line));
    lines.extend(["login gone pw", "login ended pw"].map(line));
    lines.extend(["root> user delete gone", "root> user passwd ended other"].map(str::to_owned));
    lines
}

/// A token of root's that was good once.
fn expired() -> String {
    let encode = |part: serde_json::Value| BASE64.encode(part.to_string());
    let an_hour = Duration::from_secs(3_600);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let head = encode(serde_json::json!({"alg": "HS256", "typ": "JWT"}));
    let until = (now - an_hour).as_secs();
    let claims = serde_json::json!({"username": "root", "revision": 1, "exp": until});
    let signed = format!("{head}.{}", encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(tag))
}

/// What those are told who may not do what they ask.
fn is_refusal(said: &str) -> bool {
    [
        "permission denied",
        "user name is empty",
        "invalid auth token",
        "revision of auth store is old",
    ]
    .iter()
    .any(|why| said == format!("Unknown: etcdserver: {why}"))
}

/// What both are asked, and where they differ.
struct Comparison {
    sides: [Side; 2],
    differences: Vec<String>,
    cells: usize,
}

impl Comparison {
    fn ask(&mut self, row: &str) {
        let [etcd, ours] = answer_both(&mut self.sides, row);
        if std::env::var_os("QUORATE_AUTH_TABLE_TELL").is_some() {
            eprintln!("{row}\n    {etcd}");
        }
        // See `docs/differences.md`: etcd's observers end without a word when they are refused.
        let is_silence = row.contains("> observe ") && etcd == "OK None" && is_refusal(&ours);
        if etcd != ours && !is_silence {
            self.differences.push(format!("{row}\n  etcd: {etcd}\n  ours: {ours}"));
        }
    }

    /// Asks one row in one caller's name.
    fn ask_cell(&mut self, row: &Row, who: &str, count: usize) {
        let fill = |words: &str| words.replace("{me}", who).replace("{n}", &count.to_string());
        if row.before.iter().any(|step| step.starts_with("root> ")) {
            self.ask("-> login root pw");
        }
        for step in &row.before {
            self.ask(&fill(step));
        }
        if Kind::is_fresh(who) {
            self.ask(&format!("-> login {who} pw"));
        }
        self.ask(&format!("{who}> {}", fill(row.asks)));
        for side in &self.sides {
            assert_eq!(side.asked.get().strip_prefix('/'), Some(row.call), "{}", row.asks);
        }
        self.cells += 1;
    }
}

fn compare(kind: Kind) {
    let Some(judge) = judge::find() else { return };
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut flags = vec!["--bcrypt-cost=4".to_owned()];
    if kind == Kind::Signed {
        let secret = dir.path().join("secret");
        std::fs::write(&secret, SECRET).expect("room");
        let secret = secret.display();
        flags.push(format!("--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl=1h"));
    }
    let both = judge::start_both(&judge, &flags);
    let sides = both.each_ref().map(|cluster| Side::new(cluster.members[0].client));
    let mut all = Comparison { sides, differences: Vec::new(), cells: 0 };
    for row in begin() {
        all.ask(&row);
    }
    for side in &mut all.sides {
        side.tokens.insert("expired".to_owned(), expired());
    }
    let only = std::env::var("QUORATE_AUTH_TABLE_ONLY").unwrap_or_default();
    // In a hurry every row is asked by a third of the callers, in turn.
    let share = if accept::is_quick() { 3 } else { 1 };
    for (place, row) in rows().iter().filter(|row| row.call.contains(&only)).enumerate() {
        for (number, who) in kind.callers().iter().enumerate() {
            if (place + number) % share == 0 {
                all.ask_cell(row, who, number + 1);
            }
        }
    }
    eprintln!("{kind:?}: {} situations", all.cells);
    let differences = &all.differences;
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn by_simple_tokens_both_judge_alike() {
    compare(Kind::Simple);
}

#[test]
fn by_signed_tokens_both_judge_alike() {
    compare(Kind::Signed);
}
