//! Locks and elections of real members: who holds when, who is told what, and what is left behind.
//! A real etcd answers the same.

mod accept;

use std::time::{Duration, Instant};

use accept::api::{channel, leader_of};
use accept::{Cluster, is_quick, is_quorate};
use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::v3electionpb as epb;
use quorate_proto::v3electionpb::election_client::ElectionClient;
use quorate_proto::v3lockpb as lpb;
use quorate_proto::v3lockpb::lock_client::LockClient;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How long anything may take that should happen soon; expiry and elections included.
const SOON: Duration = Duration::from_secs(20);
/// How long to look whether something happens that should not.
const QUIET: Duration = Duration::from_millis(300);

/// The calls of one member's clients.
#[derive(Clone)]
struct Door {
    channel: Channel,
}

type Waiting<T> = JoinHandle<Result<T, Status>>;

impl Door {
    fn of(cluster: &Cluster, member: usize) -> Self {
        Self { channel: channel(cluster.members[member].client) }
    }

    async fn version(&self) -> String {
        let mut client = MaintenanceClient::new(self.channel.clone());
        client.status(pb::StatusRequest {}).await.expect("a status").into_inner().version
    }

    /// A lease with this TTL; its id.
    async fn grant(&self, ttl: i64) -> i64 {
        let request = pb::LeaseGrantRequest { ttl, id: 0 };
        let mut client = LeaseClient::new(self.channel.clone());
        client.lease_grant(request).await.expect("a lease").into_inner().id
    }

    async fn revoke(&self, id: i64) {
        let mut client = LeaseClient::new(self.channel.clone());
        client.lease_revoke(pb::LeaseRevokeRequest { id }).await.expect("a revocation");
    }

    async fn put(&self, key: &str, value: &str) -> i64 {
        let (key, value) = (bytes(key), bytes(value));
        let request = pb::PutRequest { key, value, ..pb::PutRequest::default() };
        let answer = KvClient::new(self.channel.clone()).put(request).await.expect("a put");
        answer.into_inner().header.expect("a header").revision
    }

    /// The keys that stand in line for a name, oldest first, and the revision.
    async fn line(&self, name: &str) -> (Vec<String>, i64) {
        let request = pb::RangeRequest {
            key: bytes(&format!("{name}/")),
            range_end: bytes(&format!("{name}0")),
            sort_order: pb::range_request::SortOrder::Ascend.into(),
            sort_target: pb::range_request::SortTarget::Create.into(),
            ..pb::RangeRequest::default()
        };
        let answer = KvClient::new(self.channel.clone()).range(request).await.expect("a range");
        let answer = answer.into_inner();
        let keys = answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
        (keys.collect(), answer.header.expect("a header").revision)
    }

    /// Waits until that many stand in line.
    async fn await_line(&self, name: &str, length: usize) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let (keys, _) = self.line(name).await;
            if keys.len() == length {
                return keys;
            }
            assert!(Instant::now() < deadline, "{keys:?} stand in line, not {length}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn lock(&self, name: &str, lease: i64) -> Result<lpb::LockResponse, Status> {
        let request = lpb::LockRequest { name: bytes(name), lease };
        Ok(LockClient::new(self.channel.clone()).lock(request).await?.into_inner())
    }

    fn start_lock(&self, name: &'static str, lease: i64) -> Waiting<lpb::LockResponse> {
        let door = self.clone();
        tokio::spawn(async move { door.lock(name, lease).await })
    }

    async fn unlock(&self, key: &[u8]) -> Result<lpb::UnlockResponse, Status> {
        let request = lpb::UnlockRequest { key: Bytes::copy_from_slice(key) };
        Ok(LockClient::new(self.channel.clone()).unlock(request).await?.into_inner())
    }

    fn election(&self) -> ElectionClient<Channel> {
        ElectionClient::new(self.channel.clone())
    }

    async fn campaign(&self, name: &str, lease: i64, value: &str) -> CampaignResult {
        let request = epb::CampaignRequest { name: bytes(name), lease, value: bytes(value) };
        Ok(self.election().campaign(request).await?.into_inner())
    }

    fn start_campaign(
        &self,
        name: &'static str,
        lease: i64,
        value: &'static str,
    ) -> Waiting<epb::CampaignResponse> {
        let door = self.clone();
        tokio::spawn(async move { door.campaign(name, lease, value).await })
    }

    async fn proclaim(&self, leader: epb::LeaderKey, value: &str) -> Result<i64, Status> {
        let request = epb::ProclaimRequest { leader: Some(leader), value: bytes(value) };
        let answer = self.election().proclaim(request).await?.into_inner();
        Ok(answer.header.expect("a header").revision)
    }

    async fn resign(&self, leader: epb::LeaderKey) -> Result<i64, Status> {
        let request = epb::ResignRequest { leader: Some(leader) };
        let answer = self.election().resign(request).await?.into_inner();
        Ok(answer.header.expect("a header").revision)
    }

    /// Who leads: key, value, and the revision of the answer.
    async fn leader(&self, name: &str) -> Result<(String, String, i64), Status> {
        let request = epb::LeaderRequest { name: bytes(name) };
        Ok(told(self.election().leader(request).await?.into_inner()))
    }
}

type CampaignResult = Result<epb::CampaignResponse, Status>;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn told(answer: epb::LeaderResponse) -> (String, String, i64) {
    let kv = answer.kv.expect("a leader");
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&kv.key), text(&kv.value), answer.header.expect("a header").revision)
}

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    let header = header.expect("a header");
    assert!(header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0, "{header:?}");
    header.revision
}

async fn soon<T>(waiting: Waiting<T>) -> Result<T, Status> {
    timeout(SOON, waiting).await.expect("soon").expect("no panic")
}

async fn assert_waits<T>(waiting: &Waiting<T>) {
    tokio::time::sleep(QUIET).await;
    assert!(!waiting.is_finished(), "it should wait");
}

fn assert_unknown<T: std::fmt::Debug>(result: Result<T, Status>, text: &str) {
    let status = result.expect_err(text);
    assert_eq!((status.code(), status.message()), (Code::Unknown, text));
}

/// Many contenders at all members: one holds at a time, in the order they came.
async fn contend(cluster: &Cluster) {
    let contenders = if is_quick() { 10 } else { 40 };
    let doors: Vec<Door> = (0..cluster.members.len()).map(|n| Door::of(cluster, n)).collect();
    let (grants, mut granted) = tokio::sync::mpsc::channel(contenders);
    let mut keys = Vec::new();
    for number in 0..contenders {
        let door = doors[number % doors.len()].clone();
        let lease = door.grant(120).await;
        keys.push(format!("fifo/{lease:x}"));
        let grants = grants.clone();
        let locking = door.clone();
        tokio::spawn(async move {
            let held = locking.lock("fifo", lease).await.expect("a lock");
            grants.send((number, locking, held)).await.expect("the test listens");
        });
        assert_eq!(door.await_line("fifo", number + 1).await, keys);
    }
    let mut last = 0;
    for (expected, key) in keys.iter().enumerate() {
        let grant = timeout(SOON, granted.recv()).await.expect("soon").expect("a contender");
        let (number, door, held) = grant;
        assert_eq!((number, &held.key[..]), (expected, key.as_bytes()));
        let reached = revision(held.header);
        assert!(reached > last, "granted as of {reached}, after {last}");
        last = reached;
        if expected % 8 == 0 {
            tokio::time::sleep(QUIET).await;
        }
        assert!(granted.try_recv().is_err(), "two hold the lock");
        let unlocked = door.unlock(&held.key).await.expect("an unlock");
        assert!(revision(unlocked.header) > reached);
    }
    assert_eq!(doors[0].line("fifo").await.0, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_at_a_time_in_the_order_of_arrival() {
    contend(&Cluster::start(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_at_a_time_at_three_members() {
    contend(&Cluster::start(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lock_answers() {
    let cluster = Cluster::start(1);
    let door = Door::of(&cluster, 0);
    let lease = door.grant(120).await;
    let held = door.lock("a", lease).await.expect("a lock");
    assert_eq!(held.key, format!("a/{lease:x}"));
    assert_eq!(revision(held.header), door.line("a").await.1);
    // Again, as of now.
    let now = door.put("other", "x").await;
    let again = door.lock("a", lease).await.expect("a lock");
    assert_eq!((again.key, revision(again.header)), (held.key.clone(), now));
    // The header of who waited is that of now, too.
    let second = door.grant(120).await;
    let waiting = door.start_lock("a", second);
    door.await_line("a", 2).await;
    assert_waits(&waiting).await;
    door.put("other", "y").await;
    let unlocked = revision(door.unlock(&held.key).await.expect("an unlock").header);
    let next = soon(waiting).await.expect("a lock");
    assert_eq!((next.key, revision(next.header)), (bytes(&format!("a/{second:x}")), unlocked));
    // Nothing is there to unlock, and that is fine.
    let nothing = door.unlock(b"a/nothing").await.expect("an unlock");
    assert_eq!(revision(nothing.header), unlocked);

    assert_unknown(door.unlock(b"").await, "etcdserver: key is not provided");
    let absent = "etcdserver: requested lease not found";
    assert_unknown(door.lock("a", 0x5eed).await, absent);
    assert_unknown(door.lock("a", -1).await, absent);
    assert_eq!(door.line("a").await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_no_lease_gets_one() {
    let cluster = Cluster::start(1);
    let door = Door::of(&cluster, 0);
    let held = door.lock("a", 0).await.expect("a lock");
    let digits = std::str::from_utf8(&held.key[2..]).expect("hex");
    let id = i64::from_str_radix(digits, 16).expect("hex");
    let request = pb::LeaseTimeToLiveRequest { id, keys: true };
    let lease = LeaseClient::new(door.channel.clone()).lease_time_to_live(request).await;
    let lease = lease.expect("a lease").into_inner();
    assert_eq!((lease.granted_ttl, lease.keys), (60, vec![held.key]));

    let led = door.campaign("e", 0, "v").await.expect("an election");
    let leader = led.leader.expect("a leader");
    assert_eq!(leader.key, format!("e/{:x}", leader.lease));
    // Proclaiming without a lease moves the key to a new one.
    let nobody = epb::LeaderKey { lease: 0, ..leader.clone() };
    door.proclaim(nobody, "w").await.expect("a proclamation");
    door.revoke(leader.lease).await;
    assert_eq!(door.leader("e").await.expect("a leader").1, "w");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ends_hands_the_lock_on() {
    let cluster = Cluster::start(3);
    let doors = [0, 1].map(|n| Door::of(&cluster, n));
    let (first, second) = (doors[0].grant(2).await, doors[1].grant(120).await);
    doors[0].lock("a", first).await.expect("a lock");
    let begun = Instant::now();
    let waiting = doors[1].start_lock("a", second);
    doors[1].await_line("a", 2).await;
    let held = soon(waiting).await.expect("a lock");
    assert!(begun.elapsed() > Duration::from_secs(1), "after {:?}", begun.elapsed());
    assert_eq!(held.key, format!("a/{second:x}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_with_a_lease_that_ended_is_told_so() {
    let cluster = Cluster::start(1);
    let door = Door::of(&cluster, 0);
    if door.version().await.starts_with("3.4.") {
        eprintln!("etcd 3.4 says that it holds the lock");
        return;
    }
    let (first, second) = (door.grant(120).await, door.grant(120).await);
    let held = door.lock("a", first).await.expect("a lock");
    let waiting = door.start_lock("a", second);
    door.await_line("a", 2).await;
    door.revoke(second).await;
    door.unlock(&held.key).await.expect("an unlock");
    assert_unknown(soon(waiting).await, "mutex: session is expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_waiting_leaves_nothing_behind() {
    let cluster = Cluster::start(3);
    let doors = [0, 1, 2].map(|n| Door::of(&cluster, n));
    let mut leases = Vec::new();
    for door in &doors {
        leases.push(door.grant(120).await);
    }
    doors[0].lock("a", leases[0]).await.expect("a lock");
    let second = doors[1].start_lock("a", leases[1]);
    doors[1].await_line("a", 2).await;
    let third = doors[2].start_lock("a", leases[2]);
    doors[2].await_line("a", 3).await;
    second.abort();
    let left = doors[0].await_line("a", 2).await;
    assert_eq!(left, [format!("a/{:x}", leases[0]), format!("a/{:x}", leases[2])]);
    // Its going is not taken for the lock's being free.
    assert_waits(&third).await;
    doors[0].unlock(left[0].as_bytes()).await.expect("an unlock");
    soon(third).await.expect("a lock");

    doors[0].campaign("e", leases[0], "v").await.expect("an election");
    let candidate = doors[1].start_campaign("e", leases[1], "w");
    doors[1].await_line("e", 2).await;
    candidate.abort();
    assert_eq!(doors[0].await_line("e", 1).await, [format!("e/{:x}", leases[0])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_client_outlives_the_leader() {
    let mut cluster = Cluster::start(3);
    let leader = tokio::task::block_in_place(|| leader_of(&cluster));
    let doors = [1, 2].map(|n| Door::of(&cluster, (leader + n) % 3));
    let leases = [doors[0].grant(120).await, doors[1].grant(120).await];
    let held = doors[0].lock("a", leases[0]).await.expect("a lock");
    let waiting = doors[1].start_lock("a", leases[1]);
    doors[1].await_line("a", 2).await;
    let led = doors[0].campaign("e", leases[0], "v").await.expect("an election");
    let candidate = doors[1].start_campaign("e", leases[1], "w");
    doors[1].await_line("e", 2).await;
    // Both have looked who is before them, and wait.
    assert_waits(&waiting).await;
    assert_waits(&candidate).await;

    cluster.members[leader].kill();
    let deadline = Instant::now() + SOON;
    while doors[0].unlock(&held.key).await.is_err() {
        assert!(Instant::now() < deadline, "no unlock after the leader's death");
    }
    assert_eq!(soon(waiting).await.expect("a lock").key, format!("a/{:x}", leases[1]));
    assert!(!candidate.is_finished());
    doors[0].revoke(led.leader.expect("a leader").lease).await;
    let next = soon(candidate).await.expect("an election").leader.expect("a leader");
    assert_eq!(doors[0].leader("e").await.expect("a leader").1, "w");
    doors[1].proclaim(next, "x").await.expect("a proclamation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_election_answers() {
    let cluster = Cluster::start(1);
    let door = Door::of(&cluster, 0);
    assert_unknown(door.leader("e").await, "election: no leader");
    let (first, second) = (door.grant(120).await, door.grant(120).await);
    let led = door.campaign("e", first, "v1").await.expect("an election");
    let entered = revision(led.header);
    let leader = led.leader.expect("a leader");
    let key = format!("e/{first:x}");
    assert_eq!(leader.key, key);
    assert_eq!((&leader.name[..], leader.rev, leader.lease), (b"e".as_slice(), entered, first));
    assert_eq!(door.leader("e").await.expect("a leader"), (key.clone(), "v1".into(), entered));

    // Campaigning again takes the new value; the header is older than that.
    let again = door.campaign("e", first, "v2").await.expect("an election");
    assert_eq!(revision(again.header), entered);
    assert_eq!(again.leader, Some(leader.clone()));
    let now = entered + 1;
    assert_eq!(door.leader("e").await.expect("a leader"), (key.clone(), "v2".into(), now));
    assert_eq!(door.proclaim(leader.clone(), "v3").await.expect("a proclamation"), now + 1);

    // Whoever waited is told the header of its entry.
    let waiting = door.start_campaign("e", second, "w1");
    door.await_line("e", 2).await;
    assert_waits(&waiting).await;
    let stranger = epb::LeaderKey { rev: leader.rev + 1, ..leader.clone() };
    assert_unknown(door.proclaim(stranger.clone(), "x").await, "election: not leader");
    assert_eq!(door.resign(stranger).await.expect("no word of it"), now + 2);
    assert!(!waiting.is_finished());
    assert_eq!(door.resign(leader.clone()).await.expect("a resignation"), now + 3);
    let next = soon(waiting).await.expect("an election");
    assert_eq!((revision(next.header), next.leader.expect("a leader").rev), (now + 2, now + 2));
    assert_unknown(door.proclaim(leader, "x").await, "election: not leader");

    let missing = "\"leader\" field must be provided";
    let proclaim = epb::ProclaimRequest { leader: None, value: Bytes::new() };
    assert_unknown(door.election().proclaim(proclaim).await, missing);
    assert_unknown(door.election().resign(epb::ResignRequest { leader: None }).await, missing);
    let nameless = epb::LeaderKey { lease: second, ..epb::LeaderKey::default() };
    assert_unknown(door.proclaim(nameless.clone(), "x").await, "etcdserver: key is not provided");
    assert_unknown(door.resign(nameless).await, "etcdserver: key is not provided");
    assert_unknown(door.campaign("e", 0x5eed, "x").await, "etcdserver: requested lease not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_whose_lease_ended_never_leads() {
    if !is_quorate() {
        eprintln!("etcd says that it leads");
        return;
    }
    let cluster = Cluster::start(1);
    let door = Door::of(&cluster, 0);
    let (first, second) = (door.grant(120).await, door.grant(120).await);
    let led = door.campaign("e", first, "v").await.expect("an election");
    let waiting = door.start_campaign("e", second, "w");
    door.await_line("e", 2).await;
    door.revoke(second).await;
    door.resign(led.leader.expect("a leader")).await.expect("a resignation");
    assert_unknown(soon(waiting).await, "election: not leader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_is_told_every_leader() {
    let mut cluster = Cluster::start(3);
    let leading = tokio::task::block_in_place(|| leader_of(&cluster));
    let doors = [1, 2].map(|n| Door::of(&cluster, (leading + n) % 3));
    let (news, mut seen) = tokio::sync::mpsc::channel(16);
    let observing = doors[1].clone();
    // The stream begins when there is something to tell.
    tokio::spawn(async move {
        let request = epb::LeaderRequest { name: bytes("e") };
        let mut stream =
            observing.election().observe(request).await.expect("a stream").into_inner();
        while let Ok(answer) = stream.message().await {
            news.send(answer.map(told)).await.expect("the test listens");
        }
    });
    let mut next = async || timeout(SOON, seen.recv()).await.expect("soon").flatten();
    tokio::time::sleep(QUIET).await;

    let (first, second) = (doors[0].grant(120).await, doors[0].grant(120).await);
    let (a, b) = (format!("e/{first:x}"), format!("e/{second:x}"));
    let led = doors[0].campaign("e", first, "v1").await.expect("an election");
    let entered = revision(led.header);
    let leader = led.leader.expect("a leader");
    assert_eq!(next().await, Some((a.clone(), "v1".into(), entered)));
    let waiting = doors[1].start_campaign("e", second, "w1");
    doors[0].await_line("e", 2).await;
    assert_waits(&waiting).await;
    let proclaimed = doors[0].proclaim(leader.clone(), "v2").await.expect("a proclamation");
    assert_eq!(next().await, Some((a.clone(), "v2".into(), proclaimed)));

    cluster.members[leading].kill();
    let deadline = Instant::now() + SOON;
    while doors[0].proclaim(leader.clone(), "v3").await.is_err() {
        assert!(Instant::now() < deadline, "no proclamation after the leader's death");
    }
    // A proclamation whose answer was lost may have happened, too.
    let mut after = next().await.expect("a leader");
    let resigned = doors[0].resign(leader).await.expect("a resignation");
    while after.0 == a {
        assert_eq!(after.1, "v3");
        after = next().await.expect("a leader");
    }
    assert_eq!((&after.0, &after.1[..]), (&b, "w1"));
    assert!(after.2 >= resigned);
    soon(waiting).await.expect("an election");
}
