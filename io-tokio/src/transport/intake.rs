//! What stands between a socket and whoever speaks HTTP on it.
//!
//! ```text
//! socket ──> bytes read before ──> authorities mended ──> pings counted ──> HTTP/2
//! socket <─────────────────────────────────────────────── answers noted <── HTTP/2
//! ```
//!
//! Invariants
//! - What was read to find out which protocol is spoken is handed on first.
//! - Everything is handed on, in order, and as many bytes as came.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority::Mender;
use super::pings::{Answers, Pings};

/// A connection as it is read. See the module.
#[derive(Debug)]
pub(super) struct Intake<T> {
    io: T,
    /// To be handed on before anything else is read.
    ready: BytesMut,
    mender: Option<Mender>,
    pings: Option<Pings>,
    answers: Option<Answers>,
}

impl<T> Intake<T> {
    /// A connection of which `head` was read already.
    pub(super) const fn new(io: T, head: BytesMut) -> Self {
        Self { io, ready: head, mender: None, pings: None, answers: None }
    }

    /// The same, for a server of HTTP/2.
    pub(super) fn for_http2(self, pings: Option<Pings>) -> Self {
        let mut mender = Mender::default();
        let ready = mender.mend(&self.ready);
        let answers = pings.as_ref().map(Pings::answers);
        Self { ready, mender: Some(mender), pings, answers, ..self }
    }
}

impl<T: AsyncRead + Unpin> Intake<T> {
    fn poll_mended(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ready.is_empty() {
            let Some(mender) = self.mender.as_mut().filter(|mender| !mender.is_over()) else {
                return Pin::new(&mut self.io).poll_read(cx, buffer);
            };
            let mut block = [0; 4 << 10];
            let mut read = ReadBuf::new(&mut block);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            self.ready = match read.filled() {
                // The end: what is incomplete is for others to judge.
                [] => mender.finish(),
                bytes => mender.mend(bytes),
            };
        }
        let taken = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready[..taken]);
        self.ready.advance(taken);
        if self.ready.is_empty() {
            self.ready = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Intake<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.poll_mended(cx, buffer))?;
        if let Some(pings) = &mut self.pings {
            pings.look(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Intake<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        if let Some(answers) = &mut self.answers {
            answers.look(&bytes[..taken]);
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
