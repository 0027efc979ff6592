//! Operations that follow from the turn alone.

use std::sync::Arc;

use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::{PutRequest, RangeRequest, TxnRequest};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;

use super::check_count;
use crate::bench::Line;
use crate::bench::drive::{Step, Work};
use crate::bench::keys::spread;
use crate::client::{Direct, Stamp};

/// What is asked.
#[derive(Clone, Debug)]
pub enum Op {
    /// One key is written.
    Put(PutRequest),
    /// Keys are read; how many there must be, if that is known.
    Range(RangeRequest, Option<usize>),
    /// Several things at once.
    Txn(TxnRequest),
}

/// What is asked at a turn, and which track that is.
pub type Lines = dyn Fn(u64) -> (usize, Op) + Send + Sync;

/// A client that asks what stands there for its turn.
pub struct Script {
    kv: KvClient<InterceptedService<Direct, Stamp>>,
    lines: Arc<Lines>,
}

impl Script {
    /// On that connection.
    pub fn new(line: &Line, lines: &Arc<Lines>) -> Self {
        Self { kv: line.kv(), lines: lines.clone() }
    }

    async fn ask(&mut self, op: Op) -> Result<(), Status> {
        match op {
            Op::Put(put) => self.kv.put(put).await.map(drop),
            Op::Txn(txn) => self.kv.txn(txn).await.map(drop),
            Op::Range(range, wanted) => {
                let is_counted = range.count_only;
                let answer = self.kv.range(range).await?.into_inner();
                let found = if is_counted { answer.count as usize } else { answer.kvs.len() };
                wanted.map_or(Ok(()), |wanted| check_count(found, wanted))
            }
        }
    }
}

impl Work for Script {
    async fn step(&mut self, turn: u64) -> Step {
        let (track, op) = (self.lines)(turn);
        (track, self.ask(op).await)
    }
}

/// Whether a turn reads, where there are so many reads to a write.
pub fn is_read(turn: u64, reads_per_write: f64) -> bool {
    let luck = spread(!turn) as f64 / u64::MAX as f64;
    luck < reads_per_write / (1.0 + reads_per_write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_have_their_shares() {
        let reads = |ratio| (0..10_000).filter(|turn| is_read(*turn, ratio)).count();
        assert!((7_800..8_200).contains(&reads(4.0)), "{}", reads(4.0));
        assert_eq!(reads(0.0), 0);
    }

    #[test]
    fn short_answers_are_errors() {
        assert!(check_count(1, 1).is_ok());
        assert!(check_count(0, 1).is_err());
    }
}
