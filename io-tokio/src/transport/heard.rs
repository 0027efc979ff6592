//! A connection that tells when its other side has begun to speak HTTP/2, or that it never will.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::bind::Wire;
use crate::tls::explain;

/// The kind of frame a server begins with.
const SETTINGS: u8 = 4;
/// Where a frame says of which kind it is.
const KIND_AT: usize = 3;

/// Reads and writes as the connection below it does.
pub(crate) struct Heard {
    wire: Wire,
    /// Until there is something to tell.
    teller: Option<oneshot::Sender<Result<(), String>>>,
    /// Bytes that were read until then.
    count: usize,
}

impl Heard {
    /// Comes with who is told.
    pub(super) fn new(wire: Wire) -> (Self, oneshot::Receiver<Result<(), String>>) {
        let (teller, heard) = oneshot::channel();
        (Self { wire, teller: Some(teller), count: 0 }, heard)
    }

    /// What the first bytes are, as soon as there are enough: a server begins with its settings.
    fn judge(&mut self, read: &io::Result<()>, news: &[u8]) -> Option<Result<(), String>> {
        match read {
            Err(error) => return Some(Err(explain(error))),
            Ok(()) if news.is_empty() => {
                return Some(Err("EOF: the other side hung up".to_owned()));
            }
            Ok(()) => {}
        }
        let kind = KIND_AT.checked_sub(self.count).and_then(|at| news.get(at));
        self.count += news.len();
        kind.map(|kind| match *kind {
            SETTINGS => Ok(()),
            _ => Err("the other side does not speak HTTP/2".to_owned()),
        })
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.wire).poll_read(cx, into));
        let news = &into.filled()[before..];
        if self.teller.is_some()
            && let Some(outcome) = self.judge(&read, news)
            && let Some(teller) = self.teller.take()
        {
            // Nobody may want to know any more.
            let _ = teller.send(outcome);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What is told of a server that says this, in pieces, and hangs up.
    async fn told(pieces: &[&[u8]]) -> Result<(), String> {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut heard, outcome) = Heard::new(Box::new(near));
        let saying = async move {
            for piece in pieces {
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            let mut all = Vec::new();
            heard.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, pieces.concat());
        };
        tokio::join!(saying, reading);
        outcome.await.unwrap()
    }

    #[tokio::test]
    async fn a_server_is_there_when_it_sends_its_settings() {
        let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
        assert_eq!(told(&[&settings, b"more"]).await, Ok(()));
        assert_eq!(told(&[&settings[..2], &settings[2..]]).await, Ok(()));
        let other = Err("the other side does not speak HTTP/2".to_owned());
        assert_eq!(told(&[b"HTTP/1.1 400 Bad Request"]).await, other);
        assert_eq!(told(&[b"\x15\x03\x01\x00\x02\x02\x46"]).await, other);
        let gone = Err("EOF: the other side hung up".to_owned());
        assert_eq!(told(&[]).await, gone);
        assert_eq!(told(&[&settings[..3]]).await, gone);
    }
}
