//! Proposals of this member that wait to be applied.

use alloc::collections::BTreeMap;

use crate::config::Config;
use crate::error::Refusal;
use crate::ids::{LeaseId, RequestId, Token};
use crate::limits::PENDING_REQUESTS_MAX;
use crate::time::{Duration, Time, Wake};

/// Who waits for a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A client.
    Client(Token),
    /// A client that wants to hear only when a compaction's last record is gone.
    Physical(Token),
    /// The core itself, for a lease that has run out.
    Expiry(LeaseId),
    /// The core itself; asked again later if it fails.
    Upkeep,
}

/// See the module. Ids rise and everyone waits equally long, so the first is the first to time
/// out.
#[derive(Debug)]
pub(crate) struct Pending {
    waiting: BTreeMap<RequestId, (Time, Waiter)>,
    patience: Duration,
    prefix: u64,
    suffix: u64,
}

const SUFFIX_BITS: u32 = 48;

impl Pending {
    /// Ids follow etcd's layout: 16 bits of the member, 40 bits of start time, 8 bits that count
    /// and carry over.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            waiting: BTreeMap::new(),
            patience: config.request_timeout(),
            prefix: config.member.get() << SUFFIX_BITS,
            suffix: (config.boot & ((1 << 40) - 1)) << 8,
        }
    }

    /// A fresh id, never given before by any member.
    pub(crate) fn next_id(&mut self) -> RequestId {
        self.suffix = (self.suffix + 1) & ((1 << SUFFIX_BITS) - 1);
        RequestId(self.prefix | self.suffix)
    }

    /// Notes who waits for `id`.
    pub(crate) fn insert(
        &mut self,
        now: Time,
        id: RequestId,
        waiter: Waiter,
    ) -> Result<(), Refusal> {
        if self.waiting.len() >= PENDING_REQUESTS_MAX {
            return Err(Refusal::RequestTooManyRequests);
        }
        self.waiting.insert(id, (now + self.patience, waiter));
        Ok(())
    }

    /// Takes out who waits for `id`, if it is one of ours.
    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Waiter> {
        self.waiting.remove(&id).map(|(_, waiter)| waiter)
    }

    /// Whether somebody still waits for `id`.
    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Takes out the next waiter whose time is over.
    pub(crate) fn poll_late(&mut self, now: Time) -> Option<Waiter> {
        let (_, (deadline, _)) = self.waiting.first_key_value()?;
        if *deadline > now {
            return None;
        }
        self.waiting.pop_first().map(|(_, (_, waiter))| waiter)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        let (_, (at, _)) = self.waiting.first_key_value()?;
        Some(Wake { at: *at, timer: "request timeout" })
    }
}
