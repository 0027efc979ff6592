//! Large answers: how many bytes of them there are at once.
//!
//! ```text
//! range ── small ───────────────────────────────────────> answered like anything else
//!   └───── large: room for it? ── yes ──> read in pieces, sent as the client takes them
//!                      no │                       ^
//!                         └──> in line: the first waits for what others give back
//! ```
//!
//! A client that lists everything makes this server hold everything, until it has taken it. A
//! thousand such clients are answered one after the other, as memory allows, while reads of a few
//! keys pass them by.
//!
//! Invariants
//! - Few are read at once, in the order in which they came, and others run in between. Who waits
//!   for that has read one piece, which has room.
//! - Answers hold [`REPLY_BYTES_MAX`] at most, or what a limit of memory leaves them; one that is
//!   larger by itself is the only one.
//! - Who is not first in line waits for room holding nothing, so that nobody waits for each other.
//! - An answer of which its client has taken nothing for [`STALL_MAX`] is given up when others
//!   need its room.
//!
//! Deliberately absent: answers of transactions that write, which are of what was just written.

use std::collections::{BTreeMap, VecDeque};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use http::{HeaderMap, Response};
use http_body::Frame;
use prost::Message;
use quorate_core::error::Refusal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError};
use tonic::Status;
use tonic::body::Body;

use super::status::status;
use crate::channels::{RANGES_WAITING_MAX, REPLY_BYTES_MAX, Share};

/// Bytes a piece of a large answer aims at. What is not twice as large is small.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Bytes handed to a connection at once.
const SLICE_BYTES: usize = 64 << 10;
/// How long a client may take nothing of an answer while others wait.
const STALL_MAX: Duration = Duration::from_secs(3);
/// Large answers that are read at once: others want the processors too.
const READERS_MAX: usize = 4;
/// How often those who wait look for such clients.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What a message is preceded by: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// All large answers of a server; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Replies(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    budget: Arc<Semaphore>,
    bytes_max: usize,
    line: tokio::sync::Mutex<()>,
    waiting: Share,
    readers: Semaphore,
    sending: Mutex<Sendings>,
}

/// Answers on their way, by number.
#[derive(Debug, Default)]
struct Sendings {
    begun: u64,
    /// When it was last looked for those that stall.
    looked: Option<Instant>,
    open: BTreeMap<u64, Weak<Mutex<Rest>>>,
}

impl Default for Replies {
    fn default() -> Self {
        Self::holding(REPLY_BYTES_MAX)
    }
}

impl Replies {
    /// Answers that hold so many bytes at most.
    pub fn holding(bytes_max: usize) -> Self {
        Self(Arc::new(Desk {
            budget: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            line: tokio::sync::Mutex::new(()),
            waiting: Share::new(RANGES_WAITING_MAX),
            readers: Semaphore::new(READERS_MAX),
            sending: Mutex::default(),
        }))
    }
}

/// A place in line.
struct Place<'a>(&'a Share);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

impl Replies {
    /// Room for one answer, of which there is nothing yet.
    pub(super) fn room(&self, is_patient: bool) -> Result<Room, Status> {
        let permit = self.0.budget.clone().try_acquire_many_owned(0);
        let permit = permit.map_err(|_| status(Refusal::Stopped))?;
        Ok(Room { replies: self.clone(), permit, is_patient })
    }

    /// Does `work` when all that came before have done theirs.
    pub(super) async fn in_turn<T>(
        &self,
        work: impl AsyncFnOnce() -> Result<T, Status>,
    ) -> Result<T, Status> {
        if !self.0.waiting.take() {
            return Err(status(Refusal::RequestTooManyRequests));
        }
        let _place = Place(&self.0.waiting);
        let _turn = self.0.line.lock().await;
        work().await
    }

    /// A body that is handed on slice by slice, and given up if nobody takes it.
    fn send(&self, body: Body) -> Body {
        let rest = Rest { body: Some(body), begun: Bytes::new(), moved: Instant::now() };
        let rest = Arc::new(Mutex::new(rest));
        let mut sending = lock(&self.0.sending);
        sending.begun += 1;
        let number = sending.begun;
        sending.open.insert(number, Arc::downgrade(&rest));
        drop(sending);
        Body::new(Sending { rest, number, replies: self.clone() })
    }

    /// One of the few that may read much at once, in the order in which they ask.
    pub(super) async fn reader(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.0.readers.acquire().await.ok()
    }

    /// Gives up what nobody takes; seldom, however many wait.
    fn give_up_stalled(&self) {
        let mut sending = lock(&self.0.sending);
        if sending.looked.is_some_and(|looked| looked.elapsed() < LOOK_INTERVAL) {
            return;
        }
        sending.looked = Some(Instant::now());
        let open: Vec<_> = sending.open.values().filter_map(Weak::upgrade).collect();
        drop(sending);
        for rest in open {
            // What is being sent at this moment, perhaps by this very thread, does not stall.
            let Ok(mut rest) = rest.try_lock() else { continue };
            if rest.moved.elapsed() > STALL_MAX {
                rest.body = None;
                rest.begun = Bytes::new();
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an answer may hold; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    replies: Replies,
    permit: OwnedSemaphorePermit,
    /// Whether it waits for more when there is none.
    is_patient: bool,
}

impl Room {
    /// Takes room for so many bytes more; false if there is none. An answer that has all there is
    /// needs no more.
    pub(super) async fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes.min(self.replies.0.bytes_max - self.permit.num_permits());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let budget = &self.replies.0.budget;
        match budget.clone().try_acquire_many_owned(bytes) {
            Ok(more) => {
                self.permit.merge(more);
                return true;
            }
            Err(TryAcquireError::NoPermits) if self.is_patient => {}
            Err(_) => return false,
        }
        let mut waiting = pin!(budget.clone().acquire_many_owned(bytes));
        loop {
            tokio::select! {
                biased;
                more = &mut waiting => {
                    let Ok(more) = more else { return false };
                    self.permit.merge(more);
                    return true;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => self.replies.give_up_stalled(),
            }
        }
    }

    pub(super) const fn is_patient(&self) -> bool {
        self.is_patient
    }

    /// Gives back what is more than so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes);
        drop(self.permit.split(surplus));
    }
}

/// Messages of an answer as they are sent, each behind its prefix, or parts of them.
type Parts = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// How an answer is to be sent: an extension of what a service answers. What encodes answers else
/// keeps a buffer of the largest message for as long as the answer lasts.
#[derive(Clone)]
pub(super) enum Sent {
    /// Instead of the message, these pieces of one.
    Pieces { pieces: VecDeque<Bytes>, room: Arc<Room> },
    /// Instead of a stream's messages, these, which may be large.
    Stream { parts: Arc<Mutex<Option<Parts>>>, replies: Replies },
}

impl Sent {
    /// A stream's messages.
    pub(super) fn stream(
        replies: Replies,
        parts: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
    ) -> Self {
        Self::Stream { parts: Arc::new(Mutex::new(Some(Box::pin(parts)))), replies }
    }
}

/// A message behind its prefix.
pub(super) fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let mut framed = begun(message.encoded_len(), message.encoded_len())?;
    // A buffer that grows has room.
    let _ = message.encode(&mut framed);
    Ok(framed.freeze())
}

/// The prefix of a message of that length, in a buffer for so much of it.
fn begun(length: usize, capacity: usize) -> Result<BytesMut, Status> {
    let length = u32::try_from(length);
    let length = length.map_err(|_| Status::resource_exhausted("the answer is too large"))?;
    let mut head = BytesMut::with_capacity(PREFIX_BYTES + capacity);
    head.put_u8(0);
    head.put_u32(length);
    Ok(head)
}

/// Bytes of an answer's message, however it will be sent.
pub(super) fn bytes_of(answer: &tonic::Response<impl Message>) -> usize {
    match answer.extensions().get::<Sent>() {
        Some(Sent::Pieces { pieces, .. }) => pieces.iter().map(Bytes::len).sum(),
        Some(Sent::Stream { .. }) | None => answer.get_ref().encoded_len(),
    }
}

/// An answer's message in parts that follow each other; those that have no room for it are none.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: usize,
    pieces: VecDeque<Bytes>,
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn push(&mut self, part: Vec<u8>) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.pieces.push_back(part.into());
        }
    }

    /// An answer of these pieces behind `first`; `told` stands in its place until it is sent.
    pub(super) fn answer<T>(
        mut self,
        first: &impl Message,
        room: Room,
        told: T,
    ) -> Result<tonic::Response<T>, Status> {
        let length = first.encoded_len();
        let mut head = begun(self.bytes + length, length)?;
        // A buffer that grows has room.
        let _ = first.encode(&mut head);
        self.pieces.push_front(head.freeze());
        let mut answer = tonic::Response::new(told);
        let room = Arc::new(room);
        answer.extensions_mut().insert(Sent::Pieces { pieces: self.pieces, room });
        Ok(answer)
    }
}

/// What a large answer holds is held until this is dropped as well.
#[derive(Clone, Debug)]
pub(crate) struct Held(Arc<Room>);

impl Held {
    /// The same answer in another form.
    pub(crate) fn send(self, body: Body) -> Body {
        let replies = self.0.replies.clone();
        replies.send(Body::new(Holding { body, _held: self }))
    }
}

/// Gives an answer the body that its service meant.
pub(super) fn dress(mut answer: Response<Body>) -> Response<Body> {
    match answer.extensions_mut().remove::<Sent>() {
        None => answer,
        Some(Sent::Stream { parts, replies }) => match lock(&parts).take() {
            Some(parts) => answer.map(|_| replies.send(Body::new(Call { parts, is_over: false }))),
            None => answer,
        },
        Some(Sent::Pieces { pieces, room }) => {
            let held = Held(room);
            answer.extensions_mut().insert(held.clone());
            let parts = Box::pin(stream::iter(pieces.into_iter().map(Ok)));
            answer.map(|_| held.send(Body::new(Call { parts, is_over: false })))
        }
    }
}

/// A body that holds room.
struct Holding {
    body: Body,
    _held: Held,
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// What an answer says, and the end of the call.
struct Call {
    parts: Parts,
    is_over: bool,
}

impl http_body::Body for Call {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let end = match ready!(self.parts.as_mut().poll_next(cx)) {
            Some(Ok(part)) => return Poll::Ready(Some(Ok(Frame::data(part)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        // Refusals are plain words, which are a header's value in any case.
        let _ = end.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// What of an answer was not taken yet; no body if it was given up.
#[derive(Debug)]
struct Rest {
    body: Option<Body>,
    /// Of a frame, what was not handed on.
    begun: Bytes,
    moved: Instant,
}

struct Sending {
    rest: Arc<Mutex<Rest>>,
    number: u64,
    replies: Replies,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut rest = lock(&self.rest);
        let rest = &mut *rest;
        let Some(body) = &mut rest.body else {
            let why = "etcdserver: the answer was not read while others waited for its room";
            return Poll::Ready(Some(Err(Status::unavailable(why))));
        };
        if rest.begun.is_empty() {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            rest.moved = Instant::now();
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Ok(Ok(data))) => rest.begun = data,
            }
        }
        rest.moved = Instant::now();
        let slice = rest.begun.len().min(SLICE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(rest.begun.split_to(slice)))))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        lock(&self.replies.0.sending).open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
