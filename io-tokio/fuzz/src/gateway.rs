//! A client of the JSON gateway: any path, any body in any pieces, any answer of the member's.
//!
//! One input is one HTTP exchange, with the production gateway and services in front of a member
//! that answers from the input. What comes back must be HTTP with JSON in it, and it must come:
//! only streams, and calls that wait for others, may be silent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request as HttpRequest, Response as HttpResponse, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use quorate_io_tokio::gateway::Gateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::Runtime;

use crate::records::{self, Record};
use crate::script::{Script, Scripted};

/// How long an answer may take that must come.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a client listens that may hear nothing.
const SILENCE: Duration = Duration::from_millis(3);
/// Largest message the services take.
const MESSAGE_BYTES_MAX: usize = 8_192;
/// Bytes of an answer that are looked at; a stream's client leaves then.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Exchanges after which the member is made anew.
const EXCHANGES_MAX: usize = 100_000;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The path; the last one counts.
    Path,
    /// A piece of the body.
    Body,
    /// A message the member answers with.
    Answer,
    /// A refusal it answers with: its number.
    Refusal,
    /// A header: its name, a colon, its value.
    Header,
    /// What is sent on the websocket this makes of the exchange.
    Socket,
}

impl Kind {
    /// Every kind; a record's number is taken modulo how many there are.
    pub const ALL: [Self; 6] =
        [Self::Path, Self::Body, Self::Answer, Self::Refusal, Self::Header, Self::Socket];
}

/// What a websocket's client asks for.
const UPGRADE: [(HeaderName, &str); 4] = [
    (header::CONNECTION, "Upgrade"),
    (header::UPGRADE, "websocket"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The served member; one for many exchanges.
struct Served {
    runtime: Runtime,
    gateway: Gateway,
    script: Arc<Mutex<Script>>,
    _scripted: Scripted,
    exchanges: usize,
}

thread_local! {
    static SERVED: std::cell::RefCell<Option<Served>> = const { std::cell::RefCell::new(None) };
}

/// Runs an input.
pub fn run(input: &[u8]) {
    SERVED.with_borrow_mut(|kept| {
        let mut served = kept.take().unwrap_or_else(Served::start);
        served.exchange(&records::read(input));
        *kept = Some(served).filter(|served| served.exchanges < EXCHANGES_MAX);
    });
}

impl Served {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let script = Arc::new(Mutex::new(Script::default()));
        let scripted = Scripted::start(Arc::clone(&script));
        let gateway = Gateway::new(scripted.services(MESSAGE_BYTES_MAX), MESSAGE_BYTES_MAX);
        Self { runtime, gateway, script, _scripted: scripted, exchanges: 0 }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&mut self, records: &[Record]) {
        self.exchanges += 1;
        let Some(plan) = Plan::parse(records) else { return };
        *self.script() = Script { answers: plan.answers.clone() };
        let gateway = self.gateway.clone();
        self.runtime.block_on(async move {
            let (ours, theirs) = duplex(64 << 10);
            let serving = serve(gateway, theirs);
            tokio::select! {
                biased;
                () = talk(plan, ours) => {}
                () = serving => {}
            }
            // What the call left running, a recipe that takes its key back, gets its turn.
            tokio::task::yield_now().await;
        });
    }
}

async fn serve(gateway: Gateway, io: DuplexStream) {
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new();
    let serving = serving.serve_connection(TokioIo::new(io), service).with_upgrades();
    // Whether the client was pleased is for the client to say.
    let _ = serving.await;
    std::future::pending().await
}

/// An exchange.
struct Plan {
    request: HttpRequest<()>,
    pieces: Vec<Bytes>,
    answers: VecDeque<Result<Bytes, usize>>,
    socket: Option<Bytes>,
}

impl Plan {
    /// What the records ask for; none if that is no HTTP.
    fn parse(records: &[Record]) -> Option<Self> {
        let (mut path, mut headers) = (&b"/v3/kv/range"[..], Vec::new());
        let (mut pieces, mut answers, mut socket) = (Vec::new(), VecDeque::new(), None);
        for Record { kind, body } in records {
            match Kind::ALL[usize::from(*kind) % Kind::ALL.len()] {
                Kind::Path => path = body,
                Kind::Body => pieces.push(Bytes::copy_from_slice(body)),
                Kind::Answer => answers.push_back(Ok(Bytes::copy_from_slice(body))),
                Kind::Refusal => {
                    answers.push_back(Err(usize::from(*body.first().unwrap_or(&0))));
                }
                Kind::Header => headers.push(body),
                Kind::Socket => socket = Some(Bytes::copy_from_slice(body)),
            }
        }
        let method = if socket.is_some() { "GET" } else { "POST" };
        let mut request = HttpRequest::builder().method(method).uri(path).body(()).ok()?;
        if !request.uri().path().starts_with('/') || !Gateway::owns(request.uri().path()) {
            return None;
        }
        for line in headers {
            let at = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..at]).ok()?;
            let value = HeaderValue::from_bytes(&line[at + 1..]).ok()?;
            // The length and the framing are hyper's.
            if ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name) {
                request.headers_mut().append(name, value);
            }
        }
        if socket.is_some() {
            let add = |(name, value)| (name, HeaderValue::from_static(value));
            request.headers_mut().extend(UPGRADE.map(add).map(|(name, value)| (Some(name), value)));
        }
        Some(Self { request, pieces, answers, socket })
    }

    /// Whether the answer may be long in coming, or never end.
    fn may_be_silent(&self) -> bool {
        let waits = ["watch", "election/observe", "election/campaign", "lock/lock"];
        let path = self.request.uri().path();
        self.socket.is_some() || waits.iter().any(|end| path.ends_with(end))
    }
}

/// The client's side.
async fn talk(plan: Plan, io: DuplexStream) {
    let may_be_silent = plan.may_be_silent();
    let asking = ask(plan, io);
    let patience = if may_be_silent { SILENCE } else { ANSWER_MAX };
    let answered = tokio::time::timeout(patience, asking).await;
    assert!(may_be_silent || answered.is_ok(), "no answer");
}

async fn ask(plan: Plan, io: DuplexStream) {
    let Plan { request, pieces, socket, .. } = plan;
    let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let request = request.map(|()| StreamBody::new(stream::iter(frames)));
    let made = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = made.expect("a connection in memory");
    let exchange = async {
        // Headers may say that the connection ends; a server may say so as well.
        let Ok(answer) = sender.send_request(request).await else { return };
        match socket {
            Some(bytes) if answer.status() == 101 => talk_on(answer, &bytes).await,
            _ => check_answer(answer).await,
        }
    };
    let connection = async {
        let _ = connection.with_upgrades().await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = exchange => {}
        () = connection => {}
    }
}

/// Every answer is lines of JSON, or one value.
async fn check_answer(answer: HttpResponse<Incoming>) {
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while text.len() < ANSWER_BYTES_MAX
        && let Some(frame) = body.frame().await
    {
        let Ok(frame) = frame else { return };
        let Ok(data) = frame.into_data() else { continue };
        text.extend_from_slice(&data);
        if data.ends_with(b"\n") {
            check_json(&std::mem::take(&mut text));
        }
    }
    check_json(&text);
}

fn check_json(text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let value = serde_json::from_slice::<serde_json::Value>(line);
        assert!(value.is_ok(), "no JSON: {}", String::from_utf8_lossy(line));
    }
}

/// Sends what it likes on a websocket, and listens.
async fn talk_on(answer: HttpResponse<Incoming>, bytes: &[u8]) {
    let Ok(upgraded) = hyper::upgrade::on(answer).await else { return };
    let mut io = TokioIo::new(upgraded);
    let mut heard = [0; 4_096];
    if io.write_all(bytes).await.is_err() {
        return;
    }
    while io.read(&mut heard).await.is_ok_and(|count| count > 0) {}
}
