//! Ranges, puts, deletions, compactions, hashes.

use quorate_proto::etcdserverpb as pb;

use super::super::call::{Call, Method};
use super::{Known, Script};

impl Script {
    pub(super) fn range_call(&mut self, known: &Known) -> Call {
        let is_streamed = self.luck.one_in(4);
        let mut request = self.range(known);
        if !is_streamed {
            return Call::new(Method::Range, &request);
        }
        // A target without an order makes etcd send keys twice: `docs/differences.md`.
        if request.sort_order == 0 && (1..=4).contains(&request.sort_target) {
            request.sort_target = 0;
        }
        Call::new(Method::RangeStream, &request)
    }

    pub(super) fn range(&mut self, known: &Known) -> pb::RangeRequest {
        let (key, range_end) = self.span();
        let mut request = pb::RangeRequest { key, range_end, ..Default::default() };
        if self.luck.one_in(3) {
            request.limit = *self.luck.pick(&[1, 2, 3, 5, 10, 30, i64::MAX, -1, i64::MIN]);
        }
        if self.luck.one_in(3) {
            request.revision = self.revision(known);
        }
        if self.luck.one_in(3) {
            request.sort_order = *self.luck.pick(&[0, 1, 1, 2, 2]);
            request.sort_target = *self.luck.pick(&[0, 1, 2, 3, 4]);
        }
        if self.luck.one_in(60) {
            request.sort_order = *self.luck.pick(&[3, -1, i32::MAX]);
        }
        if self.luck.one_in(60) {
            request.sort_target = *self.luck.pick(&[5, -1, i32::MIN]);
        }
        request.serializable = self.luck.one_in(3);
        request.keys_only = self.luck.one_in(6);
        request.count_only = self.luck.one_in(8);
        if self.luck.one_in(4) {
            self.filter(known, &mut request);
        }
        request
    }

    fn filter(&mut self, known: &Known, request: &mut pb::RangeRequest) {
        let bounds = [
            &mut request.min_mod_revision,
            &mut request.max_mod_revision,
            &mut request.min_create_revision,
            &mut request.max_create_revision,
        ];
        for bound in bounds {
            if self.luck.one_in(2) {
                *bound = self.revision(known);
            }
        }
    }

    pub(super) fn put_call(&mut self) -> Call {
        Call::new(Method::Put, &self.put())
    }

    pub(super) fn put(&mut self) -> pb::PutRequest {
        let key = self.key();
        let mut request = pb::PutRequest { key, value: self.value(), ..Default::default() };
        request.prev_kv = self.luck.one_in(4);
        if self.luck.one_in(4) {
            request.lease = self.lease_id();
        }
        if self.luck.one_in(8) {
            request.ignore_value = true;
            if !self.luck.one_in(5) {
                request.value.clear();
            }
        }
        if self.luck.one_in(8) {
            request.ignore_lease = true;
            if !self.luck.one_in(5) {
                request.lease = 0;
            }
        }
        request
    }

    pub(super) fn delete(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = self.span();
        // The whole of the keys too often would leave nothing to ask about.
        let is_wide = range_end.as_ref() == [0] && !self.luck.one_in(4);
        let range_end = if is_wide { bytes::Bytes::new() } else { range_end };
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.luck.one_in(3) }
    }

    pub(super) fn compact_call(&mut self, known: &Known) -> Call {
        let revision = match self.luck.below(4) {
            0 => self.revision(known),
            1 => known.revision,
            _ => self.luck.between(known.compacted.max(1), known.revision),
        };
        let request = pb::CompactionRequest { revision, physical: self.luck.one_in(2) };
        Call::new(Method::Compact, &request)
    }

    pub(super) fn hash_call(&mut self, known: &Known) -> Call {
        Call::new(Method::HashKv, &pb::HashKvRequest { revision: self.revision(known) })
    }
}
