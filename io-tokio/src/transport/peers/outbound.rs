//! One stream to one peer: connect, send what is queued, start over.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use quorate_core::ids::MemberId;
use quorate_core::peer::{PeerMessage, is_patient};
use quorate_proto::peer::Envelope;
use quorate_proto::peer::peer_client::PeerClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{REMOVED, Wires};
use crate::metrics::Count;
use crate::transport::capacity::{
    ENVELOPE_BYTES_MAX, ENVELOPE_MESSAGES_MAX, ENVELOPES_AHEAD_MAX, PATIENT_MESSAGES_MAX,
};
use crate::transport::dial::innermost;

/// Pause after the first failure; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The sending end of one class of messages to one peer.
pub(super) struct Outbound {
    wires: Arc<Wires>,
    to: MemberId,
    urls: Arc<[String]>,
    sent: Count,
    failures: Count,
}

enum End {
    /// The peer is not a member any more.
    QueueClosed,
    /// The stream is no more, and why.
    Broken(String),
}

impl Outbound {
    pub(super) fn new(wires: Arc<Wires>, to: MemberId, urls: Arc<[String]>) -> Self {
        let sent = wires.metrics.network.sent(to);
        let failures = wires.metrics.network.send_failures(to);
        Self { wires, to, urls, sent, failures }
    }

    /// Runs until the queue's senders are gone.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<PeerMessage>) {
        let mut pause = PAUSE_MIN;
        let mut is_known_lost = false;
        let mut batch = Vec::with_capacity(ENVELOPE_MESSAGES_MAX);
        for url in self.urls.iter().cycle() {
            let reason = match self.wires.dialer.channel(url).await {
                Ok(channel) => {
                    tracing::info!(
                        "remote-peer-id" = %self.to, url, "established connection with remote peer"
                    );
                    (pause, is_known_lost) = (PAUSE_MIN, false);
                    let (local, network) =
                        (self.wires.identity.member, &self.wires.metrics.network);
                    network.connected(local, self.to);
                    let end = self.stream(channel, &mut queue, &mut batch).await;
                    network.disconnected(local, self.to);
                    match end {
                        End::QueueClosed => return,
                        End::Broken(reason) => reason,
                    }
                }
                Err(error) => error.to_string(),
            };
            if reason == REMOVED {
                self.wires.tell(|inbox| inbox.removed());
            }
            if !is_known_lost {
                let id = self.to;
                tracing::warn!("remote-peer-id" = %id, url, reason, "lost connection with peer");
            }
            is_known_lost = true;
            self.forget(&mut queue, &mut batch);
            if queue.is_closed() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Drops what waits, except for what is as good later: by the time there is a connection it is
    /// stale.
    fn forget(&self, queue: &mut mpsc::Receiver<PeerMessage>, kept: &mut Vec<PeerMessage>) {
        let is_kept = |one: &PeerMessage| one.message.as_ref().is_some_and(is_patient);
        let waiting = std::iter::from_fn(|| queue.try_recv().ok());
        let all: Vec<PeerMessage> = std::mem::take(kept).into_iter().chain(waiting).collect();
        let count = all.len() as u64;
        kept.extend(all.into_iter().filter(is_kept).take(PATIENT_MESSAGES_MAX));
        self.failures.add(count - kept.len() as u64);
        self.wires.tell(|inbox| inbox.unreachable(self.to));
    }

    /// Sends what is queued until the stream breaks.
    async fn stream(
        &self,
        channel: Channel,
        queue: &mut mpsc::Receiver<PeerMessage>,
        batch: &mut Vec<PeerMessage>,
    ) -> End {
        let (envelopes, sent) = mpsc::channel(ENVELOPES_AHEAD_MAX);
        // Says who is there, before there is anything to say: whoever was removed is told so.
        let greeting = self.envelope(&mut Vec::new());
        self.sent.add(greeting.encoded_len() as u64);
        let _ = envelopes.try_send(greeting);
        let mut client = PeerClient::new(channel);
        let answer = client.deliver(ReceiverStream::new(sent));
        let mut answer = std::pin::pin!(answer);
        loop {
            let next = async {
                if batch.is_empty() && queue.recv_many(batch, ENVELOPE_MESSAGES_MAX).await == 0 {
                    return false;
                }
                // A stream that is gone has given its answer, which is looked at first.
                if let Ok(room) = envelopes.reserve().await {
                    let envelope = self.envelope(batch);
                    self.sent.add(envelope.encoded_len() as u64);
                    room.send(envelope);
                } else {
                    std::future::pending::<()>().await;
                }
                true
            };
            tokio::select! {
                biased;
                answer = answer.as_mut() => return End::Broken(match answer {
                    Ok(refused) => refused.into_inner().reason,
                    Err(status) => match status.source() {
                        Some(broken) => innermost(broken),
                        None => status.message().to_owned(),
                    },
                }),
                is_open = next => if !is_open {
                    return End::QueueClosed;
                },
            }
        }
    }

    /// As many of the messages, in order, as one envelope takes; at least one.
    fn envelope(&self, batch: &mut Vec<PeerMessage>) -> Envelope {
        let mut bytes = 0;
        let count = batch
            .iter()
            .take_while(|message| {
                let fits = bytes < ENVELOPE_BYTES_MAX;
                bytes += message.encoded_len();
                fits
            })
            .count();
        Envelope {
            cluster_id: self.wires.identity.cluster.get(),
            from: self.wires.identity.member.get(),
            to: self.to.get(),
            messages: batch.drain(..count).collect(),
        }
    }
}
