//! When a run begins, who has the next turn and when, and when there are no more.
//!
//! ```text
//! all are connected ──> warm ──> begun ──turn ──turn ── ... ──> no turns left, late, or stopped
//!                                  └ only what ends from here on, and before the end, counts
//! ```
//!
//! Turns are numbered over all clients: a run of so many operations takes just so many, whoever is
//! fast. With a rate each turn is due at its time; clients that are late do not catch up by more
//! than [`SLACK`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What may be caught up, so that a timer's coarseness does not lower the rate.
const SLACK: Duration = Duration::from_millis(10);

/// How long, how often and how fast.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Turns there are; without end if none.
    pub total: Option<u64>,
    /// How long turns are given before the begin: what they do then does not count.
    pub warm: Duration,
    /// How long turns are given, from the begin on.
    pub lasts: Option<Duration>,
    /// Turns per second; as many as can be if none.
    pub rate: Option<u64>,
}

/// One run, shared by its threads.
#[derive(Debug)]
pub struct Stint {
    terms: Terms,
    begun: OnceLock<Instant>,
    taken: AtomicU64,
    /// When the next turn is due, in nanoseconds from the begin on.
    due_nanos: AtomicU64,
    /// Places at which threads wait for each other, and how many have come there.
    arrived: [watch::Sender<usize>; 2],
    stopped: watch::Sender<bool>,
}

/// Where threads wait for each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meeting {
    /// Everything is connected.
    Ready = 0,
    /// Everything was sent.
    Sent = 1,
}

impl Stint {
    /// A run that begins when its threads are ready.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            begun: OnceLock::new(),
            taken: AtomicU64::new(0),
            due_nanos: AtomicU64::new(0),
            arrived: std::array::from_fn(|_| watch::channel(0).0),
            stopped: watch::channel(false).0,
        }
    }

    /// When it began; the present if it has not.
    pub fn begun(&self) -> Instant {
        self.begins_at().unwrap_or_else(Instant::now)
    }

    /// When it begins, as soon as that is known: when all threads are ready.
    pub fn begins_at(&self) -> Option<Instant> {
        self.begun.get().copied()
    }

    /// How long it lasts.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// When it ends, if it does by time.
    pub fn end(&self) -> Option<Instant> {
        Some(self.begun() + self.terms.lasts?)
    }

    /// Turns that were taken.
    pub fn taken(&self) -> u64 {
        let total = self.terms.total.unwrap_or(u64::MAX);
        self.taken.load(Ordering::Relaxed).min(total)
    }

    /// Ends it: whatever is under way is given up.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// The work's outcome, or nothing if it was stopped before.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            // Its sender is this stint's.
            _ = stopped.wait_for(|is_stopped| *is_stopped) => None,
            outcome = work => Some(outcome),
        }
    }

    /// Waits until so many threads have come here. The first of these meetings begins the run.
    pub(super) async fn meet(&self, at: Meeting, threads: usize) {
        let arrived = &self.arrived[at as usize];
        let mut others = arrived.subscribe();
        arrived.send_modify(|count| *count += 1);
        // Its sender is this stint's.
        let _ = others.wait_for(|count| *count >= threads).await;
        self.begun.get_or_init(|| Instant::now() + self.terms.warm);
    }

    /// The next turn, when it is due; nothing if there are no more.
    pub(super) async fn turn(&self) -> Option<u64> {
        let end = self.end();
        if let Some(rate) = self.terms.rate {
            let due = self.begun() + self.reserve(rate);
            if end.is_some_and(|end| due >= end) {
                return None;
            }
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        (turn < self.terms.total.unwrap_or(u64::MAX)).then_some(turn)
    }

    /// When a turn is due, from the begin on.
    fn reserve(&self, rate: u64) -> Duration {
        let interval = 1_000_000_000 / rate.max(1);
        let elapsed = self.begun().elapsed().saturating_sub(SLACK).as_nanos() as u64;
        let next = |due: u64| Some(due.max(elapsed) + interval);
        let due = self.due_nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        // It always has a next one.
        Duration::from_nanos(due.unwrap_or(elapsed).max(elapsed))
    }

    /// How long after the begin it is, if what ends now counts.
    pub(super) fn counted(&self, now: Instant) -> Option<Duration> {
        let since_begin = now.checked_duration_since(self.begun())?;
        self.terms.lasts.is_none_or(|lasts| since_begin < lasts).then_some(since_begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take_all(stint: &Stint) -> Vec<u64> {
        let mut turns = Vec::new();
        while let Some(turn) = stint.turn().await {
            turns.push(turn);
        }
        turns
    }

    #[tokio::test(flavor = "current_thread")]
    async fn there_are_as_many_turns_as_were_asked_for() {
        let stint = Stint::new(Terms { total: Some(3), ..Terms::default() });
        stint.meet(Meeting::Ready, 1).await;
        assert_eq!(take_all(&stint).await, [0, 1, 2]);
        assert_eq!(stint.taken(), 3);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_rate_spreads_turns_over_time() {
        let terms = Terms { total: Some(30), rate: Some(200), ..Terms::default() };
        let stint = Stint::new(terms);
        stint.meet(Meeting::Ready, 1).await;
        assert_eq!(take_all(&stint).await.len(), 30);
        assert!(stint.begun().elapsed() >= Duration::from_millis(130));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_ends_before_the_begin_or_after_the_end_does_not_count() {
        let (warm, lasts) = (Duration::from_secs(5), Duration::from_secs(1));
        let stint = Stint::new(Terms { warm, lasts: Some(lasts), ..Terms::default() });
        stint.meet(Meeting::Ready, 1).await;
        let begun = stint.begins_at().unwrap();
        assert_eq!(stint.counted(Instant::now()), None);
        assert_eq!(stint.counted(begun), Some(Duration::ZERO));
        assert_eq!(stint.counted(begun + lasts), None);
        assert!(stint.turn().await.is_some(), "a warm-up takes turns");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stop_gives_up_what_is_under_way() {
        let stint = Stint::new(Terms::default());
        stint.stop();
        assert_eq!(stint.unless_stopped(std::future::pending::<()>()).await, None);
    }
}
