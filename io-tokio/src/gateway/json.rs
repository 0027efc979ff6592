//! Messages as JSON and back, as protojson has it; and where one JSON value ends.

use bytes::{Bytes, BytesMut};
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::Status;

const READING: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
const WRITING: SerializeOptions = SerializeOptions::new().use_proto_field_name(true);

/// The message that a text begins with; an empty text is an empty message.
pub(super) fn read(kind: &MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, Status> {
    if text.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(kind.clone()));
    }
    let mut text = serde_json::Deserializer::from_slice(text);
    DynamicMessage::deserialize_with_options(kind.clone(), &mut text, &READING).map_err(|error| {
        match error.is_eof() {
            true => Status::invalid_argument("unexpected EOF"),
            false => Status::invalid_argument(error.to_string()),
        }
    })
}

/// A message as JSON.
pub(super) fn message(message: &DynamicMessage) -> Result<Bytes, Status> {
    let mut text = Vec::new();
    write(message, &mut text)?;
    Ok(text.into())
}

/// A message as a line of a stream.
pub(super) fn result_line(message: &DynamicMessage) -> Result<Bytes, Status> {
    let mut text = br#"{"result":"#.to_vec();
    write(message, &mut text)?;
    text.extend_from_slice(b"}\n");
    Ok(text.into())
}

fn write(message: &DynamicMessage, text: &mut Vec<u8>) -> Result<(), Status> {
    let mut text = serde_json::Serializer::new(text);
    message
        .serialize_with_options(&mut text, &WRITING)
        .map_err(|error| Status::internal(error.to_string()))
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
