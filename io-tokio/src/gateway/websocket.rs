//! Websockets: the same calls, with a frame of text for each message either way.
//!
//! The client's frames are one stream of JSON, so a frame may hold several messages or a part of
//! one. The end of the websocket is the end of the call, and the other way round.
//!
//! Answers to: grpc-websocket-proxy v0.5 `wsproxy/websocket_proxy.go`

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::header::{
    AUTHORIZATION, CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;

use super::{Gateway, find, input, json, metadata, reply};
use crate::transport::Exit;

/// Frames between the client and the call; the client waits.
const FRAMES_AHEAD_MAX: usize = 1;

/// The answer to a request that asks for a websocket; nothing if it does not.
pub(super) fn accept<B>(gateway: &Gateway, request: &mut Request<B>) -> Option<Response<Body>> {
    let has = |name: HeaderName, word: &str| {
        let values = request.headers().get_all(name);
        let mut words = values.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|found| found.trim().eq_ignore_ascii_case(word))
    };
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return None;
    }
    let is_known = has(SEC_WEBSOCKET_VERSION, "13");
    let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_known)?;
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    let exit = request.extensions_mut().remove::<Exit>()?;

    let bearer = bearer(request.headers());
    let mut metadata = metadata(request.headers());
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    if let Some(token) = bearer {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("Bearer"));
        metadata.insert(AUTHORIZATION.as_str(), token);
    }
    let conversation =
        Conversation { gateway: gateway.clone(), path: request.uri().path().to_owned(), metadata };
    exit.take_over(conversation.run(hyper::upgrade::on(request)));
    Some(answer)
}

/// A token that stands where a browser can put one: `Sec-WebSocket-Protocol: Bearer, token`.
fn bearer(headers: &HeaderMap) -> Option<tonic::metadata::AsciiMetadataValue> {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let token = offered.strip_prefix("Bearer,")?.trim();
    format!("Bearer {token}").parse().ok()
}

/// A call by websocket.
struct Conversation {
    gateway: Gateway,
    path: String,
    metadata: MetadataMap,
}

impl Conversation {
    async fn run(self, upgrade: OnUpgrade) {
        // A client that left is nobody to tell.
        let Ok(upgraded) = upgrade.await else { return };
        let bytes_max = self.gateway.0.json_bytes_max;
        let config = WebSocketConfig::default()
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        self.converse(socket).await;
    }

    /// Runs until either side has ended.
    async fn converse(self, socket: WebSocketStream<TokioIo<Upgraded>>) {
        let (mut sink, mut source) = socket.split();
        let (pieces, received) = mpsc::channel(FRAMES_AHEAD_MAX);
        let listening = async {
            while let Some(Ok(frame)) = source.next().await {
                let piece = match frame {
                    Message::Text(text) => Bytes::from(text),
                    Message::Binary(bytes) => bytes,
                    // A close is answered by reading on, to the end.
                    _ => continue,
                };
                // What the call does not want any more is forgotten: the end must be seen.
                let _ = pieces.send(piece).await;
            }
        };
        let speaking = async {
            let mut lines = std::pin::pin!(self.answer(ReceiverStream::new(received)));
            while let Some(line) = lines.next().await {
                let Ok(text) = Utf8Bytes::try_from(line) else { return };
                if sink.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            // It may be closed already.
            let _ = sink.close().await;
        };
        tokio::select! {
            biased;
            () = listening => {}
            () = speaking => {}
        }
    }

    /// The call's answers, without the ends of their lines.
    fn answer(self, pieces: ReceiverStream<Bytes>) -> impl Stream<Item = Bytes> {
        let answers = async move {
            match self.start(pieces).await {
                Ok(lines) => lines,
                Err(status) => stream::iter([reply::error(&status)]).boxed(),
            }
        };
        stream::once(answers).flatten().map(|line| line.slice_ref(line.trim_ascii_end()))
    }

    async fn start(
        self,
        pieces: ReceiverStream<Bytes>,
    ) -> Result<stream::BoxStream<'static, Bytes>, Status> {
        let route = find(&self.path)?;
        let bytes_max = self.gateway.0.json_bytes_max;
        let arrival = self.gateway.0.services.arrival();
        let answers = if route.is_client_streaming {
            let messages = input::messages(pieces, route.takes, bytes_max, arrival);
            self.gateway.call(route, self.metadata, messages).await?
        } else {
            let text = input::first(pieces, bytes_max, arrival).await?;
            let messages = stream::iter([json::read(route.takes, &text)?]);
            self.gateway.call(route, self.metadata, messages).await?
        };
        match answers.is_stream {
            true => Ok(answers.into_lines().boxed()),
            false => Ok(stream::iter([answers.into_message()?]).boxed()),
        }
    }
}
