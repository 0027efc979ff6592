//! Reading everything that is stored, slowly, to find what was damaged where it lies.
//!
//! A disk that changes a byte says nothing, and rows that nobody asks for may rot until they are
//! needed. What a scrub cannot read becomes known as whatever else cannot (`Generation::damage`).
//! Blocks in fjall's cache are not read again: what is served from there is right, and their turn
//! comes when they are evicted, or at the next start, which reads everything.
//! It takes a tenth of one processor's time at most, at a low priority.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate_core::error::StorageFault;
use quorate_core::storage::{StateRead, Table};
use tracing::{debug, warn};

use crate::background;

/// Bytes read between two rests.
const STEP_BYTES: usize = 1 << 20;
/// A rest is this many times what the step before it took.
const REST_FACTOR: u32 = 9;
/// The thread's niceness: a busy machine is read through later, but it is.
const NICENESS: i32 = 10;

pub(super) struct Scrub {
    interval: Duration,
    next_at: Instant,
    under_way: Option<JoinHandle<()>>,
}

impl Scrub {
    /// The first begins after one interval: a start reads everything as well.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next_at: Instant::now() + interval, under_way: None }
    }

    /// Begins the next one, if it is time.
    pub(super) fn consider(&mut self, image: impl FnOnce() -> Arc<dyn StateRead>) {
        self.under_way.take_if(|thread| thread.is_finished());
        if self.under_way.is_some() || Instant::now() < self.next_at {
            return;
        }
        self.next_at = Instant::now() + self.interval;
        let image = image();
        let body = move || match read_all(image.as_ref()) {
            Ok(()) => debug!("everything stored was read"),
            Err(fault) => warn!(error = fault.what, "what is stored does not read"),
        };
        match background::start("scrub", NICENESS, body) {
            Ok(thread) => self.under_way = Some(thread),
            Err(error) => warn!(%error, "cannot read what is stored"),
        }
    }
}

/// All tables, step by step.
fn read_all(image: &dyn StateRead) -> Result<(), StorageFault> {
    for table in Table::ALL {
        let mut from = Some(Vec::new());
        while let Some(first) = from.take() {
            let begun = Instant::now();
            from = read_step(image, table, &first)?;
            thread::sleep(begun.elapsed() * REST_FACTOR);
        }
    }
    Ok(())
}

/// Reads rows until there were enough; where to go on.
fn read_step(
    image: &dyn StateRead,
    table: Table,
    from: &[u8],
) -> Result<Option<Vec<u8>>, StorageFault> {
    let (mut bytes, mut next) = (0, None);
    image.scan(table, from, &[], &mut |key, value| {
        bytes += key.len() + value.len();
        if bytes < STEP_BYTES {
            return ControlFlow::Continue(());
        }
        next = Some([key, &[0]].concat());
        ControlFlow::Break(())
    })?;
    Ok(next)
}
