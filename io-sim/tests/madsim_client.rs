//! The client and the cluster on madsim, call by call.
#![cfg(madsim)]

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use madsim::runtime::{Handle, Runtime};
use madsim::time::sleep;
use quorate_core::error::Refusal;
use quorate_io_sim::on_madsim::client::{
    Compare, CompareOp, ConnectOptions, DeleteOptions, Error, EventType, GetOptions,
    LeaseTimeToLiveOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
    WatchOptions,
};
use quorate_io_sim::on_madsim::{Client, Cluster, Options};

/// Runs a test on a node of its own, beside a cluster that has a leader.
fn beside_a_cluster<F>(test: impl FnOnce(Cluster, Client) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    Runtime::new().block_on(async {
        let cluster = Cluster::start(&Options::default());
        cluster.wait_for_leader().await;
        let client = Client::connect(cluster.endpoints(), None).await.unwrap();
        let handle = Handle::current();
        let node = handle.create_node().ip(Ipv4Addr::new(10, 80, 0, 1).into()).build();
        node.spawn(test(cluster, client)).await.unwrap();
    });
}

#[test]
fn keys_are_put_read_and_deleted() {
    beside_a_cluster(|_, mut client| async move {
        let first = client.put("k/1", "one", None).await.unwrap().header().unwrap().revision();
        client.put("k/2", "two", None).await.unwrap();
        let before = Some(PutOptions::new().with_prev_key());
        let put = client.put("k/1", "uno", before).await.unwrap();
        assert_eq!(put.prev_key().unwrap().value_str().unwrap(), "one");

        let newest_first = GetOptions::new()
            .with_prefix()
            .with_limit(1)
            .with_sort(SortTarget::Mod, SortOrder::Descend);
        let found = client.get("k/", Some(newest_first)).await.unwrap();
        assert_eq!((found.count(), found.more(), found.kvs().len()), (2, true, 1));
        let kv = &found.kvs()[0];
        assert_eq!((kv.key_str().unwrap(), kv.value_str().unwrap()), ("k/1", "uno"));
        assert_eq!((kv.version(), kv.create_revision(), kv.mod_revision()), (2, first, first + 2));
        let then = GetOptions::new().with_revision(first);
        assert_eq!(client.get("k/1", Some(then)).await.unwrap().kvs()[0].value(), b"one");

        let all = DeleteOptions::new().with_prefix().with_prev_key();
        let deleted = client.delete("k/", Some(all)).await.unwrap();
        assert_eq!((deleted.deleted(), deleted.prev_kvs().len()), (2, 2));

        client.compact(first + 2, None).await.unwrap();
        let old = client.get("k/1", Some(GetOptions::new().with_revision(first))).await;
        assert!(matches!(old, Err(Error::Refused(Refusal::Compacted))), "{old:?}");
    });
}

#[test]
fn a_transaction_takes_one_branch() {
    beside_a_cluster(|_, mut client| async move {
        let claim = |name: &str| {
            Txn::new()
                .when([Compare::create_revision("lock", CompareOp::Equal, 0)])
                .and_then([TxnOp::put("lock", name, None)])
                .or_else([TxnOp::get("lock", None)])
        };
        assert!(client.txn(claim("a")).await.unwrap().succeeded());
        let second = client.txn(claim("b")).await.unwrap();
        assert!(!second.succeeded());
        let [TxnOpResponse::Get(found)] = &second.op_responses()[..] else {
            panic!("{second:?}");
        };
        assert_eq!(found.kvs()[0].value(), b"a");
    });
}

#[test]
fn a_watch_tells_of_a_lease_that_ends() {
    beside_a_cluster(|_, mut client| async move {
        let lease = client.lease_grant(2, None).await.unwrap().id();
        client.put("alive", "yes", Some(PutOptions::new().with_lease(lease))).await.unwrap();
        let options = WatchOptions::new().with_prev_key();
        let mut stream = client.watch("alive", Some(options)).await.unwrap();
        assert!(stream.message().await.unwrap().unwrap().created());

        let (mut keeper, mut renewed) = client.lease_keep_alive(lease).await.unwrap();
        for _ in 0..5 {
            sleep(Duration::from_secs(1)).await;
            keeper.keep_alive().await.unwrap();
            assert_eq!(renewed.message().await.unwrap().unwrap().ttl(), 2);
        }
        let keys = Some(LeaseTimeToLiveOptions::new().with_keys());
        let left = client.lease_time_to_live(lease, keys).await.unwrap();
        assert_eq!((left.granted_ttl(), left.keys()), (2, vec![b"alive".to_vec()]));
        assert_eq!(client.leases().await.unwrap().leases()[0].id(), lease);

        let frame = stream.message().await.unwrap().unwrap();
        let event = &frame.events()[0];
        assert_eq!(event.event_type(), EventType::Delete);
        assert_eq!(event.prev_kv().unwrap().value(), b"yes");
        assert!(client.leases().await.unwrap().leases().is_empty());
    });
}

#[test]
fn the_members_are_told_by_name() {
    beside_a_cluster(|cluster, mut client| async move {
        sleep(Duration::from_secs(1)).await;
        let list = client.member_list().await.unwrap();
        let names: Vec<_> = list.members().iter().map(|it| it.name().to_owned()).collect();
        assert_eq!(names, ["m1", "m2", "m3"]);
        let leader = cluster.leader().unwrap() as u64 + 1;
        assert_eq!(client.status().await.unwrap().leader(), leader);
    });
}

/// madsim's own restart of a node that is up: what was answered is still there.
#[test]
fn what_was_answered_survives_power_cuts_of_all_members() {
    beside_a_cluster(|cluster, mut client| async move {
        for round in 0..10 {
            client.put("round", format!("{round}"), None).await.unwrap();
            for member in 0..cluster.members() {
                Handle::current().restart(cluster.node(member));
            }
            let found = client.get("round", None).await.unwrap();
            assert_eq!(found.kvs()[0].value_str().unwrap(), format!("{round}"));
        }
    });
}

#[test]
fn without_a_majority_nobody_is_served() {
    beside_a_cluster(|cluster, _| async move {
        let options = ConnectOptions::new().with_timeout(Duration::from_secs(3));
        let mut client = Client::connect(cluster.endpoints(), Some(options)).await.unwrap();
        client.put("k", "v", None).await.unwrap();
        cluster.kill(0);
        cluster.kill(1);
        sleep(Duration::from_secs(2)).await;
        assert!(client.get("k", None).await.is_err());
        let local = Some(GetOptions::new().with_serializable());
        assert_eq!(client.get("k", local).await.unwrap().count(), 1);
        cluster.restart(0);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(client.get("k", None).await.unwrap().kvs()[0].value(), b"v");
    });
}
