//! Streams between members.
//!
//! ```text
//! machines ── send(to, message) ──> queue (Urgent | Bulk) ──> one stream each ──> Inbound ──> core
//!          └─ send_image ──> rows from a pinned image ──> Install stream ──> Images, then core
//! ```
//!
//! Invariants
//! - Sending never waits: a full queue drops, and says so to raft.
//! - Within one peer and class messages arrive in the order they were sent, or not at all.
//! - Votes and heartbeats have a connection of their own; appends and images cannot delay them.
//! - Messages that waited for a connection that did not come are dropped: raft asks again. Only
//!   what nobody would repeat, a forwarded proposal or a question, waits on.
//! - Nothing is believed of a stream whose cluster or receiver is not ours.
//!
//! Deliberately absent: compression, acknowledgements (raft has its own), etcd's peer protocol.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/rafthttp/`

mod image;
mod inbound;
mod landing;
mod outbound;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::peer::{Class, Message, PeerMessage, raftpb};
use quorate_core::storage::StateRead;
use quorate_proto::raftpb::MessageType;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::Dialer;
use super::capacity::{BULK_MESSAGES_MAX, URGENT_MESSAGES_MAX};
use crate::driver::{Core, Transport};
use crate::metrics::{Count, Metrics};
use image::Shipment;

pub use image::{Chunks, Images};
pub use inbound::{Inbound, PeerPort};

/// Who hears of what peers send, and of what became of what was sent.
pub trait Inbox: Send + Sync {
    /// A peer's message.
    fn deliver(&self, from: MemberId, message: Message);

    /// How sending an image ended.
    fn snapshot_sent(&self, to: MemberId, delivered: bool);

    /// Messages to that member are being lost.
    fn unreachable(&self, to: MemberId);

    /// Another member says that this one was removed from the cluster.
    fn removed(&self);
}

impl Inbox for Core {
    fn deliver(&self, from: MemberId, message: Message) {
        Core::deliver(self, from, message);
    }

    fn snapshot_sent(&self, to: MemberId, delivered: bool) {
        Core::snapshot_sent(self, to, delivered);
    }

    fn unreachable(&self, to: MemberId) {
        Core::unreachable(self, to);
    }

    fn removed(&self) {
        Core::removed(self);
    }
}

/// What a removed member is told.
const REMOVED: &str = "the member has been permanently removed from the cluster";

/// This member among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub member: MemberId,
}

/// What all streams share.
pub struct Wires {
    identity: Identity,
    metrics: Arc<Metrics>,
    ends: OnceLock<Ends>,
    /// Members that were removed: they are told so, and nothing else.
    removed: watch::Sender<BTreeSet<MemberId>>,
    dialer: Dialer,
}

/// The two that are there only once the member is open.
struct Ends {
    inbox: Arc<dyn Inbox>,
    images: Arc<dyn Images>,
}

impl Wires {
    /// The inbox is there before the first message is sent, except for those nobody waits for.
    fn tell(&self, what: impl FnOnce(&dyn Inbox)) {
        if let Some(ends) = self.ends.get() {
            what(ends.inbox.as_ref());
        }
    }
}

/// The other members, as far as sending to them goes.
pub struct Peers {
    wires: Arc<Wires>,
    lanes: ArcSwap<BTreeMap<MemberId, Lane>>,
    runtime: Handle,
}

/// The queues of one peer; dropping them ends their streams.
#[derive(Clone)]
struct Lane {
    urls: Arc<[String]>,
    urgent: mpsc::Sender<PeerMessage>,
    bulk: mpsc::Sender<PeerMessage>,
    failures: Count,
}

impl Peers {
    /// Nobody yet; the streams will run on that runtime.
    pub fn new(identity: Identity, metrics: Arc<Metrics>, dialer: Dialer, runtime: Handle) -> Self {
        let wires = Arc::new(Wires {
            identity,
            metrics,
            ends: OnceLock::new(),
            removed: watch::Sender::default(),
            dialer,
        });
        Self { wires, lanes: ArcSwap::default(), runtime }
    }

    /// Says who hears of messages and losses, and who handles images; comes back with what
    /// receives the others' streams. Only the first call counts.
    pub fn attach(&self, inbox: Arc<dyn Inbox>, images: Arc<dyn Images>) -> Inbound {
        let _ = self.wires.ends.set(Ends { inbox, images: images.clone() });
        Inbound::new(self.wires.clone(), images)
    }

    /// Opens streams to new members and to those whose URLs changed; ends the others'.
    pub fn set_members(&self, members: impl IntoIterator<Item = (MemberId, Vec<String>)>) {
        let current = self.lanes.load();
        let next: BTreeMap<MemberId, Lane> = members
            .into_iter()
            .filter(|(member, urls)| *member != self.wires.identity.member && !urls.is_empty())
            .map(|(member, urls)| match current.get(&member) {
                Some(lane) if *lane.urls == *urls => (member, lane.clone()),
                _ => (member, self.open(member, urls)),
            })
            .collect();
        self.wires.metrics.network.set_known(self.wires.identity.member, next.keys().copied());
        self.lanes.store(Arc::new(next));
    }

    /// Says who was removed, for ever.
    pub fn set_removed(&self, removed: &[MemberId]) {
        self.wires.removed.send_replace(removed.iter().copied().collect());
    }

    fn open(&self, to: MemberId, urls: Vec<String>) -> Lane {
        let urls: Arc<[String]> = urls.into();
        let (urgent, urgent_queue) = mpsc::channel(URGENT_MESSAGES_MAX);
        let (bulk, bulk_queue) = mpsc::channel(BULK_MESSAGES_MAX);
        for queue in [urgent_queue, bulk_queue] {
            let stream = outbound::Outbound::new(self.wires.clone(), to, urls.clone());
            self.runtime.spawn(stream.run(queue));
        }
        let failures = self.wires.metrics.network.send_failures(to);
        Lane { urls, urgent, bulk, failures }
    }
}

/// Whether it is raft's message of that kind.
fn is_raft(message: &PeerMessage, kind: MessageType) -> bool {
    matches!(&message.message, Some(Message::Raft(raft)) if raft.r#type() == kind)
}

impl Transport for Peers {
    fn send(&self, to: MemberId, message: PeerMessage) {
        let Some(class) = message.message.as_ref().map(Class::of) else { return };
        let lanes = self.lanes.load();
        let Some(lane) = lanes.get(&to) else { return };
        let is_heartbeat = is_raft(&message, MessageType::MsgHeartbeat);
        if is_heartbeat {
            self.wires.metrics.network.asked(to);
        }
        let sent = match class {
            Class::Urgent => lane.urgent.try_send(message),
            Class::Bulk => lane.bulk.try_send(message),
            // Announcements travel with their image only.
            Class::Snapshot => return,
        };
        if sent.is_err() {
            lane.failures.add(1);
            self.wires.metrics.heartbeats_lost.add(u64::from(is_heartbeat));
            self.wires.tell(|inbox| inbox.unreachable(to));
        }
    }

    fn send_image(&self, to: MemberId, announce: raftpb::Message, image: Arc<dyn StateRead>) {
        let wires = self.wires.clone();
        let lanes = self.lanes.load();
        let (Some(lane), Some(ends)) = (lanes.get(&to), wires.ends.get()) else {
            wires.tell(|inbox| inbox.snapshot_sent(to, false));
            return;
        };
        let (urls, images) = (lane.urls.clone(), ends.images.clone());
        let shipment = Shipment { to, announce, image };
        let wires = wires.clone();
        self.runtime.spawn(async move {
            let under_way = wires.metrics.network.image_to(to);
            let sent = image::send(&wires, &urls, shipment, images).await;
            if let Err(reason) = &sent {
                tracing::warn!("remote-peer-id" = %to, reason, "failed to send database snapshot");
            } else {
                under_way.done();
                tracing::info!("remote-peer-id" = %to, "sent database snapshot");
            }
            wires.tell(|inbox| inbox.snapshot_sent(to, sent.is_ok()));
        });
    }
}
