//! A call whose message is made once and whose answer is forgotten as it comes: who asks for much,
//! or says much, should not be what is measured.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Body as _;
use http_body_util::Full;
use prost::Message;
use tonic::body::Body;
use tower_service::Service as _;

use crate::bench::{Line, Outcome};

/// What precedes a message: that it is not compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What is said, over and over.
#[derive(Clone, Debug)]
pub struct Unread {
    path: &'static str,
    framed: Bytes,
}

impl Unread {
    /// A message to a method, whose path is `/package.Service/Method`.
    pub fn new(path: &'static str, message: &impl Message) -> Self {
        let message = message.encode_to_vec();
        let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
        framed.push(0);
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(message);
        Self { path, framed: framed.into() }
    }

    /// Says it; how many bytes the answer had.
    ///
    /// # Errors
    /// There is no connection any more, or the server refuses.
    pub async fn call(&self, line: &Line) -> Outcome<u64> {
        let request = Request::post(self.path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(self.framed.clone())))
            .map_err(|error| error.to_string())?;
        let mut service = line.service();
        let told = |error: hyper::Error| error.to_string();
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(told)?;
        let answer = service.call(request).await.map_err(told)?;
        // A refusal has its status in the head.
        let mut status = code(answer.headers());
        let (mut body, mut bytes) = (Box::pin(answer.into_body()), 0);
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.map_err(|error| error.to_string())?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if let Some(trailers) = frame.trailers_ref() {
                status = code(trailers);
            }
        }
        match status {
            Some(0) => Ok(bytes),
            Some(code) => Err(format!("refused with code {code}")),
            None => Err("an answer ended without a status".to_owned()),
        }
    }
}

fn code(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
