//! Watching who leads.
//!
//! ```text
//!   Finding --nobody--> Awaiting the first put of any candidate
//!      ^  \--a leader-----.            |
//!      |                   v           v
//!      +--its key ends-- Following it, each of its values is told
//!      +--anything else------> Resting, then Finding; what was told is not told again
//! ```

use alloc::collections::VecDeque;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::ResponseHeader;
use quorate_proto::mvccpb::event::EventType;
use quorate_proto::mvccpb::{Event, KeyValue};
use quorate_proto::v3electionpb::{LeaderRequest, LeaderResponse};

use super::{Answer, Recipe, Step, requests};
use crate::time::Duration;

/// How long to rest when the cluster or a watch fails, before looking who leads.
const REST: Duration = Duration::from_millis(100);

/// Tells the leader, waiting for one if there is none, and then every change: a new value of the
/// leader's, or a new leader. Leaders that come and go between two looks may be missed; the
/// newest is told in the end.
#[derive(Debug)]
pub struct Observe {
    prefix: Bytes,
    state: State,
    /// What is to be told, in order: at most what one frame brought.
    news: VecDeque<LeaderResponse>,
    /// What was told last, by key and revision.
    told: (Bytes, i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Finding,
    Awaiting,
    /// A leader was found in the state of this revision; its watch is not open yet.
    Found(Bytes, i64),
    Following,
    /// The leader's key ended.
    Ended,
    Resting,
}

impl Observe {
    /// The recipe and its first step.
    pub fn begin(request: &LeaderRequest) -> (Self, Step<LeaderResponse>) {
        let mut this = Self {
            prefix: requests::prefix_of(&request.name),
            state: State::Finding,
            news: VecDeque::new(),
            told: (Bytes::new(), 0),
        };
        let step = this.find();
        (this, step)
    }

    fn find(&mut self) -> Step<LeaderResponse> {
        self.state = State::Finding;
        Step::Read(requests::oldest(&self.prefix))
    }

    fn rest(&mut self) -> Step<LeaderResponse> {
        self.state = State::Resting;
        Step::Rest(REST)
    }

    fn handle_found(&mut self, found: pb::RangeResponse) -> Step<LeaderResponse> {
        let header = found.header.unwrap_or_default();
        let Some(leader) = found.kvs.into_iter().next() else {
            self.state = State::Awaiting;
            return Step::Watch(requests::watch_puts(&self.prefix, header.revision + 1));
        };
        self.state = State::Found(leader.key.clone(), header.revision);
        self.note(header, leader);
        self.go_on()
    }

    fn handle_first(&mut self, frame: pb::WatchResponse) -> Step<LeaderResponse> {
        let header = frame.header.unwrap_or_default();
        let Some(leader) = frame.events.into_iter().find(is_put).and_then(|event| event.kv) else {
            return Step::Listen;
        };
        let revision = leader.mod_revision;
        self.state = State::Found(leader.key.clone(), revision);
        self.note(ResponseHeader { revision, ..header }, leader);
        self.go_on()
    }

    fn handle_frame(&mut self, frame: pb::WatchResponse) -> Step<LeaderResponse> {
        let header = frame.header.unwrap_or_default();
        for event in frame.events {
            if !is_put(&event) {
                self.state = State::Ended;
                break;
            }
            if let Some(leader) = event.kv {
                self.note(header, leader);
            }
        }
        self.go_on()
    }

    fn note(&mut self, header: ResponseHeader, leader: KeyValue) {
        let told = (leader.key.clone(), leader.mod_revision);
        if told != self.told {
            self.told = told;
            let news = LeaderResponse { header: Some(header), kv: Some(leader) };
            self.news.push_back(news);
        }
    }

    /// Tells the next thing; when all is told, goes on with what comes then.
    fn go_on(&mut self) -> Step<LeaderResponse> {
        if let Some(news) = self.news.pop_front() {
            return Step::Yield(news);
        }
        match &self.state {
            State::Found(key, revision) => {
                let step = Step::Watch(requests::watch_key(key.clone(), revision + 1));
                self.state = State::Following;
                step
            }
            State::Following => Step::Listen,
            _ => self.find(),
        }
    }
}

impl<E> Recipe<E> for Observe {
    type Yield = LeaderResponse;

    fn handle(&mut self, answer: Answer<E>) -> Step<LeaderResponse> {
        match (&self.state, answer) {
            (_, Answer::Taken) => self.go_on(),
            (State::Finding, Answer::Read(found)) => self.handle_found(found),
            (_, Answer::Frame(frame)) if frame.canceled => self.rest(),
            (State::Awaiting, Answer::Frame(frame)) => self.handle_first(frame),
            (State::Following, Answer::Frame(frame)) => self.handle_frame(frame),
            (State::Resting, Answer::Rested) => self.find(),
            _ => self.rest(),
        }
    }
}

fn is_put(event: &Event) -> bool {
    event.r#type() == EventType::Put
}
