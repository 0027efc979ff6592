//! A member's clock: it runs a little fast or slow, and may have stood still.
//!
//! `mono = origin + (t - since) * (1_000_000 + drift) / 1_000_000` in integer nanoseconds. The
//! member sees `mono` only; its wall clock enters as its boot number.
//!
//! Invariants: it never runs backwards; [`Clock::world`] is the first instant at which
//! [`Clock::local`] shows the wanted time.

use quorate_core::time::Time;

const MILLION: u128 = 1_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Clock {
    since: u64,
    origin: u64,
    /// Parts in a million it runs fast.
    drift_ppm: i32,
}

impl Clock {
    /// A clock that shows `offset` at the world's beginning.
    pub fn new(offset: u64, drift_ppm: i32) -> Self {
        Self { since: 0, origin: offset, drift_ppm }
    }

    /// What it shows at the world's instant `now`.
    pub fn local(&self, now: u64) -> Time {
        let passed = u128::from(now.saturating_sub(self.since));
        Time(self.origin + (passed * self.rate() / MILLION) as u64)
    }

    /// When it will show `local`; at its beginning if that is over.
    pub fn world(&self, local: Time) -> u64 {
        let wanted = u128::from(local.0.saturating_sub(self.origin));
        let passed = (wanted * MILLION).div_ceil(self.rate());
        self.since.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Runs at another rate from `now` on.
    pub fn turn(&mut self, now: u64, drift_ppm: i32) {
        self.origin = self.local(now).0;
        self.since = now;
        self.drift_ppm = drift_ppm;
    }

    /// Forgets the last `rest` nanoseconds: it stood still for so long.
    pub fn stood_still(&mut self, now: u64, rest: u64) {
        self.origin = self.local(now.saturating_sub(rest)).0;
        self.since = now;
    }

    /// Parts in a million it runs fast.
    pub(super) fn drift_ppm(&self) -> i32 {
        self.drift_ppm
    }

    fn rate(&self) -> u128 {
        (MILLION as i64 + i64::from(self.drift_ppm)).max(1) as u128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn drift_is_parts_in_a_million() {
        assert_eq!(Clock::new(0, 500).local(SECOND), Time(SECOND + 500_000));
        assert_eq!(Clock::new(7, -500).local(SECOND), Time(SECOND - 500_000 + 7));
        assert_eq!(Clock::new(0, 50_000).local(3600 * SECOND), Time(3780 * SECOND));
    }

    #[test]
    fn the_instant_of_a_wish_is_the_first_that_shows_it() {
        for drift in [-50_000, -50, 0, 50, 499, 50_000] {
            let clock = Clock::new(1_000, drift);
            for wish in [1_000, 1_001, 123_456_789, 10 * SECOND + 1] {
                let at = clock.world(Time(wish));
                assert!(clock.local(at) >= Time(wish), "{drift} {wish}");
                assert!(at == 0 || clock.local(at - 1) < Time(wish), "{drift} {wish}");
            }
        }
    }

    #[test]
    fn turning_and_standing_still_lose_no_time_and_gain_none() {
        let mut clock = Clock::new(0, 1_000);
        clock.turn(SECOND, 0);
        assert_eq!(clock.local(2 * SECOND), Time(2 * SECOND + 1_000_000));
        clock.stood_still(5 * SECOND, 2 * SECOND);
        assert_eq!(clock.local(5 * SECOND), Time(3 * SECOND + 1_000_000));
        assert_eq!(clock.local(6 * SECOND), Time(4 * SECOND + 1_000_000));
    }
}
