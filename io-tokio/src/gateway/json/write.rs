//! From a message's bytes to JSON, in one pass: fields stand in the order of their numbers, zeros
//! are not there, values of a list follow each other. That is how our own services encode.
//!
//! | Dialect | 64-bit numbers | enums | of several fields one | text |
//! |---|---|---|---|---|
//! | protojson, the gateway's | `"5"` | `"PUT"` | `"response_put":{..}` | as JSON wants it |
//! | Go's, etcdctl's | `5` | `0` | `"Response":{"response_put":{..}}` | fit for HTML |

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::gateway::shapes::{Field, Kind, Shape};

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// As protobuf's own JSON has it.
    Proto,
    /// As Go's `encoding/json` writes the structs generated for messages.
    Go,
}

/// Writes a message as an object; nothing if these are no bytes of such a message.
pub(super) fn write(
    shape: &Shape,
    mut bytes: &[u8],
    dialect: Dialect,
    json: &mut Vec<u8>,
) -> Option<()> {
    json.push(b'{');
    let mut last: Option<&Field> = None;
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).ok()?;
        let known = shape.numbered(number).filter(|field| field.kind != Kind::Other);
        let Some(field) = known else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        };
        begin(field, last, dialect, json);
        last = Some(field);
        match wire_type {
            WireType::Varint => {
                write_number(field, decode_varint(&mut bytes).ok()?, dialect, json)?;
            }
            WireType::LengthDelimited => {
                write_block(field, take_block(&mut bytes)?, dialect, json)?;
            }
            _ => return None,
        }
        if wrapper(field, dialect).is_some() {
            json.push(b'}');
        }
    }
    if last.is_some_and(|field| field.is_list) {
        json.push(b']');
    }
    json.push(b'}');
    Some(())
}

/// What comes before a value, given what came last.
fn begin(field: &Field, last: Option<&Field>, dialect: Dialect, json: &mut Vec<u8>) {
    if let Some(last) = last {
        if last.is_list && last.number != field.number {
            json.push(b']');
        }
        json.push(b',');
        if last.is_list && last.number == field.number {
            return;
        }
    }
    if let Some(wrapper) = wrapper(field, dialect) {
        json.extend_from_slice(format!("\"{wrapper}\":{{").as_bytes());
    }
    json.push(b'"');
    json.extend_from_slice(field.name.as_bytes());
    json.extend_from_slice(if field.is_list { b"\":[" } else { b"\":" });
}

/// The field Go has for several of which one is set; its name begins with a capital, and none of
/// etcd's has two words.
fn wrapper(field: &Field, dialect: Dialect) -> Option<String> {
    let name = field.oneof.as_ref().filter(|_| dialect == Dialect::Go)?;
    let (first, rest) = name.split_at_checked(1)?;
    Some(first.to_uppercase() + rest)
}

fn take_block<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (block, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(block)
}

fn write_number(field: &Field, number: u64, dialect: Dialect, json: &mut Vec<u8>) -> Option<()> {
    let signed = number.cast_signed();
    let written = match &field.kind {
        Kind::Bool => write!(json, "{}", number != 0),
        Kind::Int32 => write!(json, "{signed}"),
        Kind::Int64 | Kind::Enum(_) if dialect == Dialect::Go => write!(json, "{signed}"),
        Kind::Uint64 if dialect == Dialect::Go => write!(json, "{number}"),
        Kind::Int64 => write!(json, "\"{signed}\""),
        Kind::Uint32 => write!(json, "{number}"),
        Kind::Uint64 => write!(json, "\"{number}\""),
        Kind::Enum(values) => match values.iter().find(|(known, _)| i64::from(*known) == signed) {
            Some((_, name)) => write!(json, "\"{name}\""),
            None => write!(json, "{signed}"),
        },
        _ => return None,
    };
    written.ok()
}

fn write_block(
    field: &Field,
    mut block: &[u8],
    dialect: Dialect,
    json: &mut Vec<u8>,
) -> Option<()> {
    match &field.kind {
        Kind::Text if dialect == Dialect::Go => {
            json.extend_from_slice(go_text(std::str::from_utf8(block).ok()?).as_bytes());
            Some(())
        }
        Kind::Text => serde_json::to_writer(json, std::str::from_utf8(block).ok()?).ok(),
        Kind::Bytes => write!(json, "\"{}\"", Base64Display::new(block, &STANDARD)).ok(),
        Kind::Message(place) => write(Shape::at(*place), block, dialect, json),
        // Numbers of a list come packed.
        _ if field.is_list => {
            write_number(field, decode_varint(&mut block).ok()?, dialect, json)?;
            while !block.is_empty() {
                json.push(b',');
                write_number(field, decode_varint(&mut block).ok()?, dialect, json)?;
            }
            Some(())
        }
        _ => None,
    }
}

/// A text as Go's JSON has it: safe to stand inside HTML.
pub(super) fn go_text(text: &str) -> String {
    let plain = serde_json::Value::from(text).to_string();
    let is_special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    if !plain.contains(is_special) {
        return plain;
    }
    let mut safe = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        if is_special(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}
