//! A whole server around a scripted member: when it is ready, and how it ends.
#![allow(clippy::unwrap_used)]

mod front_fake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use front_fake::{Call, Fake, dialer, leading, view_of};
use quorate_core::ids::MemberId;
use quorate_core::peer::raftpb;
use quorate_core::storage::StateRead;
use quorate_io_tokio::cli::{self, Called, Outcome, Settings};
use quorate_io_tokio::server::{End, Ended, Keyrings, Member, Ports, Server, Signals};
use quorate_io_tokio::tokens::Tokens;
use quorate_io_tokio::transport::IoThreads;
use quorate_io_tokio::transport::peers::{Chunks, Identity, Images, Peers};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::{ImageChunk, ImageHeader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A signal reaches every server of a process: one at a time.
static PROCESS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Nobody sends an image here.
struct NoImages;

impl Images for NoImages {
    fn chunks(&self, _: ImageHeader, _: Arc<dyn StateRead>) -> Chunks {
        panic!("nobody asked for an image")
    }

    fn receive(&self, _: MemberId, _: &mut dyn Iterator<Item = ImageChunk>) -> Result<(), String> {
        panic!("nobody sent an image: {:?}", raftpb::Message::default())
    }
}

fn settings() -> Settings {
    let words = [
        "--listen-client-urls=http://127.0.0.1:0",
        "--advertise-client-urls=http://127.0.0.1:0",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--listen-metrics-urls=http://127.0.0.1:0",
    ];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let Ok(Outcome::Run { flags, .. }) = cli::parse(&words, []) else { panic!() };
    cli::understand(&flags, Called::Etcd).unwrap()
}

/// A member whose end is in the test's hands.
fn member(fake: &Fake, ended: oneshot::Receiver<Ended>, stopped: oneshot::Sender<()>) -> Member {
    let identity = Identity { cluster: leading().cluster, member: leading().member };
    let runtime = tokio::runtime::Handle::current();
    let peers = Arc::new(Peers::new(identity, fake.metrics.clone(), dialer(), runtime));
    let inbound = peers.attach(Arc::new(fake.core.clone()), Arc::new(NoImages));
    Member {
        core: fake.core.clone(),
        peers,
        inbound,
        ended: Box::pin(async { ended.await.unwrap() }),
        stop: Box::new(|| stopped.send(()).unwrap()),
    }
}

/// Runs a server around `fake` while `script` plays, then tells how it ended.
async fn run(
    fake: &Fake,
    ended: oneshot::Receiver<Ended>,
    script: impl AsyncFnOnce(std::net::SocketAddr),
) -> End {
    let (stopped, mut was_stopped) = oneshot::channel();
    let settings = settings();
    let (peer_threads, io_threads) =
        (IoThreads::start("peer", 1).unwrap(), IoThreads::start("io", 1).unwrap());
    let ports = Ports::bind(&settings, &Keyrings::open(&settings).unwrap()).unwrap();
    let client = ports.client_addresses()[0];
    let server = Server {
        settings: &settings,
        metrics: fake.metrics.clone(),
        tokens: Tokens::Simple,
        spans: None,
        dialer: dialer(),
        peer_threads: &peer_threads,
        io_threads: &io_threads,
    };
    let member = member(fake, ended, stopped);
    let mut signals = Signals::new().unwrap();
    let (end, ()) = tokio::join!(server.run(member, ports, signals.next()), script(client));
    assert!(was_stopped.try_recv().is_ok(), "the member was not stopped");
    io_threads.stop();
    peer_threads.stop();
    end
}

/// Whether a connection gets an answer soon.
async fn is_served(address: std::net::SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect(address).await else { return false };
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let request = http::Request::builder()
        .uri("/livez")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = async {
        tokio::select! {
            answer = sender.send_request(request) => answer.is_ok(),
            _ = connection => false,
        }
    };
    tokio::time::timeout(Duration::from_millis(200), answer).await.unwrap_or(false)
}

#[tokio::test]
async fn clients_wait_until_the_member_is_published() {
    let _process = PROCESS.lock().await;
    let mut facts = leading();
    facts.is_published = false;
    let fake = Fake::new(facts);
    let (end_it, ended) = oneshot::channel();
    let end = run(&fake, ended, async |client| {
        assert!(!is_served(client).await);
        fake.published.store(view_of(leading()).into());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(is_served(client).await);
        end_it.send(Ended::Removed).unwrap();
    })
    .await;
    assert_eq!(end, End::Member(Ended::Removed));
}

#[tokio::test]
async fn a_leader_hands_over_before_it_stops_on_a_signal() {
    let _process = PROCESS.lock().await;
    let mut facts = leading();
    facts.members = [0xa, 0xb, 0xc].map(|id| pb::Member { id, ..Default::default() }).into();
    let mut fake = Fake::new(facts.clone());
    let mut calls = std::mem::replace(&mut fake.calls, tokio::sync::mpsc::unbounded_channel().1);
    let published = fake.published.clone();
    let following = tokio::spawn(async move {
        let Some(Call::TransferLeadership(None)) = calls.recv().await else { panic!() };
        facts.role.is_leader = false;
        published.store(view_of(facts).into());
    });
    let (_end_it, ended) = oneshot::channel();
    let mut signalled = None;
    let end = run(&fake, ended, async |client| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(is_served(client).await);
        signalled = Some(Instant::now());
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    })
    .await;
    assert_eq!(end, End::Signal(15));
    assert!(signalled.unwrap().elapsed() < Duration::from_millis(1_500));
    following.await.unwrap();
}
