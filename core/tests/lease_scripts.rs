//! Transcripts of the lease book, in `scripts/lease/`.
//!
//! | command | meaning |
//! |---|---|
//! | `grant ID TTL`, `revoke ID`, `attach ID KEY`, `detach KEY`, `lease-of KEY` | applied entries |
//! | `grant-many FROM..UNTIL TTL`, `revoke-many FROM..UNTIL` | many of them, no answers |
//! | `promote MS`, `demote` | this member leads, extending leases by so much; or not any more |
//! | `renew ID`, `ttl ID [keys]`, `list`, `holdings`, `wake` | questions |
//! | `expired`, `failed ID` | leases to revoke now; a revoke that was not taken |
//! | `checkpoints`, `clear ID`, `checkpoint ID SECONDS` | those due; what clears one; one applied |
//! | `after MS` | time passes |
//! | `reopen` | the member starts again from the rows it wrote |
#![allow(missing_docs, clippy::unwrap_used, clippy::unit_arg)]

mod transcript;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::ids::LeaseId;
use quorate_core::lease::Book;
use quorate_core::storage::{Table, Write};
use quorate_core::time::Time;
use quorate_proto::leasepb;

#[test]
fn transcripts() {
    transcript::run_all("lease", || {
        let mut world = World::new();
        move |command: &str| world.run(command)
    });
}

struct World {
    book: Book,
    rows: BTreeMap<Bytes, Bytes>,
    now: Time,
}

fn open(rows: &BTreeMap<Bytes, Bytes>) -> Book {
    let rows = rows.iter().map(|(key, value)| (key.clone(), value.clone()));
    Book::open(rows, 2, Duration::from_secs(7)).unwrap()
}

impl World {
    fn new() -> Self {
        let rows = BTreeMap::new();
        Self { book: open(&rows), rows, now: Time::ZERO }
    }

    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |n: usize| words[n].parse::<i64>().unwrap();
        let id = || LeaseId(number(1));
        let key = |n: usize| Bytes::from(words[n].to_owned());
        let now = self.now;
        match words[0] {
            "grant" => match self.book.grant(id(), number(2), now) {
                Ok(grant) => format!("TTL {}, {}", grant.ttl, self.store(grant.write)),
                Err(refusal) => format!("{refusal:?}"),
            },
            "revoke" => match self.book.revoke(id()) {
                Ok(end) => format!("keys {:?}, {}", end.keys, self.store(end.write)),
                Err(refusal) => format!("{refusal:?}"),
            },
            "grant-many" => self.each(words[1], |world, id| {
                let grant = world.book.grant(id, number(2), now).unwrap();
                world.store(grant.write);
            }),
            "revoke-many" => self.each(words[1], |world, id| {
                let end = world.book.revoke(id).unwrap();
                world.store(end.write);
            }),
            "attach" => said(self.book.attach(id(), &key(2))),
            "detach" => quiet(self.book.detach(&key(1))),
            "lease-of" => format!("{:?}", self.book.lease_of(&key(1))),
            "promote" => {
                let extend = Duration::from_millis(number(1) as u64);
                quiet(self.book.promote(now, extend))
            }
            "demote" => quiet(self.book.demote()),
            "renew" => said(self.book.renew(id(), now)),
            "ttl" => said(self.book.time_to_live(id(), now, words.len() > 2)),
            "list" => show_ids(&self.book.list()),
            "holdings" => self.book.holdings().map(|held| format!("{held:?}\n")).collect(),
            "wake" => format!("{:?}", self.book.poll_timeout()),
            "expired" => show_ids(&self.book.expired(now, usize::MAX)),
            "failed" => quiet(self.book.on_revoke_failed(id(), now)),
            "clear" => format!("{:?}", self.book.clear(id())),
            "checkpoints" => format!("{:?}", self.book.checkpoints_due(now, 1_000)),
            "checkpoint" => match self.book.apply_checkpoint(id(), number(2), now) {
                Some(write) => self.store(write),
                None => "nothing".to_owned(),
            },
            "after" => quiet(self.now += Duration::from_millis(number(1) as u64)),
            "reopen" => quiet(self.book = open(&self.rows)),
            _ => panic!("unknown command {command}"),
        }
    }

    fn each(&mut self, range: &str, mut act: impl FnMut(&mut Self, LeaseId)) -> String {
        let (from, until) = range.split_once("..").unwrap();
        let range: Range<i64> = from.parse().unwrap()..until.parse().unwrap();
        quiet(range.for_each(|id| act(self, LeaseId(id))))
    }

    fn store(&mut self, write: Write) -> String {
        assert_eq!(write.table, Table::Lease);
        let key = i64::from_be_bytes(write.key.as_ref().try_into().unwrap());
        match write.value {
            Some(value) => {
                let row: leasepb::Lease = prost::Message::decode(value.clone()).unwrap();
                self.rows.insert(write.key, value);
                format!("row {key}: {row:?}")
            }
            None => {
                assert!(self.rows.remove(&write.key).is_some());
                format!("row {key} removed")
            }
        }
    }
}

fn said<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    result.map_or_else(|refusal| format!("{refusal:?}"), |said| format!("{said:?}"))
}

fn quiet((): ()) -> String {
    String::new()
}

fn show_ids(ids: &[LeaseId]) -> String {
    match ids {
        [] => "none".to_owned(),
        [first, .., last] if ids.len() > 8 => format!("{} leases, {first} to {last}", ids.len()),
        _ => ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" "),
    }
}
