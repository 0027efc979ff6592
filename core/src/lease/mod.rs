//! Leases: who holds which keys for how long.
//!
//! ```text
//!   every member, at apply              the primary (the leader) only
//!   ------------------------            ----------------------------------------------
//!   grant 7, TTL 10                     deadline = now + 10 s
//!   attach "a", "b"                     renew 7: deadline = now + 10 s
//!                                       10 s pass: expired() says [7], once
//!                                         -> a LeaseRevoke entry is proposed
//!   revoke 7 -> keys ["a", "b"]         applied: forgotten
//!                                       not applied in time: expired() says [7] again
//! ```
//!
//! The book has two halves. What it *holds* (leases, their TTLs, their keys, remaining TTLs as
//! checkpointed) changes only by applied entries and is equal on all members. Its *duty*
//! (deadlines, revokes in flight, checkpoints to come) exists from [`Book::promote`] to
//! [`Book::demote`]. A book without duty has no clock: it can neither renew nor expire.
//!
//! A new primary gives every lease its whole TTL, or what a checkpoint says remains of it, and an
//! extension on top: whoever renewed with the old primary has time to find the new one. Where more
//! than [`EXPIRIES_PER_SECOND_MAX`] deadlines would fall into one second, the later ones are put
//! off. Expired leases are handed out at most every 500 ms, at most
//! [`REVOKES_PER_PASS_MAX`](crate::limits::REVOKES_PER_PASS_MAX) at a time, and never more than
//! that many are in flight: a hundred thousand leases that end together become a steady trickle,
//! and if revokes are slow to be applied the trickle slows with them. Nothing polls: when no lease
//! can expire there is no timeout.
//!
//! A renewal is exact even across a change of leaders: if the lease has a checkpoint, or one may
//! be on its way, it must be cleared by an applied entry before the renewal is acknowledged.
//!
//! Invariants
//! - A lease is never reported expired before its deadline, nor by a book without duty.
//! - An expired lease is reported again until its revoke is applied, however often that fails; it
//!   can not be renewed any more.
//! - A key has at most one lease, and is in exactly that lease's set.
//! - Keys of a lease come out sorted: all members delete them in the same order.
//!
//! Deliberately absent: deleting keys (whoever applies the revoke does), choosing ids, waiting
//! (a renewal that must wait says what for), forwarding to the primary.
//!
//! Answers to: etcd v3.7.1 `server/lease/lessor.go`, `server/lease/lease_queue.go`

mod book;
mod checkpoint;
mod expiry;

pub use book::{Book, Grant, Holding, Revocation, TimeToLive};
pub use expiry::{EXPIRIES_PER_SECOND_MAX, Renewal};
