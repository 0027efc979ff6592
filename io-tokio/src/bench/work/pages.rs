//! A Kubernetes list: page after page of a range at one revision, each with the exact count of
//! what is left.

use bytes::Bytes;
use quorate_proto::etcdserverpb::RangeRequest;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;

use super::check_count;
use crate::bench::Line;
use crate::bench::drive::{Step, Work};
use crate::client::{Direct, Stamp};

/// A client that lists a range over and over.
pub struct Pages {
    kv: KvClient<InterceptedService<Direct, Stamp>>,
    range: (Bytes, Bytes),
    keys: usize,
    page: usize,
    /// Where the next page begins, and how many keys it and those behind it have.
    next: Option<(Bytes, i64, usize)>,
}

impl Pages {
    /// Of that many keys from the first to before the last, so many on a page.
    pub fn new(line: &Line, range: (Bytes, Bytes), keys: usize, page: usize) -> Self {
        Self { kv: line.kv(), range, keys, page: page.max(1), next: None }
    }

    async fn turn_over(&mut self) -> Result<(), Status> {
        let first = || (self.range.0.clone(), 0, self.keys);
        let (key, revision, left) = self.next.take().unwrap_or_else(first);
        let (range_end, limit) = (self.range.1.clone(), self.page as i64);
        let request = RangeRequest { key, range_end, limit, revision, ..RangeRequest::default() };
        let answer = self.kv.range(request).await?.into_inner();
        check_count(answer.count as usize, left)?;
        check_count(answer.kvs.len(), left.min(self.page))?;
        let last = answer.kvs.last().filter(|_| answer.more);
        let revision = match revision {
            0 => answer.header.map_or(0, |header| header.revision),
            revision => revision,
        };
        self.next = last.map(|last| {
            let after = [&last.key[..], b"\0"].concat();
            (after.into(), revision, left - answer.kvs.len())
        });
        Ok(())
    }
}

impl Work for Pages {
    async fn step(&mut self, _: u64) -> Step {
        (0, self.turn_over().await)
    }
}
