//! A client's watch stream, as the client API's tasks see it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use quorate_core::StateInput;
use quorate_core::auth::Identity;
use quorate_core::error::Refusal;
use quorate_core::ids::StreamId;
use quorate_core::watch::frame_bytes;
use quorate_proto::etcdserverpb::{WatchRequest, WatchResponse};
use tokio::sync::mpsc;

use super::entry::Core;
use super::post::ToState;
use crate::channels::{STREAM_CREDIT_BYTES, STREAM_CREDIT_FRAMES};

/// The way into a watch stream. Cloning is cheap.
#[derive(Clone)]
pub struct StreamEntry {
    stream: StreamId,
    core: Core,
}

impl StreamEntry {
    /// Passes a client's message in, with whose it is or why nobody knows.
    pub fn send(
        &self,
        who: Result<Identity, Refusal>,
        message: WatchRequest,
    ) -> Result<(), Refusal> {
        self.core.client(StateInput::StreamMessage { stream: self.stream, who, message })
    }
}

/// A watch stream. Dropping it closes it.
pub struct WatchStream {
    entry: StreamEntry,
    frames: mpsc::Receiver<WatchResponse>,
    /// Frames received of which the machine was not yet told, and their bytes.
    passed_on: usize,
    passed_bytes: usize,
}

impl WatchStream {
    pub(super) fn new(stream: StreamId, frames: mpsc::Receiver<WatchResponse>, core: Core) -> Self {
        let entry = StreamEntry { stream, core };
        Self { entry, frames, passed_on: 0, passed_bytes: 0 }
    }

    /// The way in.
    pub const fn entry(&self) -> &StreamEntry {
        &self.entry
    }

    /// The next frame; `None` when the stream was closed from inside. Cancelling the wait loses
    /// nothing. The machine learns of frames passed on some at a time.
    pub async fn recv(&mut self) -> Option<WatchResponse> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same, if it is there.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchResponse>> {
        let Some(frame) = ready!(self.frames.poll_recv(cx)) else { return Poll::Ready(None) };
        self.passed_on += 1;
        self.passed_bytes += frame_bytes(&frame);
        if self.passed_on >= STREAM_CREDIT_FRAMES || self.passed_bytes >= STREAM_CREDIT_BYTES {
            self.passed_bytes = 0;
            let frames = std::mem::take(&mut self.passed_on);
            let StreamEntry { stream, core } = &self.entry;
            core.after(StateInput::StreamReady { stream: *stream, frames });
        }
        Poll::Ready(Some(frame))
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        let StreamEntry { stream, core } = &self.entry;
        core.after(StateInput::StreamClosed { stream: *stream });
    }
}

impl Core {
    /// What must follow an input that was taken: never refused.
    fn after(&self, input: StateInput) {
        self.post(ToState::After(input));
    }
}
