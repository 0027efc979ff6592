//! What is granted, and what is attached to it: equal on all members.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;
use quorate_proto::leasepb;

use super::expiry::{Duty, Timing};
use crate::error::{Refusal, StorageFault};
use crate::ids::LeaseId;
use crate::limits::LEASE_TTL_MAX;
use crate::storage::{Table, Write};
use crate::time::{Duration, Time};

/// All leases a member knows. See the [module](super).
#[derive(Debug)]
pub struct Book {
    pub(super) ttl_min: i64,
    pub(super) retry_after: Duration,
    pub(super) checkpoint_interval: Duration,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    pub(super) keys: BTreeMap<Bytes, LeaseId>,
    /// Present on the primary.
    pub(super) duty: Option<Duty>,
}

/// One lease.
#[derive(Debug)]
pub(super) struct Lease {
    /// Granted, in seconds.
    pub(super) ttl: i64,
    /// What remained at the last checkpoint, in seconds; 0 if there is none.
    pub(super) remaining: i64,
    pub(super) keys: BTreeSet<Bytes>,
}

impl Lease {
    /// Seconds a new primary has to grant.
    pub(super) fn full_ttl(&self) -> i64 {
        if self.remaining > 0 { self.remaining } else { self.ttl }
    }
}

/// A lease as granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: LeaseId,
    /// Its TTL in seconds: as asked for, or the least there is.
    pub ttl: i64,
    /// The row to store.
    pub write: Write,
}

/// A lease's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The keys it held, sorted; to be deleted in one revision.
    pub keys: Vec<Bytes>,
    /// The row to remove.
    pub write: Write,
}

/// A lease's state as clients ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Whole seconds left, the fraction dropped: 0 in the last second, negative when the revoke is
    /// overdue by a second or more. -1 if there is no such lease.
    pub ttl: i64,
    /// TTL as granted; 0 if there is no such lease.
    pub granted: i64,
    /// The keys attached, sorted.
    pub keys: Vec<Bytes>,
}

/// A lease as it is held by every member: what digests and images are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding<'a> {
    /// Its id.
    pub id: LeaseId,
    /// TTL as granted, in seconds.
    pub ttl: i64,
    /// What remained at the last checkpoint, in seconds; 0 if there is none.
    pub remaining: i64,
    /// The keys attached, sorted.
    pub keys: &'a BTreeSet<Bytes>,
}

impl Book {
    /// The book as stored in the lease table. Shorter TTLs than `ttl_min` seconds are raised to
    /// it. A revoke that was not applied `retry_after` its lease was reported expired is due again.
    ///
    /// Which keys are attached is not stored here: attach them again from the live keys.
    pub fn open(
        rows: impl IntoIterator<Item = (Bytes, Bytes)>,
        ttl_min: i64,
        retry_after: Duration,
    ) -> Result<Self, StorageFault> {
        let leases = rows.into_iter().map(|(key, value)| load_row(&key, &value, ttl_min));
        Ok(Self {
            ttl_min,
            retry_after,
            checkpoint_interval: Duration::from_secs(300),
            leases: leases.collect::<Result<_, _>>()?,
            keys: BTreeMap::new(),
            duty: None,
        })
    }

    /// Leases that live longer than `interval` are checkpointed that often, instead of every five
    /// minutes.
    #[must_use]
    pub fn checkpointing(self, interval: Duration) -> Self {
        Self { checkpoint_interval: interval, ..self }
    }

    /// Grants a lease of at least `ttl` seconds.
    pub fn grant(&mut self, id: LeaseId, ttl: i64, now: Time) -> Result<Grant, Refusal> {
        if id == LeaseId(0) {
            return Err(Refusal::LeaseNotFound);
        }
        if ttl > LEASE_TTL_MAX {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Refusal::LeaseExist);
        }
        let lease = Lease { ttl: ttl.max(self.ttl_min), remaining: 0, keys: BTreeSet::new() };
        if let Some(duty) = &mut self.duty {
            duty.enter(id, Timing::of(&lease, now), now);
        }
        let grant = Grant { id, ttl: lease.ttl, write: encode_row(id, &lease) };
        self.leases.insert(id, lease);
        Ok(grant)
    }

    /// Ends a lease. Its keys are detached, and the caller's to delete.
    pub fn revoke(&mut self, id: LeaseId) -> Result<Revocation, Refusal> {
        let lease = self.leases.remove(&id).ok_or(Refusal::LeaseNotFound)?;
        for key in &lease.keys {
            self.keys.remove(key);
        }
        if let Some(duty) = &mut self.duty {
            duty.leave(id);
        }
        let write = Write { table: Table::Lease, key: row_key(id), value: None };
        Ok(Revocation { keys: lease.keys.into_iter().collect(), write })
    }

    /// Attaches a key to a lease, and so detaches it from any other.
    pub fn attach(&mut self, id: LeaseId, key: &[u8]) -> Result<(), Refusal> {
        if !self.exists(id) {
            return Err(Refusal::LeaseNotFound);
        }
        if self.keys.get(key) == Some(&id) {
            return Ok(());
        }
        if !crate::planted!("key-dies-with-old-lease") {
            self.detach(key);
        }
        // A slice of an entry or a record would keep all of it in memory.
        let key = Bytes::copy_from_slice(key);
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
        self.keys.insert(key, id);
        Ok(())
    }

    /// Detaches a key from its lease, if it has one.
    pub fn detach(&mut self, key: &[u8]) {
        let Some(id) = self.keys.remove(key) else { return };
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// The lease a key is attached to.
    pub fn lease_of(&self, key: &[u8]) -> Option<LeaseId> {
        self.keys.get(key).copied()
    }

    /// The keys attached to a lease, in order; none if there is no such lease.
    pub fn keys_of(&self, id: LeaseId) -> impl Iterator<Item = &Bytes> {
        self.leases.get(&id).into_iter().flat_map(|lease| &lease.keys)
    }

    /// Whether there is such a lease.
    pub fn exists(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// The leases every member holds, by id.
    pub fn holdings(&self) -> impl Iterator<Item = Holding<'_>> {
        self.leases.iter().map(|(&id, lease)| {
            let Lease { ttl, remaining, keys } = lease;
            Holding { id, ttl: *ttl, remaining: *remaining, keys }
        })
    }

    /// All leases: by remaining time on the primary, by id elsewhere.
    pub fn list(&self) -> Vec<LeaseId> {
        match &self.duty {
            Some(duty) => duty.by_deadline(),
            None => self.leases.keys().copied().collect(),
        }
    }

    /// A lease's state, its keys only if `with_keys`.
    ///
    /// # Errors
    /// [`Refusal::NotLeader`] unless this is the primary.
    pub fn time_to_live(
        &self,
        id: LeaseId,
        now: Time,
        with_keys: bool,
    ) -> Result<TimeToLive, Refusal> {
        let duty = self.duty.as_ref().ok_or(Refusal::NotLeader)?;
        let (Some(lease), Some(ttl)) = (self.leases.get(&id), duty.remaining(id, now)) else {
            return Ok(TimeToLive { ttl: -1, granted: 0, keys: Vec::new() });
        };
        let keys = if with_keys { lease.keys.iter().cloned().collect() } else { Vec::new() };
        Ok(TimeToLive { ttl, granted: lease.ttl, keys })
    }
}

fn row_key(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.get().to_be_bytes())
}

pub(super) fn encode_row(id: LeaseId, lease: &Lease) -> Write {
    let row = leasepb::Lease { id: id.get(), ttl: lease.ttl, remaining_ttl: lease.remaining };
    let value = Some(Bytes::from(row.encode_to_vec()));
    Write { table: Table::Lease, key: row_key(id), value }
}

fn load_row(key: &Bytes, value: &Bytes, ttl_min: i64) -> Result<(LeaseId, Lease), StorageFault> {
    let fault = |why| StorageFault::new(format!("lease row {key:?}: {why}"));
    let row = leasepb::Lease::decode(value.clone()).map_err(|_| fault("not a lease"))?;
    let id = LeaseId(row.id);
    if row_key(id) != *key {
        return Err(fault("holds another lease"));
    }
    let ttl = row.ttl.max(ttl_min);
    Ok((id, Lease { ttl, remaining: row.remaining_ttl, keys: BTreeSet::new() }))
}
