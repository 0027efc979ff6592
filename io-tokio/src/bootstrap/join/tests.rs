use super::*;
use crate::cli::{Called, Outcome, parse, understand};

const FLAGS: [&str; 4] = [
    "--name=c",
    "--initial-advertise-peer-urls=http://127.0.0.1:3",
    "--initial-cluster=a=http://127.0.0.1:1,b=http://localhost:2,c=http://127.0.0.1:3",
    "--initial-cluster-state=existing",
];

fn settings() -> Settings {
    let words: Vec<String> = FLAGS.iter().map(|word| (*word).to_owned()).collect();
    match parse(&words, []) {
        Ok(Outcome::Run { flags, .. }) => understand(&flags, Called::Etcd).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn running(ports: &[u16]) -> Running {
    let member = |port: &u16| MemberRecord {
        id: u64::from(*port) + 10,
        peer_urls: vec![format!("http://127.0.0.1:{port}")],
        ..MemberRecord::default()
    };
    Running { cluster: ClusterId(7), members: ports.iter().map(member).collect() }
}

#[test]
fn a_member_finds_itself_by_its_urls() {
    let found = place(&settings(), running(&[3, 1, 2])).unwrap();
    assert_eq!((found.member, found.cluster, found.is_new), (MemberId(13), ClusterId(7), false));
    assert_eq!(found.peers.len(), 3);
}

#[test]
fn lists_that_differ_are_refused_with_both() {
    let few = place(&settings(), running(&[1, 2])).unwrap_err().to_string();
    assert!(few.contains("member count is unequal"), "{few}");
    let other = place(&settings(), running(&[1, 2, 4])).unwrap_err().to_string();
    assert!(other.contains("http://127.0.0.1:3"), "{other}");
}
