//! Transcripts of locks and elections, in `scripts/recipe/`, against a lone member.
//!
//! | command | meaning |
//! |---|---|
//! | `grant ID TTL`, `revoke ID`, `after MS` | leases, and time for them to end |
//! | `put KEY=VALUE [LEASE]`, `delete KEY`, `compact N` | what others do meanwhile |
//! | `WHO lock NAME LEASE`, `WHO unlock KEY` | a client's call begins |
//! | `WHO campaign NAME LEASE VALUE`, `WHO leader NAME`, `WHO observe NAME` | the same |
//! | `WHO proclaim KEY REV LEASE VALUE`, `WHO resign KEY REV` | the same; `-` for no leader |
//! | `hold WHO`, `step WHO`, `go WHO` | the client stands still; takes one step; goes on |
//! | `refuse WHO`, `lose WHO`, `leave WHO` | it is refused; its watch is lost; the client leaves |
//! | `confuse WHO` | it is answered by another step's answer |
//!
//! `""` is an empty key. After every command all clients go as far as they can; each step is told.
#![allow(missing_docs, clippy::unwrap_used)]

mod recipe_member;
mod transcript;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::Request;
use quorate_core::error::Refusal;
use quorate_core::ids::StreamId;
use quorate_core::recipe::{
    Answer, Campaign, Failure, Lock, Observe, Proclaim, Recipe, Step, leader, resign, unlock,
};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::TargetUnion;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::v3electionpb as epb;
use quorate_proto::v3lockpb as lpb;
use recipe_member::Member;

#[test]
fn transcripts() {
    transcript::run_all("recipe", || {
        let mut world = World::new();
        move |command: &str| world.run(command)
    });
}

/// A recipe of any kind, whose news are words.
trait Told {
    fn handle(&mut self, answer: Answer<Refusal>) -> Step<String>;
    /// Whether more may come after it has told something.
    fn goes_on(&self) -> bool;
}

struct Once<R>(R);
struct Many(Observe);

impl<T: Words, R: Recipe<Refusal, Yield = Result<T, Failure<Refusal>>>> Told for Once<R> {
    fn handle(&mut self, answer: Answer<Refusal>) -> Step<String> {
        self.0.handle(answer).map(outcome)
    }

    fn goes_on(&self) -> bool {
        false
    }
}

impl Told for Many {
    fn handle(&mut self, answer: Answer<Refusal>) -> Step<String> {
        self.0.handle(answer).map(|news| news.words())
    }

    fn goes_on(&self) -> bool {
        true
    }
}

struct Client {
    recipe: Box<dyn Told>,
    step: Step<String>,
    stream: Option<StreamId>,
}

struct World {
    member: Member,
    clients: BTreeMap<String, Client>,
    held: BTreeSet<String>,
    told: String,
}

impl World {
    fn new() -> Self {
        let (clients, held) = (BTreeMap::new(), BTreeSet::new());
        Self { member: Member::new(), clients, held, told: String::new() }
    }

    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["hold", who] => assert!(self.held.insert(who.to_owned())),
            ["go", who] => assert!(self.held.remove(who)),
            ["step", who] => assert!(self.take_step(who)),
            ["refuse", who] => self.interrupt(who, Answer::Refused(Refusal::LeaderChanged)),
            ["lose", who] => self.interrupt(who, Answer::WatchLost),
            ["leave", who] => self.interrupt(who, Answer::ClientGone),
            ["confuse", who] => self.interrupt(who, Answer::Rested),
            ["after", ms] => self.member.wait(Duration::from_millis(ms.parse().unwrap())),
            [who, "lock" | "unlock", ..] => self.begin(who, begin_lock(&words[1..])),
            [_, "campaign" | "leader" | "observe" | "proclaim" | "resign", ..] => {
                self.begin(words[0], begin_election(&words[1..]));
            }
            _ => {
                let answer = self.member.ask(request(&words));
                if let Err(refusal) = answer {
                    writeln!(self.told, "{refusal:?}").unwrap();
                }
            }
        }
        while self.go_on() {}
        std::mem::take(&mut self.told)
    }

    fn begin(&mut self, who: &str, (recipe, step): (Box<dyn Told>, Step<String>)) {
        self.clients.insert(who.to_owned(), Client { recipe, step: Step::Listen, stream: None });
        self.turn_to(who, step);
    }

    /// Every client that can takes one step.
    fn go_on(&mut self) -> bool {
        let everyone: Vec<String> = self.clients.keys().cloned().collect();
        let is_free = |who: &&String| !self.held.contains(*who);
        let free: Vec<String> = everyone.iter().filter(is_free).cloned().collect();
        free.iter().filter(|who| self.take_step(who)).count() > 0
    }

    fn take_step(&mut self, who: &str) -> bool {
        let client = self.clients.get_mut(who).unwrap();
        let Some(answer) = self.member.carry_out(client.step.clone(), &mut client.stream) else {
            return false;
        };
        self.interrupt(who, answer);
        true
    }

    fn interrupt(&mut self, who: &str, answer: Answer<Refusal>) {
        let step = self.clients.get_mut(who).unwrap().recipe.handle(answer);
        self.turn_to(who, step);
    }

    fn turn_to(&mut self, who: &str, step: Step<String>) {
        let words = match &step {
            Step::Request(request) => show_request(request),
            Step::Read(range) => format!("read {}", show_range(range)),
            Step::Watch(create) => show_watch(create),
            Step::Listen => String::new(),
            Step::Rest(duration) => format!("rest {duration:?}"),
            Step::Yield(news) => format!("==> {news}"),
        };
        if !words.is_empty() {
            writeln!(self.told, "{who}: {words}").unwrap();
        }
        let client = self.clients.get_mut(who).unwrap();
        if matches!(step, Step::Yield(_)) && !client.recipe.goes_on() {
            self.member.close(client.stream.take());
            self.clients.remove(who);
        } else {
            client.step = step;
        }
    }
}

type Begun = (Box<dyn Told>, Step<String>);

fn once<T, R>((recipe, step): (R, Step<Result<T, Failure<Refusal>>>)) -> Begun
where
    T: Words,
    R: Recipe<Refusal, Yield = Result<T, Failure<Refusal>>> + 'static,
{
    (Box::new(Once(recipe)), step.map(outcome))
}

fn text(word: &str) -> Bytes {
    Bytes::from(word.trim_matches('"').to_owned())
}

fn number(word: &str) -> i64 {
    word.parse().unwrap()
}

fn begin_lock(words: &[&str]) -> Begun {
    match words {
        ["lock", name, lease] => {
            once(Lock::begin(lpb::LockRequest { name: text(name), lease: number(lease) }))
        }
        ["unlock", key] => once(unlock(lpb::UnlockRequest { key: text(key) })),
        _ => panic!("{words:?}"),
    }
}

fn begin_election(words: &[&str]) -> Begun {
    let leader_key = |key: &str, rev: &str, lease: &str| {
        let (key, rev, lease) = (text(key), number(rev), number(lease));
        (key != "-").then(|| epb::LeaderKey { key, rev, lease, name: Bytes::new() })
    };
    match words {
        ["campaign", name, lease, value] => {
            let (name, lease, value) = (text(name), number(lease), text(value));
            once(Campaign::begin(epb::CampaignRequest { name, lease, value }))
        }
        ["leader", name] => once(leader(&epb::LeaderRequest { name: text(name) })),
        ["observe", name] => {
            let (recipe, step) = Observe::begin(&epb::LeaderRequest { name: text(name) });
            (Box::new(Many(recipe)), step.map(|news| news.words()))
        }
        ["proclaim", key, rev, lease, value] => {
            let (leader, value) = (leader_key(key, rev, lease), text(value));
            once(Proclaim::begin(epb::ProclaimRequest { leader, value }))
        }
        ["resign", key, rev] => {
            once(resign(epb::ResignRequest { leader: leader_key(key, rev, "0") }))
        }
        _ => panic!("{words:?}"),
    }
}

fn request(words: &[&str]) -> Request {
    match words {
        ["grant", id, ttl] => {
            Request::LeaseGrant(pb::LeaseGrantRequest { id: number(id), ttl: number(ttl) })
        }
        ["revoke", id] => Request::LeaseRevoke(pb::LeaseRevokeRequest { id: number(id) }),
        ["put", pair, lease @ ..] => {
            let (key, value) = pair.split_once('=').unwrap();
            let lease = lease.first().map_or(0, |lease| number(lease));
            let (key, value) = (text(key), text(value));
            Request::Put(pb::PutRequest { key, value, lease, ..Default::default() })
        }
        ["delete", key] => {
            let key = text(key);
            Request::DeleteRange(pb::DeleteRangeRequest { key, ..Default::default() })
        }
        ["compact", revision] => {
            let revision = number(revision);
            Request::Compact(pb::CompactionRequest { revision, physical: false })
        }
        _ => panic!("unknown command {words:?}"),
    }
}

/// An answer in words.
trait Words {
    fn words(&self) -> String;
}

fn outcome<T: Words, E: Debug>(outcome: Result<T, Failure<E>>) -> String {
    outcome.map_or_else(|failure| format!("{failure:?}"), |answer| answer.words())
}

fn at(header: &Option<pb::ResponseHeader>) -> String {
    let header = header.as_ref().unwrap();
    assert_eq!((header.member_id, header.raft_term), (1, 2));
    format!("as of {}", header.revision)
}

fn word(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

impl Words for lpb::LockResponse {
    fn words(&self) -> String {
        format!("holds {} {}", word(&self.key), at(&self.header))
    }
}

impl Words for lpb::UnlockResponse {
    fn words(&self) -> String {
        format!("unlocked {}", at(&self.header))
    }
}

impl Words for epb::CampaignResponse {
    fn words(&self) -> String {
        let leader = self.leader.as_ref().unwrap();
        let (name, key) = (word(&leader.name), word(&leader.key));
        let (rev, lease) = (leader.rev, leader.lease);
        format!("leads {name} with {key} created {rev}, lease {lease}, {}", at(&self.header))
    }
}

impl Words for epb::ProclaimResponse {
    fn words(&self) -> String {
        format!("proclaimed {}", at(&self.header))
    }
}

impl Words for epb::ResignResponse {
    fn words(&self) -> String {
        format!("resigned {}", at(&self.header))
    }
}

impl Words for epb::LeaderResponse {
    fn words(&self) -> String {
        let kv = self.kv.as_ref().unwrap();
        let (key, value) = (word(&kv.key), word(&kv.value));
        let revisions = (kv.create_revision, kv.mod_revision);
        let header = at(&self.header);
        format!("{key}={value} (created {}, put {}), {header}", revisions.0, revisions.1)
    }
}

fn show_request(request: &Request) -> String {
    match request {
        Request::LeaseGrant(grant) => format!("grant {} s", grant.ttl),
        Request::DeleteRange(delete) => format!("delete {}", word(&delete.key)),
        Request::Txn(txn) => show_txn(txn),
        other => panic!("{other:?}"),
    }
}

fn show_txn(txn: &pb::TxnRequest) -> String {
    let [compare] = &txn.compare[..] else { panic!("{txn:?}") };
    let Some(TargetUnion::CreateRevision(rev)) = compare.target_union else { panic!("{txn:?}") };
    let ops = |ops: &[pb::RequestOp]| ops.iter().map(show_op).collect::<Vec<_>>().join(", ");
    let mut said = format!("if {} is created {rev}", word(&compare.key));
    said += &format!(" then {}", ops(&txn.success));
    if !txn.failure.is_empty() {
        said += &format!(" else {}", ops(&txn.failure));
    }
    said
}

fn show_op(op: &pb::RequestOp) -> String {
    match op.request.as_ref().unwrap() {
        Op::RequestPut(put) => {
            format!("put {}={} lease {}", word(&put.key), word(&put.value), put.lease)
        }
        Op::RequestRange(range) => format!("get {}", show_range(range)),
        Op::RequestDeleteRange(delete) => format!("delete {}", word(&delete.key)),
        Op::RequestTxn(_) => panic!("{op:?}"),
    }
}

fn show_range(range: &pb::RangeRequest) -> String {
    let mut said = word(&range.key).to_owned();
    if !range.range_end.is_empty() {
        assert_eq!(range.sort_target, pb::range_request::SortTarget::Create as i32);
        let order = if range.sort_order == 1 { "oldest" } else { "newest" };
        said += &format!("..{} {order} {}", word(&range.range_end), range.limit);
    }
    if range.max_create_revision > 0 {
        said += &format!(" created up to {}", range.max_create_revision);
    }
    said
}

fn show_watch(create: &pb::WatchCreateRequest) -> String {
    let filter = match create.filters[..] {
        [] => "",
        [0] => " for deletes",
        [1] => " for puts",
        _ => panic!("{create:?}"),
    };
    let key = word(&create.key);
    let end = word(&create.range_end);
    let range = if end.is_empty() { key.to_owned() } else { format!("{key}..{end}") };
    format!("watch {range}{filter} from {}", create.start_revision)
}
