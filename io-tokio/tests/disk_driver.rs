//! The loops around small machines: group commit, order, refusals, stopping, faults.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_core::auth::Identity;
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::ids::{LogIndex, MemberId, RequestId, StreamId, Term, Token};
use quorate_core::output::{Batch, Persist};
use quorate_core::peer::PeerMessage;
use quorate_core::storage::{Entry, EntryKind, SnapshotMark, StateRead, Table};
use quorate_core::time::{Time, Wake};
use quorate_core::{
    Machine, ReplicaInput, ReplicaOutput, Request, Response, StateInput, StateOutput, View,
};
use quorate_io_tokio::channels;
use quorate_io_tokio::clock::Clock;
use quorate_io_tokio::disk::store::Store;
use quorate_io_tokio::disk::{Appended, Defragment, LogWrite, Size, StateWrite};
use quorate_io_tokio::driver::{self, Fatal, Parts, Running, Transport, Unobserved};
use quorate_io_tokio::transport::IoThreads;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::{ImageChunk, ImageEnd, ImageHeader};
use quorate_proto::raftpb;

type Events = Arc<Mutex<Vec<String>>>;

/// A replica that commits an entry as soon as it is persisted, and installs on a `MsgSnap`.
#[derive(Default)]
struct Echo {
    outputs: std::collections::VecDeque<ReplicaOutput>,
    proposed: Vec<Entry>,
    sent: Vec<(u64, Vec<Entry>)>,
    last: u64,
    number: u64,
}

impl Machine for Echo {
    type Input = ReplicaInput;
    type Output = ReplicaOutput;

    fn handle(&mut self, _now: Time, input: ReplicaInput) {
        match input {
            ReplicaInput::Propose { data, .. } => {
                self.last += 1;
                let index = LogIndex(self.last);
                self.proposed.push(Entry { index, term: Term(1), data, ..Entry::default() });
            }
            ReplicaInput::Persisted { number } => {
                for (_, entries) in self.sent.extract_if(.., |(sent, _)| *sent <= number) {
                    self.outputs.push_back(ReplicaOutput::Committed { entries });
                }
            }
            ReplicaInput::Peer { message, .. } => {
                let kind = message.r#type();
                assert_ne!(kind, raftpb::MessageType::MsgHup, "this one panics on purpose");
                let Some(about) = message.snapshot.and_then(|it| it.metadata) else { return };
                let mark = SnapshotMark { index: LogIndex(about.index), ..Default::default() };
                self.number += 1;
                self.sent.push((self.number, Vec::new()));
                let snapshot = Some(mark);
                let batch = Persist { number: self.number, snapshot, ..Default::default() };
                self.outputs.push_back(ReplicaOutput::Persist(batch));
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_output(&mut self) -> Option<ReplicaOutput> {
        if !self.proposed.is_empty() {
            self.number += 1;
            let entries = std::mem::take(&mut self.proposed);
            self.sent.push((self.number, entries.clone()));
            let number = self.number;
            let batch = Persist { number, entries, must_sync: true, ..Default::default() };
            return Some(ReplicaOutput::Persist(batch));
        }
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        None
    }
}

/// A state that proposes every put and answers it once committed; stores one batch an entry.
struct Ledger {
    outputs: Vec<StateOutput>,
    events: Events,
    epoch: u64,
    ticks: Arc<AtomicBool>,
    /// Requests that are answered with the next entry.
    late: Vec<Token>,
}

fn a_view(applied: u64) -> View {
    let facts = quorate_core::view::Facts { applied: LogIndex(applied), ..Default::default() };
    quorate_io_tokio::grpc::reads::view_of(facts)
}

impl Ledger {
    fn new(events: &Events) -> Self {
        let outputs = vec![StateOutput::Publish(a_view(0))];
        let (ticks, late) = (Arc::default(), Vec::new());
        Self { outputs, events: Arc::clone(events), epoch: 0, ticks, late }
    }

    fn apply(&mut self, entry: &Entry) {
        let token = u64::from_be_bytes(entry.data[..8].try_into().unwrap());
        let writes = vec![quorate_core::storage::Write {
            table: Table::Key,
            key: entry.data.slice(..8),
            value: Some(entry.data.clone()),
        }];
        let (epoch, index) = (self.epoch, entry.index);
        self.outputs.push(StateOutput::Store(Batch { epoch, index, writes, sync: false }));
        for token in self.late.drain(..).chain([Token(token)]) {
            let result = Ok(Response::Put(pb::PutResponse::default()));
            self.outputs.push(StateOutput::Respond { token, result });
        }
        self.outputs.push(StateOutput::Publish(a_view(entry.index.get())));
    }

    fn tell(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }
}

impl Machine for Ledger {
    type Input = StateInput;
    type Output = StateOutput;

    fn handle(&mut self, _now: Time, input: StateInput) {
        match input {
            StateInput::Request { token, request: Request::Put(_), .. } => {
                let data = token.get().to_be_bytes().to_vec().into();
                self.outputs.push(StateOutput::Propose {
                    id: RequestId(token.get()),
                    data,
                    kind: EntryKind::Normal,
                    in_term: Term(1),
                    may_forward: true,
                });
            }
            StateInput::Request { token, .. } => {
                self.late.push(token);
                self.tell("a request to be answered late".into());
            }
            StateInput::Read { token } => {
                self.outputs.push(StateOutput::ReadReady { token, result: Ok(a_view(99)) });
            }
            StateInput::StreamMessage { stream, message, .. } => {
                let frames = match message.request_union {
                    Some(pb::watch_request::RequestUnion::CancelRequest(it)) => it.watch_id,
                    _ => 1,
                };
                for watch_id in 0..frames {
                    let frame = pb::WatchResponse { watch_id, ..Default::default() };
                    self.outputs.push(StateOutput::Stream { stream, frame });
                }
            }
            StateInput::StreamReady { frames, .. } => self.tell(format!("credit {frames}")),
            StateInput::StreamClosed { stream: StreamId(_) } => self.tell("closed".into()),
            StateInput::Committed { entries } => entries.iter().for_each(|e| self.apply(e)),
            StateInput::Stored { index, .. } => self.tell(format!("stored {index}")),
            StateInput::Installed { .. } => {
                self.epoch += 1;
                self.tell("installed".into());
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _now: Time) {
        self.ticks.store(true, Ordering::Release);
    }

    fn poll_output(&mut self) -> Option<StateOutput> {
        if self.outputs.is_empty() { None } else { Some(self.outputs.remove(0)) }
    }

    fn poll_timeout(&self) -> Option<Wake> {
        let is_due = !self.ticks.load(Ordering::Acquire);
        is_due.then_some(Wake { at: Time(20_000_000), timer: "once" })
    }
}

/// A log whose appends wait for a permit each.
struct Gated {
    permits: Option<Receiver<()>>,
    events: Events,
    fails: bool,
}

impl LogWrite for Gated {
    fn append(&mut self, batches: &[Persist]) -> Result<Appended, StorageFault> {
        if let Some(permits) = &self.permits {
            permits.recv().unwrap();
        }
        if self.fails {
            return Err(StorageFault::new("the disk is gone"));
        }
        let entries: usize = batches.iter().map(|batch| batch.entries.len()).sum();
        self.events.lock().unwrap().push(format!("append {} of {entries}", batches.len()));
        Ok(Appended::default())
    }

    fn cut(&mut self, _mark: &SnapshotMark) -> Result<(), StorageFault> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        self.events.lock().unwrap().push("log synced".into());
        Ok(())
    }
}

/// A store that tells of its syncs and installations.
struct Told {
    store: Store,
    events: Events,
}

impl StateWrite for Told {
    fn write(&mut self, batch: Batch) -> Result<bool, StorageFault> {
        self.store.write(batch)
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        self.events.lock().unwrap().push("store synced".into());
        self.store.sync()
    }

    fn image(&self) -> Arc<dyn StateRead> {
        self.store.image()
    }

    fn install(&mut self, mark: &SnapshotMark) -> Result<Arc<dyn StateRead>, StorageFault> {
        self.events.lock().unwrap().push(format!("swapped {}", mark.index));
        Ok(self.store.image())
    }

    fn defragment(&self) -> Defragment {
        self.store.defragment()
    }

    fn release(&mut self) -> Result<(), StorageFault> {
        self.store.release()
    }

    fn damage(&self) -> Option<StorageFault> {
        self.store.damage()
    }

    fn size(&self) -> Size {
        self.store.size()
    }
}

struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _to: MemberId, _message: PeerMessage) {}
    fn send_image(&self, _: MemberId, _: raftpb::Message, _: Arc<dyn StateRead>) {}
}

struct Bench {
    running: Running,
    _streams: IoThreads,
    events: Events,
    permits: Sender<()>,
    _root: tempfile::TempDir,
}

fn bench(is_gated: bool, fails: bool) -> Bench {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let events = Events::default();
    let (permits, gate) = channel();
    let incoming = store.incoming();
    let log = Gated { permits: is_gated.then_some(gate), events: Arc::clone(&events), fails };
    let parts = Parts {
        replica: Echo::default(),
        state: Ledger::new(&events),
        log: Box::new(log),
        store: Box::new(Told { store, events: Arc::clone(&events) }),
        incoming,
        transport: Arc::new(Nowhere),
        observer: Arc::new(Unobserved),
        scrub_interval: Duration::from_secs(3_600),
        clock: Clock::start(),
    };
    let streams = IoThreads::start("test-peer", 1).unwrap();
    let running = driver::start(parts, streams.next()).unwrap();
    Bench { running, _streams: streams, events, permits, _root: root }
}

impl Bench {
    async fn wait_for(&self, event: &str) {
        let is_there = || self.events.lock().unwrap().iter().any(|it| it == event);
        for _ in 0..5_000 {
            if is_there() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{event} never came: {:?}", self.events.lock().unwrap());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

fn put() -> Request {
    Request::Put(pb::PutRequest::default())
}

#[tokio::test]
async fn proposals_made_while_the_log_syncs_leave_in_one_sync() {
    let bench = bench(true, false);
    let core = bench.running.core.clone();
    let call = |core: &driver::Core| {
        let core = core.clone();
        tokio::spawn(async move { core.request(Ok(Identity::default()), put()).await })
    };
    let first = call(&core);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let more: Vec<_> = (0..64).map(|_| call(&core)).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.taken(), Vec::<String>::new(), "everything waits for the first sync");
    bench.permits.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
    bench.permits.send(()).unwrap();
    for call in more {
        assert!(call.await.unwrap().is_ok());
    }
    let appends: Vec<_> = bench.taken().into_iter().filter(|it| it.starts_with("append")).collect();
    assert_eq!(appends[0], "append 1 of 1");
    assert_eq!(appends.len(), 2, "one sync for all 64: {appends:?}");
    assert!(appends[1].ends_with("of 64"), "{appends:?}");
    assert_eq!(core.view().facts.applied, LogIndex(65));
}

#[tokio::test]
async fn loops_stop_in_order_with_everything_synced() {
    let bench = bench(false, false);
    let core = bench.running.core.clone();
    core.request(Ok(Identity::default()), put()).await.unwrap();
    assert_eq!(core.read().await.unwrap().facts.applied, LogIndex(99));
    bench.wait_for("stored 1").await;
    let unanswered = {
        let core = core.clone();
        tokio::spawn(async move {
            core.request(Ok(Identity::default()), Request::LeaseLeases(Default::default())).await
        })
    };
    bench.wait_for("a request to be answered late").await;
    bench.taken();
    let (events, running) = (Arc::clone(&bench.events), bench.running);
    tokio::task::spawn_blocking(move || running.stop(Duration::from_secs(10)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(*events.lock().unwrap(), ["log synced", "store synced"]);
    assert_eq!(unanswered.await.unwrap(), Err(Refusal::Stopped));
    assert_eq!(core.request(Ok(Identity::default()), put()).await, Err(Refusal::Stopped));
    assert!(core.open_stream(1).is_err());
}

#[tokio::test]
async fn a_hung_log_is_named_when_stopping() {
    let bench = bench(true, false);
    let core = bench.running.core.clone();
    let call = tokio::spawn(async move { core.request(Ok(Identity::default()), put()).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let running = bench.running;
    let stop = move || running.stop(Duration::from_millis(200));
    assert_eq!(tokio::task::spawn_blocking(stop).await.unwrap(), Err("log"));
    call.abort();
    drop(bench.permits);
}

#[tokio::test]
async fn a_fault_and_a_panic_are_told() {
    let failing = bench(false, true);
    let core = failing.running.core.clone();
    let call = tokio::spawn(async move { core.request(Ok(Identity::default()), put()).await });
    let fatal = failing.running.fatal().await;
    assert_eq!(fatal, Fatal::Halted(StorageFault::new("the disk is gone")));
    assert_eq!(fatal.to_string(), "the disk is gone");
    call.abort();

    let panicking = bench(false, false);
    let hup = raftpb::Message::default();
    let message = quorate_core::peer::Message::Raft(hup);
    panicking.running.core.deliver(MemberId(2), message);
    assert_eq!(panicking.running.fatal().await, Fatal::Panicked("replica"));
}

#[tokio::test]
async fn state_hears_of_an_image_before_anything_committed_after_it() {
    let bench = bench(false, false);
    let core = bench.running.core.clone();
    core.request(Ok(Identity::default()), put()).await.unwrap();
    bench.wait_for("stored 1").await;
    bench.taken();
    let header = ImageHeader { announce: Some(announcement()), ..Default::default() };
    let image = [Chunk::Header(header), Chunk::End(ImageEnd::default())];
    let chunks = image.map(|chunk| ImageChunk { chunk: Some(chunk) });
    core.receive_image(MemberId(2), chunks.into_iter()).unwrap();
    bench.wait_for("installed").await;
    assert_eq!(bench.taken(), ["swapped 50", "append 1 of 0", "installed"]);
}

/// Of an image at 50.
fn announcement() -> raftpb::Message {
    let metadata = raftpb::SnapshotMetadata { index: 50, ..Default::default() };
    let snapshot = raftpb::Snapshot { metadata: Some(metadata), ..Default::default() };
    let mut announce = raftpb::Message { snapshot: Some(snapshot), ..Default::default() };
    announce.set_type(raftpb::MessageType::MsgSnap);
    announce
}

#[tokio::test]
async fn an_announcement_without_its_image_installs_nothing() {
    let bench = bench(false, false);
    let core = bench.running.core.clone();
    core.deliver(MemberId(2), quorate_core::peer::Message::Raft(announcement()));
    core.request(Ok(Identity::default()), put()).await.unwrap();
    bench.wait_for("stored 1").await;
    assert!(!bench.taken().iter().any(|event| event.starts_with("swapped")));
}

#[tokio::test]
async fn the_late_answer_of_an_abandoned_call_goes_to_nobody() {
    let bench = bench(false, false);
    let core = bench.running.core.clone();
    let call = core.request(Ok(Identity::default()), Request::LeaseLeases(Default::default()));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    bench.wait_for("a request to be answered late").await;
    assert_eq!(
        core.request(Ok(Identity::default()), put()).await,
        Ok(Response::Put(pb::PutResponse::default()))
    );
    bench.wait_for("stored 1").await;
}

fn frames(count: i64) -> pb::WatchRequest {
    let cancel = pb::WatchCancelRequest { watch_id: count };
    let request_union = Some(pb::watch_request::RequestUnion::CancelRequest(cancel));
    pb::WatchRequest { request_union }
}

#[tokio::test]
async fn streams_carry_frames_in_order_give_credit_and_close() {
    let bench = bench(false, false);
    let mut stream = bench.running.core.open_stream(1 << 20).unwrap();
    let count = channels::STREAM_CREDIT_FRAMES as i64;
    stream.entry().send(Ok(Identity::default()), frames(count)).unwrap();
    for watch_id in 0..count {
        assert_eq!(stream.recv().await.unwrap().watch_id, watch_id);
    }
    bench.wait_for(&format!("credit {count}")).await;
    drop(stream);
    bench.wait_for("closed").await;

    let mut lazy = bench.running.core.open_stream(1 << 20).unwrap();
    bench.taken();
    let many = frames(channels::STREAM_FRAMES_MAX as i64 + 1);
    lazy.entry().send(Ok(Identity::default()), many).unwrap();
    bench.wait_for("closed").await;
    for watch_id in 0..channels::STREAM_FRAMES_MAX as i64 {
        assert_eq!(lazy.recv().await.unwrap().watch_id, watch_id);
    }
    assert!(lazy.recv().await.is_none(), "one frame too many closed it");
}
