//! `State` alone, as the leader of a group that commits whatever it proposes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quorate_core::error::Refusal;
use quorate_core::ids::{LogIndex, MemberId, RequestId, Term, Token};
use quorate_core::storage::{Entry, EntryKind, NoRows};
use quorate_core::time::Time;
use quorate_core::{Config, Machine, Request, Response, Role, State, StateInput, StateOutput};
use quorate_proto::etcdserverpb as pb;

const TERM: Term = Term(2);

/// A state and what surrounds it: entries are committed at once, in order.
struct Group {
    state: State,
    now: Time,
    last: u64,
    /// Everything it wanted and nobody took out yet.
    outputs: Vec<StateOutput>,
    tokens: u64,
    /// The term entries are of.
    term: Term,
    /// Whether proposals are on their way for ever; with the term each was sent in.
    is_deaf: bool,
    sent: Vec<(Term, Bytes)>,
}

impl Group {
    fn new() -> Self {
        let config = Config { member: MemberId(1), name: "a".into(), ..Config::default() };
        let state = State::open(&config, Arc::new(NoRows), Time(0)).expect("an empty store opens");
        Self {
            state,
            now: Time(0),
            last: 0,
            outputs: Vec::new(),
            tokens: 0,
            term: TERM,
            is_deaf: false,
            sent: Vec::new(),
        }
    }

    /// A member that follows leaders who do not answer.
    fn following() -> Self {
        let mut group = Self::new();
        group.is_deaf = true;
        group.follow(TERM);
        group.commit(Bytes::new());
        group.sent.clear();
        group
    }

    fn follow(&mut self, term: Term) {
        self.term = term;
        let leader = Some(MemberId(10 + term.get()));
        self.feed(StateInput::Role(Role { term, leader, is_leader: false }));
    }

    /// The terms in which a put was proposed, in order.
    fn puts_sent(&self) -> Vec<u64> {
        let is_put = |data: &Bytes| {
            pb::InternalRaftRequest::decode(data.clone()).is_ok_and(|entry| entry.put.is_some())
        };
        self.sent.iter().filter(|(_, data)| is_put(data)).map(|(term, _)| term.get()).collect()
    }

    fn led() -> Self {
        let mut group = Self::new();
        group.lead();
        group
    }

    fn lead(&mut self) {
        let role = Role { term: TERM, leader: Some(MemberId(1)), is_leader: true };
        self.feed(StateInput::Role(role));
        self.commit(Bytes::new());
    }

    fn feed(&mut self, input: StateInput) {
        self.state.handle(self.now, input);
        self.drain();
    }

    fn commit(&mut self, data: Bytes) {
        self.last += 1;
        let index = LogIndex(self.last);
        let entry = Entry { term: self.term, index, kind: EntryKind::Normal, data };
        self.feed(StateInput::Committed { entries: vec![entry] });
    }

    /// Commits what is proposed and answers barriers; keeps the rest.
    fn drain(&mut self) {
        while let Some(output) = self.state.poll_output() {
            match output {
                StateOutput::Propose { data, in_term, .. } if self.is_deaf => {
                    self.sent.push((in_term, data));
                }
                StateOutput::Propose { data, .. } => self.commit(data),
                StateOutput::Barrier { context } => {
                    let index = LogIndex(self.last);
                    self.feed(StateInput::BarrierReached { context, index });
                }
                other => self.outputs.push(other),
            }
        }
    }

    /// Lets time pass, waking the state exactly when it wants to be woken.
    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(wake) = self.state.poll_timeout().filter(|wake| wake.at <= until) {
            self.now = self.now.max(wake.at);
            self.state.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn ask(&mut self, request: Request) -> Option<Result<Response, Refusal>> {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.feed(StateInput::Request { token, request });
        self.answer(token)
    }

    fn answer(&mut self, wanted: Token) -> Option<Result<Response, Refusal>> {
        self.outputs.iter().find_map(|output| match output {
            StateOutput::Respond { token, result } if *token == wanted => Some(result.clone()),
            _ => None,
        })
    }

    fn grant(&mut self, id: i64, ttl: i64) {
        let granted = self.ask(Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl }));
        assert!(matches!(granted, Some(Ok(Response::LeaseGrant(ref r))) if r.ttl == ttl));
    }

    fn leases(&mut self) -> Vec<i64> {
        match self.ask(Request::LeaseLeases(pb::LeaseLeasesRequest {})) {
            Some(Ok(Response::LeaseLeases(all))) => all.leases.iter().map(|l| l.id).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn put(key: &'static str) -> Request {
    let key = Bytes::from_static(key.as_bytes());
    Request::Put(pb::PutRequest { key, ..pb::PutRequest::default() })
}

#[test]
fn a_new_leader_announces_version_and_itself_without_being_woken() {
    let group = Group::led();
    let view = group.outputs.iter().rev().find_map(|output| match output {
        StateOutput::Publish(view) => Some(view.clone()),
        _ => None,
    });
    assert_eq!(&*view.unwrap().facts.cluster_version, "3.7.0");
}

#[test]
fn a_put_is_answered_with_the_revision_it_made() {
    let mut group = Group::led();
    for revision in [2, 3] {
        match group.ask(put("a")) {
            Some(Ok(Response::Put(answer))) => {
                let header = answer.header.unwrap();
                assert_eq!((header.revision, header.raft_term), (revision, 2));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_arrives_between_two_leaders_waits_for_the_next_one() {
    let mut group = Group::new();
    assert_eq!(group.ask(put("a")), None, "nobody leads");
    group.lead();
    assert!(matches!(group.answer(Token(1)), Some(Ok(Response::Put(_)))));
}

#[test]
fn what_waits_for_a_leader_in_vain_times_out() {
    let mut group = Group::new();
    assert_eq!(group.ask(put("a")), None);
    group.wait(Duration::from_secs(7));
    assert_eq!(group.answer(Token(1)), Some(Err(Refusal::Timeout)));
}

#[test]
fn what_was_lost_with_a_leader_is_proposed_to_the_next_one() {
    let mut group = Group::following();
    assert_eq!(group.ask(put("a")), None);
    assert_eq!(group.puts_sent(), [2]);
    group.follow(Term(3));
    assert_eq!(group.puts_sent(), [2], "it may be in the new leader's log");
    group.commit(Bytes::new());
    assert_eq!(group.puts_sent(), [2, 3], "it was not");
    let (_, data) = group.sent.pop().unwrap();
    group.commit(data);
    assert!(matches!(group.answer(Token(1)), Some(Ok(Response::Put(_)))));
}

#[test]
fn what_a_dead_leader_had_replicated_is_not_proposed_twice() {
    let mut group = Group::following();
    assert_eq!(group.ask(put("a")), None);
    let (_, data) = group.sent[0].clone();
    group.follow(Term(3));
    group.term = TERM;
    group.commit(data);
    group.term = Term(3);
    group.commit(Bytes::new());
    assert_eq!(group.puts_sent(), [2]);
    assert!(matches!(group.answer(Token(1)), Some(Ok(Response::Put(_)))));
}

#[test]
fn late_news_of_an_earlier_attempt_changes_nothing() {
    let mut group = Group::following();
    assert_eq!(group.ask(put("a")), None);
    let id = |data: &Bytes| {
        let header = pb::InternalRaftRequest::decode(data.clone()).unwrap().header;
        RequestId(header.unwrap().id)
    };
    let id = id(&group.sent[0].1);
    group.follow(Term(3));
    group.commit(Bytes::new());
    assert_eq!(group.puts_sent(), [2, 3]);
    group.feed(StateInput::ProposalDropped { id, in_term: TERM });
    assert_eq!((group.puts_sent(), group.answer(Token(1))), (vec![2, 3], None));
    group.feed(StateInput::ProposalDropped { id, in_term: Term(3) });
    assert_eq!(group.answer(Token(1)), Some(Err(Refusal::RequestTooManyRequests)));
}

#[test]
fn a_lease_of_an_idle_leader_runs_out() {
    let mut group = Group::led();
    group.grant(7, 10);
    group.wait(Duration::from_secs(9));
    assert_eq!(group.leases(), [7]);
    group.wait(Duration::from_secs(3));
    assert_eq!(group.leases(), [] as [i64; 0]);
}

#[test]
fn a_leader_that_slept_grants_the_lost_time_to_its_leases() {
    let mut group = Group::led();
    group.grant(7, 10);
    group.wait(Duration::from_secs(5));
    group.now += Duration::from_secs(60);
    group.state.handle_timeout(group.now);
    group.drain();
    assert_eq!(group.leases(), [7], "nobody could renew it meanwhile");
    group.wait(Duration::from_secs(13));
    assert_eq!(group.leases(), [] as [i64; 0]);
}

#[test]
fn only_the_leader_of_the_term_may_revoke_what_ran_out() {
    let mut group = Group::led();
    group.grant(7, 10);
    group.wait(Duration::from_millis(9_900));
    group.now += Duration::from_millis(600);
    group.state.handle_timeout(group.now);
    let revoke = std::iter::from_fn(|| group.state.poll_output())
        .find_map(|output| match output {
            StateOutput::Propose { data, in_term, may_forward, .. } => {
                let entry = pb::InternalRaftRequest::decode(data).unwrap();
                entry.lease_revoke.map(|_| (in_term, may_forward))
            }
            _ => None,
        })
        .unwrap();
    assert_eq!(revoke, (TERM, false));
}

#[test]
fn a_batch_carries_the_applied_index_with_the_rows_it_covers() {
    let mut group = Group::led();
    group.outputs.clear();
    group.ask(put("a"));
    let batch = group.outputs.iter().find_map(|output| match output {
        StateOutput::Store(batch) => Some(batch.clone()),
        _ => None,
    });
    let batch = batch.unwrap();
    let index = group.last.to_be_bytes();
    let rows: Vec<_> = batch.writes.iter().map(|w| (w.table.name(), &w.key[..])).collect();
    assert!(rows.contains(&("key", b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0")), "{rows:?}");
    let applied = batch.writes.iter().find(|w| &w.key[..] == b"consistent_index").unwrap();
    assert_eq!(applied.value.as_deref(), Some(&index[..]));
}
