//! Watches: created, cancelled, many on a stream, from everywhere in history.

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;

use super::super::call::{Call, Method};
use super::{Known, Script, Step};

/// Most streams open at a time.
const STREAMS_MAX: usize = 3;
/// Larger requests make no floods: they would take too long.
const FLOOD_BYTES_MAX: usize = 65_536;

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
            return self.open();
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

    fn open(&mut self) -> WatchStep {
        self.streams += 1;
        WatchStep::Open(self.streams)
    }

    /// Values so large that the events of one revision are cut for watches that want that.
    pub(super) fn flood_steps(&mut self, known: &Known) -> Step {
        const VALUES: usize = 12;
        let Some((stream, _)) = known.streams.first() else { return Step::Watch(self.open()) };
        if self.world.request_bytes_max > FLOOD_BYTES_MAX {
            return Step::Watch(WatchStep::Nothing(*stream));
        }
        let create = |start_revision, fragment, prev_kv| {
            let (key, range_end) = (Bytes::from_static(b"f/"), Bytes::from_static(b"f0"));
            let request = pb::WatchCreateRequest {
                key,
                range_end,
                start_revision,
                fragment,
                prev_kv,
                ..Default::default()
            };
            Step::Watch(WatchStep::Create(*stream, request))
        };
        let (value, start) = (vec![b'f'; self.world.request_bytes_max - 500], known.revision + 1);
        for number in 0..VALUES {
            let key = format!("f/{number:02}").into();
            let put = pb::PutRequest { key, value: value.clone().into(), ..Default::default() };
            self.queue.push_back(Step::Call(Call::new(Method::Put, &put)));
        }
        self.queue.extend([
            create(start, true, false),
            create(0, false, true),
            create(0, true, true),
        ]);
        let delete = pb::DeleteRangeRequest {
            key: Bytes::from_static(b"f/"),
            range_end: Bytes::from_static(b"f0"),
            prev_kv: false,
        };
        self.queue.push_back(Step::Call(Call::new(Method::Delete, &delete)));
        create(0, true, false)
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
