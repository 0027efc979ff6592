//! Images of the state on their way to a member: a stream that breaks is taken up again.
//!
//! ```text
//! Install: header, chunk 1, chunk 2, -- broken --
//! Resume:  header                                  -> 2 chunks are here
//! Install: header (2 skipped), chunk 3, ... end
//! ```
//!
//! Reading rows blocks, so it is done off the peer thread, and never more than a few chunks ahead.
//! The same pinned image gives the same chunks again, so nothing is kept for a second try.

use std::sync::Arc;
use std::time::Duration;

use quorate_core::error::StorageFault;
use quorate_core::ids::MemberId;
use quorate_core::peer::raftpb;
use quorate_core::storage::StateRead;
use quorate_proto::peer::peer_client::PeerClient;
use quorate_proto::peer::{ImageChunk, ImageHeader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Wires;
use crate::transport::Dialer;
use crate::transport::capacity::CHUNKS_AHEAD_MAX;

/// Tries in a row that brought nothing, after which an image is given up.
const IDLE_TRIES_MAX: u32 = 6;
/// Pause before the first of them; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// An image, chunk by chunk: the header, rows, the end.
pub type Chunks = Box<dyn Iterator<Item = Result<ImageChunk, StorageFault>> + Send>;

/// Who takes images apart and puts them together: the disk. Every call may block.
pub trait Images: Send + Sync {
    /// An image as chunks; the header comes first. The same image gives the same chunks.
    fn chunks(&self, header: ImageHeader, image: Arc<dyn StateRead>) -> Chunks;

    /// Receives an image, the header first, and delivers its announcement once the image is
    /// complete and kept. Chunks that end without an end mark are an image that was given up. The
    /// error is the reason.
    fn receive(
        &self,
        from: MemberId,
        chunks: &mut dyn Iterator<Item = ImageChunk>,
    ) -> Result<(), String>;
}

/// An image to be sent.
pub(super) struct Shipment {
    pub(super) to: MemberId,
    pub(super) announce: raftpb::Message,
    pub(super) image: Arc<dyn StateRead>,
}

/// Why one stream did not bring the image to its end.
enum Setback {
    /// Trying again is of no use.
    Final(String),
    /// The stream broke, or the receiver is not ready.
    Passing(String),
}

/// Sends an image; the error is the reason.
pub(super) async fn send(
    wires: &Wires,
    urls: &[String],
    shipment: Shipment,
    images: Arc<dyn Images>,
) -> Result<(), String> {
    let mut header = ImageHeader {
        cluster_id: wires.identity.cluster.get(),
        from: wires.identity.member.get(),
        to: shipment.to.get(),
        announce: Some(shipment.announce),
        image: rand::random(),
        skipped: 0,
    };
    let channel = dial_any(&wires.dialer, urls).await?;
    let mut outcome = install(channel, &header, &shipment.image, &images).await;
    let (mut idle_tries, mut pause) = (0, PAUSE_MIN);
    loop {
        let reason = match outcome {
            Ok(()) => return Ok(()),
            Err(Setback::Final(reason)) => return Err(reason),
            Err(Setback::Passing(reason)) => reason,
        };
        if idle_tries == IDLE_TRIES_MAX {
            return Err(reason);
        }
        tokio::time::sleep(pause).await;
        (idle_tries, pause) = (idle_tries + 1, pause * 2);
        outcome = match take_up(&wires.dialer, urls, &mut header).await {
            Ok((channel, has_more)) => {
                if has_more {
                    (idle_tries, pause) = (0, PAUSE_MIN);
                }
                tracing::info!("remote-peer-id" = %shipment.to, reason, header.skipped,
                    "sending the rest of a database snapshot");
                install(channel, &header, &shipment.image, &images).await
            }
            Err(setback) => Err(setback),
        };
    }
}

async fn dial_any(dialer: &Dialer, urls: &[String]) -> Result<Channel, String> {
    let mut reason = "the member has no URL".to_owned();
    for url in urls {
        match dialer.channel(url).await {
            Ok(channel) => return Ok(channel),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// Asks what is there already, and notes it in the header. Says whether that is more than before.
async fn take_up(
    dialer: &Dialer,
    urls: &[String],
    header: &mut ImageHeader,
) -> Result<(Channel, bool), Setback> {
    let channel = dial_any(dialer, urls).await.map_err(Setback::Passing)?;
    let stand = PeerClient::new(channel.clone()).resume(header.clone()).await;
    let chunks = stand.map_err(|status| setback(&status))?.into_inner().chunks;
    if chunks < header.skipped {
        return Err(Setback::Final("what was sent of the image is not there any more".to_owned()));
    }
    let has_more = chunks > header.skipped;
    header.skipped = chunks;
    Ok((channel, has_more))
}

/// What the receiver itself says about an image is final; all else is the connection's.
fn setback(status: &Status) -> Setback {
    let reason = status.message().to_owned();
    match status.code() {
        Code::Aborted | Code::FailedPrecondition | Code::InvalidArgument => Setback::Final(reason),
        _ => Setback::Passing(reason),
    }
}

/// One stream, with what the receiver does not have yet.
async fn install(
    channel: Channel,
    header: &ImageHeader,
    image: &Arc<dyn StateRead>,
    images: &Arc<dyn Images>,
) -> Result<(), Setback> {
    let (chunks, sent) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let (header, image, images) = (header.clone(), image.clone(), images.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let skipped = header.skipped;
        read(images.chunks(header, image), skipped, &chunks)
    });
    let answer = PeerClient::new(channel).install(ReceiverStream::new(sent)).await;
    // A read that failed is why the receiver found the image incomplete: it is told first.
    if let Ok(Err(fault)) = reading.await {
        return Err(Setback::Final(fault.what));
    }
    answer.map(|_| ()).map_err(|status| setback(&status))
}

/// Ends early, without an end mark, when the receiver is gone or the store fails: a stream that
/// ends so is given up, unlike one that breaks.
fn read(
    image: Chunks,
    skipped: u64,
    chunks: &mpsc::Sender<ImageChunk>,
) -> Result<(), StorageFault> {
    for (number, chunk) in (0..).zip(image) {
        let chunk = chunk?;
        let is_there = (1..=skipped).contains(&number);
        if !is_there && chunks.blocking_send(chunk).is_err() {
            break;
        }
    }
    Ok(())
}
