//! `Maintenance.Snapshot`: the store as a bbolt database, and the checksum of it.
//!
//! ```text
//! applied entries --in the store?--> image --measured--> blob blob .. blob  sha256
//!                                                        remaining: n   ..  0   0
//! ```
//!
//! The image is pinned for as long as the client takes: it costs disk, not memory. Messages are
//! made one ahead of what is sent, on a thread that gives way to those that serve.
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
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;
use tracing::info;

use super::Front;
use super::status::{read_status, status};
use crate::background;
use crate::bolt::BoltImage;
use crate::driver::Core;
use crate::metrics::Calls;

/// How long the store may take to have what was applied.
const PIN_MAX: Duration = Duration::from_secs(5);
/// How often the view is looked at while the store catches up.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The niceness of a thread that makes messages: backups can wait, and come to their end on a busy
/// machine as well.
const NICENESS: i32 = 5;
/// Snapshots on their way at once: each has a thread, pins an image, and may be taken slowly.
const AT_ONCE_MAX: usize = 64;
static UNDER_WAY: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

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

/// The messages: blobs, and their checksum as the last one. Refused beyond [`AT_ONCE_MAX`].
pub(super) fn stream(
    front: Front,
    image: Arc<dyn StateRead>,
) -> Result<impl Stream<Item = Result<pb::SnapshotResponse, Status>>, Status> {
    let (method, since) = (Calls::find("/etcdserverpb.Maintenance/Snapshot"), Instant::now());
    let turn = UNDER_WAY.try_acquire().map_err(|_| status(Refusal::RequestTooManyRequests))?;
    let (messages, made) = mpsc::channel(1);
    let work = move || {
        let _turn = turn;
        if let Err(fault) = make(&image, &messages) {
            // Nobody may be there to hear it.
            let _ = messages.blocking_send(Err(failed(fault)));
        }
    };
    background::start("snapshot", NICENESS, work)
        .map_err(|error| Status::unavailable(format!("no thread to make a snapshot: {error}")))?;
    Ok(stream::try_unfold((front, made, false), move |(front, mut made, is_done)| async move {
        if is_done {
            return Ok(None);
        }
        let broken = || Err(Status::internal("making the snapshot panicked"));
        let Made { message, is_last } = made.recv().await.unwrap_or_else(broken)?;
        method.inspect(|method| front.metrics.calls.sent(*method));
        if is_last {
            front.metrics.disk.backup.observe(since.elapsed());
        }
        Ok(Some((message, (front, made, is_last))))
    }))
}

/// A message, and whether it is the last of them.
struct Made {
    message: pb::SnapshotResponse,
    is_last: bool,
}

/// Makes all messages, or as many as somebody takes.
fn make(
    image: &Arc<dyn StateRead>,
    messages: &mpsc::Sender<Result<Made, Status>>,
) -> Result<(), StorageFault> {
    let mut database = BoltImage::measure(image)?;
    let (version, bytes) = (database.version()?, database.bytes());
    info!("total-bytes" = bytes, "sending database snapshot to client");
    let (mut hash, mut bytes_left) = (Sha256::new(), bytes);
    let send = |blob, remaining_bytes, is_last| {
        let version = version.clone();
        let message = pb::SnapshotResponse { header: None, remaining_bytes, blob, version };
        messages.blocking_send(Ok(Made { message, is_last })).is_ok()
    };
    while let Some(piece) = database.next().transpose()? {
        hash.update(&piece);
        bytes_left -= piece.len() as u64;
        if !send(piece, bytes_left, false) {
            return Ok(());
        }
    }
    if send(Bytes::copy_from_slice(&hash.finalize()), 0, true) {
        info!("total-bytes" = bytes, "sent database snapshot to client");
    }
    Ok(())
}

fn failed(fault: StorageFault) -> Status {
    read_status(fault.into())
}
