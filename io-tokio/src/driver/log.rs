//! The log's loop: everything that waits goes into one sync.

use std::sync::mpsc::{Receiver, Sender, sync_channel};

use quorate_core::error::StorageFault;
use quorate_core::output::Persist;
use quorate_core::storage::SnapshotMark;
use quorate_core::{ReplicaInput, StateInput};

use super::post::{LogWork, ToReplica, ToState, ToStore, receive};
use super::{Fatal, Outfit, Queues};
use crate::disk::LogWrite;

pub(super) struct LogLoop {
    log: Box<dyn LogWrite>,
    inbox: Receiver<Vec<LogWork>>,
    replica: Sender<ToReplica>,
    state: Sender<ToState>,
    store: Sender<ToStore>,
    common: Outfit,
    /// Batches that wait for the sync to come.
    group: Vec<Persist>,
}

impl LogLoop {
    pub(super) fn new(
        log: Box<dyn LogWrite>,
        inbox: Receiver<Vec<LogWork>>,
        queues: &Queues,
        common: &Outfit,
    ) -> Self {
        Self {
            log,
            inbox,
            replica: queues.to_replica.clone(),
            state: queues.to_state.clone(),
            store: queues.to_store.clone(),
            common: common.clone(),
            group: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        let mut turn = Vec::new();
        while receive(&self.inbox, None, &mut turn) {
            match self.take_turn(turn.drain(..).flatten()) {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => return self.common.tell(Fatal::Halted(fault)),
            }
        }
    }

    /// False when it was the last one.
    fn take_turn(&mut self, works: impl Iterator<Item = LogWork>) -> Result<bool, StorageFault> {
        for work in works {
            match work {
                LogWork::Persist(batch) if batch.snapshot.is_none() => self.group.push(batch),
                LogWork::Persist(batch) => {
                    self.flush()?;
                    self.install(batch)?;
                }
                LogWork::Cut(mark) => {
                    self.flush()?;
                    self.log.cut(&mark)?;
                }
                LogWork::Stop => {
                    self.flush()?;
                    self.log.sync()?;
                    return Ok(false);
                }
            }
        }
        self.flush()?;
        Ok(true)
    }

    /// Writes the group, syncs once, reports its last batch: all before it are as durable.
    fn flush(&mut self) -> Result<(), StorageFault> {
        let Some(number) = self.group.last().map(|batch| batch.number) else { return Ok(()) };
        let appended = self.log.append(&self.group)?;
        self.group.clear();
        if !appended.sync_time.is_zero() {
            self.common.observer.log_synced(appended.sync_time);
        }
        self.replica.send(ToReplica::Inputs(vec![ReplicaInput::Persisted { number }])).ok();
        Ok(())
    }

    /// The store first, durably; then the log starts over behind it; then `State` is told before
    /// `Replica`, which may go on committing as soon as it knows.
    fn install(&mut self, batch: Persist) -> Result<(), StorageFault> {
        let image = self.swap_store(batch.snapshot.clone().unwrap_or_default())?;
        self.group.push(batch);
        let input = StateInput::Installed { image };
        let number = self.group.last().map_or(0, |batch| batch.number);
        self.log.append(&self.group)?;
        self.group.clear();
        self.state.send(ToState::Inputs(vec![input])).ok();
        self.replica.send(ToReplica::Inputs(vec![ReplicaInput::Persisted { number }])).ok();
        Ok(())
    }

    fn swap_store(
        &self,
        mark: SnapshotMark,
    ) -> Result<std::sync::Arc<dyn quorate_core::storage::StateRead>, StorageFault> {
        let (answer, swapped) = sync_channel(1);
        self.store.send(ToStore::Install { mark, answer }).ok();
        let gone = || StorageFault::new("the store's thread ended while an image was installed");
        swapped.recv().unwrap_or_else(|_| Err(gone()))
    }
}
