//! Watches.

use std::time::Duration;

use madsim::net::{Endpoint, Receiver, Sender};
use madsim::time::{Instant, sleep};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::mvccpb;

use super::words::{KeyValue, Span, answer, spans};
use super::{Ask, Client, Error, REST, Result};

pub use mvccpb::event::EventType;
pub use pb::watch_create_request::FilterType as WatchFilterType;

/// Encoded bytes of a frame a client takes, as gRPC's usual limit has it.
const FRAME_BYTES_MAX: usize = 2 << 20;
/// How long a member may take to say that a watch is there before another is asked.
const CREATE_PATIENCE: Duration = Duration::from_secs(2);

/// How to watch.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    request: pb::WatchCreateRequest,
    span: Span,
}
spans!(WatchOptions);

impl WatchOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From that revision on, it included.
    #[must_use]
    pub fn with_start_revision(mut self, revision: i64) -> Self {
        self.request.start_revision = revision;
        self
    }

    /// An idle watch is told now and then that nothing happened.
    #[must_use]
    pub fn with_progress_notify(mut self) -> Self {
        self.request.progress_notify = true;
        self
    }

    /// Without these.
    #[must_use]
    pub fn with_filters(mut self, filters: impl Into<Vec<WatchFilterType>>) -> Self {
        self.request.filters = filters.into().into_iter().map(Into::into).collect();
        self
    }

    /// Events show what was there before.
    #[must_use]
    pub fn with_prev_key(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// With that id, not one of the member's choice.
    #[must_use]
    pub fn with_watch_id(mut self, watch_id: i64) -> Self {
        self.request.watch_id = watch_id;
        self
    }

    /// What is too large for one frame comes in several.
    #[must_use]
    pub fn with_fragment(mut self) -> Self {
        self.request.fragment = true;
        self
    }

    fn resolve(self, key: Vec<u8>) -> pb::WatchRequest {
        let (key, end) = self.span.resolve(key);
        let create =
            pb::WatchCreateRequest { key: key.into(), range_end: end.into(), ..self.request };
        pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }
}

answer! {
    /// A frame of a watch stream.
    WatchResponse, WatchResponse
}

impl WatchResponse {
    /// The watch.
    #[must_use]
    pub const fn watch_id(&self) -> i64 {
        self.0.watch_id
    }

    /// Whether it says that the watch is there.
    #[must_use]
    pub const fn created(&self) -> bool {
        self.0.created
    }

    /// Whether the watch is over.
    #[must_use]
    pub const fn canceled(&self) -> bool {
        self.0.canceled
    }

    /// Why.
    #[must_use]
    pub fn cancel_reason(&self) -> &str {
        &self.0.cancel_reason
    }

    /// The least revision that can still be watched, if the wanted one was compacted.
    #[must_use]
    pub const fn compact_revision(&self) -> i64 {
        self.0.compact_revision
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.0.events.iter().cloned().map(Event).collect()
    }
}

/// Something happened to a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(mvccpb::Event);

impl Event {
    /// What.
    #[must_use]
    pub fn event_type(&self) -> EventType {
        self.0.r#type()
    }

    /// The key, as it is since then.
    #[must_use]
    pub fn kv(&self) -> Option<KeyValue> {
        self.0.kv.clone().map(KeyValue)
    }

    /// As it was before, if that was asked for.
    #[must_use]
    pub fn prev_kv(&self) -> Option<KeyValue> {
        self.0.prev_kv.clone().map(KeyValue)
    }
}

/// A watch stream on one member. It ends with its connection: go on from the revision after the
/// last one that was seen.
#[derive(Debug)]
pub struct WatchStream {
    sender: Sender,
    receiver: Receiver,
    /// What came before the caller asked for it.
    first: Option<WatchResponse>,
}

impl WatchStream {
    async fn open(client: &Client, request: &pb::WatchRequest) -> std::io::Result<Self> {
        let endpoint = Endpoint::bind("0.0.0.0:0").await?;
        let (sender, receiver) = endpoint.connect1(client.endpoints[client.current]).await?;
        let open = Ask::Watch { frame_bytes_max: FRAME_BYTES_MAX };
        sender.send(Box::new(open)).await?;
        sender.send(Box::new(request.clone())).await?;
        let mut stream = Self { sender, receiver, first: None };
        let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no watch in time");
        let first = madsim::time::timeout(CREATE_PATIENCE, stream.receive());
        stream.first = Some(first.await.map_err(late)??);
        Ok(stream)
    }

    async fn receive(&mut self) -> std::io::Result<WatchResponse> {
        let frame = self.receiver.recv().await?.downcast::<pb::WatchResponse>();
        let other = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "not a frame");
        frame.map(|frame| WatchResponse(*frame)).map_err(other)
    }

    async fn send(&mut self, request: pb::WatchRequest) -> Result<()> {
        self.sender.send(Box::new(request)).await.map_err(Error::IoError)
    }

    /// The next frame; the first says that the watch is there.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn message(&mut self) -> Result<Option<WatchResponse>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        self.receive().await.map(Some).map_err(|error| Error::WatchError(error.to_string()))
    }

    /// One more watch on this stream.
    ///
    /// # Errors
    /// If the connection broke, here and in what follows.
    pub async fn watch(
        &mut self,
        key: impl Into<Vec<u8>>,
        options: Option<WatchOptions>,
    ) -> Result<()> {
        self.send(options.unwrap_or_default().resolve(key.into())).await
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// As `watch`.
    pub async fn cancel(&mut self, watch_id: i64) -> Result<()> {
        let cancel = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
        self.send(pb::WatchRequest { request_union: Some(cancel) }).await
    }

    /// Asks how far the stream is.
    ///
    /// # Errors
    /// As `watch`.
    pub async fn request_progress(&mut self) -> Result<()> {
        let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        self.send(pb::WatchRequest { request_union: Some(progress) }).await
    }
}

impl Client {
    /// Opens a watch stream on a member that answers.
    ///
    /// # Errors
    /// If none does before the timeout.
    pub async fn watch(
        &mut self,
        key: impl Into<Vec<u8>>,
        options: Option<WatchOptions>,
    ) -> Result<WatchStream> {
        let request = options.unwrap_or_default().resolve(key.into());
        let deadline = Instant::now() + self.timeout;
        loop {
            match WatchStream::open(self, &request).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() + REST >= deadline => {
                    return Err(Error::IoError(error));
                }
                Err(_) => self.turn_to_next(),
            }
            sleep(REST).await;
        }
    }
}
