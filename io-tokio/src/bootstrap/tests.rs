use super::*;
use crate::cli::{Called, Outcome, parse, understand};
use crate::tls::{Keyring, Security};

fn settings(words: &[&str]) -> Settings {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    match parse(&words, []) {
        Ok(Outcome::Run { flags, .. }) => understand(&flags, Called::Etcd).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn bootstrap(settings: &Settings) -> Result<Bootstrap, BootstrapError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let keyring = Keyring::open("peer", Security::default()).unwrap();
    runtime.block_on(super::bootstrap(settings, &Dialer::new(keyring.into())))
}

#[test]
fn ids_are_etcds() {
    let urls = ["http://localhost:2380".to_owned()];
    let member = member_id(&urls, "etcd-cluster");
    assert_eq!(member.to_string(), "8e9e05c52164694d");
    assert_eq!(cluster_id([member]).to_string(), "cdf818194e3a8c32");

    let urls = ["http://127.0.0.1:32380".to_owned()];
    let member = member_id(&urls, "etcd-cluster");
    assert_eq!(member.to_string(), "628170c800dbcee");
    assert_eq!(member.get(), 443_629_905_751_424_238);
    assert_eq!(cluster_id([member]).get(), 13_455_796_455_940_752_355);
}

#[test]
fn neither_the_order_of_urls_nor_that_of_members_matters() {
    let (a, b) = ("http://a:1".to_owned(), "http://b:1".to_owned());
    assert_eq!(member_id(&[a.clone(), b.clone()], "t"), member_id(&[b, a], "t"));
    let (one, two) = (MemberId(1), MemberId(2));
    assert_eq!(cluster_id([one, two]), cluster_id([two, one]));
}

#[test]
fn the_defaults_bootstrap_a_cluster_of_one() {
    let found = bootstrap(&settings(&[])).unwrap();
    assert_eq!(found.member.to_string(), "8e9e05c52164694d");
    assert_eq!(found.cluster.to_string(), "cdf818194e3a8c32");
    assert_eq!(found.peers.len(), 1);
    assert_eq!(found.peers[0].peer_urls, ["http://localhost:2380"]);
}

#[test]
fn three_members_come_sorted_by_id() {
    let found = bootstrap(&settings(&[
        "--name=b",
        "--initial-advertise-peer-urls=http://127.0.0.1:2",
        "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3",
    ]))
    .unwrap();
    assert!(found.peers.is_sorted_by_key(|peer| peer.id));
    let own = found.peers.iter().find(|peer| peer.id == found.member).unwrap();
    assert_eq!(own.name, "b");
}

#[test]
fn wrong_bootstraps_are_refused_with_etcds_words() {
    let cases: [(&[&str], &str); 5] = [
        (
            &["--name=x", "--initial-cluster=a=http://127.0.0.1:1"],
            "couldn't find local name \"x\" in the initial cluster configuration",
        ),
        (
            &[
                "--name=a",
                "--initial-advertise-peer-urls=http://127.0.0.1:1",
                "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:1",
            ],
            "initial cluster a=http://127.0.0.1:1,b=http://127.0.0.1:1 has duplicate url",
        ),
        (
            &[
                "--name=a",
                "--initial-advertise-peer-urls=http://127.0.0.1:2",
                "--initial-cluster=a=http://127.0.0.1:1",
            ],
            "--initial-cluster has http://127.0.0.1:1 but missing from \
             --initial-advertise-peer-urls=http://127.0.0.1:2",
        ),
        (
            &[
                "--name=a",
                "--initial-advertise-peer-urls=http://127.0.0.1:1,http://127.0.0.1:2",
                "--initial-cluster=a=http://127.0.0.1:1",
            ],
            "--initial-advertise-peer-urls has http://127.0.0.1:2 but missing from \
             --initial-cluster=a=http://127.0.0.1:1",
        ),
        (&["--initial-cluster-state=existing"], "cannot fetch cluster info from peer urls"),
    ];
    for (words, text) in cases {
        let error = bootstrap(&settings(words)).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
