//! Values of the table `key`.

use alloc::format;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use quorate_proto::mvccpb::KeyValue;

use super::RowKey;
use super::heads::Head;
use crate::error::StorageFault;

/// The field `key`.
const KEY: u32 = 1;

/// The record of a put, and `kv` again with its bytes in the record: whoever holds on to a key or
/// a value then holds on to that record, not to a request's whole buffer.
pub fn encode_put(kv: KeyValue) -> (Bytes, KeyValue) {
    let record = Bytes::from(kv.encode_to_vec());
    let kv = load(&record).unwrap_or(kv);
    (record, kv)
}

/// The record of a deletion: nothing but the key.
pub fn encode_tombstone(key: Bytes) -> Bytes {
    KeyValue { key, ..KeyValue::default() }.encode_to_vec().into()
}

/// Reads a record. Key and value share its bytes.
pub fn load(record: &Bytes) -> Result<KeyValue, StorageFault> {
    KeyValue::decode(record.clone()).map_err(undecodable)
}

/// That records are not what they should be.
pub(crate) fn undecodable(error: prost::DecodeError) -> StorageFault {
    StorageFault::new(format!("a record does not decode: {error}"))
}

/// Whose record it is; the rest is not read. Relies on records being canonical.
pub fn load_key(record: &[u8]) -> Result<&[u8], StorageFault> {
    match record.strip_prefix(&[(KEY << 3 | 2) as u8]) {
        Some(mut rest) => take_key(&mut rest),
        None => Ok(&[]),
    }
}

fn take_key<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], StorageFault> {
    let fault = || StorageFault::new("a record does not decode: its key is cut off");
    let len = prost::decode_length_delimiter(&mut *rest).map_err(|_| fault())?;
    let (key, others) = rest.split_at_checked(len).ok_or_else(fault)?;
    *rest = others;
    Ok(key)
}

/// What a record says but for its value, which is stepped over.
pub fn load_head(row: RowKey, record: &[u8]) -> Result<Head<'_>, StorageFault> {
    let mut head = Head { row, key: &[], create_revision: 0, version: 0, lease: 0 };
    let mut rest = record;
    while !rest.is_empty() {
        let (field, wire_type) = decode_key(&mut rest).map_err(undecodable)?;
        let number = match field {
            KEY if wire_type == WireType::LengthDelimited => {
                head.key = take_key(&mut rest)?;
                continue;
            }
            2 => &mut head.create_revision,
            4 => &mut head.version,
            6 => &mut head.lease,
            _ => {
                skip_field(wire_type, field, &mut rest, DecodeContext::default())
                    .map_err(undecodable)?;
                continue;
            }
        };
        *number = decode_varint(&mut rest).map_err(undecodable)?.cast_signed();
    }
    // A record that only lifts the revision is empty.
    head.version = head.version.max(0);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::RevisionKey;

    #[test]
    fn records_are_canonical_and_share_their_bytes() {
        let kv = KeyValue {
            key: Bytes::from_static(b"foo"),
            create_revision: 2,
            mod_revision: 3,
            version: 4,
            value: Bytes::from_static(b"bar"),
            lease: 0,
        };
        let (record, again) = encode_put(kv.clone());
        assert_eq!(record.as_ref(), b"\x0a\x03foo\x10\x02\x18\x03\x20\x04\x2a\x03bar");
        assert_eq!(load_key(&record), Ok(&b"foo"[..]));
        assert_eq!(load(&record), Ok(kv.clone()));
        assert_eq!(again, kv);
        assert_eq!(again.value.as_ptr(), record[13..].as_ptr());
    }

    #[test]
    fn a_head_is_all_but_the_value() {
        let row = RowKey { at: RevisionKey { main: 3, sub: 1 }, is_tombstone: false };
        let record = b"\x0a\x03foo\x10\x02\x18\x03\x20\x04\x2a\x03bar\x30\x07";
        let head = Head { row, key: b"foo", create_revision: 2, version: 4, lease: 7 };
        assert_eq!(load_head(row, record), Ok(head));
        let lift = Head { key: b"", create_revision: 0, version: 0, lease: 0, ..head };
        assert_eq!(load_head(row, b""), Ok(lift));
        // Only what ends with a field is another record.
        for (cut, is_whole) in
            (0..record.len()).map(|cut| (cut, [0, 5, 7, 9, 11, 16].contains(&cut)))
        {
            assert_eq!(load_head(row, &record[..cut]).is_ok(), is_whole, "{cut}");
        }
    }

    #[test]
    fn a_tombstone_holds_its_key_only() {
        let record = encode_tombstone(Bytes::from_static(b"foo"));
        assert_eq!(record.as_ref(), b"\x0a\x03foo");
    }

    #[test]
    fn damage_is_a_fault_and_an_empty_record_has_the_empty_key() {
        assert!(load(&Bytes::from_static(b"\x0a\x09foo")).is_err());
        assert!(load_key(b"\x0a\x09foo").is_err());
        assert!(load_key(b"\x0a\xff").is_err());
        assert_eq!(load_key(b""), Ok(&b""[..]));
    }
}
