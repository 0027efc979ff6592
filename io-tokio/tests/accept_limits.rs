//! What a server lets its clients do to it, as flags say: the same of a real etcd.

mod accept;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use accept::api::channel;
use accept::ctl::Ctl;
use accept::{Cluster, Member, Options};
use bytes::Bytes;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest, WatchRequest};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::transport::Channel;

fn started(flags: &[&str]) -> (Cluster, SocketAddr) {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let cluster = Cluster::start_with(1, &Options { flags });
    let addr = cluster.members[0].client;
    (cluster, addr)
}

/// HTTP/2 in frames.
struct Frames(TcpStream);

impl Frames {
    /// A connection that has begun.
    fn dial(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("a write");
        let mut this = Self(stream);
        this.send(4, 0, 0, &[]);
        this
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
        self.0.write_all(&[&head, payload].concat()).expect("a write");
    }

    fn ping(&mut self) {
        self.send(6, 0, 0, &[1; 8]);
    }

    /// Opens a watch stream and asks nothing on it.
    fn open_watch(&mut self) {
        // POST, http, the path, and what gRPC wants, all written out.
        let mut block = vec![0x83, 0x86];
        for (name, value) in [
            (":path", "/etcdserverpb.Watch/Watch"),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            block.extend([0, name.len() as u8]);
            block.extend(name.as_bytes());
            block.push(value.len() as u8);
            block.extend(value.as_bytes());
        }
        self.send(1, 4, 1, &block);
    }

    /// Type and payload of the next frame; nothing at the end.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], payload))
    }

    /// The reason and the words the connection ends with, and how many pings were answered.
    fn end(&mut self) -> (usize, Option<(u8, String)>) {
        let (mut answers, mut goodbye) = (0, None);
        while let Some((kind, payload)) = self.next() {
            match kind {
                6 if payload == [1; 8] => answers += 1,
                7 => goodbye = Some((payload[7], String::from_utf8_lossy(&payload[8..]).into())),
                _ => {}
            }
        }
        (answers, goodbye)
    }

    /// Pings until it is answered that often.
    fn answers(&mut self, wanted: usize) {
        let mut answers = 0;
        while answers < wanted {
            let (kind, payload) = self.next().expect("the connection lives");
            assert_ne!(kind, 7, "a goodbye: {payload:?}");
            answers += usize::from(kind == 6 && payload == [1; 8]);
        }
    }
}

fn too_many_pings() -> Option<(u8, String)> {
    Some((0xb, "too_many_pings".to_owned()))
}

#[test]
fn who_pings_without_a_call_is_told_to_calm_down() {
    let (_cluster, addr) = started(&[]);
    let mut frames = Frames::dial(addr);
    for _ in 0..3 {
        frames.ping();
    }
    frames.answers(3);
    frames.ping();
    let (_, goodbye) = frames.end();
    assert_eq!(goodbye, too_many_pings());
}

#[test]
fn a_call_allows_pings_as_often_as_the_flag_says() {
    let (_cluster, addr) = started(&["--grpc-keepalive-min-time=300ms"]);
    let mut frames = Frames::dial(addr);
    frames.open_watch();
    for _ in 0..6 {
        frames.ping();
        frames.answers(1);
        std::thread::sleep(Duration::from_millis(330));
    }
    let pinged = Instant::now();
    for _ in 0..5 {
        frames.ping();
    }
    let (_, goodbye) = frames.end();
    assert_eq!(goodbye, too_many_pings());
    assert!(pinged.elapsed() < Duration::from_secs(5));
}

/// Go's clients ping whenever data comes, to measure the way.
#[test]
fn a_large_answer_is_no_reason_to_calm_down() {
    let (cluster, _) = started(&[]);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    let value = "v".repeat(200_000);
    for number in 0..5 {
        ctl.run_with_input(&["put", &format!("k{number}")], &value);
    }
    let all = ctl.run(&["get", "k", "--prefix", "--print-value-only"]);
    assert!(all == (value + "\n").repeat(5), "{} bytes", all.len());
}

#[test]
fn a_client_that_does_not_answer_is_cut_off() {
    let flags = ["--grpc-keepalive-interval=1s", "--grpc-keepalive-timeout=500ms"];
    let (_cluster, addr) = started(&flags);
    let mut frames = Frames::dial(addr);
    frames.open_watch();
    let opened = Instant::now();
    while frames.next().is_some() {}
    let cut_off = opened.elapsed();
    let allowed = Duration::from_millis(1_000)..Duration::from_secs(6);
    assert!(allowed.contains(&cut_off), "{cut_off:?}");
}

#[test]
fn streams_are_as_many_as_the_flag_says() {
    let (_cluster, addr) = started(&["--max-concurrent-streams=7"]);
    let mut frames = Frames::dial(addr);
    let (kind, settings) = frames.next().expect("settings");
    assert_eq!(kind, 4);
    let streams_max = settings.chunks(6).find(|setting| setting[..2] == [0, 3]);
    assert_eq!(streams_max, Some(&[0, 3, 0, 0, 0, 7][..]));
}

#[tokio::test]
async fn requests_are_as_large_as_the_flag_says() {
    let (_cluster, addr) = started(&["--max-request-bytes=10000"]);
    let mut kv = KvClient::new(channel(addr));
    let mut put = async |bytes: usize| {
        let value = Bytes::from(vec![b'v'; bytes]);
        let request = PutRequest { key: Bytes::from_static(b"k"), value, ..Default::default() };
        kv.put(request).await.map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(put(9_900).await, Ok(()));
    assert_eq!(put(10_001).await, Err(Code::InvalidArgument));
    assert_eq!(put(10_000 + (512 << 10) - 50).await, Err(Code::InvalidArgument));
    assert_eq!(put(10_000 + (512 << 10)).await, Err(Code::ResourceExhausted));
    let mut plain = KvClient::new(channel(addr));
    let request = PutRequest { value: vec![0; 600_000].into(), ..Default::default() };
    let status = plain.put(request).await.expect_err("it is too large");
    let text = "grpc: received message larger than max (600004 vs. 534288)";
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
}

/// So many puts of a MiB each, as fast as they are taken; how often one was refused because there
/// was no memory for it.
async fn put_much(kv: KvClient<Channel>, client: usize, puts: usize) -> usize {
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    let (mut taken, mut refused) = (0, 0);
    while taken < puts {
        let key = format!("much/{client}/{taken}").into();
        let request = PutRequest { key, value: value.clone(), ..Default::default() };
        match kv.clone().put(request).await {
            Ok(_) => taken += 1,
            Err(status) => {
                let told = (status.code(), status.message());
                assert_eq!(told, (Code::Unknown, "etcdserver: too many requests"));
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    refused
}

/// The most memory a member has while that is done.
async fn most_resident<T>(member: &Member, work: impl Future<Output = T>) -> (u64, T) {
    let (mut most, mut work) = (0, std::pin::pin!(work));
    loop {
        most = most.max(member.own_bytes());
        tokio::select! {
            biased;
            done = &mut work => return (most, done),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_as_much_as_the_flag_says() {
    const LIMIT: u64 = 512 << 20;
    let (cluster, addr) = started(&[&format!("--memory-limit-bytes={LIMIT}")]);
    let (member, kv) = (&cluster.members[0], KvClient::new(channel(addr)));
    let clients = (0..32).map(|client| put_much(KvClient::new(channel(addr)), client, 20));
    let (most, refused) = most_resident(member, futures_util::future::join_all(clients)).await;
    let refused: usize = refused.iter().sum();
    eprintln!("640 taken, {refused} refused, {} MiB at the most", most >> 20);

    // All that together is more than it may have.
    let list = || async {
        let (key, range_end) = ("much/".into(), "much0".into());
        let request = RangeRequest { key, range_end, ..RangeRequest::default() };
        let mut kv = kv.clone().max_decoding_message_size(1 << 30);
        kv.range(request).await.map(|_| ()).map_err(|status| status.code())
    };
    let lists = futures_util::future::join_all((0..16).map(|_| list()));
    let (most_of_lists, done) = most_resident(member, lists).await;
    eprintln!("{done:?}, {} MiB at the most", most_of_lists >> 20);
    assert!(done.iter().all(|listed| *listed == Err(Code::Unknown)));
    assert!(most.max(most_of_lists) < LIMIT);

    // What was under way is over, and there is memory again.
    let put = async || {
        let request = PutRequest { key: "later".into(), ..PutRequest::default() };
        kv.clone().put(request).await.is_ok()
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !put().await {
        assert!(Instant::now() < until, "{} MiB are used", member.own_bytes() >> 20);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn progress_is_notified_as_often_as_the_flag_says() {
    let (_cluster, addr) = started(&["--watch-progress-notify-interval=100ms"]);
    let create = WatchCreateRequest {
        key: Bytes::from_static(b"k"),
        progress_notify: true,
        ..WatchCreateRequest::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let messages = tokio_stream::iter([WatchRequest { request_union }]);
    let messages = messages.chain(tokio_stream::pending());
    let mut frames = WatchClient::new(channel(addr)).watch(messages).await.expect("a watch");
    let frames = frames.get_mut();
    assert!(frames.message().await.expect("a frame").expect("a frame").created);
    let created = Instant::now();
    for _ in 0..5 {
        let frame = frames.message().await.expect("a frame").expect("a frame");
        assert_eq!((frame.watch_id, frame.events.len(), frame.canceled), (0, 0, false));
    }
    let told = created.elapsed();
    let allowed = Duration::from_millis(350)..Duration::from_secs(3);
    assert!(allowed.contains(&told), "{told:?}");
}
