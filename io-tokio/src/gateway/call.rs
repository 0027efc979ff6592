//! One call: a client's stub in front of the services of the same process.

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};

use super::codec::AsBytes;
use super::routes::Route;
use super::shapes::Shape;
use super::{Gateway, json, reply};
use crate::grpc::replies::Held;

/// What a call that was not refused answers.
pub(super) struct Answers {
    /// The head of the answer.
    pub(super) head: HeaderMap,
    /// Whether there may be any number of messages.
    pub(super) is_stream: bool,
    shape: &'static Shape,
    /// Room that the answer has, if it is large.
    pub(super) held: Option<Held>,
    first: Option<Bytes>,
    rest: Streaming<Bytes>,
}

impl Gateway {
    /// Makes a call and waits for the first message of its answer.
    pub(super) async fn call<S>(
        &self,
        route: &Route,
        metadata: MetadataMap,
        messages: S,
    ) -> Result<Answers, Status>
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        let mut request = Request::new(messages);
        *request.metadata_mut() = metadata;
        let mut stub = Grpc::new(self.0.services.clone()).max_decoding_message_size(usize::MAX);
        let answer = stub.streaming(request, route.path.clone(), AsBytes).await?;
        let (head, mut rest, mut extensions) = answer.into_parts();
        let held = extensions.remove();
        let first = rest.message().await?;
        let Route { is_server_streaming: is_stream, gives: shape, .. } = *route;
        Ok(Answers { head: head.into_headers(), is_stream, shape, held, first, rest })
    }
}

impl Answers {
    /// The answer of a call that gives one message.
    pub(super) fn into_message(self) -> Result<Bytes, Status> {
        let message = self.first.ok_or_else(|| Status::internal("the answer has no message"))?;
        json::message(self.shape, &message)
    }

    /// A line of JSON for each message, and one for the error that ended them.
    pub(super) fn into_lines(self) -> impl Stream<Item = Bytes> + Send + 'static {
        let shape = self.shape;
        stream::iter(self.first.map(Ok)).chain(self.rest).map(move |message| {
            let line = message.and_then(|message| json::result_line(shape, &message));
            line.unwrap_or_else(|status| reply::error_line(&status))
        })
    }
}
