//! A lease book under random grants, renewals, expiries, lost revokes and changes of leaders,
//! beside a model that knows for each lease how long it must live at least.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::draw::{draw, draw_below};
use quorate_core::ids::LeaseId;
use quorate_core::lease::{Book, Renewal};
use quorate_core::limits::REVOKES_PER_PASS_MAX;
use quorate_core::storage::Write;
use quorate_core::time::Time;

const SEEDS: u64 = 60;
const STEPS: usize = 600;
const RETRY: Duration = Duration::from_secs(7);
const EXTEND: Duration = Duration::from_secs(1);

#[test]
fn leases_live_as_long_as_promised_and_never_for_ever() {
    let mut reported = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.act();
            world.check_keys();
        }
        world.settle();
        reported += world.reported;
    }
    assert!(reported > 1_000, "only {reported} leases expired");
}

struct Model {
    ttl: i64,
    remaining: i64,
    /// Not to be reported before; only while this member leads.
    least: Time,
    /// It was reported while this member leads.
    has_ended: bool,
    keys: BTreeSet<Bytes>,
}

struct World {
    seed: u64,
    lots: u64,
    book: Book,
    rows: BTreeMap<Bytes, Bytes>,
    now: Time,
    leads: bool,
    leases: BTreeMap<LeaseId, Model>,
    /// Reported and neither revoked nor known to have failed, by when.
    in_flight: BTreeMap<LeaseId, Time>,
    reported: usize,
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl as u64)
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            lots: 0,
            book: Book::open([], 2, RETRY).unwrap(),
            rows: BTreeMap::new(),
            now: Time::ZERO,
            leads: false,
            leases: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            reported: 0,
        }
    }

    fn lot(&mut self, bound: u64) -> u64 {
        self.lots += 1;
        draw_below(bound, draw(self.seed, 78, 0, self.lots))
    }

    fn some_lease(&mut self) -> LeaseId {
        LeaseId(1 + self.lot(40) as i64)
    }

    fn store(&mut self, write: Write) {
        match write.value {
            Some(value) => self.rows.insert(write.key, value),
            None => self.rows.remove(&write.key),
        };
    }

    fn act(&mut self) {
        match self.lot(100) {
            0..20 => self.grant(),
            20..40 => self.attach(),
            40..60 => self.renew(),
            60..65 => {
                let id = self.some_lease();
                self.revoke(id);
            }
            65..68 => self.change_leader(),
            68..70 => self.restart(),
            70..75 => self.checkpoint(),
            _ => {
                let rest = Duration::from_millis(self.lot(3_000));
                self.now += rest;
                self.expire();
            }
        }
    }

    fn grant(&mut self) {
        let id = self.some_lease();
        let ttl = if self.lot(8) == 0 { 300 + self.lot(900) } else { self.lot(30) } as i64;
        let granted = self.book.grant(id, ttl, self.now);
        assert_eq!(granted.is_err(), self.leases.contains_key(&id));
        let Ok(grant) = granted else { return };
        assert_eq!(grant.ttl, ttl.max(2));
        let least = self.now + seconds(grant.ttl);
        let keys = BTreeSet::new();
        self.leases
            .insert(id, Model { ttl: grant.ttl, remaining: 0, least, has_ended: false, keys });
        self.store(grant.write);
    }

    fn attach(&mut self) {
        let (id, key) = (self.some_lease(), Bytes::from(vec![b'a' + self.lot(26) as u8]));
        if self.lot(4) == 0 {
            self.book.detach(&key);
            self.leases.values_mut().for_each(|lease| {
                lease.keys.remove(&key);
            });
            return;
        }
        let attached = self.book.attach(id, &key).is_ok();
        assert_eq!(attached, self.leases.contains_key(&id));
        if attached {
            self.leases.values_mut().for_each(|lease| {
                lease.keys.remove(&key);
            });
            self.leases.get_mut(&id).unwrap().keys.insert(key);
        }
    }

    fn renew(&mut self) {
        let id = self.some_lease();
        let renewed = self.book.renew(id, self.now);
        let Ok(renewal) = renewed else {
            assert!(!self.leads || !self.leases.contains_key(&id));
            return;
        };
        assert!(self.leads);
        match renewal {
            Renewal::Renewed { ttl } => {
                let lease = self.leases.get_mut(&id).unwrap();
                assert!(ttl == lease.ttl && lease.remaining == 0);
                assert!(!self.in_flight.contains_key(&id), "renewed after it was reported");
                lease.least = self.now + seconds(ttl);
            }
            Renewal::ClearFirst => self.apply_checkpoint(id, 0),
            Renewal::Expired => assert!(self.leases[&id].least <= self.now, "expired too early"),
        }
    }

    fn revoke(&mut self, id: LeaseId) {
        let revoked = self.book.revoke(id);
        let Some(model) = self.leases.remove(&id) else {
            assert!(revoked.is_err());
            return;
        };
        let revoked = revoked.unwrap();
        assert_eq!(revoked.keys, Vec::from_iter(model.keys));
        self.store(revoked.write);
        self.in_flight.remove(&id);
    }

    fn promote(&mut self) {
        self.book.promote(self.now, EXTEND);
        // What a leader that slept had reported before stays expired.
        let has_ended = |lease: &Model| self.leads && lease.has_ended;
        for lease in self.leases.values_mut().filter(|lease| !has_ended(lease)) {
            let ttl = if lease.remaining > 0 { lease.remaining } else { lease.ttl };
            lease.least = self.now + EXTEND + seconds(ttl);
        }
        if !self.leads {
            self.forget_reports();
        }
        self.leads = true;
    }

    fn forget_reports(&mut self) {
        self.leads = false;
        self.in_flight.clear();
        self.leases.values_mut().for_each(|lease| lease.has_ended = false);
    }

    fn change_leader(&mut self) {
        if self.lot(2) == 0 {
            self.promote();
        } else {
            self.book.demote();
            self.forget_reports();
        }
    }

    fn restart(&mut self) {
        let rows = self.rows.iter().map(|(key, value)| (key.clone(), value.clone()));
        self.book = Book::open(rows, 2, RETRY).unwrap();
        for (id, lease) in &self.leases {
            lease.keys.iter().for_each(|key| self.book.attach(*id, key).unwrap());
        }
        self.forget_reports();
    }

    fn checkpoint(&mut self) {
        for checkpoint in self.book.checkpoints_due(self.now, 1_000) {
            assert!(self.leads);
            let id = LeaseId(checkpoint.id);
            let least = self.now + seconds(checkpoint.remaining_ttl);
            assert!(least >= self.leases[&id].least, "a checkpoint that takes time away");
            if self.lot(3) != 0 {
                self.apply_checkpoint(id, checkpoint.remaining_ttl);
            }
        }
    }

    fn apply_checkpoint(&mut self, id: LeaseId, remaining: i64) {
        let write = self.book.apply_checkpoint(id, remaining, self.now).unwrap();
        self.store(write);
        self.leases.get_mut(&id).unwrap().remaining = remaining;
    }

    fn expire(&mut self) {
        let expired = self.book.expired(self.now, usize::MAX);
        assert!(self.leads || expired.is_empty(), "expiry without leading");
        assert!(expired.len() <= REVOKES_PER_PASS_MAX);
        for id in expired {
            assert!(self.leases[&id].least <= self.now, "expired too early");
            if let Some(before) = self.in_flight.insert(id, self.now) {
                assert!(self.now.since(before) >= RETRY, "reported again too early");
            }
            self.reported += 1;
            self.leases.get_mut(&id).unwrap().has_ended = true;
            match self.lot(3) {
                0 => self.revoke(id),
                1 => {
                    self.book.on_revoke_failed(id, self.now);
                    self.in_flight.remove(&id);
                }
                _ => {}
            }
        }
    }

    fn check_keys(&self) {
        let held: BTreeMap<LeaseId, &BTreeSet<Bytes>> =
            self.book.holdings().map(|held| (held.id, held.keys)).collect();
        let owed: BTreeMap<LeaseId, &BTreeSet<Bytes>> =
            self.leases.iter().map(|(id, lease)| (*id, &lease.keys)).collect();
        assert_eq!(held, owed);
        for (id, keys) in owed {
            assert!(keys.iter().all(|key| self.book.lease_of(key) == Some(id)));
        }
    }

    /// A leader that goes from timeout to timeout sees every lease end.
    fn settle(&mut self) {
        self.promote();
        let mut wakes = 0;
        while let Some(wake) = self.book.poll_timeout() {
            assert!(wake.at >= self.now || wakes == 0, "a timer that does not advance");
            self.now = self.now.max(wake.at);
            self.expire();
            self.checkpoint();
            wakes += 1;
            assert!(wakes < 2_000, "leases that never end");
        }
        assert!(self.leases.is_empty());
    }
}
