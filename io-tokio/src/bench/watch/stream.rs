//! One stream with watches on it.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::bench::Line;
use crate::channels::TOOL_INPUTS_MAX;

/// A stream of answers, and the requests' end, which must stay open for as long.
pub struct Watching {
    answers: Streaming<WatchResponse>,
    requests: mpsc::Sender<WatchRequest>,
    /// Answers that came while watches were made: what was put in the past, and no more.
    early: VecDeque<WatchResponse>,
}

impl std::fmt::Debug for Watching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watching").field("early", &self.early.len()).finish_non_exhaustive()
    }
}

/// A watch of one key, or of the keys before an end, from now on.
pub fn watch_of(key: Bytes, range_end: Bytes) -> WatchCreateRequest {
    WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() }
}

impl Watching {
    /// Opens a stream with its first watch, which is there when this returns.
    ///
    /// # Errors
    /// The server says no.
    pub async fn open(line: &Line, first: WatchCreateRequest) -> Result<Self, Status> {
        let mut watching = Self::open_unread(line, first).await?;
        watching.confirm().await?;
        Ok(watching)
    }

    /// Opens a stream and does not read what comes on it, the answer to its first watch included.
    ///
    /// # Errors
    /// The server says no.
    pub async fn open_unread(line: &Line, first: WatchCreateRequest) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(TOOL_INPUTS_MAX);
        // Servers open a stream with their first answer: this one is asked for before.
        requests.send(create(first)).await.map_err(|_| ended())?;
        let answers = line.watch().watch(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { answers, requests, early: VecDeque::new() })
    }

    /// One more watch on it, which is there when this returns.
    ///
    /// # Errors
    /// The server says no.
    pub async fn add(&mut self, request: WatchCreateRequest) -> Result<(), Status> {
        self.requests.send(create(request)).await.map_err(|_| ended())?;
        self.confirm().await
    }

    async fn confirm(&mut self) -> Result<(), Status> {
        loop {
            let answer = self.answers.message().await?.ok_or_else(ended)?;
            if answer.canceled {
                return Err(Status::cancelled(answer.cancel_reason));
            }
            if answer.created {
                return Ok(());
            }
            self.early.push_back(answer);
        }
    }

    /// The next answer with events.
    ///
    /// # Errors
    /// The stream has ended, or a watch on it.
    pub async fn next(&mut self) -> Result<WatchResponse, Status> {
        if let Some(answer) = self.early.pop_front() {
            return Ok(answer);
        }
        let answer = self.answers.message().await?.ok_or_else(ended)?;
        if answer.canceled {
            return Err(Status::cancelled(answer.cancel_reason));
        }
        Ok(answer)
    }
}

fn create(request: WatchCreateRequest) -> WatchRequest {
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }
}

fn ended() -> Status {
    Status::unavailable("a stream of watches ended")
}
