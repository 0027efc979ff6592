//! What is asked next, drawn from the seed and from what is known of the judge's answers.

mod hostile;
mod kv;
mod lease;
mod txn;
mod watch;

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::alarm_request::AlarmAction;

use super::call::{Call, Method};
use super::luck::Luck;

pub(crate) use watch::WatchStep;

/// What scripts never touch but to know that everything before has been heard.
pub(crate) const SENTINEL: &[u8] = b"\x7fsentinel";

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call(Call),
    /// A lease for so short a time that it is ended at once.
    ShortLease(pb::LeaseGrantRequest),
    /// A lease, and a key of it, that are left to run out.
    LostLease(pb::LeaseGrantRequest),
    /// A lease whose id the server picks.
    PickedLease(pb::LeaseGrantRequest),
    KeepAlive(Vec<i64>),
    Watch(WatchStep),
    /// Bytes on a stream to a path.
    Stray(&'static str, Vec<Bytes>),
    /// Both servers die and come back.
    Restart,
}

/// What the answers so far tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) revision: i64,
    /// -1 if there is none.
    pub(crate) compacted: i64,
    /// Open streams, and the ids of their watches.
    pub(crate) streams: Vec<(u64, Vec<i64>)>,
}

/// How both servers are set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) request_bytes_max: usize,
    pub(crate) txn_ops_max: usize,
}

/// See the module.
pub(crate) struct Script {
    luck: Luck,
    pub(crate) world: World,
    queue: VecDeque<Step>,
    /// Leases whose ids servers picked.
    picked: i64,
    streams: u64,
}

#[derive(Clone, Copy)]
enum Family {
    Range,
    Put,
    Delete,
    Txn,
    Compact,
    Hash,
    Lease,
    Watch,
    Members,
    Alarm,
    Hostile,
    Stray,
    Flood,
    Restart,
}

const WEIGHTS: [(usize, Family); 14] = [
    (200, Family::Range),
    (200, Family::Put),
    (60, Family::Delete),
    (200, Family::Txn),
    (16, Family::Compact),
    (50, Family::Hash),
    (110, Family::Lease),
    (110, Family::Watch),
    (12, Family::Members),
    (4, Family::Alarm),
    (60, Family::Hostile),
    (4, Family::Stray),
    (2, Family::Flood),
    (1, Family::Restart),
];

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let world = World {
            request_bytes_max: *luck.pick(&[65_536, 65_536, 65_536, 1_572_864]),
            txn_ops_max: *luck.pick(&[128, 128, 16]),
        };
        Self { luck, world, queue: VecDeque::new(), picked: 0, streams: 0 }
    }

    /// Flags for both servers.
    pub(crate) fn flags(&self) -> Vec<String> {
        let World { request_bytes_max, txn_ops_max } = self.world;
        vec![
            format!("--max-request-bytes={request_bytes_max}"),
            format!("--max-txn-ops={txn_ops_max}"),
        ]
    }

    /// Whether something was begun that has to be ended.
    pub(crate) fn is_amid(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn next(&mut self, known: &Known) -> Step {
        if let Some(step) = self.queue.pop_front() {
            return step;
        }
        match self.luck.weigh(&WEIGHTS) {
            Family::Range => Step::Call(self.range_call(known)),
            Family::Put => Step::Call(self.put_call()),
            Family::Delete => Step::Call(Call::new(Method::Delete, &self.delete())),
            Family::Txn => Step::Call(Call::new(Method::Txn, &self.any_txn(known))),
            Family::Compact => Step::Call(self.compact_call(known)),
            Family::Hash => Step::Call(self.hash_call(known)),
            Family::Lease => self.lease_step(),
            Family::Watch => Step::Watch(self.watch_step(known)),
            Family::Members => Step::Call(self.member_call()),
            Family::Alarm => self.alarm_steps(known),
            Family::Hostile => Step::Call(self.hostile_call(known)),
            Family::Stray => self.stray_step(),
            Family::Flood => self.flood_steps(known),
            Family::Restart => Step::Restart,
        }
    }

    fn member_call(&mut self) -> Call {
        if self.luck.one_in(2) {
            return Call::new(Method::Status, &pb::StatusRequest {});
        }
        let linearizable = self.luck.one_in(2);
        Call::new(Method::Members, &pb::MemberListRequest { linearizable })
    }

    /// An alarm, what it refuses, and its end.
    fn alarm_steps(&mut self, known: &Known) -> Step {
        let alarm = *self.luck.pick(&[0, 1, 1, 1, 2, 2, 7]);
        let member_id = *self.luck.pick(&[0, 1, 77]);
        let ask = |action: AlarmAction, alarm, member_id| {
            let request = pb::AlarmRequest { action: action as i32, member_id, alarm };
            Step::Call(Call::new(Method::Alarm, &request))
        };
        let grant = pb::LeaseGrantRequest { ttl: 600, id: self.lease_id() };
        let steps = [
            ask(AlarmAction::Get, 0, 0),
            Step::Call(self.put_call()),
            Step::Call(Call::new(Method::Delete, &self.delete())),
            Step::Call(Call::new(Method::Txn, &self.any_txn(known))),
            Step::Call(Call::new(Method::Grant, &grant)),
            Step::Call(Call::new(Method::Revoke, &pb::LeaseRevokeRequest { id: self.lease_id() })),
            Step::Call(self.range_call(known)),
            ask(AlarmAction::Get, alarm, member_id),
            Step::Call(Call::new(Method::Status, &pb::StatusRequest {})),
            ask(AlarmAction::Deactivate, alarm, member_id),
            ask(AlarmAction::Deactivate, alarm, member_id),
            ask(AlarmAction::Get, 0, 0),
        ];
        self.queue.extend(steps);
        ask(AlarmAction::Activate, alarm, member_id)
    }

    /// A key: nearly always one of few, so that requests meet.
    fn key(&mut self) -> Bytes {
        const KEYS: [&[u8]; 16] = [
            b"a",
            b"a",
            b"b",
            b"c",
            b"d",
            b"a/1",
            b"a/2",
            b"a\x00",
            b"b\xff",
            b"\x00",
            b"\xff",
            b"\xff\xff",
            b"\x00\x00",
            b"\x80",
            b"z",
            b"\xc3\xa9",
        ];
        match self.luck.below(100) {
            0 => Bytes::new(),
            1 => Bytes::from(vec![b'k'; 3_000]),
            2..=29 => Bytes::from(format!("s/{:02}", self.luck.below(24))),
            _ => Bytes::from_static(KEYS[self.luck.below(KEYS.len())]),
        }
    }

    /// The end of a range that begins at `key`.
    fn range_end(&mut self, key: &Bytes) -> Bytes {
        match self.luck.below(12) {
            0..=3 => Bytes::new(),
            4 | 5 => Bytes::from_static(&[0]),
            6 | 7 => prefix_end(key),
            8 => key.clone(),
            9 => Bytes::from_static(b"s/20"),
            10 => Bytes::from_static(&[0, 0]),
            _ => self.key(),
        }
    }

    fn span(&mut self) -> (Bytes, Bytes) {
        match self.luck.below(8) {
            0 => (Bytes::from_static(&[0]), Bytes::from_static(&[0])),
            1 => (Bytes::from_static(b"s/"), Bytes::from_static(b"s0")),
            _ => {
                let key = self.key();
                let end = self.range_end(&key);
                (key, end)
            }
        }
    }

    fn value(&mut self) -> Bytes {
        let limit = self.world.request_bytes_max;
        match self.luck.below(200) {
            0 => Bytes::from(vec![b'v'; limit - 4_500]),
            1 => Bytes::from(vec![b'v'; limit + 300]),
            2 => Bytes::from(vec![b'v'; limit + 524_288]),
            3..=9 => Bytes::from(vec![0xff; 5_000]),
            10..=29 => Bytes::new(),
            30..=49 => Bytes::from_static(&[0, 255, 10]),
            _ => Bytes::from(format!("v{}", self.luck.below(6))),
        }
    }

    /// A revision, of which the newest are the most interesting.
    fn revision(&mut self, known: &Known) -> i64 {
        let (now, compacted) = (known.revision, known.compacted);
        match self.luck.below(40) {
            0 => -1,
            1 => i64::MIN,
            2 => i64::MAX,
            3 => now + 1,
            4 => now + 1_000,
            5 => compacted,
            6 => compacted - 1,
            7 => compacted + 1,
            8 => 1,
            9..=16 => now,
            17..=24 => self.luck.between((now - 20).max(1), now),
            25..=32 => self.luck.between(compacted.max(1), now),
            33 => self.luck.between(1, now),
            _ => 0,
        }
    }
}

/// The first key after all that begin with `key`, as clients compute it.
fn prefix_end(key: &Bytes) -> Bytes {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0])
}
