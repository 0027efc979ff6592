//! A range answered in chunks, so that nobody ever holds all of it.
//!
//! ```text
//!  keys     a ... j   k ........ d'   ........   y' z'
//!  chunk    10 keys   20 keys         40 keys    the last: header, count and more besides
//! ```
//!
//! The first chunk has ten keys at most. The next may have twice as many while a chunk stays below
//! half the bytes aimed at, and half as many after one above twice of that. Such a chunk also ends
//! where it is: etcd's would go on to its number of keys, however large they have become.
//!
//! Invariants
//! - All chunks tell of one revision, the one the first was read at. Together they are what
//!   [`KvView::range`] answers.
//! - Between two steps nothing of the store is held: every step reads the view it is given, which
//!   must not be older than the one before. A reader that stops reading keeps no history alive,
//!   and one whose revision was compacted meanwhile is refused.
//! - A step reads at most [`CHUNK_STEP_KEYS_MAX`] keys, and ends behind the one with which it has
//!   read [`CHUNK_STEP_BYTES_MAX`]: others run in between.
//!
//! Deliberately absent: sorting and filters, which need all keys at once.

use alloc::vec::Vec;
use core::mem;
use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;
use quorate_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use quorate_proto::mvccpb::KeyValue;

use super::fields;
use super::index::{Live, Version};
use super::range::{key_only, limit};
use super::view::KvView;
use crate::error::{Refusal, StorageFault};
use crate::event::{KeyRange, ReadError};
use crate::ids::Revision;
use crate::limits::{CHUNK_STEP_BYTES_MAX, CHUNK_STEP_KEYS_MAX};
use crate::schema::record;

/// Keys in the first chunk, at most.
const FIRST_CHUNK_KEYS_MAX: usize = 10;

/// A range on its way, and the form its chunks have. See the module.
#[derive(Debug)]
pub struct Chunks<C = RangeResponse> {
    /// What was not looked at yet.
    keys: KeyRange,
    keys_only: bool,
    count_only: bool,
    /// The main revision read at.
    main: i64,
    /// The newest revision when the first chunk was asked for.
    revision: Revision,
    bytes_aim: usize,
    chunk_keys_max: usize,
    /// Keys the limit leaves for this chunk and all after it.
    keys_left: usize,
    sent: usize,
    chunk: C,
    chunk_keys: usize,
    /// Bytes of its keys and values, and of the fields they will be.
    chunk_bytes: usize,
    fields_bytes: usize,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<C = RangeResponse> {
    /// A part of a chunk was read; the next step goes on.
    Reading,
    /// A chunk: keys, and nothing else.
    Chunk(C),
    /// The last one; its header has the revision only.
    Last(C),
}

/// What keys are put into.
pub trait Chunk: Default {
    /// Takes a key and what belongs to it.
    fn push(&mut self, kv: KeyValue);

    /// Takes what a record tells.
    ///
    /// # Errors
    /// It does not decode.
    fn push_record(&mut self, record: &Bytes) -> Result<(), StorageFault>;

    /// Where keys are put as they are sent, if they are.
    fn fields(&mut self) -> Option<&mut Vec<u8>>;

    /// What is told beside the keys.
    fn end(&mut self) -> &mut RangeResponse;
}

impl Chunk for RangeResponse {
    fn push(&mut self, kv: KeyValue) {
        self.kvs.push(kv);
    }

    fn push_record(&mut self, record: &Bytes) -> Result<(), StorageFault> {
        self.kvs.push(record::load(record)?);
        Ok(())
    }

    fn fields(&mut self) -> Option<&mut Vec<u8>> {
        None
    }

    fn end(&mut self) -> &mut RangeResponse {
        self
    }
}

/// Keys as they are sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// A field `kvs` of a `RangeResponse` for each key.
    pub fields: Vec<u8>,
    /// All but the keys; nothing unless it is the last chunk.
    pub end: RangeResponse,
}

impl Encoded {
    /// The answer, if there is no other chunk.
    ///
    /// # Errors
    /// A record does not decode.
    pub fn decode(self) -> Result<RangeResponse, StorageFault> {
        let Self { fields, end } = self;
        let decoded = RangeResponse::decode(Bytes::from(fields));
        let RangeResponse { kvs, .. } = decoded.map_err(record::undecodable)?;
        Ok(RangeResponse { kvs, ..end })
    }
}

impl Chunk for Encoded {
    fn push(&mut self, kv: KeyValue) {
        fields::push(&mut self.fields, &kv.encode_to_vec());
    }

    fn push_record(&mut self, record: &Bytes) -> Result<(), StorageFault> {
        fields::push(&mut self.fields, record);
        Ok(())
    }

    fn fields(&mut self) -> Option<&mut Vec<u8>> {
        Some(&mut self.fields)
    }

    fn end(&mut self) -> &mut RangeResponse {
        &mut self.end
    }
}

/// Why a step stopped looking at keys.
enum Stop {
    /// There is another key; it is not part of this chunk, or of this step.
    At(Bytes),
    Fault(StorageFault),
}

impl Stop {
    fn at(key: &[u8]) -> Self {
        Self::At(Bytes::copy_from_slice(key))
    }
}

/// What a step may still read.
struct Left {
    keys: usize,
    bytes: usize,
}

impl Left {
    const fn is_nothing(&self) -> bool {
        self.keys == 0 || self.bytes == 0
    }

    const fn take(&mut self, keys: usize, bytes: usize) {
        self.keys = self.keys.saturating_sub(keys);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Chunks {
    /// Begins to answer a request, which must want neither order nor filters, in chunks of about
    /// `bytes_aim` bytes.
    pub fn begin(view: &KvView, request: &RangeRequest, bytes_aim: usize) -> Result<Self, Refusal> {
        Self::of(view, request, bytes_aim, FIRST_CHUNK_KEYS_MAX)
    }
}

impl Chunks<Encoded> {
    /// The same in chunks as they are sent, which end where their bytes do, however many keys that
    /// takes.
    pub fn begin_encoded(
        view: &KvView,
        request: &RangeRequest,
        bytes_aim: usize,
    ) -> Result<Self, Refusal> {
        Self::of(view, request, bytes_aim, usize::MAX)
    }
}

impl<C: Chunk> Chunks<C> {
    fn of(
        view: &KvView,
        request: &RangeRequest,
        bytes_aim: usize,
        chunk_keys_max: usize,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            keys: KeyRange::parse(&request.key, &request.range_end),
            keys_only: request.keys_only,
            count_only: request.count_only,
            main: view.resolve(request.revision)?,
            revision: view.revision(),
            bytes_aim,
            chunk_keys_max,
            keys_left: limit(request).unwrap_or(usize::MAX),
            sent: 0,
            chunk: C::default(),
            chunk_keys: 0,
            chunk_bytes: 0,
            fields_bytes: 0,
        })
    }

    /// Reads on.
    pub fn step(&mut self, view: &KvView) -> Result<Step<C>, ReadError> {
        view.resolve(self.main)?;
        if self.count_only {
            return Ok(Step::Last(self.last(view, false)));
        }
        match self.read(view) {
            None => Ok(Step::Last(self.last(view, false))),
            Some(Stop::Fault(fault)) => Err(fault.into()),
            Some(Stop::At(next)) => {
                self.keys.begin_at(next);
                Ok(self.pause(view))
            }
        }
    }

    /// Fills the chunk as far as one step may; `None` when there are no more keys.
    fn read(&mut self, view: &KvView) -> Option<Stop> {
        let keys = self.keys.clone();
        let mut left = Left { keys: CHUNK_STEP_KEYS_MAX, bytes: CHUNK_STEP_BYTES_MAX };
        let mut stop = None;
        let _ = view.index.visit_neighbours(&keys, self.main, &mut |live| {
            stop = self.read_neighbours(view, &live, &mut left).err();
            if stop.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        stop
    }

    fn read_neighbours(
        &mut self,
        view: &KvView,
        live: &Live<'_>,
        left: &mut Left,
    ) -> Result<(), Stop> {
        if self.take_together(view, live, left)? {
            return Ok(());
        }
        for (key, version) in live.iter() {
            if self.is_full() || left.is_nothing() {
                return Err(Stop::at(key));
            }
            let bytes = self.take(view, key, version).map_err(Stop::Fault)?;
            left.take(1, bytes);
        }
        Ok(())
    }

    /// Takes all of a leaf, if they can be put together and there is room for them.
    fn take_together(
        &mut self,
        view: &KvView,
        live: &Live<'_>,
        left: &mut Left,
    ) -> Result<bool, Stop> {
        if self.keys_only || self.chunk.fields().is_none() || self.is_full() || left.is_nothing() {
            return Ok(false);
        }
        let Some(named) = live.name() else { return Ok(false) };
        if named.keys > self.chunk_keys_max.min(self.keys_left) - self.chunk_keys {
            return Ok(false);
        }
        if named.keys > left.keys && left.keys < CHUNK_STEP_KEYS_MAX {
            // The next step has room for all.
            return live.iter().next().map_or(Ok(false), |(key, _)| Err(Stop::at(key)));
        }
        let Some(fields) = view.fields(live, &named).map_err(Stop::Fault)? else {
            return Ok(false);
        };
        if let Some(all) = self.chunk.fields() {
            all.extend_from_slice(&fields);
        }
        self.chunk_keys += named.keys;
        self.chunk_bytes += fields.len();
        self.fields_bytes += fields.len();
        left.take(named.keys, fields.len());
        Ok(true)
    }

    /// Takes one, and tells its bytes.
    fn take(&mut self, view: &KvView, key: &[u8], version: Version) -> Result<usize, StorageFault> {
        let bytes = if self.keys_only {
            let kv = key_only(&(key, version));
            let bytes = kv.encoded_len();
            self.chunk.push(kv);
            bytes
        } else {
            let record = view.record(&version)?;
            self.chunk.push_record(&record)?;
            record.len()
        };
        self.chunk_keys += 1;
        self.chunk_bytes += bytes;
        self.fields_bytes += 1 + prost::length_delimiter_len(bytes) + bytes;
        Ok(bytes)
    }

    fn is_full(&self) -> bool {
        self.chunk_keys >= self.chunk_keys_max.min(self.keys_left)
            || self.chunk_bytes > self.bytes_aim.saturating_mul(2)
    }

    /// There are more keys than this step read.
    fn pause(&mut self, view: &KvView) -> Step<C> {
        if !self.is_full() {
            return Step::Reading;
        }
        if self.chunk_keys >= self.keys_left {
            return Step::Last(self.last(view, true));
        }
        self.adjust();
        Step::Chunk(self.finish_chunk())
    }

    fn finish_chunk(&mut self) -> C {
        self.sent += self.chunk_keys;
        self.keys_left -= self.chunk_keys;
        (self.chunk_keys, self.chunk_bytes, self.fields_bytes) = (0, 0, 0);
        mem::take(&mut self.chunk)
    }

    /// The next chunk may have more keys, or fewer.
    fn adjust(&mut self) {
        let bytes = self.fields_bytes;
        if bytes < self.bytes_aim / 2 {
            self.chunk_keys_max = self.chunk_keys_max.saturating_mul(2);
        } else if bytes > self.bytes_aim.saturating_mul(2) {
            self.chunk_keys_max = (self.chunk_keys_max / 2).max(1);
        }
    }

    /// Keys the limit cut off are counted too.
    fn last(&mut self, view: &KvView, more: bool) -> C {
        let mut chunk = self.finish_chunk();
        let is_counting = more || self.count_only;
        let uncounted = if is_counting { view.count(&self.keys, self.main) } else { 0 };
        let header = ResponseHeader { revision: self.revision.get(), ..ResponseHeader::default() };
        let count = i64::try_from(self.sent).unwrap_or(i64::MAX).saturating_add(uncounted);
        let end = chunk.end();
        (end.header, end.more, end.count) = (Some(header), more, count);
        chunk
    }
}
