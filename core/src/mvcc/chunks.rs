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

use super::index::Version;
use super::range::{key_only, limit};
use super::view::KvView;
use crate::error::{Refusal, StorageFault};
use crate::event::{KeyRange, ReadError};
use crate::ids::Revision;
use crate::limits::{CHUNK_STEP_BYTES_MAX, CHUNK_STEP_KEYS_MAX};

/// Keys in the first chunk, at most.
const FIRST_CHUNK_KEYS_MAX: usize = 10;

/// A range on its way. See the module.
#[derive(Debug)]
pub struct Chunks {
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
    chunk: Vec<KeyValue>,
    chunk_bytes: usize,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A part of a chunk was read; the next step goes on.
    Reading,
    /// A chunk: keys, and nothing else.
    Chunk(RangeResponse),
    /// The last one; its header has the revision only.
    Last(RangeResponse),
}

/// Why a step stopped looking at keys.
enum Stop {
    /// There is another key; it is not part of this chunk, or of this step.
    At(Bytes),
    Fault(StorageFault),
}

impl Chunks {
    /// Begins to answer a request, which must want neither order nor filters, in chunks of about
    /// `bytes_aim` bytes.
    pub fn begin(view: &KvView, request: &RangeRequest, bytes_aim: usize) -> Result<Self, Refusal> {
        Ok(Self {
            keys: KeyRange::parse(&request.key, &request.range_end),
            keys_only: request.keys_only,
            count_only: request.count_only,
            main: view.resolve(request.revision)?,
            revision: view.revision(),
            bytes_aim,
            chunk_keys_max: FIRST_CHUNK_KEYS_MAX,
            keys_left: limit(request).unwrap_or(usize::MAX),
            sent: 0,
            chunk: Vec::new(),
            chunk_bytes: 0,
        })
    }

    /// Chunks end where their bytes do, however many keys that takes.
    #[must_use]
    pub fn of_any_number(self) -> Self {
        Self { chunk_keys_max: usize::MAX, ..self }
    }

    /// Reads on.
    pub fn step(&mut self, view: &KvView) -> Result<Step, ReadError> {
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
        let mut stop = None;
        let (mut steps_left, bytes_before) = (CHUNK_STEP_KEYS_MAX, self.chunk_bytes);
        let _ = view.index.visit(&keys, self.main, &mut |key, version| {
            let read = self.chunk_bytes - bytes_before;
            if self.is_full() || steps_left == 0 || read >= CHUNK_STEP_BYTES_MAX {
                stop = Some(Stop::At(Bytes::copy_from_slice(key)));
                return ControlFlow::Break(());
            }
            steps_left -= 1;
            if let Err(fault) = self.take(view, key, version) {
                stop = Some(Stop::Fault(fault));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        stop
    }

    fn take(&mut self, view: &KvView, key: &[u8], version: Version) -> Result<(), StorageFault> {
        let kv = match self.keys_only {
            true => key_only(&(key, version)),
            false => view.load(&version)?,
        };
        self.chunk_bytes += kv.encoded_len();
        self.chunk.push(kv);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.chunk.len() >= self.chunk_keys_max.min(self.keys_left)
            || self.chunk_bytes > self.bytes_aim.saturating_mul(2)
    }

    /// There are more keys than this step read.
    fn pause(&mut self, view: &KvView) -> Step {
        if !self.is_full() {
            return Step::Reading;
        }
        if self.chunk.len() >= self.keys_left {
            return Step::Last(self.last(view, true));
        }
        let response = self.finish_chunk();
        self.adjust(response.encoded_len());
        Step::Chunk(response)
    }

    fn finish_chunk(&mut self) -> RangeResponse {
        let kvs = mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        self.sent += kvs.len();
        self.keys_left -= kvs.len();
        RangeResponse { kvs, ..RangeResponse::default() }
    }

    /// The next chunk may have more keys, or fewer.
    fn adjust(&mut self, bytes: usize) {
        if bytes < self.bytes_aim / 2 {
            self.chunk_keys_max = self.chunk_keys_max.saturating_mul(2);
        } else if bytes > self.bytes_aim.saturating_mul(2) {
            self.chunk_keys_max = (self.chunk_keys_max / 2).max(1);
        }
    }

    /// Keys the limit cut off are counted too.
    fn last(&mut self, view: &KvView, more: bool) -> RangeResponse {
        let response = self.finish_chunk();
        let is_counting = more || self.count_only;
        let uncounted = if is_counting { view.count(&self.keys, self.main) } else { 0 };
        let header = ResponseHeader { revision: self.revision.get(), ..ResponseHeader::default() };
        let count = i64::try_from(self.sent).unwrap_or(i64::MAX).saturating_add(uncounted);
        RangeResponse { header: Some(header), more, count, ..response }
    }
}
