//! `Maintenance.Snapshot`: the store as a bbolt database, and the checksum of it.
//!
//! ```text
//! applied entries --in the store?--> image --measured--> blob blob .. blob  sha256
//!                                                        remaining: n   ..  0   0
//! ```
//!
//! The image is pinned for as long as the client takes: it costs disk, not memory. A piece is read
//! when there is room for it, off the threads that serve.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3rpc/maintenance.go`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::schema::stored_mark;
use quorate_core::storage::StateRead;
use quorate_proto::etcdserverpb as pb;
use sha2::{Digest, Sha256};
use tonic::Status;
use tracing::info;

use super::Front;
use super::reads::off_loop;
use super::status::{read_status, status};
use crate::bolt::BoltImage;
use crate::driver::Core;
use crate::metrics::Calls;

/// How long the store may take to have what was applied.
const PIN_MAX: Duration = Duration::from_secs(5);
/// How often the view is looked at while the store catches up.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// An image of all that was applied when it was asked for, or later.
pub(super) async fn pin(core: &Core) -> Result<Arc<dyn StateRead>, Status> {
    let wanted = core.view().facts.applied;
    let pinned = async {
        loop {
            let image = core.view().kv.image();
            if stored_mark(&*image).map_err(failed)?.index >= wanted {
                return Ok(image);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let late = |_| Err(status(Refusal::Timeout));
    tokio::time::timeout(PIN_MAX, pinned).await.unwrap_or_else(late)
}

/// The messages: blobs, and their checksum as the last one.
pub(super) async fn stream(
    front: Front,
    image: Arc<dyn StateRead>,
) -> Result<impl Stream<Item = Result<pb::SnapshotResponse, Status>>, Status> {
    let (method, since) = (Calls::find("/etcdserverpb.Maintenance/Snapshot"), Instant::now());
    let sending = off_loop(move || Sending::begin(&image).map_err(failed)).await?;
    Ok(stream::try_unfold((front, Some(sending)), move |(front, sending)| async move {
        let Some(mut sending) = sending else { return Ok(None) };
        let (message, sending) =
            off_loop(move || Ok((sending.next().map_err(failed)?, sending))).await?;
        method.inspect(|method| front.metrics.calls.sent(*method));
        let is_last = sending.is_done;
        if is_last {
            front.metrics.disk.backup.observe(since.elapsed());
        }
        Ok(Some((message, (front, (!is_last).then_some(sending)))))
    }))
}

/// A snapshot on its way.
struct Sending {
    database: BoltImage,
    version: String,
    bytes_left: u64,
    hash: Sha256,
    is_done: bool,
}

impl Sending {
    fn begin(image: &Arc<dyn StateRead>) -> Result<Self, StorageFault> {
        let database = BoltImage::measure(image)?;
        let (version, bytes_left) = (database.version()?, database.bytes());
        info!("total-bytes" = bytes_left, "sending database snapshot to client");
        Ok(Self { database, version, bytes_left, hash: Sha256::new(), is_done: false })
    }

    fn next(&mut self) -> Result<pb::SnapshotResponse, StorageFault> {
        let blob = match self.database.next().transpose()? {
            Some(piece) => {
                self.hash.update(&piece);
                self.bytes_left -= piece.len() as u64;
                piece
            }
            None => {
                self.is_done = true;
                info!("total-bytes" = self.database.bytes(), "sent database snapshot to client");
                Bytes::copy_from_slice(&self.hash.finalize_reset())
            }
        };
        let (remaining_bytes, version) = (self.bytes_left, self.version.clone());
        Ok(pb::SnapshotResponse { header: None, remaining_bytes, blob, version })
    }
}

fn failed(fault: StorageFault) -> Status {
    read_status(fault.into())
}
