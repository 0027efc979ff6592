//! `etcdserverpb.Watch`: what stands between the client's stream and the core's.
//!
//! ```text
//! client ── messages ──> a task of their own ──> core
//!        <── answers ─── Frames, polled when the client has room <── core
//! ```
//!
//! A client that does not read is heard all the same; the core holds its frames, and knows what to
//! do with it. The client may close its side and go on listening.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_server::Watch;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status, Streaming};

use super::status::{message_status, status};
use super::{Answers, Front, Shown};
use crate::driver::{StreamEntry, WatchStream};
use crate::metrics::Calls;

#[tonic::async_trait]
impl Watch for Front {
    type WatchStream = Answers<pb::WatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.has_memory(true)?;
        let stream = self.core.open_stream(self.limits.message_bytes_max).map_err(status)?;
        let method = Calls::find("/etcdserverpb.Watch/Watch");
        let listening = listen(self.clone(), request, stream.entry().clone(), method);
        Ok(Response::new(Box::pin(Frames {
            stream,
            listening: Some(tokio::spawn(listening)),
            is_over: false,
            method,
            front: self.clone(),
        })))
    }
}

/// Passes the client's messages in until it sends no more; tells what it should hear of that.
async fn listen(
    front: Front,
    request: Request<Streaming<pb::WatchRequest>>,
    entry: StreamEntry,
    method: Option<usize>,
) -> Option<Status> {
    let (shown, mut messages) = (Shown::of(&request), request.into_inner());
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                method.inspect(|method| front.metrics.calls.received(*method));
                let who = front.identify(&shown).await;
                if let Err(refusal) = entry.send(who, message) {
                    return Some(status(refusal));
                }
            }
            Ok(None) => return None,
            Err(end) => {
                front.metrics.note_stream_failure("receive", "watch");
                return Some(match end.code() {
                    Code::Cancelled => status(Refusal::WatchCanceled),
                    _ => message_status(end),
                });
            }
        }
    }
}

/// What the client is sent.
struct Frames {
    stream: WatchStream,
    /// Passes its messages in, as long as it may send any.
    listening: Option<JoinHandle<Option<Status>>>,
    is_over: bool,
    /// Where it is counted.
    method: Option<usize>,
    front: Front,
}

impl Frames {
    /// What the client's messages came to, if that ends the stream.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let Some(listening) = &mut self.listening else { return Poll::Pending };
        let end = ready!(Pin::new(listening).poll(cx));
        self.listening = None;
        match end {
            Ok(Some(end)) => Poll::Ready(end),
            Ok(None) => Poll::Pending,
            Err(_) => Poll::Ready(Status::internal("listening to the client panicked")),
        }
    }
}

impl Stream for Frames {
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let end = match self.poll_end(cx) {
            Poll::Ready(end) => end,
            Poll::Pending => match ready!(self.stream.poll_recv(cx)) {
                Some(frame) => {
                    self.method.inspect(|method| self.front.metrics.calls.sent(*method));
                    return Poll::Ready(Some(Ok(frame)));
                }
                None => status(Refusal::Stopped),
            },
        };
        self.is_over = true;
        Poll::Ready(Some(Err(end)))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let listening = self.listening.take().filter(|listening| !listening.is_finished());
        let Some(listening) = listening else { return };
        listening.abort();
        if !self.is_over {
            // The client went, and nothing is left to hear that.
            self.front.metrics.note_stream_failure("receive", "watch");
        }
    }
}
