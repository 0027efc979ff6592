//! What a client sends, as messages; never more of it at once than allowed.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt as _, future, stream};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tonic::Status;

use super::json::{self, Values};
use super::shapes::Shape;
use crate::grpc::Arrival;

/// How long a body may take that must be complete before anything happens.
const WHOLE_BODY_MAX: Duration = Duration::from_secs(60);

/// A body to its end. What is too much is read as well, and forgotten: a client that still sends
/// would not see the refusal.
pub(super) async fn whole<B>(body: B, bytes_max: usize, arrival: Arrival) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let late = |_| Err(Status::deadline_exceeded("the request's body took too long"));
    let collected = collect(body, bytes_max, arrival);
    tokio::time::timeout(WHOLE_BODY_MAX, collected).await.unwrap_or_else(late)
}

async fn collect<B>(mut body: B, bytes_max: usize, mut arrival: Arrival) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut held, mut is_too_much) = (BytesMut::new(), false);
    while let Some(frame) = arrival.or_refused(body.frame()).await? {
        let frame = frame.map_err(|_| Status::invalid_argument("unexpected EOF"))?;
        let Ok(data) = frame.into_data() else { continue };
        if held.len().saturating_add(data.len()) > bytes_max {
            is_too_much = true;
            held = BytesMut::new();
        }
        if !is_too_much {
            held.extend_from_slice(&data);
        }
        arrival.hold(held.len());
    }
    match is_too_much {
        true => Err(Status::resource_exhausted(format!(
            "grpc: received JSON larger than max ({bytes_max})"
        ))),
        false => Ok(held.freeze()),
    }
}

/// A body in pieces, to its end or to where its client left; and that moment, if it comes. HTTP/1
/// would go on answering.
pub(super) fn pieces<B>(body: B) -> (impl Stream<Item = Bytes>, impl Future<Output = ()>)
where
    B: Body<Data = Bytes>,
{
    let (leave, left) = oneshot::channel();
    let pieces = body.into_data_stream().scan(Some(leave), |leave, piece| {
        if piece.is_err() {
            // Nobody may be waiting for that.
            let _ = leave.take().map(|leave| leave.send(()));
        }
        future::ready(piece.ok())
    });
    let gone = async move {
        if left.await.is_err() {
            future::pending::<()>().await;
        }
    };
    (pieces, gone)
}

/// The first value among pieces of JSON.
pub(super) async fn first(
    pieces: impl Stream<Item = Bytes>,
    bytes_max: usize,
    arrival: Arrival,
) -> Result<BytesMut, Status> {
    let mut input = Input::new(pieces, bytes_max, arrival);
    input.value().await.ok_or_else(|| Status::invalid_argument("unexpected EOF"))
}

/// Pieces of JSON as messages: to their end, or to the first that is no message or too large. What
/// follows that one is read and forgotten, so that the client's leaving is noticed.
pub(super) fn messages<S>(
    pieces: S,
    shape: &'static Shape,
    bytes_max: usize,
    arrival: Arrival,
) -> impl Stream<Item = Bytes> + Send + 'static
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    let input = Input::new(pieces, bytes_max, arrival);
    stream::unfold(input, move |mut input| async move {
        let value = input.value().await;
        let message = value.and_then(|value| json::read(shape, &value).ok());
        if message.is_none() {
            while input.pieces.next().await.is_some() {}
        }
        Some((message?, input))
    })
}

struct Input<S> {
    pieces: Pin<Box<S>>,
    values: Values,
    bytes_max: usize,
    arrival: Arrival,
}

impl<S: Stream<Item = Bytes>> Input<S> {
    fn new(pieces: S, bytes_max: usize, arrival: Arrival) -> Self {
        Self { pieces: Box::pin(pieces), values: Values::default(), bytes_max, arrival }
    }

    /// The next value; none if there is no more, it is too large, or its room is needed.
    async fn value(&mut self) -> Option<BytesMut> {
        loop {
            let next = self.values.next();
            self.arrival.hold(self.values.held_bytes());
            if next.is_some() {
                return next;
            }
            if self.values.held_bytes() > self.bytes_max {
                return None;
            }
            let piece = self.arrival.or_refused(self.pieces.next()).await.ok()??;
            self.values.push(&piece);
        }
    }
}
