//! Images of the state on their way: neither side ever holds more than a few chunks.
//!
//! Reading and writing rows blocks, so both ends do it off the peer thread.

use std::sync::Arc;

use quorate_core::error::StorageFault;
use quorate_core::ids::MemberId;
use quorate_core::peer::raftpb;
use quorate_core::storage::StateRead;
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::peer_client::PeerClient;
use quorate_proto::peer::{ImageChunk, ImageHeader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Identity;
use super::outbound::dial;
use crate::transport::capacity::CHUNKS_AHEAD_MAX;

/// An image, chunk by chunk: the header, rows, the end.
pub type Chunks = Box<dyn Iterator<Item = Result<ImageChunk, StorageFault>> + Send>;

/// Who takes images apart and puts them together: the disk. Every call may block.
pub trait Images: Send + Sync {
    /// An image as chunks; the header comes first.
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

/// Sends an image; the error is the reason.
pub(super) async fn send(
    identity: Identity,
    urls: &[String],
    shipment: Shipment,
    images: Arc<dyn Images>,
) -> Result<(), String> {
    let mut reason = "the member has no URL".to_owned();
    let mut channel = None;
    for url in urls {
        match dial(url).await {
            Ok(dialled) => {
                channel = Some(dialled);
                break;
            }
            Err(failure) => reason = failure,
        }
    }
    let Some(channel) = channel else { return Err(reason) };
    let header = ImageHeader {
        cluster_id: identity.cluster.get(),
        from: identity.member.get(),
        to: shipment.to.get(),
        announce: Some(shipment.announce),
    };
    let (chunks, sent) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let image = shipment.image;
    let reading = tokio::task::spawn_blocking(move || read(images.chunks(header, image), &chunks));
    let answer = PeerClient::new(channel).install(ReceiverStream::new(sent)).await;
    // A read that failed is why the receiver found the image incomplete: it is told first.
    if let Ok(Err(fault)) = reading.await {
        return Err(fault.what);
    }
    answer.map(|_| ()).map_err(|status| status.message().to_owned())
}

/// Ends early, without an end mark, when the receiver is gone or the store fails.
fn read(image: Chunks, chunks: &mpsc::Sender<ImageChunk>) -> Result<(), StorageFault> {
    for chunk in image {
        if chunks.blocking_send(chunk?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Takes an image whose header was read already. If the call is abandoned, the image is too.
pub(super) async fn receive(
    mut stream: Streaming<ImageChunk>,
    header: ImageHeader,
    from: MemberId,
    images: Arc<dyn Images>,
) -> Result<(), Status> {
    let (chunks, mut received) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let writing = tokio::task::spawn_blocking(move || {
        let first = ImageChunk { chunk: Some(Chunk::Header(header)) };
        let rest = std::iter::from_fn(|| received.blocking_recv());
        images.receive(from, &mut std::iter::once(first).chain(rest))
    });
    while let Some(chunk) = stream.message().await? {
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    match writing.await {
        Ok(written) => written.map_err(Status::aborted),
        Err(_) => Err(Status::internal("writing the image ended early")),
    }
}
