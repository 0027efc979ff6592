//! A Kubernetes update: write if nobody else did since, else read what is there.

use bytes::Bytes;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;

use crate::bench::Line;
use crate::bench::drive::{Step, Work};
use crate::client::{Direct, Stamp};

/// A client with one key, whose last revision it knows.
pub struct Update {
    kv: KvClient<InterceptedService<Direct, Stamp>>,
    key: Bytes,
    value: Bytes,
    mod_revision: i64,
}

impl Update {
    /// Of that key.
    pub fn new(line: &Line, key: Bytes, value: Bytes) -> Self {
        Self { kv: line.kv(), key, value, mod_revision: 0 }
    }

    fn request(&self) -> TxnRequest {
        let key = self.key.clone();
        let (value, read) =
            (self.value.clone(), RangeRequest { key: key.clone(), ..<_>::default() });
        let put = PutRequest { key: key.clone(), value, ..PutRequest::default() };
        let op = |request| vec![RequestOp { request: Some(request) }];
        TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                key,
                target_union: Some(TargetUnion::ModRevision(self.mod_revision)),
                ..Compare::default()
            }],
            success: op(Request::RequestPut(put)),
            failure: op(Request::RequestRange(read)),
        }
    }

    async fn update(&mut self) -> Result<(), Status> {
        let answer = self.kv.txn(self.request()).await?.into_inner();
        self.mod_revision = mod_revision_after(&answer);
        Ok(())
    }
}

impl Work for Update {
    async fn step(&mut self, _: u64) -> Step {
        (0, self.update().await)
    }
}

fn mod_revision_after(answer: &TxnResponse) -> i64 {
    if answer.succeeded {
        return answer.header.as_ref().map_or(0, |header| header.revision);
    }
    match answer.responses.first().and_then(|one| one.response.as_ref()) {
        Some(Response::ResponseRange(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp};
    use quorate_proto::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn an_update_learns_the_revision_from_either_branch() {
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let mut answer = TxnResponse { header, succeeded: true, responses: Vec::new() };
        assert_eq!(mod_revision_after(&answer), 9);
        let kvs = vec![KeyValue { mod_revision: 5, ..KeyValue::default() }];
        let range = RangeResponse { kvs, ..RangeResponse::default() };
        answer.succeeded = false;
        answer.responses = vec![ResponseOp { response: Some(Response::ResponseRange(range)) }];
        assert_eq!(mod_revision_after(&answer), 5);
    }
}
