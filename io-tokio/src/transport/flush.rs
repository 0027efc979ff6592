//! Deferred flushing: answers that are ready together leave together.
//!
//! An HTTP/2 connection flushes after every frame of more than 256 bytes, so that every answer
//! costs a system call of its own. Here a flush is a promise: bytes are collected while the
//! connection's task runs, the task yields once so that everybody who was about to answer can,
//! and then one send takes all of it.
//!
//! ```text
//! turn 1   write A, write B, flush ... nothing is sent; the task asks for another turn
//!          (other tasks run; two of them answer)
//! turn 2   write C, write D, flush ... turn ends: A B C D leave in one send
//! ```
//!
//! Invariants
//! - What was written is sent no later than at the end of the turn after.
//! - At most [`BUFFER_BYTES_MAX`] wait for a reader that does not read: then writes and flushes
//!   say so, and nobody spins. While blocked, only the socket wakes the task.
//! - Shutting down sends everything first: a last GOAWAY is not lost.
//! - An idle connection holds no buffer.
//!
//! Deliberately absent: timers. On a runtime of one thread a task that wakes itself runs after
//! all that were ready before it, which is all the waiting there is.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::Traffic;

/// Most bytes that wait to be sent on one connection.
pub const BUFFER_BYTES_MAX: usize = 64 << 10;
/// A drained buffer larger than this is given back.
const BUFFER_BYTES_KEPT: usize = 4 << 10;

/// The connection's side: reads pass through, writes are collected.
#[derive(Debug)]
pub struct Port<T>(Shared<T>);

/// The task's side: ends the turns.
#[derive(Debug)]
pub struct Turns<T>(Shared<T>);

impl<T> Clone for Turns<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Shared<T> = Arc<Mutex<Outbox<T>>>;

#[derive(Debug)]
struct Outbox<T> {
    io: T,
    out: BytesMut,
    /// The last send could not take all: the socket will wake the task.
    is_blocked: bool,
    /// The task has asked for another turn since the last send.
    has_yielded: bool,
    failed: Option<io::ErrorKind>,
    traffic: Traffic,
}

/// Splits a connection into what HTTP/2 writes to and what drives it.
pub fn deferred<T>(io: T, traffic: Traffic) -> (Port<T>, Turns<T>) {
    let shared = Arc::new(Mutex::new(Outbox {
        io,
        out: BytesMut::new(),
        is_blocked: false,
        has_yielded: false,
        failed: None,
        traffic,
    }));
    (Port(shared.clone()), Turns(shared))
}

/// Both sides live in one task: the lock is never contended.
fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Outbox<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: AsyncRead + AsyncWrite + Unpin> Turns<T> {
    /// Runs the connection to its end.
    pub async fn drive<F: Future>(self, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        poll_fn(move |cx| {
            lock(&self.0).begin_turn(cx);
            let polled = connection.as_mut().poll(cx);
            if polled.is_pending() {
                lock(&self.0).end_turn(cx);
            }
            polled
        })
        .await
    }

    /// Sends what is left, then `words`, and nothing more. For a connection that is not driven any
    /// more; it should be left open for a while: a socket closed at once takes back what was sent
    /// last, if there is something that nobody has read.
    pub async fn say_last(&self, words: &[u8]) -> io::Result<()> {
        let mut words = Some(words);
        poll_fn(|cx| {
            let mut outbox = lock(&self.0);
            // A full buffer may end within a frame: then there is nothing more to say.
            if let Some(words) = words.take()
                && outbox.out.len() < BUFFER_BYTES_MAX
            {
                outbox.out.extend_from_slice(words);
            }
            ready!(outbox.poll_drain(cx))?;
            Pin::new(&mut outbox.io).poll_shutdown(cx)
        })
        .await
    }
}

impl<T: AsyncWrite + Unpin> Outbox<T> {
    fn begin_turn(&mut self, cx: &mut Context<'_>) {
        if self.is_blocked {
            self.drain_or_fail(cx);
        }
    }

    fn end_turn(&mut self, cx: &mut Context<'_>) {
        if self.out.is_empty() || self.is_blocked {
            return;
        }
        if self.has_yielded {
            self.drain_or_fail(cx);
        } else {
            self.has_yielded = true;
            cx.waker().wake_by_ref();
        }
    }

    /// For moments when nobody can be told of a failure: the connection's next step is.
    fn drain_or_fail(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            self.failed = Some(error.kind());
            cx.waker().wake_by_ref();
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_failed()?;
        self.is_blocked = true;
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.out.advance(sent),
            }
        }
        // TLS keeps what the socket did not take.
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.is_blocked = false;
        self.has_yielded = false;
        if self.out.capacity() > BUFFER_BYTES_KEPT {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    fn check_failed(&mut self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Makes room for at least one byte.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.check_failed()?;
        if self.out.len() >= BUFFER_BYTES_MAX
            && let Poll::Ready(drained) = self.poll_drain(cx)
        {
            drained?;
        }
        match BUFFER_BYTES_MAX - self.out.len() {
            0 => Poll::Pending,
            room => Poll::Ready(Ok(room)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_failed()?;
        if self.is_blocked {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Port<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut outbox = lock(&self.0);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut outbox.io).poll_read(cx, buffer))?;
        outbox.traffic.received.add((buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Port<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outbox = lock(&self.0);
        let room = ready!(outbox.poll_room(cx))?;
        let taken = bytes.len().min(room);
        outbox.out.extend_from_slice(&bytes[..taken]);
        outbox.traffic.sent.add(taken as u64);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outbox = lock(&self.0);
        let mut room = ready!(outbox.poll_room(cx))?;
        let mut total = 0;
        for slice in slices {
            let taken = slice.len().min(room);
            outbox.out.extend_from_slice(&slice[..taken]);
            total += taken;
            room -= taken;
            if room == 0 {
                break;
            }
        }
        outbox.traffic.sent.add(total as u64);
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = lock(&self.0);
        ready!(outbox.poll_drain(cx))?;
        Pin::new(&mut outbox.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
