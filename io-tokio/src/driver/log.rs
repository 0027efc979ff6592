//! The log's loop: everything that waits goes into one sync.

use std::sync::mpsc::{Sender, sync_channel};
use std::time::Duration;

use quorate_core::error::StorageFault;
use quorate_core::output::Persist;
use quorate_core::storage::SnapshotMark;
use quorate_core::{ReplicaInput, StateInput};
use tokio::sync::mpsc::UnboundedSender;

use super::post::{LogWork, ToReplica, ToState, ToStore};
use super::turns::{Next, Turns};
use super::{Fatal, Outfit, Queues};
use crate::disk::LogWrite;

pub(super) struct LogLoop {
    log: Box<dyn LogWrite>,
    replica: UnboundedSender<ToReplica>,
    state: Sender<ToState>,
    store: Sender<ToStore>,
    common: Outfit,
    /// Batches that wait for the sync to come.
    group: Vec<Persist>,
}

impl Turns for LogLoop {
    type Message = Vec<LogWork>;

    fn patience(&mut self) -> Option<Duration> {
        None
    }

    fn take(&mut self, messages: &mut Vec<Vec<LogWork>>) -> Next {
        match self.take_turn(messages.drain(..).flatten()) {
            Ok(true) => Next::Turn,
            Ok(false) => Next::End,
            Err(fault) => {
                self.common.tell(Fatal::Halted(fault));
                Next::End
            }
        }
    }
}

impl LogLoop {
    pub(super) fn new(log: Box<dyn LogWrite>, queues: &Queues, common: &Outfit) -> Self {
        Self {
            log,
            replica: queues.to_replica.clone(),
            state: queues.to_state.clone(),
            store: queues.to_store.clone(),
            common: common.clone(),
            group: Vec::new(),
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
