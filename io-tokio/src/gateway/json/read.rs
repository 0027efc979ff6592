//! From JSON to a message's bytes, in one pass.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};

use crate::gateway::shapes::{Field, Kind, Shape};

const BASE64: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

/// Up to here every whole number is one that was written.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// An object, to be a message of that shape.
pub(super) struct Object<'a> {
    pub(super) shape: &'static Shape,
    pub(super) bytes: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut set: Vec<&Field> = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let Some(field) = self.shape.named(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if !map.next_value_seed(Value { field, bytes: self.bytes })? {
                continue;
            }
            let excludes = |other: &&Field| {
                other.number == field.number || field.oneof.is_some() && other.oneof == field.oneof
            };
            if set.iter().any(excludes) {
                return Err(A::Error::custom(format!("{name:?} is set already, or excluded")));
            }
            set.push(field);
        }
        Ok(())
    }
}

/// What stands behind a field's name; tells whether it sets the field.
struct Value<'a> {
    field: &'static Field,
    bytes: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.field.is_list { "a list" } else { "a value" })
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        match self.field.is_list {
            true => json.deserialize_seq(self),
            false => Item { field: self.field, bytes: self.bytes }.deserialize(json),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Self { field, bytes } = self;
        while list.next_element_seed(Item { field, bytes })?.is_some() {}
        Ok(true)
    }
}

/// One value of a field; tells whether it is one.
struct Item<'a> {
    field: &'static Field,
    bytes: &'a mut Vec<u8>,
}

impl Item<'_> {
    fn put_varint(self, number: u64) {
        encode_key(self.field.number, WireType::Varint, self.bytes);
        encode_varint(number, self.bytes);
    }

    fn put_bytes(self, bytes: &[u8]) {
        encode_key(self.field.number, WireType::LengthDelimited, self.bytes);
        encode_varint(bytes.len() as u64, self.bytes);
        self.bytes.extend_from_slice(bytes);
    }

    fn put_number<E: Error>(self, number: i128) -> Result<bool, E> {
        let extended = |number: i32| i64::from(number).cast_unsigned();
        let found = match &self.field.kind {
            Kind::Int32 | Kind::Enum(_) => i32::try_from(number).ok().map(extended),
            Kind::Int64 => i64::try_from(number).ok().map(i64::cast_unsigned),
            Kind::Uint32 => u32::try_from(number).ok().map(u64::from),
            Kind::Uint64 => u64::try_from(number).ok(),
            _ => None,
        };
        let found = found.ok_or_else(|| E::invalid_value(Unexpected::Other("a number"), &self))?;
        self.put_varint(found);
        Ok(true)
    }

    fn put_float<E: Error>(self, number: f64) -> Result<bool, E> {
        match exact(number) {
            Some(number) => self.put_number(number),
            None => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }
}

/// A number that is whole and was not rounded.
fn exact(number: f64) -> Option<i128> {
    // The cast is exact: that is what was asked.
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i128)
}

/// A number in quotes.
fn quoted(text: &str) -> Option<i128> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok().or_else(|| exact(text.parse().ok()?))
}

/// Bytes in either alphabet; breaks between lines are nothing.
fn unpacked(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let is_url_safe = text.contains(['-', '_']);
    let text = match text.contains(['\r', '\n']) {
        true => Cow::Owned(text.replace(['\r', '\n'], "")),
        false => Cow::Borrowed(text),
    };
    if is_url_safe { URL_SAFE.decode(&*text) } else { STANDARD.decode(&*text) }
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        let Kind::Message(place) = self.field.kind else { return json.deserialize_any(self) };
        let mut bytes = Vec::new();
        Object { shape: Shape::at(place), bytes: &mut bytes }.deserialize(json)?;
        self.put_bytes(&bytes);
        Ok(true)
    }
}

impl Visitor<'_> for Item<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for {}: ", self.field.name)?;
        f.write_str(match self.field.kind {
            Kind::Bool => "true or false",
            Kind::Int32 => "a 32-bit number",
            Kind::Int64 => "a 64-bit number",
            Kind::Uint32 => "a 32-bit number from 0",
            Kind::Uint64 => "a 64-bit number from 0",
            Kind::Text => "a text",
            Kind::Bytes => "base64",
            Kind::Enum(_) => "a name or a number",
            Kind::Message(_) | Kind::Other => "an object",
        })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        if self.field.kind != Kind::Bool {
            return Err(E::invalid_type(Unexpected::Bool(value), &self));
        }
        self.put_varint(value.into());
        Ok(true)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<bool, E> {
        self.put_number(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<bool, E> {
        self.put_number(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<bool, E> {
        self.put_float(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        let no_value = |item: &Self| E::invalid_value(Unexpected::Str(text), item);
        match &self.field.kind {
            Kind::Text => self.put_bytes(text.as_bytes()),
            Kind::Bytes => {
                let bytes = unpacked(text).map_err(|_| no_value(&self))?;
                self.put_bytes(&bytes);
            }
            Kind::Enum(values) => match values.iter().find(|(_, name)| name == text) {
                Some((number, _)) => return self.put_number((*number).into()),
                // A name of a later version.
                None => return Ok(false),
            },
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => match quoted(text) {
                Some(number) => return self.put_number(number),
                None => return Err(no_value(&self)),
            },
            Kind::Bool | Kind::Message(_) | Kind::Other => return Err(no_value(&self)),
        }
        Ok(true)
    }
}
