//! Messages as JSON and back, as protojson has it; and where one JSON value ends.

mod read;
mod write;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeSeed as _;
use tonic::Status;

use super::shapes::Shape;
use read::Object;
use write::Dialect;

/// The bytes of the message that a text begins with; an empty text is an empty message.
pub(super) fn read(shape: &'static Shape, text: &[u8]) -> Result<Bytes, Status> {
    let mut bytes = Vec::new();
    if text.trim_ascii().is_empty() {
        return Ok(Bytes::new());
    }
    let mut text = serde_json::Deserializer::from_slice(text);
    match (Object { shape, bytes: &mut bytes }).deserialize(&mut text) {
        Ok(()) => Ok(bytes.into()),
        Err(error) if error.is_eof() => Err(Status::invalid_argument("unexpected EOF")),
        Err(error) => Err(Status::invalid_argument(error.to_string())),
    }
}

/// A message as JSON.
pub(super) fn message(shape: &Shape, bytes: &[u8]) -> Result<Bytes, Status> {
    write_between(b"", shape, bytes, b"")
}

/// A message as a line of a stream.
pub(super) fn result_line(shape: &Shape, bytes: &[u8]) -> Result<Bytes, Status> {
    write_between(br#"{"result":"#, shape, bytes, b"}\n")
}

/// A message of this full name as Go writes it, for tools whose output scripts read.
pub(crate) fn go_message(name: &str, bytes: &[u8]) -> Option<String> {
    let mut json = Vec::new();
    write::write(Shape::called(name)?, bytes, Dialect::Go, &mut json)?;
    String::from_utf8(json).ok()
}

/// A text as Go writes it into JSON.
pub(crate) fn go_text(text: &str) -> String {
    write::go_text(text)
}

fn write_between(
    before: &[u8],
    shape: &Shape,
    bytes: &[u8],
    after: &[u8],
) -> Result<Bytes, Status> {
    let mut json = before.to_vec();
    write::write(shape, bytes, Dialect::Proto, &mut json)
        .ok_or_else(|| Status::internal("the answer is no message of its kind"))?;
    json.extend_from_slice(after);
    Ok(json.into())
}

/// A stream of JSON values that come in pieces, cut into values.
#[derive(Debug, Default)]
pub(super) struct Values {
    held: BytesMut,
    /// How much of it was looked at.
    seen: usize,
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

impl Values {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// How many bytes wait for their value's end.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// The next value that is complete. Outside of values, what cannot begin an object is one by
    /// itself: no message can be read from it.
    pub(super) fn next(&mut self) -> Option<BytesMut> {
        while let Some(byte) = self.held.get(self.seen) {
            let is_end = self.step(*byte);
            self.seen += 1;
            if is_end {
                return Some(self.held.split_to(std::mem::take(&mut self.seen)));
            }
        }
        None
    }

    /// Whether a value ends with this byte.
    fn step(&mut self, byte: u8) -> bool {
        if self.is_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'{' => self.depth += 1,
            _ if self.depth == 0 => return !byte.is_ascii_whitespace(),
            b'[' => self.depth += 1,
            b'"' => self.is_text = true,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests;
