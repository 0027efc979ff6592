//! Giving space back, in the background: one piece of work at a time, on a thread of its own.
//!
//! Somebody asks for it, or the store sees that it takes up much more than its rows weigh. The
//! thread gives way to all others; reads and writes go on meanwhile. What was asked for while it
//! works is done again afterwards: rows may have gone that it had passed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Observer;
use crate::background;
use crate::disk::{Defragment, Haste, Size};

/// Waste is worth a sweep from this part of what is in use.
const WASTE_PART: u64 = 5;
/// ... and from this many bytes.
const WASTE_BYTES_MIN: u64 = 1 << 20;
/// How long it rests, unasked, in times that it took: most of that is rest as well.
const REST_FACTOR: u32 = 2;
/// When what was replaced is let go of, after the end: readers may still need it for a while.
const RELEASES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(5), Duration::from_secs(60)];
/// The thread's niceness: others come first, and it comes to its end on a busy machine as well.
const NICENESS: i32 = 3;

#[derive(Default)]
pub(super) struct Sweep {
    under_way: Option<(JoinHandle<()>, Instant)>,
    /// Whether it was asked for while one was under way.
    is_asked_again: bool,
    /// Not before then, unasked.
    rests_until: Option<Instant>,
    /// When to let go of what was replaced.
    releases: VecDeque<Instant>,
    /// What was in use when that was looked at last.
    in_use: u64,
}

impl Sweep {
    /// Somebody wants it.
    pub(super) fn ask(&mut self, observer: &Arc<dyn Observer>, work: impl FnOnce() -> Defragment) {
        self.look_after();
        if self.under_way.is_some() {
            self.is_asked_again = true;
        } else {
            self.begin(observer, work());
        }
    }

    /// The store has that size: begins if it is due.
    pub(super) fn consider(
        &mut self,
        size: Size,
        observer: &Arc<dyn Observer>,
        work: impl FnOnce() -> Defragment,
    ) {
        self.look_after();
        // While rows go, more will: it would have to be done again.
        let is_quiet = size.in_use >= std::mem::replace(&mut self.in_use, size.in_use);
        let waste = size.allocated.saturating_sub(size.in_use);
        let is_due = is_quiet
            && waste >= WASTE_BYTES_MIN.max(size.in_use / WASTE_PART)
            && self.rests_until.is_none_or(|until| until <= Instant::now());
        if self.under_way.is_none() && (is_due || std::mem::take(&mut self.is_asked_again)) {
            self.begin(observer, work());
        }
    }

    fn begin(&mut self, observer: &Arc<dyn Observer>, work: Defragment) {
        let observer = Arc::clone(observer);
        let body = move || {
            info!("starting defragment");
            let begun = Instant::now();
            observer.defragmenting(None);
            let end = work(Haste::GivesWay);
            observer.defragmenting(Some(begun.elapsed()));
            match end {
                Ok(()) => info!("finished defragment"),
                Err(fault) => warn!(error = fault.what, "failed to defragment"),
            }
        };
        match background::start("sweep", NICENESS, body) {
            Ok(thread) => self.under_way = Some((thread, Instant::now())),
            Err(error) => warn!(%error, "failed to defragment"),
        }
    }

    /// Notes that the work under way has ended.
    fn look_after(&mut self) {
        if let Some((_, since)) = self.under_way.take_if(|(thread, _)| thread.is_finished()) {
            let now = Instant::now();
            self.rests_until = Some(now + since.elapsed() * REST_FACTOR);
            self.releases = RELEASES.iter().map(|after| now + *after).collect();
        }
    }

    /// Whether it is time to let go of what was replaced.
    pub(super) fn poll_release(&mut self) -> bool {
        self.releases.pop_front_if(|at| *at <= Instant::now()).is_some()
    }

    /// Whether the store should look again soon.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some() || !self.releases.is_empty()
    }
}
