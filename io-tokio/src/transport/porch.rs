//! Where connections wait that nobody knows yet: those that have not shaken hands, or said a word.
//!
//! Such a connection costs a client nothing, so that there may be any number of them. There are
//! places for some; when all are taken, the one that has been silent for longest has to go. A
//! client that speaks in time is in before its turn comes, however many say nothing.
//!
//! ```text
//! accept ──> [ silent 1 | silent 2 | busy | ... | silent n ] ──> known: a place of its own
//!     full: 1 is sent away               all busy: accepting waits
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places.
#[derive(Debug)]
pub(super) struct Porch {
    places: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Who is waited for, the longest silent first.
#[derive(Debug, Default)]
struct Silent {
    begun: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Porch {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(places)), silent: Mutex::default() })
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, by sending away who has been silent for longest if need be.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<Guest> {
        let place = if let Ok(place) = self.places.clone().try_acquire_owned() {
            place
        } else {
            if let Some((_, oldest)) = self.silent().waiting.pop_first() {
                oldest.notify_one();
            }
            self.places.clone().acquire_owned().await.ok()?
        };
        Some(Guest { porch: self.clone(), _place: place })
    }
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Guest {
    porch: Arc<Porch>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    /// Waits for the other side; nothing when the place is needed more than it is.
    pub(super) async fn wait_for<T>(&self, other_side: impl Future<Output = T>) -> Option<T> {
        let sent_away = Arc::new(Notify::new());
        let _silence = Silence::begin(&self.porch, sent_away.clone());
        tokio::select! {
            biased;
            said = other_side => Some(said),
            () = sent_away.notified() => None,
        }
    }
}

/// Somebody is waited for, until this is dropped.
struct Silence<'a> {
    porch: &'a Porch,
    number: u64,
}

impl<'a> Silence<'a> {
    fn begin(porch: &'a Porch, sent_away: Arc<Notify>) -> Self {
        let mut silent = porch.silent();
        silent.begun += 1;
        let number = silent.begun;
        silent.waiting.insert(number, sent_away);
        drop(silent);
        Self { porch, number }
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.porch.silent().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    /// One that came first and has spoken since is not the one that has to go.
    #[tokio::test]
    async fn silence_counts_from_the_last_word() {
        let porch = Porch::new(2);
        let (first, second) = (porch.enter().await.unwrap(), porch.enter().await.unwrap());
        let silent = tokio::spawn(async move { second.wait_for(pending::<()>()).await });
        tokio::task::yield_now().await;
        assert_eq!(first.wait_for(ready(1)).await, Some(1));
        let spoken = tokio::spawn(async move { first.wait_for(pending::<()>()).await });
        tokio::task::yield_now().await;
        let third = porch.enter().await;
        assert_eq!(silent.await.unwrap(), None);
        assert!(!spoken.is_finished());
        drop(third);
        spoken.abort();
    }

    #[tokio::test]
    async fn the_longest_silent_makes_room_and_the_busy_do_not() {
        let porch = Porch::new(2);
        let busy = porch.enter().await.unwrap();
        assert_eq!(busy.wait_for(ready(7)).await, Some(7));
        let silent = porch.enter().await.unwrap();
        let waiting = tokio::spawn(async move { silent.wait_for(pending::<()>()).await });
        tokio::task::yield_now().await;
        let third = tokio::time::timeout(Duration::from_secs(5), porch.enter()).await;
        assert_eq!(waiting.await.unwrap(), None);
        let third = third.unwrap().unwrap();
        assert!(porch.enter().now_or_never().is_none(), "nobody is silent");
        drop(busy);
        assert!(porch.enter().now_or_never().is_some());
        drop(third);
    }
}
