//! Clients that ping too often are told so, and their connections closed: as Go's servers do.
//!
//! A ping costs a client nothing and a server a wake-up; thousands of clients with eager
//! keep-alives would be its only work. HTTP/2 here answers every ping and counts none, so that the
//! heads of frames are looked at as they are read and written.
//!
//! ```text
//! ping       the first is free
//! ping       too early: a strike        answer, or a part of one: all is forgiven
//! ping       too early: a strike
//! ping       too early: GOAWAY ENHANCE_YOUR_CALM "too_many_pings"
//! ```
//!
//! Go's clients ping whenever data comes, to measure the way: a large answer, of which every part
//! forgives, costs them nothing.
//!
//! Invariants
//! - Too early is before the time the settings name; before [`IDLE_MIN`] on a connection without
//!   a call under way.
//! - Nothing is held back: frames are looked at, not through.
//!
//! Answers to: grpc-go `internal/transport/http2_server.go`

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::Status;

/// Pings too early that are borne.
const STRIKES_MAX: u8 = 2;
/// The time between pings when there is no call they could be for.
const IDLE_MIN: Duration = Duration::from_secs(7_200);
/// What a connection begins with.
pub(super) const PREFACE_BYTES: usize = 24;
/// What a frame begins with: length, type, flags, stream.
pub(super) const FRAME_HEAD_BYTES: usize = 9;
/// Types of frames.
pub(super) const HEADERS: u8 = 1;
const DATA: u8 = 0;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// The flag of a ping that answers one.
const ACK: u8 = 1;
/// The reason given, and its words.
const ENHANCE_YOUR_CALM: u32 = 0xb;
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

/// What a connection's reader and its calls know of each other.
#[derive(Debug, Default)]
pub(super) struct Presence {
    calls: AtomicUsize,
    has_answered: AtomicBool,
    last_stream: AtomicU32,
    is_enough: Notify,
}

impl Presence {
    /// Waits until the client has pinged too often.
    pub(super) async fn enough(&self) {
        self.is_enough.notified().await;
    }

    /// The last words to such a client.
    pub(super) fn goodbye(&self) -> Vec<u8> {
        let length = (8 + TOO_MANY_PINGS.len()) as u8;
        let mut frame = vec![0, 0, length, GOAWAY, 0, 0, 0, 0, 0];
        frame.extend(self.last_stream.load(Ordering::Relaxed).to_be_bytes());
        frame.extend(ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend(TOO_MANY_PINGS);
        frame
    }

    /// A call is under way until what this gives is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(Arc::clone(self))
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call(Arc<Presence>);

impl Call {
    /// Follows the answer to its end.
    pub(super) fn follow<B>(self, answer: http::Response<B>) -> http::Response<Answer<B>> {
        answer.map(|body| Answer { _call: self, body })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a call's answer; the call is under way as long as it is.
#[derive(Debug)]
pub(super) struct Answer<B> {
    _call: Call,
    body: B,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Finds the heads of frames in a direction of a connection.
#[derive(Debug)]
struct Heads {
    /// Bytes before the next head of a frame.
    ahead: usize,
    /// A head of which not all has passed.
    begun: Vec<u8>,
}

impl Heads {
    /// The frames after so many bytes.
    const fn after(bytes: usize) -> Self {
        Self { ahead: bytes, begun: Vec::new() }
    }

    /// The next head that is complete in these bytes, of which the looked at are taken off.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<[u8; FRAME_HEAD_BYTES]> {
        let passed = self.ahead.min(bytes.len());
        self.ahead -= passed;
        *bytes = &bytes[passed..];
        let taken = (FRAME_HEAD_BYTES - self.begun.len()).min(bytes.len());
        self.begun.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        let head: [u8; FRAME_HEAD_BYTES] = *self.begun.first_chunk()?;
        self.begun.clear();
        let [a, b, c, ..] = head;
        self.ahead = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(head)
    }
}

/// Notes answers in what is written.
#[derive(Debug)]
pub(super) struct Answers {
    presence: Arc<Presence>,
    heads: Heads,
}

impl Answers {
    /// Looks at what was written.
    pub(super) fn look(&mut self, mut bytes: &[u8]) {
        while let Some([_, _, _, kind, ..]) = self.heads.next(&mut bytes) {
            if matches!(kind, HEADERS | DATA) {
                self.presence.has_answered.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Counts pings in what is read.
#[derive(Debug)]
pub(super) struct Pings {
    min_time: Duration,
    presence: Arc<Presence>,
    heads: Heads,
    last_at: Option<Instant>,
    strikes: u8,
}

impl Pings {
    /// Counts from the very beginning of a connection.
    pub(super) const fn new(min_time: Duration, presence: Arc<Presence>) -> Self {
        let heads = Heads::after(PREFACE_BYTES);
        Self { min_time, presence, heads, last_at: None, strikes: 0 }
    }

    /// What notes the answers on the same connection, from its very beginning.
    pub(super) fn answers(&self) -> Answers {
        Answers { presence: self.presence.clone(), heads: Heads::after(0) }
    }

    /// Looks at what was read.
    pub(super) fn look(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.heads.next(&mut bytes) {
            self.judge(head);
        }
    }

    fn judge(&mut self, head: [u8; FRAME_HEAD_BYTES]) {
        let [_, _, _, kind, flags, stream @ ..] = head;
        if kind == HEADERS {
            self.presence.last_stream.store(u32::from_be_bytes(stream), Ordering::Relaxed);
        }
        if kind == PING && flags & ACK == 0 {
            self.strike(Instant::now());
        }
    }

    fn strike(&mut self, now: Instant) {
        let last_at = self.last_at.replace(now);
        if self.presence.has_answered.swap(false, Ordering::Relaxed) {
            self.strikes = 0;
            return;
        }
        let is_idle = self.presence.calls.load(Ordering::Relaxed) == 0;
        let min_time = if is_idle { IDLE_MIN } else { self.min_time };
        if last_at.is_some_and(|last_at| now < last_at + min_time) {
            // A thousand may be read at once.
            self.strikes = self.strikes.saturating_add(1);
        }
        if self.strikes > STRIKES_MAX {
            self.presence.is_enough.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 5];
        [&head, payload].concat()
    }

    fn ping() -> Vec<u8> {
        frame(PING, 0, &[7; 8])
    }

    fn counted() -> (Pings, Arc<Presence>) {
        let presence = Arc::new(Presence::default());
        let mut pings = Pings::new(SECOND, presence.clone());
        pings.look(&[b'P'; PREFACE_BYTES]);
        (pings, presence)
    }

    async fn is_enough(presence: &Presence) -> bool {
        tokio::time::timeout(Duration::from_nanos(1), presence.enough()).await.is_ok()
    }

    #[tokio::test]
    async fn the_fourth_of_a_burst_is_one_too_many_whatever_pieces_it_comes_in() {
        for size in [1, 3, 9, 1_000] {
            let (mut pings, presence) = counted();
            let answers = frame(PING, ACK, &[7; 8]).repeat(9);
            let read = [frame(HEADERS, 4, b"..."), answers, frame(0, 0, &[PING; 200])].concat();
            let burst = [read, ping().repeat(3)].concat();
            burst.chunks(size).for_each(|piece| pings.look(piece));
            assert!(!is_enough(&presence).await);
            ping().chunks(size).for_each(|piece| pings.look(piece));
            assert!(is_enough(&presence).await);
            assert_eq!(presence.goodbye()[9..17], [0, 0, 0, 5, 0, 0, 0, 0xb]);
        }
    }

    #[tokio::test]
    async fn any_number_of_pings_may_be_read_at_once() {
        let (mut pings, presence) = counted();
        pings.look(&ping().repeat(1_000));
        assert!(is_enough(&presence).await);
    }

    #[tokio::test]
    async fn pings_in_time_are_no_strikes_while_a_call_is_under_way() {
        let (mut pings, presence) = counted();
        let mut now = Instant::now();
        let mut ping = |times| {
            for _ in 0..times {
                now += SECOND;
                pings.strike(now);
            }
        };
        let call = presence.enter();
        ping(20);
        assert!(!is_enough(&presence).await);
        drop(call);
        ping(2);
        assert!(!is_enough(&presence).await);
        ping(1);
        assert!(is_enough(&presence).await);
    }

    #[tokio::test]
    async fn every_part_of_an_answer_forgives_and_nothing_else_does() {
        for (kind, is_forgiving) in [(HEADERS, true), (DATA, true), (4, false), (PING, false)] {
            let (mut pings, presence) = counted();
            let mut answers = pings.answers();
            for number in 0..20 {
                pings.look(&ping().repeat(3));
                let written = frame(kind, 0, &[DATA; 200]);
                let size = 1 + number % 13;
                written.chunks(size).for_each(|piece| answers.look(piece));
            }
            assert_eq!(is_enough(&presence).await, !is_forgiving, "{kind}");
        }
    }
}
