//! One canonical byte form of everything that enters and leaves a machine.
//!
//! A simulator hashes these bytes: two runs are the same run if and only if they are equal. The
//! form is little-endian, each variant begins with its own number, and each list with its length,
//! so that no two different values share a form.
//!
//! Invariants:
//! - the bytes depend on values only, never on addresses, capacities or hash order;
//! - images and views stand for themselves by the index they were taken at: their content is
//!   covered by the digests of [`StateOutput::Applied`](crate::StateOutput::Applied).
//!
//! Deliberately absent: decoding. Nobody stores this form.

mod parts;
mod replica;
mod state;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

/// Has a canonical byte form.
pub trait Canonical {
    /// Appends the form to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}
