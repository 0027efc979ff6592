//! What each request needs its author to be allowed to do.
//!
//! | Needed | Requests |
//! |---|---|
//! | READ of the range | ranges, compares, previous values |
//! | WRITE of the keys | puts, deletes; puts with a lease: all keys of that lease |
//! | WRITE of all its keys | the end of a lease |
//! | to be root | changes of users and roles |
//!
//! Both branches of a transaction are judged, whichever will be taken, and all that is nested.

use bytes::Bytes;
use quorate_proto::etcdserverpb::request_op::Request;
use quorate_proto::etcdserverpb::{
    DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use super::book::{Book, Use};
use super::{Identity, is_change};
use crate::error::Refusal;
use crate::ids::LeaseId;

/// The keys that hang on a lease; empty if there is no such lease.
pub(crate) trait LeaseKeys {
    /// Visits them in order until a visit fails.
    fn check_each(
        &self,
        lease: LeaseId,
        check: &mut dyn FnMut(&Bytes) -> Result<(), Refusal>,
    ) -> Result<(), Refusal>;
}

/// One author before one book.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) book: &'a Book,
    pub(crate) who: &'a Identity,
    pub(crate) leases: &'a dyn LeaseKeys,
}

/// Whether a range may be read from a view with that book.
pub fn check_range(book: &Book, who: &Identity, request: &RangeRequest) -> Result<(), Refusal> {
    book.check_keys(who, (&request.key, &request.range_end), Use::Read)?;
    book.check_moment(who)
}

/// Whether the keys of a watch may be read. An empty key stands for the first one.
pub fn check_watch(
    book: &Book,
    who: &Identity,
    (key, range_end): (&Bytes, &Bytes),
) -> Result<(), Refusal> {
    let first = Bytes::from_static(&[0]);
    let key = if key.is_empty() { &first } else { key };
    book.check_keys(who, (key, range_end), Use::Read)
}

/// What a watch that may not be is told, in etcd's words.
pub(crate) fn watch_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UserEmpty => {
            "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
        }
        Refusal::AuthOldRevision => {
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
        }
        Refusal::InvalidAuthToken => {
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        }
        _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    }
}

/// Whether a transaction that only reads may read from a view with that book.
pub fn check_read_txn(book: &Book, who: &Identity, txn: &TxnRequest) -> Result<(), Refusal> {
    struct Unused;
    impl LeaseKeys for Unused {
        fn check_each(
            &self,
            _: LeaseId,
            _: &mut dyn FnMut(&Bytes) -> Result<(), Refusal>,
        ) -> Result<(), Refusal> {
            Ok(())
        }
    }
    Gate { book, who, leases: &Unused }.check_txn(txn)?;
    book.check_moment(who)
}

impl Gate<'_> {
    /// Judges an entry by the identity in its header.
    pub(crate) fn check(&self, request: &InternalRaftRequest) -> Result<(), Refusal> {
        if is_change(request) {
            return self.book.check_root(self.who);
        }
        if let Some(put) = &request.put {
            self.check_put(put)
        } else if let Some(delete) = &request.delete_range {
            self.check_delete(delete)
        } else if let Some(txn) = &request.txn {
            self.check_txn(txn)
        } else if let Some(revoke) = &request.lease_revoke {
            self.check_lease(LeaseId(revoke.id), Use::Write)
        } else {
            Ok(())
        }
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), Refusal> {
        self.check_key(&put.key, Use::Write)?;
        if !crate::planted!("lease-of-others") {
            self.check_lease(LeaseId(put.lease), Use::Write)?;
        }
        if put.prev_kv && !crate::planted!("previous-value-unjudged") {
            self.check_key(&put.key, Use::Read)
        } else {
            Ok(())
        }
    }

    fn check_delete(&self, delete: &DeleteRangeRequest) -> Result<(), Refusal> {
        let range = (&delete.key, &delete.range_end);
        self.book.check_keys(self.who, range, Use::Write)?;
        if delete.prev_kv { self.book.check_keys(self.who, range, Use::Read) } else { Ok(()) }
    }

    fn check_txn(&self, txn: &TxnRequest) -> Result<(), Refusal> {
        for compare in &txn.compare {
            let range = (&compare.key, &compare.range_end);
            self.book.check_keys(self.who, range, Use::Read)?;
        }
        let failure = match crate::planted!("else-branch-unjudged") {
            true => &[],
            false => &txn.failure[..],
        };
        txn.success.iter().chain(failure).try_for_each(|op| self.check_op(op))
    }

    fn check_op(&self, op: &RequestOp) -> Result<(), Refusal> {
        match &op.request {
            Some(Request::RequestRange(range)) => {
                let range = (&range.key, &range.range_end);
                self.book.check_keys(self.who, range, Use::Read)
            }
            Some(Request::RequestPut(put)) => self.check_put(put),
            Some(Request::RequestDeleteRange(delete)) => self.check_delete(delete),
            Some(Request::RequestTxn(txn)) => self.check_txn(txn),
            None => Ok(()),
        }
    }

    /// Whether a lease may be kept alive: as it may be ended.
    pub(crate) fn check_lease_renewal(&self, lease: LeaseId) -> Result<(), Refusal> {
        self.check_lease(lease, Use::Write)
    }

    /// Whether a lease's keys may be told.
    pub(crate) fn check_lease_keys(&self, lease: LeaseId) -> Result<(), Refusal> {
        self.check_lease(lease, Use::Read)
    }

    /// Whether all keys of a lease may be used like that. Root may, even with an old token.
    fn check_lease(&self, lease: LeaseId, way: Use) -> Result<(), Refusal> {
        if lease == LeaseId(0) || self.book.check_root(self.who).is_ok() {
            return Ok(());
        }
        self.leases.check_each(lease, &mut |key| self.check_key(key, way))
    }

    fn check_key(&self, key: &Bytes, way: Use) -> Result<(), Refusal> {
        self.book.check_keys(self.who, (key, &Bytes::new()), way)
    }
}
