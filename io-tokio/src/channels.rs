//! Every queue between threads and tasks: how much it holds, and what happens when it is full.
//!
//! | Queue | Bound | When full |
//! |---|---|---|
//! | clients -> state | [`CLIENT_INPUTS_MAX`] | refused: too many requests |
//! | peers -> replica | [`PEER_MESSAGES_MAX`] | dropped; raft sends again |
//! | peers -> state | [`PEER_QUESTIONS_MAX`] | dropped; the asker times out |
//! | I/O threads <-> state, in lots | as clients -> state; frames by the machine | as there |
//! | state -> a watch stream | [`STREAM_FRAMES_MAX`] | closed; the client resumes it |
//! | between the four loops | by the machines | never full |
//! | ranges for which there is no room | [`RANGES_WAITING_MAX`] | refused: too many requests |
//! | large answers -> clients | [`REPLY_BYTES_MAX`] | those that come wait |
//! | parts of messages from clients | [`ARRIVING_BYTES_MAX`] | the most silent is refused |
//! | keyboard and pipes -> a tool | [`TOOL_INPUTS_MAX`] | waits |
//!
//! The queues between the loops have no capacity of their own, so that no cycle of full queues can
//! stop the loops: sending never waits. What is in them is bounded by the machines: committed
//! entries on their way to `State` by `APPLY_BYTES_MAX`, proposals and barriers by
//! `PENDING_REQUESTS_MAX` and `PENDING_READS_MAX`, batches for the log by
//! `UNCOMMITTED_BYTES_MAX`, batches for the store by what was applied since `Stored`.
//! Each of these loops takes everything it finds in one turn.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls, reads and stream messages of clients the state's loop has not yet taken.
pub const CLIENT_INPUTS_MAX: usize = 65_536;
/// Raft messages the replica's loop has not yet taken.
pub const PEER_MESSAGES_MAX: usize = 4_096;
/// Questions and answers of other members the state's loop has not yet taken.
pub const PEER_QUESTIONS_MAX: usize = 8_192;
/// Frames a watch stream has not yet passed on. More than the machine's own limit for frames
/// with events: answers to create and cancel come on top.
pub const STREAM_FRAMES_MAX: usize = 1_024;
/// Frames passed on before the machine is told: well below its limit, so that it never waits for
/// what is already gone.
pub const STREAM_CREDIT_FRAMES: usize = 32;
/// The same in bytes.
pub const STREAM_CREDIT_BYTES: usize = quorate_core::limits::STREAM_BYTES_MAX / 4;
/// Ranges and transactions that wait until there is room for their answers.
pub const RANGES_WAITING_MAX: usize = 16_384;
/// Bytes of large answers that clients have not taken yet.
pub const REPLY_BYTES_MAX: usize = 256 << 20;
/// Bytes of messages of which clients have not sent all yet.
pub const ARRIVING_BYTES_MAX: usize = 256 << 20;
/// Keys, typed lines and requests of a watch that a tool has not yet taken or sent.
pub const TOOL_INPUTS_MAX: usize = 4;
/// Messages a loop takes in one turn.
pub const TURN_MESSAGES_MAX: usize = 1_024;

/// A share of a queue: a count of what is in it.
#[derive(Debug)]
pub(crate) struct Share {
    used: AtomicUsize,
    capacity: usize,
}

impl Share {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { used: AtomicUsize::new(0), capacity }
    }

    /// Takes a place; false if there is none.
    pub(crate) fn take(&self) -> bool {
        let is_free = self.used.fetch_add(1, Ordering::Relaxed) < self.capacity;
        if !is_free {
            self.give_back(1);
        }
        is_free
    }

    pub(crate) fn give_back(&self, places: usize) {
        if places > 0 {
            self.used.fetch_sub(places, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exactly_as_large_as_it_says() {
        let share = Share::new(2);
        assert_eq!([share.take(), share.take(), share.take()], [true, true, false]);
        share.give_back(1);
        assert_eq!([share.take(), share.take()], [true, false]);
    }
}
