//! `/metrics`: the parser that Prometheus ships for Python accepts it, and whatever a real etcd
//! 3.7 tells under a name is told here under that name, with the same type and labels, but for
//! what `docs/metrics.md` lists.

mod accept;
#[path = "compat/judge.rs"]
#[allow(dead_code, reason = "only the judge's place is asked for")]
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use accept::ctl::Ctl;
use accept::wire::get;
use accept::{Cluster, Options, python, wait_for};

/// A page about three members: each name with its type and the sets of labels its series have.
type Shape = BTreeMap<String, (String, BTreeSet<Vec<String>>)>;

/// Three members after a little of everything, as their first tells.
fn told(program: Option<&std::path::Path>) -> Option<String> {
    let flags = vec!["--metrics=extensive".to_owned()];
    let mut cluster = Cluster::prepare(3, &Options { flags });
    for member in &mut cluster.members {
        if let Some(program) = program {
            member.program = program.to_owned();
        }
        member.spawn();
    }
    cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
    let ctl = Ctl::find(&cluster)?.at(cluster.members[0].url());
    for words in [
        &["put", "a", "1"][..],
        &["get", "a"],
        &["del", "a"],
        &["lease", "grant", "60"],
        &["compaction", "2"],
        &["defrag"],
        &["endpoint", "hashkv"],
        &["alarm", "list"],
    ] {
        ctl.run(words);
    }
    ctl.run_with_input(&["txn"], "\nput a 1\nput b 2\n\n\n");
    let first = cluster.members[0].client;
    let page = |path: &str| get(first, path);
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(page(path).0, 200, "{path}");
    }
    wait_for(Duration::from_secs(10), "round trips", || {
        page("/metrics").1.contains("etcd_network_peer_round_trip_time_seconds_count")
    });
    Some(page("/metrics").1)
}

fn shape(text: &str) -> Shape {
    let mut shape = Shape::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            shape.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if !line.starts_with('#') && !line.is_empty() {
            let end = line.find(['{', ' ']).expect("a value");
            let labels = line[end..].strip_prefix('{').and_then(|rest| rest.split_once("} "));
            let labels = labels.map_or("", |(labels, _)| labels).split("\",");
            let names = labels.filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            let mut names: Vec<String> =
                names.filter(|name| *name != "le").map(str::to_owned).collect();
            names.sort_unstable();
            let name = family(&shape, &line[..end]);
            shape.entry(name).or_default().1.insert(names);
        }
    }
    shape
}

/// The name of the metric a series belongs to.
fn family(shape: &Shape, series: &str) -> String {
    let parts = ["_bucket", "_sum", "_count"];
    let whole = parts.iter().filter_map(|part| series.strip_suffix(part));
    let found = whole.into_iter().find(|name| shape.contains_key(*name));
    found.unwrap_or(series).to_owned()
}

/// What the page about metrics says is not told here.
fn left_out() -> Vec<String> {
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn whatever_etcd_tells_is_told() {
    let Some(judge) = judge::find() else { return };
    let (Some(theirs), Some(ours)) = (told(Some(&judge)), told(None)) else { return };
    let (theirs, ours) = (shape(&theirs), shape(&ours));
    let left_out = left_out();
    let is_left_out = |name: &str| {
        left_out.iter().any(|listed| match listed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == listed,
        })
    };
    let mut wrong = Vec::new();
    for (name, (kind, labels)) in &theirs {
        match ours.get(name) {
            None if is_left_out(name) => {}
            None => wrong.push(format!("{name}: missing, a {kind} with {labels:?}")),
            Some(own) if own.0 != *kind => {
                wrong.push(format!("{name}: a {}, should be a {kind}", own.0));
            }
            Some(_) if is_left_out(name) => wrong.push(format!("{name}: told, yet listed")),
            Some(own) => {
                let lacking: Vec<_> = labels.difference(&own.1).collect();
                if !lacking.is_empty() {
                    wrong.push(format!("{name}: no series with {lacking:?}, but {:?}", own.1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(theirs.len() > 100, "only {} metrics compared", theirs.len());
}

#[test]
fn prometheus_reads_it() {
    let Some(python) = python::find("prometheus_client") else { return };
    let Some(text) = told(None) else { return };
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as read\n\
        print(sum(len(family.samples) for family in read(sys.stdin.read())))";
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut stdin = child.stdin.take().expect("a piped stdin");
    stdin.write_all(text.as_bytes()).expect("python reads");
    drop(stdin);
    let output = child.wait_with_output().expect("our own child");
    assert!(output.status.success());
    let read: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    let written = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(read, written);
}
