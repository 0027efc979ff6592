//! Bodies no client library sends: unknown fields, torn messages, wrong types, groups.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_proto::etcdserverpb as pb;

use super::super::call::{Call, Method};
use super::{Known, Script, Step};

const WATCH: &str = "/etcdserverpb.Watch/Watch";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

impl Script {
    pub(super) fn hostile_call(&mut self, known: &Known) -> Call {
        let call = match self.luck.below(8) {
            0 | 1 => self.range_call(known),
            2 | 3 => self.put_call(),
            4 => Call::new(Method::Delete, &self.delete()),
            5 => self.hash_call(known),
            6 => {
                let request = pb::LeaseTimeToLiveRequest { id: self.lease_id(), keys: true };
                Call::new(Method::TimeToLive, &request)
            }
            _ => Call::new(Method::Txn, &self.any_txn(known)),
        };
        Call { body: self.deform(&call.body, call.is_read()), ..call }
    }

    /// A call of what does not exist, or a stream of bytes that are no messages.
    pub(super) fn stray_step(&mut self) -> Step {
        const PATHS: [&str; 6] = [
            WATCH,
            KEEP_ALIVE,
            "/etcdserverpb.KV/Nothing",
            "/nobody.Nothing/Nothing",
            "/etcdserverpb.KV",
            "/",
        ];
        const TORN: [&[u8]; 3] = [&[0x0a], &[0x0a, 0x05, 0x01], &[0x0b, 0x01]];
        let path = PATHS[self.luck.below(PATHS.len())];
        let last = if self.luck.one_in(4) {
            Bytes::from(vec![0; self.world.request_bytes_max + (1 << 20)])
        } else {
            Bytes::from_static(TORN[self.luck.below(TORN.len())])
        };
        // A renewal that is one is answered before the stream ends; a watch need not be.
        let renewal = Bytes::from_static(&[0x08, 0x05]);
        let bodies = if path == KEEP_ALIVE { vec![renewal, last] } else { vec![last] };
        Step::Stray(path, bodies)
    }

    /// What only one of the two may take for a message is not done to requests that write.
    fn deform(&mut self, body: &Bytes, is_read: bool) -> Bytes {
        let mut deformed = BytesMut::from(body.as_ref());
        match self.luck.below(if is_read { 12 } else { 9 }) {
            0..=2 => self.append_unknown(&mut deformed),
            3 => deformed.truncate(self.luck.below(body.len() + 1)),
            4 => self.append_group(&mut deformed),
            5 => deformed.put_slice(body),
            // Field number 0; a number without an end; types that are none; an end of no group.
            6 => deformed.put_slice(&[0x00, 0x01]),
            7 => deformed.put_slice(&[0xf8, 0x07, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            8 => deformed.put_u8(*self.luck.pick(&[0x0e, 0x0f, 0x0c])),
            // The first field, which all of these have as bytes or a number, as 8 bytes.
            9 => deformed.put_slice(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8]),
            // As a number.
            10 => deformed.put_slice(&[0x08, 0x61]),
            _ => self.flip(&mut deformed),
        }
        deformed.freeze()
    }

    /// Field 127, of every type there is.
    fn append_unknown(&mut self, body: &mut BytesMut) {
        match self.luck.below(4) {
            0 => body.put_slice(&[0xf8, 0x07, 0x96, 0x01]),
            1 => body.put_slice(&[0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8]),
            2 => body.put_slice(&[0xfa, 0x07, 3, b'a', b'b', b'c']),
            _ => body.put_slice(&[0xfd, 0x07, 1, 2, 3, 4]),
        }
    }

    /// An unknown field that is a group: whole, nested, or without an end.
    fn append_group(&mut self, body: &mut BytesMut) {
        match self.luck.below(3) {
            0 => body.put_slice(&[0xfb, 0x07, 0x08, 0x01, 0xfc, 0x07]),
            1 => body.put_slice(&[0xfb, 0x07, 0xfb, 0x07, 0xfc, 0x07, 0xfc, 0x07]),
            _ => body.put_slice(&[0xfb, 0x07, 0x08, 0x01]),
        }
    }

    fn flip(&mut self, body: &mut BytesMut) {
        if !body.is_empty() {
            let place = self.luck.below(body.len());
            body[place] ^= 1 << self.luck.below(8);
        }
    }
}
