#![allow(dead_code, reason = "each test file uses its own part")]
//! A network of replicas with disks, stores and links, moved by hand.
//!
//! Nothing happens by itself: messages wait on their link, batches wait for the disk, committed
//! entries are applied at once (unless applying is held).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message as _;
use quorate_core::config::Peer;
use quorate_core::ids::{LogIndex, MemberId, RequestId};
use quorate_core::input::{ReplicaInput, Role};
use quorate_core::output::{Persist, ReplicaOutput};
use quorate_core::storage::{Entry, EntryKind, LogContents, SnapshotMark};
use quorate_core::time::{Duration, Time};
use quorate_core::{Config, Machine, Replica};
use quorate_proto::raftpb;

/// What survives a crash of a member.
#[derive(Clone, Default)]
pub(crate) struct Durable {
    pub(crate) log: LogContents,
    /// What the store durably holds: its mark and the data of all entries up to it.
    pub(crate) stored: SnapshotMark,
    pub(crate) data: BTreeMap<u64, Entry>,
}

/// One member: its machine, its disk, its store.
pub(crate) struct Member {
    pub(crate) config: Config,
    pub(crate) replica: Option<Replica>,
    pub(crate) now: Time,
    pub(crate) durable: Durable,
    /// Batches on their way to the disk.
    pub(crate) pending: VecDeque<Persist>,
    pub(crate) hangs: bool,
    /// The role it last announced.
    pub(crate) role: Role,
    /// What was applied in memory, and the group as of then.
    pub(crate) applied: SnapshotMark,
    pub(crate) data: BTreeMap<u64, Entry>,
    pub(crate) holds_applied: bool,
    /// Images received for a mark, not yet accepted.
    pub(crate) images: BTreeMap<u64, BTreeMap<u64, Entry>>,
}

/// A message under way, with the image that travels with it.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) message: raftpb::Message,
    pub(crate) image: Option<BTreeMap<u64, Entry>>,
}

/// The members and the letters between them.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) letters: VecDeque<Letter>,
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Everything that came out, in order.
    pub(crate) seen: Vec<(u64, ReplicaOutput)>,
}

pub(crate) const TICK: Duration = Duration::from_millis(100);

impl Net {
    /// Adds a member; `bootstrap` names the group it begins, if it does.
    pub(crate) fn add(&mut self, id: u64, bootstrap: &[u64], adjust: impl FnOnce(&mut Config)) {
        let peer = |&id: &u64| Peer {
            id: MemberId(id),
            name: format!("m{id}"),
            peer_urls: vec![format!("http://127.0.0.1:{}", 2380 + id)],
        };
        let mut config = Config {
            member: MemberId(id),
            bootstrap: bootstrap.iter().map(peer).collect(),
            seed: 5,
            ..Config::default()
        };
        adjust(&mut config);
        let member = Member {
            config,
            replica: None,
            now: Time::ZERO,
            durable: Durable::default(),
            pending: VecDeque::new(),
            hangs: false,
            role: Role::default(),
            applied: SnapshotMark::default(),
            data: BTreeMap::new(),
            holds_applied: false,
            images: BTreeMap::new(),
        };
        self.members.insert(id, member);
        self.start(id);
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).expect("a member of that id")
    }

    pub(crate) fn start(&mut self, id: u64) {
        let member = self.member(id);
        member.config.boot += 1;
        member.role = Role::default();
        let stored = member.durable.stored.clone();
        member.applied = stored.clone();
        member.data = member.durable.data.clone();
        let log = member.durable.log.clone();
        let replica = Replica::open(&member.config, stored, log, member.now).expect("opens");
        member.replica = Some(replica);
        self.drain(id);
    }

    /// The machine and all batches not yet written are gone.
    pub(crate) fn crash(&mut self, id: u64) {
        let member = self.member(id);
        member.replica = None;
        member.pending.clear();
        member.images.clear();
    }

    pub(crate) fn handle(&mut self, id: u64, input: ReplicaInput) {
        self.feed(id, input);
        self.drain(id);
    }

    /// An input without draining outputs.
    pub(crate) fn feed(&mut self, id: u64, input: ReplicaInput) {
        let member = self.member(id);
        let now = member.now;
        if let Some(replica) = &mut member.replica {
            replica.handle(now, input);
        }
    }

    /// A proposal in the term the member announced last, without draining outputs.
    pub(crate) fn propose(&mut self, id: u64, request: u64, data: impl Into<Bytes>) {
        let in_term = self.member(id).role.term;
        let (request, data) = (RequestId(request), data.into());
        self.feed(
            id,
            ReplicaInput::Propose {
                id: request,
                data,
                kind: EntryKind::Normal,
                in_term,
                may_forward: true,
            },
        );
    }

    /// Hands a leader one change of the group, as if forwarded by another member: the only way in
    /// until `State` has its own.
    pub(crate) fn change(&mut self, leader: u64, kind: raftpb::ConfChangeType, node_id: u64) {
        let from = if leader == 1 { 2 } else { 1 };
        let change =
            raftpb::ConfChange { r#type: kind as i32, node_id, ..raftpb::ConfChange::default() };
        let message = raftpb::Message {
            r#type: raftpb::MessageType::MsgProp as i32,
            from,
            to: leader,
            term: self.member(leader).role.term.get(),
            entries: vec![raftpb::Entry {
                r#type: raftpb::EntryType::EntryConfChange as i32,
                data: change.encode_to_vec().into(),
                ..raftpb::Entry::default()
            }],
            ..raftpb::Message::default()
        };
        self.handle(leader, ReplicaInput::Peer { from: MemberId(from), message });
    }

    /// Time passes for one member, timer by timer.
    pub(crate) fn elapse(&mut self, id: u64, time: Duration) {
        let until = self.member(id).now + time;
        loop {
            let member = self.member(id);
            let Some(replica) = &mut member.replica else { break };
            let Some(wake) = replica.poll_timeout().filter(|wake| wake.at <= until) else { break };
            member.now = member.now.max(wake.at);
            replica.handle_timeout(member.now);
            self.drain(id);
        }
        self.member(id).now = until;
    }

    pub(crate) fn drain(&mut self, id: u64) {
        loop {
            let member = self.member(id);
            let Some(output) = member.replica.as_mut().and_then(|replica| replica.poll_output())
            else {
                return;
            };
            self.seen.push((id, output.clone()));
            self.execute(id, output);
        }
    }

    fn execute(&mut self, id: u64, output: ReplicaOutput) {
        match output {
            ReplicaOutput::Send { to, message } => {
                let is_image = message.r#type() == raftpb::MessageType::MsgSnap;
                let image = is_image.then(|| self.member(id).data.clone());
                self.letters.push_back(Letter { from: id, to: to.get(), message, image });
            }
            ReplicaOutput::Persist(batch) => self.member(id).pending.push_back(batch),
            ReplicaOutput::Committed { entries } => {
                let member = self.member(id);
                let mut changed = Vec::new();
                for entry in entries {
                    if entry.kind != EntryKind::Normal {
                        changed.push(entry.index);
                    }
                    member.apply(entry);
                }
                for index in changed {
                    self.feed(id, ReplicaInput::Changed { index, is_accepted: true });
                }
                let member = self.member(id);
                if !member.holds_applied {
                    let index = member.applied.index;
                    self.feed(id, ReplicaInput::Applied { index });
                }
            }
            ReplicaOutput::Role(role) => self.member(id).role = role,
            ReplicaOutput::TakeSnapshot => {
                let mark = self.member(id).applied.clone();
                self.feed(id, ReplicaInput::SnapshotTaken { mark });
            }
            ReplicaOutput::Cut { mark } => self.member(id).durable.cut(mark),
            ReplicaOutput::Halt(fault) => panic!("member {id} halted: {fault}"),
            _ => {}
        }
    }

    /// Writes the first `count` pending batches, and reports them as one.
    pub(crate) fn persist(&mut self, id: u64, count: usize) {
        let member = self.member(id);
        let mut last = None;
        for _ in 0..count {
            let Some(batch) = member.pending.pop_front() else { break };
            last = Some(batch.number);
            member.write(batch);
        }
        if let Some(number) = last {
            self.handle(id, ReplicaInput::Persisted { number });
        }
    }

    /// Delivers one letter, unless its link is cut or the receiver is down.
    pub(crate) fn deliver(&mut self, letter: Letter) {
        let is_up = self.members.get(&letter.to).is_some_and(|member| member.replica.is_some());
        if !is_up || self.cut.contains(&(letter.from, letter.to)) {
            self.lose(&letter);
            return;
        }
        self.report_image(&letter, true);
        let Letter { from, to, message, image } = letter;
        if let (Some(image), Some(index)) = (image, image_index(&message)) {
            self.member(to).images.insert(index, image);
        }
        self.handle(to, ReplicaInput::Peer { from: MemberId(from), message });
    }

    /// Loses one letter; only the loss of an image is noticed.
    pub(crate) fn lose(&mut self, letter: &Letter) {
        self.report_image(letter, false);
    }

    fn report_image(&mut self, letter: &Letter, delivered: bool) {
        if letter.image.is_some() {
            let to = MemberId(letter.to);
            self.handle(letter.from, ReplicaInput::SnapshotSent { to, delivered });
        }
    }

    /// Delivers and writes until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let ids: Vec<u64> = self.members.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                let count = self.member(id).pending.len();
                if count > 0 && !self.member(id).hangs && self.member(id).replica.is_some() {
                    self.persist(id, count);
                    moved = true;
                }
            }
            match self.letters.pop_front() {
                Some(letter) => self.deliver(letter),
                None if !moved => return,
                None => {}
            }
        }
        panic!("the network never settles");
    }

    /// Lets ticks pass everywhere, in lockstep, settling after each.
    pub(crate) fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            let ids: Vec<u64> = self.members.keys().copied().collect();
            for id in ids {
                self.elapse(id, TICK);
            }
            self.settle();
        }
    }
}

fn image_index(message: &raftpb::Message) -> Option<u64> {
    Some(message.snapshot.as_ref()?.metadata.as_ref()?.index)
}

impl Member {
    fn apply(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.applied.index.next(), "in order, each once");
        assert!(entry.index <= self.durable.last(), "durable here before it is applied");
        self.applied.index = entry.index;
        self.applied.term = entry.term;
        if entry.kind == EntryKind::ConfChange {
            // What liars committed may be anything.
            if let Ok(change) = raftpb::ConfChange::decode(entry.data.clone()) {
                change_group(&mut self.applied.conf_state, &change);
            }
        }
        self.data.insert(entry.index.get(), entry);
    }

    fn write(&mut self, batch: Persist) {
        if let Some(mark) = batch.snapshot {
            let image = self.images.remove(&mark.index.get()).expect("the image is complete");
            self.images.retain(|&index, _| index > mark.index.get());
            self.data = image.clone();
            self.durable.data = image;
            self.applied = mark.clone();
            self.durable.stored = mark.clone();
            self.durable.log.mark = mark;
            self.durable.log.entries.clear();
        }
        if let Some(hard_state) = batch.hard_state {
            self.durable.log.hard_state = hard_state;
        }
        for entry in batch.entries {
            self.durable.log.entries.retain(|old| old.index < entry.index);
            assert_eq!(entry.index, self.durable.last().next(), "no gaps on disk");
            self.durable.log.entries.push(entry);
        }
    }

    /// The store makes durable what was applied.
    pub(crate) fn sync_store(&mut self) -> SnapshotMark {
        self.durable.stored = self.applied.clone();
        self.durable.data = self.data.clone();
        self.applied.clone()
    }
}

impl Durable {
    pub(crate) fn last(&self) -> LogIndex {
        self.log.entries.last().map_or(self.log.mark.index, |entry| entry.index)
    }

    fn cut(&mut self, mark: SnapshotMark) {
        assert!(mark.index <= self.stored.index, "cut only behind the store");
        self.log.entries.retain(|entry| entry.index > mark.index);
        self.log.mark = mark;
    }
}

fn change_group(group: &mut raftpb::ConfState, change: &raftpb::ConfChange) {
    use raftpb::ConfChangeType as Kind;
    let id = change.node_id;
    let kind = change.r#type();
    if kind == Kind::ConfChangeUpdateNode || id == 0 {
        return;
    }
    group.voters.retain(|&voter| voter != id);
    group.learners.retain(|&learner| learner != id);
    let list = match kind {
        Kind::ConfChangeAddNode => &mut group.voters,
        Kind::ConfChangeAddLearnerNode => &mut group.learners,
        _ => return,
    };
    list.push(id);
    list.sort_unstable();
}
