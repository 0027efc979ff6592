//! States that differ, among three members whose entries all commit at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::auth::Identity;
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::ids::{BarrierId, LogIndex, MemberId, Term, Token};
use quorate_core::membership::MemberRecord;
use quorate_core::output::Note;
use quorate_core::peer::Message;
use quorate_core::storage::{Entry, EntryKind, Rows, Table, Write};
use quorate_core::time::Time;
use quorate_core::{Config, Machine, Request, Role, State, StateInput, StateOutput};
use quorate_proto::etcdserverpb as pb;

const TERM: Term = Term(2);

struct Member {
    state: State,
    rows: Rows,
    epoch: u64,
    notes: Vec<Note>,
    wants_image: bool,
    gives_leadership_away: bool,
    refusals: Vec<Refusal>,
    halted: Option<StorageFault>,
}

/// Three members, of whom one leads; messages and entries arrive at once.
struct Group {
    members: BTreeMap<MemberId, Member>,
    leader: MemberId,
    term: Term,
    last: u64,
    now: Time,
    /// What is on its way: inputs, and entries once they are out.
    inputs: VecDeque<(MemberId, StateInput)>,
    entries: VecDeque<Bytes>,
}

fn config(id: u64) -> Config {
    Config { member: MemberId(id), name: format!("m{id}"), ..Config::default() }
}

fn open(id: u64, rows: Rows, now: Time) -> Member {
    let state = State::open(&config(id), Arc::new(rows.clone()), now).expect("rows that read");
    Member {
        state,
        rows,
        epoch: 0,
        notes: Vec::new(),
        wants_image: false,
        gives_leadership_away: false,
        refusals: Vec::new(),
        halted: None,
    }
}

impl Group {
    fn new(size: u64) -> Self {
        let mut rows = Rows::default();
        for id in 1..=size {
            let record = MemberRecord { id, name: format!("m{id}"), ..MemberRecord::default() };
            let key = Bytes::from(format!("{id:x}"));
            rows.write(&[Write {
                table: Table::Members,
                key,
                value: Some(record.encode().into()),
            }]);
        }
        let members = (1..=size).map(|id| (MemberId(id), open(id, rows.clone(), Time(0))));
        let members = members.collect();
        let mut group = Self {
            members,
            leader: MemberId(1),
            term: TERM,
            last: 0,
            now: Time(0),
            inputs: VecDeque::new(),
            entries: VecDeque::new(),
        };
        group.lead(MemberId(1));
        group
    }

    fn lead(&mut self, leader: MemberId) {
        self.leader = leader;
        let ids: Vec<_> = self.members.keys().copied().collect();
        for id in ids {
            let role = Role { term: self.term, leader: Some(leader), is_leader: id == leader };
            self.inputs.push_back((id, StateInput::Role(role)));
        }
        self.commit(Bytes::new());
    }

    fn commit(&mut self, data: Bytes) {
        self.entries.push_back(data);
        self.settle();
    }

    fn feed(&mut self, id: MemberId, input: StateInput) {
        self.inputs.push_back((id, input));
        self.settle();
    }

    /// Until nothing is on its way any more.
    fn settle(&mut self) {
        loop {
            while let Some((id, input)) = self.inputs.pop_front() {
                let now = self.now;
                self.member(id).state.handle(now, input);
                self.drain(id);
            }
            let Some(data) = self.entries.pop_front() else { return };
            self.last += 1;
            let (term, index) = (self.term, LogIndex(self.last));
            let entry = Entry { term, index, kind: EntryKind::Normal, data };
            let committed = |id: &MemberId| {
                let entries = vec![entry.clone()];
                (*id, StateInput::Committed { entries })
            };
            self.inputs.extend(self.members.keys().map(committed));
        }
    }

    fn put(&mut self, key: &'static str, value: &'static str) {
        let put = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        let request = pb::InternalRaftRequest { put: Some(put), ..Default::default() };
        self.commit(request.encode_to_vec().into());
    }

    fn member(&mut self, id: MemberId) -> &mut Member {
        self.members.get_mut(&id).expect("a member of the group")
    }

    fn drain(&mut self, id: MemberId) {
        while let Some(output) = self.member(id).state.poll_output() {
            let member = self.member(id);
            match output {
                StateOutput::Propose { data, .. } => self.entries.push_back(data),
                StateOutput::Barrier { context: BarrierId(context) } => {
                    let (context, index) = (BarrierId(context), LogIndex(self.last));
                    self.inputs.push_back((id, StateInput::BarrierReached { context, index }));
                }
                StateOutput::Store(batch) if batch.epoch == member.epoch => {
                    member.rows.write(&batch.writes);
                    let (index, image) = (batch.index, Arc::new(member.rows.clone()));
                    self.inputs.push_back((id, StateInput::Stored { index, image }));
                }
                StateOutput::Send { to, message } => {
                    let from = id;
                    match message.message {
                        Some(Message::Report(report)) => {
                            self.inputs.push_back((to, StateInput::Report { from, report }));
                        }
                        Some(Message::Correction(correction)) => {
                            self.inputs
                                .push_back((to, StateInput::Correction { from, correction }));
                        }
                        _ => {}
                    }
                }
                StateOutput::WantImage => member.wants_image = true,
                StateOutput::TransferLeader { .. } => member.gives_leadership_away = true,
                StateOutput::Note(note) => member.notes.push(note),
                StateOutput::Respond { result: Err(refusal), .. }
                | StateOutput::ReadReady { result: Err(refusal), .. } => {
                    member.refusals.push(refusal);
                }
                StateOutput::Halt(fault) => member.halted = Some(fault),
                _ => {}
            }
        }
    }

    /// Lets time pass; whoever wants an image gets the leader's, if it does not lead itself.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.now += Duration::from_millis(250);
            let (ids, now): (Vec<_>, _) = (self.members.keys().copied().collect(), self.now);
            for id in ids {
                self.member(id).state.handle_timeout(now);
                self.drain(id);
                self.settle();
            }
        }
    }

    fn install(&mut self, id: MemberId) {
        assert!(self.member(id).wants_image);
        let rows = self.members[&self.leader].rows.clone();
        let member = self.member(id);
        (member.rows, member.wants_image) = (rows.clone(), false);
        member.epoch += 1;
        self.feed(id, StateInput::Installed { image: Arc::new(rows) });
    }

    /// A member's last record is changed where it is stored, and the member restarted.
    fn forge(&mut self, id: MemberId) {
        let (now, term, leader) = (self.now, self.term, self.leader);
        let mut rows = self.member(id).rows.clone();
        let last = rows.0.iter_mut().rfind(|((table, _), _)| *table == Table::Key);
        let (_, value) = last.expect("a record");
        let mut kv = quorate_proto::mvccpb::KeyValue::decode(value.clone()).expect("a record");
        kv.version += 5;
        *value = kv.encode_to_vec().into();
        self.members.insert(id, open(id.get(), rows, now));
        let role = Role { term, leader: Some(leader), is_leader: id == leader };
        self.feed(id, StateInput::Role(role));
    }

    fn alarms(&mut self) -> Vec<(u64, i32)> {
        let leader = self.leader;
        let rows = &self.member(leader).rows.0;
        let alarms = rows.keys().filter(|(table, _)| *table == Table::Alarm);
        let read = |(_, key): &(Table, Bytes)| {
            let it = pb::AlarmMember::decode(key.clone()).expect("an alarm");
            (it.member_id, it.alarm)
        };
        alarms.map(read).collect()
    }

    fn digests(&self) -> Vec<u64> {
        self.members.values().map(|member| member.state.digest()).collect()
    }

    fn asks_in_vain(&mut self, id: MemberId) {
        self.member(id).refusals.clear();
        let request = Request::Put(pb::PutRequest { key: "x".into(), ..Default::default() });
        self.feed(
            id,
            StateInput::Request { token: Token(77), who: Ok(Identity::default()), request },
        );
        self.feed(id, StateInput::Read { token: Token(78) });
        assert_eq!(self.member(id).refusals, [Refusal::Corrupt, Refusal::Corrupt]);
    }
}

fn is_fenced(notes: &[Note]) -> bool {
    notes.iter().any(|note| matches!(note, Note::Fenced { .. }))
}

const CORRUPT: i32 = pb::AlarmType::Corrupt as i32;

#[test]
fn members_that_are_equal_leave_each_other_alone() {
    let mut group = Group::new(3);
    for _ in 0..10 {
        group.put("k", "v");
        group.wait(1);
    }
    group.wait(30);
    assert!(group.members.values().all(|member| !is_fenced(&member.notes)));
    assert_eq!(group.alarms(), []);
}

#[test]
fn the_one_that_differs_fences_itself_and_is_repaired() {
    let mut group = Group::new(3);
    group.put("k", "v");
    group.forge(MemberId(3));
    group.put("k", "w");
    group.wait(3);
    assert!(is_fenced(&group.members[&MemberId(3)].notes));
    assert!(!is_fenced(&group.members[&MemberId(2)].notes));
    assert_eq!(group.alarms(), [(3, CORRUPT)]);
    group.asks_in_vain(MemberId(3));
    // It stays so when it restarts meanwhile.
    let rows = group.members[&MemberId(3)].rows.clone();
    group.members.insert(MemberId(3), open(3, rows, group.now));
    let role = Role { term: TERM, leader: Some(MemberId(1)), is_leader: false };
    group.feed(MemberId(3), StateInput::Role(role));
    group.asks_in_vain(MemberId(3));

    group.install(MemberId(3));
    assert!(group.members[&MemberId(3)].notes.contains(&Note::Repaired));
    group.wait(3);
    assert_eq!(group.alarms(), []);
    group.put("k", "x");
    group.wait(20);
    let digests = group.digests();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    assert_eq!(group.alarms(), []);
}

#[test]
fn a_leader_that_differs_from_the_others_fences_itself() {
    let mut group = Group::new(3);
    group.put("k", "v");
    group.forge(MemberId(1));
    group.lead(MemberId(1));
    group.put("k", "w");
    group.wait(12);
    assert!(is_fenced(&group.members[&MemberId(1)].notes));
    group.asks_in_vain(MemberId(1));
    group.term = Term(3);
    group.lead(MemberId(2));
    group.install(MemberId(1));
    group.wait(5);
    assert_eq!(group.alarms(), []);
    let digests = group.digests();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn of_two_that_differ_nobody_can_tell() {
    let mut group = Group::new(2);
    group.put("k", "v");
    group.forge(MemberId(2));
    group.put("k", "w");
    group.wait(3);
    assert_eq!(group.alarms(), [(0, CORRUPT)]);
    assert!(group.members.values().all(|member| !is_fenced(&member.notes)));
}

#[test]
fn what_does_not_read_is_replaced_but_not_for_ever() {
    let mut group = Group::new(3);
    group.put("k", "v");
    let damage = || StorageFault::damage("a block that is not what it was");
    for _ in 0..3 {
        group.feed(MemberId(2), StateInput::Damaged { fault: damage() });
        group.asks_in_vain(MemberId(2));
        group.put("k", "w");
        group.install(MemberId(2));
        group.wait(3);
        assert_eq!(group.alarms(), [], "it concerns nobody else");
    }
    let digests = group.digests();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    group.feed(MemberId(2), StateInput::Damaged { fault: damage() });
    assert_eq!(group.members[&MemberId(2)].halted, Some(damage()));
}

#[test]
fn a_sole_member_that_does_not_read_halts() {
    let mut group = Group::new(1);
    let damage = StorageFault::damage("a block that is not what it was");
    group.feed(MemberId(1), StateInput::Damaged { fault: damage.clone() });
    assert_eq!(group.members[&MemberId(1)].halted, Some(damage));
}

#[test]
fn only_the_leader_is_believed() {
    let mut group = Group::new(3);
    group.put("k", "v");
    let correction = quorate_proto::peer::Correction { index: group.last, digest: 1 };
    let from = MemberId(3);
    group.feed(MemberId(2), StateInput::Correction { from, correction });
    assert!(!is_fenced(&group.members[&MemberId(2)].notes));
}
