//! What travels over madsim's network, and the tasks that take it in.
//!
//! ```text
//!   peer port    datagrams: [`Parcel`]s; a cut link loses them
//!   client port  a connection for each call:   [`Ask`] up, [`Answer`] down
//!                a connection for each stream: Watch up, then requests up and frames down
//! ```
//!
//! Everything that arrives becomes an [`Arrival`] in the member's one queue; a full queue holds its
//! senders up, which are these tasks.

use std::net::SocketAddr;

use madsim::net::{Endpoint, Receiver, Sender};
use madsim::task::spawn;
use quorate_core::ids::{MemberId, StreamId};
use quorate_core::limits::STREAM_FRAMES_MAX;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::PeerMessage;
use tokio::sync::{mpsc, oneshot};

use crate::world::observe::{CallId, Operation, Outcome};
use crate::world::table::Content;

/// Where members listen to each other.
pub(super) const PEER_PORT: u16 = 2380;
/// Where they listen to clients.
pub(super) const CLIENT_PORT: u16 = 2379;
/// The tag of datagrams between members.
const TAG: u64 = 0x71;
/// Tasks that take in the same thing: madsim makes each wait for a moment before it takes the next.
const LISTENERS: usize = 8;
/// Arrivals a member has not looked at yet; more wait on the way.
pub(super) const ARRIVALS_MAX: usize = 4_096;

/// Between members.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) from: MemberId,
    pub(super) body: Body,
}

/// What is in it.
#[derive(Clone)]
pub(super) enum Body {
    /// A message; an announcement of an image comes with the image.
    Message(PeerMessage, Option<Content>),
    /// An image came, and is kept or not.
    Image { is_kept: bool },
}

/// From a client to a member.
pub(super) enum Ask {
    /// A call. The number is the client's own, for those who watch the simulation.
    Call(CallId, Operation),
    /// Who is in the group; by what this member knows, or after a look around.
    Members { is_linearizable: bool },
    /// How this member is.
    Status,
    /// A watch stream, with what the client takes in one frame.
    Watch { frame_bytes_max: usize },
}

/// From a member to a client.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// How a call ended.
    Outcome(Outcome),
    /// Who is in the group.
    Members(pb::MemberListResponse),
    /// How the member is.
    Status(pb::StatusResponse),
}

/// What a member's task takes in.
pub(super) enum Arrival {
    Parcel(Parcel),
    Ask(Ask, oneshot::Sender<Answer>),
    Opened(usize, mpsc::Sender<pb::WatchResponse>, oneshot::Sender<StreamId>),
    Request(StreamId, pb::WatchRequest),
    Passed(StreamId),
    Closed(StreamId),
}

/// Binds both ports and starts to listen.
pub(super) async fn listen(arrivals: &mpsc::Sender<Arrival>) -> std::io::Result<Endpoint> {
    let peers = Endpoint::bind(SocketAddr::from(([0, 0, 0, 0], PEER_PORT))).await?;
    let clients = Endpoint::bind(SocketAddr::from(([0, 0, 0, 0], CLIENT_PORT))).await?;
    for _ in 0..LISTENERS {
        spawn(hear(peers.clone(), arrivals.clone()));
        spawn(welcome(clients.clone(), arrivals.clone()));
    }
    Ok(peers)
}

/// Sends a datagram and forgets it.
pub(super) fn post(from: &Endpoint, to: SocketAddr, parcel: Parcel) {
    let from = from.clone();
    spawn(async move {
        // Whether it gets there is not known in either case.
        let _ = from.send_to_raw(to, TAG, Box::new(parcel)).await;
    });
}

async fn hear(endpoint: Endpoint, arrivals: mpsc::Sender<Arrival>) {
    while let Ok((payload, _)) = endpoint.recv_from_raw(TAG).await {
        let Ok(parcel) = payload.downcast::<Parcel>() else { continue };
        if arrivals.send(Arrival::Parcel(*parcel)).await.is_err() {
            return;
        }
    }
}

async fn welcome(endpoint: Endpoint, arrivals: mpsc::Sender<Arrival>) {
    while let Ok((sender, receiver, _)) = endpoint.accept1().await {
        spawn(serve(sender, receiver, arrivals.clone()));
    }
}

/// One connection. A client that is gone, or a member, ends it.
async fn serve(sender: Sender, mut receiver: Receiver, arrivals: mpsc::Sender<Arrival>) {
    let Ok(payload) = receiver.recv().await else { return };
    let Ok(ask) = payload.downcast::<Ask>() else { return };
    if let Ask::Watch { frame_bytes_max } = *ask {
        return stream(sender, receiver, arrivals, frame_bytes_max).await;
    }
    let (reply, answer) = oneshot::channel();
    if arrivals.send(Arrival::Ask(*ask, reply)).await.is_ok()
        && let Ok(answer) = answer.await
    {
        let _ = sender.send(Box::new(answer)).await;
    }
}

/// A watch stream until either end is gone.
async fn stream(
    sender: Sender,
    mut receiver: Receiver,
    arrivals: mpsc::Sender<Arrival>,
    frame_bytes_max: usize,
) {
    let (frames, mut outbound) = mpsc::channel(STREAM_FRAMES_MAX);
    let (reply, number) = oneshot::channel();
    let opened = Arrival::Opened(frame_bytes_max, frames, reply);
    if arrivals.send(opened).await.is_err() {
        return;
    }
    let Ok(stream) = number.await else { return };
    loop {
        let arrival = tokio::select! {
            biased;
            frame = outbound.recv() => {
                let Some(frame) = frame else { break };
                if sender.send(Box::new(frame)).await.is_err() {
                    break;
                }
                Arrival::Passed(stream)
            }
            request = receiver.recv() => match request.map(|it| it.downcast()) {
                Ok(Ok(request)) => Arrival::Request(stream, *request),
                _ => break,
            },
        };
        if arrivals.send(arrival).await.is_err() {
            return;
        }
    }
    let _ = arrivals.send(Arrival::Closed(stream)).await;
}
