//! `State` alone, as the leader of a group that commits whatever it proposes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::auth::Identity;
use quorate_core::error::Refusal;
use quorate_core::ids::{BarrierId, LogIndex, MemberId, RequestId, StreamId, Term, Token};
use quorate_core::input::{Followers, MemberAddition};
use quorate_core::limits::TXN_DEPTH_MAX;
use quorate_core::peer::Message;
use quorate_core::storage::{Entry, EntryKind, Rows};
use quorate_core::time::Time;
use quorate_core::{
    Config, Machine, Memory, Request, Response, Role, State, StateInput, StateOutput,
};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::WatchRequest;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::peer::{ChangeRefusal, ChangeWish};
use quorate_proto::raftpb::{ConfChange, ConfChangeType};

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
    /// Whether barriers and proposals are on their way for ever; with the term each of these was
    /// sent in.
    is_deaf: bool,
    sent: Vec<(Term, Bytes)>,
    barriers: Vec<BarrierId>,
}

impl Group {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let config = Config { member: MemberId(1), name: "a".into(), ..config };
        let state =
            State::open(&config, Arc::new(Rows::default()), Time(0)).expect("an empty store opens");
        Self {
            state,
            now: Time(0),
            last: 0,
            outputs: Vec::new(),
            tokens: 0,
            term: TERM,
            is_deaf: false,
            sent: Vec::new(),
            barriers: Vec::new(),
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
                StateOutput::Barrier { context } if self.is_deaf => self.barriers.push(context),
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
        self.feed(StateInput::Request { token, who: Ok(Identity::default()), request });
        self.answer(token)
    }

    fn answer(&mut self, wanted: Token) -> Option<Result<Response, Refusal>> {
        self.outputs.iter().find_map(|output| match output {
            StateOutput::Respond { token, result } if *token == wanted => Some(result.clone()),
            _ => None,
        })
    }

    /// Streams and watchers, as the newest view counts them.
    fn audience(&self) -> (usize, usize) {
        let newest = self.outputs.iter().rev().find_map(|output| match output {
            StateOutput::Publish(view) => Some((view.facts.streams, view.facts.watchers)),
            _ => None,
        });
        newest.expect("views are published")
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
fn an_announcement_that_went_nowhere_is_made_again() {
    let mut group = Group::following();
    assert_eq!(group.sent.len(), 0);
    group.wait(Duration::from_millis(1_100));
    let announced = group.sent.iter().filter_map(|(_, data)| {
        pb::InternalRaftRequest::decode(data.clone()).ok()?.cluster_member_attr_set
    });
    assert_eq!(announced.map(|set| set.member_id).collect::<Vec<_>>(), [1]);
}

#[test]
fn watchers_that_come_and_go_are_counted_though_nothing_is_written() {
    let mut group = Group::led();
    let stream = StreamId(1);
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: Bytes::from_static(b"a"),
            ..pb::WatchCreateRequest::default()
        })),
    };
    group.feed(StateInput::StreamOpened { stream, frame_bytes_max: 1 << 20 });
    let who = Ok(Identity::default());
    group.feed(StateInput::StreamMessage { stream, who, message: create });
    assert_eq!(group.audience(), (1, 1));
    group.feed(StateInput::StreamClosed { stream });
    assert_eq!(group.audience(), (0, 0));
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
fn where_memory_is_short_one_write_waits_at_a_time() {
    let mut group = Group::led();
    group.is_deaf = true;
    for memory in [Memory::Short, Memory::Out] {
        group.feed(StateInput::Memory(memory));
        assert_eq!(group.ask(put("a")), None);
        assert_eq!(group.ask(put("b")), Some(Err(Refusal::RequestTooManyRequests)));
        let delete = pb::DeleteRangeRequest { key: "a".into(), ..Default::default() };
        assert_eq!(group.ask(Request::DeleteRange(delete)), None, "it takes away");
        for (_, data) in std::mem::take(&mut group.sent) {
            group.commit(data);
        }
    }
    group.feed(StateInput::Memory(Memory::Enough));
    assert_eq!([group.ask(put("a")), group.ask(put("b"))], [None, None]);
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
fn a_read_waits_for_a_leader_no_longer_than_a_write() {
    let mut group = Group::new();
    group.feed(StateInput::Read { token: Token(1) });
    group.wait(Duration::from_secs(7));
    let refusals = group.outputs.iter().filter_map(|output| match output {
        StateOutput::ReadReady { token, result } => Some((*token, result.as_ref().err())),
        _ => None,
    });
    assert_eq!(refusals.collect::<Vec<_>>(), [(Token(1), Some(&Refusal::Timeout))]);
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
fn a_leader_renews_unasked_only_while_a_quorum_confirmed_it_a_moment_ago() {
    let renewal = || Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: 7 });
    let mut group = Group::led();
    group.grant(7, 60);
    assert!(matches!(group.ask(renewal()), Some(Ok(_))), "the quorum is asked and answers");
    group.is_deaf = true;
    let half = Config::default().election_timeout / 2;
    group.wait(half - Duration::from_millis(1));
    assert!(matches!(group.ask(renewal()), Some(Ok(_))), "it did a moment ago");
    group.wait(Duration::from_millis(1));
    assert_eq!(group.ask(renewal()), None, "another may lead by now");
    group.is_deaf = false;
    group.wait(Duration::from_secs(1));
    assert!(matches!(group.answer(Token(group.tokens)), Some(Ok(_))), "nobody does");
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

#[test]
fn what_is_too_large_is_called_that_even_where_no_space_is_left() {
    let mut group = Group::led();
    let alarm = pb::AlarmRequest { action: 1, member_id: 1, alarm: pb::AlarmType::Nospace as i32 };
    assert!(matches!(group.ask(Request::Alarm(alarm)), Some(Ok(Response::Alarm(_)))));
    let put = |size| {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from(vec![0; size]));
        Request::Put(pb::PutRequest { key, value, ..Default::default() })
    };
    assert_eq!(group.ask(put(1)), Some(Err(Refusal::NoSpace)));
    assert_eq!(group.ask(put(2 << 20)), Some(Err(Refusal::RequestTooLarge)));
}

#[test]
fn a_transaction_is_carried_out_or_refused_however_deep_it_is() {
    let deep = |depth| {
        let put = pb::PutRequest { key: Bytes::from_static(b"k"), ..Default::default() };
        let mut request = pb::request_op::Request::RequestPut(put);
        for _ in 0..=depth {
            let success = vec![pb::RequestOp { request: Some(request) }];
            let txn = pb::TxnRequest { success, ..Default::default() };
            request = pb::request_op::Request::RequestTxn(txn);
        }
        let pb::request_op::Request::RequestTxn(txn) = request else { unreachable!("wrapped") };
        txn
    };
    let arrives = |txn: &pb::TxnRequest| pb::TxnRequest::decode(&*txn.encode_to_vec()).is_ok();
    let mut group = Group::led();
    for depth in (0..).take_while(|depth| arrives(&deep(*depth))) {
        let answer = group.ask(Request::Txn(deep(depth))).expect("an answer");
        match answer {
            Ok(_) => assert!(depth <= TXN_DEPTH_MAX),
            Err(refusal) => {
                assert_eq!((refusal, depth), (Refusal::TooManyOps, TXN_DEPTH_MAX + 1));
            }
        }
    }
}

/// A member as configuration changes tell of it; without a name it has not started.
fn member(id: u64, name: &str) -> ConfChange {
    let context = format!(r#"{{"id":{id},"peerURLs":["http://127.0.0.1:{id}"],"name":"{name}"}}"#);
    ConfChange { node_id: id, context: context.into(), ..ConfChange::default() }
}

fn add(id: u64) -> Request {
    let peer_ur_ls = vec![format!("http://127.0.0.1:{id}")];
    let request = pb::MemberAddRequest { peer_ur_ls, is_learner: false };
    Request::MemberAdd(MemberAddition { id: MemberId(id), request })
}

impl Group {
    /// A leader of these members, the first of which is itself; proposals are kept.
    fn of(members: &[ConfChange]) -> Self {
        let mut group = Self::led();
        group.settle(members);
        group
    }

    fn settle(&mut self, members: &[ConfChange]) {
        members.iter().for_each(|member| self.change(member.encode_to_vec().into()));
        self.look_around(&[1]);
        self.is_deaf = true;
        self.outputs.clear();
    }

    /// The leader hears of these members, none of which but the first keeps up.
    fn look_around(&mut self, active: &[u64]) {
        let active = active.iter().map(|id| MemberId(*id)).collect();
        self.feed(StateInput::Followers(Followers { active, in_sync: vec![MemberId(1)] }));
    }

    fn change(&mut self, data: Bytes) {
        self.last += 1;
        let index = LogIndex(self.last);
        let entry = Entry { term: self.term, index, kind: EntryKind::ConfChange, data };
        self.feed(StateInput::Committed { entries: vec![entry] });
    }
}

#[test]
fn changes_of_the_group_are_judged_one_after_the_other() {
    let mut group = Group::of(&[member(1, "a")]);
    assert_eq!([group.ask(add(2)), group.ask(add(3))], [None, None]);
    assert_eq!(group.sent.len(), 1, "two would leave one of three");
    let (_, data) = group.sent.pop().unwrap();
    group.change(data);
    match group.answer(Token(1)) {
        Some(Ok(Response::MemberAdd(added))) => {
            assert_eq!(added.members.iter().map(|m| m.id).collect::<Vec<_>>(), [1, 2]);
            assert_eq!(added.header.map(|header| header.revision), Some(0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(group.answer(Token(2)), Some(Err(Refusal::MemberNotEnoughStarted)));
    let is_accepted = |output: &StateOutput| match output {
        StateOutput::Changed { is_accepted, .. } => Some(*is_accepted),
        _ => None,
    };
    assert_eq!(group.outputs.iter().filter_map(is_accepted).collect::<Vec<_>>(), [true]);
}

#[test]
fn a_change_that_is_impossible_by_the_time_it_is_applied_leaves_the_group_alone() {
    let mut group = Group::of(&[member(1, "a"), member(2, "b")]);
    group.change(member(2, "").encode_to_vec().into());
    let told =
        |output: &StateOutput| matches!(output, StateOutput::Changed { is_accepted: false, .. });
    assert!(group.outputs.iter().any(told));
    group.outputs.clear();
}

#[test]
fn a_follower_wishes_changes_of_its_leader_and_hears_refusals_of_that_term_only() {
    let mut group = Group::following();
    let remove = Request::MemberRemove(pb::MemberRemoveRequest { id: 5 });
    assert_eq!(group.ask(remove), None);
    let wish = group.outputs.iter().find_map(|output| match output {
        StateOutput::Send { to, message } => match &message.message {
            Some(Message::ChangeWish(wish)) => Some((*to, wish.clone())),
            _ => None,
        },
        _ => None,
    });
    let (to, wish) = wish.expect("a wish");
    assert_eq!((to, wish.term), (MemberId(12), 2));
    for (term, answer) in [(1, None), (2, Some(Err(Refusal::MemberNotFound)))] {
        let refusal = ChangeRefusal { id: wish.id, refused: "MemberNotFound".into(), term };
        group.feed(StateInput::ChangeRefusal { from: to, refusal });
        assert_eq!(group.answer(Token(1)), answer, "term {term}");
    }
}

#[test]
fn a_leader_grants_wishes_of_members_in_its_own_term() {
    let mut group = Group::of(&[member(1, "a"), member(2, "b"), member(3, "c")]);
    group.look_around(&[1, 2]);
    let change = ConfChange { id: 77, node_id: 3, r#type: 1, ..ConfChange::default() };
    let wish = |term| ChangeWish { id: 77, term, change: change.encode_to_vec().into() };
    for (from, term) in [(9, 2), (2, 1), (2, 3)] {
        group.feed(StateInput::ChangeWish { from: MemberId(from), wish: wish(term) });
        assert!(group.sent.is_empty(), "from {from} in term {term}");
    }
    group.feed(StateInput::ChangeWish { from: MemberId(2), wish: wish(2) });
    assert_eq!(group.sent.len(), 1, "member 3 is not there: removing it costs nothing");
}

#[test]
fn a_leader_never_ends_itself_even_if_nobody_keeps_up_yet() {
    let mut group = Group::of(&[member(1, "a"), member(2, "b")]);
    group.look_around(&[1, 2]);
    let remove = Request::MemberRemove(pb::MemberRemoveRequest { id: 1 });
    assert_eq!(group.ask(remove), None);
    assert!(group.sent.is_empty(), "the one left would not learn that it is alone");
    let hands_over = |output: &StateOutput| matches!(output, StateOutput::TransferLeader { .. });
    assert!(group.outputs.iter().any(hands_over));
    group.outputs.clear();
}

#[test]
fn a_careless_leader_ends_itself_if_nobody_keeps_up_that_could_lead() {
    let careless = || {
        let mut group = Group::with(Config { is_reconfig_strict: false, ..Config::default() });
        group.lead();
        group.settle(&[member(1, "a"), member(2, "b")]);
        group
    };
    let remove = || Request::MemberRemove(pb::MemberRemoveRequest { id: 1 });
    let mut group = careless();
    assert_eq!((group.ask(remove()), group.sent.len()), (None, 1));

    let mut group = careless();
    let both = vec![MemberId(1), MemberId(2)];
    group.feed(StateInput::Followers(Followers { active: both.clone(), in_sync: both }));
    assert_eq!((group.ask(remove()), group.sent.len()), (None, 0), "the other is to lead first");
}

#[test]
fn a_new_leader_judges_nothing_before_it_has_looked_who_is_there() {
    let mut group = Group::of(&[member(1, "a"), member(2, "b"), member(3, "c")]);
    group.feed(StateInput::Followers(Followers::default()));
    let remove = Request::MemberRemove(pb::MemberRemoveRequest { id: 3 });
    assert_eq!(group.ask(remove), None);
    assert!(group.sent.is_empty(), "member 3 may be all there is beside it");
    group.look_around(&[1, 3]);
    assert_eq!(group.answer(Token(1)), Some(Err(Refusal::Unhealthy)));
}

/// A learner may be the first it hears of.
#[test]
fn a_leader_that_has_heard_one_follower_does_not_take_the_others_for_gone() {
    let context = r#"{"id":4,"peerURLs":["http://127.0.0.1:4"],"isLearner":true,"name":"d"}"#;
    let learner = ConfChange { r#type: 3, context: context.into(), ..member(4, "") };
    let mut group = Group::of(&[member(1, "a"), member(2, "b"), member(3, "c"), learner]);
    group.look_around(&[1, 4]);
    let remove = Request::MemberRemove(pb::MemberRemoveRequest { id: 3 });
    assert_eq!(group.ask(remove), Some(Err(Refusal::Unhealthy)));
}

impl Group {
    /// What its newest view says about being alone.
    fn is_shown_alone(&mut self) -> bool {
        let shown = |output: &StateOutput| match output {
            StateOutput::Publish(view) => Some(view.facts.is_alone),
            _ => None,
        };
        self.outputs.iter().rev().find_map(shown).expect("a view")
    }

    fn read(&mut self) {
        self.tokens += 1;
        self.feed(StateInput::Read { token: Token(self.tokens) });
    }
}

#[test]
fn who_is_the_whole_cluster_needs_no_barrier_once_one_was_reached() {
    let mut group = Group::led();
    group.change(member(1, "a").encode_to_vec().into());
    assert!(!group.is_shown_alone(), "it may have voted for another in the meantime");
    group.read();
    assert!(group.is_shown_alone());
    group.commit(Bytes::new());
    assert!(group.is_shown_alone(), "whatever is applied");

    group.change(member(2, "").encode_to_vec().into());
    assert!(!group.is_shown_alone());
    group.read();
    assert!(!group.is_shown_alone(), "there are two");
}

#[test]
fn who_is_left_over_needs_a_barrier_of_the_group_without_the_others() {
    let mut group = Group::led();
    for id in [1, 2] {
        group.change(member(id, "it").encode_to_vec().into());
    }
    group.is_deaf = true;
    group.read();
    let early = group.barriers.pop().expect("a barrier for the read");
    let remove =
        ConfChange { r#type: ConfChangeType::ConfChangeRemoveNode.into(), ..member(2, "") };
    group.change(remove.encode_to_vec().into());
    let reached = |group: &mut Group, context| {
        let index = LogIndex(group.last);
        group.feed(StateInput::BarrierReached { context, index });
    };
    reached(&mut group, early);
    assert!(!group.is_shown_alone(), "both may have answered this one");
    group.read();
    let late = group.barriers.pop().expect("a barrier for the second read");
    reached(&mut group, late);
    assert!(group.is_shown_alone());
}

#[test]
fn who_is_alone_by_an_image_needs_a_barrier_anew() {
    let mut group = Group::led();
    group.change(member(1, "a").encode_to_vec().into());
    group.read();
    assert!(group.is_shown_alone());
    let mut rows = Rows::default();
    for output in &group.outputs {
        if let StateOutput::Store(batch) = output {
            rows.write(&batch.writes);
        }
    }
    group.feed(StateInput::Installed { image: Arc::new(rows) });
    assert!(!group.is_shown_alone());
    group.read();
    assert!(group.is_shown_alone());
}

#[test]
fn who_is_alone_and_leads_anew_needs_a_barrier_anew() {
    let mut group = Group::led();
    group.change(member(1, "a").encode_to_vec().into());
    group.read();
    assert!(group.is_shown_alone());
    group.feed(StateInput::Role(Role { term: TERM, leader: None, is_leader: false }));
    assert!(!group.is_shown_alone());
    group.lead();
    assert!(!group.is_shown_alone());
    group.read();
    assert!(group.is_shown_alone());
}
