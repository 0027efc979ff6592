//! Messages on their way through: each is one frame of gRPC's in a body, and may be changed.
//!
//! ```text
//!   | 0 | length, 4 bytes | message | 0 | length | message ...
//! ```

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame};
use tonic::Status;

/// How long what stands before a message is.
const HEAD_BYTES: usize = 5;

/// What becomes of a message.
pub(super) type Change = Box<dyn Fn(Bytes) -> Result<Bytes, Status> + Send>;

/// A body whose messages are changed, each as soon as it is whole.
pub(super) struct Frames<B> {
    inner: B,
    change: Option<Change>,
    message_bytes_max: usize,
    /// What was read of the next message.
    held: BytesMut,
    /// What comes after all messages, until it is sent.
    trailers: Option<http::HeaderMap>,
    has_ended: bool,
    direction: Direction,
}

/// Who is told when a message cannot be handed on.
enum Direction {
    /// Whoever made the call: its body breaks off, which does not say why.
    ToMember(Refusal),
    /// Whoever reads the answer, by what stands behind it.
    ToClient,
}

/// Why a call's messages were not handed on, if they were not.
pub(super) type Refusal = Arc<OnceLock<Status>>;

impl<B> Frames<B> {
    /// Of a call. Messages are handed on as they are where nothing shall become of them.
    pub(super) fn to_member(
        inner: B,
        message_bytes_max: usize,
        change: Option<Change>,
        refusal: Refusal,
    ) -> Self {
        Self::new(inner, message_bytes_max, change, Direction::ToMember(refusal))
    }

    /// Of an answer.
    pub(super) fn to_client(inner: B, message_bytes_max: usize, change: Option<Change>) -> Self {
        Self::new(inner, message_bytes_max, change, Direction::ToClient)
    }

    fn new(
        inner: B,
        message_bytes_max: usize,
        change: Option<Change>,
        direction: Direction,
    ) -> Self {
        Self {
            inner,
            change,
            message_bytes_max,
            held: BytesMut::new(),
            trailers: None,
            has_ended: false,
            direction,
        }
    }

    /// Nothing comes any more, and this is why.
    fn end(&mut self, status: Status) -> Result<Frame<Bytes>, Status> {
        self.held.clear();
        self.has_ended = true;
        let mut trailers = http::HeaderMap::new();
        match &self.direction {
            Direction::ToClient => {
                status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
            }
            Direction::ToMember(refusal) => {
                // The first one is the reason.
                let _ = refusal.set(status.clone());
                Err(status)
            }
        }
    }

    /// The next message, changed and framed anew, if it is whole.
    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(&[is_compressed, a, b, c, d]) = self.held.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > self.message_bytes_max {
            let what = match self.direction {
                Direction::ToMember(_) => "trying to send message",
                Direction::ToClient => "grpc: received message",
            };
            let limit = self.message_bytes_max;
            let why = format!("{what} larger than max ({length} vs. {limit})");
            return Err(Status::resource_exhausted(why));
        }
        if self.held.len() - HEAD_BYTES < length {
            return Ok(None);
        }
        let Some(change) = &self.change else {
            return Ok(Some(self.held.split_to(HEAD_BYTES + length).freeze()));
        };
        if is_compressed != 0 {
            let why = "grpc: a namespace takes no compressed messages";
            return Err(Status::unimplemented(why));
        }
        self.held.advance(HEAD_BYTES);
        let message = change(self.held.split_to(length).freeze())?;
        let mut framed = BytesMut::with_capacity(HEAD_BYTES + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.put_slice(&message);
        Ok(Some(framed.freeze()))
    }
}

impl<B> Body for Frames<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match self.next() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(self.end(status))),
            }
            if let Some(trailers) = self.trailers.take() {
                self.has_ended = true;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.has_ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => self.has_ended = true,
                Some(Err(error)) => {
                    // Whoever was there is gone.
                    let status = Status::from_error(error.into());
                    let status = Status::unavailable(status.message());
                    return Poll::Ready(Some(self.end(status)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.held.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// An answer that is a status alone must stay one.
    fn is_end_stream(&self) -> bool {
        let is_empty = self.held.is_empty() && self.trailers.is_none();
        is_empty && (self.has_ended || self.inner.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use http_body_util::StreamBody;

    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for message in messages {
            all.push(0);
            all.extend((message.len() as u32).to_be_bytes());
            all.extend_from_slice(message);
        }
        all
    }

    /// What comes of bytes that arrive in pieces, followed by trailers.
    async fn passed(bytes: &[u8], piece: usize, change: Option<Change>) -> Result<Vec<u8>, Status> {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let pieces: Vec<_> =
            bytes.chunks(piece).map(|piece| Frame::data(Bytes::copy_from_slice(piece))).collect();
        let all = pieces.into_iter().chain([Frame::trailers(trailers)]);
        let body = StreamBody::new(tokio_stream::iter(all.map(Ok::<_, Status>)));
        let refusal = Refusal::default();
        let collected = Frames::to_member(body, 10, change, refusal.clone()).collect().await;
        assert_eq!(collected.is_err(), refusal.get().is_some());
        let collected = collected?;
        assert!(collected.trailers().is_some_and(|all| all.contains_key("grpc-status")));
        Ok(collected.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn messages_are_changed_however_they_arrive() {
        let sent = framed(&[b"one", b"", b"three"]);
        for piece in [1, 4, 7, 100] {
            assert_eq!(passed(&sent, piece, None).await.unwrap(), sent);
            let twice: Change = Box::new(|message| Ok([&message[..], &message].concat().into()));
            let expected = framed(&[b"oneone", b"", b"threethree"]);
            assert_eq!(passed(&sent, piece, Some(twice)).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn what_is_too_large_or_refused_ends_it() {
        let large = passed(&framed(&[b"eleven byte"]), 3, None).await.unwrap_err();
        assert_eq!(large.code(), tonic::Code::ResourceExhausted);
        let no: Change = Box::new(|_| Err(Status::invalid_argument("no")));
        let refused = passed(&framed(&[b"one"]), 100, Some(no)).await.unwrap_err();
        assert_eq!(refused.message(), "no");
    }
}
