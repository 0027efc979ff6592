//! The shell's clock: the system's monotonic one, in the core's words.

use std::time::{Duration, Instant};

use quorate_core::time::{Time, Wake};

/// Time since this process began to count it. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// How long to wait for `wake`; for ever if there is none.
    pub fn until(&self, wake: Option<Wake>) -> Option<Duration> {
        wake.map(|wake| wake.at.since(self.now()))
    }
}
