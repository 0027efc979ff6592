//! Who keeps a lease alive.
//!
//! A renewal that was acknowledged counts from its call: until then and the lease's time no member
//! may say that the lease is gone, and the key on it must be there.

use std::rc::Rc;
use std::time::Duration;

use quorate_core::ids::MemberId;
use quorate_core::time::Time;
use quorate_core::{Request, Response};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::caller::{ANSWER_MAX, Caller, get, put};
use super::key;
use crate::shell::course::{Course, DUE, leave};
use crate::shell::witness::now;
use crate::world::observe::{Operation, Outcome, Verdict, Violation};

/// Messages on their way out.
const REQUESTS_MAX: usize = 4;
/// Seconds a lease lives, least and most.
const TTL_S: (u64, u64) = (4, 9);

/// Keeps one lease after the other until the healing; the last one must live on, and ends when it
/// is revoked.
pub(in crate::shell) async fn keep(course: Rc<Course>, number: u32) -> turmoil::Result {
    let mut keeper = Keeper { caller: Caller::new(&course, number), granted: 0, held: None };
    while !course.is_healed() {
        keeper.go_on().await;
    }
    if timeout(DUE, keeper.renew_again()).await.is_err() {
        course.witness.miss(format!("client {number} cannot keep a lease alive"));
    }
    if timeout(DUE, keeper.give_up()).await.is_err() {
        course.witness.miss(format!("client {number} cannot revoke its lease"));
    }
    leave(&course.at_work);
    Ok(())
}

struct Keeper {
    caller: Caller,
    /// Leases that were asked for.
    granted: i64,
    held: Option<Held>,
}

/// A lease that was granted.
#[derive(Clone, Copy)]
struct Held {
    id: i64,
    ttl: Duration,
    /// It lives at least until then.
    promised: Time,
    /// Whether its key was acknowledged.
    has_key: bool,
}

type Renewals = (mpsc::Sender<pb::LeaseKeepAliveRequest>, Streaming<pb::LeaseKeepAliveResponse>);

impl Keeper {
    /// Has a lease with a key, and keeps it alive for as long as one stream goes.
    async fn go_on(&mut self) {
        if !self.have_lease().await {
            self.caller.hang_up();
            return sleep(Duration::from_millis(100)).await;
        }
        let Some((member, mut renewals)) = self.open().await else {
            self.caller.hang_up();
            return sleep(Duration::from_millis(100)).await;
        };
        while !self.caller.course.is_healed() && self.renew(member, &mut renewals).await {
            let Some(held) = self.held else { return };
            if self.caller.luck.below(4) == 0 {
                self.look_for_key().await;
            }
            sleep(held.ttl / 4).await;
        }
        if self.caller.luck.below(2) == 0 {
            self.caller.hang_up();
        }
    }

    async fn have_lease(&mut self) -> bool {
        if self.held.is_none() {
            self.granted += 1;
            let id = i64::from(self.caller.id.0) * 1_000 + self.granted;
            let seconds = self.caller.luck.between(TTL_S.0, TTL_S.1);
            let grant = pb::LeaseGrantRequest { id, ttl: i64::try_from(seconds).unwrap_or(9) };
            let called = now();
            let grant = Operation::Request(Request::LeaseGrant(grant));
            let outcome = self.caller.call(grant, ANSWER_MAX).await;
            let Outcome::Response(Response::LeaseGrant(grant)) = outcome else { return false };
            let ttl = Duration::from_secs(grant.ttl.unsigned_abs());
            self.held = Some(Held { id, ttl, promised: called + ttl, has_key: false });
        }
        let Some(Held { id, has_key: false, .. }) = self.held else { return true };
        let write = put(key(&format!("lease/{id}")), format!("of {id}"), id);
        let is_put = self.caller.call(write, ANSWER_MAX).await != Outcome::Unknown;
        self.held.iter_mut().for_each(|held| held.has_key = is_put);
        // It may have ended meanwhile, or the answer was lost.
        is_put || !self.is_due(self.held)
    }

    /// Whether it may have ended by now, for all that was promised.
    fn is_due(&mut self, held: Option<Held>) -> bool {
        let is_due = held.is_some_and(|held| held.promised <= now());
        if is_due {
            self.held = None;
        }
        is_due
    }

    /// A stream, with the first renewal: the answer's head comes only with the first answer.
    async fn open(&mut self) -> Option<(MemberId, Renewals)> {
        let id = self.held?.id;
        let (member, channel) = self.caller.connect().await?;
        let (requests, sent) = mpsc::channel(REQUESTS_MAX);
        requests.try_send(pb::LeaseKeepAliveRequest { id }).ok()?;
        let mut client = LeaseClient::new(channel);
        let opening = async {
            let sent = ReceiverStream::new(sent);
            let mut answers = client.lease_keep_alive(sent).await.ok()?.into_inner();
            Some((answers.message().await.ok()??, answers))
        };
        let answers = self.ask(member, opening).await?;
        Some((member, (requests, answers)))
    }

    /// One renewal; whether there is a lease and a stream to go on with.
    async fn renew(&mut self, member: MemberId, (requests, answers): &mut Renewals) -> bool {
        let Some(Held { id, .. }) = self.held else { return false };
        let asking = async {
            requests.send(pb::LeaseKeepAliveRequest { id }).await.ok()?;
            Some((answers.message().await.ok()??, ()))
        };
        self.ask(member, asking).await.is_some()
    }

    /// Tells of a renewal and its outcome; nothing if there is no lease or no stream any more.
    async fn ask<T>(
        &mut self,
        member: MemberId,
        asking: impl Future<Output = Option<(pb::LeaseKeepAliveResponse, T)>>,
    ) -> Option<T> {
        let id = self.held?.id;
        let (called, witness) = (now(), self.caller.course.witness.clone());
        let request = Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id });
        let call = witness.begin(self.caller.id, member, &Operation::Request(request));
        let answered = timeout(ANSWER_MAX, asking).await.ok().flatten();
        let outcome = answered.as_ref().map_or(Outcome::Unknown, |(answer, _)| {
            Outcome::Response(Response::LeaseKeepAlive(*answer))
        });
        witness.end(self.caller.id, call, &outcome);
        let (answer, rest) = answered?;
        self.note(called, &answer).then_some(rest)
    }

    /// What an answer means; whether the lease is there.
    fn note(&mut self, called: Time, answer: &pb::LeaseKeepAliveResponse) -> bool {
        let Some(mut held) = self.held else { return false };
        if answer.ttl > 0 {
            self.caller.course.witness.count("renewals");
            held.promised = called + Duration::from_secs(answer.ttl.unsigned_abs());
            self.held = Some(held);
            return true;
        }
        self.check(held, "a member says that it is gone");
        self.held = None;
        false
    }

    fn check(&self, held: Held, why: &str) {
        let Held { id, promised, .. } = held;
        if now() < promised {
            let what = format!("lease {id} was promised until {promised:?}, and {why}");
            let verdict = Verdict::Correctness;
            self.caller.course.witness.object(Violation { verdict, oracle: "lease", what });
        }
    }

    /// The key of a lease that lives must be there.
    async fn look_for_key(&mut self) {
        let Some(held @ Held { id, has_key: true, .. }) = self.held else { return };
        let read = get(key(&format!("lease/{id}")));
        if let Outcome::Range(found) = self.caller.call(read, ANSWER_MAX).await
            && found.kvs.is_empty()
        {
            self.check(held, "its key is gone");
            self.held = None;
        }
    }

    /// Until a renewal is acknowledged.
    async fn renew_again(&mut self) {
        loop {
            self.caller.hang_up();
            if self.have_lease().await && self.open().await.is_some() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Until the lease is revoked, or has ended by itself.
    async fn give_up(&mut self) {
        while let Some(Held { id, .. }) = self.held {
            let revoke = Request::LeaseRevoke(pb::LeaseRevokeRequest { id });
            let revoke = Operation::Request(revoke);
            let outcome = self.caller.call(revoke, ANSWER_MAX).await;
            if outcome != Outcome::Unknown || self.is_due(self.held) {
                return;
            }
            self.caller.hang_up();
            sleep(Duration::from_millis(100)).await;
        }
    }
}
