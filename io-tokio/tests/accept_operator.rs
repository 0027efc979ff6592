//! What an operator types at `etcdctl` 3.7, before three members of a real etcd 3.7 and before
//! three of ours: the same is printed, the same is refused in the same words.
//!
//! Of what differs between any two clusters (ids, addresses, sizes, times, raft's counters) only
//! the place is compared; hashes of history are compared as they are.

mod accept;
#[path = "compat/judge.rs"]
#[allow(dead_code, reason = "only the judge's place is asked for")]
mod judge;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use accept::ctl::Ctl;
use accept::{Cluster, Options, assert_eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(15);
/// How long etcd wants members to have been connected before it lets the group change.
const CONNECTED_FOR: Duration = Duration::from_secs(6);

/// What of an answer is compared.
#[derive(Clone, Copy)]
enum Part {
    /// All of it.
    All,
    /// Its lines, in any order.
    Lines,
    /// Each line up to here, in any order.
    Until(&'static str),
    /// These columns, separated by commas, of each line, in any order.
    Columns(&'static [usize]),
    /// JSON without members that differ between any two clusters.
    Json,
}

/// One command of the script: `m0`, `u0` and `p0` are the id, client URL and peer URL of the first
/// member, `new` is the id of the one that was added last.
type Step = (&'static str, Part);

use Part::{All, Columns, Json, Lines, Until};

/// Not commands: wait until every member's storage is as the version downgraded to has it, or as
/// before, which etcd looks after every five seconds.
const LOWERED: &str = "(3.6.0)";
const RAISED: &str = "(3.7.0)";

/// Versions, quota, who leads, who learns, errors, downgrades.
const STATUS: Part = Columns(&[0, 1, 2, 3, 7, 8, 9, 13, 14, 15]);

const SCRIPT: &[Step] = &[
    ("version", All),
    ("put a 1", All),
    ("put a 2", All),
    ("put b 3", All),
    ("del a", All),
    ("member list", Lines),
    ("member list -w json --endpoints=u0", Json),
    ("member list --consistency=s", Lines),
    ("endpoint health", Until("took")),
    ("endpoint health --cluster", Until("took")),
    ("endpoint status", STATUS),
    ("endpoint status --cluster", STATUS),
    ("endpoint status -w json", Json),
    ("endpoint hashkv", Lines),
    ("endpoint hashkv --rev=3", Lines),
    ("endpoint hashkv --rev=99", All),
    ("endpoint hashkv --cluster -w json", Json),
    ("move-leader m1", All),
    ("endpoint status", STATUS),
    ("move-leader m1", All),
    ("move-leader 12345", All),
    ("move-leader m0 --endpoints=u2", All),
    ("move-leader nonsense", All),
    ("move-leader m0", All),
    ("alarm list", All),
    ("alarm disarm", All),
    ("defrag", Until("took")),
    ("defrag --cluster", Until("took")),
    ("defrag --endpoints=u1", Until("took")),
    ("compaction 3", All),
    ("compaction 3", All),
    ("compaction 99", All),
    ("compaction 4 --physical", All),
    ("endpoint hashkv --rev=3", All),
    ("endpoint hashkv --rev=4", Lines),
    ("endpoint hashkv", Lines),
    ("member add m9", All),
    ("member add m9 --peer-urls=nonsense", All),
    ("member add m9 --peer-urls=p0", All),
    ("member add m9 --learner --peer-urls=http://127.0.0.1:1", Until("=")),
    ("member list", Lines),
    ("member add m8 --learner --peer-urls=http://127.0.0.1:2", All),
    ("member promote new", All),
    ("member promote 12345", All),
    ("member promote m2", All),
    ("member update new --peer-urls=http://127.0.0.1:3", All),
    ("member update new --peer-urls=p1", All),
    ("member update 12345 --peer-urls=http://127.0.0.1:3", All),
    ("member list", Lines),
    ("member remove new", All),
    ("member remove new", All),
    ("member remove 12345", All),
    ("member remove nonsense", All),
    ("member list", Lines),
    ("downgrade validate 3.6", All),
    ("downgrade validate 3.7", All),
    ("downgrade validate 3.5", All),
    ("downgrade validate nonsense", All),
    ("downgrade cancel", All),
    ("downgrade enable 3.5", All),
    ("downgrade enable 3.6", All),
    (LOWERED, All),
    ("downgrade enable 3.6", All),
    ("downgrade validate 3.6", All),
    ("endpoint status", STATUS),
    ("downgrade cancel", All),
    (RAISED, All),
    ("endpoint status", STATUS),
    ("get b", All),
    ("snapshot save file", All),
    ("snapshot save file --endpoints=u2", Lines),
];

/// Three members, and `etcdctl` before them.
struct Bench {
    ctl: Ctl,
    cluster: Cluster,
    /// Ids by name, as `etcdctl` prints and takes them.
    ids: Vec<(String, String)>,
}

impl Bench {
    fn start(server: Option<&Path>) -> Option<Self> {
        let mut cluster = Cluster::prepare(3, &Options::default());
        let ctl = Ctl::newest(&cluster)?;
        for member in &mut cluster.members {
            if let Some(server) = server {
                member.program = server.to_owned();
            }
            member.spawn();
        }
        cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
        let mut bench = Self { ctl, cluster, ids: Vec::new() };
        bench.learn_ids();
        bench.settle();
        Some(bench)
    }

    fn learn_ids(&mut self) {
        let list = self.ctl.json(&["member", "list"]);
        let members = list["members"].as_array().expect("members").iter();
        let ids = members.map(|member| {
            let name = member["name"].as_str().unwrap_or("new");
            (name.to_owned(), format!("{:x}", member["ID"].as_u64().expect("an id")))
        });
        self.ids.extend(ids);
        let cluster = list["header"]["cluster_id"].as_u64().expect("the cluster's id");
        self.ids.push(("cluster".into(), format!("{cluster:x}")));
    }

    fn wait_for_storage(&self, version: &str) {
        let versions = || {
            let status = self.ctl.json(&["endpoint", "status"]);
            let all = status.as_array().expect("one per endpoint").clone();
            all.iter().map(|one| one["Status"]["storageVersion"].clone()).collect::<Vec<_>>()
        };
        assert_eventually(SOON, &vec![Value::from(version); 3], versions);
    }

    /// Waits until the cluster's version is decided, and lets the first member lead.
    fn settle(&self) {
        self.wait_for_storage("3.7.0");
        let first = self.ids.iter().find(|(name, _)| name == "m0").expect("the first member");
        let led_by_first = || {
            self.ctl.output(&["move-leader", &first.1]);
            let status = self.ctl.json(&["endpoint", "status"]);
            let leader = status[0]["Status"]["leader"].as_u64().unwrap_or_default();
            format!("{leader:x}") == first.1
        };
        assert_eventually(SOON, &true, led_by_first);
        std::thread::sleep(CONNECTED_FOR);
    }

    /// Pairs of what stands in the script and what it stands for here.
    fn words(&self) -> Vec<(String, String)> {
        let mut words = self.ids.clone();
        for (number, member) in self.cluster.members.iter().enumerate() {
            words.push((format!("u{number}"), member.url()));
            words.push((format!("p{number}"), format!("http://{}", member.peer)));
        }
        words.push(("file".into(), self.cluster.dir().join("file").display().to_string()));
        words
    }

    /// What a step says, with the script's words in place of this cluster's.
    fn say(&mut self, (line, part): Step) -> String {
        if let LOWERED | RAISED = line {
            self.wait_for_storage(line.trim_matches(['(', ')']));
            return String::new();
        }
        let words = self.words();
        let meant = |word: &str| {
            let word = word.to_owned();
            let (flag, value) = word.split_once('=').unwrap_or(("", &word));
            let found = words.iter().find(|(name, _)| name == value);
            match (found, flag) {
                (None, _) => word,
                (Some((_, meant)), "") => meant.clone(),
                (Some((_, meant)), flag) => format!("{flag}={meant}"),
            }
        };
        let args: Vec<String> = line.split(' ').map(meant).collect();
        // The environment names all endpoints already, and etcdctl takes only one of the two.
        let (at, args): (Vec<_>, Vec<_>) =
            args.iter().map(String::as_str).partition(|arg| arg.starts_with("--endpoints="));
        let at = at.first().and_then(|at| at.split_once('='));
        let ctl = at.map_or(self.ctl.clone(), |(_, url)| self.ctl.at(url.to_owned()));
        let output = ctl.output(&args);
        if line.starts_with("member add") && output.status.success() {
            self.learn_ids();
        }
        let printed = part.of(&String::from_utf8_lossy(&output.stdout));
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        // What it logs has the time in it.
        let is_log = |line: &&str| line.starts_with('{');
        let complaints: Vec<&str> = complaints.lines().filter(|line| !is_log(line)).collect();
        let code = output.status.code();
        let mut said = format!("{code:?}\n{printed}\n{}", complaints.join("\n"));
        for (name, meant) in self.words() {
            let decimal = u64::from_str_radix(&meant, 16).map(|id| id.to_string());
            said = said.replace(&meant, &name);
            if let Ok(decimal) = decimal {
                said = said.replace(&decimal, &name);
            }
            // Some messages have a column of 16 digits for ids, and one id in 16 has fewer.
            said = said.replace(&format!("  {name}"), &format!(" {name}"));
        }
        part.ordered(&said)
    }
}

impl Part {
    fn of(self, printed: &str) -> String {
        let each = |pick: &dyn Fn(&str) -> String| {
            printed.lines().map(pick).collect::<Vec<_>>().join("\n")
        };
        match self {
            All | Lines => printed.to_owned(),
            Until(end) => each(&|line| line.split(end).next().unwrap_or_default().to_owned()),
            Columns(wanted) => each(&|line| {
                let columns: Vec<&str> = line.split(", ").collect();
                let pick = |at: &usize| columns.get(*at).copied().unwrap_or("(none)");
                wanted.iter().map(pick).collect::<Vec<_>>().join(", ")
            }),
            Json => {
                let mut value = serde_json::from_str(printed).expect("JSON");
                level(&mut value);
                value.to_string()
            }
        }
    }

    /// Sorted, where the order says nothing.
    fn ordered(self, said: &str) -> String {
        let mut lines: Vec<&str> = said.lines().collect();
        if !matches!(self, All | Json) {
            lines.sort_unstable();
        }
        lines.join("\n")
    }
}

/// Takes out what differs between any two clusters.
fn level(value: &mut Value) {
    const OWN: &[&str] = &[
        "cluster_id",
        "raft_term",
        "raftTerm",
        "raftIndex",
        "raftAppliedIndex",
        "dbSize",
        "dbSizeInUse",
    ];
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if OWN.contains(&name.as_str()) {
                    *value = "its own".into();
                }
                level(value);
            }
        }
        Value::Array(values) => {
            values.iter_mut().for_each(level);
            values.sort_by_key(|value| (value["name"].to_string(), value["Endpoint"].to_string()));
        }
        _ => {}
    }
}

#[test]
fn an_operator_cannot_tell_them_apart() {
    let Some(judge) = judge::find() else { return };
    let Some(mut etcd) = Bench::start(Some(&judge)) else { return };
    let Some(mut ours) = Bench::start(None) else { return };
    let (mut differences, mut served) = (Vec::new(), 0);
    for &step in SCRIPT {
        let (theirs, own) = (etcd.say(step), ours.say(step));
        served += usize::from(theirs.contains("Some(0)"));
        if theirs != own {
            differences.push(format!("$ etcdctl {}\netcd: {theirs}\nours: {own}\n", step.0));
        }
    }
    // What the members logged says nothing about what they answered.
    drop((etcd, ours));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(served, 44, "of the commands succeed, the others are refused");
}

/// Flags as a help text lists them.
fn flags(program: &Path) -> BTreeSet<String> {
    let output = Command::new(program).arg("--help").output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_flag_of_etcds_is_known() {
    // In its help text still, and unknown to it.
    const GONE: [&str; 2] = ["discovery", "discovery-proxy"];
    let Some(judge) = judge::find() else { return };
    let (theirs, ours) = (flags(&judge), flags(&accept::program()));
    let unknown: Vec<_> =
        theirs.difference(&ours).filter(|name| !GONE.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(theirs.len() > 100, "only {} flags found", theirs.len());
}
