//! HTTP as it is on the wire: a request's bytes, and an answer's chunks one by one.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take that must come.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long nothing must come to be sure that nothing comes.
const SILENCE: Duration = Duration::from_millis(500);

/// A request under way.
pub(crate) struct Exchange {
    stream: BufReader<TcpStream>,
    /// The answer's head in small letters, once it is read.
    pub(crate) head: String,
}

/// What comes next of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Chunk(String),
    End,
    Silence,
}

impl Exchange {
    /// Sends a request with these headers, which end in line breaks.
    pub(crate) fn start(server: SocketAddr, request: &str, headers: &str, body: &[u8]) -> Self {
        let length = format!("content-length: {}\r\n", body.len());
        Self::raw(server, &format!("{request} HTTP/1.1\r\nhost: x\r\n{headers}{length}\r\n"), body)
    }

    /// Sends these bytes.
    pub(crate) fn raw(server: SocketAddr, head: &str, body: &[u8]) -> Self {
        let mut stream = TcpStream::connect(server).expect("the server listens");
        stream.write_all(head.as_bytes()).expect("the server reads heads");
        // A server may have refused before it has seen all.
        let _ = stream.write_all(body);
        Self { stream: BufReader::new(stream), head: String::new() }
    }

    /// Sends more of the body.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads bodies");
    }

    /// Says that nothing more is sent or read.
    pub(crate) fn leave(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }

    fn wait_at_most(&self, time: Duration) {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("a time above zero");
    }

    /// The answer's code; nothing if there is none for a while.
    pub(crate) fn code(&mut self, wait_max: Duration) -> Option<u16> {
        self.wait_at_most(wait_max);
        while !self.head.ends_with("\r\n\r\n") {
            match self.stream.read_line(&mut self.head) {
                Ok(0) => panic!("the server hung up: {:?}", self.head),
                Ok(_) => {}
                Err(error) if is_silence(error.kind()) && self.head.is_empty() => return None,
                Err(error) => panic!("{error}: {:?}", self.head),
            }
        }
        self.head.make_ascii_lowercase();
        self.head.get(9..12).and_then(|code| code.parse().ok())
    }

    /// Whether the answer comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.head.contains("\r\ntransfer-encoding: chunked\r\n")
    }

    /// The whole of an answer whose length is known.
    pub(crate) fn body(&mut self) -> String {
        let (_, rest) = self.head.split_once("\r\ncontent-length: ").expect("a known length");
        let (length, _) = rest.split_once("\r\n").expect("heads end in line breaks");
        self.wait_at_most(ANSWER_MAX);
        self.take(length.parse().expect("a number"))
    }

    fn take(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("as much as announced");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    /// The next chunk.
    pub(crate) fn next(&mut self, wait_max: Duration) -> Next {
        self.wait_at_most(wait_max);
        let mut length = String::new();
        match self.stream.read_line(&mut length) {
            Err(error) if is_silence(error.kind()) && length.is_empty() => return Next::Silence,
            read => assert!(read.expect("the server goes on") > 0, "the server hung up"),
        }
        let length = usize::from_str_radix(length.trim_end(), 16).expect("a chunk's length");
        self.wait_at_most(ANSWER_MAX);
        let mut chunk = self.take(length + 2);
        chunk.truncate(length);
        if length == 0 { Next::End } else { Next::Chunk(chunk) }
    }

    /// The next chunk, which must come.
    pub(crate) fn chunk(&mut self) -> String {
        match self.next(ANSWER_MAX) {
            Next::Chunk(chunk) => chunk,
            other => panic!("{other:?} instead of a chunk"),
        }
    }
}

fn is_silence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Asks once: code and body, with streams as one text that `~` ends if they stay open.
pub(crate) fn ask(server: SocketAddr, request: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut exchange = Exchange::start(server, request, headers, body);
    let code = exchange.code(ANSWER_MAX).expect("an answer");
    if !exchange.is_chunked() {
        return (code, exchange.body());
    }
    let mut text = String::new();
    loop {
        match exchange.next(SILENCE) {
            Next::Chunk(chunk) => text.push_str(&chunk),
            Next::End => return (code, text),
            Next::Silence => return (code, text + "~"),
        }
    }
}

/// Asks in the words of a transcript: `< code body`, or `< code`, lines of `+ chunk`, `.` or `~`.
pub(crate) fn transcribe(server: SocketAddr, request: &str, body: &str) -> Vec<String> {
    let mut exchange = Exchange::start(server, request, "", body.as_bytes());
    // Streams that say nothing have no head.
    let Some(code) = exchange.code(Duration::from_secs(2)) else { return vec!["~".into()] };
    if !exchange.is_chunked() {
        return vec![format!("< {code} {}", exchange.body().trim_end())];
    }
    let mut lines = vec![format!("< {code}")];
    loop {
        match exchange.next(SILENCE) {
            Next::Chunk(chunk) => {
                let line = chunk.strip_suffix('\n').expect("a chunk is a line");
                lines.push(format!("+ {line}"));
            }
            Next::End => lines.push(".".into()),
            Next::Silence => lines.push("~".into()),
        }
        if lines.last().is_some_and(|line| line == "." || line == "~") {
            return lines;
        }
    }
}

/// A page: its code and its body.
pub(crate) fn get(server: SocketAddr, path: &str) -> (u16, String) {
    // Of this version, an answer ends with the connection.
    let mut exchange =
        Exchange::raw(server, &format!("GET {path} HTTP/1.0\r\nhost: x\r\n\r\n"), b"");
    let mut text = String::new();
    exchange.stream.read_to_string(&mut text).expect("a page of text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a code"), body.to_owned())
}
