//! Leases: ids of ours and of the server's choice, long and short lives.

use quorate_proto::etcdserverpb as pb;

use super::super::call::{Call, Method};
use super::super::side::PICKED;
use super::{Script, Step};

/// Ids that scripts choose.
const IDS: [i64; 9] = [1, 2, 3, 4, 5, 777, -1, i64::MAX, i64::MIN];

/// The id of leases that are left to run out.
const RUNNING_OUT: i64 = 424_242;

impl Script {
    /// An id that may be attached to keys: never one the server picked, whose number would go into
    /// the hash of the keys.
    pub(super) fn lease_id(&mut self) -> i64 {
        *self.luck.pick(&IDS)
    }

    /// Any id, 0 and picked ones included.
    fn any_lease_id(&mut self) -> i64 {
        match self.luck.below(8) {
            0 => 0,
            1 | 2 if self.picked > 0 => PICKED + self.luck.between(0, self.picked - 1),
            3 => 999_999,
            _ => self.lease_id(),
        }
    }

    pub(super) fn lease_step(&mut self) -> Step {
        match self.luck.below(20) {
            0..=5 => self.grant_step(),
            6 | 7 => {
                let id = self.any_lease_id();
                Step::Call(Call::new(Method::Revoke, &pb::LeaseRevokeRequest { id }))
            }
            8..=12 => {
                let (id, keys) = (self.any_lease_id(), self.luck.one_in(2));
                let request = pb::LeaseTimeToLiveRequest { id, keys };
                Step::Call(Call::new(Method::TimeToLive, &request))
            }
            13..=15 => Step::Call(Call::new(Method::Leases, &pb::LeaseLeasesRequest {})),
            _ => {
                let size = self.luck.below(4);
                Step::KeepAlive((0..size).map(|_| self.any_lease_id()).collect())
            }
        }
    }

    fn grant_step(&mut self) -> Step {
        let long = [600, 700, 3_600, 1_000_000, 9_000_000_000, 9_000_000_001, i64::MAX];
        let short = [0, 1, -1, i64::MIN, 3];
        let id = self.lease_id();
        match self.luck.below(10) {
            0 if self.luck.one_in(12) => {
                Step::LostLease(pb::LeaseGrantRequest { ttl: 1, id: RUNNING_OUT })
            }
            0 => Step::ShortLease(pb::LeaseGrantRequest { ttl: *self.luck.pick(&short), id }),
            1 | 2 => {
                self.picked += 1;
                Step::PickedLease(pb::LeaseGrantRequest { ttl: 900, id: 0 })
            }
            _ => {
                let request = pb::LeaseGrantRequest { ttl: *self.luck.pick(&long), id };
                Step::Call(Call::new(Method::Grant, &request))
            }
        }
    }
}
