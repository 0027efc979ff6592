//! Histories as JSON lines.

use std::fmt;
use std::io::{self, BufRead, Write};

use prost::Message;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb::Event;
use serde::{Deserialize, Serialize};

use super::{Call, Changes, History, Logged, Operation, Outcome, Reply, Traffic, Truth, Watched};

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Operation {
        id: u64,
        client: u64,
        member: u64,
        called: u64,
        returned: Option<u64>,
        method: String,
        request: String,
        outcome: LineOutcome,
    },
    Entry {
        index: u64,
        operation: Option<u64>,
        method: String,
        request: String,
    },
    Changes {
        revision: i64,
        events: Vec<String>,
    },
    WatchRequest {
        at: u64,
        stream: u64,
        message: String,
    },
    WatchResponse {
        at: u64,
        stream: u64,
        message: String,
    },
    WatchEnded {
        at: u64,
        stream: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LineOutcome {
    Ok(String),
    Refused(String),
    Unknown,
}

/// A line that is none.
#[derive(Debug)]
pub struct BadLine {
    /// Its number, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.why)
    }
}

impl std::error::Error for BadLine {}

/// Writes a history, one record a line.
pub fn write(history: &History, mut to: impl Write) -> io::Result<()> {
    let truth: Vec<Line> = match &history.truth {
        Truth::Log(log) => log.iter().map(entry_line).collect(),
        Truth::Changes(changes) => changes.iter().map(changes_line).collect(),
    };
    let operations = history.operations.iter().map(operation_line);
    let watched = history.watched.iter().map(watched_line);
    for line in operations.chain(watched).chain(truth) {
        serde_json::to_writer(&mut to, &line)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

fn operation_line(operation: &Operation) -> Line {
    Line::Operation {
        id: operation.id,
        client: operation.client,
        member: operation.member,
        called: operation.called,
        returned: operation.returned,
        method: operation.call.name().to_owned(),
        request: to_hex(&operation.call.encode()),
        outcome: match &operation.outcome {
            Outcome::Ok(reply) => LineOutcome::Ok(to_hex(&reply.encode())),
            Outcome::Refused(refusal) => LineOutcome::Refused(refusal.name().to_owned()),
            Outcome::Unknown => LineOutcome::Unknown,
        },
    }
}

fn entry_line(entry: &Logged) -> Line {
    Line::Entry {
        index: entry.index,
        operation: entry.operation,
        method: entry.call.name().to_owned(),
        request: to_hex(&entry.call.encode()),
    }
}

fn changes_line(changes: &Changes) -> Line {
    let events = changes.events.iter().map(|event| to_hex(&event.encode_to_vec())).collect();
    Line::Changes { revision: changes.revision, events }
}

fn watched_line(watched: &Watched) -> Line {
    let (at, stream) = (watched.at, watched.stream);
    match &watched.what {
        Traffic::Request(message) => {
            Line::WatchRequest { at, stream, message: to_hex(&message.encode_to_vec()) }
        }
        Traffic::Response(message) => {
            Line::WatchResponse { at, stream, message: to_hex(&message.encode_to_vec()) }
        }
        Traffic::Ended => Line::WatchEnded { at, stream },
    }
}

/// Reads a history; log entries and changes in one history are refused.
pub fn read(from: impl BufRead) -> Result<History, BadLine> {
    let mut history = History::default();
    let (mut log, mut changes) = (Vec::new(), Vec::new());
    for (before, text) in from.lines().enumerate() {
        let number = before + 1;
        let bad = |why: String| BadLine { number, why };
        let text = text.map_err(|fault| bad(fault.to_string()))?;
        let line = serde_json::from_str(&text).map_err(|fault| bad(fault.to_string()))?;
        match parse(line).map_err(|why| bad(why.to_owned()))? {
            Record::Operation(operation) => history.operations.push(operation),
            Record::Entry(entry) => log.push(entry),
            Record::Changes(more) => changes.push(more),
            Record::Watched(watched) => history.watched.push(watched),
        }
        if !log.is_empty() && !changes.is_empty() {
            return Err(bad("both a log and changes: one of them is enough".to_owned()));
        }
    }
    history.truth = if log.is_empty() { Truth::Changes(changes) } else { Truth::Log(log) };
    Ok(history)
}

enum Record {
    Operation(Operation),
    Entry(Logged),
    Changes(Changes),
    Watched(Watched),
}

fn parse(line: Line) -> Result<Record, &'static str> {
    let traffic = |at, stream, what| Ok(Record::Watched(Watched { at, stream, what }));
    match line {
        Line::Operation { id, client, member, called, returned, method, request, outcome } => {
            let call = parse_call(&method, &request)?;
            let outcome = parse_outcome(&method, outcome)?;
            let operation = Operation { id, client, member, called, returned, call, outcome };
            Ok(Record::Operation(operation))
        }
        Line::Entry { index, operation, method, request } => {
            let call = parse_call(&method, &request)?;
            Ok(Record::Entry(Logged { index, operation, call }))
        }
        Line::Changes { revision, events } => {
            let events = events.iter().map(|event| parse_message::<Event>(event));
            Ok(Record::Changes(Changes { revision, events: events.collect::<Result<_, _>>()? }))
        }
        Line::WatchRequest { at, stream, message } => {
            traffic(at, stream, Traffic::Request(parse_message::<pb::WatchRequest>(&message)?))
        }
        Line::WatchResponse { at, stream, message } => {
            traffic(at, stream, Traffic::Response(parse_message::<pb::WatchResponse>(&message)?))
        }
        Line::WatchEnded { at, stream } => traffic(at, stream, Traffic::Ended),
    }
}

fn parse_call(method: &str, request: &str) -> Result<Call, &'static str> {
    let bytes = from_hex(request).ok_or("a request that is not hex")?;
    Call::parse(method, &bytes).ok_or("an unknown method, or not its request")
}

fn parse_outcome(method: &str, outcome: LineOutcome) -> Result<Outcome, &'static str> {
    match outcome {
        LineOutcome::Ok(reply) => {
            let bytes = from_hex(&reply).ok_or("a reply that is not hex")?;
            Reply::parse(method, &bytes).map(Outcome::Ok).ok_or("not a reply of this method")
        }
        LineOutcome::Refused(name) => {
            let refusal = Refusal::ALL.iter().find(|refusal| refusal.name() == name);
            refusal.copied().map(Outcome::from_refusal).ok_or("an unknown refusal")
        }
        LineOutcome::Unknown => Ok(Outcome::Unknown),
    }
}

fn parse_message<M: Message + Default>(hex: &str) -> Result<M, &'static str> {
    let bytes = from_hex(hex).ok_or("a message that is not hex")?;
    M::decode(bytes.as_slice()).map_err(|_| "a message that does not decode")
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> History {
        let put = pb::PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
        let header = Some(pb::ResponseHeader { revision: 2, ..Default::default() });
        let reply = Reply::Put(pb::PutResponse { header, prev_kv: None });
        let operation = |id, outcome| Operation {
            id,
            client: 1,
            member: 2,
            called: 1200,
            returned: Some(3400),
            call: Call::Put(put.clone()),
            outcome,
        };
        let frame = pb::WatchResponse { watch_id: 3, created: true, ..Default::default() };
        History {
            operations: vec![
                operation(7, Outcome::Ok(reply)),
                operation(8, Outcome::Unknown),
                operation(9, Outcome::Refused(Refusal::LeaseNotFound)),
            ],
            watched: vec![
                Watched { at: 5, stream: 1, what: Traffic::Response(frame) },
                Watched { at: 6, stream: 1, what: Traffic::Ended },
            ],
            truth: Truth::Log(vec![Logged {
                index: 4,
                operation: Some(7),
                call: Call::Put(put.clone()),
            }]),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut text = Vec::new();
        write(&sample(), &mut text).unwrap();
        let first = text.split(|byte| *byte == b'\n').next().unwrap();
        let expected = concat!(
            r#"{"kind":"operation","id":7,"client":1,"member":2,"called":1200,"returned":3400,"#,
            r#""method":"Put","request":"0a0161120131","outcome":{"ok":"0a021802"}}"#,
        );
        assert_eq!(String::from_utf8_lossy(first), expected);
        assert_eq!(read(text.as_slice()).unwrap(), sample());
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, why) in [
            ("{}", "line 1: missing field `kind`"),
            (
                r#"{"kind":"entry","index":1,"operation":null,"method":"Pot","request":""}"#,
                "line 1: an unknown method, or not its request",
            ),
            (
                r#"{"kind":"changes","revision":2,"events":["0"]}"#,
                "line 1: a message that is not hex",
            ),
        ] {
            let said = read(text.as_bytes()).unwrap_err().to_string();
            assert!(said.starts_with(why), "{said}");
        }
    }
}
