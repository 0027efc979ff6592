//! Recipes under way: their steps are taken as the services take them.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message;
use quorate_core::auth::Identity;
use quorate_core::error::Refusal;
use quorate_core::event::ReadError;
use quorate_core::ids::{StreamId, Token};
use quorate_core::recipe::{self, Answer as Told, Recipe, Step};
use quorate_core::time::Time;
use quorate_core::{StateInput, View, txn};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;

use crate::client::Kind;
use crate::member::{Answer, Member};

/// Recipes at once.
const RECIPES_MAX: usize = 8;
/// Steps a recipe may take in one go.
const STEPS_MAX: usize = 1_000;
/// Where the numbers of their streams begin.
const STREAMS_FROM: u64 = 1_000;

/// All that are under way.
#[derive(Default)]
pub(crate) struct Runner {
    running: VecDeque<Running>,
    streams: u64,
}

/// One of them.
struct Running {
    recipe: Box<dyn Recipe<Refusal, Yield = ()>>,
    awaits: Awaits,
    stream: Option<StreamId>,
    /// Whether it goes on after what it tells.
    is_endless: bool,
}

/// What it waits for.
enum Awaits {
    Response(Token),
    Read(Token, pb::RangeRequest),
    Frame,
    Rest(Time),
    End,
}

/// A recipe whose yield nobody looks at.
struct Quiet<R>(R);

impl<R: Recipe<Refusal>> Recipe<Refusal> for Quiet<R> {
    type Yield = ();

    fn handle(&mut self, answer: Told<Refusal>) -> Step<()> {
        self.0.handle(answer).map(|_| ())
    }
}

type Begun = (Box<dyn Recipe<Refusal, Yield = ()>>, Step<()>);

fn quiet<R: Recipe<Refusal> + 'static>((recipe, step): (R, Step<R::Yield>)) -> Begun {
    (Box::new(Quiet(recipe)), step.map(|_| ()))
}

fn begin(kind: Kind, body: &[u8]) -> Option<Begun> {
    fn message<M: Message + Default>(body: &[u8]) -> Option<M> {
        M::decode(bytes::Bytes::copy_from_slice(body)).ok()
    }
    Some(match kind {
        Kind::Lock => quiet(recipe::Lock::begin(message(body)?)),
        Kind::Unlock => quiet(recipe::unlock(message(body)?)),
        Kind::Campaign => quiet(recipe::Campaign::begin(message(body)?)),
        Kind::Proclaim => quiet(recipe::Proclaim::begin(message(body)?)),
        Kind::Leader => quiet(recipe::leader(&message(body)?)),
        Kind::Observe => {
            let (recipe, step) = recipe::Observe::begin(&message(body)?);
            quiet((Observed(recipe), step))
        }
        Kind::Resign => quiet(recipe::resign(message(body)?)),
        _ => return None,
    })
}

/// An observer, with the word for how its driver refuses.
struct Observed(recipe::Observe);

impl Recipe<Refusal> for Observed {
    type Yield = <recipe::Observe as Recipe<Refusal>>::Yield;

    fn handle(&mut self, answer: Told<Refusal>) -> Step<Self::Yield> {
        self.0.handle(answer)
    }
}

impl Runner {
    /// Begins the recipe of that kind. False if it is another kind of call.
    pub(crate) fn begin(&mut self, kind: Kind, body: &[u8], member: &mut Member) -> bool {
        let Some((recipe, step)) = begin(kind, body) else { return false };
        if self.running.len() == RECIPES_MAX {
            self.leave(member);
        }
        let is_endless = kind == Kind::Observe;
        let mut running = Running { recipe, awaits: Awaits::End, stream: None, is_endless };
        running.take(step, member, &mut self.streams);
        self.running.push_back(running);
        true
    }

    /// Takes all steps that can be taken.
    pub(crate) fn go_on(&mut self, member: &mut Member) {
        for _ in 0..STEPS_MAX {
            let mut has_moved = false;
            for running in &mut self.running {
                has_moved |= running.go_on(member, &mut self.streams);
            }
            self.running.retain(|running| !matches!(running.awaits, Awaits::End));
            if !has_moved {
                return;
            }
        }
        panic!("recipes do not come to rest");
    }

    /// The client of the oldest leaves.
    pub(crate) fn leave(&mut self, member: &mut Member) {
        let Some(mut running) = self.running.pop_front() else { return };
        if matches!(running.awaits, Awaits::Response(_)) {
            // Its answer is waited for, whoever left.
            return self.running.push_back(running);
        }
        let step = running.recipe.handle(Told::ClientGone);
        if !running.is_endless {
            running.take(step, member, &mut self.streams);
        }
        for _ in 0..STEPS_MAX {
            if !running.go_on(member, &mut self.streams) {
                break;
            }
        }
        running.close(member);
        if matches!(running.awaits, Awaits::Response(_)) {
            self.running.push_back(running);
        }
    }

    /// All clients leave.
    pub(crate) fn leave_all(&mut self, member: &mut Member) {
        for _ in 0..self.running.len() {
            self.leave(member);
        }
    }
}

impl Running {
    /// Looks whether what it waits for is there, and takes the next step.
    fn go_on(&mut self, member: &mut Member, streams: &mut u64) -> bool {
        let Some(answer) = self.look(member) else { return false };
        let step = self.recipe.handle(answer);
        self.take(step, member, streams);
        true
    }

    fn look(&mut self, member: &mut Member) -> Option<Told<Refusal>> {
        match &self.awaits {
            Awaits::Response(token) => match member.take_answer(*token)? {
                Answer::Response(answer) => Some(answer.map_or_else(refused, Told::Response)),
                Answer::View(_) => None,
            },
            Awaits::Read(token, range) => match member.take_answer(*token)? {
                Answer::View(view) => Some(view.map_or_else(refused, |view| read(&view, range))),
                Answer::Response(_) => None,
            },
            Awaits::Frame => {
                let frames = member.take_frames(self.stream?, 1);
                frames.into_iter().next().map(Told::Frame)
            }
            Awaits::Rest(until) => (member.now >= *until).then_some(Told::Rested),
            Awaits::End => None,
        }
    }

    fn take(&mut self, mut step: Step<()>, member: &mut Member, streams: &mut u64) {
        while matches!(step, Step::Yield(())) && self.is_endless {
            step = self.recipe.handle(Told::Taken);
        }
        self.awaits = match step {
            Step::Request(request) => Awaits::Response(member.request(request)),
            Step::Read(range) => Awaits::Read(member.read(), range),
            Step::Watch(create) => {
                self.close(member);
                *streams += 1;
                let stream = StreamId(STREAMS_FROM + *streams);
                member.open_stream(stream, 1 << 20);
                let request_union = Some(RequestUnion::CreateRequest(create));
                let message = pb::WatchRequest { request_union };
                member.tell_state(StateInput::StreamMessage {
                    stream,
                    who: Ok(Identity::default()),
                    message,
                });
                self.stream = Some(stream);
                Awaits::Frame
            }
            Step::Listen => Awaits::Frame,
            Step::Rest(span) => Awaits::Rest(member.now + span.max(Duration::from_millis(1))),
            Step::Yield(()) => {
                self.close(member);
                Awaits::End
            }
        };
    }

    fn close(&mut self, member: &mut Member) {
        if let Some(stream) = self.stream.take() {
            member.close_stream(stream);
        }
    }
}

fn read(view: &View, range: &pb::RangeRequest) -> Told<Refusal> {
    match txn::read_range(&view.kv, range) {
        Ok(found) => {
            let header = Some(view.header(view.kv.revision()));
            Told::Read(pb::RangeResponse { header, ..found })
        }
        Err(ReadError::Refused(refusal)) => refused(refusal),
        Err(ReadError::Fault(fault)) => panic!("{}", fault.what),
    }
}

fn refused(refusal: Refusal) -> Told<Refusal> {
    match refusal {
        Refusal::NoLeader | Refusal::Timeout => Told::Unavailable(refusal),
        _ => Told::Refused(refusal),
    }
}
