//! Messages on their way in: how many bytes of them there are at once.
//!
//! ```text
//! bytes ── message whole ──> handed on; nothing is counted
//!   └───── a part of it ───> counted until it is whole, with the parts of all other messages
//!                                too much: whoever has been silent for longest is refused
//! ```
//!
//! A client that sends nearly all of a message, for each of its calls, makes this server hold all
//! of it for nothing. One that sends in earnest is never the most silent for long. Who begins
//! messages that are too large, over and over, is let to know at a [`Pace`].
//!
//! Invariants
//! - Parts of messages hold [`ARRIVING_BYTES_MAX`] at most, or what a limit of memory leaves; one
//!   that is larger by itself is the only one.
//! - A message that comes in one piece takes no lock.
//!
//! Deliberately absent: frames of websockets, which are bounded each.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::codegen::StdError;

use super::pace::Pace;
use super::replies::PREFIX_BYTES;
use crate::channels::ARRIVING_BYTES_MAX;

const TOO_SLOW: &str = "the message came slowly, and others needed its room";

/// All messages on their way to a server; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Arrivals(Arc<Mutex<Board>>);

/// Parts of messages, by when something last came of them.
#[derive(Debug)]
struct Board {
    bytes: usize,
    bytes_max: usize,
    moment: u64,
    parts: BTreeMap<u64, Part>,
    oversized: Pace,
}

#[derive(Debug)]
struct Part {
    bytes: usize,
    fate: Arc<Fate>,
}

/// Whether a part has to go, and who should hear of it.
#[derive(Debug, Default)]
struct Fate {
    is_refused: AtomicBool,
    hears: AtomicWaker,
}

impl Board {
    fn take_out(&mut self, moment: u64) {
        if let Some(part) = self.parts.remove(&moment) {
            self.bytes -= part.bytes;
        }
    }

    /// Something has come; the new moment of this part.
    fn put_in(&mut self, part: Part) -> u64 {
        self.moment += 1;
        self.bytes += part.bytes;
        self.parts.insert(self.moment, part);
        while self.bytes > self.bytes_max && self.parts.len() > 1 {
            let Some((_, silent)) = self.parts.pop_first() else { break };
            self.bytes -= silent.bytes;
            silent.fate.is_refused.store(true, Ordering::Release);
            silent.fate.hears.wake();
        }
        self.moment
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::holding(ARRIVING_BYTES_MAX)
    }
}

impl Arrivals {
    /// Parts of messages that hold so many bytes at most.
    pub fn holding(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Board {
            bytes: 0,
            bytes_max,
            moment: 0,
            parts: BTreeMap::new(),
            oversized: Pace::default(),
        })))
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of which nothing has come yet.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival { arrivals: self.clone(), held: None }
    }
}

/// One message on its way, or one after the other.
#[derive(Debug)]
pub(crate) struct Arrival {
    arrivals: Arrivals,
    held: Option<(u64, Arc<Fate>)>,
}

impl Arrival {
    /// Something has come, after which so many bytes are kept until there is more.
    pub(crate) fn hold(&mut self, bytes: usize) {
        if bytes == 0 && self.held.is_none() {
            return;
        }
        let mut board = self.arrivals.board();
        let before = self.held.take();
        if let Some((moment, _)) = &before {
            board.take_out(*moment);
        }
        if bytes > 0 {
            let fate = before.map(|(_, fate)| fate).unwrap_or_default();
            let moment = board.put_in(Part { bytes, fate: fate.clone() });
            self.held = Some((moment, fate));
        }
    }

    fn poll_refused(&self, cx: &Context<'_>) -> Poll<Status> {
        let Some((_, fate)) = &self.held else { return Poll::Pending };
        fate.hears.register(cx.waker());
        match fate.is_refused.load(Ordering::Acquire) {
            true => Poll::Ready(Status::resource_exhausted(TOO_SLOW)),
            false => Poll::Pending,
        }
    }

    /// What comes next, unless the room is needed more than it is.
    pub(crate) async fn or_refused<T>(&self, next: impl Future<Output = T>) -> Result<T, Status> {
        tokio::select! {
            biased;
            refused = poll_fn(|cx| self.poll_refused(cx)) => Err(refused),
            next = next => Ok(next),
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.hold(0);
    }
}

/// A body of gRPC messages; ends when it is refused.
pub(super) struct Arriving<B> {
    body: B,
    message_bytes_max: usize,
    arrival: Arrival,
    part: Framing,
    /// The beginning of a message that is too large, and when whoever refuses it may see it.
    oversized: Option<(Frame<Bytes>, Pin<Box<Sleep>>)>,
}

impl<B> Arriving<B> {
    pub(super) fn new(body: B, message_bytes_max: usize, arrivals: &Arrivals) -> Self {
        let (arrival, part) = (arrivals.arrival(), Framing::default());
        Self { body, message_bytes_max, arrival, part, oversized: None }
    }

    /// Something has come: it is passed on, unless that has to wait.
    fn take_in(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Some(data) = frame.data_ref() else { return Some(frame) };
        let held = self.part.take_in(data);
        self.arrival.hold(held);
        if self.part.wanted() <= self.message_bytes_max.saturating_add(PREFIX_BYTES) {
            return Some(frame);
        }
        let now = Instant::now();
        let due = self.arrival.arrivals.board().oversized.next(now);
        if due <= now {
            return Some(frame);
        }
        self.oversized = Some((frame, Box::pin(sleep_until(due))));
        None
    }

    /// What had to wait.
    fn poll_oversized(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some((_, due)) = &mut self.oversized else { return Poll::Ready(None) };
        ready!(due.as_mut().poll(cx));
        Poll::Ready(self.oversized.take().map(|(frame, _)| frame))
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if let Poll::Ready(status) = self.arrival.poll_refused(cx) {
            return Poll::Ready(Some(Err(status.into())));
        }
        loop {
            if let Some(frame) = ready!(self.poll_oversized(cx)) {
                return Poll::Ready(Some(Ok(frame)));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.take_in(frame),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            if let Some(frame) = frame {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.oversized.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in a message a body is.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix, then of the message as well, that have come.
    come: usize,
}

impl Framing {
    /// Bytes of message and prefix, as far as that is known.
    fn wanted(&self) -> usize {
        let [_, length @ ..] = self.prefix;
        match self.come < PREFIX_BYTES {
            true => PREFIX_BYTES,
            false => (u32::from_be_bytes(length) as usize).saturating_add(PREFIX_BYTES),
        }
    }

    /// More has come; bytes of the message that is not whole yet.
    fn take_in(&mut self, mut data: &[u8]) -> usize {
        while data.has_remaining() {
            let count = data.len().min(self.wanted() - self.come);
            if let Some(prefix) = self.prefix.get_mut(self.come..) {
                let count = prefix.len().min(count);
                prefix[..count].copy_from_slice(&data[..count]);
            }
            data.advance(count);
            self.come += count;
            if self.come >= PREFIX_BYTES && self.come == self.wanted() {
                self.come = 0;
            }
        }
        self.come
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn is_refused(arrival: &Arrival) -> bool {
        let waiting = arrival.or_refused(pending::<()>()).now_or_never();
        waiting.is_some_and(|refused| {
            refused.is_err_and(|status| status.code() == tonic::Code::ResourceExhausted)
        })
    }

    #[test]
    fn what_is_not_whole_is_counted_wherever_it_is_cut() {
        let message = |length: u8| {
            let mut bytes = vec![0, 0, 0, 0, length];
            bytes.resize(PREFIX_BYTES + usize::from(length), 7);
            bytes
        };
        let all = [message(3), message(0), message(9)].concat();
        let ends = [8, 13, 27];
        for first in 0..all.len() {
            for second in first..all.len() {
                let mut framing = Framing::default();
                let mut come = 0;
                for part in [&all[..first], &all[first..second], &all[second..]] {
                    come += part.len();
                    let begun = ends.iter().rfind(|end| **end <= come).copied().unwrap_or(0);
                    assert_eq!(framing.take_in(part), come - begun, "{first} {second}");
                }
            }
        }
    }

    #[test]
    fn whoever_is_silent_for_longest_makes_room() {
        let arrivals = Arrivals::default();
        let third = ARRIVING_BYTES_MAX / 3;
        let [mut one, mut two, mut three, mut four] = [(); 4].map(|()| arrivals.arrival());
        one.hold(third);
        two.hold(third);
        // Goes on, so that `two` is now the most silent.
        one.hold(third + 1);
        three.hold(third - 1);
        assert!(![&one, &two, &three].into_iter().any(is_refused));
        four.hold(third);
        assert!(is_refused(&two));
        assert!(![&one, &three, &four].into_iter().any(is_refused));
        drop((one, two, three, four));
        assert_eq!(arrivals.board().bytes, 0);
    }

    #[tokio::test]
    async fn one_alone_may_be_larger_until_there_is_another() {
        let arrivals = Arrivals::default();
        let mut large = arrivals.arrival();
        large.hold(2 * ARRIVING_BYTES_MAX);
        assert!(!is_refused(&large));
        let waiting = tokio::spawn(async move { large.or_refused(pending::<()>()).await });
        tokio::task::yield_now().await;
        arrivals.arrival().hold(1);
        assert!(waiting.await.expect("it hears of it").is_err());
        assert_eq!(arrivals.board().bytes, 0);
    }

    #[test]
    fn a_whole_message_is_not_kept() {
        let arrivals = Arrivals::default();
        let mut arrival = arrivals.arrival();
        arrival.hold(5);
        arrival.hold(0);
        assert!(arrivals.board().parts.is_empty());
    }

    /// When the head of a message with so many bytes is passed on.
    async fn passed_on(arrivals: &Arrivals, bytes: u32) -> Instant {
        let head = [&[0], &bytes.to_be_bytes()[..]].concat();
        let mut body = Arriving::new(Full::new(Bytes::from(head)), 1_000, arrivals);
        assert!(body.frame().await.expect("there is a frame").is_ok());
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_too_much_over_and_over_hears_of_it_later() {
        let arrivals = Arrivals::default();
        let begun = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(passed_on(&arrivals, 1_000).await, begun);
        }
        assert_eq!(passed_on(&arrivals, 1_001).await, begun);
        let mut last = begun;
        for _ in 0..200 {
            last = passed_on(&arrivals, u32::MAX).await;
        }
        assert!(last >= begun + Duration::from_secs(1));
        assert_eq!(passed_on(&arrivals, 1_000).await, last);
    }
}
