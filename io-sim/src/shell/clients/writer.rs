//! Who writes and reads.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::Request;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op;
use tokio::time::{sleep, timeout};

use super::caller::{ANSWER_MAX, Caller, get, put};
use super::{KEYS, KEYS_END, key};
use crate::shell::course::{Course, DUE, leave};
use crate::shell::plan::MEMBERS;
use crate::world::observe::{Operation, Outcome};

/// Keys that are written.
const KEYS_MAX: u64 = 5;
/// The longest a deserter waits, in milliseconds.
const HASTE_MS_MAX: u64 = 60;

/// Writes and reads until the healing, and is then served by every member.
pub(in crate::shell) async fn write(
    course: Rc<Course>,
    number: u32,
    is_hasty: bool,
) -> turmoil::Result {
    let mut writer = Writer { caller: Caller::new(&course, number), is_hasty, written: 0 };
    while !course.is_healed() {
        writer.act().await;
        let rest_ms = writer.caller.luck.between(5, 120);
        sleep(Duration::from_millis(rest_ms)).await;
    }
    for place in 0..MEMBERS {
        if timeout(DUE, writer.be_served_by(place)).await.is_err() {
            course.witness.miss(format!("member {place} does not serve client {number}"));
        }
    }
    leave(&course.at_work);
    Ok(())
}

struct Writer {
    caller: Caller,
    is_hasty: bool,
    written: u64,
}

impl Writer {
    async fn act(&mut self) {
        let what = self.draw();
        let patience = match self.is_hasty {
            true => Duration::from_millis(self.caller.luck.below(HASTE_MS_MAX)),
            false => ANSWER_MAX,
        };
        let outcome = self.caller.call(what, patience).await;
        // Some leave the call and keep the connection, some take it with them.
        if outcome == Outcome::Unknown && self.caller.luck.below(2) == 0 {
            self.caller.hang_up();
        }
    }

    fn draw(&mut self) -> Operation {
        let key = key(&self.caller.luck.below(KEYS_MAX).to_string());
        match self.caller.luck.below(12) {
            0..=4 => put(key, self.value(), 0),
            5..=7 => get(key),
            8 => Operation::Range(pb::RangeRequest {
                key: Bytes::from_static(KEYS),
                range_end: Bytes::from_static(KEYS_END),
                ..Default::default()
            }),
            9 => Operation::Request(Request::DeleteRange(pb::DeleteRangeRequest {
                key,
                prev_kv: true,
                ..Default::default()
            })),
            _ => Operation::Request(Request::Txn(self.txn(key))),
        }
    }

    /// Puts where something is, and reads where nothing is.
    fn txn(&mut self, key: Bytes) -> pb::TxnRequest {
        let put = pb::PutRequest { key: key.clone(), value: self.value(), ..Default::default() };
        let get = pb::RangeRequest { key: key.clone(), ..Default::default() };
        let op = |request| pb::RequestOp { request: Some(request) };
        pb::TxnRequest {
            compare: vec![pb::Compare {
                result: CompareResult::Greater.into(),
                target: CompareTarget::Version.into(),
                key,
                target_union: Some(TargetUnion::Version(0)),
                ..Default::default()
            }],
            success: vec![op(request_op::Request::RequestPut(put))],
            failure: vec![op(request_op::Request::RequestRange(get))],
        }
    }

    /// One that nobody else ever writes.
    fn value(&mut self) -> Bytes {
        self.written += 1;
        let mut value = format!("{}-{} ", self.caller.id.0, self.written).into_bytes();
        value.resize(value.len().max(self.caller.course.plan.value_bytes), b'.');
        Bytes::from(value)
    }

    /// Tries until that member has taken a write and answered a read.
    async fn be_served_by(&mut self, place: u64) {
        let name = key("served");
        loop {
            if self.caller.connect_to(place).await.is_some() {
                let write = put(name.clone(), self.value(), 0);
                let written = self.caller.call(write, ANSWER_MAX).await;
                let read = self.caller.call(get(name.clone()), ANSWER_MAX).await;
                if written != Outcome::Unknown && read != Outcome::Unknown {
                    return;
                }
                self.caller.hang_up();
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
