//! Contenders for one name, whose steps are mixed at random with leases that end, clients that
//! leave, steps that are refused, watches that are lost and history that is compacted away.
#![allow(missing_docs, clippy::unwrap_used)]

mod recipe_member;

use std::time::Duration;

use bytes::Bytes;
use quorate_core::Request;
use quorate_core::draw::{Domain, draw, draw_below};
use quorate_core::error::Refusal;
use quorate_core::ids::StreamId;
use quorate_core::recipe::{Answer, Campaign, Failure, Lock, Recipe, Step};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::v3electionpb::{CampaignRequest, CampaignResponse};
use quorate_proto::v3lockpb::{LockRequest, LockResponse};
use recipe_member::Member;

const SEEDS: u64 = 30;
const STEPS: usize = 400;
const CONTENDERS: usize = 5;
const TTL: i64 = 9_000;

#[test]
fn whoever_holds_is_first_in_line_and_nobody_waits_for_ever() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.act();
        }
        world.settle();
        seen.add(&world.seen);
    }
    let counts = [seen.held, seen.waited, seen.expired, seen.left];
    assert!(counts.iter().all(|count| *count > 100), "{seen:?}");
}

/// What happened, so that it is known to have happened at all.
#[derive(Debug, Default)]
struct Seen {
    held: usize,
    /// Held after another held.
    waited: usize,
    expired: usize,
    left: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.held += other.held;
        self.waited += other.waited;
        self.expired += other.expired;
        self.left += other.left;
    }
}

enum Contending {
    Lock(Lock<Refusal>),
    Campaign(Campaign<Refusal>),
}

/// The key that came to be first.
type Found = Result<Bytes, Failure<Refusal>>;

impl Contending {
    fn handle(&mut self, answer: Answer<Refusal>) -> Step<Found> {
        match self {
            Self::Lock(lock) => lock.handle(answer).map(held),
            Self::Campaign(campaign) => campaign.handle(answer).map(led),
        }
    }
}

fn held(outcome: Result<LockResponse, Failure<Refusal>>) -> Found {
    outcome.map(|held| held.key)
}

fn led(outcome: Result<CampaignResponse, Failure<Refusal>>) -> Found {
    outcome.map(|led| led.leader.unwrap().key)
}

#[derive(Default)]
struct Contender {
    lease: i64,
    call: Option<(Contending, Step<Found>)>,
    stream: Option<StreamId>,
    has_waited: bool,
}

struct World {
    seed: u64,
    lots: u64,
    member: Member,
    contenders: Vec<Contender>,
    leases: i64,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let contenders = (0..CONTENDERS).map(|_| Contender::default()).collect();
        let (member, seen) = (Member::new(), Seen::default());
        Self { seed, lots: 0, member, contenders, leases: 0, seen }
    }

    fn lot(&mut self, below: u64) -> u64 {
        self.lots += 1;
        draw_below(below, draw(self.seed, Domain::Shell as u64, 0, self.lots))
    }

    fn act(&mut self) {
        let who = self.lot(CONTENDERS as u64) as usize;
        match self.lot(40) {
            0 => self.end_lease(who),
            1 => self.interrupt(who, Answer::ClientGone),
            2 => self.interrupt(who, Answer::Unavailable(Refusal::LeaderChanged)),
            3 => self.interrupt(who, Answer::WatchLost),
            4 => {
                let (_, revision) = self.line();
                let _ = self
                    .member
                    .ask(Request::Compact(pb::CompactionRequest { revision, physical: false }));
            }
            _ if self.contenders[who].call.is_none() => self.begin(who),
            _ => drop(self.go_on(who)),
        }
    }

    fn end_lease(&mut self, who: usize) {
        let id = std::mem::take(&mut self.contenders[who].lease);
        if id != 0 {
            self.member.ask(Request::LeaseRevoke(pb::LeaseRevokeRequest { id })).unwrap();
        }
    }

    fn begin(&mut self, who: usize) {
        if self.contenders[who].lease == 0 {
            self.leases += 1;
            let id = self.leases;
            self.member.ask(Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl: TTL })).unwrap();
            self.contenders[who].lease = id;
        }
        let (name, lease) = (Bytes::from_static(b"n"), self.contenders[who].lease);
        let value = Bytes::from(self.lot(3).to_string());
        let (recipe, step) = if self.lot(2) == 0 {
            let (lock, step) = Lock::begin(LockRequest { name, lease });
            (Contending::Lock(lock), step.map(held))
        } else {
            let (campaign, step) = Campaign::begin(CampaignRequest { name, lease, value });
            (Contending::Campaign(campaign), step.map(led))
        };
        self.contenders[who].call = Some((recipe, step));
    }

    /// One step; whether there was one to take.
    fn go_on(&mut self, who: usize) -> bool {
        let contender = &mut self.contenders[who];
        let Some((_, step)) = &contender.call else { return false };
        contender.has_waited |= *step == Step::Listen;
        let Some(answer) = self.member.carry_out(step.clone(), &mut contender.stream) else {
            return false;
        };
        self.hand_in(who, answer);
        true
    }

    /// What may come instead of an answer, where it may come.
    fn interrupt(&mut self, who: usize, answer: Answer<Refusal>) {
        let Some((_, step)) = &self.contenders[who].call else { return };
        let may_come = match answer {
            Answer::WatchLost => matches!(step, Step::Watch(_) | Step::Listen),
            _ => true,
        };
        if may_come {
            self.hand_in(who, answer);
        }
    }

    fn hand_in(&mut self, who: usize, answer: Answer<Refusal>) {
        let Some((recipe, step)) = &mut self.contenders[who].call else { return };
        *step = recipe.handle(answer);
        let Step::Yield(found) = step else { return };
        let found = found.clone();
        self.contenders[who].call = None;
        self.member.close(self.contenders[who].stream.take());
        let has_waited = std::mem::take(&mut self.contenders[who].has_waited);
        match found {
            Ok(key) => {
                assert_eq!(Some(&key), self.line().0.first(), "seed {}", self.seed);
                self.seen.held += 1;
                self.seen.waited += usize::from(has_waited);
                self.let_go(key);
            }
            Err(Failure::SessionExpired | Failure::NotLeader) => self.seen.expired += 1,
            Err(Failure::Abandoned) => self.seen.left += 1,
            Err(Failure::Refused(_)) => {}
            Err(other) => panic!("{other:?}, seed {}", self.seed),
        }
    }

    /// Half of those who hold let go at once, the others when their lease ends.
    fn let_go(&mut self, key: Bytes) {
        if self.lot(2) == 0 {
            let delete = pb::DeleteRangeRequest { key, ..pb::DeleteRangeRequest::default() };
            self.member.ask(Request::DeleteRange(delete)).unwrap();
        }
    }

    /// The keys in line, oldest first, and the revision.
    fn line(&mut self) -> (Vec<Bytes>, i64) {
        let found = self.member.read(&pb::RangeRequest {
            key: Bytes::from_static(b"n/"),
            range_end: Bytes::from_static(b"n0"),
            sort_order: pb::range_request::SortOrder::Ascend.into(),
            sort_target: pb::range_request::SortTarget::Create.into(),
            ..pb::RangeRequest::default()
        });
        let revision = found.header.unwrap().revision;
        (found.kvs.into_iter().map(|kv| kv.key).collect(), revision)
    }

    /// No more trouble: as those who hold lose their leases, everybody is answered.
    fn settle(&mut self) {
        for _ in 0..=CONTENDERS {
            // Watches that catch up do so beside others, in their own time.
            loop {
                self.member.wait(Duration::from_millis(2));
                if !(0..CONTENDERS).any(|who| self.go_on(who)) {
                    break;
                }
            }
            for who in 0..CONTENDERS {
                if self.contenders[who].call.is_none() {
                    self.end_lease(who);
                }
            }
        }
        let waiting = self.contenders.iter().filter(|it| it.call.is_some()).count();
        assert_eq!((waiting, self.line().0), (0, Vec::new()), "seed {}", self.seed);
    }
}
