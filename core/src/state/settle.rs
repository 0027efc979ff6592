//! What leaves when the outputs are drained: one barrier, one batch, one view.

use alloc::string::ToString;
use alloc::sync::Arc;

use quorate_proto::etcdserverpb as pb;

use super::{Shipped, State};
use crate::error::StorageFault;
use crate::ids::Revision;
use crate::limits::{COMPACT_KEYS_MAX, HEADS_ROWS_PER_BATCH};
use crate::membership::MinorVersion;
use crate::output::{Batch, Note, Response, StateOutput};
use crate::pinch::Site;
use crate::tally::Tally;
use crate::time::Duration;
use crate::view::{Facts, View};

/// Time between two slices of a compaction, for everybody else.
const COMPACT_PAUSE: Duration = Duration::from_micros(2_500);

impl State {
    /// Turns everything fed since the last drain into outputs.
    pub(super) fn settle(&mut self) {
        self.send_report();
        self.look_after_alarms();
        if self.trust.is_fenced() {
            return self.settle_fenced();
        }
        self.announce();
        self.propose_change();
        self.ship();
        self.try_to(|this| this.hub.step(this.now, this.ledgers.kv.now()));
        while let Some((stream, frame)) = self.hub.poll_frame() {
            self.outputs.push_back(StateOutput::Stream { stream, frame });
        }
        if core::mem::take(&mut self.draft.has_new_view)
            || self.has_new_audience()
            || self.is_alone() != self.view.facts.is_alone
        {
            self.publish();
        }
        self.release_readers();
        if self.role.leader.is_some() {
            while let Some(context) = self.lane.poll_barrier(self.now) {
                self.outputs.push_back(StateOutput::Barrier { context });
            }
        }
        self.send_questions();
    }

    /// What is not to be trusted is shown to nobody.
    fn settle_fenced(&mut self) {
        if core::mem::take(&mut self.draft.has_new_view) {
            self.publish();
        }
        self.send_questions();
    }

    /// One batch for all that was applied; the applied index inside it.
    pub(super) fn ship(&mut self) {
        let has_applied = core::mem::take(&mut self.draft.has_applied);
        if !has_applied && self.draft.writes.is_empty() {
            return;
        }
        let mut writes = core::mem::take(&mut self.draft.writes);
        let has_new_conf_state = core::mem::take(&mut self.draft.has_new_conf_state);
        writes.extend(self.ledgers.layout.take());
        let full = core::iter::from_fn(|| self.ledgers.kv.poll_heads());
        writes.extend(full.take(HEADS_ROWS_PER_BATCH));
        let progress = &self.ledgers.progress;
        progress.encode(has_new_conf_state, &mut writes);
        let index = progress.mark.index;
        let digest = progress.digest;
        let is_sync_due = self.draft.entries_since_sync >= self.config.snapshot_count
            || self.draft.bytes_since_sync >= self.config.log_bytes_max / 2;
        if is_sync_due {
            self.draft.entries_since_sync = 0;
            self.draft.bytes_since_sync = 0;
        }
        let sync = is_sync_due.then(|| progress.mark.clone());
        let revision = self.ledgers.kv.revision();
        let finished = self.draft.finished.take();
        self.shipped.push_back(Shipped { index, revision, sync, finished });
        let batch = Batch { epoch: self.epoch, index, writes, sync: is_sync_due };
        self.outputs.push_back(StateOutput::Store(batch));
        if has_applied {
            self.draft.has_new_view = true;
            self.reconsider_parked();
            self.outputs.push_back(StateOutput::Applied { index, digest });
        }
    }

    /// Whether watchers came or went since the last view: it counts them.
    fn has_new_audience(&self) -> bool {
        let shown = &self.view.facts;
        (shown.streams, shown.watchers, shown.watchers_behind)
            != (self.hub.streams(), self.hub.watchers(), self.hub.behind())
    }

    fn publish(&mut self) {
        if core::mem::take(&mut self.draft.has_new_facts) {
            self.refresh_facts();
        }
        let is_alone = self.is_alone();
        if is_alone {
            crate::probe!("current without a barrier");
        }
        let facts = Facts {
            applied: self.ledgers.progress.mark.index,
            committed: self.committed,
            role: self.role,
            db_size: self.db_size.0,
            db_size_in_use: self.db_size.1,
            is_fenced: self.trust.is_fenced(),
            is_alone,
            memory: self.memory,
            pending: self.pending.len(),
            leases: self.ledgers.leases.len(),
            watchers: self.hub.watchers(),
            streams: self.hub.streams(),
            watchers_behind: self.hub.behind(),
            tally: Tally { barriers_slow: self.lane.retries(), ..self.tally },
            ..self.facts.clone()
        };
        self.view = View::new(self.ledgers.kv.view(), facts);
        self.outputs.push_back(StateOutput::Publish(self.view.clone()));
    }

    /// Copies what changes rarely out of its ledgers, so that publishing a view shares it.
    fn refresh_facts(&mut self) {
        let (config, members) = (&self.config, &self.ledgers.members);
        let is_published = members.has_published(config.member, &config.name, &config.client_urls);
        let was_published = self.facts.is_published;
        self.facts = Facts {
            member: config.member,
            cluster: config.cluster,
            members: members.list(),
            removed: members.removed(),
            auth: self.ledgers.auth.clone(),
            alarms: self.ledgers.alarms.list(),
            cluster_version: members.version().map_or(Arc::default(), shared),
            downgrade: members.downgrade().map(shared),
            is_published,
            ..Facts::default()
        };
        if is_published && !was_published {
            self.note(Note::Published);
        }
    }

    /// One slice of the compaction under way.
    pub(super) fn on_compaction(&mut self) -> Result<(), StorageFault> {
        self.compact_at = None;
        let keys_max = self.config.pinch.bound(Site::CompactedKeys, COMPACT_KEYS_MAX);
        let Some(slice) = self.ledgers.kv.compact_slice(keys_max)? else { return Ok(()) };
        self.tally.rows_compacted += slice.rows_removed();
        self.draft.writes.extend(slice.writes);
        self.draft.has_new_view = true;
        if let Some(revision) = slice.finished {
            self.draft.finished = Some(revision);
            self.note(Note::CompactionFinished { revision });
        }
        if self.ledgers.kv.is_compacting() {
            self.compact_at = Some(self.now + COMPACT_PAUSE);
        }
        Ok(())
    }

    /// A compaction's last row is gone from the store: answers those who waited for that.
    pub(super) fn release_physical(&mut self, finished: Revision) {
        let header = self.header();
        for (revision, token) in core::mem::take(&mut self.physical) {
            if revision > finished {
                self.physical.push((revision, token));
                continue;
            }
            let mut response = Response::Compact(pb::CompactionResponse::default());
            response.set_header(header);
            self.respond(token, Ok(response));
        }
    }
}

fn shared(version: MinorVersion) -> Arc<str> {
    Arc::from(version.to_string())
}
