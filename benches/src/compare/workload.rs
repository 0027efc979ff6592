//! What a client asks, over and over.

use bytes::Bytes;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::response_op::Response as Answer;
use quorate_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use tonic::Status;

use crate::dial::Connection;

/// Bytes of every value.
pub(crate) const VALUE_BYTES: usize = 256;
/// Keys in one answer of [`Kind::Range`].
pub(crate) const RANGE_KEYS: u64 = 100;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Get,
    SerializableGet,
    Range,
    Txn,
    Watch,
}

/// What is asked, by how many at a time. For [`Kind::Watch`] the clients are the watchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
}

const fn of(kind: Kind, clients: usize) -> Workload {
    Workload { kind, clients }
}

/// Every workload, in the order in which it runs: reads first, so that they see the preload alone.
pub(crate) const ALL: [Workload; 12] = [
    of(Kind::Get, 1),
    of(Kind::Get, 64),
    of(Kind::Get, 512),
    of(Kind::SerializableGet, 1),
    of(Kind::SerializableGet, 64),
    of(Kind::SerializableGet, 512),
    of(Kind::Range, 64),
    of(Kind::Put, 1),
    of(Kind::Put, 64),
    of(Kind::Put, 512),
    of(Kind::Txn, 64),
    of(Kind::Watch, 100),
];

impl Workload {
    pub(crate) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::SerializableGet => "serializable",
            Kind::Range => "range100",
            Kind::Txn => "txn",
            Kind::Watch => "watch",
        };
        format!("{kind}/{}", self.clients)
    }

    /// Whether a server that stores nothing can answer it.
    pub(crate) fn has_floor(&self) -> bool {
        self.kind != Kind::Watch
    }
}

/// The key with this number; keys sort as their numbers do.
pub(crate) fn key(number: u64) -> Bytes {
    Bytes::from(format!("key/{number:010}"))
}

/// Numbers without a pattern the server could profit from; the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

/// One client in its closed loop.
pub(crate) struct Client {
    kv: KvClient<Connection>,
    kind: Kind,
    dice: Dice,
    keys: u64,
    value: Bytes,
    own_key: Bytes,
    own_mod_revision: i64,
}

impl Client {
    pub(crate) fn new(connection: Connection, kind: Kind, number: u64, keys: u64) -> Self {
        let origin = connection.origin.clone();
        Self {
            kv: KvClient::with_origin(connection, origin).max_decoding_message_size(64 << 20),
            kind,
            dice: Dice::new(number + 1),
            keys,
            value: Bytes::from(vec![b'v'; VALUE_BYTES]),
            own_key: Bytes::from(format!("own/{number:06}")),
            own_mod_revision: 0,
        }
    }

    /// One call and its answer.
    pub(crate) async fn step(&mut self) -> Result<(), Status> {
        match self.kind {
            Kind::Put | Kind::Watch => self.put().await,
            Kind::Get => self.get(false).await,
            Kind::SerializableGet => self.get(true).await,
            Kind::Range => self.range().await,
            Kind::Txn => self.update().await,
        }
    }

    async fn put(&mut self) -> Result<(), Status> {
        let key = key(self.dice.below(self.keys));
        let request = PutRequest { key, value: self.value.clone(), ..PutRequest::default() };
        self.kv.put(request).await.map(|_| ())
    }

    async fn get(&mut self, serializable: bool) -> Result<(), Status> {
        let key = key(self.dice.below(self.keys));
        let answer =
            self.kv.range(RangeRequest { key, serializable, ..Default::default() }).await?;
        check_count(answer.get_ref().kvs.len(), 1)
    }

    async fn range(&mut self) -> Result<(), Status> {
        let first = self.dice.below(self.keys - RANGE_KEYS);
        let request = RangeRequest {
            key: key(first),
            range_end: key(first + RANGE_KEYS),
            ..RangeRequest::default()
        };
        let answer = self.kv.range(request).await?;
        check_count(answer.get_ref().kvs.len(), RANGE_KEYS as usize)
    }

    /// As Kubernetes updates an object: write if nobody else did, else read.
    async fn update(&mut self) -> Result<(), Status> {
        let key = self.own_key.clone();
        let put = PutRequest { key: key.clone(), value: self.value.clone(), ..Default::default() };
        let request = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                key: key.clone(),
                target_union: Some(TargetUnion::ModRevision(self.own_mod_revision)),
                ..Compare::default()
            }],
            success: vec![RequestOp { request: Some(Op::RequestPut(put)) }],
            failure: vec![RequestOp {
                request: Some(Op::RequestRange(RangeRequest { key, ..Default::default() })),
            }],
        };
        let answer = self.kv.txn(request).await?.into_inner();
        self.own_mod_revision = mod_revision_after(&answer);
        Ok(())
    }
}

fn mod_revision_after(answer: &TxnResponse) -> i64 {
    if answer.succeeded {
        return answer.header.as_ref().map_or(0, |header| header.revision);
    }
    match answer.responses.first().and_then(|one| one.response.as_ref()) {
        Some(Answer::ResponseRange(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
        _ => 0,
    }
}

/// A server that answers quickly with too little must not win.
fn check_count(found: usize, expected: usize) -> Result<(), Status> {
    if found == expected {
        return Ok(());
    }
    Err(Status::data_loss(format!("{found} keys in an answer that should have {expected}")))
}

#[cfg(test)]
mod tests {
    use quorate_proto::etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp};
    use quorate_proto::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn keys_sort_as_their_numbers() {
        assert_eq!(key(7), "key/0000000007");
        assert!(key(99) < key(100));
    }

    #[test]
    fn an_update_learns_the_revision_from_either_branch() {
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let mut answer = TxnResponse { header, succeeded: true, responses: Vec::new() };
        assert_eq!(mod_revision_after(&answer), 9);
        let kvs = vec![KeyValue { mod_revision: 5, ..KeyValue::default() }];
        let range = RangeResponse { kvs, ..RangeResponse::default() };
        answer.succeeded = false;
        answer.responses = vec![ResponseOp { response: Some(Answer::ResponseRange(range)) }];
        assert_eq!(mod_revision_after(&answer), 5);
    }

    #[test]
    fn short_answers_are_errors() {
        assert!(check_count(1, 1).is_ok());
        assert!(check_count(0, 1).is_err());
    }
}
