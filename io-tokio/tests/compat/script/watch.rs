//! Watches: created, cancelled, many on a stream, from everywhere in history.

use quorate_proto::etcdserverpb as pb;

use super::{Known, Script};

/// Most streams open at a time.
const STREAMS_MAX: usize = 3;

/// One step on a watch stream.
#[derive(Clone, Debug)]
pub(crate) enum WatchStep {
    Open(u64),
    Create(u64, pb::WatchCreateRequest),
    Cancel(u64, i64),
    Progress(u64),
    /// A request that asks for nothing.
    Nothing(u64),
    Close(u64),
    /// A stream of its own that asks for progress before it has a watch.
    Lonely(pb::WatchCreateRequest),
}

impl Script {
    pub(super) fn watch_step(&mut self, known: &Known) -> WatchStep {
        if known.streams.is_empty() || known.streams.len() < STREAMS_MAX && self.luck.one_in(12) {
            self.streams += 1;
            return WatchStep::Open(self.streams);
        }
        let (stream, ids) = self.luck.pick(&known.streams).clone();
        match self.luck.below(24) {
            0..=12 => WatchStep::Create(stream, self.create(known, &ids)),
            13..=17 => {
                let id = if self.luck.one_in(5) { 12_345 } else { self.one_of(&ids) };
                WatchStep::Cancel(stream, id)
            }
            18..=20 => WatchStep::Progress(stream),
            21 => WatchStep::Nothing(stream),
            22 => WatchStep::Lonely(self.create(known, &[])),
            _ => WatchStep::Close(stream),
        }
    }

    fn one_of(&mut self, ids: &[i64]) -> i64 {
        if ids.is_empty() { -1 } else { *self.luck.pick(ids) }
    }

    fn create(&mut self, known: &Known, taken: &[i64]) -> pb::WatchCreateRequest {
        let (key, range_end) = self.span();
        let mut request = pb::WatchCreateRequest { key, range_end, ..Default::default() };
        if self.luck.one_in(2) {
            request.start_revision = self.revision(known);
        }
        if self.luck.one_in(4) {
            let count = self.luck.below(3) + 1;
            request.filters = (0..count).map(|_| *self.luck.pick(&[0, 1, 0, 1, 5, -1])).collect();
        }
        request.prev_kv = self.luck.one_in(2);
        request.fragment = self.luck.one_in(3);
        if self.luck.one_in(4) {
            request.watch_id = match self.luck.below(6) {
                0 => self.one_of(taken),
                1 => -1,
                2 => *self.luck.pick(&[i64::MIN, i64::MAX, -7]),
                _ => self.luck.between(0, 9),
            };
        }
        request
    }
}
