//! Two members' transports on loopback.
#![allow(clippy::unwrap_used)]

mod front_fake;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use front_fake::{Fake, Served, bind_to, dialer, leading, loopback, serve};
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::peer::{Message, PeerMessage, raftpb};
use quorate_core::storage::{StateRead, Table};
use quorate_io_tokio::driver::Transport;
use quorate_io_tokio::http::Surface;
use quorate_io_tokio::metrics::Metrics;
use quorate_io_tokio::transport::bind::Bound;
use quorate_io_tokio::transport::peers::{
    Chunks, Identity, Images, Inbound, Inbox, PeerPort, Peers,
};
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::{ImageChunk, ImageEnd, ImageHeader, ImageRow, ImageRows};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

#[derive(Debug, PartialEq)]
enum Heard {
    Message(u64, Box<raftpb::Message>),
    Sent(u64, bool),
    Unreachable(u64),
    Removed,
}

struct Ear(mpsc::UnboundedSender<Heard>);

impl Inbox for Ear {
    fn deliver(&self, from: MemberId, message: Message) {
        let Message::Raft(message) = message else { panic!("{message:?}") };
        let _ = self.0.send(Heard::Message(from.get(), Box::new(message)));
    }

    fn snapshot_sent(&self, to: MemberId, delivered: bool) {
        let _ = self.0.send(Heard::Sent(to.get(), delivered));
    }

    fn unreachable(&self, to: MemberId) {
        let _ = self.0.send(Heard::Unreachable(to.get()));
    }

    fn removed(&self) {
        let _ = self.0.send(Heard::Removed);
    }
}

/// Cuts images into chunks of one row, and keeps those that come whole.
#[derive(Default)]
struct Shelf {
    kept: Mutex<Vec<Vec<ImageChunk>>>,
    given_up: Mutex<usize>,
    /// Most chunks that have come in of one image.
    furthest: AtomicU64,
    is_full: bool,
    breaks_off: bool,
    inbox: OnceLock<Ear>,
}

impl Images for Shelf {
    fn chunks(&self, header: ImageHeader, image: Arc<dyn StateRead>) -> Chunks {
        let mut chunks = vec![Ok(Chunk::Header(header))];
        image
            .scan(Table::Key, &[], &[], &mut |key, value| {
                let row = ImageRow { key: Bytes::copy_from_slice(key), value: value.clone() };
                chunks.push(Ok(Chunk::Rows(ImageRows { table: 5, rows: vec![row] })));
                ControlFlow::Continue(())
            })
            .unwrap();
        chunks.push(match self.breaks_off {
            true => Err(StorageFault::new("row 7 cannot be read")),
            false => Ok(Chunk::End(ImageEnd::default())),
        });
        Box::new(chunks.into_iter().map(|c| c.map(|chunk| ImageChunk { chunk: Some(chunk) })))
    }

    fn receive(
        &self,
        from: MemberId,
        chunks: &mut dyn Iterator<Item = ImageChunk>,
    ) -> Result<(), String> {
        let note = |(count, chunk)| {
            self.furthest.fetch_max(count, Ordering::Relaxed);
            chunk
        };
        let received: Vec<ImageChunk> = (1..).zip(chunks).map(note).collect();
        let Some(Chunk::Header(header)) = &received[0].chunk else { panic!() };
        let announce = header.announce.clone().unwrap();
        if !matches!(received[received.len() - 1].chunk, Some(Chunk::End(_))) || self.is_full {
            *self.given_up.lock().unwrap() += 1;
            return Err("disk full".to_owned());
        }
        self.kept.lock().unwrap().push(received);
        self.inbox.get().unwrap().deliver(from, Message::Raft(announce));
        Ok(())
    }
}

/// A store with rows.
struct Image(Vec<(Bytes, Bytes)>);

impl StateRead for Image {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        Err(StorageFault::new("an image is only scanned"))
    }

    fn scan(
        &self,
        _: Table,
        _: &[u8],
        _: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        for (key, value) in &self.0 {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct Member {
    peers: Peers,
    heard: mpsc::UnboundedReceiver<Heard>,
    images: Arc<Shelf>,
    inbound: Inbound,
    metrics: Arc<Metrics>,
}

impl Member {
    fn new(cluster: u64, member: u64, images: Shelf) -> Self {
        let metrics = Arc::new(Metrics::new(0));
        let identity = Identity { cluster: ClusterId(cluster), member: MemberId(member) };
        let handle = tokio::runtime::Handle::current();
        let peers = Peers::new(identity, metrics.clone(), dialer(), handle);
        let (ear, heard) = mpsc::unbounded_channel();
        images.inbox.set(Ear(ear.clone())).ok();
        let images = Arc::new(images);
        let inbound = peers.attach(Arc::new(Ear(ear)), images.clone());
        Self { peers, heard, images, inbound, metrics }
    }

    fn serve(&self, bound: Bound) -> Served {
        let port = PeerPort::new(self.inbound.clone());
        serve(bound, Some(port), Fake::new(leading()).pages(Surface::Peer))
    }

    /// Serves on a free port; its URL.
    fn serve_somewhere(&self) -> (String, Served) {
        let port = loopback();
        (format!("http://{}", port.address), self.serve(port))
    }

    async fn hear(&mut self) -> Heard {
        let heard = tokio::time::timeout(Duration::from_secs(60), self.heard.recv()).await;
        heard.unwrap().unwrap()
    }

    /// The next message; what is said about losses is left out.
    async fn hear_message(&mut self) -> (u64, raftpb::Message) {
        loop {
            if let Heard::Message(from, message) = self.hear().await {
                return (from, *message);
            }
        }
    }
}

fn raft(kind: raftpb::MessageType, term: u64) -> raftpb::Message {
    let mut message = raftpb::Message::default();
    message.set_type(kind);
    message.term = term;
    message
}

fn heartbeat(term: u64) -> PeerMessage {
    let message = raft(raftpb::MessageType::MsgHeartbeat, term);
    PeerMessage { message: Some(Message::Raft(message)) }
}

fn append(term: u64) -> PeerMessage {
    let message = raft(raftpb::MessageType::MsgApp, term);
    PeerMessage { message: Some(Message::Raft(message)) }
}

#[tokio::test]
async fn messages_of_a_class_arrive_once_and_in_order() {
    let a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let (url, _served) = b.serve_somewhere();
    a.peers
        .set_members([(MemberId(1), vec!["http://unused:1".to_owned()]), (MemberId(2), vec![url])]);
    for term in 0..500 {
        a.peers.send(MemberId(2), if term % 2 == 0 { heartbeat(term) } else { append(term) });
    }
    let (mut urgent, mut bulk) = (Vec::new(), Vec::new());
    while urgent.len() + bulk.len() < 500 {
        let (from, message) = b.hear_message().await;
        assert_eq!(from, 1);
        let is_bulk = message.r#type() == raftpb::MessageType::MsgApp;
        if is_bulk { &mut bulk } else { &mut urgent }.push(message.term);
    }
    assert_eq!(urgent, (0..500).step_by(2).collect::<Vec<u64>>());
    assert_eq!(bulk, (1..500).step_by(2).collect::<Vec<u64>>());
    assert!(b.metrics.network.received(MemberId(1)).get() > 0);
    assert_eq!(
        a.metrics.network.sent(MemberId(2)).get(),
        b.metrics.network.received(MemberId(1)).get()
    );
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_reported_and_found_when_it_comes() {
    let mut a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let port = loopback();
    let address = port.socket_address().unwrap();
    drop(port);
    a.peers.set_members([(MemberId(2), vec![format!("http://{address}")])]);
    a.peers.send(MemberId(2), heartbeat(1));
    assert_eq!(a.hear().await, Heard::Unreachable(2));
    let served = b.serve(bind_to(address.port()));
    let sending = async {
        loop {
            a.peers.send(MemberId(2), heartbeat(2));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        (from, message) = b.hear_message() => assert_eq!((from, message.term), (1, 2)),
        () = sending => {}
    }
    drop(served);
}

#[tokio::test]
async fn a_proposal_waits_for_the_connection_and_an_append_does_not() {
    let mut a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let port = loopback();
    let address = port.socket_address().unwrap();
    drop(port);
    a.peers.set_members([(MemberId(2), vec![format!("http://{address}")])]);
    let proposal = raft(raftpb::MessageType::MsgProp, 0);
    a.peers.send(MemberId(2), append(1));
    a.peers.send(MemberId(2), PeerMessage { message: Some(Message::Raft(proposal.clone())) });
    // Of either class.
    assert_eq!(a.hear().await, Heard::Unreachable(2));
    assert_eq!(a.hear().await, Heard::Unreachable(2));
    let _served = b.serve(bind_to(address.port()));
    assert_eq!(b.hear_message().await, (1, proposal));
    assert_eq!(a.metrics.network.send_failures(MemberId(2)).get(), 1);
}

#[tokio::test]
async fn a_stranger_is_refused_and_nothing_of_it_is_believed() {
    let mut a = Member::new(8, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let (url, _served) = b.serve_somewhere();
    a.peers.set_members([(MemberId(2), vec![url])]);
    a.peers.send(MemberId(2), heartbeat(1));
    assert_eq!(a.hear().await, Heard::Unreachable(2));
    a.peers.send_image(
        MemberId(2),
        raft(raftpb::MessageType::MsgSnap, 1),
        Arc::new(Image(Vec::new())),
    );
    loop {
        match a.hear().await {
            Heard::Sent(2, false) => break,
            heard => assert_eq!(heard, Heard::Unreachable(2)),
        }
    }
    assert!(b.heard.try_recv().is_err());
    assert_eq!(*b.images.given_up.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_removed_member_is_told_so_and_not_believed() {
    let mut a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    b.peers.set_removed(&[MemberId(1)]);
    let (url, _served) = b.serve_somewhere();
    a.peers.set_members([(MemberId(2), vec![url])]);
    a.peers.send(MemberId(2), heartbeat(1));
    assert_eq!(a.hear().await, Heard::Removed);
    assert!(b.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_removed_member_with_nothing_to_say_is_told_so_too() {
    let mut a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let (url, _served) = b.serve_somewhere();
    a.peers.set_members([(MemberId(2), vec![url.clone()])]);
    a.peers.send(MemberId(2), heartbeat(1));
    assert_eq!(b.hear_message().await.0, 1);
    // Over the stream that is open and idle.
    b.peers.set_removed(&[MemberId(3), MemberId(1)]);
    assert_eq!(a.hear().await, Heard::Removed);
    // And over the first one of a member that comes later.
    let mut late = Member::new(7, 3, Shelf::default());
    late.peers.set_members([(MemberId(2), vec![url])]);
    assert_eq!(late.hear().await, Heard::Removed);
    assert!(b.heard.try_recv().is_err());
}

#[tokio::test]
async fn an_image_arrives_whole_and_is_announced_afterwards() {
    let mut a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let (url, _served) = b.serve_somewhere();
    a.peers.set_members([(MemberId(2), vec![url])]);
    let row = |n: u32| (Bytes::from(n.to_be_bytes().to_vec()), Bytes::from(vec![n as u8; 1_000]));
    let rows: Vec<_> = (0..2_000).map(row).collect();
    let announce = raft(raftpb::MessageType::MsgSnap, 9);
    a.peers.send_image(MemberId(2), announce.clone(), Arc::new(Image(rows.clone())));
    assert_eq!(b.hear_message().await, (1, announce));
    assert_eq!(a.hear().await, Heard::Sent(2, true));
    let kept = b.images.kept.lock().unwrap();
    let received: Vec<_> = kept[0]
        .iter()
        .filter_map(|chunk| match &chunk.chunk {
            Some(Chunk::Rows(rows)) => Some((rows.rows[0].key.clone(), rows.rows[0].value.clone())),
            _ => None,
        })
        .collect();
    assert!(received == rows);
}

/// Passes connections on to `to`. The first so many of them end after `bytes` have come in.
async fn cutting(to: std::net::SocketAddr, cuts: usize, bytes: u64) -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let passed = Arc::new(AtomicU64::new(0));
    let (cuts, count) = (Arc::new(AtomicU64::new(cuts as u64)), passed.clone());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = tokio::net::TcpStream::connect(to).await.unwrap();
            let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                (near.into_split(), far.into_split());
            let back = tokio::spawn(async move {
                tokio::io::copy(&mut far_in, &mut near_out).await.ok();
            });
            let (cuts, count) = (cuts.clone(), count.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 << 10];
                let mut own = 0;
                while let Ok(read @ 1..) = near_in.read(&mut buffer).await {
                    own += read as u64;
                    count.fetch_add(read as u64, Ordering::Relaxed);
                    let is_due = own > bytes && cuts.load(Ordering::Relaxed) > 0;
                    if is_due || far_out.write_all(&buffer[..read]).await.is_err() {
                        cuts.fetch_sub(u64::from(is_due), Ordering::Relaxed);
                        break;
                    }
                }
                back.abort();
            });
        }
    });
    (url, passed)
}

#[tokio::test]
async fn an_image_whose_stream_is_cut_goes_on_where_it_was() {
    let mut a = Member::new(7, 1, Shelf::default());
    let mut b = Member::new(7, 2, Shelf::default());
    let port = loopback();
    let address = port.socket_address().unwrap();
    let _served = b.serve(port);
    let (url, passed) = cutting(address, 3, 500_000).await;
    a.peers.set_members([(MemberId(2), vec![url])]);
    let row = |n: u32| (Bytes::from(n.to_be_bytes().to_vec()), Bytes::from(vec![n as u8; 1_000]));
    let rows: Vec<_> = (0..2_000).map(row).collect();
    let announce = raft(raftpb::MessageType::MsgSnap, 9);
    a.peers.send_image(MemberId(2), announce.clone(), Arc::new(Image(rows)));
    assert_eq!(b.hear_message().await, (1, announce));
    assert_eq!(a.hear().await, Heard::Sent(2, true));
    {
        let kept = b.images.kept.lock().unwrap();
        let numbers = kept[0].iter().filter_map(|chunk| match &chunk.chunk {
            Some(Chunk::Rows(rows)) => Some(rows.rows[0].key.clone()),
            _ => None,
        });
        assert!(numbers.eq((0..2_000_u32).map(|n| Bytes::from(n.to_be_bytes().to_vec()))));
        assert_eq!((kept.len(), *b.images.given_up.lock().unwrap()), (1, 0));
    }
    // Two megabytes, and what was under way at the three cuts.
    let passed = passed.load(Ordering::Relaxed);
    assert!((2_000_000..3_500_000).contains(&passed), "{passed}");
}

#[tokio::test]
async fn another_image_takes_the_place_of_one_that_broke_off() {
    let mut b = Member::new(7, 2, Shelf::default());
    let port = loopback();
    let address = port.socket_address().unwrap();
    let _served = b.serve(port);
    let (cut_url, _) = cutting(address, usize::MAX, 100_000).await;
    let mut lost = Member::new(7, 1, Shelf::default());
    lost.peers.set_members([(MemberId(2), vec![cut_url])]);
    let row = |n: u32| (Bytes::from(n.to_be_bytes().to_vec()), Bytes::from(vec![n as u8; 90_000]));
    let rows: Vec<_> = (0..50).map(row).collect();
    // It comes further by a chunk or none each time. When the second is here, behind the header,
    // the sender knows of the first; and then there is a new leader.
    let is_far = || b.images.furthest.load(Ordering::Relaxed) >= 3;
    while !is_far() {
        let announce = raft(raftpb::MessageType::MsgSnap, 8);
        lost.peers.send_image(MemberId(2), announce, Arc::new(Image(rows.clone())));
        while !is_far() && lost.heard.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Too many times in a row by none: given up.
        lost.heard.try_recv().ok();
    }
    let mut new = Member::new(7, 3, Shelf::default());
    new.peers.set_members([(MemberId(2), vec![format!("http://{address}")])]);
    let announce = raft(raftpb::MessageType::MsgSnap, 9);
    loop {
        new.peers.send_image(MemberId(2), announce.clone(), Arc::new(Image(Vec::new())));
        if new.hear().await == Heard::Sent(2, true) {
            break;
        }
    }
    assert_eq!(b.hear_message().await, (3, announce));
    assert_eq!(lost.hear().await, Heard::Sent(2, false));
}

#[tokio::test]
async fn an_image_that_breaks_off_or_cannot_be_kept_is_not_announced() {
    let broken = || Shelf { breaks_off: true, ..Shelf::default() };
    let full = || Shelf { is_full: true, ..Shelf::default() };
    for (from, to) in [(broken(), Shelf::default()), (Shelf::default(), full())] {
        let mut a = Member::new(7, 1, from);
        let mut b = Member::new(7, 2, to);
        let (url, _served) = b.serve_somewhere();
        a.peers.set_members([(MemberId(2), vec![url])]);
        let announce = raft(raftpb::MessageType::MsgSnap, 9);
        a.peers.send_image(MemberId(2), announce, Arc::new(Image(Vec::new())));
        assert_eq!(a.hear().await, Heard::Sent(2, false));
        assert!(b.heard.try_recv().is_err());
        assert_eq!(*b.images.given_up.lock().unwrap(), 1);
    }
}

#[tokio::test]
async fn a_full_queue_drops_and_says_so() {
    let mut a = Member::new(7, 1, Shelf::default());
    // A port that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    a.peers.set_members([(MemberId(2), vec![url])]);
    for term in 0..2_000 {
        a.peers.send(MemberId(2), heartbeat(term));
    }
    assert_eq!(a.hear().await, Heard::Unreachable(2));
    assert_eq!(a.metrics.network.send_failures(MemberId(2)).get(), 2_000 - 1_024);
}
