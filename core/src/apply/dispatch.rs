//! From an entry's request to the ledgers it changes.

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::etcdserverpb::{self as pb, AlarmType, InternalRaftRequest};
use quorate_proto::membershippb::DowngradeInfoSetRequest;
use quorate_proto::mvccpb::event::EventType;

use super::{Ledgers, Outcome};
use crate::auth::gate::{Gate, LeaseKeys};
use crate::auth::{Done, Identity};
use crate::error::{Refusal, StorageFault};
use crate::event::{Changes, KeyRange, ReadError};
use crate::ids::{LeaseId, LogIndex, MemberId, Revision};
use crate::lease::{Book, Revocation};
use crate::mvcc::Writer;
use crate::output::{Note, Response};
use crate::storage::Write;
use crate::time::Time;
use crate::txn::{self, Leases};

impl Leases for Book {
    fn exists(&self, lease: LeaseId) -> bool {
        Self::exists(self, lease)
    }
}

impl LeaseKeys for Book {
    fn check_each(
        &self,
        lease: LeaseId,
        check: &mut dyn FnMut(&Bytes) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.keys_of(lease).try_for_each(check)
    }
}

/// What an entry about users and roles comes to.
fn outcome_of(done: Result<Done, Refusal>) -> Outcome {
    match done {
        Ok(Done { writes, token }) => Outcome {
            result: Some(Ok(Response::Auth(pb::AuthenticateResponse { header: None, token }))),
            writes,
            has_new_facts: true,
            ..Outcome::default()
        },
        Err(refusal) => Outcome { result: Some(Err(refusal)), ..Outcome::default() },
    }
}

impl Ledgers {
    pub(super) fn dispatch(
        &mut self,
        now: Time,
        (request, index): (InternalRaftRequest, LogIndex),
    ) -> Result<Outcome, StorageFault> {
        let checked = self.refuse(&request).map_or(Ok(()), Err);
        if let Err(refusal) = checked.and_then(|()| self.check_author(&request)) {
            return Ok(Outcome { result: Some(Err(refusal)), ..Outcome::default() });
        }
        if let Some(done) = self.auth.apply((&request, index), now) {
            return Ok(outcome_of(done));
        }
        let InternalRaftRequest {
            put,
            delete_range,
            txn,
            compaction,
            lease_grant,
            lease_revoke,
            lease_checkpoint,
            alarm,
            cluster_version_set,
            cluster_member_attr_set,
            downgrade_info_set,
            ..
        } = request;
        if let Some(put) = put {
            self.write(|writer, leases| txn::apply_put(writer, &put, leases).map(Response::Put))
        } else if let Some(delete) = delete_range {
            self.write(|writer, _| {
                txn::apply_delete_range(writer, &delete).map(Response::DeleteRange)
            })
        } else if let Some(txn) = txn {
            self.write(|writer, leases| txn::apply_txn(writer, &txn, leases).map(Response::Txn))
        } else if let Some(compaction) = compaction {
            Ok(self.compact(&compaction))
        } else if let Some(grant) = lease_grant {
            Ok(self.grant(now, &grant))
        } else if let Some(revoke) = lease_revoke {
            self.revoke(&revoke)
        } else if let Some(checkpoint) = lease_checkpoint {
            Ok(self.checkpoint(now, &checkpoint))
        } else if let Some(alarm) = alarm {
            Ok(self.alarm(&alarm))
        } else if let Some(set) = cluster_version_set {
            let writes: Vec<_> = self.members.apply_version(&set.ver).into_iter().collect();
            let note = Some(Note::ClusterVersion { version: set.ver });
            Ok(Outcome { writes, note, has_new_facts: true, ..Outcome::default() })
        } else if let Some(set) = downgrade_info_set {
            Ok(self.downgrade(&set))
        } else if let Some(set) = cluster_member_attr_set {
            let writes: Vec<_> = self.members.apply_attributes(&set).into_iter().collect();
            Ok(Outcome { has_new_facts: !writes.is_empty(), writes, ..Outcome::default() })
        } else {
            Ok(Outcome::default())
        }
    }

    /// Whether whoever the header names may do this, by the rights of this moment.
    fn check_author(&self, request: &InternalRaftRequest) -> Result<(), Refusal> {
        if !self.auth.book.is_enabled() {
            return Ok(());
        }
        let header = request.header.as_ref();
        let who = header.map_or_else(Identity::default, |header| Identity {
            user: header.username.as_str().into(),
            revision: header.auth_revision,
        });
        Gate { book: &self.auth.book, who: &who, leases: &self.leases }.check(request)
    }

    /// The gates: what raised alarms refuse, on all members from the same entry on.
    fn refuse(&self, request: &InternalRaftRequest) -> Option<Refusal> {
        let changes_keys =
            request.put.is_some() || request.delete_range.is_some() || request.txn.is_some();
        let is_guarded = changes_keys
            || request.compaction.is_some()
            || request.lease_grant.is_some()
            || request.lease_revoke.is_some();
        if is_guarded && self.alarms.is_raised(AlarmType::Corrupt) {
            return Some(Refusal::Corrupt);
        }
        let needs_space = request.put.is_some()
            || request.lease_grant.is_some()
            || request.txn.as_ref().is_some_and(|txn| crate::alarm::txn_cost(txn) > 0);
        (needs_space && self.alarms.is_raised(AlarmType::Nospace)).then_some(Refusal::NoSpace)
    }

    /// Runs `work` as one mutation of the key store and carries its effects to the leases.
    fn write(
        &mut self,
        work: impl FnOnce(&mut Writer<'_>, &Book) -> Result<Response, ReadError>,
    ) -> Result<Outcome, StorageFault> {
        let mut writer = self.kv.writer();
        let result = match work(&mut writer, &self.leases) {
            Ok(response) => Ok(response),
            Err(ReadError::Refused(refusal)) => Err(refusal),
            Err(ReadError::Fault(fault)) => return Err(fault),
        };
        let done = writer.finish();
        if let Some(changes) = &done.changes {
            self.carry_to_leases(changes);
        }
        Ok(Outcome {
            result: Some(result),
            changes: done.changes,
            writes: done.writes,
            ..Outcome::default()
        })
    }

    fn carry_to_leases(&mut self, changes: &Changes) {
        for event in changes.events.iter() {
            let Some(kv) = &event.kv else { continue };
            if event.r#type() == EventType::Put && kv.lease != 0 {
                // The put was refused if there is no such lease.
                let _ = self.leases.attach(LeaseId(kv.lease), &kv.key);
            } else if !crate::planted!("deleted-key-stays-attached") {
                self.leases.detach(&kv.key);
            }
        }
    }

    fn compact(&mut self, request: &pb::CompactionRequest) -> Outcome {
        let (result, writes) = match self.kv.compact(Revision(request.revision)) {
            Ok(writes) => (Ok(Response::Compact(pb::CompactionResponse::default())), writes),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        Outcome { result: Some(result), writes, ..Outcome::default() }
    }

    fn grant(&mut self, now: Time, request: &pb::LeaseGrantRequest) -> Outcome {
        let (result, writes) = match self.leases.grant(LeaseId(request.id), request.ttl, now) {
            Ok(grant) => {
                let (id, ttl) = (grant.id.get(), grant.ttl);
                let response = pb::LeaseGrantResponse { id, ttl, ..Default::default() };
                (Ok(Response::LeaseGrant(response)), alloc::vec![grant.write])
            }
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        Outcome { result: Some(result), writes, ..Outcome::default() }
    }

    fn revoke(&mut self, request: &pb::LeaseRevokeRequest) -> Result<Outcome, StorageFault> {
        let Revocation { keys, write } = match self.leases.revoke(LeaseId(request.id)) {
            Ok(revocation) => revocation,
            Err(refusal) => {
                return Ok(Outcome { result: Some(Err(refusal)), ..Outcome::default() });
            }
        };
        if crate::planted!("revoke-spread") && keys.len() > 1 {
            return self.revoke_one_by_one(keys, write);
        }
        if keys.len() > 1 {
            crate::probe!("lease with several keys ended");
        }
        let mut outcome = self.write(|writer, _| {
            for key in keys {
                writer.delete_range(&KeyRange::One(key));
            }
            Ok(Response::LeaseRevoke(pb::LeaseRevokeResponse::default()))
        })?;
        outcome.writes.push(write);
        Ok(outcome)
    }

    /// The mistake of that name: each key dies in a revision of its own.
    fn revoke_one_by_one(
        &mut self,
        keys: Vec<Bytes>,
        write: Write,
    ) -> Result<Outcome, StorageFault> {
        let mut all = Outcome { writes: alloc::vec![write], ..Outcome::default() };
        for key in keys {
            let one = self.write(|writer, _| {
                writer.delete_range(&KeyRange::One(key));
                Ok(Response::LeaseRevoke(pb::LeaseRevokeResponse::default()))
            })?;
            all.writes.extend(one.writes);
            (all.result, all.changes) = (one.result, one.changes);
        }
        Ok(all)
    }

    fn checkpoint(&mut self, now: Time, request: &pb::LeaseCheckpointRequest) -> Outcome {
        let mut writes: Vec<Write> = Vec::new();
        for point in &request.checkpoints {
            let lease = LeaseId(point.id);
            writes.extend(self.leases.apply_checkpoint(lease, point.remaining_ttl, now));
        }
        Outcome { writes, ..Outcome::default() }
    }

    fn downgrade(&mut self, set: &DowngradeInfoSetRequest) -> Outcome {
        let writes = alloc::vec![self.members.apply_downgrade(set)];
        let result = Some(Ok(Response::Downgrade(self.members.tell_downgrade())));
        Outcome { result, writes, has_new_facts: true, ..Outcome::default() }
    }

    fn alarm(&mut self, request: &pb::AlarmRequest) -> Outcome {
        let (alarms, writes) = self.alarms.apply(request);
        let note = (!writes.is_empty()).then(|| Note::Alarm {
            member: MemberId(request.member_id),
            kind: AlarmType::try_from(request.alarm).map_or("UNKNOWN", |k| k.as_str_name()),
            raised: request.action == pb::alarm_request::AlarmAction::Activate as i32,
        });
        let response = pb::AlarmResponse { header: None, alarms };
        Outcome {
            result: Some(Ok(Response::Alarm(response))),
            has_new_facts: !writes.is_empty(),
            writes,
            note,
            ..Outcome::default()
        }
    }
}
