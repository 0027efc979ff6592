//! Images of the state, row by row: neither side ever holds more than a few chunks.
//!
//! Reading and writing rows blocks, so both ends do it off the peer thread.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::ids::MemberId;
use quorate_core::peer::raftpb;
use quorate_core::storage::{StateRead, Table};
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::peer_client::PeerClient;
use quorate_proto::peer::{ImageChunk, ImageEnd, ImageHeader, ImageRow, ImageRows};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Identity;
use super::outbound::dial;
use crate::transport::capacity::{CHUNK_BYTES_MAX, CHUNKS_AHEAD_MAX};

/// Takes a received image. Calls come from one thread at a time: `begin`, then rows table by
/// table in key order, then `end` or `abort`.
pub trait ImageSink: Send + Sync {
    /// An image is coming; what was left of an earlier one is void.
    fn begin(&self, announce: &raftpb::Message) -> Result<(), StorageFault>;

    /// Some rows of a table.
    fn rows(&self, table: Table, rows: Vec<(Bytes, Bytes)>) -> Result<(), StorageFault>;

    /// The image is complete and its checksum right. Once this returns, it survives a crash.
    fn end(&self) -> Result<(), StorageFault>;

    /// The image will not be complete.
    fn abort(&self);
}

/// Sends an image; the error is the reason.
pub(super) async fn send(
    identity: Identity,
    to: MemberId,
    urls: &[String],
    announce: raftpb::Message,
    image: Arc<dyn StateRead>,
) -> Result<(), String> {
    let mut reason = "the member has no URL".to_owned();
    for url in urls {
        let channel = match dial(url).await {
            Ok(channel) => channel,
            Err(failure) => {
                reason = failure;
                continue;
            }
        };
        let header = ImageHeader {
            cluster_id: identity.cluster.get(),
            from: identity.member.get(),
            to: to.get(),
            announce: Some(announce),
        };
        let (chunks, sent) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let reading = tokio::task::spawn_blocking(move || {
            Reading { chunks, rows: Vec::new(), bytes: 0, total: 0, crc: 0 }.run(header, &*image)
        });
        let answer = PeerClient::new(channel).install(ReceiverStream::new(sent)).await;
        // The stream's end is the receiver's to judge; a failed read is worth telling first.
        if let Ok(Err(fault)) = reading.await {
            return Err(fault.what);
        }
        return answer.map(|_| ()).map_err(|status| status.message().to_owned());
    }
    Err(reason)
}

/// An image on its way from the store to the stream.
struct Reading {
    chunks: mpsc::Sender<ImageChunk>,
    rows: Vec<ImageRow>,
    bytes: usize,
    total: u64,
    crc: u32,
}

impl Reading {
    /// Ends early, without an end mark, when the receiver is gone or the store fails.
    fn run(mut self, header: ImageHeader, image: &dyn StateRead) -> Result<(), StorageFault> {
        if self.put(Chunk::Header(header)).is_break() {
            return Ok(());
        }
        for table in Table::ALL {
            let mut is_open = true;
            image.scan(table, &[], &[], &mut |key, value| {
                let flow = self.row(table, key, value);
                is_open = flow.is_continue();
                flow
            })?;
            if !is_open || self.cut(table).is_break() {
                return Ok(());
            }
        }
        let end = ImageEnd { rows: self.total, crc: self.crc };
        // Whether the receiver is still there, it says itself.
        let _ = self.put(Chunk::End(end));
        Ok(())
    }

    fn row(&mut self, table: Table, key: &[u8], value: &Bytes) -> ControlFlow<()> {
        self.crc = crc_of(self.crc, key, value);
        self.total += 1;
        self.bytes += key.len() + value.len();
        self.rows.push(ImageRow { key: Bytes::copy_from_slice(key), value: value.clone() });
        if self.bytes >= CHUNK_BYTES_MAX { self.cut(table) } else { ControlFlow::Continue(()) }
    }

    fn cut(&mut self, table: Table) -> ControlFlow<()> {
        if self.rows.is_empty() {
            return ControlFlow::Continue(());
        }
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        self.put(Chunk::Rows(ImageRows { table: table as u32, rows }))
    }

    fn put(&mut self, chunk: Chunk) -> ControlFlow<()> {
        match self.chunks.blocking_send(ImageChunk { chunk: Some(chunk) }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

fn crc_of(crc: u32, key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value)
}

/// Takes the rest of an image, after its header. If the call is abandoned, the image is too.
pub(super) async fn receive(
    mut stream: Streaming<ImageChunk>,
    announce: raftpb::Message,
    sink: Arc<dyn ImageSink>,
    permit: OwnedSemaphorePermit,
) -> Result<(), Status> {
    let (chunks, received) = mpsc::channel(CHUNKS_AHEAD_MAX);
    let writing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let written = write(&announce, sink.as_ref(), received);
        if written.is_err() {
            sink.abort();
        }
        written
    });
    while let Some(chunk) = stream.message().await? {
        let Some(chunk) = chunk.chunk else { continue };
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

/// Writes chunks until the end mark; the error is the reason.
fn write(
    announce: &raftpb::Message,
    sink: &dyn ImageSink,
    mut chunks: mpsc::Receiver<Chunk>,
) -> Result<(), String> {
    let told = |fault: StorageFault| fault.what;
    sink.begin(announce).map_err(told)?;
    let (mut total, mut crc) = (0, 0);
    while let Some(chunk) = chunks.blocking_recv() {
        match chunk {
            Chunk::Header(_) => return Err("a second header".to_owned()),
            Chunk::Rows(ImageRows { table, rows }) => {
                let table = Table::from_number(table).ok_or("rows of an unknown table")?;
                total += rows.len() as u64;
                crc = rows.iter().fold(crc, |crc, row| crc_of(crc, &row.key, &row.value));
                let rows = rows.into_iter().map(|row| (row.key, row.value)).collect();
                sink.rows(table, rows).map_err(told)?;
            }
            Chunk::End(end) if (end.rows, end.crc) == (total, crc) => {
                return sink.end().map_err(told);
            }
            Chunk::End(_) => return Err("the image's checksum is wrong".to_owned()),
        }
    }
    Err("the image ended early".to_owned())
}
