//! How HTTP ends: streams when the server stops, and connections that go on as something else.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tonic::body::Body;

/// What a connection becomes after HTTP.
pub(super) type Afterlife = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way out of HTTP, in the extensions of a request on a connection that has one.
#[derive(Clone, Debug)]
pub struct Exit(mpsc::Sender<Afterlife>);

impl Exit {
    /// An exit, and where who takes it appears.
    pub(super) fn new() -> (Self, mpsc::Receiver<Afterlife>) {
        // A connection is taken over once.
        let (exit, taken) = mpsc::channel(1);
        (Self(exit), taken)
    }

    /// Runs this on the connection's task when HTTP is over; a stopping server drops it.
    pub fn take_over(self, afterlife: impl Future<Output = ()> + Send + 'static) {
        // A second one would wait for an upgrade that never comes.
        let _ = self.0.try_send(Box::pin(afterlife));
    }
}

/// A body that ends when the server stops: what is ready by then still goes out.
pub(super) struct Ending {
    body: Body,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Ending {
    pub(super) fn new(body: Body, mut stop: watch::Receiver<bool>) -> Self {
        let stopped = async move {
            // Without anybody to stop it, it is over as well.
            let _ = stop.wait_for(|is_over| *is_over).await;
        };
        Self { body, stopped: Box::pin(stopped) }
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.stopped.as_mut().poll(cx));
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
