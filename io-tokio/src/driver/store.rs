//! The store's loop.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use quorate_core::StateInput;
use quorate_core::error::StorageFault;
use quorate_core::ids::LogIndex;
use quorate_core::output::Batch;

use super::post::{ToState, ToStore};
use super::scrub::Scrub;
use super::sweep::Sweep;
use super::turns::{Next, Turns};
use super::{Fatal, Outfit, Queues};
use crate::disk::{Size, StateWrite};

/// Rest after a turn that wrote. No client waits for the store, so what arrives meanwhile is
/// written and reported together: each report costs the other loops a turn and a new view.
const REST: Duration = Duration::from_millis(5);
/// How often the size is reported while it changes.
const SIZE_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is looked at while nothing is written: merging tables changes it.
const SIZE_IDLE_INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct StoreLoop {
    store: Box<dyn StateWrite>,
    state: Sender<ToState>,
    common: Outfit,
    /// Gathered for the state's loop.
    state_inputs: Vec<StateInput>,
    /// Applied index of the last batch written and not yet reported.
    written: Option<LogIndex>,
    /// Whether the state knows this content: an installed image's from its first batch on.
    is_known: bool,
    /// Whether the present turn wrote.
    has_written: bool,
    /// Whether one of them asked to be synced.
    must_sync: bool,
    reported: Option<Size>,
    reported_at: Instant,
    sweep: Sweep,
    scrub: Scrub,
    has_told_damage: bool,
}

impl Turns for StoreLoop {
    type Message = ToStore;

    fn begin(&mut self) {
        self.report_size();
        // The first write's size is told at once: nobody sees a store that is empty for long.
        self.reported_at -= SIZE_INTERVAL;
        self.hand_over();
    }

    fn patience(&mut self) -> Option<Duration> {
        let is_settled = self.reported.is_some() && !self.sweep.is_busy();
        Some(if is_settled { SIZE_IDLE_INTERVAL } else { SIZE_INTERVAL })
    }

    fn take(&mut self, messages: &mut Vec<ToStore>) -> Next {
        let taken = self.take_turn(messages.drain(..));
        self.hand_over();
        match taken {
            Ok(true) if self.has_written => Next::Rest(REST),
            Ok(true) => Next::Turn,
            Ok(false) => Next::End,
            Err(fault) => {
                self.common.tell(Fatal::Halted(fault));
                Next::End
            }
        }
    }
}

impl StoreLoop {
    pub(super) fn new(
        store: Box<dyn StateWrite>,
        scrub: Scrub,
        queues: &Queues,
        common: &Outfit,
    ) -> Self {
        Self {
            store,
            state: queues.to_state.clone(),
            common: common.clone(),
            state_inputs: Vec::new(),
            written: None,
            is_known: true,
            has_written: false,
            must_sync: false,
            reported: None,
            reported_at: Instant::now(),
            sweep: Sweep::default(),
            scrub,
            has_told_damage: false,
        }
    }

    /// False when it was the last one.
    fn take_turn(&mut self, works: impl Iterator<Item = ToStore>) -> Result<bool, StorageFault> {
        self.has_written = false;
        for work in works {
            match work {
                ToStore::Batches(batches) => self.write(batches)?,
                ToStore::Install { mark, answer } => {
                    self.finish_writes()?;
                    let installed = self.store.install(&mark);
                    let outcome = installed.as_ref().map(|_| ()).map_err(Clone::clone);
                    answer.send(installed).ok();
                    outcome?;
                    self.reported = None;
                    self.has_told_damage = false;
                    self.is_known = false;
                }
                ToStore::Defragment => {
                    self.sweep.ask(&self.common.observer, || self.store.defragment())
                }
                ToStore::Stop => {
                    self.finish_writes()?;
                    self.store.sync()?;
                    return Ok(false);
                }
            }
        }
        self.finish_writes()?;
        if !self.has_told_damage {
            self.scrub.consider(|| self.store.image());
            self.report_damage();
        }
        if self.reported_at.elapsed() >= SIZE_INTERVAL {
            self.report_size();
        }
        if self.sweep.poll_release() {
            self.release()?;
        }
        Ok(true)
    }

    fn write(&mut self, batches: Vec<Batch>) -> Result<(), StorageFault> {
        let start = Instant::now();
        for batch in batches {
            let (index, sync) = (batch.index, batch.sync);
            if self.store.write(batch)? {
                self.written = Some(index);
                self.must_sync |= sync;
            }
        }
        self.common.observer.store_written(start.elapsed());
        self.reported = None;
        Ok(())
    }

    /// Reports what was written at once, and that it is durable after the sync.
    fn finish_writes(&mut self) -> Result<(), StorageFault> {
        let Some(index) = self.written.take() else { return Ok(()) };
        self.has_written = true;
        self.is_known = true;
        self.state_inputs.push(StateInput::Stored { index, image: self.store.image() });
        self.hand_over();
        if std::mem::take(&mut self.must_sync) {
            let start = Instant::now();
            self.store.sync()?;
            self.common.observer.store_synced(start.elapsed());
            self.state_inputs.push(StateInput::Synced { index });
            self.hand_over();
        }
        Ok(())
    }

    /// Lets go of what a sweep replaced, and has the state do so, which holds an image of it.
    fn release(&mut self) -> Result<(), StorageFault> {
        self.store.release()?;
        if self.is_known {
            self.state_inputs.push(StateInput::Relaid { image: self.store.image() });
        }
        Ok(())
    }

    /// Once: the content will be replaced, or the process ends.
    fn report_damage(&mut self) {
        if let Some(fault) = self.store.damage() {
            self.has_told_damage = true;
            self.state_inputs.push(StateInput::Damaged { fault });
        }
    }

    fn report_size(&mut self) {
        self.reported_at = Instant::now();
        let size = self.store.size();
        self.sweep.consider(size, &self.common.observer, || self.store.defragment());
        if self.reported.replace(size) != Some(size) {
            let Size { allocated, in_use, is_disk_low } = size;
            self.state_inputs.push(StateInput::DbSize { allocated, in_use, is_disk_low });
        }
    }

    fn hand_over(&mut self) {
        if !self.state_inputs.is_empty() {
            self.state.send(ToState::Inputs(std::mem::take(&mut self.state_inputs))).ok();
        }
    }
}
