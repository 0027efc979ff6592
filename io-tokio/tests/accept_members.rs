//! Members come and go: by etcdctl, under load, with members dying in between.

mod accept;

use std::time::{Duration, Instant};

use accept::api::{Api, leader_of};
use accept::ctl::Ctl;
use accept::load::Load;
use accept::{Cluster, ELECTION_TIMEOUT, Member, Options, history, is_quick, wait_for};
use serde_json::Value;

/// A change may be refused for a while: a cluster that has just started is not yet known to be
/// healthy, a learner has still to catch up.
const CHANGE_MAX: Duration = Duration::from_secs(30);
/// How long a removed member may take to find out.
const END_MAX: Duration = Duration::from_secs(10);

/// Runs a change until it is accepted.
fn change(ctl: &Ctl, args: &[&str]) {
    wait_for(CHANGE_MAX, &format!("{args:?}"), || ctl.output(args).status.success());
}

fn members(ctl: &Ctl) -> Vec<Value> {
    ctl.json(&["member", "list"])["members"].as_array().expect("a list").clone()
}

/// The id of the member with that peer address, as etcdctl takes it.
fn id_of(ctl: &Ctl, member: &Member) -> String {
    let url = format!("http://{}", member.peer);
    let has_url = |one: &&Value| one["peerURLs"].as_array().is_some_and(|urls| urls[0] == *url);
    let found = members(ctl).iter().find(has_url).map(|one| one["ID"].clone());
    let id = found.expect("a member of that URL");
    format!("{:x}", id.as_u64().expect("ids are numbers"))
}

/// Adds a member as a learner, starts it, and gives it a vote.
fn admit(ctl: &Ctl, cluster: &Cluster, mut new: Member) -> Member {
    let url = format!("--peer-urls=http://{}", new.peer);
    change(ctl, &["member", "add", &new.name, &url, "--learner"]);
    new.join(&cluster.members);
    new.start();
    change(ctl, &["member", "promote", &id_of(ctl, &new)]);
    new
}

/// Removes a member and waits until its process has ended.
fn dismiss(ctl: &Ctl, mut old: Member) {
    change(ctl, &["member", "remove", &id_of(ctl, &old)]);
    wait_for(END_MAX, "the removed member to end", || old.has_ended());
}

#[test]
fn a_learner_joins_and_becomes_a_voter() {
    let mut cluster = Cluster::start(1);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    ctl.run(&["put", "before", "1"]);
    let mut new = cluster.prepare_joiner(1);
    let url = format!("--peer-urls=http://{}", new.peer);
    let added = ctl.run(&["member", "add", "m1", &url, "--learner"]);
    assert!(
        added.contains("added to cluster") && added.contains("ETCD_INITIAL_CLUSTER="),
        "{added}"
    );
    new.join(&cluster.members);
    new.start();
    let at_new = ctl.at(new.url());
    let refused = at_new.fail(&["put", "k", "v"]);
    assert!(refused.contains("rpc not supported for learner"), "{refused}");
    let local = at_new.run(&["get", "before", "--consistency=s", "--print-value-only"]);
    assert_eq!(local, "1\n");
    change(&ctl, &["member", "promote", &id_of(&ctl, &new)]);
    at_new.run(&["put", "after", "2"]);
    assert_eq!(ctl.run(&["get", "after", "--print-value-only"]), "2\n");
    let listed = members(&ctl);
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|one| one.get("isLearner").is_none() && one["name"] != ""));
    cluster.members.push(new);
}

#[test]
fn impossible_changes_are_refused_in_etcds_words() {
    let cluster = Cluster::start(1);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let own = id_of(&ctl, &cluster.members[0]);
    let taken = format!("--peer-urls=http://{}", cluster.members[0].peer);
    let cases: [(&[&str], &str); 5] = [
        (&["member", "remove", "123"], "etcdserver: member not found"),
        (&["member", "promote", "123"], "etcdserver: member not found"),
        (&["member", "promote", &own], "etcdserver: can only promote a learner member"),
        (&["member", "add", "x", &taken], "etcdserver: Peer URLs already exists"),
        (
            &["member", "remove", &own],
            "etcdserver: re-configuration failed due to not enough started members",
        ),
    ];
    for (args, words) in cases {
        let said = ctl.fail(args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    ctl.run(&["member", "add", "l", "--peer-urls=http://127.0.0.1:1", "--learner"]);
    let said = ctl.fail(&["member", "add", "m", "--peer-urls=http://127.0.0.1:2", "--learner"]);
    assert!(said.contains("etcdserver: too many learner members in cluster"), "{said}");
    let learner = members(&ctl).iter().find(|one| one["isLearner"] == true).cloned();
    let learner = format!("{:x}", learner.expect("the learner")["ID"].as_u64().expect("a number"));
    let moved = "--peer-urls=http://127.0.0.1:3";
    ctl.run(&["member", "update", &learner, moved]);
    assert!(members(&ctl).iter().any(|one| one["peerURLs"][0] == "http://127.0.0.1:3"));
    ctl.run(&["member", "remove", &learner]);
    assert_eq!(members(&ctl).len(), 1);
}

#[test]
fn leadership_moves_and_removed_leaders_end() {
    let mut cluster = Cluster::start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let leader = leader_of(&cluster);
    let next = (leader + 1) % 3;
    let target = id_of(&ctl, &cluster.members[next]);
    let said = ctl.at(cluster.members[next].url()).fail(&["move-leader", &target]);
    assert!(said.contains("no leader endpoint"), "{said}");
    ctl.run(&["move-leader", &target]);
    assert_eq!(leader_of(&cluster), next);
    let old = cluster.members.remove(next);
    let rest = ctl.at(cluster.endpoints());
    dismiss(&rest, old);
    rest.run(&["put", "still", "here"]);
    assert_eq!(members(&rest).len(), 2);
}

#[test]
fn a_member_removed_while_it_was_down_ends_when_it_comes_back() {
    let mut cluster = Cluster::start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let mut away = cluster.members.remove((leader_of(&cluster) + 1) % 3);
    let id = id_of(&ctl, &away);
    away.kill();
    let rest = ctl.at(cluster.endpoints());
    change(&rest, &["member", "remove", &id]);
    away.spawn();
    wait_for(END_MAX, "the removed member to end", || away.has_ended());
    let words = "the member has been permanently removed from the cluster";
    assert!(away.log().contains(words), "it says why");
}

#[test]
fn a_member_that_was_not_added_is_refused_with_the_reason() {
    let cluster = Cluster::start(1);
    let mut stranger = cluster.prepare_joiner(1);
    stranger.join(&cluster.members);
    stranger.spawn();
    wait_for(END_MAX, "the stranger to give up", || stranger.has_ended());
    assert!(stranger.log().contains("member count is unequal"), "it says why");
    assert!(!stranger.data_dir.join("member").join("wal").exists(), "nothing is written");
}

/// Every member is replaced, one by one, while clients write and members are killed.
#[test]
fn every_member_is_replaced_under_load() {
    let rounds = if is_quick() { 1 } else { 2 };
    let mut cluster = Cluster::start_with(3, &Options::default());
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let mut joiners: Vec<Member> =
        (3..3 + 3 * rounds).map(|number| cluster.prepare_joiner(number)).collect();
    let addrs: Vec<_> =
        cluster.members.iter().chain(&joiners).map(|member| member.client).collect();
    let load = Load::start(&addrs, 8, Duration::from_millis(4));
    std::thread::sleep(Duration::from_secs(1));

    for new in joiners.drain(..) {
        let ctl = ctl.at(cluster.endpoints());
        let new = admit(&ctl, &cluster, new);
        cluster.members.push(new);
        let victim = leader_of(&cluster);
        cluster.members[victim].kill();
        cluster.members[victim].start();
        let ctl = ctl.at(cluster.endpoints());
        let old = cluster.members.remove(0);
        dismiss(&ctl, old);
    }
    std::thread::sleep(Duration::from_secs(1));
    let gaps = load.recorder.gaps();
    let operations = load.stop();

    let api = Api::new(cluster.members[0].client);
    let revision = api.range_all(false).expect("a read").header.expect("a header").revision;
    let changes = api.changes_until(revision).expect("the history can be watched");
    let acknowledged = operations.iter().filter(|one| one.call.revision().is_some()).count();
    println!("{} operations, {acknowledged} answered, longest gaps {gaps:?}", operations.len());
    assert_eq!(history::find_faults(&operations, &changes), Vec::<String>::new());
    history::check_order(&operations, &changes);
    assert!(acknowledged > 500, "too few answers to prove anything: {acknowledged}");
    let long = gaps.iter().filter(|gap| **gap > 2 * ELECTION_TIMEOUT).count();
    assert!(long <= 1, "more than one split vote is no accident: {gaps:?}");
}

/// A member serves only when it knows the way to the leader it has heard of.
#[test]
fn the_first_write_at_a_restarted_member_reaches_the_leader() {
    let mut cluster = Cluster::start(3);
    let follower = (leader_of(&cluster) + 1) % 3;
    for number in 0..if is_quick() { 4 } else { 10 } {
        let member = &mut cluster.members[follower];
        member.kill();
        // The others find out, and try less and less often.
        std::thread::sleep(Duration::from_millis(1_000));
        member.start();
        let begun = Instant::now();
        let written = Api::new(member.client).put("k", vec![b'v']);
        assert!(written.is_ok(), "restart {number}, after {:?}: {written:?}", begun.elapsed());
    }
}
