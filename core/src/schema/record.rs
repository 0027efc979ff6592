//! Values of the table `key`.

use alloc::format;

use bytes::Bytes;
use prost::Message;
use quorate_proto::mvccpb::KeyValue;

use crate::error::StorageFault;

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
    const KEY: u8 = 1 << 3 | 2;
    let fault = || StorageFault::new("a record's key does not decode");
    let Some(mut rest) = record.strip_prefix(&[KEY]) else { return Ok(&[]) };
    let len = prost::decode_length_delimiter(&mut rest).map_err(|_| fault())?;
    rest.get(..len).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

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
