//! How a stub that knows its messages only by their descriptors turns them into bytes and back.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The codec of a call that gives such messages; what it takes says by itself what it is.
pub(super) struct ByDescriptor(pub(super) MessageDescriptor);

/// Encodes any message.
pub(super) struct ToBytes;

/// Decodes messages of one kind.
pub(super) struct FromBytes(MessageDescriptor);

impl Codec for ByDescriptor {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = ToBytes;
    type Decoder = FromBytes;

    fn encoder(&mut self) -> ToBytes {
        ToBytes
    }

    fn decoder(&mut self) -> FromBytes {
        FromBytes(self.0.clone())
    }
}

impl Encoder for ToBytes {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode_raw(bytes);
        Ok(())
    }
}

impl Decoder for FromBytes {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
