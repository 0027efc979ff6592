//! A member's disk: what is written, what is safe, and how long it takes.
//!
//! ```text
//!   Persist --write--> pending records --fsync--> durable log     (log.rs)
//!   Store   --queue--> content, batches since the last sync       (store.rs)
//!                         `--sync--> durable content
//! ```
//!
//! Invariants:
//! - only a completed sync makes what was written before it safe;
//! - a crash keeps some prefix of the records that were not synced, and some prefix of the
//!   batches after the last sync: nothing else, nothing less than what was synced;
//! - an image that replaces the content does so as one step, before the log starts over.
//!
//! Deliberately absent: bytes and sectors. Damage to bytes at rest is the business of the log's
//! own format; here a record is whole or gone.

pub mod log;
pub mod store;

pub use log::Log;
pub use store::Store;

use super::luck::{Luck, Purpose};

const MICROSECOND: u64 = 1_000;

/// Microseconds of one fsync, before a disk's slowness: even odds for each row.
const FSYNC_US: [u64; 16] =
    [150, 160, 170, 180, 190, 200, 220, 250, 280, 320, 380, 450, 600, 900, 2_000, 9_000];

/// Which part of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// What the log is on.
    Log = 0,
    /// What the store is on.
    Store = 1,
}

/// How a disk fares.
pub struct Pace {
    luck: Luck,
    /// Everything takes this many hundredths.
    slow_percent: u64,
    /// Nothing completes before, by medium.
    stalled_until: [u64; 2],
    /// Nothing ever completes.
    hung: bool,
    /// The next sync of the log fails.
    failing: bool,
}

impl Pace {
    /// A healthy disk, that of member number `place`.
    pub fn new(seed: u64, place: u64) -> Self {
        Self {
            luck: Luck::new(seed, Purpose::Disk, place),
            slow_percent: 100,
            stalled_until: [0; 2],
            hung: false,
            failing: false,
        }
    }

    /// When a sync begun now is complete; never, on a hung disk.
    pub fn synced_at(&mut self, now: u64, medium: Medium) -> Option<u64> {
        let rest = *self.luck.pick(&FSYNC_US) * MICROSECOND;
        self.complete(now, rest, medium)
    }

    /// When a write begun now is complete.
    pub fn written_at(&mut self, now: u64, medium: Medium) -> Option<u64> {
        let rest = self.luck.between(10, 60) * MICROSECOND;
        self.complete(now, rest, medium)
    }

    /// Makes everything take `percent` / 100 as long as on a healthy disk.
    pub fn slow_down(&mut self, percent: u64) {
        self.slow_percent = percent;
    }

    /// Lets nothing on a medium complete before `until`.
    pub fn stall(&mut self, medium: Medium, until: u64) {
        let stalled_until = &mut self.stalled_until[medium as usize];
        *stalled_until = (*stalled_until).max(until);
    }

    /// Lets nothing begun from now on complete.
    pub fn hang(&mut self) {
        self.hung = true;
    }

    /// Lets the next sync of the log fail.
    pub fn fail_next_sync(&mut self) {
        self.failing = true;
    }

    /// Whether the sync that just ended failed.
    pub fn take_failure(&mut self) -> bool {
        std::mem::take(&mut self.failing)
    }

    /// Whether nothing begun completes.
    pub fn is_hung(&self) -> bool {
        self.hung
    }

    /// A new disk, or at least a new cable: all faults are over.
    pub fn heal(&mut self) {
        (self.slow_percent, self.stalled_until) = (100, [0; 2]);
        (self.hung, self.failing) = (false, false);
    }

    /// The luck that decides what a crash loses.
    pub fn luck(&mut self) -> &mut Luck {
        &mut self.luck
    }

    fn complete(&self, now: u64, rest: u64, medium: Medium) -> Option<u64> {
        let begins = now.max(self.stalled_until[medium as usize]);
        let at = begins + rest * self.slow_percent / 100;
        (!self.hung).then_some(at)
    }
}

/// How many of `pending` steps a crash leaves done: often none or all, else anything between.
fn kept(pending: usize, luck: &mut Luck) -> usize {
    match luck.below(4) {
        0 => 0,
        1 => pending,
        _ => luck.below(pending as u64 + 1) as usize,
    }
}
