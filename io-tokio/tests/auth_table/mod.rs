//! One of the two servers, and the words in which it is asked.

mod streams;
mod words;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate_io_tokio::gateway::AsBytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::v3electionpb::LeaderKey;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::accept::{self, wire};

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How long nothing comes where nothing is meant to.
const SILENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Side {
    runtime: Runtime,
    server: SocketAddr,
    channel: Channel,
    /// By the name they were asked under.
    pub(crate) tokens: BTreeMap<String, String>,
    /// The path of the last call.
    pub(crate) asked: Cell<&'static str>,
    /// What the last successful campaign won.
    seat: Option<LeaderKey>,
    /// The last learner that was added.
    learner: u64,
}

/// What both answer to a row.
pub(crate) fn answer_both(sides: &mut [Side; 2], row: &str) -> [String; 2] {
    if let Some(seconds) = row.strip_prefix("pause ") {
        std::thread::sleep(Duration::from_secs(seconds.parse().expect("seconds")));
        return [String::new(), String::new()];
    }
    sides.each_mut().map(|side| side.answer(row))
}

/// What came of a call, in words.
pub(crate) type Said = Result<String, Status>;

impl Side {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let channel = runtime.block_on(async { accept::api::channel(server) });
        Self {
            runtime,
            server,
            channel,
            tokens: BTreeMap::new(),
            asked: Cell::new(""),
            seat: None,
            learner: 1,
        }
    }

    /// Carries out a row; the whole of what is answered, without what differs between any two
    /// servers.
    pub(crate) fn answer(&mut self, row: &str) -> String {
        if row == "setup" {
            return self.set_up();
        }
        let (who, what) = row.split_once("> ").expect("who> what");
        let said = match what.split_once(' ') {
            Some(("json", call)) => return self.answer_json(who, call),
            _ => {
                let words: Vec<&str> = what.split_whitespace().map(unquote).collect();
                self.ask(who, &words)
            }
        };
        match said {
            Ok(text) => format!("OK {}", without_headers(&text)),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    }

    /// Root, alice with a role, bob without one, all logged in; two keys that are nobody's.
    fn set_up(&mut self) -> String {
        const BEFORE: &str = include_str!("setup.in");
        for row in BEFORE.lines() {
            let said = self.answer(row);
            assert!(said.starts_with("OK"), "{row}: {said}");
        }
        String::new()
    }

    /// Metadata or headers that show what `who` has.
    fn shown(&self, who: &str) -> Option<(&'static str, String)> {
        let token = |name: &str| self.tokens.get(name).cloned().unwrap_or_default();
        Some(match who.split_once('-') {
            Some(("", "")) | None if who == "-" => return None,
            None if who == "wrong" => ("token", "nonsense".to_owned()),
            None => ("token", token(who)),
            Some(("bearer", name)) => ("authorization", format!("Bearer {}", token(name))),
            Some(("authorization", name)) => ("authorization", token(name)),
            Some(("shouting", name)) => ("token", token(name).to_uppercase()),
            Some(_) => panic!("who is {who}?"),
        })
    }

    fn call<T>(&self, who: &str, path: &'static str, message: T) -> Request<T> {
        self.asked.set(path);
        let mut call = Request::new(message);
        if let Some((name, token)) = self.shown(who) {
            call.metadata_mut().insert(name, token.parse().expect("letters and numbers"));
        }
        call
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.runtime.block_on(async {
            let late = |_| Err(Status::deadline_exceeded("no answer at all"));
            tokio::time::timeout(CALL_MAX, call).await.unwrap_or_else(late)
        })
    }

    /// A unary call.
    fn unary<A: Message + Default>(
        &self,
        who: &str,
        path: &'static str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let call = self.call(who, path, Bytes::from(request.encode_to_vec()));
        let mut grpc = Grpc::new(self.channel.clone());
        let answer = self.wait(async {
            grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
            grpc.unary(call, PathAndQuery::from_static(path), AsBytes).await
        });
        let answer = A::decode(answer?.into_inner());
        answer.map_err(|error| Status::data_loss(error.to_string()))
    }

    /// The first answer of a stream to one request.
    fn streamed<A: Message + Default>(
        &self,
        who: &str,
        path: &'static str,
        request: &impl Message,
    ) -> Result<Option<A>, Status> {
        let call = self.call(who, path, Bytes::from(request.encode_to_vec()));
        let mut grpc = Grpc::new(self.channel.clone());
        let answer = self.wait(async {
            grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
            let path = PathAndQuery::from_static(path);
            grpc.server_streaming(call, path, AsBytes).await?.into_inner().message().await
        })?;
        decode(answer)
    }

    /// The first answer to a stream of one message that stays open.
    fn first<A: Message + Default>(
        &self,
        who: &str,
        path: &'static str,
        request: &impl Message,
    ) -> Result<Option<A>, Status> {
        let (sender, messages) = tokio::sync::mpsc::channel(1);
        sender.try_send(Bytes::from(request.encode_to_vec())).expect("room for one");
        let answer = self.wait(async {
            let mut answers = self.stream(who, path, messages).await?;
            answers.message().await
        })?;
        decode(answer)
    }

    /// The answers to messages of which each but the first waits for the answer to the one before.
    fn answers<A: Message + Default>(
        &self,
        who: &str,
        path: &'static str,
        requests: &[impl Message],
    ) -> Result<Vec<Option<A>>, Status> {
        let (sender, messages) = tokio::sync::mpsc::channel(1);
        let mut requests = requests.iter().map(|request| Bytes::from(request.encode_to_vec()));
        sender.try_send(requests.next().expect("one at least")).expect("room for one");
        self.wait(async {
            let mut stream = self.stream(who, path, messages).await?;
            let mut answers = vec![decode(stream.message().await?)?];
            for request in requests {
                // Who is gone answers no more.
                let _ = sender.send(request).await;
                let answer = tokio::time::timeout(SILENCE, stream.message()).await;
                answers.push(decode(answer.unwrap_or(Ok(None))?)?);
            }
            Ok(answers)
        })
    }

    async fn stream(
        &self,
        who: &str,
        path: &'static str,
        messages: tokio::sync::mpsc::Receiver<Bytes>,
    ) -> Result<Streaming<Bytes>, Status> {
        let call = self.call(who, path, tokio_stream::wrappers::ReceiverStream::new(messages));
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        Ok(grpc.streaming(call, path, AsBytes).await?.into_inner())
    }

    /// A token, under the user's name or another.
    fn log_in(&mut self, who: &str, (name, password): (&str, &str), under: &str) -> Said {
        let (name, password) = (name.to_owned(), password.to_owned());
        let ask = pb::AuthenticateRequest { name, password };
        let answer: pb::AuthenticateResponse =
            self.unary(who, "/etcdserverpb.Auth/Authenticate", &ask)?;
        let (letters, index) = answer.token.split_once('.').unwrap_or_default();
        let is_index = index.parse::<u64>().is_ok();
        let shape =
            format!("{} letters, {}", letters.len(), if is_index { "an index" } else { "" });
        self.tokens.insert(under.to_owned(), answer.token.clone());
        let header = answer.header;
        Ok(format!("{:?}: {shape}", pb::AuthenticateResponse { header, token: String::new() }))
    }

    fn answer_json(&self, who: &str, call: &str) -> String {
        let (path, body) = call.split_once(' ').expect("path and body");
        let header = match self.shown(who) {
            None => String::new(),
            Some((_, token)) => format!("authorization: {token}\r\n"),
        };
        let request = format!("POST /v3/{path}");
        let (code, body) = wire::ask(self.server, &request, &header, body.as_bytes());
        let mut json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        if let Some(header) = json.get_mut("header").and_then(|header| header.as_object_mut()) {
            header.retain(|name, _| name == "revision");
        }
        if let Some(token) = json.get_mut("token") {
            *token = serde_json::Value::from("a token");
        }
        format!("{code} {json}")
    }
}

fn decode<A: Message + Default>(answer: Option<Bytes>) -> Result<Option<A>, Status> {
    let answer = answer.map(A::decode).transpose();
    answer.map_err(|error| Status::data_loss(error.to_string()))
}

/// Words that cannot stand for themselves.
fn unquote(word: &str) -> &str {
    match word {
        "\"\"" => "",
        "\\0" => "\0",
        "shared\\0" => "shared\0",
        _ => word,
    }
}

/// Headers name the server that answers; of them only the revision counts.
fn without_headers(text: &str) -> String {
    let (mut rest, mut kept) = (text, String::new());
    while let Some((before, header)) = rest.split_once("ResponseHeader { ") {
        let (header, after) = header.split_once(" }").expect("a whole header");
        let revision = header.split(", ").find(|field| field.starts_with("revision"));
        kept = kept + before + "@" + revision.unwrap_or_default();
        rest = after;
    }
    kept + rest
}
