//! Random walks: members driven by a seed, with everything going wrong that may.

mod raft_net;

use std::collections::BTreeMap;
use std::hash::Hasher;

use bytes::Bytes;
use quorate_core::draw::{Domain, draw, draw_below};
use quorate_core::error::Misbehaviour;
use quorate_core::ids::{BarrierId, LogIndex, MemberId};
use quorate_core::input::{ReplicaInput, Role};
use quorate_core::output::ReplicaOutput;
use quorate_core::storage::Entry;
use quorate_core::time::Duration;
use quorate_proto::raftpb::{self, MessageType as Kind};
use raft_net::Net;

struct Walk {
    net: Net,
    seed: u64,
    drawn: u64,
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// What was committed anywhere, by index.
    committed: BTreeMap<u64, Entry>,
    /// Barriers asked for: what was committed anywhere at that time.
    asked: BTreeMap<u64, u64>,
    reached: usize,
    hash: u64,
}

impl Walk {
    fn new(seed: u64, members: u64) -> Self {
        let mut walk = Self {
            net: Net::default(),
            seed,
            drawn: 0,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            asked: BTreeMap::new(),
            reached: 0,
            hash: 0,
        };
        let group: Vec<u64> = (1..=members).collect();
        for &id in &group {
            walk.net.add(id, &group, |config| {
                config.seed = seed;
                config.snapshot_catchup_entries = 4;
            });
        }
        walk
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        draw_below(bound, draw(self.seed, Domain::Shell as u64, 0, self.drawn))
    }

    fn step(&mut self) {
        let members = self.net.members.len() as u64;
        let id = 1 + self.below(members);
        match self.below(100) {
            0..40 => self.move_letter(),
            40..60 => {
                let count = 1 + self.below(3) as usize;
                self.net.persist(id, count);
            }
            60..75 => {
                let ticks = Duration::from_millis(100);
                self.net.elapse(id, ticks);
            }
            75..83 => {
                for _ in 0..=self.below(3) {
                    self.net.propose(id, self.drawn, format!("{}", self.drawn));
                }
                self.net.drain(id);
            }
            83..88 => {
                let context = BarrierId(self.drawn);
                let newest = self.committed.keys().next_back().copied().unwrap_or(0);
                self.asked.insert(context.get(), newest);
                self.net.handle(id, ReplicaInput::Barrier { context });
            }
            88..92 => self.crash_or_restart(id),
            92..95 => {
                let mark = self.net.member(id).sync_store();
                if self.net.member(id).replica.is_some() {
                    self.net.handle(id, ReplicaInput::Synced { mark });
                }
            }
            95 => self.net.handle(id, ReplicaInput::TransferLeader { to: None }),
            96 => {
                let to = MemberId(1 + self.below(members));
                self.net.handle(id, ReplicaInput::Unreachable { to });
            }
            97 => {
                let is_held = self.net.member(id).holds_applied;
                self.net.member(id).holds_applied = !is_held;
                let index = self.net.member(id).applied.index;
                if is_held && self.net.member(id).replica.is_some() {
                    self.net.handle(id, ReplicaInput::Applied { index });
                }
            }
            _ => {
                let other = 1 + self.below(members);
                if !self.net.cut.remove(&(id, other)) && self.net.cut.len() < 3 {
                    self.net.cut.insert((id, other));
                }
            }
        }
        self.look();
    }

    /// Some letter arrives, arrives twice, or is lost.
    fn move_letter(&mut self) {
        let waiting = self.net.letters.len();
        if waiting == 0 {
            return;
        }
        // Mostly the oldest few: order on one link is usually kept.
        let at = self.below(waiting.min(4) as u64) as usize;
        let letter = self.net.letters.remove(at).expect("within");
        match self.below(20) {
            0 => self.net.lose(&letter),
            1 => {
                self.net.letters.push_back(letter.clone());
                self.net.deliver(letter);
            }
            _ => self.net.deliver(letter),
        }
    }

    fn crash_or_restart(&mut self, id: u64) {
        if self.net.member(id).replica.is_none() {
            self.net.start(id);
        } else if self.below(3) == 0 {
            self.net.crash(id);
        }
    }

    fn look(&mut self) {
        for (id, output) in std::mem::take(&mut self.net.seen) {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write_u64(self.hash);
            hasher.write(format!("{id} {output:?}").as_bytes());
            self.hash = hasher.finish();
            match output {
                ReplicaOutput::Role(Role { term, is_leader: true, .. }) => {
                    let leader = *self.leaders.entry(term.get()).or_insert(id);
                    assert_eq!(leader, id, "two leaders in term {term}");
                }
                ReplicaOutput::Committed { entries } => {
                    for entry in entries {
                        let index = entry.index.get();
                        let known = self.committed.entry(index).or_insert_with(|| entry.clone());
                        assert_eq!(*known, entry, "two entries committed at {index}");
                    }
                }
                ReplicaOutput::BarrierReached { context, index } => {
                    let newest = self.asked[&context.get()];
                    assert!(index >= LogIndex(newest), "a stale read: {index} < {newest}");
                    self.reached += 1;
                }
                // Answers of a member that was just removed.
                ReplicaOutput::Misbehaved { how: Misbehaviour::Stranger, .. }
                    if self.net.members.len() == 4 => {}
                ReplicaOutput::Misbehaved { how, .. } => panic!("{how:?} between honest members"),
                _ => {}
            }
        }
    }

    /// Everything works again: all must agree on all that was committed.
    fn heal(&mut self) {
        self.net.cut.clear();
        let ids: Vec<u64> = self.net.members.keys().copied().collect();
        for &id in &ids {
            self.net.member(id).holds_applied = false;
            if self.net.member(id).replica.is_none() {
                self.net.start(id);
            }
            let index = self.net.member(id).applied.index;
            self.net.handle(id, ReplicaInput::Applied { index });
        }
        self.net.run(100);
        self.look();
        let newest = *self.committed.keys().next_back().expect("something was committed");
        for id in ids {
            let member = self.net.member(id);
            assert_eq!(member.applied.index.get(), newest, "member {id} did not catch up");
            assert!(member.data.iter().eq(&self.committed), "member {id} holds something else");
        }
    }
}

fn walk(seed: u64, members: u64, steps: usize) -> Walk {
    let mut walk = Walk::new(seed, members);
    for _ in 0..steps {
        walk.step();
    }
    walk
}

#[test]
fn three_members_agree_whatever_happens() {
    let mut reached = 0;
    for seed in 0..60 {
        let mut walk = walk(seed, 3, 3_000);
        walk.heal();
        reached += walk.reached;
    }
    assert!(reached > 100, "too few barriers were reached to prove anything: {reached}");
}

#[test]
fn five_members_agree_whatever_happens() {
    for seed in 1_000..1_020 {
        walk(seed, 5, 4_000).heal();
    }
}

#[test]
fn one_member_agrees_with_itself() {
    for seed in 2_000..2_010 {
        let mut walk = walk(seed, 1, 2_000);
        walk.net.cut.clear();
        walk.heal();
    }
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    for seed in 0..3 {
        let first = walk(seed, 3, 3_000).hash;
        assert_eq!(first, walk(seed, 3, 3_000).hash);
        assert_ne!(first, walk(seed + 100, 3, 3_000).hash);
    }
}

/// What a liar knows of the member it lies to: the best lies are near the truth.
#[derive(Default)]
struct Truth {
    term: u64,
    last: u64,
    last_term: u64,
    committed: u64,
}

impl Truth {
    fn learn(&mut self, output: &ReplicaOutput) {
        match output {
            ReplicaOutput::Role(role) => self.term = role.term.get(),
            ReplicaOutput::CommitIndex { index } => self.committed = index.get(),
            ReplicaOutput::Persist(batch) => {
                if let Some(mark) = &batch.snapshot {
                    (self.last, self.last_term) = (mark.index.get(), mark.term.get());
                }
                if let Some(entry) = batch.entries.last() {
                    (self.last, self.last_term) = (entry.index.get(), entry.term.get());
                }
            }
            _ => {}
        }
    }
}

fn some_number(walk: &mut Walk, near: u64) -> u64 {
    let near = near.min(1 << 63);
    match walk.below(40) {
        0 => u64::MAX,
        1 => 1 << 62,
        2 => (1 << 62) + 1,
        3 => walk.below(1 << 20),
        4..6 => 0,
        6..12 => walk.below(near + 2),
        12..20 => near + walk.below(3),
        _ => near,
    }
}

fn some_entries(walk: &mut Walk, message: &raftpb::Message) -> Vec<raftpb::Entry> {
    let mut after = message.index;
    let mut term = message.log_term;
    let mut entries = Vec::new();
    for _ in 0..walk.below(4) {
        let is_sound = walk.below(12) > 0;
        after = if is_sound { after.saturating_add(1) } else { some_number(walk, after) };
        term = if is_sound { term.max(1) } else { some_number(walk, term) };
        entries.push(raftpb::Entry {
            r#type: walk.below(12).saturating_sub(9) as i32 - i32::from(!is_sound),
            term,
            index: after,
            data: Bytes::from(vec![walk.drawn as u8; walk.below(20) as usize]),
        });
    }
    entries
}

fn some_conf_state(walk: &mut Walk) -> raftpb::ConfState {
    let mut conf = raftpb::ConfState { voters: vec![1, 2, 3], ..raftpb::ConfState::default() };
    let mut ids = |most| (0..walk.below(most)).map(|_| walk.below(5)).collect::<Vec<_>>();
    match ids(4).len() {
        0 => (conf.voters, conf.learners) = (ids(5), ids(3)),
        1 => (conf.voters_outgoing, conf.learners_next) = (ids(3), ids(2)),
        2 => conf.learners = vec![4],
        _ => {}
    }
    conf.auto_leave = walk.below(6) == 0;
    conf
}

fn some_message(walk: &mut Walk, truth: &Truth, from: u64, to: u64) -> raftpb::Message {
    let kind = walk.below(21) as i32 - 1;
    let is_termless = kind == Kind::MsgReadIndex as i32;
    let snapshot = (walk.below(3) > 0).then(|| raftpb::Snapshot {
        data: Bytes::new(),
        metadata: (walk.below(8) > 0).then(|| raftpb::SnapshotMetadata {
            conf_state: (walk.below(8) > 0).then(|| some_conf_state(walk)),
            index: some_number(walk, truth.last),
            term: some_number(walk, truth.term),
        }),
    });
    let mut message = raftpb::Message {
        r#type: kind,
        to,
        from,
        term: if is_termless { 0 } else { some_number(walk, truth.term) },
        log_term: some_number(walk, truth.last_term),
        index: some_number(walk, truth.last),
        commit: some_number(walk, truth.committed),
        snapshot,
        reject: walk.below(2) == 0,
        reject_hint: some_number(walk, truth.last),
        context: Bytes::from_static([&b""[..], b"CampaignTransfer"][walk.below(2) as usize]),
        request_snapshot: if walk.below(8) == 0 { some_number(walk, truth.last) } else { 0 },
        priority: some_number(walk, 0) as i64,
        commit_term: some_number(walk, truth.term),
        ..raftpb::Message::default()
    };
    message.entries = some_entries(walk, &message);
    message
}

/// One member hears nothing but lies, from peers who are in its group and some who are not; it
/// may believe them, but it may not panic, halt, or hand out anything twice.
fn hear_lies(seed: u64, members: u64) -> Heard {
    let mut walk = Walk::new(seed, members);
    if members == 0 {
        walk.net.add(1, &[], |config| config.seed = seed);
    }
    walk.net.run(30);
    let mut heard = Heard::default();
    let mut truth = Truth::default();
    walk.net.seen.iter().filter(|(id, _)| *id == 1).for_each(|(_, output)| truth.learn(output));
    for _ in 0..1_500 {
        let from = 1 + walk.below(5);
        let message = some_message(&mut walk, &truth, from, 1);
        if let Some(metadata) = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref()) {
            let lies = BTreeMap::new();
            walk.net.member(1).images.insert(metadata.index, lies);
        }
        let from = MemberId(from);
        walk.net.handle(1, ReplicaInput::Peer { from, message });
        match walk.below(8) {
            0 => walk.net.persist(1, 5),
            1 => walk.net.elapse(1, Duration::from_millis(300)),
            2 => {
                walk.net.propose(1, 1, "x");
                walk.net.drain(1);
            }
            3 => walk.net.handle(1, ReplicaInput::Barrier { context: BarrierId(walk.drawn) }),
            _ => {}
        }
        for (_, output) in walk.net.seen.drain(..) {
            truth.learn(&output);
            match output {
                ReplicaOutput::Misbehaved { .. } => heard.refused += 1,
                ReplicaOutput::Persist(batch) if batch.snapshot.is_some() => heard.images += 1,
                ReplicaOutput::Role(role) if role.is_leader => heard.leaderships += 1,
                ReplicaOutput::Committed { entries } => heard.entries += entries.len(),
                _ => {}
            }
        }
        walk.net.letters.clear();
    }
    heard
}

/// How far lies got.
#[derive(Debug, Default)]
struct Heard {
    refused: usize,
    images: usize,
    leaderships: usize,
    entries: usize,
}

#[test]
fn lies_never_panic() {
    let mut all = Heard::default();
    for seed in 0..200 {
        let heard = hear_lies(seed, [0, 1, 3, 5][seed as usize % 4]);
        assert!(heard.refused > 200, "too few lies were refused: {heard:?}");
        all.images += heard.images;
        all.leaderships += heard.leaderships;
        all.entries += heard.entries;
    }
    let reaches_deep = all.images > 100 && all.leaderships > 100 && all.entries > 100;
    assert!(reaches_deep, "lies never reached what they could break: {all:?}");
}

#[test]
fn members_come_and_go() {
    use raftpb::ConfChangeType as Change;
    let mut walk = Walk::new(5, 3);
    walk.net.run(30);
    walk.net.add(4, &[], |_| ());
    let leader = |walk: &Walk| *walk.leaders.values().next_back().expect("a leader");
    let mut change = |kind, id| {
        walk.look();
        let to = leader(&walk);
        walk.net.change(to, kind, id);
        walk.net.run(20);
        walk.look();
        walk.net.member(to).applied.conf_state.clone()
    };
    assert_eq!(change(Change::ConfChangeAddLearnerNode, 4).learners, [4]);
    assert_eq!(change(Change::ConfChangeAddNode, 4).voters, [1, 2, 3, 4]);
    let state = change(Change::ConfChangeUpdateNode, 4);
    assert_eq!((state.voters.len(), state.learners.len()), (4, 0));
    assert_eq!(change(Change::ConfChangeRemoveNode, 4).voters, [1, 2, 3]);
    let first = leader(&walk);
    let before = walk.net.seen.len();
    walk.net.change(first, Change::ConfChangeRemoveNode, first);
    walk.net.run(60);
    walk.net.handle(first, ReplicaInput::Removed);
    // Who was told so stays for five election timeouts, of ten ticks each.
    walk.net.run(60);
    let removed =
        |(id, output): &&(u64, ReplicaOutput)| *id == first && *output == ReplicaOutput::Removed;
    assert_eq!(walk.net.seen[before..].iter().filter(removed).count(), 1);
    walk.look();
    assert_ne!(leader(&walk), first, "the others go on");
}
