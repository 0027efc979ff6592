//! Requests on keys: checked before they are proposed, carried out when they are applied.
//!
//! [`check_txn`] and its like judge a request by itself, without looking at the store: what they
//! refuse is refused at the door. [`apply_put`], [`apply_delete_range`] and [`apply_txn`] carry a
//! request out on one mutation of the store; [`read_range`] and [`read_txn`] answer from a view.
//!
//! A transaction, worked through on a store at revision 7 where `a` was last changed at 5:
//!
//! ```text
//! if   mod(a) = 5          all comparisons, nested ones on the way too, look at revision 7
//! then put b=1             checked before anything is written: lease, ignore_value, revisions
//!      get b               sees the put: b=1, header revision 8
//!      txn if mod(b) = 0   true: b did not exist at 7
//!          then put c=1    (8, 1)
//! else get a
//! ```
//!
//! Invariants
//! - All or nothing: a refused transaction leaves no trace.
//! - Same store, same request, same answer: nothing here depends on time, place or chance.
//! - Answers carry the revision in their header and nothing else of it; the rest is the door's.
//!
//! Deliberately absent: permissions and quotas (gates before this room), and leases beyond the
//! question whether one exists.
//!
//! Answers to: etcd v3.7.1 server/etcdserver/txn/, server/etcdserver/api/v3rpc/key.go

mod check;
mod compare;
mod execute;
mod overlap;

pub use check::{
    check_delete, check_put, check_range, check_range_stream, check_txn, is_read_only,
    is_serializable,
};
pub use execute::{Leases, apply_delete_range, apply_put, apply_txn, read_range, read_txn};
