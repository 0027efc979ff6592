//! A cluster that lost its quorum for ever goes on as the member that is left; and a start that
//! was cut short before the first entry is a first start again.

mod accept;

use std::time::Duration;

use accept::api::{Api, leader_of};
use accept::ctl::Ctl;
use accept::offline::Tool;
use accept::{Cluster, Member, Options, is_quorate, wait_for};
use quorate_io_tokio::bootstrap::{cluster_id, member_id};
use quorate_io_tokio::disk::{DataDir, Identity, recovery};
use rustix::process::Signal;

/// How long a member that was left behind may take to find out.
const END_MAX: Duration = Duration::from_secs(15);

/// Starts a member as the only one of its cluster, and only this once.
fn start_alone(member: &mut Member) {
    member.env.push(("ETCD_FORCE_NEW_CLUSTER".into(), "true".into()));
    member.start();
    member.env.pop();
}

fn value_of(member: &Member, key: &str) -> Option<Vec<u8>> {
    let all = Api::new(member.client).range_all(false).expect("a member that serves");
    let found = all.kvs.iter().find(|kv| kv.key == key.as_bytes());
    found.map(|kv| kv.value.to_vec())
}

#[test]
fn the_member_that_is_left_goes_on_with_all_it_has() {
    let mut cluster = Cluster::start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let first = Api::new(cluster.members[0].client);
    for n in 0..200 {
        first.put(&format!("key{n}"), vec![b'v'; 100]).expect("a write to a healthy cluster");
    }
    cluster.members.iter_mut().for_each(Member::kill);

    let survivor = &mut cluster.members[2];
    start_alone(survivor);
    let alone = ctl.at(survivor.url());
    let listed = alone.json(&["member", "list"]);
    assert_eq!(listed["members"].as_array().map(Vec::len), Some(1), "{listed}");
    for n in 0..200 {
        assert!(value_of(survivor, &format!("key{n}")).is_some(), "key{n}");
    }
    alone.run(&["put", "after", "1"]);
    // The flag forces nothing where nobody is left, and is not needed again.
    survivor.kill();
    start_alone(survivor);
    survivor.kill();
    survivor.start();
    assert_eq!(alone.run(&["get", "after", "--print-value-only"]), "1\n");

    // Whoever was left behind is a removed member.
    let mut late = cluster.members.remove(0);
    late.spawn();
    wait_for(END_MAX, "a member that was left behind to end", || late.has_ended());
}

#[test]
fn the_offline_tool_says_what_it_will_do_and_does_it() {
    if !is_quorate() {
        eprintln!("SKIPPED: no other server has such a tool");
        return;
    }
    let mut cluster = Cluster::start(3);
    let first = Api::new(cluster.members[0].client);
    first.put("key", b"1".to_vec()).expect("a write to a healthy cluster");
    cluster.members.iter_mut().for_each(Member::kill);
    let dir = cluster.members[1].data_dir.to_str().expect("a path in letters").to_owned();
    let tool = Tool::ours();
    let (told, _) = tool.run(&["recover", &dir, "--dry-run"]);
    assert!(told.contains("would do this: member") && told.contains("removes"), "{told}");
    let (again, _) = tool.run(&["recover", &dir, "--dry-run"]);
    assert_eq!(again, told);
    let (done, _) = tool.run(&["recover", &dir]);
    assert!(done.contains("done: member") && done.contains("Start this member as usual"), "{done}");
    let survivor = &mut cluster.members[1];
    survivor.start();
    assert_eq!(value_of(survivor, "key"), Some(b"1".to_vec()));
    Api::new(survivor.client).put("after", b"2".to_vec()).expect("a write alone");
}

#[test]
fn what_the_log_holds_is_kept_even_if_nobody_knows_it_to_be_committed() {
    if !is_quorate() {
        eprintln!("SKIPPED: another server may throw away what it does not know to be committed");
        return;
    }
    let mut cluster = Cluster::start(3);
    let leader = leader_of(&cluster);
    for (number, member) in cluster.members.iter().enumerate() {
        if number != leader {
            member.signal(Signal::STOP);
        }
    }
    let asked = Api::new(cluster.members[leader].client);
    asked.put("unsure", b"1".to_vec()).expect_err("nobody else can hear of it");
    cluster.members.iter_mut().for_each(Member::kill);
    start_alone(&mut cluster.members[leader]);
    assert_eq!(value_of(&cluster.members[leader], "unsure"), Some(b"1".to_vec()));
}

#[test]
fn a_start_that_was_cut_short_is_a_first_start_again() {
    if !is_quorate() {
        eprintln!("SKIPPED: another server's directory is laid out in another way");
        return;
    }
    let mut cluster = Cluster::prepare(1, &Options::default());
    let member = &mut cluster.members[0];
    let id = member_id(&[format!("http://{}", member.peer)], "accept");
    let identity = Identity { member: id, cluster: cluster_id([id]) };
    let dir = DataDir::open(&member.data_dir).expect("a directory of our own");
    recovery::create(&dir, identity).expect("a log without entries");
    drop(dir);
    member.start();
    Api::new(member.client).put("key", b"1".to_vec()).expect("a write");
}
