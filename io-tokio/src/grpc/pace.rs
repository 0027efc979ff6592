//! How often the same mistake is answered at once.
//!
//! ```text
//! mistakes   1 2 3 ... 100 | 101  102   103            PER_SECOND at once, and as many a second;
//! answered   1 2 3 ... 100 |   101   102   103         the others wait, for WAIT_MAX at most
//! ```
//!
//! A request that is too large costs its sender a few words and this server all that comes of it
//! before it is refused. Refused at once it would come again at once, and take from others what
//! reading costs. Who makes the mistake now and then is told without delay.

use std::time::Duration;

use tokio::time::Instant;

/// Answers at once, and answers in a second.
const PER_SECOND: u32 = 100;
/// The longest that an answer waits.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// When the next answer is due, were they given evenly; it may lie a second back.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// When a mistake that was made now is answered; earlier than now, or now, is at once.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        let earliest = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let last = self.0.map_or(earliest, |last| last.max(earliest));
        let due = (last + Duration::from_secs(1) / PER_SECOND).min(now + WAIT_MAX);
        self.0 = Some(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_now_and_then_are_answered_at_once() {
        let mut pace = Pace::default();
        let begun = Instant::now() + Duration::from_secs(60);
        for number in 0..1_000 {
            let now = begun + number * Duration::from_millis(20);
            assert!(pace.next(now) <= now);
        }
    }

    #[test]
    fn a_flood_of_them_is_answered_slowly_but_within_a_second() {
        let mut pace = Pace::default();
        let now = Instant::now() + Duration::from_secs(60);
        let dues: Vec<_> = (0..1_000).map(|_| pace.next(now)).collect();
        assert!(dues[..100].iter().all(|due| *due <= now));
        assert_eq!(dues[149], now + Duration::from_millis(500));
        assert!(dues[200..].iter().all(|due| *due == now + WAIT_MAX));
        let later = now + Duration::from_secs(10);
        assert!(pace.next(later) <= later);
    }
}
