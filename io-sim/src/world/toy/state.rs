//! Puts, and watches on them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::draw::draw;
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::event::KeyRange;
use quorate_core::ids::{LogIndex, RequestId, StreamId, Term, Token};
use quorate_core::output::Batch;
use quorate_core::storage::{Entry, EntryKind, SnapshotMark, StateRead, Table, Write};
use quorate_core::time::{Time, Wake};
use quorate_core::{Config, Machine, Request, Response, StateInput, StateOutput};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::mvccpb;

use super::Planted;
use super::replica::mark;

/// See the module.
pub struct ToyState {
    config: Config,
    planted: Planted,
    applied: u64,
    term: u64,
    digest: u64,
    history: Vec<mvccpb::KeyValue>,
    epoch: u64,
    image: (u64, Arc<dyn StateRead>),
    pending: BTreeMap<u64, Token>,
    last_id: u64,
    streams: BTreeMap<StreamId, Option<KeyRange>>,
    outputs: VecDeque<StateOutput>,
}

fn number(image: &dyn StateRead, key: &[u8]) -> Result<u64, StorageFault> {
    let row = image.get(Table::Meta, key)?;
    Ok(row.map_or(0, |row| {
        u64::from_le_bytes(row.as_ref().try_into().expect("eight bytes were written"))
    }))
}

impl ToyState {
    pub(super) fn open(
        config: &Config,
        image: Arc<dyn StateRead>,
        planted: Planted,
    ) -> Result<Self, StorageFault> {
        let mut state = Self {
            config: config.clone(),
            planted,
            applied: 0,
            term: 0,
            digest: 0,
            history: Vec::new(),
            epoch: 0,
            image: (0, image.clone()),
            pending: BTreeMap::new(),
            last_id: (config.member.0 << 48) + (config.boot << 32),
            streams: BTreeMap::new(),
            outputs: VecDeque::new(),
        };
        state.load(image)?;
        Ok(state)
    }

    fn load(&mut self, image: Arc<dyn StateRead>) -> Result<(), StorageFault> {
        self.applied = number(image.as_ref(), b"applied")?;
        self.term = number(image.as_ref(), b"term")?;
        self.digest = number(image.as_ref(), b"digest")?;
        self.history.clear();
        image.scan(Table::Key, b"", b"", &mut |_, value| {
            self.history.push(mvccpb::KeyValue::decode(value.clone()).expect("was encoded"));
            ControlFlow::Continue(())
        })?;
        self.image = (self.applied, image);
        Ok(())
    }

    pub(super) fn mark(&self) -> SnapshotMark {
        mark(self.applied)
    }

    fn revision(&self) -> i64 {
        1 + self.history.len() as i64
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        let revision = self.revision();
        Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() })
    }

    fn propose(&mut self, token: Token, request: Request) {
        let Request::Put(put) = request else {
            let result = Err(Refusal::NotCapable);
            return self.outputs.push_back(StateOutput::Respond { token, result });
        };
        self.last_id += 1;
        let mut id = self.last_id;
        if let Planted::Runs(runs) = self.planted {
            id += runs << 16;
        }
        self.pending.insert(id, token);
        let entry = pb::InternalRaftRequest { id, put: Some(put), ..Default::default() };
        let data = Bytes::from(entry.encode_to_vec());
        self.outputs.push_back(StateOutput::Propose {
            id: RequestId(id),
            data,
            kind: EntryKind::Normal,
            in_term: Term(super::replica::TERM),
            may_forward: true,
        });
    }

    fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.index.0, self.applied + 1, "entries come in order, once");
        assert!(self.planted != Planted::Panic || entry.index.0 != 100, "one too many");
        (self.applied, self.term) = (entry.index.0, entry.term.0);
        let request = pb::InternalRaftRequest::decode(entry.data.clone()).ok();
        let id = request.as_ref().map_or(0, |request| request.id);
        match request.and_then(|request| request.put) {
            Some(put) if entry.kind == EntryKind::Normal => self.apply_put(put),
            // A leader's first entry, or a change of the group.
            _ => self.conclude(entry.index, None),
        }
        if let Some(token) = self.pending.remove(&id) {
            let put = pb::PutResponse { header: self.header(), prev_kv: None };
            let result = Ok(Response::Put(put));
            self.outputs.push_back(StateOutput::Respond { token, result });
        }
    }

    fn apply_put(&mut self, put: pb::PutRequest) {
        let kv = mvccpb::KeyValue {
            key: put.key,
            value: put.value,
            mod_revision: self.revision() + 1,
            ..mvccpb::KeyValue::default()
        };
        self.history.push(kv.clone());
        self.digest = kv
            .encode_to_vec()
            .iter()
            .fold(self.digest, |digest, byte| draw(digest, u64::from(*byte), self.applied, 0));
        self.conclude(LogIndex(self.applied), Some(&kv));
        let on_key = |range: &Option<KeyRange>| range.as_ref().is_some_and(|r| r.contains(&kv.key));
        let streams = self.streams.iter().filter(|stream| on_key(stream.1));
        for stream in streams.map(|stream| *stream.0).collect::<Vec<_>>() {
            self.stream(stream, vec![kv.clone()]);
        }
    }

    /// Reports an entry as applied, and stores it with what it wrote.
    fn conclude(&mut self, index: LogIndex, kv: Option<&mvccpb::KeyValue>) {
        let own = if self.planted == Planted::OwnDigest { self.config.member.0 } else { 0 };
        let digest = self.digest ^ own;
        self.outputs.push_back(StateOutput::Applied { index, digest });
        let row = |table, key: &[u8], value: &[u8]| Write {
            table,
            key: Bytes::copy_from_slice(key),
            value: Some(Bytes::copy_from_slice(value)),
        };
        let mut writes = vec![
            row(Table::Meta, b"applied", &self.applied.to_le_bytes()),
            row(Table::Meta, b"term", &self.term.to_le_bytes()),
            row(Table::Meta, b"digest", &self.digest.to_le_bytes()),
        ];
        writes.extend(
            kv.map(|kv| row(Table::Key, &kv.mod_revision.to_be_bytes(), &kv.encode_to_vec())),
        );
        let sync = self.applied.is_multiple_of(self.config.snapshot_count);
        self.outputs.push_back(StateOutput::Store(Batch {
            epoch: self.epoch,
            index,
            writes,
            sync,
        }));
    }

    fn stream(&mut self, stream: StreamId, kvs: Vec<mvccpb::KeyValue>) {
        let event = |kv| mvccpb::Event { kv: Some(kv), ..mvccpb::Event::default() };
        let events = kvs.into_iter().map(event).collect();
        let frame = pb::WatchResponse { header: self.header(), events, ..Default::default() };
        self.outputs.push_back(StateOutput::Stream { stream, frame });
    }

    /// One watch a stream; all of it is always shown everything.
    fn watch(&mut self, stream: StreamId, message: pb::WatchRequest) {
        let header = self.header();
        let mut answer = |frame| {
            let frame = pb::WatchResponse { header, watch_id: -1, ..frame };
            self.outputs.push_back(StateOutput::Stream { stream, frame });
        };
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let create = match message.request_union {
            Some(RequestUnion::CreateRequest(create)) if open.is_none() => create,
            Some(RequestUnion::CreateRequest(_)) => {
                let (created, canceled) = (true, true);
                return answer(pb::WatchResponse { created, canceled, ..Default::default() });
            }
            Some(RequestUnion::ProgressRequest(_)) if open.is_some() => {
                return answer(pb::WatchResponse::default());
            }
            _ => return,
        };
        let range = KeyRange::parse(&create.key, &create.range_end);
        *open = Some(range.clone());
        let header = self.header();
        let frame = pb::WatchResponse { header, created: true, ..Default::default() };
        self.outputs.push_back(StateOutput::Stream { stream, frame });
        let is_old = |kv: &&mvccpb::KeyValue| {
            create.start_revision > 0
                && kv.mod_revision >= create.start_revision
                && range.contains(&kv.key)
        };
        let old: Vec<_> = self.history.iter().filter(is_old).cloned().collect();
        if !old.is_empty() {
            self.stream(stream, old);
        }
    }
}

impl Machine for ToyState {
    type Input = StateInput;
    type Output = StateOutput;

    fn handle(&mut self, _: Time, input: StateInput) {
        match input {
            StateInput::Request { token, request, .. } => self.propose(token, request),
            StateInput::Read { token } => {
                let result = Err(Refusal::NotCapable);
                self.outputs.push_back(StateOutput::ReadReady { token, result });
            }
            StateInput::Committed { entries } => entries.iter().for_each(|e| self.apply(e)),
            StateInput::StreamOpened { stream, .. } => {
                self.streams.insert(stream, None);
            }
            StateInput::StreamMessage { stream, message, .. } => self.watch(stream, message),
            StateInput::StreamClosed { stream } => {
                self.streams.remove(&stream);
            }
            StateInput::Stored { index, image } => self.image = (index.0, image),
            StateInput::Synced { index } => {
                self.outputs.push_back(StateOutput::Synced { mark: mark(index.0) });
            }
            StateInput::Installed { image } => {
                self.epoch += 1;
                let before = self.revision();
                self.load(image).expect("an image can be read");
                let missed = self.history[before as usize - 1..].to_vec();
                for (stream, range) in self.streams.clone() {
                    let Some(range) = range else { continue };
                    let on = missed.iter().filter(|kv| range.contains(&kv.key));
                    self.stream(stream, on.cloned().collect());
                }
            }
            StateInput::TakeSnapshot => {
                let (index, image) = (self.image.0, self.image.1.clone());
                self.outputs.push_back(StateOutput::SnapshotTaken { mark: mark(index), image });
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_output(&mut self) -> Option<StateOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        None
    }
}
