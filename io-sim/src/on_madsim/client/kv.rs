//! Keys and transactions.

use quorate_core::Request;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::{request_op, response_op};

use super::words::{KeyValue, Span, answer, prefix_end, spans};
use super::{Answer, Ask, CallId, Client, Operation, Outcome, Result, unexpected, unpack};

pub use pb::compare::CompareResult as CompareOp;
pub use pb::range_request::{SortOrder, SortTarget};

/// How to put.
#[derive(Clone, Debug, Default)]
pub struct PutOptions(pb::PutRequest);

impl PutOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key ends with this lease.
    #[must_use]
    pub fn with_lease(mut self, lease: i64) -> Self {
        self.0.lease = lease;
        self
    }

    /// The answer shows what was there before.
    #[must_use]
    pub fn with_prev_key(mut self) -> Self {
        self.0.prev_kv = true;
        self
    }

    /// The value stays as it is.
    #[must_use]
    pub fn with_ignore_value(mut self) -> Self {
        self.0.ignore_value = true;
        self
    }

    /// The lease stays as it is.
    #[must_use]
    pub fn with_ignore_lease(mut self) -> Self {
        self.0.ignore_lease = true;
        self
    }
}

/// How to read.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    request: pb::RangeRequest,
    span: Span,
}
spans!(GetOptions);

impl GetOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many keys.
    #[must_use]
    pub fn with_limit(mut self, limit: i64) -> Self {
        self.request.limit = limit;
        self
    }

    /// As they were then.
    #[must_use]
    pub fn with_revision(mut self, revision: i64) -> Self {
        self.request.revision = revision;
        self
    }

    /// In that order.
    #[must_use]
    pub fn with_sort(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.request.sort_target = target.into();
        self.request.sort_order = order.into();
        self
    }

    /// By what the member knows, which may be old.
    #[must_use]
    pub fn with_serializable(mut self) -> Self {
        self.request.serializable = true;
        self
    }

    /// Without values.
    #[must_use]
    pub fn with_keys_only(mut self) -> Self {
        self.request.keys_only = true;
        self
    }

    /// Only how many.
    #[must_use]
    pub fn with_count_only(mut self) -> Self {
        self.request.count_only = true;
        self
    }

    fn resolve(self, key: Vec<u8>) -> pb::RangeRequest {
        let (key, end) = self.span.resolve(key);
        pb::RangeRequest { key: key.into(), range_end: end.into(), ..self.request }
    }
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    prev_kv: bool,
    span: Span,
}
spans!(DeleteOptions);

impl DeleteOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer shows what was there before.
    #[must_use]
    pub fn with_prev_key(mut self) -> Self {
        self.prev_kv = true;
        self
    }

    fn resolve(self, key: Vec<u8>) -> pb::DeleteRangeRequest {
        let (key, end) = self.span.resolve(key);
        pb::DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: self.prev_kv }
    }
}

/// How to compact.
#[derive(Clone, Debug, Default)]
pub struct CompactionOptions(pb::CompactionRequest);

impl CompactionOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answered when it is done.
    #[must_use]
    pub fn with_physical(mut self) -> Self {
        self.0.physical = true;
        self
    }
}

answer! {
    /// A put was made.
    PutResponse, PutResponse
}
answer! {
    /// Keys.
    GetResponse, RangeResponse
}
answer! {
    /// Keys were deleted.
    DeleteResponse, DeleteRangeResponse
}
answer! {
    /// A compaction was made.
    CompactionResponse, CompactionResponse
}
answer! {
    /// A transaction was made.
    TxnResponse, TxnResponse
}

impl PutResponse {
    /// What was there before, if that was asked for.
    #[must_use]
    pub fn prev_key(&self) -> Option<KeyValue> {
        self.0.prev_kv.clone().map(KeyValue)
    }
}

impl GetResponse {
    /// The keys.
    #[must_use]
    pub fn kvs(&self) -> Vec<KeyValue> {
        self.0.kvs.iter().cloned().map(KeyValue).collect()
    }

    /// Whether there are more than the limit.
    #[must_use]
    pub const fn more(&self) -> bool {
        self.0.more
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> i64 {
        self.0.count
    }
}

impl DeleteResponse {
    /// How many went.
    #[must_use]
    pub const fn deleted(&self) -> i64 {
        self.0.deleted
    }

    /// What was there before, if that was asked for.
    #[must_use]
    pub fn prev_kvs(&self) -> Vec<KeyValue> {
        self.0.prev_kvs.iter().cloned().map(KeyValue).collect()
    }
}

impl TxnResponse {
    /// Whether the conditions held.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.0.succeeded
    }

    /// What each operation of the branch that was taken answers.
    #[must_use]
    pub fn op_responses(&self) -> Vec<TxnOpResponse> {
        let all = self.0.responses.iter().filter_map(|it| it.response.clone());
        let wrapped = all.map(|response| match response {
            response_op::Response::ResponsePut(it) => TxnOpResponse::Put(PutResponse(it)),
            response_op::Response::ResponseRange(it) => TxnOpResponse::Get(GetResponse(it)),
            response_op::Response::ResponseDeleteRange(it) => {
                TxnOpResponse::Delete(DeleteResponse(it))
            }
            response_op::Response::ResponseTxn(it) => TxnOpResponse::Txn(TxnResponse(it)),
        });
        wrapped.collect()
    }
}

/// What an operation of a transaction answers.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnOpResponse {
    /// A put.
    Put(PutResponse),
    /// A read.
    Get(GetResponse),
    /// A deletion.
    Delete(DeleteResponse),
    /// A transaction within.
    Txn(TxnResponse),
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare(pb::Compare);

impl Compare {
    fn new(key: Vec<u8>, cmp: CompareOp, target: CompareTarget, union: TargetUnion) -> Self {
        Self(pb::Compare {
            key: key.into(),
            result: cmp.into(),
            target: target.into(),
            target_union: Some(union),
            ..pb::Compare::default()
        })
    }

    /// On how often the key was changed; 0 if it does not exist.
    pub fn version(key: impl Into<Vec<u8>>, cmp: CompareOp, version: i64) -> Self {
        Self::new(key.into(), cmp, CompareTarget::Version, TargetUnion::Version(version))
    }

    /// On when it was created; 0 if it does not exist.
    pub fn create_revision(key: impl Into<Vec<u8>>, cmp: CompareOp, revision: i64) -> Self {
        Self::new(key.into(), cmp, CompareTarget::Create, TargetUnion::CreateRevision(revision))
    }

    /// On when it was changed last.
    pub fn mod_revision(key: impl Into<Vec<u8>>, cmp: CompareOp, revision: i64) -> Self {
        Self::new(key.into(), cmp, CompareTarget::Mod, TargetUnion::ModRevision(revision))
    }

    /// On its value.
    pub fn value(key: impl Into<Vec<u8>>, cmp: CompareOp, value: impl Into<Vec<u8>>) -> Self {
        let union = TargetUnion::Value(value.into().into());
        Self::new(key.into(), cmp, CompareTarget::Value, union)
    }

    /// On its lease.
    pub fn lease(key: impl Into<Vec<u8>>, cmp: CompareOp, lease: i64) -> Self {
        Self::new(key.into(), cmp, CompareTarget::Lease, TargetUnion::Lease(lease))
    }

    /// On all keys up to this one.
    #[must_use]
    pub fn with_range(mut self, end: impl Into<Vec<u8>>) -> Self {
        self.0.range_end = end.into().into();
        self
    }

    /// On all keys that begin with the named one.
    #[must_use]
    pub fn with_prefix(mut self) -> Self {
        self.0.range_end = prefix_end(&self.0.key).into();
        self
    }
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnOp(pb::RequestOp);

impl TxnOp {
    fn new(request: request_op::Request) -> Self {
        Self(pb::RequestOp { request: Some(request) })
    }

    /// A put.
    pub fn put(
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        options: Option<PutOptions>,
    ) -> Self {
        let put = put(key.into(), value.into(), options);
        Self::new(request_op::Request::RequestPut(put))
    }

    /// A read.
    pub fn get(key: impl Into<Vec<u8>>, options: Option<GetOptions>) -> Self {
        let range = options.unwrap_or_default().resolve(key.into());
        Self::new(request_op::Request::RequestRange(range))
    }

    /// A deletion.
    pub fn delete(key: impl Into<Vec<u8>>, options: Option<DeleteOptions>) -> Self {
        let delete = options.unwrap_or_default().resolve(key.into());
        Self::new(request_op::Request::RequestDeleteRange(delete))
    }

    /// A transaction within.
    #[must_use]
    pub fn txn(txn: Txn) -> Self {
        Self::new(request_op::Request::RequestTxn(txn.0))
    }
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn(pb::TxnRequest);

impl Txn {
    /// One that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// If all of these hold,
    #[must_use]
    pub fn when(mut self, compares: impl Into<Vec<Compare>>) -> Self {
        self.0.compare = compares.into().into_iter().map(|compare| compare.0).collect();
        self
    }

    /// then these,
    #[must_use]
    pub fn and_then(mut self, operations: impl Into<Vec<TxnOp>>) -> Self {
        self.0.success = operations.into().into_iter().map(|op| op.0).collect();
        self
    }

    /// else these.
    #[must_use]
    pub fn or_else(mut self, operations: impl Into<Vec<TxnOp>>) -> Self {
        self.0.failure = operations.into().into_iter().map(|op| op.0).collect();
        self
    }
}

fn put(key: Vec<u8>, value: Vec<u8>, options: Option<PutOptions>) -> pb::PutRequest {
    let options = options.unwrap_or_default().0;
    pb::PutRequest { key: key.into(), value: value.into(), ..options }
}

impl Client {
    /// Puts a value.
    ///
    /// # Errors
    /// If it is refused, or nobody answers: see the module, here and in what follows.
    pub async fn put(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        options: Option<PutOptions>,
    ) -> Result<PutResponse> {
        let request = Request::Put(put(key.into(), value.into(), options));
        unpack!(self.request(request).await?, Put).map(PutResponse)
    }

    /// Reads keys.
    ///
    /// # Errors
    /// As `put`.
    pub async fn get(
        &mut self,
        key: impl Into<Vec<u8>>,
        options: Option<GetOptions>,
    ) -> Result<GetResponse> {
        let request = options.unwrap_or_default().resolve(key.into());
        let ask = || Ask::Call(CallId(0), Operation::Range(request.clone()));
        match self.ask(ask, true).await? {
            Answer::Outcome(Outcome::Range(response)) => Ok(GetResponse(response)),
            other => Err(unexpected(&other)),
        }
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// As `put`.
    pub async fn delete(
        &mut self,
        key: impl Into<Vec<u8>>,
        options: Option<DeleteOptions>,
    ) -> Result<DeleteResponse> {
        let request = Request::DeleteRange(options.unwrap_or_default().resolve(key.into()));
        unpack!(self.request(request).await?, DeleteRange).map(DeleteResponse)
    }

    /// Makes a transaction.
    ///
    /// # Errors
    /// As `put`.
    pub async fn txn(&mut self, txn: Txn) -> Result<TxnResponse> {
        unpack!(self.request(Request::Txn(txn.0)).await?, Txn).map(TxnResponse)
    }

    /// Forgets what was before a revision.
    ///
    /// # Errors
    /// As `put`.
    pub async fn compact(
        &mut self,
        revision: i64,
        options: Option<CompactionOptions>,
    ) -> Result<CompactionResponse> {
        let request = pb::CompactionRequest { revision, ..options.unwrap_or_default().0 };
        unpack!(self.request(Request::Compact(request)).await?, Compact).map(CompactionResponse)
    }
}
