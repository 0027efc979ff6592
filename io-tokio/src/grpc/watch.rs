//! `etcdserverpb.Watch`: a pump between the client's stream and the core's.
//!
//! The client's messages go in as they come; frames go out when the client has room for them. The
//! client may close its side and go on listening.

use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_server::Watch;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::status::{message_status, status};
use super::{Answers, Front, Shown};
use crate::driver::WatchStream;
use crate::metrics::Calls;

/// Frames between the pump and the connection. The core holds the others, and knows what to do
/// with a client that does not read.
const FRAMES_AHEAD_MAX: usize = 1;

type Frames = mpsc::Sender<Result<pb::WatchResponse, Status>>;

#[tonic::async_trait]
impl Watch for Front {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.has_memory(true)?;
        let stream = self.core.open_stream(self.limits.message_bytes_max).map_err(status)?;
        let (frames, sent) = mpsc::channel(FRAMES_AHEAD_MAX);
        let front = self.clone();
        let (shown, messages) = (Shown::of(&request), request.into_inner());
        tokio::spawn(async move {
            if let Some(end) = pump(&front, (shown, messages), stream, &frames).await {
                // The client may have gone meanwhile.
                let _ = frames.send(Err(end)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }
}

/// Runs until the client or the core is gone; tells what the client should hear.
async fn pump(
    front: &Front,
    (shown, mut messages): (Shown, Streaming<pb::WatchRequest>),
    mut stream: WatchStream,
    frames: &Frames,
) -> Option<Status> {
    let method = Calls::find("/etcdserverpb.Watch/Watch");
    let mut is_receiving = true;
    loop {
        tokio::select! {
            biased;
            message = messages.message(), if is_receiving => match message {
                Ok(Some(message)) => {
                    method.inspect(|method| front.metrics.calls.received(*method));
                    let who = front.identify(&shown).await;
                    if let Err(refusal) = stream.send(who, message) {
                        return Some(status(refusal));
                    }
                }
                Ok(None) => is_receiving = false,
                Err(end) => {
                    front.metrics.note_stream_failure("receive", "watch");
                    return Some(match end.code() {
                        Code::Cancelled => status(Refusal::WatchCanceled),
                        _ => message_status(end),
                    });
                }
            },
            frame = next_frame(&mut stream, frames) => match frame {
                Next::Frame(permit, frame) => {
                    method.inspect(|method| front.metrics.calls.sent(*method));
                    permit.send(Ok(frame));
                }
                Next::ClientGone => return None,
                Next::CoreGone => return Some(status(Refusal::Stopped)),
            },
        }
    }
}

enum Next<'a> {
    Frame(mpsc::Permit<'a, Result<pb::WatchResponse, Status>>, pb::WatchResponse),
    ClientGone,
    CoreGone,
}

/// Room first, frame second: a frame that was taken is never dropped.
async fn next_frame<'a>(stream: &mut WatchStream, frames: &'a Frames) -> Next<'a> {
    let Ok(permit) = frames.reserve().await else {
        return Next::ClientGone;
    };
    tokio::select! {
        biased;
        frame = stream.recv() => match frame {
            Some(frame) => Next::Frame(permit, frame),
            None => Next::CoreGone,
        },
        () = frames.closed() => Next::ClientGone,
    }
}
