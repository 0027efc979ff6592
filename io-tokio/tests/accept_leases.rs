//! Leases kept alive through a member that does not lead: the same of a real etcd.

mod accept;

use std::time::Duration;

use accept::Cluster;
use accept::api::{channel, leader_of};
use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const TTL: i64 = 3;

#[tokio::test]
async fn a_follower_passes_keep_alives_on() {
    let started = tokio::task::spawn_blocking(|| {
        let cluster = Cluster::start(3);
        let leader = leader_of(&cluster);
        (cluster, leader)
    });
    let (cluster, leader) = started.await.expect("a cluster");
    let follower = channel(cluster.members[(leader + 1) % 3].client);
    let other = channel(cluster.members[(leader + 2) % 3].client);
    let mut leases = LeaseClient::new(follower.clone());
    let granted = leases.lease_grant(LeaseGrantRequest { ttl: TTL, id: 0 }).await;
    let id = granted.expect("a lease").into_inner().id;
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
    let put = PutRequest { key: key.clone(), value, lease: id, ..PutRequest::default() };
    KvClient::new(follower).put(put).await.expect("a put");

    let (beats, sent) = mpsc::channel(1);
    beats.send(LeaseKeepAliveRequest { id }).await.expect("the stream lives");
    let answers = leases.lease_keep_alive(ReceiverStream::new(sent)).await;
    let mut answers = answers.expect("a stream").into_inner();
    // Twice as long as it would live by itself.
    for _ in 0..12 {
        let answer = answers.message().await.expect("an answer").expect("an answer");
        assert_eq!((answer.id, answer.ttl), (id, TTL));
        tokio::time::sleep(Duration::from_millis(500)).await;
        beats.send(LeaseKeepAliveRequest { id }).await.expect("the stream lives");
    }
    let question = LeaseTimeToLiveRequest { id, keys: true };
    let told = LeaseClient::new(other.clone()).lease_time_to_live(question).await;
    let told = told.expect("an answer").into_inner();
    assert_eq!((told.granted_ttl, &told.keys[..]), (TTL, &[key.clone()][..]));
    assert!((1..=TTL).contains(&told.ttl), "{told:?}");
    drop(beats);

    let mut kv = KvClient::new(other);
    let range = RangeRequest { key, ..RangeRequest::default() };
    for _ in 0..100 {
        if kv.range(range.clone()).await.expect("an answer").into_inner().count == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the lease does not end");
}
