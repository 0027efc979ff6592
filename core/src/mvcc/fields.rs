//! Keys as they are sent. A record is the encoding of what it tells, so that nothing is decoded,
//! nor encoded again; what a leaf's records come to is put together once, for as long as it is
//! remembered: neighbours lie all over the memory, and finding each takes longer than copying all.

use alloc::vec::Vec;

use bytes::Bytes;

use super::index::{Live, Named};
use super::view::KvView;
use crate::error::StorageFault;
use crate::limits::REMEMBERED_BYTES_MAX;

/// Field 2 of `RangeResponse`, with a length.
const KVS: u8 = 2 << 3 | 2;

/// Adds a field `kvs` of a `RangeResponse`.
pub(super) fn push(fields: &mut Vec<u8>, record: &[u8]) {
    fields.push(KVS);
    // A vector has room.
    let _ = prost::encode_length_delimiter(record.len(), fields);
    fields.extend_from_slice(record);
}

impl KvView {
    /// The fields of keys that have a name; nothing if they are many bytes.
    pub(super) fn fields(
        &self,
        live: &Live<'_>,
        named: &Named,
    ) -> Result<Option<Bytes>, StorageFault> {
        self.records.remembered(named, &mut || {
            let mut fields = Vec::new();
            for (_, version) in live.iter() {
                let record = self.record(&version)?;
                // If all were as large as this one, they would be that many.
                if fields.len().max(record.len() * named.keys) > REMEMBERED_BYTES_MAX {
                    return Ok(None);
                }
                push(&mut fields, &record);
            }
            Ok(Some(fields.into_boxed_slice().into()))
        })
    }
}
