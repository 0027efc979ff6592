//! A lone member whose log commits at once: what recipes ask, it answers.
#![allow(dead_code, reason = "each test compiles this room for itself and uses a part")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::auth::Identity;
use quorate_core::error::Refusal;
use quorate_core::ids::{LogIndex, MemberId, StreamId, Term, Token};
use quorate_core::recipe::{Answer, Step};
use quorate_core::storage::{Entry, EntryKind, Rows};
use quorate_core::time::Time;
use quorate_core::{
    Config, Machine, Request, Response, Role, State, StateInput, StateOutput, View, txn,
};
use quorate_proto::etcdserverpb as pb;

pub(crate) struct Member {
    state: State,
    now: Time,
    last: u64,
    tokens: u64,
    responses: BTreeMap<Token, Result<Response, Refusal>>,
    views: BTreeMap<Token, Result<View, Refusal>>,
    frames: BTreeMap<StreamId, VecDeque<pb::WatchResponse>>,
}

const TERM: Term = Term(2);

impl Member {
    pub(crate) fn new() -> Self {
        let config = Config { member: MemberId(1), name: "a".into(), ..Config::default() };
        let state = State::open(&config, Arc::new(Rows::default()), Time(0)).unwrap();
        let mut this = Self {
            state,
            now: Time(0),
            last: 0,
            tokens: 0,
            responses: BTreeMap::new(),
            views: BTreeMap::new(),
            frames: BTreeMap::new(),
        };
        let role = Role { term: TERM, leader: Some(MemberId(1)), is_leader: true };
        this.feed(StateInput::Role(role));
        this.commit(Bytes::new());
        this
    }

    pub(crate) fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        let token = self.token();
        self.feed(StateInput::Request { token, who: Ok(Identity::default()), request });
        self.responses.remove(&token).unwrap()
    }

    /// Does what a step says; nothing if it listens and there is nothing to hear.
    pub(crate) fn carry_out<T>(
        &mut self,
        step: Step<T>,
        stream: &mut Option<StreamId>,
    ) -> Option<Answer<Refusal>> {
        Some(match step {
            Step::Request(request) => {
                self.ask(request).map_or_else(Answer::Refused, Answer::Response)
            }
            Step::Read(range) => Answer::Read(self.read(&range)),
            Step::Watch(create) => {
                self.close(stream.take());
                let opened = self.watch(create);
                *stream = Some(opened);
                Answer::Frame(self.next_frame(opened)?)
            }
            Step::Listen => Answer::Frame(self.next_frame((*stream)?)?),
            Step::Rest(_) => Answer::Rested,
            Step::Yield(_) => Answer::Taken,
        })
    }

    pub(crate) fn read(&mut self, range: &pb::RangeRequest) -> pb::RangeResponse {
        let token = self.token();
        self.feed(StateInput::Read { token });
        let view = self.views.remove(&token).unwrap().unwrap();
        let found = txn::read_range(&view.kv, range).unwrap();
        pb::RangeResponse { header: Some(view.header(view.kv.revision())), ..found }
    }

    fn watch(&mut self, create: pb::WatchCreateRequest) -> StreamId {
        let stream = StreamId(self.token().0);
        self.feed(StateInput::StreamOpened { stream, frame_bytes_max: 1 << 20 });
        let request_union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
        let message = pb::WatchRequest { request_union };
        self.feed(StateInput::StreamMessage { stream, who: Ok(Identity::default()), message });
        stream
    }

    fn next_frame(&mut self, stream: StreamId) -> Option<pb::WatchResponse> {
        let frame = self.frames.get_mut(&stream)?.pop_front()?;
        self.feed(StateInput::StreamReady { stream, frames: 1 });
        Some(frame)
    }

    pub(crate) fn close(&mut self, stream: Option<StreamId>) {
        if let Some(stream) = stream {
            self.frames.remove(&stream);
            self.feed(StateInput::StreamClosed { stream });
        }
    }

    /// Lets time pass, waking the state exactly when it wants to be woken.
    pub(crate) fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(wake) = self.state.poll_timeout().filter(|wake| wake.at <= until) {
            self.now = self.now.max(wake.at);
            self.state.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn feed(&mut self, input: StateInput) {
        self.state.handle(self.now, input);
        self.drain();
    }

    fn commit(&mut self, data: Bytes) {
        self.last += 1;
        let index = LogIndex(self.last);
        let entry = Entry { term: TERM, index, kind: EntryKind::Normal, data };
        self.feed(StateInput::Committed { entries: vec![entry] });
    }

    fn drain(&mut self) {
        while let Some(output) = self.state.poll_output() {
            match output {
                StateOutput::Propose { data, .. } => self.commit(data),
                StateOutput::Barrier { context } => {
                    let index = LogIndex(self.last);
                    self.feed(StateInput::BarrierReached { context, index });
                }
                StateOutput::Respond { token, result } => {
                    self.responses.insert(token, result);
                }
                StateOutput::ReadReady { token, result } => {
                    self.views.insert(token, result);
                }
                StateOutput::Stream { stream, frame } => {
                    self.frames.entry(stream).or_default().push_back(frame);
                }
                _ => {}
            }
        }
    }
}
