//! Replication from a leader that never changes.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::error::StorageFault;
use quorate_core::ids::{LogIndex, MemberId, Term};
use quorate_core::output::Persist;
use quorate_core::storage::{Entry, HardState, LogContents, SnapshotMark};
use quorate_core::time::{Duration, Time, Wake};
use quorate_core::{Config, Machine, ReplicaInput, ReplicaOutput, Role};
use quorate_proto::raftpb;
use quorate_proto::raftpb::MessageType as Kind;

use super::Planted;

pub(super) const TERM: u64 = 1;

/// See the module.
pub struct ToyReplica {
    me: MemberId,
    peers: Vec<MemberId>,
    planted: Planted,
    mark: SnapshotMark,
    entries: VecDeque<Entry>,
    number: u64,
    /// Batches not yet persisted, with the last index of each.
    writing: VecDeque<(u64, u64)>,
    persisted: u64,
    commit: u64,
    handed: u64,
    /// What each follower has.
    matched: BTreeMap<MemberId, u64>,
    next: BTreeMap<MemberId, u64>,
    wants_image: bool,
    outputs: VecDeque<ReplicaOutput>,
    tick: Duration,
    tick_at: Time,
}

impl ToyReplica {
    pub(super) fn open(
        config: &Config,
        stored: SnapshotMark,
        log: LogContents,
        now: Time,
        planted: Planted,
    ) -> Result<Self, StorageFault> {
        let last = log.mark.index.0 + log.entries.len() as u64;
        let mut replica = Self {
            me: config.member,
            peers: config.bootstrap.iter().map(|peer| peer.id).collect(),
            planted,
            mark: log.mark,
            entries: log.entries.into(),
            number: 0,
            writing: VecDeque::new(),
            persisted: last,
            commit: log.hard_state.commit.0.clamp(stored.index.0, last),
            handed: stored.index.0,
            matched: BTreeMap::new(),
            next: BTreeMap::new(),
            wants_image: false,
            outputs: VecDeque::new(),
            tick: config.heartbeat_interval,
            tick_at: now,
        };
        let role =
            Role { term: Term(TERM), leader: Some(replica.leader()), is_leader: replica.leads() };
        replica.outputs.push_back(ReplicaOutput::Role(role));
        replica.hand_over();
        Ok(replica)
    }

    /// Everyone, for ever.
    pub(super) fn group(&self) -> raftpb::ConfState {
        let voters = self.peers.iter().map(|peer| peer.0).collect();
        raftpb::ConfState { voters, ..raftpb::ConfState::default() }
    }

    fn leader(&self) -> MemberId {
        self.peers[0]
    }

    fn leads(&self) -> bool {
        self.me == self.leader()
    }

    fn last(&self) -> u64 {
        self.mark.index.0 + self.entries.len() as u64
    }

    fn send(&mut self, to: MemberId, kind: Kind, fill: impl FnOnce(&mut raftpb::Message)) {
        let mut message = raftpb::Message {
            to: to.0,
            from: self.me.0,
            term: TERM,
            commit: self.commit,
            ..raftpb::Message::default()
        };
        message.set_type(kind);
        fill(&mut message);
        self.outputs.push_back(ReplicaOutput::Send { to, message });
    }

    fn persist(&mut self, entries: Vec<Entry>, snapshot: Option<SnapshotMark>) {
        self.number += 1;
        self.writing.push_back((self.number, self.last()));
        let commit = LogIndex(self.commit);
        self.outputs.push_back(ReplicaOutput::Persist(Persist {
            number: self.number,
            hard_state: Some(HardState { term: Term(TERM), vote: self.leader().0, commit }),
            entries,
            snapshot,
            must_sync: true,
        }));
    }

    fn append(&mut self, data: bytes::Bytes) {
        let index = LogIndex(self.last() + 1);
        let entry = Entry { term: Term(TERM), index, data, ..Entry::default() };
        self.entries.push_back(entry.clone());
        self.persist(vec![entry], None);
    }

    fn hand_over(&mut self) {
        let upto = self.commit.min(self.persisted);
        if upto <= self.handed {
            return;
        }
        let skip = (self.handed - self.mark.index.0) as usize;
        let take = (upto - self.handed) as usize;
        let entries = self.entries.iter().skip(skip).take(take).cloned().collect();
        self.handed = upto;
        self.outputs.push_back(ReplicaOutput::CommitIndex { index: LogIndex(upto) });
        self.outputs.push_back(ReplicaOutput::Committed { entries });
    }

    fn advance(&mut self) {
        let mut all: Vec<_> = self.peers.iter().map(|p| self.matched.get(p).copied()).collect();
        all[0] = Some(self.persisted);
        all.sort();
        let quorum = all[(all.len() - 1) / 2].unwrap_or(0);
        self.commit = self.commit.max(quorum);
        self.hand_over();
    }

    fn tell_followers(&mut self) {
        for to in self.peers.clone().into_iter().skip(1) {
            let next = *self.next.entry(to).or_insert(self.persisted + 1);
            if next <= self.mark.index.0 {
                if !std::mem::replace(&mut self.wants_image, true) {
                    self.outputs.push_back(ReplicaOutput::TakeSnapshot);
                }
                continue;
            }
            let skip = (next - 1 - self.mark.index.0) as usize;
            // There are no terms: what a crash might take from the leader must not be elsewhere.
            let is_early = self.planted == Planted::EarlyAck;
            let upto = if is_early { self.last() } else { self.persisted };
            let take = upto.saturating_sub(next - 1).min(64) as usize;
            let entries = self.entries.iter().skip(skip).take(take).map(|entry| raftpb::Entry {
                term: entry.term.0,
                index: entry.index.0,
                data: entry.data.clone(),
                ..raftpb::Entry::default()
            });
            let entries = entries.collect();
            self.send(to, Kind::MsgApp, |message| {
                message.index = next - 1;
                message.entries = entries;
            });
        }
    }

    fn follow(&mut self, message: raftpb::Message) {
        if message.index > self.last() {
            let index = self.last();
            return self.send(self.leader(), Kind::MsgAppResp, |reply| {
                (reply.index, reply.reject) = (index, true);
            });
        }
        let last = self.last();
        let new: Vec<_> = message
            .entries
            .into_iter()
            .filter(|entry| entry.index > last)
            .map(|entry| Entry {
                term: Term(entry.term),
                index: LogIndex(entry.index),
                data: entry.data,
                ..Entry::default()
            })
            .collect();
        self.commit = self.commit.max(message.commit.min(last + new.len() as u64));
        self.entries.extend(new.iter().cloned());
        if !new.is_empty() {
            self.persist(new, None);
        }
        if self.planted == Planted::EarlyAck || self.writing.is_empty() {
            self.acknowledge(self.last());
        }
        self.hand_over();
    }

    fn acknowledge(&mut self, index: u64) {
        self.send(self.leader(), Kind::MsgAppResp, |reply| reply.index = index);
    }

    fn take_image(&mut self, message: &raftpb::Message) {
        let snapshot = message.snapshot.as_ref();
        let Some(meta) = snapshot.and_then(|s| s.metadata.as_ref()) else { return };
        if meta.index <= self.last() {
            return self.acknowledge(self.persisted);
        }
        self.mark = mark(meta.index);
        self.entries.clear();
        (self.commit, self.handed) = (meta.index, meta.index);
        let mark = self.mark.clone();
        self.persist(Vec::new(), Some(mark));
    }

    fn handle_peer(&mut self, from: MemberId, message: raftpb::Message) {
        if message.to != self.me.0 {
            return;
        }
        match message.r#type() {
            Kind::MsgProp if self.leads() => {
                message.entries.into_iter().for_each(|entry| self.append(entry.data));
            }
            Kind::MsgApp => self.follow(message),
            Kind::MsgSnap => self.take_image(&message),
            Kind::MsgAppResp if self.leads() => {
                if !message.reject {
                    let matched = self.matched.entry(from).or_default();
                    *matched = message.index.max(*matched);
                }
                self.next.insert(from, message.index + 1);
                self.advance();
            }
            _ => {}
        }
    }
}

/// A mark of the only term there is.
pub(super) fn mark(index: u64) -> SnapshotMark {
    SnapshotMark { index: LogIndex(index), term: Term(TERM), ..SnapshotMark::default() }
}

impl Machine for ToyReplica {
    type Input = ReplicaInput;
    type Output = ReplicaOutput;

    fn handle(&mut self, _: Time, input: ReplicaInput) {
        match input {
            ReplicaInput::Propose { data, .. } if self.leads() => self.append(data),
            ReplicaInput::Propose { data, .. } => {
                let entry = raftpb::Entry { data, ..raftpb::Entry::default() };
                self.send(self.leader(), Kind::MsgProp, |message| message.entries = vec![entry]);
            }
            ReplicaInput::Barrier { context } if self.leads() => {
                let index = LogIndex(self.commit);
                self.outputs.push_back(ReplicaOutput::BarrierReached { context, index });
            }
            ReplicaInput::Barrier { context } => {
                self.outputs.push_back(ReplicaOutput::BarrierLost { context });
            }
            ReplicaInput::Peer { from, message } => self.handle_peer(from, message),
            ReplicaInput::Persisted { number } => {
                while let Some((_, last)) = self.writing.pop_front_if(|first| first.0 <= number) {
                    self.persisted = last;
                }
                if self.leads() {
                    self.advance()
                } else {
                    self.acknowledge(self.persisted)
                }
                self.hand_over();
            }
            ReplicaInput::Synced { mark } if mark.index.0 > self.mark.index.0 + 20 => {
                let gone = (mark.index.0 - self.mark.index.0) as usize;
                self.entries.drain(..gone);
                self.mark = mark.clone();
                self.outputs.push_back(ReplicaOutput::Cut { mark });
            }
            ReplicaInput::SnapshotTaken { mark } => {
                self.wants_image = false;
                for to in self.peers.clone() {
                    if self.next.get(&to).is_some_and(|next| *next <= self.mark.index.0) {
                        let metadata = raftpb::SnapshotMetadata {
                            index: mark.index.0,
                            term: mark.term.0,
                            ..raftpb::SnapshotMetadata::default()
                        };
                        let snapshot =
                            raftpb::Snapshot { metadata: Some(metadata), ..Default::default() };
                        self.send(to, Kind::MsgSnap, |m| m.snapshot = Some(snapshot));
                    }
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.tick_at = now + self.tick;
        if self.leads() {
            self.tell_followers();
        }
    }

    fn poll_output(&mut self) -> Option<ReplicaOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        Some(Wake { at: self.tick_at, timer: "tick" })
    }
}
