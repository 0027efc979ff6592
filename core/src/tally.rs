//! What a member has done since it was opened, for those who watch over it.
//!
//! Equal entries are counted alike on every member; what only its own clients caused is counted
//! where it happened. Nothing here decides anything.
//!
//! Answers to: etcd v3.7.1 `server/storage/mvcc/metrics.go`, `server/lease/metrics.go`

use quorate_proto::etcdserverpb::{self as pb, response_op};

use crate::event::Changes;
use crate::output::Response;

/// Counts since the member was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Puts applied, those of transactions included.
    pub puts: u64,
    /// Ranges deleted, likewise.
    pub deletes: u64,
    /// Ranges read by applied transactions.
    pub ranges: u64,
    /// Applied transactions of more than one operation.
    pub txns: u64,
    /// Bytes of keys and values put.
    pub put_bytes: u64,
    /// Events that some watcher may have wanted.
    pub events: u64,
    /// Leases granted.
    pub leases_granted: u64,
    /// Leases renewed, by this member as leader.
    pub leases_renewed: u64,
    /// Leases revoked, for whatever reason.
    pub leases_revoked: u64,
    /// Leases whose end this member proposed as leader.
    pub leases_expired: u64,
    /// Records removed by compactions.
    pub rows_compacted: u64,
    /// Read barriers that had to be asked for again.
    pub barriers_slow: u64,
    /// Reads that never learned whether they were current.
    pub barriers_failed: u64,
}

impl Tally {
    /// Takes in what an applied entry answered and changed.
    pub(crate) fn note_applied(&mut self, response: Option<&Response>, changes: Option<&Changes>) {
        match response {
            Some(Response::Put(_)) => self.puts += 1,
            Some(Response::DeleteRange(_)) => self.deletes += 1,
            Some(Response::Txn(txn)) => self.note_txn(txn),
            Some(Response::LeaseGrant(_)) => self.leases_granted += 1,
            Some(Response::LeaseRevoke(_)) => self.leases_revoked += 1,
            _ => {}
        }
        let events = changes.map_or(&[][..], |changes| &changes.events);
        self.events += events.len() as u64;
        for kv in events.iter().filter_map(|event| event.kv.as_ref()) {
            self.put_bytes +=
                if kv.version > 0 { (kv.key.len() + kv.value.len()) as u64 } else { 0 };
        }
    }

    fn note_txn(&mut self, txn: &pb::TxnResponse) {
        self.txns += u64::from(txn.responses.len() > 1);
        for answer in txn.responses.iter().filter_map(|one| one.response.as_ref()) {
            match answer {
                response_op::Response::ResponsePut(_) => self.puts += 1,
                response_op::Response::ResponseDeleteRange(_) => self.deletes += 1,
                response_op::Response::ResponseRange(_) => self.ranges += 1,
                // As deep as the request was, which is bounded.
                response_op::Response::ResponseTxn(inner) => self.note_txn(inner),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use bytes::Bytes;
    use quorate_proto::mvccpb::{Event, KeyValue};

    fn op(response: response_op::Response) -> pb::ResponseOp {
        pb::ResponseOp { response: Some(response) }
    }

    #[test]
    fn a_transaction_counts_as_its_parts_however_deep() {
        use response_op::Response::{ResponsePut, ResponseRange, ResponseTxn};
        let inner = pb::TxnResponse {
            responses: vec![op(ResponsePut(Default::default()))],
            ..Default::default()
        };
        let outer = pb::TxnResponse {
            responses: vec![
                op(ResponsePut(Default::default())),
                op(ResponseRange(Default::default())),
                op(ResponseTxn(inner)),
            ],
            ..Default::default()
        };
        let mut tally = Tally::default();
        tally.note_applied(Some(&Response::Txn(outer)), None);
        let expected = Tally { puts: 2, ranges: 1, txns: 1, ..Tally::default() };
        assert_eq!(tally, expected);
    }

    #[test]
    fn what_is_put_is_weighed_and_what_is_deleted_is_not() {
        let kv = |version, value: &'static [u8]| KeyValue {
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(value),
            version,
            ..KeyValue::default()
        };
        let event = |kv| Event { kv: Some(kv), ..Event::default() };
        let events = vec![event(kv(1, b"value")), event(kv(0, b""))].into();
        let changes = Changes { revision: crate::ids::Revision(2), events };
        let mut tally = Tally::default();
        tally.note_applied(None, Some(&changes));
        assert_eq!((tally.events, tally.put_bytes), (2, 8));
    }
}
