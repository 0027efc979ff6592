//! Keys of a namespace: what clients call `a` is called `PREFIXa` by the members.
//!
//! ```text
//!   Range [a, b)   -->  [PREFIXa, PREFIXb)      [a, all the rest)  -->  [PREFIXa, end of PREFIX)
//!   kv PREFIXa     <--  kv a
//! ```
//!
//! Keys, ranges and watches are renamed, and the keys that a lease holds; locks and elections are
//! not, as with etcd: their names are the whole cluster's.
//!
//! Answers to: etcd v3.7.1 `client/v3/namespace/`

use bytes::Bytes;
use prost::Message;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseTimeToLiveResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RangeStreamResponse, RequestOp, ResponseOp, TxnRequest,
    TxnResponse, WatchRequest, WatchResponse,
};
use quorate_proto::mvccpb::KeyValue;
use tonic::Status;

/// The beginning of all keys of a namespace.
#[derive(Clone, Debug)]
pub(super) struct Namespace(Bytes);

/// What becomes of a message.
pub(super) type Rename = fn(&Namespace, Bytes) -> Result<Bytes, Status>;

/// What becomes of a call's messages, to the members and from them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renames {
    pub(super) request: Rename,
    pub(super) response: Rename,
}

impl Namespace {
    /// The one of that name; none if it is empty.
    pub(super) fn new(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self(Bytes::copy_from_slice(name.as_bytes())))
    }

    /// What becomes of the messages of a call; nothing if it has no keys.
    pub(super) fn renames(path: &str) -> Option<Renames> {
        let (request, response): (Rename, Rename) = match path {
            "/etcdserverpb.KV/Range" => (
                |it, bytes| edit::<RangeRequest>(bytes, |message| it.name_range(message)),
                |it, bytes| edit::<RangeResponse>(bytes, |message| it.strip_range(message)),
            ),
            "/etcdserverpb.KV/RangeStream" => (
                |it, bytes| edit::<RangeRequest>(bytes, |message| it.name_range(message)),
                |it, bytes| {
                    edit::<RangeStreamResponse>(bytes, |message| {
                        message
                            .range_response
                            .iter_mut()
                            .try_for_each(|found| it.strip_range(found))
                    })
                },
            ),
            "/etcdserverpb.KV/Put" => (
                |it, bytes| edit::<PutRequest>(bytes, |message| it.name_key(&mut message.key)),
                |it, bytes| edit::<PutResponse>(bytes, |message| it.strip(&mut message.prev_kv)),
            ),
            "/etcdserverpb.KV/DeleteRange" => (
                |it, bytes| edit::<DeleteRangeRequest>(bytes, |message| it.name_delete(message)),
                |it, bytes| {
                    edit::<DeleteRangeResponse>(bytes, |message| it.strip(&mut message.prev_kvs))
                },
            ),
            "/etcdserverpb.KV/Txn" => (
                |it, bytes| edit::<TxnRequest>(bytes, |message| it.name_txn(message)),
                |it, bytes| edit::<TxnResponse>(bytes, |message| it.strip_txn(message)),
            ),
            "/etcdserverpb.Watch/Watch" => (
                |it, bytes| edit::<WatchRequest>(bytes, |message| it.name_watch(message)),
                |it, bytes| edit::<WatchResponse>(bytes, |message| it.strip_watch(message)),
            ),
            "/etcdserverpb.Lease/LeaseTimeToLive" => (
                |_, bytes| Ok(bytes),
                |it, bytes| edit::<LeaseTimeToLiveResponse>(bytes, |found| it.strip_lease(found)),
            ),
            _ => return None,
        };
        Some(Renames { request, response })
    }

    fn name_key(&self, key: &mut Bytes) -> Result<(), Status> {
        if key.is_empty() {
            // With its prefix it would be a key.
            return Err(Status::invalid_argument("etcdserver: key is not provided"));
        }
        *key = [&self.0[..], key].concat().into();
        Ok(())
    }

    fn name_interval(&self, key: &mut Bytes, end: &mut Bytes) -> Result<(), Status> {
        *end = match &end[..] {
            b"" => Bytes::new(),
            b"\0" => self.end(),
            end => [&self.0[..], end].concat().into(),
        };
        self.name_key(key)
    }

    /// The first key behind the namespace; all of them if there is none.
    fn end(&self) -> Bytes {
        let mut end = self.0.to_vec();
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                return end.into();
            }
        }
        Bytes::from_static(b"\0")
    }

    fn name_range(&self, message: &mut RangeRequest) -> Result<(), Status> {
        self.name_interval(&mut message.key, &mut message.range_end)
    }

    fn name_delete(&self, message: &mut DeleteRangeRequest) -> Result<(), Status> {
        self.name_interval(&mut message.key, &mut message.range_end)
    }

    fn name_txn(&self, message: &mut TxnRequest) -> Result<(), Status> {
        for compare in &mut message.compare {
            self.name_interval(&mut compare.key, &mut compare.range_end)?;
        }
        let TxnRequest { success, failure, .. } = message;
        success.iter_mut().chain(failure).try_for_each(|one| self.name_op(one))
    }

    fn name_op(&self, op: &mut RequestOp) -> Result<(), Status> {
        match &mut op.request {
            Some(Request::RequestRange(message)) => self.name_range(message),
            Some(Request::RequestPut(message)) => self.name_key(&mut message.key),
            Some(Request::RequestDeleteRange(message)) => self.name_delete(message),
            Some(Request::RequestTxn(message)) => self.name_txn(message),
            None => Ok(()),
        }
    }

    fn name_watch(&self, message: &mut WatchRequest) -> Result<(), Status> {
        let Some(RequestUnion::CreateRequest(create)) = &mut message.request_union else {
            return Ok(());
        };
        if create.key.is_empty() {
            // The least there is, as members take it.
            create.key = Bytes::from_static(b"\0");
        }
        self.name_interval(&mut create.key, &mut create.range_end)
    }

    /// Without the prefix, which all have that members send.
    fn strip<'a>(&self, kvs: impl IntoIterator<Item = &'a mut KeyValue>) -> Result<(), Status> {
        for kv in kvs {
            if kv.key.starts_with(&self.0) {
                kv.key = kv.key.slice(self.0.len()..);
            }
        }
        Ok(())
    }

    fn strip_range(&self, message: &mut RangeResponse) -> Result<(), Status> {
        self.strip(&mut message.kvs)
    }

    fn strip_txn(&self, message: &mut TxnResponse) -> Result<(), Status> {
        message.responses.iter_mut().try_for_each(|one| self.strip_op(one))
    }

    fn strip_op(&self, op: &mut ResponseOp) -> Result<(), Status> {
        match &mut op.response {
            Some(Response::ResponseRange(message)) => self.strip_range(message),
            Some(Response::ResponsePut(message)) => self.strip(&mut message.prev_kv),
            Some(Response::ResponseDeleteRange(message)) => self.strip(&mut message.prev_kvs),
            Some(Response::ResponseTxn(message)) => self.strip_txn(message),
            None => Ok(()),
        }
    }

    fn strip_watch(&self, message: &mut WatchResponse) -> Result<(), Status> {
        self.strip(message.events.iter_mut().flat_map(|event| &mut event.kv))?;
        self.strip(message.events.iter_mut().flat_map(|event| &mut event.prev_kv))
    }

    /// Keys of other namespaces are nobody's business here.
    fn strip_lease(&self, message: &mut LeaseTimeToLiveResponse) -> Result<(), Status> {
        message.keys.retain(|key| key.starts_with(&self.0));
        for key in &mut message.keys {
            *key = key.slice(self.0.len()..);
        }
        Ok(())
    }
}

/// A message, changed.
fn edit<M: Message + Default>(
    bytes: Bytes,
    change: impl FnOnce(&mut M) -> Result<(), Status>,
) -> Result<Bytes, Status> {
    let decoded = M::decode(bytes);
    let mut message = decoded.map_err(|error| Status::internal(error.to_string()))?;
    change(&mut message)?;
    Ok(message.encode_to_vec().into())
}

#[cfg(test)]
mod tests;
