//! Debian's etcdctl 3.4 against one member and against three: exact outputs.
//!
//! Each behaviour is a function that is given a client of a fresh cluster, so that revisions in
//! its expectations are absolute. A serializable read may come from a member that lags: it is
//! repeated until it is right.

mod accept;

use std::time::Duration;

use accept::ctl::Ctl;
use accept::{Cluster, assert_eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(300);

macro_rules! on_one_and_three {
    ($($behaviour:ident),+ $(,)?) => {
        mod one {
            $(#[test] fn $behaviour() { super::with_cluster(1, super::$behaviour); })+
        }
        mod three {
            $(#[test] fn $behaviour() { super::with_cluster(3, super::$behaviour); })+
        }
    };
}

on_one_and_three!(
    a_put_is_read_back,
    a_put_keeps_what_it_is_told_to_keep,
    ranges_and_limits,
    every_sort_order,
    every_output_format,
    past_revisions,
    deletes,
    a_transaction_takes_one_branch,
    a_transaction_compares_everything,
    compaction_forgets,
    a_watch_sees_the_past_and_the_present,
    an_interactive_watch_can_be_cancelled,
    a_lease_lives_and_is_revoked,
    a_lease_expires,
    members_and_their_state,
    hashes_of_known_histories,
);

fn with_cluster(size: usize, behaviour: fn(&Ctl, &Cluster)) {
    if accept::find_client("etcdctl").is_none() {
        return;
    }
    let cluster = Cluster::start(size);
    let ctl = Ctl::find(&cluster).expect("etcdctl was there a moment ago");
    behaviour(&ctl, &cluster);
}

fn put(ctl: &Ctl, key: &str, value: &str) {
    assert_eq!(ctl.run(&["put", key, value]), "OK\n");
}

/// A JSON answer without what differs between clusters; the revision stays.
fn anonymous(mut answer: Value) -> Value {
    if let Some(header) = answer.get_mut("header").and_then(Value::as_object_mut) {
        header.retain(|field, _| field == "revision");
    }
    answer
}

fn a_put_is_read_back(ctl: &Ctl, _: &Cluster) {
    put(ctl, "a", "1");
    assert_eq!(ctl.run(&["get", "a"]), "a\n1\n");
    assert_eq!(ctl.run(&["get", "a", "--print-value-only"]), "1\n");
    assert_eq!(ctl.run(&["get", "a", "--hex"]), "\\x61\n\\x31\n");
    assert_eq!(ctl.run(&["get", "absent"]), "");
    assert_eventually(SOON, &"a\n1\n".to_string(), || ctl.run(&["get", "a", "--consistency=s"]));
    assert_eq!(ctl.run_with_input(&["put", "piped"], "from stdin"), "OK\n");
    assert_eq!(ctl.run(&["get", "piped", "--consistency=l"]), "piped\nfrom stdin\n");
    assert_eq!(ctl.run(&["put", "--", "-dash", "v"]), "OK\n");
    assert_eq!(ctl.run(&["get", "--", "-dash"]), "-dash\nv\n");
    assert_eq!(ctl.fail(&["put", "", "v"]), "Error: etcdserver: key is not provided");
}

fn a_put_keeps_what_it_is_told_to_keep(ctl: &Ctl, _: &Cluster) {
    put(ctl, "a", "1");
    assert_eq!(ctl.run(&["put", "a", "2", "--prev-kv"]), "OK\na\n1\n");
    assert_eq!(ctl.run(&["put", "fresh", "1", "--prev-kv"]), "OK\n");
    assert_eq!(ctl.run(&["put", "a", "--ignore-value"]), "OK\n");
    assert_eq!(
        anonymous(ctl.json(&["get", "a"])),
        json!({"header": {"revision": 5}, "count": 1, "kvs": [{
            "key": "YQ==", "create_revision": 2, "mod_revision": 5, "version": 3, "value": "Mg=="
        }]})
    );
    let lease = grant(ctl, 600);
    assert_eq!(ctl.run(&["put", "a", "3", &format!("--lease={lease}")]), "OK\n");
    assert_eq!(ctl.run(&["put", "a", "4", "--ignore-lease"]), "OK\n");
    let id = i64::from_str_radix(&lease, 16).expect("a lease id in hex");
    let answer = ctl.json(&["get", "a"]);
    assert_eq!(
        (&answer["kvs"][0]["lease"], &answer["kvs"][0]["value"]),
        (&json!(id), &json!("NA=="))
    );
    let missing = "Error: etcdserver: key not found";
    assert_eq!(ctl.fail(&["put", "absent", "--ignore-value"]), missing);
    assert_eq!(ctl.fail(&["put", "absent", "v", "--ignore-lease"]), missing);
}

fn ranges_and_limits(ctl: &Ctl, _: &Cluster) {
    for (key, value) in [("a", "1"), ("b", "2"), ("b/1", "3"), ("b/2", "4"), ("c", "5")] {
        put(ctl, key, value);
    }
    assert_eq!(ctl.run(&["get", "a", "b/1"]), "a\n1\nb\n2\n");
    assert_eq!(ctl.run(&["get", "b", "--prefix"]), "b\n2\nb/1\n3\nb/2\n4\n");
    assert_eq!(ctl.run(&["get", "", "--prefix", "--keys-only"]), "a\n\nb\n\nb/1\n\nb/2\n\nc\n\n");
    assert_eq!(ctl.run(&["get", "b/2", "--from-key"]), "b/2\n4\nc\n5\n");
    assert_eq!(ctl.run(&["get", "b", "a"]), "");
    assert_eq!(ctl.run(&["get", "--from-key", "", "--limit=2"]), "a\n1\nb\n2\n");
    assert_eq!(
        anonymous(ctl.json(&["get", "b", "--prefix", "--limit=1", "--keys-only"])),
        json!({"header": {"revision": 6}, "count": 3, "more": true, "kvs": [{
            "key": "Yg==", "create_revision": 3, "mod_revision": 3, "version": 1
        }]})
    );
    assert_eq!(anonymous(ctl.json(&["get", "b", "--prefix", "--limit=3"]))["more"], Value::Null);
}

fn every_sort_order(ctl: &Ctl, _: &Cluster) {
    // key order x y z; create order y z x; change order z x y; versions x1 z2 y3; values y z x
    put(ctl, "y", "a");
    put(ctl, "z", "q");
    put(ctl, "y", "a");
    put(ctl, "z", "b");
    put(ctl, "x", "c");
    put(ctl, "y", "a");
    let keys = |target: &str, order: &str| {
        let flags = [format!("--sort-by={target}"), format!("--order={order}")];
        let args = ["get", "", "--prefix", "--keys-only", &flags[0], &flags[1]];
        ctl.run(&args).split_whitespace().collect::<String>()
    };
    let expected = [
        ("KEY", "xyz"),
        ("CREATE", "yzx"),
        ("MODIFY", "zxy"),
        ("VERSION", "xzy"),
        ("VALUE", "yzx"),
    ];
    for (target, ascending) in expected {
        let descending: String = ascending.chars().rev().collect();
        assert_eq!(keys(target, "ASCEND"), ascending, "by {target}");
        assert_eq!(keys(target, "DESCEND"), descending, "by {target}, reversed");
    }
    assert_eq!(ctl.run(&["get", "", "--prefix", "--order=DESCEND", "--limit=1"]), "z\nb\n");
    let newest = ["get", "", "--prefix", "--sort-by=MODIFY", "--order=DESCEND", "--limit=1"];
    assert_eq!(ctl.run(&newest), "y\na\n");
}

fn every_output_format(ctl: &Ctl, _: &Cluster) {
    put(ctl, "a", "1");
    put(ctl, "a", "2");
    let fields = ctl.run(&["get", "a", "-w", "fields"]);
    let after_ids: Vec<&str> = fields.lines().skip(2).filter(|l| !l.contains("RaftTerm")).collect();
    let expected = [
        "\"Revision\" : 3",
        "\"Key\" : \"a\"",
        "\"CreateRevision\" : 2",
        "\"ModRevision\" : 3",
        "\"Version\" : 2",
        "\"Value\" : \"2\"",
        "\"Lease\" : 0",
        "\"More\" : false",
        "\"Count\" : 1",
    ];
    assert_eq!(after_ids, expected);
    let empty = ctl.run(&["get", "none", "-w", "fields"]);
    assert!(empty.ends_with("\"More\" : false\n\"Count\" : 0\n"), "{empty}");
    let answer = ctl.json(&["get", "a"]);
    for id in ["cluster_id", "member_id", "raft_term"] {
        assert!(answer["header"][id].as_u64().is_some_and(|id| id > 0), "{id} in {answer}");
    }
    assert_eq!(
        anonymous(ctl.json(&["put", "b", "1", "--prev-kv"])),
        json!({"header": {"revision": 4}})
    );
}

fn past_revisions(ctl: &Ctl, _: &Cluster) {
    put(ctl, "a", "1");
    put(ctl, "a", "2");
    put(ctl, "b", "3");
    assert_eq!(ctl.run(&["del", "a"]), "1\n");
    assert_eq!(ctl.run(&["get", "a", "--rev=2"]), "a\n1\n");
    assert_eq!(ctl.run(&["get", "a", "--rev=4"]), "a\n2\n");
    assert_eq!(ctl.run(&["get", "", "--prefix", "--rev=4"]), "a\n2\nb\n3\n");
    assert_eq!(ctl.run(&["get", "", "--prefix", "--rev=5"]), "b\n3\n");
    assert_eq!(ctl.run(&["get", "b", "--rev=3"]), "");
    let future = "Error: etcdserver: mvcc: required revision is a future revision";
    assert_eq!(ctl.fail(&["get", "a", "--rev=6"]), future);
    put(ctl, "a", "again");
    assert_eq!(
        anonymous(ctl.json(&["get", "a"])),
        json!({"header": {"revision": 6}, "count": 1, "kvs": [{
            "key": "YQ==", "create_revision": 6, "mod_revision": 6, "version": 1,
            "value": "YWdhaW4="
        }]})
    );
}

fn deletes(ctl: &Ctl, _: &Cluster) {
    for key in ["a", "b", "b/1", "b/2", "c", "d", "e"] {
        put(ctl, key, "v");
    }
    assert_eq!(ctl.run(&["del", "absent"]), "0\n");
    assert_eq!(ctl.run(&["del", "a", "--prev-kv"]), "1\na\nv\n");
    assert_eq!(ctl.run(&["del", "b", "--prefix", "--prev-kv"]), "3\nb\nv\nb/1\nv\nb/2\nv\n");
    assert_eq!(ctl.run(&["del", "c", "d"]), "1\n");
    assert_eq!(ctl.run(&["del", "d", "--from-key"]), "2\n");
    assert_eq!(
        anonymous(ctl.json(&["get", "", "--prefix"])),
        json!({"header": {"revision": 12}}),
        "four deletes that found something, one revision each"
    );
    assert_eq!(anonymous(ctl.json(&["del", "x"])), json!({"header": {"revision": 12}}));
}

fn a_transaction_takes_one_branch(ctl: &Ctl, _: &Cluster) {
    let script = "value(\"k\") = \"1\"\n\nput k 2\nget k\n\nput k 1\nget k\n\n";
    assert_eq!(ctl.run_with_input(&["txn"], script), "FAILURE\n\nOK\n\nk\n1\n");
    assert_eq!(ctl.run_with_input(&["txn"], script), "SUCCESS\n\nOK\n\nk\n2\n");
    assert_eq!(ctl.run_with_input(&["txn"], script), "FAILURE\n\nOK\n\nk\n1\n");
    let asked = "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\n";
    let interactive = ctl.run_with_input(&["txn", "-i"], "mod(\"k\") > \"3\"\n\ndel k\n\n\n");
    assert_eq!(interactive, format!("{asked}SUCCESS\n\n1\n"));
    assert_eq!(
        anonymous(ctl.json(&["get", "k"])),
        json!({"header": {"revision": 5}}),
        "one revision for each transaction that wrote"
    );
    let twice = ctl.run_with_input(&["txn"], "\nput a 1\nput b 2\ndel z\n\n\n");
    assert_eq!(twice, "SUCCESS\n\nOK\n\nOK\n\n0\n");
    assert_eq!(anonymous(ctl.json(&["get", "b"]))["kvs"][0]["mod_revision"], json!(6));
}

fn a_transaction_compares_everything(ctl: &Ctl, _: &Cluster) {
    put(ctl, "k", "m");
    put(ctl, "k", "m");
    let outcomes = [
        ("version(\"k\") = \"2\"", "SUCCESS"),
        ("version(\"k\") > \"2\"", "FAILURE"),
        ("create(\"k\") = \"2\"", "SUCCESS"),
        ("c(\"k\") < \"2\"", "FAILURE"),
        ("mod(\"k\") = \"3\"", "SUCCESS"),
        ("m(\"k\") != \"3\"", "FAILURE"),
        ("value(\"k\") < \"n\"", "SUCCESS"),
        ("val(\"k\") > \"n\"", "FAILURE"),
        ("version(\"absent\") = \"0\"", "SUCCESS"),
        ("create(\"absent\") > \"0\"", "FAILURE"),
        ("value(\"absent\") = \"\"", "FAILURE"),
    ];
    for (compare, expected) in outcomes {
        let printed = ctl.run_with_input(&["txn"], &format!("{compare}\n\nget k\n\n\n"));
        assert_eq!(printed.lines().next(), Some(expected), "{compare}");
    }
}

fn compaction_forgets(ctl: &Ctl, _: &Cluster) {
    for value in ["1", "2", "3"] {
        put(ctl, "a", value);
    }
    put(ctl, "b", "1");
    assert_eq!(ctl.run(&["compaction", "3"]), "compacted revision 3\n");
    let compacted = "Error: etcdserver: mvcc: required revision has been compacted";
    assert_eq!(ctl.fail(&["get", "a", "--rev=2"]), compacted);
    assert_eq!(ctl.run(&["get", "a", "--rev=3"]), "a\n2\n");
    assert_eq!(ctl.fail(&["compaction", "3"]), compacted);
    let future = "Error: etcdserver: mvcc: required revision is a future revision";
    assert_eq!(ctl.fail(&["compaction", "6"]), future);
    assert_eq!(ctl.run(&["compaction", "5", "--physical"]), "compacted revision 5\n");
    assert_eq!(ctl.fail(&["get", "a", "--rev=4"]), compacted);
    assert_eq!(ctl.run(&["get", "", "--prefix", "--rev=5"]), "a\n3\nb\n1\n");
    let output = ctl.output(&["watch", "a", "--rev=2"]);
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    let expected = "watch was canceled (etcdserver: mvcc: required revision has been compacted)";
    assert!(complaint.contains(expected), "{complaint}");
}

fn a_watch_sees_the_past_and_the_present(ctl: &Ctl, _: &Cluster) {
    put(ctl, "a", "1");
    put(ctl, "a", "2");
    put(ctl, "b", "x");
    assert_eq!(ctl.run(&["del", "a"]), "1\n");
    let from_the_past = ctl.follow(&["watch", "a", "--rev=2"]);
    let past = ["PUT", "a", "1", "PUT", "a", "2", "DELETE", "a", ""];
    assert_eq!(from_the_past.next_lines(9), past);
    let with_prev = ctl.follow(&["watch", "a", "--rev=3", "--prev-kv"]);
    let past = ["PUT", "a", "1", "a", "2", "DELETE", "a", "2", "a", ""];
    assert_eq!(with_prev.next_lines(10), past);
    let of_prefix = ctl.follow(&["watch", "", "--prefix", "--rev=4"]);
    assert_eq!(of_prefix.next_lines(6), ["PUT", "b", "x", "DELETE", "a", ""]);
    let of_range = ctl.follow(&["watch", "a", "c", "--rev=4"]);
    assert_eq!(of_range.next_lines(3), ["PUT", "b", "x"]);

    put(ctl, "a", "now");
    assert_eq!(from_the_past.next_lines(3), ["PUT", "a", "now"]);
    assert_eq!(of_prefix.next_lines(3), ["PUT", "a", "now"]);
    put(ctl, "c", "outside");
    assert_eq!(of_prefix.next_lines(3), ["PUT", "c", "outside"]);
    from_the_past.assert_silent(QUIET);
    let both = ctl.run_with_input(&["txn"], "\nput p 1\nput q 2\n\n\n");
    assert_eq!(both, "SUCCESS\n\nOK\n\nOK\n");
    assert_eq!(of_prefix.next_lines(6), ["PUT", "p", "1", "PUT", "q", "2"]);
}

fn an_interactive_watch_can_be_cancelled(ctl: &Ctl, _: &Cluster) {
    put(ctl, "a", "1");
    let mut session = ctl.follow(&["watch", "-i"]);
    session.enter("watch a --rev=2");
    session.enter("watch b --rev=2");
    assert_eq!(session.next_lines(3), ["PUT", "a", "1"]);
    put(ctl, "b", "2");
    assert_eq!(session.next_lines(3), ["PUT", "b", "2"]);
    session.enter("progress");
    assert_eq!(session.next_lines(1), ["progress notify: 3"]);
    drop(session);
    put(ctl, "b", "3");
    let after = ctl.follow(&["watch", "b", "--rev=4"]);
    assert_eq!(after.next_lines(3), ["PUT", "b", "3"]);
}

/// Grants a lease; its id in hex.
fn grant(ctl: &Ctl, seconds: u32) -> String {
    let printed = ctl.run(&["lease", "grant", &seconds.to_string()]);
    let id = printed.split(' ').nth(1).expect("lease <id> granted ...").to_string();
    assert_eq!(printed, format!("lease {id} granted with TTL({seconds}s)\n"));
    id
}

fn a_lease_lives_and_is_revoked(ctl: &Ctl, _: &Cluster) {
    let lease = grant(ctl, 600);
    let attach = format!("--lease={lease}");
    assert_eq!(ctl.run(&["put", "l1", "v", &attach]), "OK\n");
    assert_eq!(ctl.run(&["put", "l2", "v", &attach]), "OK\n");
    put(ctl, "free", "v");
    let alive = ctl.run(&["lease", "timetolive", &lease, "--keys"]);
    let begins = format!("lease {lease} granted with TTL(600s), remaining(");
    let rest = alive.strip_prefix(&begins).unwrap_or_else(|| panic!("{alive}"));
    let (remaining, keys) = rest.split_once("s)").expect("seconds remaining");
    let remaining: u32 = remaining.parse().expect("a number of seconds");
    assert!((590..=600).contains(&remaining), "{alive}");
    let orders = [", attached keys([l1 l2])\n", ", attached keys([l2 l1])\n"];
    assert!(orders.contains(&keys), "{alive}");
    let kept = ctl.run(&["lease", "keep-alive", "--once", &lease]);
    assert_eq!(kept, format!("lease {lease} keepalived with TTL(600)\n"));
    let other = grant(ctl, 300);
    let mut both = [lease.clone(), other];
    both.sort();
    assert_eventually(SOON, &("found 2 leases".to_string(), both.to_vec()), || {
        let printed = ctl.run(&["lease", "list"]);
        let mut lines = printed.lines().map(String::from);
        let head = lines.next().unwrap_or_default();
        let mut ids: Vec<String> = lines.collect();
        ids.sort();
        (head, ids)
    });

    assert_eq!(ctl.run(&["lease", "revoke", &lease]), format!("lease {lease} revoked\n"));
    assert_eq!(ctl.run(&["get", "", "--prefix"]), "free\nv\n");
    assert_eq!(anonymous(ctl.json(&["get", "l1"])), json!({"header": {"revision": 5}}));
    let gone = "etcdserver: requested lease not found";
    let revoked = ctl.fail(&["lease", "revoke", &lease]);
    assert_eq!(revoked, format!("Error: failed to revoke lease ({gone})"));
    assert_eq!(ctl.fail(&["put", "l1", "v", &attach]), format!("Error: {gone}"));
    let kept = ctl.fail(&["lease", "keep-alive", "--once", &lease]);
    assert_eq!(kept, format!("Error: {gone}"));
    let expired = format!("lease {lease} already expired\n");
    assert_eq!(ctl.run(&["lease", "timetolive", &lease]), expired);
}

fn a_lease_expires(ctl: &Ctl, _: &Cluster) {
    let lease = grant(ctl, 2);
    assert_eq!(ctl.run(&["put", "k", "v", &format!("--lease={lease}")]), "OK\n");
    let watch = ctl.follow(&["watch", "k", "--rev=2"]);
    assert_eq!(watch.next_lines(3), ["PUT", "k", "v"]);
    assert_eq!(watch.next_lines(3), ["DELETE", "k", ""]);
    assert_eq!(ctl.run(&["get", "k"]), "");
    let expired = format!("lease {lease} already expired\n");
    assert_eventually(SOON, &expired, || ctl.run(&["lease", "timetolive", &lease]));
}

fn members_and_their_state(ctl: &Ctl, cluster: &Cluster) {
    put(ctl, "a", "1");
    let size = cluster.members.len();
    let list = ctl.json(&["member", "list"]);
    let mut found: Vec<(String, Value)> = Vec::new();
    for member in list["members"].as_array().expect("members") {
        assert!(member["ID"].as_u64().is_some_and(|id| id > 0));
        assert_eq!(member["peerURLs"].as_array().map(Vec::len), Some(1));
        let name = member["name"].as_str().expect("a name").to_string();
        found.push((name, member["clientURLs"].clone()));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected: Vec<(String, Value)> =
        cluster.members.iter().map(|m| (m.name.clone(), json!([m.url()]))).collect();
    assert_eq!(found, expected);

    let status = ctl.json(&["endpoint", "status"]);
    let status = status.as_array().expect("one status per endpoint");
    assert_eq!(status.len(), size);
    let leaders: Vec<&Value> = status.iter().map(|one| &one["Status"]["leader"]).collect();
    assert!(leaders.iter().all(|leader| *leader == leaders[0]), "{leaders:?}");
    let is_leader = |one: &&Value| one["Status"]["header"]["member_id"] == *leaders[0];
    assert_eq!(status.iter().filter(is_leader).count(), 1);
    for one in status {
        let version = one["Status"]["version"].as_str().expect("a version");
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
        assert!(one["Status"]["dbSize"].as_u64().is_some_and(|size| size > 0));
        assert!(one["Status"]["raftIndex"].as_u64().is_some_and(|index| index >= 3));
        assert_eq!(one["Status"]["raftTerm"], status[0]["Status"]["raftTerm"]);
        assert_eq!(one["Status"]["errors"], Value::Null);
    }
    for one in ctl.json(&["endpoint", "health"]).as_array().expect("one per endpoint") {
        assert_eq!(one["health"], json!(true));
    }
    assert_eq!(ctl.run(&["alarm", "list"]), "");
    assert_eq!(ctl.run(&["alarm", "disarm"]), "");
    let listed = ctl.run(&["member", "list"]);
    assert_eq!(listed.lines().filter(|line| line.ends_with(", false")).count(), size);
    assert_eq!(listed.lines().filter(|line| line.contains(", started, ")).count(), size);
}

/// The hash of each member's history, asked until all agree on a revision.
fn hash_at(ctl: &Ctl, size: usize, revision: i64) -> (u64, i64) {
    let mut hashes = Vec::new();
    assert_eventually(SOON, &vec![revision; size], || {
        let answer = ctl.json(&["endpoint", "hashkv"]);
        let all = answer.as_array().expect("one per endpoint").clone();
        hashes = all.iter().map(|one| one["HashKV"].clone()).collect();
        let revision_of = |one: &Value| one["header"]["revision"].as_i64().unwrap_or_default();
        hashes.iter().map(revision_of).collect()
    });
    let parse = |one: &Value| {
        let compacted = one["compact_revision"].as_i64().unwrap_or_default();
        (one["hash"].as_u64().expect("a hash"), compacted)
    };
    let first = parse(&hashes[0]);
    assert!(hashes.iter().all(|one| parse(one) == first), "{hashes:?}");
    first
}

fn hashes_of_known_histories(ctl: &Ctl, cluster: &Cluster) {
    let size = cluster.members.len();
    assert_eq!(hash_at(ctl, size, 1), (1_084_519_789, -1));
    put(ctl, "foo", "bar");
    assert_eq!(hash_at(ctl, size, 2), (3_305_255_506, -1));
    put(ctl, "foo", "baz");
    assert_eq!(hash_at(ctl, size, 3), (2_020_292_994, -1));
    assert_eq!(ctl.run(&["del", "foo"]), "1\n");
    assert_eq!(hash_at(ctl, size, 4), (3_153_096_970, -1));
    assert_eq!(ctl.run_with_input(&["txn"], "\nput a 1\nput b 2\n\n\n"), "SUCCESS\n\nOK\n\nOK\n");
    assert_eq!(hash_at(ctl, size, 5), (2_130_390_800, -1));
}
