//! Clients that write and read while members come and go, each remembering everything.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::api::channel;
use super::history::{Call, Operation, Recorder};

/// After this a client gives up and asks another member.
const CALL_MAX: Duration = Duration::from_secs(3);
/// Keys all clients write.
const SHARED_KEYS: u64 = 8;
/// Keys each client has for itself.
const OWN_KEYS: u64 = 4;

/// Clients under way.
pub(crate) struct Load {
    pub(crate) recorder: Arc<Recorder>,
    runtime: Runtime,
    tasks: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    /// So many clients spread over all members, each pausing so long after a call.
    pub(crate) fn start(addrs: &[SocketAddr], clients: u64, pause: Duration) -> Self {
        Self::go_on(Arc::new(Recorder::new()), addrs, 0..clients, pause)
    }

    /// The same with these clients, whom nobody knew before, in a history that began earlier.
    pub(crate) fn go_on(
        recorder: Arc<Recorder>,
        addrs: &[SocketAddr],
        clients: Range<u64>,
        pause: Duration,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let is_over = Arc::new(AtomicBool::new(false));
        let channels: Vec<Channel> =
            runtime.block_on(async { addrs.iter().map(|addr| channel(*addr)).collect() });
        let spawn = |number| {
            let (recorder, is_over) = (recorder.clone(), is_over.clone());
            let channels = channels.clone();
            let client = Client { number, channels, at: number as usize, recorder, sequence: 0 };
            runtime.spawn(client.run(pause, is_over))
        };
        let tasks = clients.map(spawn).collect();
        Self { recorder, runtime, tasks, is_over }
    }

    /// Lets every client finish what it does; the whole history.
    pub(crate) fn stop(self) -> Vec<Operation> {
        self.is_over.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for task in self.tasks {
                task.await.expect("a client does not panic");
            }
        });
        self.recorder.snapshot()
    }
}

struct Client {
    number: u64,
    channels: Vec<Channel>,
    at: usize,
    recorder: Arc<Recorder>,
    sequence: u64,
}

impl Client {
    async fn run(mut self, pause: Duration, is_over: Arc<AtomicBool>) {
        while !is_over.load(Ordering::Relaxed) {
            self.sequence += 1;
            let member = self.at % self.channels.len();
            let called = self.recorder.now();
            let call =
                if self.sequence.is_multiple_of(5) { self.get().await } else { self.put().await };
            if call.revision().is_none() {
                self.at += 1;
            }
            self.recorder.push(self.number, member as u64 + 1, called, call);
            tokio::time::sleep(pause).await;
        }
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channels[self.at % self.channels.len()].clone())
    }

    /// A different walk through the keys for each client.
    fn key(&self) -> Bytes {
        let turn = self.sequence.wrapping_mul(2_654_435_761).wrapping_add(self.number) >> 3;
        Bytes::from(match turn % 2 {
            0 => format!("shared/{}", turn / 2 % SHARED_KEYS),
            _ => format!("own/{}/{}", self.number, turn / 2 % OWN_KEYS),
        })
    }

    async fn put(&self) -> Call {
        let value = Bytes::from(format!("{}/{}", self.number, self.sequence));
        let request = PutRequest { key: self.key(), value, ..PutRequest::default() };
        let mut kv = self.kv();
        let answer = tokio::time::timeout(CALL_MAX, kv.put(request.clone())).await;
        Call::Put(request, answer.ok().and_then(Result::ok).map(tonic::Response::into_inner))
    }

    async fn get(&self) -> Call {
        let request = RangeRequest { key: self.key(), ..RangeRequest::default() };
        let mut kv = self.kv();
        let answer = tokio::time::timeout(CALL_MAX, kv.range(request.clone())).await;
        Call::Range(request, answer.ok().and_then(Result::ok).map(tonic::Response::into_inner))
    }
}
