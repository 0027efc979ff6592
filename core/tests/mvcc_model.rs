//! The key ledger beside a model that keeps every state there ever was: random mutations,
//! compactions in slices, batches stored late, restarts. Whatever is asked of one must be what the
//! other says.
#![allow(clippy::unwrap_used)]

mod mvcc_image;

use std::collections::BTreeMap;

use bytes::Bytes;
use mvcc_image::{Ledger, bytes};
use quorate_core::draw::{Domain, draw, draw_below};
use quorate_core::error::Refusal;
use quorate_core::event::{History, KeyRange, Span};
use quorate_core::ids::{LeaseId, Revision};
use quorate_core::mvcc::KvView;
use quorate_proto::etcdserverpb::RangeRequest;
use quorate_proto::mvccpb::{Event, KeyValue};

type State = BTreeMap<Bytes, KeyValue>;

struct Model {
    seed: u64,
    draws: u64,
    /// By revision, from 0 on.
    states: Vec<State>,
    changes: Vec<Vec<Event>>,
    compacted: i64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let (states, changes) = (vec![State::new(); 2], vec![Vec::new(); 2]);
        Self { seed, draws: 0, states, changes, compacted: -1 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        draw_below(bound, draw(self.seed, Domain::Shell as u64, 0, self.draws))
    }

    fn revision(&self) -> i64 {
        self.states.len() as i64 - 1
    }

    fn key(&mut self) -> Bytes {
        let number = self.below(24);
        bytes(&format!("k{number:02}"))
    }

    fn keys(&mut self) -> KeyRange {
        match self.below(3) {
            0 => KeyRange::One(self.key()),
            1 => KeyRange::Between(self.key(), self.key()),
            _ => KeyRange::From(self.key()),
        }
    }

    /// A mutation of up to four puts and deletions, in both.
    fn mutate(&mut self, ledger: &mut Ledger) {
        let main = self.revision() + 1;
        let mut state = self.states.last().unwrap().clone();
        let mut events = Vec::new();
        let ops = 1 + self.below(2) * self.below(4);
        let ((), outcome) = ledger.mutate(|writer| {
            for _ in 0..ops {
                if self.below(4) > 0 {
                    let (key, value) = (self.key(), bytes(&format!("v{}", self.below(1_000))));
                    let lease = LeaseId(self.below(3) as i64);
                    writer.put(&key, &value, lease);
                    let before = state.get(&key);
                    let kv = KeyValue {
                        key: key.clone(),
                        create_revision: before.map_or(main, |kv| kv.create_revision),
                        mod_revision: main,
                        version: before.map_or(1, |kv| kv.version + 1),
                        value,
                        lease: lease.get(),
                    };
                    events.push(Event { r#type: 0, kv: Some(kv.clone()), prev_kv: None });
                    state.insert(key, kv);
                } else {
                    let keys = match self.below(4) {
                        0 => KeyRange::Between(self.key(), self.key()),
                        _ => KeyRange::One(self.key()),
                    };
                    let gone: Vec<_> =
                        state.keys().filter(|key| keys.contains(key)).cloned().collect();
                    assert_eq!(writer.delete_range(&keys), gone.len() as u64);
                    for key in gone {
                        state.remove(&key);
                        let kv = KeyValue { key, mod_revision: main, ..KeyValue::default() };
                        events.push(Event { r#type: 1, kv: Some(kv), prev_kv: None });
                    }
                }
                let seen = all(writer.now(), 0);
                assert_eq!(seen, state.values().cloned().collect::<Vec<_>>());
            }
        });
        if events.is_empty() {
            assert_eq!((outcome.changes, outcome.writes), (None, Vec::new()));
        } else {
            let changes = outcome.changes.unwrap();
            assert_eq!((changes.revision, &*changes.events), (Revision(main), &*events));
            self.states.push(state);
            self.changes.push(events);
        }
        assert_eq!(outcome.revision, Revision(self.revision()));
    }

    fn compact(&mut self, ledger: &mut Ledger) {
        let target = self.below(self.revision() as u64 + 2) as i64;
        let refusal = match target {
            _ if target <= self.compacted => Refusal::Compacted,
            _ if target > self.revision() => Refusal::FutureRev,
            _ => {
                ledger.schedule(target);
                self.compacted = target;
                return;
            }
        };
        assert_eq!(ledger.mvcc.compact(Revision(target)), Err(refusal));
    }

    /// One random question about one revision.
    fn ask(&mut self, view: &KvView) {
        let revision = 1 + self.below(self.revision() as u64) as i64;
        let keys = self.keys();
        let limit = self.below(6) as i64;
        let (key, range_end) = match keys.clone() {
            KeyRange::One(key) => (key, Bytes::new()),
            KeyRange::Between(key, end) => (key, end),
            KeyRange::From(key) => (key, bytes("\0")),
        };
        let request = RangeRequest { key, range_end, revision, limit, ..RangeRequest::default() };
        let answer = view.range(&request);
        if revision < self.compacted {
            assert_eq!(answer, Err(Refusal::Compacted.into()));
            return;
        }
        let answer = answer.unwrap();
        let state = &self.states[revision as usize];
        let within: Vec<_> = state.values().filter(|kv| keys.contains(&kv.key)).collect();
        let shown = if limit == 0 { within.len() } else { within.len().min(limit as usize) };
        assert_eq!(answer.kvs.iter().collect::<Vec<_>>(), within[..shown]);
        assert_eq!((answer.count, answer.more), (within.len() as i64, within.len() > shown));
        let key = self.key();
        let expected = self.states[revision as usize].get(&key).cloned();
        assert_eq!(view.kv_at(&key, Revision(revision)), Ok(expected));
    }

    /// A random stretch of history after the compacted revision.
    fn ask_history(&mut self, view: &KvView) {
        let first = self.compacted.max(0) + 1;
        let from = first + self.below((self.revision() - first + 2).max(1) as u64) as i64;
        let until = from + self.below(20) as i64;
        let records_max = 1 + self.below(20) as usize;
        let keys = self.keys();
        let mut told = Vec::new();
        let bytes_max = usize::MAX;
        let span = Span { from: Revision(from), until: Revision(until), records_max, bytes_max };
        let next = view.changes(span, &keys, &mut |revision, event| told.push((revision, event)));
        let (mut expected, mut looked_at, mut unseen) = (Vec::new(), 0, from);
        for main in from..=until.min(self.revision()) {
            let events = &self.changes[main as usize];
            if looked_at >= records_max && !events.is_empty() {
                break;
            }
            looked_at += events.len();
            unseen = main + 1;
            let touched = events.iter().filter(|event| keys.contains(&key_of(event)));
            expected.extend(touched.map(|event| (Revision(main), event.clone())));
        }
        assert_eq!((next, told), (Ok(Revision(unseen)), expected));
    }

    /// The last change of every key at the compacted revision survives its compaction.
    fn ask_edge(&self, view: &KvView) {
        let Ok(edge) = usize::try_from(self.compacted) else { return };
        let mut last = BTreeMap::new();
        for event in &self.changes[edge] {
            last.insert(key_of(event), event);
        }
        let at = Revision(self.compacted);
        let (records_max, bytes_max) = (usize::MAX, usize::MAX);
        let span = Span { from: at, until: at, records_max, bytes_max };
        let mut told = BTreeMap::new();
        let any = KeyRange::From(Bytes::new());
        view.changes(span, &any, &mut |_, event| drop(told.insert(key_of(&event), event))).unwrap();
        assert_eq!(told.values().collect::<Vec<_>>(), last.into_values().collect::<Vec<_>>());
    }
}

fn key_of(event: &Event) -> Bytes {
    event.kv.as_ref().unwrap().key.clone()
}

fn all(view: &KvView, revision: i64) -> Vec<KeyValue> {
    let (key, range_end) = (bytes("\0"), bytes("\0"));
    view.range(&RangeRequest { key, range_end, revision, ..RangeRequest::default() }).unwrap().kvs
}

fn run(seed: u64, steps: usize) {
    let mut model = Model::new(seed);
    let mut ledger = Ledger::new();
    let mut kept: Option<(KvView, Vec<KeyValue>)> = None;
    for _ in 0..steps {
        match model.below(40) {
            0 => model.compact(&mut ledger),
            1 => {
                let before = ledger.mvcc.view().hash(0).unwrap();
                ledger.reopen();
                assert_eq!(ledger.mvcc.view().hash(0).unwrap(), before);
            }
            2..=4 => {
                let batches = model.below(30) as usize;
                ledger.store(batches);
            }
            5..=14 => {
                let before = ledger.mvcc.view();
                ledger.slice(2 + model.below(12) as usize);
                if before.keys_live() > 0 {
                    // How far a compaction got does not show in the hash.
                    assert_eq!(ledger.mvcc.view().hash(0), before.hash(0));
                }
            }
            15 => kept = Some((ledger.mvcc.view(), all(ledger.mvcc.now(), 0))),
            _ => model.mutate(&mut ledger),
        }
        let view = ledger.mvcc.view();
        assert_eq!(view.revision(), Revision(model.revision()));
        assert_eq!(view.compacted(), Revision(model.compacted));
        assert_eq!(view.keys_live(), model.states.last().unwrap().len() as u64);
        model.ask(&view);
        model.ask_history(&view);
        model.ask_edge(&view);
        if let Some((view, then)) = &kept {
            assert_eq!(&all(view, 0), then);
        }
    }
    let end = ledger.mvcc.view();
    for revision in model.compacted.max(1)..=model.revision() {
        let expected: Vec<_> = model.states[revision as usize].values().cloned().collect();
        assert_eq!(all(&end, revision), expected);
    }
    // Once all is compacted, each key is left with one record.
    if end.revision() > end.compacted() {
        ledger.compact(model.revision());
    }
    while ledger.mvcc.is_compacting() {
        ledger.slice(5);
    }
    let last = &model.changes[model.revision() as usize];
    let tombstones =
        last.iter().filter(|event| !model.states.last().unwrap().contains_key(&key_of(event)));
    let tombstones: std::collections::BTreeSet<_> = tombstones.map(key_of).collect();
    assert_eq!(ledger.rows().len(), model.states.last().unwrap().len() + tombstones.len());
}

#[test]
fn the_ledger_says_what_the_model_says() {
    for seed in 1..=12 {
        run(seed, 600);
    }
}
