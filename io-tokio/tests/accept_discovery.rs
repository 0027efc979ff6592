//! Members whose flags name nobody meet at a discovery service, which is another server.

mod accept;

use std::time::Duration;

use accept::api::{Api, agreed_state};
use accept::{Cluster, Member, Options, wait_for};
use rustix::process::Signal;

const SIZE: usize = 3;
/// How long a member that is not let in may take to say so.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// Members, not started, that will meet under a token.
fn prepare(service: &Cluster, token: &str, size: usize) -> Cluster {
    let endpoints = format!("--discovery-endpoints={}", service.endpoints());
    let flags = vec![format!("--discovery-token={token}"), endpoints];
    let mut cluster = Cluster::prepare(0, &Options { flags });
    cluster.members = (0..size).map(|number| cluster.prepare_joiner(number)).collect();
    cluster
}

fn set_size(service: &Cluster, token: &str, size: &str) {
    let key = format!("/_etcd/registry/{token}/_config/size");
    Api::new(service.members[0].client).put(&key, size.into()).expect("the service runs");
}

/// Starts a member that must end, and say this.
fn assert_refused(member: &mut Member, why: &str) {
    member.spawn();
    let status = member.wait_for_exit(REFUSED_WITHIN);
    assert!(!status.success());
    assert!(member.log().contains(why), "{}", member.log());
}

#[test]
fn members_meet_and_latecomers_are_refused() {
    let service = Cluster::start(1);
    set_size(&service, "t", &SIZE.to_string());
    let mut cluster = prepare(&service, "t", SIZE + 1);
    let mut late = cluster.members.pop().expect("one more");
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
    Api::new(cluster.members[0].client).put("k", b"v".into()).expect("a cluster that serves");
    let (kvs, _) = agreed_state(&cluster, 0);
    assert_eq!(kvs.len(), 1);
    assert_refused(&mut late, "cluster is full");

    // Who has been a member needs no service.
    drop(service);
    cluster.members[0].kill();
    cluster.members[0].start();
    assert_eq!(agreed_state(&cluster, 0).0, kvs);
}

#[test]
fn whoever_waits_for_others_can_be_stopped() {
    let service = Cluster::start(1);
    set_size(&service, "t", "2");
    let mut cluster = prepare(&service, "t", 1);
    let waiting = &mut cluster.members[0];
    waiting.spawn();
    wait_for(REFUSED_WITHIN, "a member that waits", || waiting.log().contains("waiting for peers"));
    waiting.signal(Signal::TERM);
    waiting.wait_for_exit(Duration::from_secs(5));
}

#[test]
fn a_token_without_a_size_is_refused() {
    let service = Cluster::start(1);
    let mut cluster = prepare(&service, "t", 1);
    assert_refused(&mut cluster.members[0], "size key not found");
    set_size(&service, "t", "many");
    assert_refused(&mut cluster.members[0], "size key is bad");
    set_size(&service, "t", "1");
    cluster.members[0].start();
}
