//! Few calls of the API, each waited for.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::etcdserverpb::downgrade_request::DowngradeAction;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DowngradeRequest, HashKvRequest, PutRequest,
    RangeRequest, RangeResponse, RequestOp, StatusRequest, StatusResponse, TxnRequest,
    WatchCreateRequest, WatchRequest,
};
use quorate_proto::mvccpb::KeyValue;
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::history::Changes;
use super::{Cluster, wait_for};

/// How long one call of these may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// A channel that connects when it is first used, and again when it must.
pub(crate) fn channel(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address is a URL");
    endpoint.connect_timeout(Duration::from_millis(500)).tcp_nodelay(true).connect_lazy()
}

/// One member, asked from a thread that waits.
pub(crate) struct Api {
    runtime: Runtime,
    channel: Channel,
}

impl Api {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let channel = runtime.block_on(async { channel(addr) });
        Self { runtime, channel }
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.runtime.block_on(async {
            let late = |_| Err(Status::deadline_exceeded("no answer"));
            tokio::time::timeout(CALL_MAX, call).await.unwrap_or_else(late)
        })
    }

    pub(crate) fn status(&self) -> Result<StatusResponse, Status> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        self.wait(async { Ok(client.status(StatusRequest {}).await?.into_inner()) })
    }

    /// Asks for a defragmentation.
    pub(crate) fn defragment(&self) -> Result<(), Status> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        self.wait(async { client.defragment(DefragmentRequest {}).await.map(|_| ()) })
    }

    /// The hash of all keys up to a revision.
    pub(crate) fn hash_kv(&self, revision: i64) -> Result<u32, Status> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        let request = HashKvRequest { revision };
        self.wait(async { Ok(client.hash_kv(request).await?.into_inner().hash) })
    }

    /// Asks for a downgrade, or about one; the cluster's version.
    pub(crate) fn downgrade(&self, action: DowngradeAction, to: &str) -> Result<String, Status> {
        let mut client = MaintenanceClient::new(self.channel.clone());
        let request = DowngradeRequest { action: action as i32, version: to.to_owned() };
        self.wait(async { Ok(client.downgrade(request).await?.into_inner().version) })
    }

    /// Writes a key; the revision.
    pub(crate) fn put(&self, key: &str, value: Vec<u8>) -> Result<i64, Status> {
        let mut client = KvClient::new(self.channel.clone());
        let key = Bytes::copy_from_slice(key.as_bytes());
        let request = PutRequest { key, value: value.into(), ..PutRequest::default() };
        let answer = self.wait(async { Ok(client.put(request).await?.into_inner()) })?;
        Ok(answer.header.map_or(0, |header| header.revision))
    }

    /// Writes keys in one transaction.
    pub(crate) fn put_all(
        &self,
        pairs: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Result<(), Status> {
        let put = |(key, value): (String, Vec<u8>)| RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: key.into(),
                value: value.into(),
                ..PutRequest::default()
            })),
        };
        let request = TxnRequest { success: pairs.map(put).collect(), ..TxnRequest::default() };
        let mut client = KvClient::new(self.channel.clone());
        self.wait(async { client.txn(request).await.map(|_| ()) })
    }

    /// Forgets history up to a revision.
    pub(crate) fn compact(&self, revision: i64) -> Result<(), Status> {
        let mut client = KvClient::new(self.channel.clone());
        let request = CompactionRequest { revision, physical: false };
        self.wait(async { client.compact(request).await.map(|_| ()) })
    }

    /// One key, as it was at a revision.
    pub(crate) fn get_at(&self, key: &str, revision: i64) -> Result<RangeResponse, Status> {
        let mut client = KvClient::new(self.channel.clone());
        let key = Bytes::copy_from_slice(key.as_bytes());
        let request = RangeRequest { key, revision, ..RangeRequest::default() };
        self.wait(async { Ok(client.range(request).await?.into_inner()) })
    }

    /// Every key.
    pub(crate) fn range_all(&self, serializable: bool) -> Result<RangeResponse, Status> {
        let client = KvClient::new(self.channel.clone());
        let mut client = client.max_decoding_message_size(1 << 30);
        let (key, range_end) = (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        let request = RangeRequest { key, range_end, serializable, ..RangeRequest::default() };
        self.wait(async { Ok(client.range(request).await?.into_inner()) })
    }

    /// Every change from revision 2 up to this one.
    pub(crate) fn changes_until(&self, last: i64) -> Result<Changes, Status> {
        self.runtime.block_on(async {
            let collected = collect_changes(self.channel.clone(), last);
            let late = |_| Err(Status::deadline_exceeded("the watch never came to the end"));
            tokio::time::timeout(Duration::from_secs(60), collected).await.unwrap_or_else(late)
        })
    }
}

async fn collect_changes(channel: Channel, last: i64) -> Result<Changes, Status> {
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        start_revision: 2,
        ..WatchCreateRequest::default()
    };
    let (requests, outgoing) = tokio::sync::mpsc::channel(1);
    let request_union = Some(RequestUnion::CreateRequest(create));
    let sent = requests.send(WatchRequest { request_union }).await;
    sent.map_err(|_| Status::aborted("the watch ended before it began"))?;
    let mut client = WatchClient::new(channel).max_decoding_message_size(1 << 30);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answers = client.watch(outgoing).await?.into_inner();
    let mut changes = Changes::new();
    while changes.last_key_value().is_none_or(|(revision, _)| *revision < last) {
        let answer = answers.message().await?;
        let answer = answer.ok_or_else(|| Status::aborted("the watch ended early"))?;
        if answer.canceled {
            return Err(Status::aborted(format!("the watch was cancelled: {answer:?}")));
        }
        for event in answer.events {
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            changes.entry(revision).or_default().push(event);
        }
    }
    Ok(changes)
}

/// Which member leads, by its own word, waiting until one does.
pub(crate) fn leader_of(cluster: &Cluster) -> usize {
    let apis: Vec<Api> = cluster.members.iter().map(|member| Api::new(member.client)).collect();
    let mut leader = None;
    wait_for(Duration::from_secs(20), "a leader", || {
        leader = apis.iter().position(is_leader);
        leader.is_some()
    });
    leader.expect("waited for")
}

/// Waits until every member has every change that one has; the common state and its revision. What
/// clients gave up on may still come in meanwhile.
pub(crate) fn agreed_state(cluster: &Cluster, first: usize) -> (Vec<KeyValue>, i64) {
    let apis: Vec<Api> = cluster.members.iter().map(|member| Api::new(member.client)).collect();
    let state_of = |api: &Api, serializable: bool| {
        let answer = api.range_all(serializable).ok()?;
        let revision = answer.header.as_ref()?.revision;
        Some((answer.kvs, revision))
    };
    let mut state = None;
    for (number, api) in apis.iter().enumerate() {
        let what = format!("member {number} to have every change that member {first} has");
        wait_for(Duration::from_secs(20), &what, || {
            state = state_of(&apis[first], false);
            state.is_some() && state_of(api, true) == state
        });
    }
    state.expect("a cluster has members")
}

fn is_leader(api: &Api) -> bool {
    let Ok(status) = api.status() else { return false };
    status.header.is_some_and(|header| header.member_id == status.leader)
}
