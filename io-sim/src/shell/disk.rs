//! The world's disk behind the shell's storage traits: what was synced outlives the power.
//!
//! A write is done when its loop has its turn; how long that takes is the loop's pace. What is
//! queued for a loop, or written and not synced, is what a crash may lose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_core::error::StorageFault;
use quorate_core::output::{Batch, Persist};
use quorate_core::storage::{LogContents, SnapshotMark, StateRead};
use quorate_io_tokio::disk::image::ImageError;
use quorate_io_tokio::disk::{Appended, Defragment, ImageWrite, LogWrite, Size, StateWrite};
use quorate_proto::peer::ImageChunk;
use quorate_proto::raftpb;

use crate::world::disk::{Log, Store};
use crate::world::luck::Luck;

/// What a row takes up, roughly.
const ROW_BYTES: u64 = 64;

/// A member's disk. Copies are the same disk.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    log: Log,
    store: Store,
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Power is gone: of what was not synced some prefix is left.
    pub(super) fn lose_power(&self, luck: &mut Luck) {
        let mut inner = self.lock();
        let installed = inner.log.crash(luck);
        inner.store.crash(luck, installed);
    }

    /// What the log holds beside a store that holds `stored`.
    pub(super) fn load(&self, stored: &SnapshotMark) -> Result<LogContents, StorageFault> {
        self.lock().log.load(stored).map_err(StorageFault::new)
    }
}

impl LogWrite for Disk {
    fn append(&mut self, batches: &[Persist]) -> Result<Appended, StorageFault> {
        let mut inner = self.lock();
        for batch in batches {
            inner.log.write(batch.clone(), None);
        }
        if inner.log.begin().is_some() {
            inner.log.complete();
        }
        Ok(Appended::default())
    }

    fn cut(&mut self, mark: &SnapshotMark) -> Result<(), StorageFault> {
        self.lock().log.cut(mark.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        Ok(())
    }
}

impl StateWrite for Disk {
    fn write(&mut self, batch: Batch) -> Result<bool, StorageFault> {
        let mut inner = self.lock();
        inner.store.push(batch);
        inner.store.begin();
        Ok(inner.store.complete().is_some())
    }

    fn sync(&mut self) -> Result<(), StorageFault> {
        let mut inner = self.lock();
        if inner.store.begin_sync() {
            inner.store.complete_sync();
        }
        Ok(())
    }

    fn image(&self) -> Arc<dyn StateRead> {
        Arc::new(self.lock().store.image())
    }

    fn install(&mut self, mark: &SnapshotMark) -> Result<Arc<dyn StateRead>, StorageFault> {
        Err(StorageFault::new(format!("nobody sends images here, {} least of all", mark.index)))
    }

    fn defragment(&self) -> Defragment {
        Box::new(|_| Ok(()))
    }

    fn release(&mut self) -> Result<(), StorageFault> {
        Ok(())
    }

    fn damage(&self) -> Option<StorageFault> {
        None
    }

    fn size(&self) -> Size {
        let bytes = self.lock().store.image().rows() as u64 * ROW_BYTES;
        Size { allocated: bytes, in_use: bytes, is_disk_low: false }
    }
}

impl ImageWrite for Disk {
    fn receive(
        &self,
        _: &mut dyn Iterator<Item = ImageChunk>,
    ) -> Result<raftpb::Message, ImageError> {
        Err(ImageError::CutOff)
    }
}
