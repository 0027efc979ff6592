//! The three verbs every machine of the core answers to.

use crate::time::{Time, Wake};

/// A deterministic machine: the same inputs at the same times give the same outputs.
///
/// *Contract.* Feed any bounded number of inputs, then drain the outputs, then do the work they
/// ask for. Executing them in the order given is always correct: what may not happen before
/// something is durable has not been emitted yet. Different kinds may run in parallel; within a
/// kind the order is kept. Time never runs backwards; a machine treats an earlier `now` as the
/// latest it has seen.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it can want.
    type Output;

    /// Something arrived. Total: a bad request or a lying peer yields an output, never an error.
    fn handle(&mut self, now: Time, input: Self::Input);

    /// The instant named by [`poll_timeout`](Self::poll_timeout) has come. Calling it early is
    /// harmless.
    fn handle_timeout(&mut self, now: Time);

    /// Takes out the next thing to do.
    #[must_use]
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// The next instant the machine wants to be woken at, and the timer that wants it.
    #[must_use]
    fn poll_timeout(&self) -> Option<Wake>;
}
