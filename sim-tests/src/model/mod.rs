//! What etcd means, written down as plainly as possible: the reference every oracle compares with.
//!
//! ```text
//!   call --evaluate--> Verdict { reply, effect } --commit--> the next revision
//! ```
//!
//! A key is the list of everything it ever was; a revision is the list of its events; nothing is
//! ever thrown away, a compaction only forbids looking. [`Model::evaluate`] changes nothing, so a
//! checker may ask "what would this call answer here" as often as it likes.
//!
//! Who may call is a model of its own, [`auth`]; [`Judged`] puts entries to both.
//!
//! Invariants:
//! - a fresh model is at revision 1; an effect with events makes exactly one revision;
//! - evaluating the same call in the same state gives the same verdict.
//!
//! Deliberately absent: speed (but nothing is quadratic in the history), physical compaction,
//! time (leases end only by revocation), alarms, and any code of the core: only etcd's
//! messages and the names of refusals are shared with what is tested.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/txn/`, `server/storage/mvcc/`, `v3rpc/key.go`

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb::{Event, KeyValue, event::EventType};

use crate::history::{Call, Reply};

pub mod auth;
mod check;
mod judged;
mod range;
mod txn;

pub use check::check;
pub use judged::Judged;
pub use range::{covers, sort_key};

/// What a model is told about the cluster it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The shortest lease granted, in seconds.
    pub lease_ttl_min: i64,
    /// Most operations in one transaction.
    pub txn_ops_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lease_ttl_min: 2, txn_ops_max: 128 }
    }
}

/// Whether a read below the compacted revision is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// It is, as in etcd.
    Checked,
    /// It is answered: for a checker that does not know when exactly the compaction came.
    Ignored,
}

/// One thing a key once was: its value, or gone.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    revision: i64,
    kv: Option<KeyValue>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Lease {
    ttl: i64,
    keys: BTreeSet<Bytes>,
}

/// The whole state. See the module.
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    revision: i64,
    compacted: i64,
    keys: BTreeMap<Bytes, Vec<Version>>,
    leases: BTreeMap<i64, Lease>,
    /// The events of revision `n + 2` stand at `n`.
    events: Vec<Vec<Event>>,
}

/// What a call answers, and what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The answer; its header carries the revision and nothing else.
    pub reply: Result<Reply, Refusal>,
    /// What happens when it is committed.
    pub effect: Effect,
}

/// What a call does to the state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    /// Changes of keys, in order; any at all make a revision.
    pub events: Vec<Event>,
    /// What happens beside keys.
    pub aside: Option<Aside>,
}

/// What makes no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// Revisions below this one are compacted.
    Compact(i64),
    /// A lease begins, with its id and TTL.
    Grant(i64, i64),
    /// A lease ends.
    Revoke(i64),
}

impl Default for Model {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Model {
    /// A fresh store.
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            revision: 1,
            compacted: -1,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// The newest revision.
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// The compacted revision; -1 if nothing ever was.
    pub const fn compacted(&self) -> i64 {
        self.compacted
    }

    /// What happened at `revision`.
    pub fn events(&self, revision: i64) -> &[Event] {
        let place = usize::try_from(revision - 2).ok();
        place.and_then(|n| self.events.get(n)).map_or(&[], Vec::as_slice)
    }

    /// Whether there is such a lease.
    pub fn has_lease(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// The TTL a lease was granted with; 0 if there is no such lease.
    pub fn granted(&self, id: i64) -> i64 {
        self.leases.get(&id).map_or(0, |lease| lease.ttl)
    }

    /// The leases there are, sorted.
    pub fn lease_ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.leases.keys().copied()
    }

    /// The keys attached to a lease, sorted.
    pub fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        self.leases.get(&id).map_or_else(Vec::new, |lease| lease.keys.iter().cloned().collect())
    }

    /// What `key` was at `revision`.
    pub fn kv_at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        let passed = versions.partition_point(|version| version.revision <= revision);
        versions.get(passed.checked_sub(1)?)?.kv.as_ref()
    }

    /// Does what `call` asks for and answers it.
    pub fn apply(&mut self, call: &Call) -> Result<Reply, Refusal> {
        let verdict = self.evaluate(call, Compaction::Checked);
        self.commit(verdict.effect);
        verdict.reply
    }

    /// What `call` would answer and do, here and now.
    pub fn evaluate(&self, call: &Call, compaction: Compaction) -> Verdict {
        let outcome = check(call, self.settings.txn_ops_max).and_then(|()| match call {
            Call::Range(range) => Ok((self.range(range, compaction)?, Effect::default())),
            Call::Put(_) | Call::DeleteRange(_) => txn::single(self, call),
            Call::Txn(txn) => txn::whole(self, txn, compaction),
            Call::Compact(compact) => self.compact(compact),
            Call::LeaseGrant(grant) => self.grant(grant),
            Call::LeaseRevoke(revoke) => self.revoke(revoke),
            Call::LeaseKeepAlive(_)
            | Call::LeaseTimeToLive(_)
            | Call::LeaseLeases(_)
            | Call::Alarm(_)
            | Call::MoveLeader(_)
            | Call::Downgrade(_)
            | Call::MemberAdd(_)
            | Call::MemberRemove(_)
            | Call::MemberUpdate(_)
            | Call::MemberPromote(_) => Err(Refusal::NotCapable),
        });
        match outcome {
            Ok((reply, effect)) => Verdict { reply: Ok(reply), effect },
            Err(refusal) => Verdict { reply: Err(refusal), effect: Effect::default() },
        }
    }

    /// Lets an effect happen.
    pub fn commit(&mut self, effect: Effect) {
        match effect.aside {
            Some(Aside::Compact(revision)) => self.compacted = revision,
            Some(Aside::Grant(id, ttl)) => {
                self.leases.insert(id, Lease { ttl, keys: BTreeSet::new() });
            }
            Some(Aside::Revoke(id)) => {
                self.leases.remove(&id);
            }
            None => {}
        }
        if effect.events.is_empty() {
            return;
        }
        self.revision += 1;
        for event in &effect.events {
            self.commit_event(event);
        }
        self.events.push(effect.events);
    }

    fn commit_event(&mut self, event: &Event) {
        let Some(kv) = &event.kv else { return };
        let versions = self.keys.entry(kv.key.clone()).or_default();
        let old = versions.last().and_then(|version| version.kv.as_ref());
        let old_lease = old.map_or(0, |old| old.lease);
        let new = (event.r#type == EventType::Put as i32).then(|| kv.clone());
        let new_lease = new.as_ref().map_or(0, |new| new.lease);
        versions.push(Version { revision: self.revision, kv: new });
        if let Some(lease) = self.leases.get_mut(&old_lease) {
            lease.keys.remove(&kv.key);
        }
        if let Some(lease) = self.leases.get_mut(&new_lease) {
            lease.keys.insert(kv.key.clone());
        }
    }

    fn compact(&self, compact: &pb::CompactionRequest) -> Result<(Reply, Effect), Refusal> {
        if compact.revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if compact.revision > self.revision {
            return Err(Refusal::FutureRev);
        }
        let header = header(self.revision);
        let aside = Some(Aside::Compact(compact.revision));
        Ok((
            Reply::Compact(pb::CompactionResponse { header }),
            Effect { aside, ..Effect::default() },
        ))
    }

    fn grant(&self, grant: &pb::LeaseGrantRequest) -> Result<(Reply, Effect), Refusal> {
        if self.has_lease(grant.id) {
            return Err(Refusal::LeaseExist);
        }
        let ttl = grant.ttl.max(self.settings.lease_ttl_min);
        let reply = pb::LeaseGrantResponse {
            header: header(self.revision),
            id: grant.id,
            ttl,
            error: String::new(),
        };
        let aside = Some(Aside::Grant(grant.id, ttl));
        Ok((Reply::LeaseGrant(reply), Effect { aside, ..Effect::default() }))
    }

    fn revoke(&self, revoke: &pb::LeaseRevokeRequest) -> Result<(Reply, Effect), Refusal> {
        let lease = self.leases.get(&revoke.id).ok_or(Refusal::LeaseNotFound)?;
        let next = self.revision + 1;
        let events: Vec<Event> = lease.keys.iter().map(|key| deletion(key.clone(), next)).collect();
        let header = header(if events.is_empty() { self.revision } else { next });
        let effect = Effect { events, aside: Some(Aside::Revoke(revoke.id)) };
        Ok((Reply::LeaseRevoke(pb::LeaseRevokeResponse { header }), effect))
    }
}

/// A header that carries a revision and nothing else.
const fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { cluster_id: 0, member_id: 0, revision, raft_term: 0 })
}

/// The event of a key's end.
fn deletion(key: Bytes, revision: i64) -> Event {
    let kv = KeyValue { key, mod_revision: revision, ..KeyValue::default() };
    Event { r#type: EventType::Delete as i32, kv: Some(kv), prev_kv: None }
}

#[cfg(test)]
mod tests;
