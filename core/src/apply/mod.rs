//! One committed entry in, one outcome out: the only place that changes more than one ledger.
//!
//! ```text
//!   entry --decode--> gates --> dispatch --> mvcc / txn --events--> leases
//!                                       \--> leases --keys--> mvcc
//!                                       \--> members, alarms
//!                    outcome: answer for whoever waits, changes for watchers, rows for the store
//! ```
//!
//! Worked example: a `LeaseRevoke` asks the book which keys hang on the lease, deletes them in
//! the key store in one revision, and removes the lease's row in the same batch.
//!
//! Invariants:
//! - equal entries on equal state give equal outcomes: nothing here reads a clock for a decision,
//!   a random number, or anything that differs between members;
//! - an entry at or below the applied index changes nothing;
//! - the digest after an entry depends on every row the entry wrote, and on nothing else; in what
//!   was adopted from etcd, on those of the present term.
//!
//! Absent on purpose: errors that are not deterministic. A refusal here is an outcome like any
//! other.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/apply/`

mod dispatch;
mod known;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;
use quorate_proto::etcdserverpb::{self as pb, InternalRaftRequest};
use quorate_proto::raftpb::{ConfChange, ConfChangeV2};

pub use known::check_known;

use crate::alarm::Alarms;
use crate::auth::AuthView;
use crate::config::Config;
use crate::error::{Refusal, StorageFault};
use crate::event::Changes;
use crate::ids::{LeaseId, LogIndex, MemberId, RequestId};
use crate::lease::Book;
use crate::limits::HEADS_RECORDS_MAX;
use crate::membership::{Change, MemberRecord, Members, apply_to_conf_state};
use crate::mvcc::Mvcc;
use crate::output::{Note, Response};
use crate::pinch::Site;
use crate::schema::heads::Head;
use crate::schema::{self, Progress, fenced_row, layout};
use crate::storage::{Entry, EntryKind, SnapshotMark, StateRead, Table, Write};
use crate::time::Time;

/// Everything entries change.
pub(crate) struct Ledgers {
    pub(crate) kv: Mvcc,
    pub(crate) leases: Book,
    pub(crate) members: Members,
    pub(crate) alarms: Alarms,
    pub(crate) auth: AuthView,
    pub(crate) progress: Progress,
    /// The row that says how rows are laid out, where the store does not have it yet.
    pub(crate) layout: Option<Write>,
    /// Whether members have no common digest to begin with: see [`Ledgers::digest_after`].
    is_adopted: bool,
}

/// What one entry did.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The proposal's id; none for entries nobody waits for.
    pub(crate) id: Option<RequestId>,
    /// The answer, its header not yet filled.
    pub(crate) result: Option<Result<Response, Refusal>>,
    /// What watchers must hear.
    pub(crate) changes: Option<Changes>,
    /// Rows to store.
    pub(crate) writes: Vec<Write>,
    /// For a change of the group, whether it was accepted.
    pub(crate) change: Option<bool>,
    /// Whether the raft group's configuration changed.
    pub(crate) has_new_conf_state: bool,
    /// Whether members, alarms or the version changed.
    pub(crate) has_new_facts: bool,
    /// For the log file.
    pub(crate) note: Option<Note>,
}

impl Ledgers {
    /// Reads all ledgers from the store.
    pub(crate) fn open(config: &Config, image: Arc<dyn StateRead>) -> Result<Self, StorageFault> {
        let layout = layout::check(image.as_ref())?;
        let mut leases = open_leases(config, image.as_ref())?;
        let members = Members::load(image.as_ref())?;
        let alarms = Alarms::load(image.as_ref())?;
        let auth = AuthView::load(image.as_ref(), config.token_ttl)?;
        let progress = Progress::load(image.as_ref())?;
        let is_adopted = schema::is_adopted(image.as_ref())?;
        let heads_max = config.pinch.bound(Site::CompactedKeys, HEADS_RECORDS_MAX);
        let kv = Mvcc::open_showing(image, heads_max, &mut |head| {
            if !crate::planted!("attachments-lost-at-restart") {
                attach_again(&mut leases, head);
            }
        })?;
        Ok(Self { kv, leases, members, alarms, auth, progress, layout, is_adopted })
    }

    /// Applies the next entry. `None` if it was applied before.
    pub(crate) fn apply(
        &mut self,
        now: Time,
        entry: &Entry,
    ) -> Result<Option<Outcome>, StorageFault> {
        if entry.index <= self.progress.mark.index {
            return Ok(None);
        }
        self.check_order(entry)?;
        self.progress.mark.index = entry.index;
        self.progress.mark.term = entry.term;
        let outcome = match entry.kind {
            EntryKind::Normal => self.apply_normal(now, entry)?,
            EntryKind::ConfChange => self.apply_conf_change(entry),
            EntryKind::ConfChangeV2 => self.apply_conf_change_v2(entry),
        };
        self.progress.digest = self.digest_after(entry, &outcome.writes);
        Ok(Some(outcome))
    }

    /// The digest after an entry. etcd's members have none, and each was adopted at an entry of its
    /// own: they have a common past only from some leader's first entry on. So each of those begins
    /// the chain anew, and before the first one it stays at zero, which says nothing.
    fn digest_after(&self, entry: &Entry, writes: &[Write]) -> u64 {
        let before = self.progress.digest;
        let is_leaders_first = entry.kind == EntryKind::Normal && entry.data.is_empty();
        match (self.is_adopted, is_leaders_first) {
            (false, _) => digest(before, writes),
            (true, true) => chain(entry.term.get(), &entry.index.get().to_be_bytes()),
            (true, false) if before == 0 => 0,
            (true, false) => digest(before, writes),
        }
    }

    fn check_order(&self, entry: &Entry) -> Result<(), StorageFault> {
        let due = self.progress.mark.index.next();
        if entry.index == due {
            return Ok(());
        }
        let what = alloc::format!("entry {} came where {due} was due to be applied", entry.index);
        Err(StorageFault::new(what))
    }

    fn apply_normal(&mut self, now: Time, entry: &Entry) -> Result<Outcome, StorageFault> {
        if entry.data.is_empty() {
            return Ok(Outcome::default());
        }
        // Nobody but members writes entries, and they encode what they decoded: an entry that
        // does not read is damage that every member would see alike. It means nothing.
        let Ok(request) = InternalRaftRequest::decode(entry.data.clone()) else {
            return Ok(Outcome::default());
        };
        let id = request.header.as_ref().map_or(request.id, |header| header.id);
        let mut outcome = self.dispatch(now, (request, entry.index))?;
        outcome.id = Some(RequestId(id));
        Ok(outcome)
    }

    fn apply_conf_change(&mut self, entry: &Entry) -> Outcome {
        match ConfChange::decode(entry.data.clone()) {
            Ok(change) => self.apply_change(&change),
            Err(_) => Outcome { change: Some(false), ..Outcome::default() },
        }
    }

    /// Several changes at once, which no client can ask for: those that are possible happen, and
    /// the group's own rules are the leader's affair.
    fn apply_conf_change_v2(&mut self, entry: &Entry) -> Outcome {
        let mut all = Outcome { change: Some(false), ..Outcome::default() };
        let Ok(changes) = ConfChangeV2::decode(entry.data.clone()) else { return all };
        all.change = Some(true);
        for single in &changes.changes {
            let one = self.apply_change(&ConfChange {
                id: 0,
                r#type: single.r#type,
                node_id: single.node_id,
                context: changes.context.clone(),
            });
            all.writes.extend(one.writes);
            all.has_new_conf_state |= one.has_new_conf_state;
            all.has_new_facts |= one.has_new_facts;
        }
        all
    }

    fn apply_change(&mut self, change: &ConfChange) -> Outcome {
        let id = Some(RequestId(change.id));
        let refuse = |refusal| Outcome {
            id,
            result: Some(Err(refusal)),
            change: Some(false),
            ..Outcome::default()
        };
        let Some(wanted) = Change::load(change) else { return refuse(Refusal::MemberNotFound) };
        let writes = match self.members.apply_change(&wanted) {
            Ok(writes) => writes,
            Err(refusal) => return refuse(refusal),
        };
        apply_to_conf_state(&mut self.progress.mark.conf_state, &wanted);
        let (response, note) = self.tell_change(&wanted);
        Outcome {
            id,
            result: Some(Ok(response)),
            writes,
            change: Some(true),
            has_new_conf_state: true,
            has_new_facts: true,
            note: Some(note),
            ..Outcome::default()
        }
    }

    /// The answer to whoever wanted the change, and the word for the log file.
    fn tell_change(&self, change: &Change) -> (Response, Note) {
        let members = self.members.list().to_vec();
        let find = |id: u64| members.iter().find(|member| member.id == id).cloned();
        match change {
            Change::Add(record) => {
                let member = find(record.id);
                let response = pb::MemberAddResponse { member, members, ..Default::default() };
                let note = Note::MemberAdded { member: MemberId(record.id) };
                (Response::MemberAdd(response), note)
            }
            Change::Promote(member) => {
                let response = pb::MemberPromoteResponse { header: None, members };
                (Response::MemberPromote(response), Note::MemberPromoted { member: *member })
            }
            Change::Update(record) => {
                let response = pb::MemberUpdateResponse { header: None, members };
                let note = Note::MemberUpdated { member: MemberId(record.id) };
                (Response::MemberUpdate(response), note)
            }
            Change::Remove(member) => {
                let response = pb::MemberRemoveResponse { header: None, members };
                (Response::MemberRemove(response), Note::MemberRemoved { member: *member })
            }
        }
    }
}

/// Rows of a store that has nothing but knows what it lacks: a log goes on after `mark`, and a
/// leader, one of `members`, has an image of what was before. Without such a point there is nothing
/// to say.
pub fn rows_awaiting_image(mark: &SnapshotMark, members: &[MemberRecord]) -> Vec<Write> {
    let mut writes = Vec::new();
    if mark.index > LogIndex(0) {
        Progress { mark: mark.clone(), digest: 0 }.encode(true, &mut writes);
        writes.push(fenced_row(None));
        writes.extend(members.iter().map(MemberRecord::row));
    }
    writes
}

/// Reads the `lease` table.
fn open_leases(config: &Config, image: &dyn StateRead) -> Result<Book, StorageFault> {
    let mut rows = Vec::new();
    image.scan(Table::Lease, &[], &[], &mut |key, value| {
        rows.push((Bytes::copy_from_slice(key), value.clone()));
        ControlFlow::Continue(())
    })?;
    let book = Book::open(rows, config.lease_ttl_min(), config.request_timeout())?;
    Ok(book.checkpointing(config.lease_checkpoint_interval))
}

/// Hangs a key on its lease again, or takes it off, as one record after the other tells.
fn attach_again(leases: &mut Book, head: &Head<'_>) {
    let names_one = head.lease != 0 && !head.row.is_tombstone;
    // A record may name a lease that was lost to a restore: the key belongs to none then.
    if !names_one || leases.attach(LeaseId(head.lease), head.key).is_err() {
        leases.detach(head.key);
    }
}

/// The digest after `writes`, chained on the digest before them.
fn digest(before: u64, writes: &[Write]) -> u64 {
    writes.iter().fold(before, |before, write| {
        let keyed = chain(before ^ (write.table as u64 + 1), &write.key);
        match &write.value {
            Some(value) => chain(keyed, value),
            None => !keyed,
        }
    })
}

fn chain(before: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, before)
}

#[cfg(test)]
mod tests;
